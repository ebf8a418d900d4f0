//! Labelled texts, as JSON lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use event::Channel;
use files::{LineError, Lines};
use serde::Deserialize;

/// Longest row, in bytes: twice the longest text that a record keeps.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Texts that are made of one template at the most.
const EXPANSIONS_MAX: u64 = 12;

/// Which part of a corpus a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// For training.
    Train,
    /// For choosing and measuring.
    Dev,
    /// Our own texts: always trained on, never measured.
    Always,
}

/// A labelled text.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The text.
    pub text: String,
    /// Whether it is an attack on a language model.
    pub is_attack: bool,
    /// What kind of attack, or of benign text.
    pub kind: String,
    /// Where it entered.
    pub channel: Channel,
    /// Who made it.
    pub source: String,
    /// Sources of one family are made by the same people, or of the same texts: they are left out together. The row's `repo`, or its source.
    pub family: String,
    /// Part of the corpus.
    pub split: Split,
}

/// A corpus that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// The file cannot be read, or has a line that is too long.
    #[error("cannot read the corpus: {0}")]
    Read(#[from] LineError),
    /// A line is no row.
    #[error(
        "line {line} of the corpus: {problem}; a row is {{\"text\", \"label\": \"attack\"|\"benign\", \"kind\", \"channel\", \"source\"}}, or with \"template\" and \"slots\" for \"text\""
    )]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Line {
    text: Option<String>,
    template: Option<String>,
    #[serde(default)]
    slots: BTreeMap<String, Vec<String>>,
    label: Label,
    kind: String,
    channel: String,
    source: String,
    repo: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Label {
    Attack,
    Benign,
}

/// Reads the rows of a corpus. A template becomes up to twelve texts, each slot filled with one of its values.
pub fn read(input: impl BufRead, split: Split) -> Result<Vec<Row>, CorpusError> {
    let mut rows = Vec::new();
    let mut lines = Lines::new(input, LINE_BYTES_MAX);
    while let Some((number, line)) = lines.read()? {
        let wrong = |problem: String| CorpusError::Line { line: number, problem };
        // To JSON every line is the first one.
        let told = |error: serde_json::Error| wrong(error.to_string().replace(" at line 1 column ", ", column "));
        let line: Line = serde_json::from_slice(line).map_err(told)?;
        let channel: Channel =
            line.channel.parse().map_err(|error: event::UnknownChannel| wrong(format!("channel {:?}: {error}", line.channel)))?;
        let texts = match (&line.text, &line.template) {
            (Some(text), None) => vec![text.clone()],
            (None, Some(template)) => expand(template, &line.slots, number as u64 - 1).map_err(wrong)?,
            _ => return Err(wrong("it needs either text or template".to_owned())),
        };
        rows.extend(texts.into_iter().map(|text| Row {
            text,
            is_attack: matches!(line.label, Label::Attack),
            kind: line.kind.clone(),
            channel,
            family: line.repo.clone().unwrap_or_else(|| line.source.clone()),
            source: line.source.clone(),
            split,
        }));
    }
    Ok(rows)
}

fn expand(template: &str, slots: &BTreeMap<String, Vec<String>>, seed: u64) -> Result<Vec<String>, String> {
    if let Some((name, _)) = slots.iter().find(|(_, values)| values.is_empty()) {
        return Err(format!("slots.{name}: there are no values"));
    }
    let combinations = slots.values().fold(1_u64, |all, values| all.saturating_mul(values.len() as u64));
    let mut texts = BTreeSet::new();
    let mut random = Random::new(seed);
    for _ in 0..EXPANSIONS_MAX.min(combinations) {
        let fill = |text: String, (name, values): (&String, &Vec<String>)| {
            text.replace(&format!("{{{name}}}"), &values[random.below(values.len())])
        };
        texts.insert(slots.iter().fold(template.to_owned(), fill));
    }
    Ok(texts.into_iter().collect())
}

/// Repeatable numbers (xorshift): for choices whose quality nobody depends on.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 16) % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_become_texts() {
        let lines = concat!(
            "{\"text\":\"hi\",\"label\":\"benign\",\"kind\":\"benign\",\"channel\":\"user\",\"source\":\"a\"}\n\n",
            "{\"template\":\"say {word} to {who}\",\"slots\":{\"word\":[\"no\",\"yes\"],\"who\":[\"me\"]},",
            "\"label\":\"attack\",\"kind\":\"direct\",\"channel\":\"tool\",\"source\":\"b\",\"repo\":\"x/y\"}\n"
        );
        let rows = read(lines.as_bytes(), Split::Train).unwrap();
        assert_eq!((rows[0].text.as_str(), rows[0].is_attack, rows[0].family.as_str()), ("hi", false, "a"));
        assert!(rows[1..].iter().all(|row| row.is_attack && row.family == "x/y" && row.channel == Channel::Tool));
        let mut texts: Vec<&str> = rows[1..].iter().map(|row| row.text.as_str()).collect();
        texts.sort_unstable();
        assert!(!texts.is_empty() && texts.iter().all(|text| ["say no to me", "say yes to me"].contains(text)));
        assert_eq!(rows, read(lines.as_bytes(), Split::Train).unwrap());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = read("{\"text\":\"hi\"}".as_bytes(), Split::Dev).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("label"), "{error}");
        let row = "{\"text\":\"hi\",\"label\":\"benign\",\"kind\":\"k\",\"channel\":\"mouth\",\"source\":\"a\"}";
        assert!(read(row.as_bytes(), Split::Dev).unwrap_err().to_string().contains("mouth"));
    }
}
