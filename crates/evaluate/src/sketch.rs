//! What is kept of an answer: enough to tell how like another one it is, and not its text.

use serde::{Deserialize, Serialize};

use crate::sha256_hex;

/// Most shingles of a sketch: those with the least hashes, which are a fair sample (Broder 1997).
const SHINGLES_MAX: usize = 512;

/// Shingles on which likeness is estimated.
const COMPARED_MAX: u32 = 512;

/// A sketch of a text: its digest, and hashes of its words and pairs of words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    /// SHA-256 of the text, hexadecimal.
    digest: String,
    /// Sorted, each once.
    shingles: Vec<u32>,
}

impl Sketch {
    /// The sketch of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let lower = text.to_lowercase();
        let words: Vec<&str> = lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let single = words.iter().map(|word| hash(&[word]));
        let pairs = words.windows(2).map(hash);
        let mut shingles: Vec<u32> = single.chain(pairs).collect();
        shingles.sort_unstable();
        shingles.dedup();
        shingles.truncate(SHINGLES_MAX);
        Self { digest: sha256_hex(&[text.as_bytes()]), shingles }
    }

    /// Whether the texts are the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// How like the texts are, 0 to 1: the share of shingles that both have (Jaccard), estimated on the least hashes of both.
    #[must_use]
    pub fn likeness(&self, other: &Self) -> f64 {
        if self.is_same(other) {
            return 1.0;
        }
        let (mut a, mut b) = (self.shingles.iter().peekable(), other.shingles.iter().peekable());
        let (mut all, mut common) = (0_u32, 0_u32);
        while all < COMPARED_MAX {
            match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x == y => {
                    common += 1;
                    a.next();
                    b.next();
                }
                (Some(x), Some(y)) if x < y => drop(a.next()),
                (Some(_), None) => drop(a.next()),
                (_, Some(_)) => drop(b.next()),
                (None, None) => break,
            }
            all += 1;
        }
        // Texts without words are alike only where they are the same.
        if all == 0 { 0.0 } else { f64::from(common) / f64::from(all) }
    }
}

/// 32 bits of FNV-1a over 64, words parted by a byte that is in none.
fn hash(words: &[&str]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough to tell the words of one answer apart")]
    let folded = (hash ^ (hash >> 32)) as u32;
    folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn likeness_follows_the_words() {
        let paris = Sketch::of("The capital of France is Paris.");
        assert_eq!(paris.likeness(&Sketch::of("The capital of France is Paris.")), 1.0);
        let near = paris.likeness(&Sketch::of("The capital of France is Paris, of course."));
        let far = paris.likeness(&Sketch::of("I cannot say anything about that matter today."));
        assert!(near > 0.6 && near < 1.0 && far < 0.1, "{near} {far}");
        assert_eq!(Sketch::of("!!").likeness(&Sketch::of("??")), 0.0);
    }

    #[test]
    fn long_answers_stay_small_and_comparable() {
        let long = |from: u32| (from..from + 3_000).map(|word| format!("word{word} ")).collect::<String>();
        let (a, b) = (Sketch::of(&long(0)), Sketch::of(&long(1_500)));
        assert_eq!(a.shingles.len(), SHINGLES_MAX);
        // A third of all words are common.
        assert!((a.likeness(&b) - 1.0 / 3.0).abs() < 0.1, "{}", a.likeness(&b));
    }

    proptest! {
        #[test]
        fn likeness_is_a_share_and_has_no_sides(a in ".{0,80}", b in ".{0,80}") {
            let (a, b) = (Sketch::of(&a), Sketch::of(&b));
            let like = a.likeness(&b);
            prop_assert!((0.0..=1.0).contains(&like));
            prop_assert_eq!(like, b.likeness(&a));
            prop_assert_eq!(a.likeness(&a), 1.0);
        }
    }
}
