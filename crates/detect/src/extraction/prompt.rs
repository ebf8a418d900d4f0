//! A prompt in the form in which prompts are compared: words as hashes, a fingerprint of the whole, of its beginning and end.

/// Most bytes of a prompt that are read: templates show at the beginning and at the end, so both are.
const HEAD_BYTES_MAX: usize = 3 * 1024;
/// See [`HEAD_BYTES_MAX`].
const TAIL_BYTES_MAX: usize = 1024;
/// Most words that are kept.
const WORDS_MAX: usize = 512;
/// Words of the beginning, or of the end, that make a template.
const TEMPLATE_WORDS: usize = 4;
/// Shortest word that is of a subject and not of the language.
const SUBJECT_LETTERS_MIN: usize = 5;
/// Fewest words with a fingerprint that says something.
const FINGERPRINT_WORDS_MIN: usize = 5;

/// A prompt.
pub(crate) struct Prompt {
    /// Its words, without regard to case; a run of digits is one word, whatever the digits.
    pub(crate) words: Vec<u32>,
    /// Which of them are long enough to be of a subject.
    pub(crate) subject: Vec<u32>,
    /// Tells it apart from others: equal for equal texts only.
    pub(crate) text: u64,
    /// A SimHash (Charikar 2002) of words and pairs of words: near texts differ in few bits. `None` for very short ones.
    pub(crate) fingerprint: Option<u64>,
}

impl Prompt {
    /// Reads a prompt.
    pub(crate) fn read(text: &str) -> Self {
        let head = &text[..text.floor_char_boundary(HEAD_BYTES_MAX)];
        let tail_from = text.ceil_char_boundary(text.len().saturating_sub(TAIL_BYTES_MAX).max(head.len()));
        let mut prompt =
            Self { words: Vec::with_capacity(64), subject: Vec::new(), text: bytes_hash(text.as_bytes()), fingerprint: None };
        prompt.add_words(head);
        prompt.add_words(&text[tail_from..]);
        prompt.fingerprint = fingerprint(&prompt.words);
        prompt
    }

    /// The templates that it may be a filling of: what begins, and what ends, with the same words.
    pub(crate) fn templates(&self) -> impl Iterator<Item = u64> {
        let words = &self.words;
        let is_long = words.len() > TEMPLATE_WORDS + 1;
        let begin = is_long.then(|| words_hash(1, &words[..TEMPLATE_WORDS]));
        let end = is_long.then(|| words_hash(2, &words[words.len() - TEMPLATE_WORDS..]));
        begin.into_iter().chain(end)
    }

    /// A hash of its first `count` words.
    pub(crate) fn beginning(&self, count: usize) -> Option<u64> {
        self.words.get(..count).map(|words| words_hash(3, words))
    }

    fn add_words(&mut self, text: &str) {
        let mut word = Word::default();
        // One more that ends the last word.
        for letter in text.chars().chain([' ']) {
            if letter.is_alphanumeric() {
                word.add(letter);
            } else if let Some((hash, letters)) = word.take() {
                if self.words.len() == WORDS_MAX {
                    return;
                }
                self.words.push(hash);
                if letters >= SUBJECT_LETTERS_MIN {
                    self.subject.push(hash);
                }
            }
        }
    }
}

/// A word as far as it has been read.
#[derive(Default)]
struct Word {
    hash: u64,
    letters: usize,
    in_number: bool,
}

impl Word {
    fn add(&mut self, letter: char) {
        let is_digit = letter.is_numeric();
        if !(is_digit && self.in_number) {
            let letter = match letter {
                _ if is_digit => '0',
                _ if letter.is_ascii() => letter.to_ascii_lowercase(),
                _ => letter.to_lowercase().next().unwrap_or(letter),
            };
            self.hash = (self.hash ^ u64::from(u32::from(letter))).wrapping_mul(0x0000_0100_0000_01b3);
            self.letters += 1;
        }
        self.in_number = is_digit;
    }

    fn take(&mut self) -> Option<(u32, usize)> {
        let word = std::mem::take(self);
        (word.letters > 0).then(|| ((mixed(word.hash.wrapping_add(word.letters as u64)) >> 32) as u32, word.letters))
    }
}

/// Spreads a hash over all of its bits (the end of MurmurHash3).
pub(crate) fn mixed(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// A hash of bytes for sketches. Whoever finds two texts with one hash has two that count as one: nothing else rests on it.
fn bytes_hash(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mixed(hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

fn words_hash(seed: u64, words: &[u32]) -> u64 {
    mixed(words.iter().fold(seed, |hash, word| mixed(hash ^ u64::from(*word)).wrapping_add(seed)))
}

fn fingerprint(words: &[u32]) -> Option<u64> {
    if words.len() < FINGERPRINT_WORDS_MIN {
        return None;
    }
    let mut votes = [0_i32; 64];
    let mut vote = |hash: u64| {
        for (bit, vote) in votes.iter_mut().enumerate() {
            *vote += if hash >> bit & 1 == 1 { 1 } else { -1 };
        }
    };
    for word in words {
        vote(mixed(u64::from(*word) + 1));
    }
    for pair in words.windows(2) {
        vote(mixed((u64::from(pair[0]) << 32) | u64::from(pair[1])));
    }
    Some(votes.iter().enumerate().fold(0, |print, (bit, vote)| if *vote > 0 { print | 1 << bit } else { print }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(a: &str, b: &str) -> u32 {
        (Prompt::read(a).fingerprint.unwrap() ^ Prompt::read(b).fingerprint.unwrap()).count_ones()
    }

    #[test]
    fn near_texts_have_near_fingerprints() {
        let text =
            "The patient was admitted on the fourth of March with a persistent cough and a mild fever that lasted three days";
        assert_eq!(apart(text, &text.to_uppercase()), 0);
        assert!(apart(text, &text.replace("mild", "high")) <= 10);
        let other =
            "Write a short poem on the harbour in winter, with rhymes, and without using any word twice in the whole text";
        assert!(apart(text, other) > 20);
    }

    #[test]
    fn fillings_of_a_template_share_it() {
        let fill = |what: &str| Prompt::read(&format!("Classify the sentiment of this review: {what}. Answer with one word."));
        let (a, b) = (fill("what a wonderful film"), fill("I would not recommend it to anybody, ever"));
        assert!(a.templates().eq(b.templates()));
        assert_ne!(a.text, b.text);
        assert_eq!(a.templates().count(), 2);
        assert_eq!(Prompt::read("hello there").templates().count(), 0);
    }

    #[test]
    fn a_longer_prompt_begins_as_the_shorter_one() {
        let (short, long) = (Prompt::read("My name is Ann and I"), Prompt::read("My name is Ann and I live in"));
        assert_eq!(long.beginning(short.words.len()), short.beginning(short.words.len()));
        assert_eq!(short.beginning(100), None);
    }

    #[test]
    fn any_text_is_read_in_bounds() {
        for text in ["", "é", &"word ".repeat(100_000), &"é".repeat(10_000), &"\u{1f600}".repeat(3_000)] {
            let prompt = Prompt::read(text);
            assert!(prompt.words.len() <= WORDS_MAX);
        }
        assert_eq!(Prompt::read("call 555-1234").words, Prompt::read("CALL 777-9").words);
    }
}
