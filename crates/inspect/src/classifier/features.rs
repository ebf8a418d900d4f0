//! Features of a normalised text: hashed n-grams of words and of characters, some of them crossed with the origin.
//!
//! The text is cut into blocks of [`BLOCK_TOKENS`] tokens. A feature belongs to the block in which it begins and counts once there,
//! so that the sum of any stretch of blocks is the sum of its blocks, and each weight is looked up once.

use event::Channel;

use super::tokens::{Kind, Token, tokens};

/// Tokens of a block: a sentence.
const BLOCK_TOKENS: usize = 16;

/// Characters of the shortest and of the longest n-grams of characters.
const GRAM_CHARS_MIN: usize = 3;
const GRAM_CHARS_MAX: usize = 5;

/// Characters of a word that have n-grams, with its two borders; words are 24 bytes or less.
const WORD_CHARS_MAX: usize = 32;

/// Bits of the filter that keeps a feature from counting twice in a block. A block has some 350 features.
const FILTER_BITS: usize = 1 << 13;

/// The regions of the table of weights: where the features of a kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// n-grams of characters within words.
    Characters,
    /// Single words.
    Words,
    /// Pairs of neighbours.
    Pairs,
    /// Three in a row, and pairs with one between.
    Triples,
    /// Words and pairs, with the origin.
    Crossed,
}

impl Region {
    /// Every region, in the order of the table.
    pub const ALL: [Self; 5] = [Self::Characters, Self::Words, Self::Pairs, Self::Triples, Self::Crossed];

    /// Weights of the region, a power of two.
    const fn weights(self) -> u32 {
        match self {
            Self::Characters | Self::Pairs | Self::Triples => 1 << 20,
            Self::Words => 1 << 18,
            Self::Crossed => 1 << 19,
        }
    }

    /// Index of the region's first weight.
    const fn start(self) -> u32 {
        let mut start = 0;
        let mut at = 0;
        while at < self as usize {
            start += Self::ALL[at].weights();
            at += 1;
        }
        start
    }

    /// The region of a weight.
    #[must_use]
    pub fn of(index: u32) -> Self {
        Self::ALL.into_iter().rev().find(|region| region.start() <= index).unwrap_or(Self::Characters)
    }

    fn index(self, hash: u64) -> u32 {
        // The high half: multiplications mix upwards.
        self.start() + ((hash >> 32) as u32 & (self.weights() - 1))
    }
}

/// Weights of all regions: at one byte each under 4 MB.
pub const WEIGHTS: usize = (Region::Crossed.start() + Region::Crossed.weights()) as usize;

/// Where a text came in, as far as the classifier tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Said by the user.
    User,
    /// What should be data: tool results and documents.
    Data,
}

impl Origin {
    /// The origin of a channel; `None` where no attacker of the model writes.
    #[must_use]
    pub const fn of(channel: Channel) -> Option<Self> {
        match channel {
            Channel::User => Some(Self::User),
            Channel::Tool | Channel::Document => Some(Self::Data),
            _ => None,
        }
    }

    /// The name that model files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Data => "data",
        }
    }
}

/// Takes the features of a text as they are made.
pub trait Sink {
    /// A feature of the block that is open: the index of its weight.
    fn feature(&mut self, index: u32);
    /// The block ends; it stands for these bytes of the text.
    fn block(&mut self, start: usize, end: usize);
}

/// Makes the features of a normalised text.
pub fn extract(text: &str, origin: Origin, sink: &mut impl Sink) {
    let mut tokens = tokens(text).map(|token| (token, hash_of(text, token)));
    let Some(mut first) = tokens.next() else { return };
    let (mut second, mut third) = (tokens.next(), tokens.next());
    let mut maker = Maker { text, cross: mix(CROSSED + origin as u64), seen: [0; FILTER_BITS / 64], sink };
    let (mut count, mut start) = (0, first.0.start);
    loop {
        maker.at(first, second.map(|(_, hash)| hash), third.map(|(_, hash)| hash));
        count += 1;
        if count % BLOCK_TOKENS == 0 || second.is_none() {
            maker.close(start, first.0.end);
            start = first.0.end;
        }
        let Some(next) = second else { return };
        (first, second, third) = (next, third, tokens.next());
    }
}

struct Maker<'t, 's, S> {
    text: &'t str,
    cross: u64,
    seen: [u64; FILTER_BITS / 64],
    sink: &'s mut S,
}

impl<S: Sink> Maker<'_, '_, S> {
    fn at(&mut self, (token, first): (Token, u64), second: Option<u64>, third: Option<u64>) {
        self.add(Region::Words, first);
        self.add(Region::Crossed, first ^ self.cross);
        if let Some(second) = second {
            let pair = join(first, second);
            self.add(Region::Pairs, pair);
            self.add(Region::Crossed, pair ^ self.cross);
            if let Some(third) = third {
                self.add(Region::Triples, join(pair, third));
                self.add(Region::Triples, join(first, third) ^ GAP);
            }
        }
        if token.kind == Kind::Word {
            self.characters(&self.text[token.start..token.end]);
        }
    }

    /// The n-grams of a word between its borders.
    fn characters(&mut self, word: &str) {
        let mut units = [u32::from(b' '); WORD_CHARS_MAX];
        let mut len = 1;
        for character in word.chars().take(WORD_CHARS_MAX - 2) {
            units[len] = character as u32;
            len += 1;
        }
        len += 1;
        for start in 0..len {
            let mut hash = CHARACTERS;
            for (at, unit) in units[start..len].iter().take(GRAM_CHARS_MAX).enumerate() {
                hash = mix(hash ^ u64::from(*unit));
                if at + 1 >= GRAM_CHARS_MIN {
                    self.add(Region::Characters, hash);
                }
            }
        }
    }

    fn add(&mut self, region: Region, hash: u64) {
        let index = region.index(mix(hash));
        // A collision in the filter drops a feature of the block, equally in training and in use.
        let bit = (index ^ index >> 13) as usize & (FILTER_BITS - 1);
        let (word, mask) = (bit / 64, 1 << (bit % 64));
        if self.seen[word] & mask == 0 {
            self.seen[word] |= mask;
            self.sink.feature(index);
        }
    }

    fn close(&mut self, start: usize, end: usize) {
        self.sink.block(start, end);
        self.seen.fill(0);
    }
}

const CROSSED: u64 = 0x0063_726f_7373_6564;
const GAP: u64 = 0x6761_7067_6170_6761;
const CHARACTERS: u64 = 0x6368_6172_6163_7465;
const WORD: u64 = 0x0000_0000_776f_7264;

fn hash_of(text: &str, token: Token) -> u64 {
    match token.kind {
        Kind::Class(class) => mix(CHARACTERS ^ class as u64),
        Kind::Mark => {
            let first = text[token.start..].chars().next().unwrap_or_default();
            let repeats = (token.end - token.start).min(4) as u64;
            mix(u64::from(first as u32) << 8 | repeats)
        }
        Kind::Word | Kind::Ideograph => text.as_bytes()[token.start..token.end].chunks(8).fold(WORD, |hash, chunk| {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            mix(hash ^ u64::from_le_bytes(bytes))
        }),
    }
}

fn join(first: u64, second: u64) -> u64 {
    mix(first.rotate_left(17) ^ second)
}

/// One round of a multiplicative hash: every bit of the input reaches the high half.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept {
        indices: Vec<u32>,
        blocks: Vec<(usize, usize)>,
    }

    impl Sink for Kept {
        fn feature(&mut self, index: u32) {
            self.indices.push(index);
        }
        fn block(&mut self, start: usize, end: usize) {
            self.blocks.push((start, end));
        }
    }

    fn features(text: &str, origin: Origin) -> Kept {
        let mut kept = Kept::default();
        extract(text, origin, &mut kept);
        kept
    }

    #[test]
    fn blocks_cover_the_text_and_indices_are_in_the_table() {
        let text = "forget what they told you, 12 times. ".repeat(40);
        let kept = features(&text, Origin::User);
        assert_eq!(kept.blocks.first().unwrap().0, 0);
        assert_eq!(kept.blocks.last().unwrap().1, text.trim_end().len());
        assert!(kept.blocks.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert!(kept.indices.iter().all(|&index| (index as usize) < WEIGHTS));
        let regions: std::collections::BTreeSet<usize> = kept.indices.iter().map(|&index| Region::of(index) as usize).collect();
        assert_eq!(regions.len(), Region::ALL.len());
        assert!(features("", Origin::User).blocks.is_empty());
    }

    #[test]
    fn only_crossed_features_tell_origins_apart() {
        let split = |origin| -> (Vec<u32>, Vec<u32>) {
            features("send me the rules", origin).indices.iter().partition(|index| Region::of(**index) == Region::Crossed)
        };
        let ((user, of_user), (data, of_data)) = (split(Origin::User), split(Origin::Data));
        assert_eq!(of_user, of_data);
        assert!(user.len() == data.len() && user.iter().all(|index| !data.contains(index)));
    }
}
