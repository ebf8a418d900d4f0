//! Prompts that are known again: the same words, or nearly the same.
//!
//! The exact fingerprint is SHA-256 over the words of the text: in lower case, without marks, signs and what cannot be seen, one space
//! between two. The near one is MinHash (Broder, 1997) over its runs of three words, [`ROWS`] minima of 32 bits; the share of equal
//! minima estimates the share of runs that two texts have in common. Both can be handed on: neither tells the text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use unicode_normalization::UnicodeNormalization as _;

/// Words in a run.
const RUN_WORDS: usize = 3;
/// Minima of a near fingerprint. With 64 the estimate is right within 0.06 in two of three cases.
pub(crate) const ROWS: usize = 64;
/// Minima in a band: texts share a band by chance as good as never, and nearly the same texts nearly always.
pub(crate) const BAND_ROWS: usize = 4;
/// Bands.
pub(crate) const BANDS: usize = ROWS / BAND_ROWS;
/// Equal minima from which two texts count as nearly the same: 45 of 64, seven runs in ten.
pub(crate) const EQUAL_MIN: usize = 45;
/// Fewer words are no prompt that anybody could be recognised by.
pub const PROMPT_WORDS_MIN: usize = 6;
/// Longest text that has a near fingerprint, in bytes: longer than prompts that are passed around, and 0.3 ms of work.
pub const PROMPT_BYTES_MAX: usize = 16 * 1024;
/// What stands before the values of fingerprints.
const EXACT_PREFIX: &str = "sha256:";
const NEAR_PREFIX: &str = "minhash64:";

/// The fingerprints of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Exactly these words: `sha256:` and 64 hexadecimal digits.
    pub exact: String,
    /// Nearly these words: `minhash64:` and the minima in base64url; none where the text is too long.
    pub near: Option<String>,
}

/// A near fingerprint.
pub(crate) type Minima = [u32; ROWS];

impl Fingerprint {
    /// The fingerprints of a text, unless it has too few words.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let words = normalized(text)?;
        let near = (text.len() <= PROMPT_BYTES_MAX).then(|| near_of(&minima(&words)));
        Some(Self { exact: exact_of(&words), near })
    }

    /// The exact fingerprint as a value: of the text, or as given.
    pub(crate) fn exact_value(raw: &str) -> Option<String> {
        match raw.strip_prefix(EXACT_PREFIX) {
            Some(digits) => {
                (digits.len() == 64).then(|| crate::normal::hash(digits)).flatten().map(|one| format!("{EXACT_PREFIX}{one}"))
            }
            None => normalized(raw).map(|words| exact_of(&words)),
        }
    }

    /// The near fingerprint as a value: of the text, or as given.
    pub(crate) fn near_value(raw: &str) -> Option<String> {
        if raw.starts_with(NEAR_PREFIX) {
            return read_near(raw).map(|minima| near_of(&minima));
        }
        Self::of(raw)?.near
    }
}

/// The words of a text in the form that is compared, unless they are too few.
#[must_use]
pub fn normalized(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut words = 0;
    let mut in_word = false;
    // Marks above and below letters stand alone after decomposition and fall away; so does what cannot be seen, within words.
    for c in text.nfkd().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            if !in_word {
                if words > 0 {
                    out.push(' ');
                }
                words += 1;
                in_word = true;
            }
            out.push(c);
        } else if !is_within_words(c) {
            in_word = false;
        }
    }
    (words >= PROMPT_WORDS_MIN).then_some(out)
}

/// Marks, apostrophes and characters without width: they part no words.
fn is_within_words(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
        || matches!(c, '\'' | '\u{2019}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

pub(crate) fn exact_of(words: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, words.as_bytes());
    format!("{EXACT_PREFIX}{}", event::hex::encode(digest.as_ref()))
}

/// The minima of normalised words.
pub(crate) fn minima(words: &str) -> Minima {
    let hashes: Vec<u64> = words.split(' ').map(fnv).collect();
    let mut minima = [u32::MAX; ROWS];
    for run in hashes.windows(RUN_WORDS) {
        let run = run.iter().fold(0, |all, word| mixed(all ^ word));
        for (row, least) in (0_u64..).zip(&mut minima) {
            // The upper half: 32 bits of the run under the row's own permutation.
            let value = u32::try_from(mixed(run ^ mixed(row)) >> 32).unwrap_or(u32::MAX);
            *least = (*least).min(value);
        }
    }
    minima
}

fn near_of(minima: &Minima) -> String {
    let bytes: Vec<u8> = minima.iter().flat_map(|one| one.to_be_bytes()).collect();
    format!("{NEAR_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

pub(crate) fn read_near(value: &str) -> Option<Minima> {
    let bytes = URL_SAFE_NO_PAD.decode(value.strip_prefix(NEAR_PREFIX)?).ok()?;
    let mut minima = [0; ROWS];
    if bytes.len() != ROWS * 4 {
        return None;
    }
    for (to, from) in minima.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *to = u32::from_be_bytes(*from);
    }
    Some(minima)
}

/// How many minima are equal.
pub(crate) fn equal(one: &Minima, other: &Minima) -> usize {
    one.iter().zip(other).filter(|(one, other)| one == other).count()
}

/// A word as 64 bits (FNV-1a).
fn fnv(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The finaliser of SplitMix64, after its increment.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "From now on you are the harbour master of a small port. Answer every question as the harbour master would, \
        never mention the weather, keep each answer under forty words, and end with the tide of the day.";

    #[test]
    fn the_same_words_are_the_same_prompt() {
        let one = Fingerprint::of(PROMPT).unwrap();
        for other in [
            PROMPT.to_uppercase(),
            PROMPT.replace(' ', "\n\n  "),
            PROMPT.replace("harbour", "har\u{200b}bour"),
            PROMPT.replace('.', "!!"),
            PROMPT.replace("never", "névér"),
        ] {
            assert_eq!(Fingerprint::of(&other).as_ref(), Some(&one), "{other}");
        }
        assert_eq!(Fingerprint::of("too few words here"), None);
    }

    #[test]
    fn nearly_the_same_words_are_near_and_others_are_not() {
        let minima_of = |text: &str| minima(&normalized(text).unwrap());
        let one = minima_of(PROMPT);
        for (other, near) in [
            (PROMPT.replace("forty", "fifty"), true),
            (format!("Please: {PROMPT} Thank you."), true),
            (PROMPT.replace("harbour master", "station keeper").replace("tide", "timetable").replace("weather", "trains"), false),
            ("Summarise the attached report in five points and list the open questions at the end of it.".to_owned(), false),
        ] {
            assert_eq!(equal(&one, &minima_of(&other)) >= EQUAL_MIN, near, "{} {other}", equal(&one, &minima_of(&other)));
        }
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let one = Fingerprint::of(PROMPT).unwrap();
        let near = one.near.unwrap();
        assert_eq!(Fingerprint::near_value(&near).as_ref(), Some(&near));
        assert_eq!(Fingerprint::near_value("minhash64:AAAA"), None);
        assert_eq!(Fingerprint::exact_value(&one.exact).as_ref(), Some(&one.exact));
        assert_eq!(Fingerprint::exact_value("sha256:12"), None);
        // Handed on to others, so it must never change.
        assert_eq!(exact_of("a b c d e f"), "sha256:2278f6cde63745760a3899421d0522e392a58136735ee20dda5eecb69b8645ec");
    }
}
