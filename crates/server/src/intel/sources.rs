//! What is asked of each kind of feed, and what becomes of the answers.

use http::Uri;
use intel::feed::{self, Format, Manifest, Options};
use intel::taxii::{self, Collections, Discovery, Page};

use super::fetch::{Answer, Fetch, Since};
use super::kept::Kept;
use crate::config::{FeedConfig, FeedKind, IntelConfigError};

/// Events of MISP that are pulled in one round; what is left comes with the next.
const EVENTS_MAX: usize = 2_000;

/// Pages, or events, after which what is there so far is kept: a pull of an hour must not begin anew because of a restart.
const SAVE_EVERY: usize = 25;

/// Pulls what is new of a feed into what is kept. Whether anything has changed.
///
/// `save` is called in between with what is there so far, where that is a place from which the next pull can go on.
pub(super) async fn pull(config: &FeedConfig, kept: &mut Kept, save: &mut dyn FnMut(&Kept)) -> Result<bool, String> {
    let origin = config.address().map_err(|error| error.to_string())?;
    let text = |error: IntelConfigError| error.to_string();
    let fetch = Fetch::new(&origin, config.credentials().map_err(text)?, config.roots().map_err(text)?)?;
    let from = config.from();
    if kept.head.from != from {
        // Of another place nothing is known, and what that one said holds no more.
        *kept = Kept::default();
        kept.head.from = from;
    }
    match config.kind {
        FeedKind::Taxii => of_taxii(config, &fetch, &origin, kept, save).await,
        FeedKind::Misp => of_misp(config, &fetch, &origin, kept, save).await,
        FeedKind::Stix | FeedKind::AbuseCh | FeedKind::Plain => of_file(config, &fetch, &origin, kept).await,
    }
}

/// One file, which is all that there is.
async fn of_file(config: &FeedConfig, fetch: &Fetch, origin: &Uri, kept: &mut Kept) -> Result<bool, String> {
    let since = Since { etag: kept.head.etag.as_deref(), last_modified: kept.head.last_modified.as_deref() };
    let answer = fetch.get(&origin.to_string(), None, since).await?;
    if answer.is_unchanged {
        return Ok(false);
    }
    let reading = feed::read(config.format(), &answer.body, &config.options()).map_err(|error| format!("its answer {error}"))?;
    let before = std::mem::take(&mut kept.indicators);
    kept.replace(reading);
    kept.head.etag = text_of(&answer, "etag");
    kept.head.last_modified = text_of(&answer, "last-modified");
    Ok(kept.indicators != before)
}

fn text_of(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
}

/// An address below a directory.
fn below(directory: &str, path: &str) -> String {
    format!("{}/{path}", directory.trim_end_matches('/'))
}

async fn of_taxii(
    config: &FeedConfig,
    fetch: &Fetch,
    origin: &Uri,
    kept: &mut Kept,
    save: &mut dyn FnMut(&Kept),
) -> Result<bool, String> {
    let get = async |url: &str| fetch.get(url, Some(taxii::MEDIA_TYPE), Since::default()).await;
    let root = api_root(&get(&origin.to_string()).await?, origin)?;
    let answer = get(&below(&root, "collections/")).await?;
    let collections: Collections = taxii::read(&answer.body).map_err(|error| error.to_string())?;
    let Some(collection) = collections.find(config.collection.as_deref()) else {
        let named = collections.collections.iter().map(|one| format!("{} ({})", one.id, one.title));
        return Err(format!("no collection, or several: name one of them: {}", named.collect::<Vec<_>>().join(", ")));
    };
    if !collection.can_read {
        return Err(format!("the collection {} may not be read with these credentials", collection.id));
    }
    let mut newest = None;
    let mut has_changed = false;
    let options = config.options();
    for page_number in 1..=taxii::PAGES_MAX {
        let answer = get(&below(&root, &kept.head.place.request(&collection.id))).await?;
        let page: Page = taxii::read(&answer.body).map_err(|error| error.to_string())?;
        let reading = feed::read(Format::Stix, &answer.body, &options).map_err(|error| format!("its answer {error}"))?;
        has_changed |= !reading.indicators.is_empty() || !reading.revoked.is_empty();
        kept.add(reading);
        if !kept.head.place.advance(&page, text_of(&answer, taxii::ADDED_LAST).as_deref(), &mut newest) {
            return Ok(has_changed);
        }
        // Pages come in the order in which objects were added, so whoever has this one goes on behind it.
        if page_number.is_multiple_of(SAVE_EVERY) && newest.is_some() {
            let place = taxii::Place { added_after: newest.clone(), next: None };
            let mut so_far = kept.clone();
            so_far.head.place = place;
            save(&so_far);
        }
    }
    Err(format!("more than {} pages: it does not come to an end", taxii::PAGES_MAX))
}

/// The API root: what discovery says is the default, or the only one; or the address itself, if that is one.
fn api_root(answer: &Answer, origin: &Uri) -> Result<String, String> {
    let discovery: Discovery = taxii::read(&answer.body).map_err(|error| error.to_string())?;
    let roots = &discovery.api_roots;
    let root = discovery.default.as_ref().or_else(|| roots.first().filter(|_| roots.len() == 1));
    match root {
        Some(root) if root.starts_with('/') => {
            let authority = origin.authority().map_or("", |authority| authority.as_str());
            Ok(format!("{}://{authority}{root}", origin.scheme_str().unwrap_or("https")))
        }
        Some(root) => Ok(root.clone()),
        None if roots.is_empty() => Ok(origin.to_string()),
        None => Err(format!("has several API roots: give one of them as url: {}", roots.join(", "))),
    }
}

async fn of_misp(
    config: &FeedConfig,
    fetch: &Fetch,
    origin: &Uri,
    kept: &mut Kept,
    save: &mut dyn FnMut(&Kept),
) -> Result<bool, String> {
    let directory = origin.to_string();
    let directory = directory.trim_end_matches("manifest.json");
    let answer = fetch.get(&below(directory, "manifest.json"), None, Since::default()).await?;
    let manifest = Manifest::read(&answer.body).map_err(|error| format!("manifest.json {error}"))?;
    let options: Options = config.options();
    let mut has_changed = false;
    let changed = manifest.0.iter().filter(|(event, entry)| kept.head.events.get(event) != Some(&entry.changed()));
    let changed: Vec<_> = changed.map(|(event, entry)| (*event, entry.changed())).take(EVENTS_MAX).collect();
    for (number, (event, at)) in (1_usize..).zip(changed) {
        let answer = fetch.get(&below(directory, &format!("{event}.json")), None, Since::default()).await?;
        let mut reading = feed::read(Format::Misp, &answer.body, &options).map_err(|error| format!("{event}.json {error}"))?;
        // What an event does not have any more has gone from it.
        let of_event = format!("{}/{event}", options.source);
        kept.indicators.retain(|one| one.source != of_event);
        reading.indicators.iter_mut().for_each(|one| one.source.clone_from(&of_event));
        kept.add(reading);
        kept.head.events.insert(event, at);
        has_changed = true;
        if number.is_multiple_of(SAVE_EVERY) {
            save(kept);
        }
    }
    let gone: Vec<_> = kept.head.events.keys().filter(|event| !manifest.0.contains_key(event)).copied().collect();
    for event in gone {
        kept.head.events.remove(&event);
        let of_event = format!("{}/{event}", options.source);
        kept.indicators.retain(|one| one.source != of_event);
        has_changed = true;
    }
    Ok(has_changed)
}
