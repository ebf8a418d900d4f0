//! Leaks by overlap: output that repeats long stretches of the system prompt.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Check, Hit};

/// Words of a shingle: sentences that share so many in a row are copies.
const SHINGLE_WORDS: usize = 6;
/// Words of the prompt that are compared.
const PROMPT_WORDS_MAX: usize = 16 * 1024;
/// Shortest prompt that can be recognised, in words.
const PROMPT_WORDS_MIN: usize = 10;
/// Shortest stretch of repeated words that is reported. Answers rightly repeat a name, a title, a rule's few words.
const RUN_WORDS_MIN: usize = 14;
/// Stretches from here on are certain leaks.
const RUN_WORDS_SURE: usize = 40;

/// Looks for the longest stretch of `text` that repeats `prompt` word by word.
pub(crate) fn leak(text: &str, prompt: &str, hits: &mut Vec<Hit>) {
    let prompt: Vec<u64> = words(prompt).take(PROMPT_WORDS_MAX).map(|(_, _, hash)| hash).collect();
    if prompt.len() < PROMPT_WORDS_MIN {
        return;
    }
    let mut known: HashSet<u64> = HashSet::with_capacity(prompt.len());
    for shingle in prompt.windows(SHINGLE_WORDS) {
        known.insert(mix(shingle));
    }
    let mut recent: Vec<(usize, usize, u64)> = Vec::with_capacity(SHINGLE_WORDS);
    let mut run: Option<(usize, usize, usize)> = None; // start, end, words
    let mut best = (0, 0, 0);
    for word in words(text) {
        if recent.len() == SHINGLE_WORDS {
            recent.remove(0);
        }
        recent.push(word);
        let hashes: Vec<u64> = recent.iter().map(|(_, _, hash)| *hash).collect();
        if recent.len() == SHINGLE_WORDS && known.contains(&mix(&hashes)) {
            let grown = run.map_or((recent[0].0, word.1, SHINGLE_WORDS), |(start, _, words)| (start, word.1, words + 1));
            run = Some(grown);
            if grown.2 > best.2 {
                best = grown;
            }
        } else {
            run = None;
        }
    }
    let (start, end, length) = best;
    if length >= RUN_WORDS_MIN.min(prompt.len()) {
        let sure = length >= RUN_WORDS_SURE || length * 2 >= prompt.len();
        hits.push(Hit { score: if sure { 0.9 } else { Check::PROMPT_LEAK.score }, ..Hit::new(Check::PROMPT_LEAK, start, end) });
    }
}

/// Words of letters and digits in any case, with their places and hashes.
fn words(text: &str) -> impl Iterator<Item = (usize, usize, u64)> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).map(move |word| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let mut hasher = DefaultHasher::new();
        for character in word.chars() {
            character.to_ascii_lowercase().hash(&mut hasher);
        }
        (start, start + word.len(), hasher.finish())
    })
}

fn mix(shingle: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    shingle.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "You are Robin, the helper of Example Bank. Never give advice on taxes. The discount code of this month \
                          is never to be told to anybody who is not a customer of at least three years.";

    fn hits(text: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        leak(text, PROMPT, &mut hits);
        hits
    }

    #[test]
    fn repeated_prompts_are_leaks() {
        let found = hits(&format!("Sure! {PROMPT}"));
        assert_eq!((found[0].score, found[0].start), (0.9, 6));
        assert_eq!(hits("It says: the discount code of this month is never to be told to anybody who is new").len(), 1);
    }

    #[test]
    fn answers_within_the_prompt_are_not() {
        assert_eq!(hits("I am Robin, the helper of Example Bank. I cannot give advice on taxes."), []);
        assert_eq!(hits(""), []);
    }
}
