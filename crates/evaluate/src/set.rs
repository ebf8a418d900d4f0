//! Benchmark sets: JSONL, one item a line.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::grade::{Grader, GraderError};
use crate::sha256_hex;

/// Largest set, in bytes. Public benchmarks of some thousand items have a few megabytes.
const SET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most items of a set: each is asked several times.
const ITEMS_MAX: usize = 10_000;
/// Longest prompt, all messages together, in bytes.
const PROMPT_BYTES_MAX: usize = 256 * 1024;
/// Longest id and longest category, in bytes: they stand in events.
const NAME_BYTES_MAX: usize = 128;
/// Most categories: each is a test of its own, and a correction for so many tests leaves little to see.
const CATEGORIES_MAX: usize = 100;

/// A benchmark set.
#[derive(Debug, Clone)]
pub struct Set {
    /// What it is called: the file's name without its ending.
    pub name: String,
    /// SHA-256 of its items, hexadecimal, without regard to white space and the order of keys.
    pub digest: String,
    /// Its items, in their order.
    pub items: Vec<Item>,
}

/// A question, and what an answer is worth.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its name, unique in the set.
    pub id: String,
    /// What it is about, where the set says so.
    pub category: Option<String>,
    /// What the model is asked.
    pub messages: Vec<Message>,
    /// How answers are graded.
    pub grader: Grader,
    /// SHA-256 of question and grader, hexadecimal: items of one digest can be compared whatever became of the rest of the set.
    pub digest: String,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// It is too large.
    #[error("the set has more than {max} {what}; take a part of it")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// It has no items.
    #[error(
        "the set has no items: a line is {{\"id\", \"prompt\" or \"messages\", \"grader\": {{\"type\", ...}}, \"category\"?}}"
    )]
    Empty,
    /// A line is not an item.
    #[error("line {line}: {what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A grader cannot be used.
    #[error("line {line}, grader: {error}")]
    Grader {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        error: GraderError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    messages: Option<Vec<Message>>,
    grader: serde_json::Value,
    #[serde(default)]
    category: Option<String>,
}

impl Set {
    /// Reads a set. Empty lines are passed over; anything else that is not an item is an error, so that a set never runs in part.
    ///
    /// # Errors
    /// [`SetError`], which names the line.
    pub fn read(name: &str, text: &str) -> Result<Self, SetError> {
        if text.len() > SET_BYTES_MAX {
            return Err(SetError::TooMuch { what: "bytes", max: SET_BYTES_MAX });
        }
        let mut items = Vec::new();
        let mut ids = HashSet::new();
        for (line, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()).map(|(index, row)| (index + 1, row))
        {
            if items.len() == ITEMS_MAX {
                return Err(SetError::TooMuch { what: "items", max: ITEMS_MAX });
            }
            let item = item(line, row)?;
            if !ids.insert(item.id.clone()) {
                return Err(SetError::Line {
                    line,
                    what: format!("id {:?} stands twice; give each item one of its own", item.id),
                });
            }
            items.push(item);
        }
        if items.is_empty() {
            return Err(SetError::Empty);
        }
        let categories: HashSet<&str> = items.iter().filter_map(|item| item.category.as_deref()).collect();
        if categories.len() > CATEGORIES_MAX {
            return Err(SetError::TooMuch { what: "categories", max: CATEGORIES_MAX });
        }
        let digests: Vec<&[u8]> = items.iter().flat_map(|item| [item.id.as_bytes(), item.digest.as_bytes()]).collect();
        Ok(Self { name: name.to_owned(), digest: sha256_hex(&digests), items })
    }

    /// Whether an item asks a judge.
    #[must_use]
    pub fn needs_judge(&self) -> bool {
        self.items.iter().any(|item| item.grader.judge().is_some())
    }
}

fn item(line: usize, row: &str) -> Result<Item, SetError> {
    let wrong = |what: String| SetError::Line { line, what };
    let Row { id, prompt, messages, grader, category } = serde_json::from_str(row).map_err(|error| wrong(error.to_string()))?;
    for (name, value) in [("id", Some(&id)), ("category", category.as_ref())] {
        if value.is_some_and(|value| value.is_empty() || value.len() > NAME_BYTES_MAX || value.chars().any(char::is_control)) {
            return Err(wrong(format!("{name}: 1 to {NAME_BYTES_MAX} bytes in one line are needed")));
        }
    }
    let messages = match (prompt, messages) {
        (Some(prompt), None) => vec![Message { role: "user".to_owned(), content: prompt }],
        (None, Some(messages)) if !messages.is_empty() => messages,
        _ => return Err(wrong("either prompt (a text) or messages (a list that is not empty) is needed".to_owned())),
    };
    if let Some(message) = messages.iter().find(|message| !matches!(message.role.as_str(), "system" | "user" | "assistant")) {
        return Err(wrong(format!("messages: role {:?} is none of system, user, assistant", message.role)));
    }
    if messages.iter().map(|message| message.content.len()).sum::<usize>() > PROMPT_BYTES_MAX {
        return Err(wrong(format!("has more than {PROMPT_BYTES_MAX} bytes of text")));
    }
    // Maps of serde_json are sorted, so the order of keys and white space do not count.
    let asked = serde_json::to_string(&messages).map_err(|error| wrong(error.to_string()))?;
    let digest = sha256_hex(&[asked.as_bytes(), grader.to_string().as_bytes()]);
    let grader = Grader::read(&grader).map_err(|error| SetError::Grader { line, error })?;
    Ok(Item { id, category, messages, grader, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_and_its_digest_does_not_depend_on_how_it_is_written() {
        let one = r#"{"id":"a","prompt":"2+2?","grader":{"type":"exact","value":"4"},"category":"sums"}"#;
        let other = "\n{ \"category\": \"sums\", \"grader\": {\"value\": \"4\", \"type\": \"exact\"}, \"prompt\": \"2+2?\", \"id\": \"a\" }\n";
        let (one, other) = (Set::read("s", one).unwrap(), Set::read("s", other).unwrap());
        assert_eq!(one.digest, other.digest);
        assert_eq!(one.items[0].messages, [Message { role: "user".to_owned(), content: "2+2?".to_owned() }]);
        let changed = Set::read("s", r#"{"id":"a","prompt":"2+3?","grader":{"type":"exact","value":"4"}}"#).unwrap();
        assert_ne!(one.digest, changed.digest);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, named) in [
            ("", "no items"),
            ("{}", "line 1: missing field"),
            ("\n{\"id\":\"a\",\"prompt\":\"x\",\"grader\":{\"type\":\"exact\",\"value\":\"1\"}}\nnonsense", "line 3"),
            (r#"{"id":"a","grader":{"type":"exact","value":"1"}}"#, "prompt"),
            (r#"{"id":"a","prompt":"x","messages":[],"grader":{"type":"exact","value":"1"}}"#, "prompt"),
            (r#"{"id":"","prompt":"x","grader":{"type":"exact","value":"1"}}"#, "id"),
            (r#"{"id":"a","messages":[{"role":"tool","content":"x"}],"grader":{"type":"exact","value":"1"}}"#, "role"),
            (r#"{"id":"a","prompt":"x","grader":{"type":"rhyme"}}"#, "line 1, grader"),
            (r#"{"id":"a","prompt":"x","garder":{},"grader":{"type":"exact","value":"1"}}"#, "garder"),
            (
                "{\"id\":\"a\",\"prompt\":\"x\",\"grader\":{\"type\":\"exact\",\"value\":\"1\"}}\n{\"id\":\"a\",\"prompt\":\"y\",\"grader\":{\"type\":\"exact\",\"value\":\"1\"}}",
                "line 2: id \"a\" stands twice",
            ),
        ] {
            let error = Set::read("s", text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
