//! Leaks by overlap: output that repeats the system prompt, word by word under any disguise, or in other words.
//!
//! Two measures, for two ways of giving a prompt away:
//!
//! - **Runs** compare letters and digits alone, [`GRAM_CHARS`] in a row, so that case, punctuation, line breaks and whatever
//!   stands between letters or words (`Y-o-u a-r-e`, `You - are - Robin`) say nothing. Every view is read: as it stands, decoded,
//!   ROT13, reversed, leetspeak, look-alike letters.
//! - **Retelling** compares pairs of neighbouring content words by their stems, in any order and with a word between: sentences
//!   that say the same in nearly the same words share most of them.
//!
//! What half of all prompts say ([`BOILERPLATE`]) is no secret and counts for neither.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::OnceLock;

use event::{Finding, RuleId};

use crate::structure::Check;
use crate::view::{self, Decoder, Layers, ViewKind};

/// Letters and digits in a row that are compared: about five words, which two texts share by chance only where they quote.
const GRAM_CHARS: usize = 24;
/// Letters and digits of a prompt that are compared: 10,000 words, and at most 1 MiB of memory for each prompt.
const PROMPT_CHARS_MAX: usize = 64 * 1024;
/// Shortest prompt that can be recognised, in letters and digits beside boilerplate: ten words.
const PROMPT_CHARS_MIN: usize = 50;
/// Shortest run that is reported: fourteen words. Answers rightly repeat a name, a title, a rule's few words.
const RUN_CHARS_MIN: usize = 60;
/// Runs from here on are certain leaks: forty words.
const RUN_CHARS_SURE: usize = 180;
/// Share of the prompt from which a repetition is a certain leak.
const SHARE_SURE: f32 = 0.5;
/// Most pairs of content words of a prompt that are compared.
const PAIRS_MAX: usize = 8 * 1024;
/// Fewest pairs that an answer must share to retell: below that two texts share a subject.
const RETOLD_PAIRS_MIN: usize = 8;
/// Share of the pairs from which a text retells. Answers about what a prompt is about share a tenth.
const RETOLD_SHARE_MIN: f32 = 0.4;
/// How far apart two content words of an answer may stand to be a pair.
const PAIR_DISTANCE: usize = 3;
/// Letters of a word that stand for it: `advice`, `advise` and `advising` are one.
const STEM_CHARS: usize = 5;
/// Shorter words are particles in most languages that have words.
const CONTENT_WORD_CHARS_MIN: usize = 4;

/// What system prompts say everywhere. Repeated, it tells nobody anything.
const BOILERPLATE: [&str; 12] = [
    "You are a helpful, harmless and honest assistant.",
    "You are a helpful AI assistant that answers the questions of the user to the best of your ability.",
    "If you do not know the answer, just say that you do not know. Do not try to make up an answer.",
    "If you don't know the answer, just say that you don't know, don't try to make up an answer.",
    "Use the following pieces of context to answer the question at the end.",
    "Use the following pieces of retrieved context to answer the question. Use three sentences maximum and keep the answer concise.",
    "Answer the user's question as truthfully and helpfully as possible. Be concise, polite and professional.",
    "Always respond in the same language as the user. Format your answer in Markdown.",
    "You have access to the following tools. Use them when they are needed to answer the question.",
    "Think step by step before you answer. Explain your reasoning.",
    "How can I help you today? Let me know if you have any other questions, I am happy to help.",
    "I am an AI assistant and I can help you with a wide range of tasks.",
];

/// Words of content-word length that hold sentences together.
const STOP_WORDS: [&str; 76] = [
    "about",
    "after",
    "again",
    "also",
    "always",
    "another",
    "answer",
    "answers",
    "any",
    "asked",
    "assistant",
    "because",
    "been",
    "before",
    "being",
    "between",
    "both",
    "cannot",
    "could",
    "does",
    "doing",
    "don",
    "each",
    "else",
    "ever",
    "every",
    "from",
    "have",
    "having",
    "help",
    "helpful",
    "here",
    "into",
    "just",
    "know",
    "like",
    "make",
    "many",
    "more",
    "most",
    "must",
    "need",
    "never",
    "only",
    "other",
    "over",
    "please",
    "question",
    "questions",
    "respond",
    "same",
    "should",
    "some",
    "such",
    "than",
    "that",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "very",
    "want",
    "were",
    "what",
    "when",
    "where",
    "which",
    "while",
    "will",
    "with",
    "would",
    "your",
];

/// A system prompt in the form in which it is compared.
#[derive(Debug)]
pub struct Prompt {
    grams: HashSet<u64>,
    pairs: HashSet<u64>,
    /// Letters and digits that count.
    chars: usize,
}

/// How much of a prompt a text repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlap {
    /// Letters and digits of the longest run.
    pub run_chars: usize,
    /// Share of the prompt that is repeated word by word, 0 to 1.
    pub share: f32,
    /// Share of the prompt's pairs of content words that are repeated, 0 to 1; 0 where they are too few to tell.
    pub retold: f32,
    /// Where the longest run stands, in bytes of the text; the whole text where it retells.
    pub range: Range<usize>,
    /// The disguise under which it was found.
    pub view: Option<&'static str>,
}

impl Overlap {
    /// Whether enough of the prompt is given away that nothing is left to guess.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.run_chars >= RUN_CHARS_SURE || self.share >= SHARE_SURE || self.view.is_some()
    }

    /// Whether it is no run that gives the prompt away, but nearly the same words.
    #[must_use]
    pub fn is_retold(&self) -> bool {
        !self.is_whole() && self.run_chars < RUN_CHARS_MIN && self.retold >= RETOLD_SHARE_MIN
    }

    /// How sure a leak it is: 0.9 for a long run, half of the prompt, or any run under a disguise; else 0.5.
    #[must_use]
    pub fn score(&self) -> f32 {
        if self.is_whole() { 0.9 } else { 0.5 }
    }
}

impl Overlap {
    /// The leak as a finding on the text in which it was found.
    #[must_use]
    pub fn finding(&self, text: &str) -> Finding {
        let points = |to: usize| u32::try_from(text.get(..to).unwrap_or(text).chars().count()).unwrap_or(u32::MAX);
        let check = Check::PROMPT_LEAK;
        Finding {
            risk: check.risk,
            technique: check.technique(),
            rule: RuleId::new(check.id),
            score: self.score(),
            start: points(self.range.start),
            end: points(self.range.end),
            view: self.view.map(Cow::Borrowed),
        }
    }
}

impl Prompt {
    /// Reads a prompt; `None` where too little of it is its own to be recognised.
    #[must_use]
    pub fn new(prompt: &str) -> Option<Self> {
        let plain = normal(prompt);
        let known = boilerplate();
        let all: Vec<u64> = Grams::of(&plain).take(PROMPT_CHARS_MAX).map(|(gram, _)| gram).collect();
        let letters = if all.is_empty() { 0 } else { all.len() + GRAM_CHARS - 1 };
        // Letters that no sentence of the boilerplate covers.
        let mut own = vec![true; letters];
        for (at, _) in all.iter().enumerate().filter(|(_, gram)| known.grams.contains(gram)) {
            own[at..at + GRAM_CHARS].fill(false);
        }
        let chars = own.iter().filter(|&&own| own).count();
        let is_own = |at: usize| own[at..at + GRAM_CHARS].iter().filter(|&&own| own).count() * 2 >= GRAM_CHARS;
        let grams: HashSet<u64> = all.iter().enumerate().filter(|&(at, _)| is_own(at)).map(|(_, &gram)| gram).collect();
        if chars < PROMPT_CHARS_MIN {
            return None;
        }
        let pairs = pairs(&plain, 1).filter(|pair| !known.pairs.contains(pair)).take(PAIRS_MAX).collect();
        Some(Self { grams, pairs, chars })
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + 10 * (self.grams.capacity() + self.pairs.capacity())
    }

    /// How much of the prompt `text` repeats; `None` where that is no more than an answer may.
    #[must_use]
    pub fn overlap(&self, text: &str) -> Option<Overlap> {
        let best = crate::pipeline::windows(text, crate::TEXT_BYTES_MAX).into_iter().filter_map(|window| {
            let offset = window.start;
            let mut found = self.overlap_of_window(&text[window])?;
            found.range = found.range.start + offset..found.range.end + offset;
            Some(found)
        });
        best.max_by(|a, b| a.score().total_cmp(&b.score()).then(a.run_chars.cmp(&b.run_chars)))
    }

    pub(crate) fn overlap_of_window(&self, text: &str) -> Option<Overlap> {
        let mut layers = Layers::new(text);
        let mut decoder = Decoder::default();
        let mut contents = VecDeque::from([0]);
        let mut best: Option<Overlap> = None;
        let mut retold = 0.0_f32;
        while let Some(content) = contents.pop_front() {
            for layer in views(&mut layers, content) {
                let found = self.runs(&layers, layer);
                if best.as_ref().is_none_or(|known| found.run_chars > known.run_chars) {
                    best = Some(found);
                }
                retold = retold.max(self.retold(&layers.get(layer).text));
            }
            let depth = layers.get(content).depth;
            for (kind, text, spans) in decoder.decode(&layers.get(content).text, depth) {
                contents.push_back(layers.push(content, kind, text, spans));
            }
        }
        let mut best = best?;
        best.retold = retold;
        // A short prompt is given away by a short run.
        if best.run_chars >= RUN_CHARS_MIN.min(self.chars) {
            return Some(best);
        }
        (retold >= RETOLD_SHARE_MIN).then_some(Overlap { range: 0..text.len(), view: None, ..best })
    }

    /// The longest run of a layer, and what all runs of it cover.
    fn runs(&self, layers: &Layers<'_>, layer: usize) -> Overlap {
        let text = &*layers.get(layer).text;
        let mut seen = HashSet::new();
        // Of a run: where it begins in the text and how many letters it has.
        let mut run: Option<(usize, usize)> = None;
        let (mut longest, mut range) = (0, 0..0);
        for (gram, place) in Grams::of(text) {
            if !self.grams.contains(&gram) {
                run = None;
                continue;
            }
            seen.insert(gram);
            let (start, chars) = run.map_or((place.start, GRAM_CHARS), |(start, chars)| (start, chars + 1));
            run = Some((start, chars));
            if chars > longest {
                longest = chars;
                range = start..place.end;
            }
        }
        // Each run covers a gram's letters more than it has grams: counted for one run, which is the least.
        let covered = if seen.is_empty() { 0 } else { (seen.len() + GRAM_CHARS - 1).min(self.chars) };
        let (start, end) = layers.to_window(layer, range.start, range.end);
        let view = layers.disguise(layer).filter(|kind| kind.is_disguise()).map(ViewKind::name);
        Overlap { run_chars: longest, share: ratio(covered, self.chars), retold: 0.0, range: start..end, view }
    }

    fn retold(&self, text: &str) -> f32 {
        if self.pairs.len() < RETOLD_PAIRS_MIN {
            return 0.0;
        }
        let shared: HashSet<u64> = pairs(text, PAIR_DISTANCE).filter(|pair| self.pairs.contains(pair)).collect();
        if shared.len() < RETOLD_PAIRS_MIN { 0.0 } else { ratio(shared.len(), self.pairs.len()) }
    }
}

/// Both are counts of letters of one prompt, far below 2^24.
fn ratio(part: usize, whole: usize) -> f32 {
    part as f32 / whole.max(1) as f32
}

struct Boilerplate {
    grams: HashSet<u64>,
    pairs: HashSet<u64>,
}

fn boilerplate() -> &'static Boilerplate {
    static KNOWN: OnceLock<Boilerplate> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let texts: Vec<String> = BOILERPLATE.iter().map(|text| normal(text)).collect();
        Boilerplate {
            grams: texts.iter().flat_map(|text| Grams::of(text)).map(|(gram, _)| gram).collect(),
            pairs: texts.iter().flat_map(|text| pairs(text, PAIR_DISTANCE)).collect(),
        }
    })
}

fn normal(text: &str) -> String {
    view::normalise(text).0
}

/// The layers of a content that are compared: normalised, and each disguise of it. A text that is turned shows no trace of it
/// beside the prompt, so these two are always made.
fn views(layers: &mut Layers<'_>, content: usize) -> Vec<usize> {
    let (plain, spans) = view::normalise(&layers.get(content).text);
    let normalised = layers.push(content, ViewKind::Normalised, plain, spans);
    let text = &*layers.get(normalised).text;
    let mut made = vec![(ViewKind::Rot13, view::rot13(text)), (ViewKind::Reversed, view::reversed(text))];
    made.extend(view::homoglyphs(text).map(|one| (ViewKind::Homoglyphs, one)));
    made.extend(view::leetspeak(text).map(|one| (ViewKind::Leetspeak, one)));
    let mut all = vec![normalised];
    all.extend(made.into_iter().map(|(kind, (text, spans))| layers.push(normalised, kind, text, spans)));
    all
}

/// Every [`GRAM_CHARS`] letters and digits in a row: their hash, and where they stand in bytes.
struct Grams<'t> {
    chars: std::str::CharIndices<'t>,
    /// The letters of the gram: character and where it stands.
    window: VecDeque<(u64, usize, usize)>,
    hash: u64,
}

/// The factor of the rolling hash: odd, so that no letter is lost, and without structure.
const ROLL: u64 = 0x9e37_79b9_7f4a_7c15;

impl<'t> Grams<'t> {
    fn of(text: &'t str) -> Self {
        Self { chars: text.char_indices(), window: VecDeque::with_capacity(GRAM_CHARS), hash: 0 }
    }
}

impl Iterator for Grams<'_> {
    type Item = (u64, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        /// What the oldest letter's factor has become when it leaves: `ROLL` to the number of letters.
        const OLDEST: u64 = ROLL.wrapping_pow(24);
        const { assert!(GRAM_CHARS == 24) };
        loop {
            let (at, character) = self.chars.find(|(_, character)| character.is_alphanumeric())?;
            // Spread, so that neighbouring letters do not cancel out.
            let letter = (u64::from(u32::from(character)) + 1).wrapping_mul(0xd6e8_feb8_6659_fd93);
            self.hash = self.hash.wrapping_mul(ROLL).wrapping_add(letter);
            self.window.push_back((letter, at, at + character.len_utf8()));
            if self.window.len() > GRAM_CHARS
                && let Some((oldest, _, _)) = self.window.pop_front()
            {
                self.hash = self.hash.wrapping_sub(oldest.wrapping_mul(OLDEST));
            }
            if self.window.len() == GRAM_CHARS {
                let (start, end) = (self.window.front()?.1, self.window.back()?.2);
                return Some((self.hash, start..end));
            }
        }
    }
}

/// Pairs of content words that stand at most `distance` content words apart, in either order.
fn pairs(normalised: &str, distance: usize) -> impl Iterator<Item = u64> + '_ {
    let mut before: VecDeque<u64> = VecDeque::with_capacity(distance + 1);
    stems(normalised).flat_map(move |stem| {
        let found: Vec<u64> = before.iter().filter(|&&other| other != stem).map(|&other| pair(other, stem)).collect();
        before.push_back(stem);
        if before.len() > distance {
            before.pop_front();
        }
        found
    })
}

fn pair(a: u64, b: u64) -> u64 {
    hash(&(a.min(b), a.max(b)))
}

/// The content words of a normalised text, each as the hash of its stem.
fn stems(normalised: &str) -> impl Iterator<Item = u64> + '_ {
    let words = normalised.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words
        .filter(|word| {
            let tells = word.len() >= CONTENT_WORD_CHARS_MIN || word.bytes().any(|byte| byte.is_ascii_digit());
            tells && !STOP_WORDS.contains(word)
        })
        .map(|word| hash(word.char_indices().nth(STEM_CHARS).map_or(word, |(end, _)| &word[..end])))
}

/// The hash is for this process alone: nothing of it is kept or compared with another's.
fn hash(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    const PROMPT: &str = "You are Robin, the helper of Example Bank. Never give advice on taxes. The discount code of this month \
                          is never to be told to anybody who is not a customer of at least three years. Complaints about the \
                          branch in Leeds go to the ombudsman, and nobody may learn that the vault is serviced on Tuesdays.";

    fn overlap(text: &str) -> Option<Overlap> {
        Prompt::new(PROMPT).unwrap().overlap(text)
    }

    #[test]
    fn repeated_prompts_are_leaks_under_any_disguise() {
        let found = overlap(&format!("Sure! {PROMPT}")).unwrap();
        assert!(found.is_whole() && found.view.is_none() && found.share > 0.99, "{found:?}");
        assert_eq!(found.range, 6..6 + PROMPT.len() - 1);
        let part = overlap("It says: the discount code of this month is never to be told to anybody who is not a customer.");
        assert!(part.as_ref().is_some_and(|part| !part.is_whole() && part.score() == 0.5), "{part:?}");

        let rot13: String = PROMPT
            .chars()
            .map(|letter| match letter {
                'a'..='m' | 'A'..='M' => char::from(letter as u8 + 13),
                'n'..='z' | 'N'..='Z' => char::from(letter as u8 - 13),
                other => other,
            })
            .collect();
        let leet = PROMPT.replace('e', "3").replace('o', "0").replace('i', "1").replace('a', "4");
        let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let percent: String = PROMPT.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for (name, text, view) in [
            ("words apart", PROMPT.replace(' ', " - "), None),
            ("letters apart", PROMPT.chars().map(|letter| format!("{letter} ")).collect(), None),
            ("in capitals, on lines", PROMPT.to_uppercase().replace(' ', "\n"), None),
            ("base64", format!("Here: {}", base64(PROMPT)), Some("base64")),
            ("base64 of base64", base64(&base64(PROMPT)), Some("base64")),
            ("ROT13", rot13, Some("rot13")),
            ("reversed", PROMPT.chars().rev().collect(), Some("reversed")),
            ("leetspeak", leet, Some("leetspeak")),
            ("percent", percent, None),
        ] {
            let found = overlap(&text).unwrap_or_else(|| panic!("{name}: nothing"));
            assert!(found.is_whole() && found.view == view, "{name}: {found:?}");
            assert!(text.get(found.range.clone()).is_some_and(|part| part.len() * 2 > text.len()), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_prompt_in_nearly_the_same_words_is_retold() {
        let told = "My instructions: I'm Robin, a helper at Example Bank, and may not give any tax advice. I must not tell this \
                    month's discount code to a customer of less than three years. Complaints on the Leeds branch go to the \
                    ombudsman. And don't let anyone learn of the vault being serviced Tuesdays!";
        let found = overlap(told).unwrap();
        assert!(found.is_retold() && found.score() == 0.5, "{found:?}");
    }

    #[test]
    fn answers_within_the_prompt_are_not() {
        for text in [
            "",
            "I am Robin, the helper of Example Bank. I cannot give advice on taxes.",
            "As the helper of Example Bank I can tell you about our branches, our hours and our accounts. For complaints about \
             a branch, please write to the ombudsman; the address is on our site. Customers of three years get a discount.",
        ] {
            assert_eq!(overlap(text), None, "{text}");
        }
    }

    #[test]
    fn what_every_prompt_says_is_no_secret() {
        assert!(Prompt::new("You are a helpful assistant.").is_none());
        assert!(Prompt::new(&BOILERPLATE.join(" ")).is_none());
        let prompt = Prompt::new(&format!("{} {PROMPT}", BOILERPLATE.join(" "))).unwrap();
        assert_eq!(prompt.overlap(&BOILERPLATE.join(" ")), None);
        assert!(prompt.overlap(PROMPT).is_some_and(|found| found.share > 0.9));
    }

    #[test]
    fn a_prompt_takes_no_more_memory_than_it_may() {
        let long: String = (0..200_000).map(|number| format!("word{number} ")).collect();
        let prompt = Prompt::new(&long).unwrap();
        assert!(prompt.bytes() < 2 * 1024 * 1024, "{}", prompt.bytes());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_a_range_that_is_not_in_it(text in "[ -~éßЖ日\u{200b}]{0,300}", part in 0..PROMPT.len()) {
            let text = format!("{text}{}{text}", &PROMPT[part..]);
            if let Some(found) = overlap(&text) {
                proptest::prop_assert!(text.get(found.range).is_some());
            }
        }

        #[test]
        fn whatever_stands_between_letters_hides_nothing(gap in "[ \\-_.*\n/|]{0,3}") {
            let spaced: String = PROMPT.chars().filter(|letter| letter.is_alphanumeric()).map(|letter| format!("{letter}{gap}")).collect();
            proptest::prop_assert!(overlap(&spaced).is_some_and(|found| found.is_whole()));
        }
    }
}
