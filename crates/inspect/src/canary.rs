//! Canaries: markers that mean nothing and stand in one place alone. Where one comes out, what stood beside it came out.
//!
//! Markers are kept as they are and not as hashes. They must be found in decoded views, in any case and with anything between
//! their letters, and a hash would have to be tried at every letter of every view. A marker opens nothing: whoever reads the
//! configuration that holds it can avoid it, and could as well change the configuration.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use aws_lc_rs::digest;

use crate::view;

/// What findings of canaries begin with; the label follows.
pub const CANARY_RULE_PREFIX: &str = "canary.";

/// Fewest letters and digits of a marker: what is shorter stands in ordinary text by chance.
const MARKER_CHARS_MIN: usize = 12;
/// Longest marker, in bytes.
const MARKER_BYTES_MAX: usize = 512;
/// Longest label, in bytes: rule ids carry it.
const LABEL_BYTES_MAX: usize = 64;
/// Most canaries: the index of their forms takes some kilobytes each.
const CANARIES_MAX: usize = 10_000;

/// A marker and what is said when it comes out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// What detections name: where the marker was put. `[a-z0-9_.-]`, up to 64 characters.
    pub label: String,
    /// The marker: at least 12 letters and digits, that stand nowhere else.
    pub marker: String,
}

/// Canaries that cannot be used, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanaryError {
    /// A label that rule ids cannot carry.
    #[error("canary.label {0:?}: use 1 to 64 of the characters a-z, 0-9, _, . and -")]
    Label(String),
    /// A label that stands twice.
    #[error("canary.label {0:?} stands twice; give each canary a label of its own, so that it is known which came out")]
    LabelTwice(String),
    /// A marker that stands in ordinary text, or is too long.
    #[error(
        "canary.marker of {0:?}: use at least {MARKER_CHARS_MIN} letters and digits and at most {MARKER_BYTES_MAX} bytes; \
         `watchkeeper canary new` makes one"
    )]
    Marker(String),
    /// More than are taken.
    #[error("{0} canaries are more than {CANARIES_MAX}; use one marker for several places that leak together")]
    TooMany(usize),
    /// The index cannot be made.
    #[error("canary.marker of all canaries: {0}; use fewer or shorter ones")]
    Index(String),
}

/// The canaries of an inspector.
#[derive(Debug, Clone, Default)]
pub struct Canaries {
    labels: Vec<String>,
    /// Letters and digits of each form, and which canary it is of.
    index: Option<AhoCorasick>,
    owners: Vec<usize>,
    digest: [u8; 32],
}

impl Canaries {
    /// Reads canaries. `other_forms` gives what may stand for a marker where it was recorded: what the sanitiser puts in its place.
    pub fn new(canaries: &[Canary], other_forms: &dyn Fn(&str) -> Vec<String>) -> Result<Self, CanaryError> {
        if canaries.len() > CANARIES_MAX {
            return Err(CanaryError::TooMany(canaries.len()));
        }
        let mut all = Self::default();
        let mut patterns = Vec::new();
        for Canary { label, marker } in canaries {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
            if label.is_empty() || label.len() > LABEL_BYTES_MAX || !label.bytes().all(fits) {
                return Err(CanaryError::Label(label.clone()));
            }
            if all.labels.contains(label) {
                return Err(CanaryError::LabelTwice(label.clone()));
            }
            let plain = letters(&view::normalise(marker).0);
            if plain.chars().count() < MARKER_CHARS_MIN || marker.len() > MARKER_BYTES_MAX {
                return Err(CanaryError::Marker(label.clone()));
            }
            let turned = view::rot13(&plain).0;
            let mut forms = vec![view::reversed(&plain).0, view::reversed(&turned).0, turned, plain];
            forms.extend(other_forms(marker).iter().map(|form| letters(&view::normalise(form).0)));
            forms.retain(|form| form.chars().count() >= MARKER_CHARS_MIN);
            forms.sort_unstable();
            forms.dedup();
            all.owners.extend(std::iter::repeat_n(all.labels.len(), forms.len()));
            patterns.extend(forms);
            all.labels.push(label.clone());
        }
        all.digest = digest_of(&all, &patterns);
        if !patterns.is_empty() {
            let index =
                AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).match_kind(MatchKind::Standard).build(patterns);
            all.index = Some(index.map_err(|error| CanaryError::Index(error.to_string()))?);
        }
        Ok(all)
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels of the canaries that stand in a text, as it is: an address, a name.
    pub fn labels_in(&self, text: &str) -> impl Iterator<Item = &str> {
        let found = if self.is_empty() { Vec::new() } else { self.find(&view::normalise(text).0) };
        let mut owners: Vec<usize> = found.into_iter().map(|(owner, _)| owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners.into_iter().filter_map(|owner| self.labels.get(owner)).map(String::as_str)
    }

    /// SHA-256 over what is looked for and what it is called.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    pub(crate) fn label(&self, owner: usize) -> &str {
        self.labels.get(owner).map_or("", String::as_str)
    }

    /// Which canaries stand in a normalised text, and where, in bytes.
    pub(crate) fn find(&self, normalised: &str) -> Vec<(usize, Range<usize>)> {
        let Some(index) = &self.index else { return Vec::new() };
        let mut plain = String::with_capacity(normalised.len());
        // Where each byte of the letters stands in the text.
        let mut places = Vec::with_capacity(normalised.len());
        for (at, character) in normalised.char_indices().filter(|(_, character)| character.is_alphanumeric()) {
            plain.push(character);
            places.extend((at..).take(character.len_utf8()));
        }
        let found = index.find_overlapping_iter(&plain).filter_map(|found| {
            let (start, last) = (*places.get(found.start())?, *places.get(found.end().checked_sub(1)?)?);
            Some((*self.owners.get(found.pattern().as_usize())?, start..last + 1))
        });
        found.collect()
    }
}

fn digest_of(canaries: &Canaries, patterns: &[String]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for (owner, pattern) in canaries.owners.iter().zip(patterns) {
        for part in [canaries.label(*owner), pattern] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn letters(text: &str) -> String {
    text.chars().filter(|character| character.is_alphanumeric()).collect()
}

/// A marker of random bytes: five invented words that can be read aloud, stand in no text and look like no key, so that the
/// sanitiser leaves them as they are. 88 bits.
#[must_use]
pub fn marker(random: [u8; 25]) -> String {
    const CONSONANTS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let words = random.chunks(5).map(|bytes| {
        let letters = bytes.iter().enumerate().map(|(at, &byte)| {
            let byte = usize::from(byte);
            char::from(if at % 2 == 0 { CONSONANTS[byte % CONSONANTS.len()] } else { VOWELS[byte % VOWELS.len()] })
        });
        letters.collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use event::Channel;

    use super::*;
    use crate::Inspector;

    const MARKER: &str = "bafok-rimud-tesap-golix-nuvet";

    fn canaries(list: &[(&str, &str)]) -> Result<Canaries, CanaryError> {
        let list: Vec<Canary> =
            list.iter().map(|&(label, marker)| Canary { label: label.to_owned(), marker: marker.to_owned() }).collect();
        Canaries::new(&list, &|_| vec!["<SECRET:v26:abcdefghijklmnopqrstuvwxyz>".to_owned()])
    }

    #[test]
    fn a_canary_is_seen_under_any_disguise_and_named() {
        let inspector = Inspector::builtin().unwrap().with_canaries(canaries(&[("hr-handbook", MARKER)]).unwrap());
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let (rot13, _) = view::rot13(MARKER);
        for (name, text) in [
            ("as it stands", format!("The code is {MARKER}.")),
            ("in capitals", MARKER.to_uppercase()),
            ("letters apart", MARKER.chars().map(|letter| format!("{letter} ")).collect()),
            ("other separators", MARKER.replace('-', " _ ")),
            ("base64", format!("eat {} up", encode(&format!("it says {MARKER} there")))),
            ("base64 twice", encode(&encode(&format!("it says {MARKER} there")))),
            ("ROT13", rot13),
            ("reversed", MARKER.chars().rev().collect()),
            ("leetspeak", format!("h3r3 1s th3 c0d3: {}", MARKER.replace('o', "0").replace('e', "3"))),
            ("percent", MARKER.bytes().map(|byte| format!("%{byte:02x}")).collect()),
            ("zero width", MARKER.replace('a', "a\u{200b}")),
            ("a token in its place", "it is <SECRET:v26:abcdefghijklmnopqrstuvwxyz>".to_owned()),
        ] {
            let report = inspector.inspect(&text, Channel::Assistant, None);
            let found = report.findings.iter().find(|one| one.rule.as_str() == "canary.hr-handbook");
            assert!(found.is_some_and(|found| found.start < found.end), "{name}: {:?}", report.findings);
            assert_eq!(report.verdict, event::Verdict::Deny, "{name}");
        }
        // Where it was put it belongs.
        for channel in [Channel::System, Channel::Tool, Channel::Document] {
            assert_eq!(inspector.inspect(MARKER, channel, None).findings, [], "{channel:?}");
        }
        assert_eq!(inspector.inspect("bafok rimud tesap golix", Channel::Assistant, None).findings, []);
    }

    #[test]
    fn inspectors_with_other_canaries_have_other_digests() {
        let inspector = |list: &[(&str, &str)]| Inspector::builtin().unwrap().with_canaries(canaries(list).unwrap());
        let one = inspector(&[("wiki", MARKER)]);
        let others = [
            Inspector::builtin().unwrap(),
            inspector(&[("mail", MARKER)]),
            inspector(&[("wiki", "nuvet-golix-tesap-rimud-bafok")]),
            inspector(&[("wiki", MARKER)]).with_model(None),
        ];
        assert!(others.iter().all(|other| other.digest() != one.digest()));
        assert_eq!(one.digest(), inspector(&[("wiki", MARKER)]).digest());
        let in_turn = Inspector::builtin().unwrap().with_model(None).with_canaries(canaries(&[("wiki", MARKER)]).unwrap());
        assert_eq!(others[3].digest(), in_turn.digest());
        assert_eq!(one.with_canaries(Canaries::default()).digest(), others[0].digest());
    }

    #[test]
    fn canaries_that_cannot_be_told_apart_are_refused() {
        assert_eq!(canaries(&[("HR", MARKER)]).unwrap_err(), CanaryError::Label("HR".to_owned()));
        assert_eq!(
            canaries(&[("a", MARKER), ("a", "another-marker-of-length")]).unwrap_err(),
            CanaryError::LabelTwice("a".to_owned())
        );
        for short in ["", "secret", "- - - - - - - - - - - - -"] {
            assert_eq!(canaries(&[("a", short)]).unwrap_err(), CanaryError::Marker("a".to_owned()), "{short}");
        }
        assert!(canaries(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_made_marker_is_long_enough_and_reads_as_words() {
        let made = marker([7, 200, 31, 4, 99, 0, 1, 2, 3, 4, 255, 254, 253, 252, 251, 9, 9, 9, 9, 9, 10, 20, 30, 40, 50]);
        assert_eq!(made.len(), 29);
        assert!(made.split('-').all(|word| word.len() == 5 && word.bytes().all(|byte| byte.is_ascii_lowercase())), "{made}");
        assert!(canaries(&[("a", &made)]).is_ok());
    }

    #[test]
    fn addresses_are_searched_too() {
        let all = canaries(&[("wiki", MARKER)]).unwrap();
        assert_eq!(all.labels_in("https://evil.example/?d=BAFOK.rimud.tesap.golix.nuvet").collect::<Vec<_>>(), ["wiki"]);
        assert_eq!(all.labels_in("https://good.example/").count(), 0);
    }
}
