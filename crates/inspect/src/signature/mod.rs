//! Signatures: rules as data, what they mean once loaded, and how they match.

mod atoms;
mod condition;
mod dialect;
mod lazy;
mod load;
mod matcher;

pub(crate) use condition::{Condition, Patterns};
pub(crate) use load::{ExampleCase, Loaded, check_examples, compile};
pub use load::{PATTERNS_MAX, WITHOUT_ATOMS_MAX, check_pattern, check_rule, has_atoms};
pub(crate) use matcher::{Found, Index, Scratch, Trigger};

use event::{Channel, Risk, RuleId, TechniqueId};

use crate::format::PatternView;
use lazy::LazyRegex;

/// A loaded signature.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) id: RuleId,
    pub(crate) family: String,
    pub(crate) risk: Risk,
    pub(crate) technique: TechniqueId,
    pub(crate) technique_indirect: Option<TechniqueId>,
    /// Score by channel, in the order of [`CHANNELS`].
    pub(crate) scores: [Option<f32>; 5],
    /// What is left of the score where the text talks about the matter.
    pub(crate) mention: f32,
    /// Which of its patterns must match together; `None` where each is enough.
    pub(crate) condition: Option<Condition>,
    pub(crate) patterns: Vec<Pattern>,
}

/// The channels, in the order of [`Signature::scores`].
pub(crate) const CHANNELS: [Channel; 5] = [Channel::User, Channel::Assistant, Channel::Tool, Channel::Document, Channel::System];

fn position(channel: Channel) -> Option<usize> {
    CHANNELS.iter().position(|&of| of == channel)
}

impl Signature {
    /// The score that a match has in a channel; `None` where the signature does not apply.
    pub(crate) fn score(&self, channel: Channel) -> Option<f32> {
        self.scores[position(channel)?]
    }

    /// The technique that a match in a channel is evidence of.
    pub(crate) fn technique(&self, channel: Channel) -> TechniqueId {
        self.technique_indirect.filter(|_| channel.is_untrusted()).unwrap_or(self.technique)
    }

    /// Bytes of its regexes that are compiled by now.
    pub(crate) fn compiled_bytes(&self) -> usize {
        self.patterns.iter().flat_map(Pattern::regexes).map(LazyRegex::compiled_bytes).sum()
    }

    /// Forgets compiled regexes: they come back when they are needed.
    pub(crate) fn forget_compiled(&mut self) {
        for pattern in &mut self.patterns {
            pattern.regex.forget();
            pattern.unless.iter_mut().for_each(LazyRegex::forget);
        }
    }
}

/// One pattern of a signature.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) view: PatternView,
    /// The channels that it reads, in the order of [`CHANNELS`].
    channels: [bool; 5],
    /// Of each group at least one must stand in the text before the regex is run; near those of the first group. Empty for a pattern
    /// that has none.
    pub(crate) atoms: Vec<Vec<String>>,
    /// Bytes around an atom of the first group in which the pattern is looked for; `None`: all of the layer.
    near: Option<usize>,
    regex: LazyRegex,
    /// A match is none where this matches near it.
    unless: Option<LazyRegex>,
}

impl Pattern {
    /// Whether it reads what comes in by a channel.
    pub(crate) fn reads(&self, channel: Channel) -> bool {
        position(channel).is_some_and(|position| self.channels[position])
    }

    fn regexes(&self) -> impl Iterator<Item = &LazyRegex> {
        std::iter::once(&self.regex).chain(&self.unless)
    }
}
