//! Signatures: rules as data, what they mean once loaded, and how they match.

mod dialect;
mod file;
mod load;
mod matcher;

pub(crate) use load::{ExampleCase, check_examples, compile};
pub(crate) use matcher::{Found, Index, Trigger};

use std::sync::OnceLock;

use event::{Channel, Risk, RuleId, TechniqueId};
use regex_automata::meta::Regex;

/// Most bytes of a compiled pattern: bounded repeats make automata large, and rules may come from users.
const PATTERN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Which text of a content layer a pattern reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// As it stands, in any case.
    Raw,
    /// Normalised.
    Text,
}

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
    pub(crate) patterns: Vec<Pattern>,
}

/// The channels, in the order of [`Signature::scores`].
pub(crate) const CHANNELS: [Channel; 5] = [Channel::User, Channel::Assistant, Channel::Tool, Channel::Document, Channel::System];

impl Signature {
    /// The score that a match has in a channel; `None` where the signature does not apply.
    pub(crate) fn score(&self, channel: Channel) -> Option<f32> {
        let index = CHANNELS.iter().position(|&of| of == channel)?;
        self.scores[index]
    }

    /// The technique that a match in a channel is evidence of.
    pub(crate) fn technique(&self, channel: Channel) -> TechniqueId {
        self.technique_indirect.filter(|_| channel.is_untrusted()).unwrap_or(self.technique)
    }
}

/// One pattern of a signature.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) reads: Reads,
    /// Of each group at least one must stand in the text before the regex is run; near those of the first group.
    pub(crate) atoms: Vec<Vec<String>>,
    regex: LazyRegex,
    /// A match is none where this matches near it.
    unless: Option<LazyRegex>,
}

/// A regex that is compiled when it is first needed: most are never, and start-up is quick.
#[derive(Debug)]
pub(crate) struct LazyRegex {
    source: String,
    compiled: OnceLock<Option<Regex>>,
}

impl LazyRegex {
    fn new(source: String) -> Self {
        Self { source, compiled: OnceLock::new() }
    }

    /// The regex; `None` if it does not compile, which loading rules out (and a test for those built in).
    fn get(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| self.compile().ok()).as_ref()
    }

    fn compile(&self) -> Result<Regex, String> {
        Regex::builder()
            .configure(Regex::config().nfa_size_limit(Some(PATTERN_BYTES_MAX)))
            .build(&self.source)
            .map_err(|error| error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string))
    }
}
