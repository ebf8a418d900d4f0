//! Fingerprints of texts by winnowing (Schleimer, Wilkerson, Aiken: Winnowing, SIGMOD 2003).
//!
//! Of every [`WINDOW`] grams in a row the one with the least hash is kept. So two texts that share a run of
//! [`RUN_CHARS_SURE`] letters and digits share a fingerprint, wherever the run stands and whatever stands between its
//! letters; and a run shorter than [`GRAM_CHARS`] is never noticed.

use std::collections::VecDeque;
use std::ops::Range;

/// Letters and digits of a gram: about four words, which two texts have in common by quoting and seldom by chance.
pub(crate) const GRAM_CHARS: usize = 20;
/// Grams of which one is kept.
const WINDOW: usize = 8;
/// A run of so many letters and digits is sure to be noticed.
#[cfg(test)]
const RUN_CHARS_SURE: usize = GRAM_CHARS + WINDOW - 1;
/// The prime 2^61 - 1, by which the rolling hash counts.
const PRIME: u64 = (1 << 61) - 1;
/// Its base: any number that is no small power.
const BASE: u64 = 0x0001_9b1c_5f3a_7d29;

/// A fingerprint, and where its gram stands in the text, in bytes.
pub(crate) type Print = (u64, Range<usize>);

/// The fingerprints of a text, in its order.
pub(crate) fn prints(text: &str) -> Vec<Print> {
    let mut out: Vec<Print> = Vec::new();
    let mut window: VecDeque<Print> = VecDeque::with_capacity(WINDOW);
    for gram in grams(text) {
        window.push_back(gram);
        if window.len() > WINDOW {
            window.pop_front();
        }
        if window.len() == WINDOW {
            keep_least(&window, &mut out);
        }
    }
    // A text of fewer grams than a window has one, too.
    if out.is_empty() {
        keep_least(&window, &mut out);
    }
    out
}

/// The least; where several are, the one that was kept before, so that a text that repeats one letter has few fingerprints (the paper's
/// robust winnowing), else the rightmost.
fn keep_least(window: &VecDeque<Print>, out: &mut Vec<Print>) {
    let Some(least) = window.iter().rev().min_by_key(|(hash, _)| *hash) else { return };
    let is_kept = |(hash, range): &Print| *hash == least.0 && window.front().is_some_and(|(_, first)| first.start <= range.start);
    if !out.last().is_some_and(is_kept) {
        out.push(least.clone());
    }
}

/// Every [`GRAM_CHARS`] letters and digits in a row, in lower case.
fn grams(text: &str) -> impl Iterator<Item = Print> + '_ {
    let mut last: VecDeque<(u64, usize)> = VecDeque::with_capacity(GRAM_CHARS);
    let mut hash = 0_u64;
    let leading = (1..GRAM_CHARS).fold(1, |power, _| times(power, BASE));
    text.char_indices().filter(|(_, c)| c.is_alphanumeric()).filter_map(move |(at, c)| {
        // One letter for one: what becomes several in lower case keeps its first.
        let lower = if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) };
        let value = u64::from(u32::from(lower)) + 1;
        if last.len() == GRAM_CHARS
            && let Some((first, _)) = last.pop_front()
        {
            hash = (hash + PRIME - times(first, leading)) % PRIME;
        }
        hash = (times(hash, BASE) + value) % PRIME;
        last.push_back((value, at));
        let (_, start) = last.front().copied().filter(|_| last.len() == GRAM_CHARS)?;
        // Mixed, so that which gram is the least does not hang on its last letters.
        Some(((hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9), start..at + c.len_utf8()))
    })
}

fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    // 2^61 is one more than the prime: the upper bits count as often as the lower ones. No division.
    let (low, high) = (product as u64 & PRIME, (product >> 61) as u64);
    let sum = low + high;
    if sum >= PRIME { sum - PRIME } else { sum }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> HashSet<u64> {
        prints(text).into_iter().map(|(hash, _)| hash).collect()
    }

    #[test]
    fn texts_that_share_a_sentence_share_fingerprints() {
        let source = "Always send a copy of every invoice to the accounting office in the second floor.";
        let quoted = format!("As I noted: {}", source.to_uppercase().replace(' ', "\n  "));
        assert!(set(source).is_subset(&set(&quoted)) || set(source).intersection(&set(&quoted)).count() >= 5);
        assert_eq!(set(source).intersection(&set("Invoices of the second quarter were sent late again, sorry.")).count(), 0);
        assert!(set("short").is_empty());
        assert!(prints(&"a".repeat(5_000)).len() < 1_000);
    }

    proptest! {
        #[test]
        fn products_are_those_of_a_division(a in 0..PRIME, b in 0..PRIME) {
            prop_assert_eq!(u128::from(times(a, b)), u128::from(a) * u128::from(b) % u128::from(PRIME));
        }

        #[test]
        fn a_long_enough_run_is_always_noticed(
            run in "[a-z0-9äß]{27,80}",
            before in "[ -~]{0,60}",
            after in "[ -~]{0,60}",
            other in "[ -~é]{0,60}",
        ) {
            prop_assert!(run.chars().count() >= RUN_CHARS_SURE);
            let (one, two) = (format!("{before} {run} {after}"), format!("{other}\n{run}"));
            prop_assert!(!set(&one).is_disjoint(&set(&two)));
        }

        #[test]
        fn places_are_in_the_text(text in "\\PC{0,300}") {
            for (_, range) in prints(&text) {
                let gram = text.get(range).unwrap();
                prop_assert_eq!(gram.chars().filter(|c| c.is_alphanumeric()).count(), GRAM_CHARS);
            }
        }
    }
}
