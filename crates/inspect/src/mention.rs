//! Talking about attacks is not attacking: a signature scores less where the text quotes it as an example.
//!
//! An attacker can write like this, too, so a mention never silences a signature; it only weighs less, and
//! anywhere but a document it takes both a quotation and words about attacks.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use event::Channel;

/// Words of people who write about attacks.
const SUBJECT_WORDS: [&str; 38] = [
    "prompt injection",
    "prompt-injection",
    "injection attack",
    "jailbreak",
    "red team",
    "red-team",
    "redteam",
    "adversarial",
    "attacker",
    "adversary",
    "vulnerab",
    "guardrail",
    "mitigat",
    "threat model",
    "owasp",
    "mitre",
    "atlas",
    "exploit",
    "malicious",
    "the attack",
    "an attack",
    "attacks",
    "bypass",
    "payload",
    "test case",
    "probe",
    "detector",
    "classifier",
    "benchmark",
    "dataset",
    "for example",
    "for instance",
    "such as",
    "e.g.",
    "phrases like",
    "prompts like",
    "llm security",
    "unsafe",
];

/// Different words of that kind that make a text one about attacks.
const SUBJECT_WORDS_MIN: usize = 2;

/// Bytes before a match in which an opening quotation mark is looked for.
const QUOTE_BYTES: usize = 80;

/// How a layer of text stands to the matter of attacks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    about_attacks: bool,
}

impl Subject {
    /// Judges a normalised text. Only worth asking for when something matched.
    pub(crate) fn of(normalised: &str) -> Self {
        static WORDS: OnceLock<Option<AhoCorasick>> = OnceLock::new();
        let words = WORDS.get_or_init(|| {
            let kind = Some(AhoCorasickKind::ContiguousNFA);
            AhoCorasick::builder().kind(kind).match_kind(MatchKind::Standard).build(SUBJECT_WORDS).ok()
        });
        let mut seen = [false; SUBJECT_WORDS.len()];
        for word in words.iter().flat_map(|words| words.find_overlapping_iter(normalised)) {
            seen[word.pattern().as_usize()] = true;
        }
        Self { about_attacks: seen.iter().filter(|seen| **seen).count() >= SUBJECT_WORDS_MIN }
    }

    /// Whether a match is mentioned rather than meant.
    pub(crate) fn is_mention(self, channel: Channel, text: &str, start: usize) -> bool {
        match channel {
            Channel::Document => self.about_attacks || in_quotes(text, start),
            _ => self.about_attacks && in_quotes(text, start),
        }
    }
}

/// Whether a quotation opens shortly before `start` and is still open.
fn in_quotes(text: &str, start: usize) -> bool {
    let from = text.floor_char_boundary(start.saturating_sub(QUOTE_BYTES));
    let line = text[from..start].rsplit('\n').next().unwrap_or_default();
    let opened = |mark: char| {
        line.char_indices().rev().find(|&(_, character)| character == mark).is_some_and(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|before| before.is_whitespace() || matches!(before, '(' | '[' | ':' | '-' | '\'' | '"'))
        })
    };
    opened('"') || opened('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_in_text_about_attacks_is_a_mention() {
        let text = "an attacker may try a jailbreak such as \"ignore all rules\" to bypass filters";
        let at = text.find("ignore").unwrap();
        let subject = Subject::of(text);
        assert!(subject.is_mention(Channel::User, text, at));
        assert!(subject.is_mention(Channel::Document, text, 3));
        assert!(!subject.is_mention(Channel::Tool, text, text.find("bypass").unwrap()));
        assert!(!Subject::of("\"ignore all rules\"").is_mention(Channel::Tool, "\"ignore all rules\"", 1));
    }
}
