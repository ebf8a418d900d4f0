//! What is asked of each kind of feed, and what becomes of the answers.

use std::collections::HashSet;

use http::Uri;
use intel::Reading;
use intel::feed::{self, Format, Manifest, Options};
use intel::taxii::{self, Collections, Discovery, Page};
use uuid::Uuid;

use super::fetch::{Answer, Fetch, Since};
use super::indicators::{Indicators, TooMuch};
use super::kept::{Failed, Head, Kept};
use crate::config::{FeedConfig, FeedKind, IntelConfigError};
use crate::due::now_s;

/// Events of MISP that are pulled in one round; what is left comes with the next.
const EVENTS_MAX: usize = 2_000;

/// Pages, or events, after which what is there so far is kept: a pull of an hour must not begin anew because of a restart.
const SAVE_EVERY: usize = 25;

/// Events of MISP in a row that cannot be pulled, after which it is the server that does not answer, and not the events that are bad.
const FAILED_MAX: usize = 8;

/// Keeps what is there so far.
type Save<'a> = &'a mut dyn FnMut(&Head, &Indicators);

/// Pulls what is new of a feed into what is kept.
///
/// `save` is called in between with what is there so far, where that is a place from which the next pull can go on.
pub(super) async fn pull(config: &FeedConfig, kept: &mut Kept, save: Save<'_>) -> Result<(), String> {
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
async fn of_file(config: &FeedConfig, fetch: &Fetch, origin: &Uri, kept: &mut Kept) -> Result<(), String> {
    let since = Since { etag: kept.head.etag.as_deref(), last_modified: kept.head.last_modified.as_deref() };
    let answer = fetch.get(&origin.to_string(), None, since).await?;
    if answer.is_unchanged {
        return Ok(());
    }
    let reading = feed::read(config.format(), &answer.body, &config.options()).map_err(|error| format!("its answer {error}"))?;
    kept.replace(reading).map_err(too_much)?;
    kept.head.etag = text_of(&answer, "etag");
    kept.head.last_modified = text_of(&answer, "last-modified");
    Ok(())
}

fn too_much(error: TooMuch) -> String {
    error.to_string()
}

fn text_of(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
}

/// An address below a directory.
fn below(directory: &str, path: &str) -> String {
    format!("{}/{path}", directory.trim_end_matches('/'))
}

async fn of_taxii(config: &FeedConfig, fetch: &Fetch, origin: &Uri, kept: &mut Kept, save: Save<'_>) -> Result<(), String> {
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
    let options = config.options();
    for page_number in 1..=taxii::PAGES_MAX {
        let answer = get(&below(&root, &kept.head.place.request(&collection.id))).await?;
        let page: Page = taxii::read(&answer.body).map_err(|error| error.to_string())?;
        let reading = feed::read(Format::Stix, &answer.body, &options).map_err(|error| format!("its answer {error}"))?;
        kept.add(reading).map_err(too_much)?;
        if !kept.head.place.advance(&page, text_of(&answer, taxii::ADDED_LAST).as_deref(), &mut newest) {
            return Ok(());
        }
        // Pages come in the order in which objects were added, so whoever has this one goes on behind it.
        if page_number.is_multiple_of(SAVE_EVERY) && newest.is_some() {
            let place = taxii::Place { added_after: newest.clone(), next: None };
            save(&Head { place, ..kept.head.clone() }, &kept.indicators);
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

async fn of_misp(config: &FeedConfig, fetch: &Fetch, origin: &Uri, kept: &mut Kept, save: Save<'_>) -> Result<(), String> {
    let directory = origin.to_string();
    let directory = directory.trim_end_matches("manifest.json");
    let answer = fetch.get(&below(directory, "manifest.json"), None, Since::default()).await?;
    let manifest = Manifest::read(&answer.body).map_err(|error| format!("manifest.json {error}"))?;
    let options: Options = config.options();
    let source_of = |event: &Uuid| format!("{}/{event}", options.source);
    // What has gone makes room for what comes, and goes whatever becomes of that.
    let has_gone = |event: &Uuid| !manifest.0.contains_key(event);
    let gone: HashSet<String> = kept.head.events.keys().filter(|event| has_gone(event)).map(source_of).collect();
    if !gone.is_empty() {
        kept.indicators.retain(|one| !gone.contains(&one.source));
    }
    kept.head.events.retain(|event, _| !has_gone(event));
    kept.head.failed.retain(|event, _| !has_gone(event));
    let changed = manifest.0.iter().filter(|(event, entry)| kept.head.events.get(event) != Some(&entry.changed()));
    let mut changed: Vec<_> = changed.map(|(event, entry)| (*event, entry.changed(), source_of(event))).collect();
    // Those that failed come last, the one that was tried longest ago first: they keep nobody waiting.
    changed.sort_by_key(|(event, ..)| kept.head.failed.get(event).map(|failed| failed.tried_s));
    changed.truncate(EVENTS_MAX);
    let known = changed.iter().filter(|(event, ..)| kept.head.events.contains_key(event));
    let mut before = kept.indicators.ids_of(known.map(|(.., source)| source.as_str()));
    let mut failed_in_a_row = 0;
    for (number, (event, at, source)) in (1_usize..).zip(&changed) {
        match of_event(fetch, directory, *event, &options).await {
            Ok(mut reading) => {
                // What an event does not have any more has gone from it.
                for id in before.remove(source.as_str()).unwrap_or_default() {
                    kept.indicators.remove_of(id, source);
                }
                reading.indicators.iter_mut().for_each(|one| one.source.clone_from(source));
                kept.add(reading).map_err(too_much)?;
                kept.head.events.insert(*event, *at);
                kept.head.failed.remove(event);
                failed_in_a_row = 0;
            }
            Err(what) => {
                tracing::warn!(feed = config.name, %event, what, "an event of a feed was not pulled");
                kept.head.failed.insert(*event, Failed::new(now_s(), &what));
                failed_in_a_row += 1;
                if failed_in_a_row == FAILED_MAX {
                    save(&kept.head, &kept.indicators);
                    return Err(format!("{FAILED_MAX} events in a row could not be pulled, the last one {event}: {what}"));
                }
            }
        }
        if number.is_multiple_of(SAVE_EVERY) {
            save(&kept.head, &kept.indicators);
        }
    }
    Ok(())
}

async fn of_event(fetch: &Fetch, directory: &str, event: Uuid, options: &Options) -> Result<Reading, String> {
    let answer = fetch.get(&below(directory, &format!("{event}.json")), None, Since::default()).await?;
    feed::read(Format::Misp, &answer.body, options).map_err(|error| format!("its file {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What TAXII says of when the last object of a page was added.
    const ADDED_LAST: &str = "x-taxii-date-added-last: 2026-01-31T12:00:00.000001Z";

    /// A server of files: what lies at a path, and what was asked for.
    #[derive(Clone, Default)]
    struct Files {
        files: Arc<Mutex<BTreeMap<String, String>>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Files {
        async fn start() -> (Self, FeedConfig) {
            let files = Self::default();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/feed/", listener.local_addr().unwrap());
            let serving = files.clone();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => request.push(byte),
                            Err(_) => break,
                        }
                    }
                    let request = String::from_utf8(request).unwrap();
                    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches("/feed/").to_owned();
                    let found = serving.files.lock().unwrap().get(&path).cloned();
                    serving.asked.lock().unwrap().push(path);
                    let (status, body) = found.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                    let answer = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{ADDED_LAST}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
            let config = toml::from_str(&format!("name = \"m\"\nkind = \"misp\"\nurl = \"{url}\"")).unwrap();
            (files, config)
        }

        fn put(&self, path: &str, text: &str) {
            self.files.lock().unwrap().insert(path.to_owned(), text.to_owned());
        }

        /// An event with an indicator for each value.
        fn put_event(&self, event: u128, values: &[&str]) {
            let attributes = values.iter().map(|value| format!(r#"{{"type":"domain","value":"{value}","to_ids":true}}"#));
            let attributes = attributes.collect::<Vec<_>>().join(",");
            self.put(&file(event), &format!(r#"{{"Event":{{"info":"x","Attribute":[{attributes}]}}}}"#));
        }

        fn put_manifest(&self, events: impl IntoIterator<Item = (u128, i64)>) {
            let entries = events.into_iter().map(|(event, at)| format!(r#""{}":{{"timestamp":{at}}}"#, Uuid::from_u128(event)));
            self.put("manifest.json", &format!("{{{}}}", entries.collect::<Vec<_>>().join(",")));
        }

        /// The events that were asked for since.
        fn asked(&self) -> Vec<String> {
            let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
            asked.retain(|path| path != "manifest.json");
            asked
        }
    }

    fn file(event: u128) -> String {
        format!("{}.json", Uuid::from_u128(event))
    }

    fn values(kept: &Kept) -> Vec<&str> {
        let mut values: Vec<&str> = kept.indicators.iter().map(|one| one.value.as_str()).collect();
        values.sort_unstable();
        values
    }

    fn failed(kept: &Kept) -> Vec<u128> {
        kept.head.failed.keys().map(Uuid::as_u128).collect()
    }

    #[tokio::test]
    async fn one_bad_event_of_misp_stops_no_other() {
        let (files, config) = Files::start().await;
        let mut kept = Kept::default();
        files.put_event(1, &["a.example", "b.example"]);
        files.put_event(2, &["c.example"]);
        files.put_manifest([(1, 5), (2, 5)]);
        pull(&config, &mut kept, &mut |_, _| {}).await.unwrap();
        assert_eq!((values(&kept), failed(&kept)), (vec!["a.example", "b.example", "c.example"], vec![]));
        files.asked();
        // One is broken, one is not there, one is new, one has gone: what was known of the broken one stays, the others are pulled.
        files.put(&file(1), "{");
        files.put_event(4, &["d.example"]);
        files.put_manifest([(1, 6), (3, 6), (4, 6)]);
        pull(&config, &mut kept, &mut |_, _| {}).await.unwrap();
        assert_eq!((values(&kept), failed(&kept)), (vec!["a.example", "b.example", "d.example"], vec![1, 3]));
        let told = kept.head.left_out();
        let told: Vec<_> = told.iter().map(|(reason, left)| (reason, left.count, left.examples.join(" "))).collect();
        assert!(told.len() == 1 && told[0].0.contains("tried again") && told[0].1 == 2 && told[0].2.contains("404"), "{told:?}");
        assert_eq!(files.asked(), [file(1), file(3), file(4)]);
        // They are tried again, behind what is new, and count once; then they come, and nothing is left of it.
        files.put_event(1, &["a.example"]);
        files.put_event(5, &["e.example"]);
        files.put_manifest([(1, 6), (3, 6), (4, 6), (5, 7)]);
        pull(&config, &mut kept, &mut |_, _| {}).await.unwrap();
        assert_eq!(files.asked(), [file(5), file(1), file(3)]);
        assert_eq!((values(&kept), failed(&kept)), (vec!["a.example", "d.example", "e.example"], vec![3]));
        assert_eq!(kept.head.left_out().count(), 1);
        files.put_manifest([(1, 6), (4, 6), (5, 7)]);
        pull(&config, &mut kept, &mut |_, _| {}).await.unwrap();
        assert_eq!((files.asked(), kept.head.left_out().count()), (Vec::new(), 0));
    }

    #[tokio::test]
    async fn a_server_that_gives_no_event_is_left_in_peace_and_what_it_took_back_goes() {
        let (files, config) = Files::start().await;
        let mut kept = Kept::default();
        files.put_event(1, &["a.example"]);
        files.put_event(2, &["b.example"]);
        files.put_manifest([(1, 5), (2, 5)]);
        pull(&config, &mut kept, &mut |_, _| {}).await.unwrap();
        files.asked();
        files.put_manifest((2..40).map(|event| (event, 5)));
        let mut saved = Vec::new();
        let mut save = |head: &Head, indicators: &Indicators| saved.push((head.failed.len(), indicators.len()));
        let error = pull(&config, &mut kept, &mut save).await.unwrap_err();
        assert!(error.contains("8 events in a row") && error.contains("404"), "{error}");
        assert_eq!((files.asked().len(), values(&kept), saved), (FAILED_MAX, vec!["b.example"], vec![(FAILED_MAX, 1)]));
        // The next round begins with those that were not tried.
        files.put_event(20, &["c.example"]);
        pull(&config, &mut kept, &mut |_, _| {}).await.unwrap_err();
        assert_eq!(files.asked().first(), Some(&file(11)));
        pull(&config, &mut kept, &mut |_, _| {}).await.unwrap_err();
        assert_eq!(values(&kept), ["b.example", "c.example"]);
    }

    #[tokio::test]
    async fn pages_of_a_collection_are_saved_with_the_place_behind_them() {
        let (files, config) = Files::start().await;
        let mut config = FeedConfig { kind: FeedKind::Taxii, ..config };
        let page = |n: usize| {
            let more = if n < 30 { format!(r#""more":true,"next":"{}","#, n + 1) } else { String::new() };
            let id = Uuid::from_u128(n as u128);
            format!(
                r#"{{{more}"objects":[{{"type":"indicator","id":"indicator--{id}","pattern_type":"stix","modified":"2026-01-31T12:00:00Z",
                "pattern":"[domain-name:value = 'd{n}.example']"}}]}}"#
            )
        };
        config.url = config.url.map(|url| url.trim_end_matches('/').to_owned());
        files.put("/feed", "{}");
        files.put("collections/", r#"{"collections":[{"id":"c","title":"C","can_read":true}]}"#);
        files.put("collections/c/objects/?limit=1000", &page(1));
        (2..=30).for_each(|n| files.put(&format!("collections/c/objects/?limit=1000&next={n}"), &page(n)));
        let mut kept = Kept::default();
        let mut saved = Vec::new();
        let mut save = |head: &Head, indicators: &Indicators| saved.push((head.place.clone(), indicators.len()));
        pull(&config, &mut kept, &mut save).await.unwrap();
        let place = taxii::Place { added_after: Some("2026-01-31T12:00:00.000001Z".to_owned()), next: None };
        assert_eq!((saved, kept.indicators.len(), &kept.head.place), (vec![(place.clone(), SAVE_EVERY)], 30, &place));
    }
}
