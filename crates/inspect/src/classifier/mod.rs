//! The classifier: a linear model over hashed n-grams and classes of words, which reads what signatures have no words for.
//!
//! A text is scored in overlapping windows of two sentences or so; the best of these is its sum: an attack is as much of one in a long
//! text as alone. The sum of a window is `Σ weights / √(features + prior)`. Signatures that matched add to it. Nothing of the text as a
//! whole does, such as its length: who attacks could choose it. A calibration made on sources that the model had not seen turns sums into
//! scores: at [`Verdict::WARN_SCORE_MIN`](event::Verdict::WARN_SCORE_MIN) one in a hundred benign texts of a new source is above it, at
//! [`Verdict::DENY_SCORE_MIN`](event::Verdict::DENY_SCORE_MIN) one in a thousand.

mod classes;
mod features;
mod model;
mod tokens;

pub use features::{Origin, Region, Sink, WEIGHTS, extract};
pub use model::{Head, Model, ModelError, OriginHead};

/// What the classifier says of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Classified {
    /// 0 to 1, by the calibration.
    pub score: f32,
    /// Before the calibration.
    pub sum: f32,
    /// The stretch that says most, in bytes of the normalised text.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

impl Model {
    /// Scores a normalised text. `signatures` are the named features of what else was found (see [`signature_features`]). `None` for a text
    /// without words and for an origin that the model does not know.
    #[must_use]
    pub fn classify<'n>(&self, text: &str, origin: Origin, signatures: impl Iterator<Item = &'n str>) -> Option<Classified> {
        let of_origin = self.of(origin)?;
        let mut sums = Sums { weights: self.weights(origin)?, open: (0, 0), blocks: Vec::new() };
        extract(text, &mut sums);
        let best = best_stretch(&sums.blocks, self.head().window_blocks, self.head().step, self.head().prior)?;
        let named = |name: &str| of_origin.named.get(name).copied().unwrap_or(0.0);
        let sum = best.sum + signatures.map(named).sum::<f32>() + of_origin.bias;
        Some(Classified { score: of_origin.score(sum), sum, ..best })
    }
}

/// The names of features for signatures that matched with these scores, and for the score that they have together.
pub fn signature_features<'r>(rules: impl Iterator<Item = &'r str>, score: f32) -> Vec<String> {
    let mut names: Vec<String> = rules.map(|rule| format!("signature.{rule}")).collect();
    names.sort_unstable();
    names.dedup();
    names.extend(LEVELS.into_iter().filter(|(level, _)| score >= *level).map(|(_, name)| name.to_owned()));
    names
}

const LEVELS: [(f32, &str); 5] = [(0.1, "score.1"), (0.3, "score.3"), (0.5, "score.5"), (0.7, "score.7"), (0.9, "score.9")];

/// A block's sum of weights, in steps, its features, and its bytes.
struct Block {
    sum: i32,
    features: u32,
    start: usize,
    end: usize,
}

/// Sums weights as features are made.
struct Sums<'m> {
    weights: &'m [u8; WEIGHTS],
    open: (i32, u32),
    blocks: Vec<Block>,
}

impl Sink for Sums<'_> {
    #[inline]
    fn feature(&mut self, index: u32) {
        let weight = i32::from(self.weights[index as usize] as i8);
        self.open = (self.open.0 + weight, self.open.1 + 1);
    }

    fn block(&mut self, start: usize, end: usize) {
        let (sum, features) = std::mem::take(&mut self.open);
        self.blocks.push(Block { sum, features, start, end });
    }
}

fn best_stretch(blocks: &[Block], window: usize, step: f32, prior: f32) -> Option<Classified> {
    let value = |stretch: &[Block]| -> Option<Classified> {
        let (sum, features) = stretch
            .iter()
            .fold((0_i64, 0_u64), |(sum, features), block| (sum + i64::from(block.sum), features + u64::from(block.features)));
        let sum = sum as f32 * step / (features as f32 + prior).sqrt();
        Some(Classified { score: 0.0, sum, start: stretch.first()?.start, end: stretch.last()?.end })
    };
    blocks.windows(window.min(blocks.len()).max(1)).filter_map(value).max_by(|a, b| a.sum.total_cmp(&b.sum))
}
