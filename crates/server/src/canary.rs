//! Canaries as the server has them: made, and found also where the sanitiser took one for a secret.

use inspect::{Canaries, Canary, CanaryError};
use keys::KeysError;
use sanitize::Sanitizer;

/// A new marker from the system's random source: 88 bits, five invented words.
pub fn new_marker() -> Result<String, KeysError> {
    let mut random = [0; 25];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| KeysError::Random)?;
    Ok(inspect::canary_marker(random))
}

/// Reads the canaries of a configuration. A marker that stands where a password would is recorded as a token, so its token is a form of it,
/// too: equal values have equal ids, whatever they were taken for.
pub(crate) fn read(canaries: &[Canary], sanitizer: &Sanitizer) -> Result<Canaries, CanaryError> {
    Canaries::new(canaries, &|marker| {
        let texts = [marker.to_owned(), format!("password: \"{marker}\"")];
        texts.iter().flat_map(|text| ids(&sanitizer.text(text).text)).collect()
    })
}

/// The ids of the tokens of a clean text.
fn ids(text: &str) -> Vec<String> {
    journal::content::tokens(text).map(|token| token.id().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use sanitize::TokenKey;

    use super::*;
    use crate::configuration::Configuration;
    use crate::{Node, NodeSettings, RootKeyPlace};

    #[test]
    fn whoever_opens_the_record_without_the_configuration_looks_for_the_same_canaries() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let root = RootKeyPlace::File(dir.path().join("root.key"));
            Node::open(&dir.path().join("data"), &root, &NodeSettings::default()).unwrap()
        };
        let marker = new_marker().unwrap();
        let node = open();
        let config = toml::from_str(&format!("[[canary]]\nlabel = \"vault\"\nmarker = {marker:?}\n")).unwrap();
        Configuration::of(&config).unwrap().keep(node.keyring()).unwrap();
        node.close().unwrap();
        let node = open();
        let inspector = node.pipeline().inspector();
        assert_eq!(inspector.canaries().labels_in(&format!("see {marker}")).collect::<Vec<_>>(), ["vault"]);
        node.close().unwrap();
    }

    #[test]
    fn a_canary_is_known_by_its_token_too() {
        let sanitizer = Sanitizer::new(TokenKey::new([7; 32], "v26"));
        let marker = new_marker().unwrap();
        let canary = Canary { label: "vault".to_owned(), marker: marker.clone() };
        let canaries = read(&[canary], &sanitizer).unwrap();
        for (text, is_token) in
            [(marker.clone(), false), (format!("see {marker}"), false), (format!("password: \"{marker}\""), true)]
        {
            let clean = sanitizer.text(&text).text;
            assert_eq!(!clean.contains(&marker), is_token, "{clean}");
            assert_eq!(canaries.labels_in(&clean).collect::<Vec<_>>(), ["vault"], "{clean}");
        }
    }
}
