//! Which indicators are in force: those of the configuration's files, of what was pulled for it, and of imports. The server goes by them, and
//! so does whoever asks without one.

use intel::{Indicator, Problems, feed};
use keys::Keyring;

use super::kept::{KeptFeeds, is_import};
use super::{FEED_BYTES_MAX, FeedStanding, IntelError, read_file};
use crate::config::IntelConfig;
use crate::data_dir::DataDir;

/// The keyring's name of the configuration of feeds.
const KEPT: &str = "intel";

/// How each feed stands, with its indicators.
pub(super) fn of(config: &IntelConfig, kept: &KeptFeeds) -> Result<Vec<(FeedStanding, Vec<Indicator>)>, IntelError> {
    let mut feeds = Vec::new();
    for feed in &config.feed {
        let Some(path) = &feed.path else { continue };
        let bytes = read_file("intel.feed", path, FEED_BYTES_MAX)?;
        let read = feed::read(feed.format(), &bytes, &feed.options());
        let wrong = |source| IntelError::Feed { name: feed.name.clone(), path: path.clone(), source };
        let reading = read.map_err(wrong)?;
        feeds.push((FeedStanding::of(&feed.name, reading.indicators.len(), None, &reading.problems), reading.indicators));
    }
    for name in kept.names() {
        // A feed that is configured no more, or to be pulled from elsewhere, is not in force; what was imported is.
        let pulled = config.feed.iter().find(|feed| feed.name == name && feed.url.is_some());
        if pulled.is_none() && !is_import(&name) {
            continue;
        }
        match kept.read(&name) {
            Ok(Some(kept)) if pulled.is_some_and(|feed| feed.from() != kept.head.from) => {}
            Ok(Some(kept)) => {
                let standing = FeedStanding::of(&name, kept.indicators.len(), Some(kept.head.pulled), &kept.head.left_out());
                feeds.push((standing, kept.indicators.into_iter().collect()));
            }
            Ok(None) => {}
            // What is pulled can be pulled anew. What was imported is nowhere else.
            Err(error) if pulled.is_some() => tracing::error!(%error, feed = name, "what was pulled before is not used"),
            Err(error) => return Err(error.into()),
        }
    }
    for feed in config.feed.iter().filter(|feed| feed.url.is_some()) {
        if !feeds.iter().any(|(known, _)| known.name == feed.name) {
            feeds.push((FeedStanding::of(&feed.name, 0, None, &Problems::default()), Vec::new()));
        }
    }
    Ok(feeds)
}

/// The indicators in force by a configuration, with the feed of each: of its files, of what was pulled for it, and of imports. Warning lists
/// have taken nothing out of them.
///
/// # Errors
/// What the keyring and the files say.
pub fn indicators(config: &IntelConfig, data: &DataDir, keyring: &Keyring) -> Result<Vec<Indicator>, IntelError> {
    let kept = KeptFeeds::open(data, keyring)?;
    Ok(of(config, &kept)?.into_iter().flat_map(|(_, indicators)| indicators).collect())
}

/// The feeds and warning lists of the server's last start, for whoever has not got its configuration. No feed where no server
/// has run.
///
/// # Errors
/// What the keyring says.
pub fn kept_config(keyring: &Keyring) -> Result<IntelConfig, IntelError> {
    let json = keyring.named(KEPT)?;
    Ok(json.map(|json| serde_json::from_slice(&json)).transpose()?.unwrap_or_default())
}

/// Notes the feeds and warning lists that the server goes by. Secrets are elsewhere: a feed names where its own is.
pub(crate) fn keep(keyring: &Keyring, config: &IntelConfig) -> Result<(), IntelError> {
    let mut config = config.clone();
    // Commands run elsewhere.
    let paths = config.feed.iter_mut().filter_map(|feed| feed.path.as_mut()).chain(&mut config.warning_lists);
    for path in paths {
        if let Ok(absolute) = std::path::absolute(&*path) {
            *path = absolute;
        }
    }
    if kept_config(keyring).ok().as_ref() != Some(&config) {
        keyring.put_named(KEPT, &serde_json::to_vec(&config)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use intel::feed::{Format, Options};
    use intel::{Kind, Tlp};

    use super::*;
    use crate::{Node, NodeSettings, RootKeyPlace};

    #[test]
    fn whoever_records_without_the_configuration_looks_up_in_the_same_feeds() {
        let dir = tempfile::tempdir().unwrap();
        let open = |detects: bool| {
            let root = RootKeyPlace::File(dir.path().join("root.key"));
            Node::open(&dir.path().join("data"), &root, &NodeSettings { detects, ..NodeSettings::default() }).unwrap()
        };
        let list = dir.path().join("list.txt");
        std::fs::write(&list, "of-a-file.example\n").unwrap();
        let node = open(true);
        keep(node.keyring(), &toml::from_str(&format!("[[feed]]\nname = \"own\"\nkind = \"plain\"\npath = {list:?}\n")).unwrap())
            .unwrap();
        node.close().unwrap();
        let count = |detects: bool| {
            let node = open(detects);
            let count = node.pipeline().intel().len();
            node.close().unwrap();
            count
        };
        assert_eq!((count(true), count(false)), (1, 0));
        // A feed that is gone is no reason to record nothing.
        std::fs::remove_file(&list).unwrap();
        assert_eq!(count(true), 0);
    }

    #[test]
    fn files_of_the_configuration_are_in_force_beside_imports_and_are_known_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = Keyring::open(&dir.path().join("keyring"), Arc::new(keys::AgeRootKey::generate().0)).unwrap();
        let list = dir.path().join("list.txt");
        std::fs::write(&list, "of-a-file.example\n").unwrap();
        let text = format!("[[feed]]\nname = \"own\"\nkind = \"plain\"\npath = {list:?}\n");
        let config: IntelConfig = toml::from_str(&text).unwrap();
        let options = Options {
            source: "isac".to_owned(),
            confidence: 50,
            tlp: Tlp::Clear,
            tlp_max: Tlp::Red,
            kind: Some(Kind::Domain),
            expires_after_s: None,
        };
        super::super::import(&data, &keyring, "isac", b"imported.example\n", Some(Format::Plain), &options).unwrap();
        let values = |config: &IntelConfig| -> Vec<(String, String)> {
            let found = indicators(config, &data, &keyring).unwrap();
            found.into_iter().map(|one| (one.source, one.value)).collect()
        };
        let pair = |source: &str, value: &str| (source.to_owned(), value.to_owned());
        assert_eq!(values(&kept_config(&keyring).unwrap()), [pair("isac", "imported.example")]);
        keep(&keyring, &config).unwrap();
        let kept = kept_config(&keyring).unwrap();
        assert_eq!(values(&kept), [pair("own", "of-a-file.example"), pair("isac", "imported.example")]);
        // Of a file that is gone nothing is said rather than half of it.
        std::fs::remove_file(&list).unwrap();
        let error = indicators(&kept, &data, &keyring).unwrap_err().to_string();
        assert!(error.contains("list.txt"), "{error}");
    }
}
