//! JSON that keeps the order of its keys: a person's settings are given back as they were, but for what was added.

use std::fmt::Write as _;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// `null`, truth values, numbers and texts, as they are written.
    Plain(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn text(text: &str) -> Self {
        Self::Plain(serde_json::Value::from(text).to_string())
    }

    pub(super) fn number(number: u64) -> Self {
        Self::Plain(number.to_string())
    }

    pub(super) fn object<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The value under a key of an object, which is made where it is missing. `None` when this is no object.
    pub(super) fn entry(&mut self, key: &str, missing: Self) -> Option<&mut Self> {
        let Self::Object(entries) = self else { return None };
        let at = match entries.iter().position(|(name, _)| name == key) {
            Some(at) => at,
            None => {
                entries.push((key.to_owned(), missing));
                entries.len() - 1
            }
        };
        Some(&mut entries[at].1)
    }

    /// The text with two spaces for each level, which is how agents write their settings.
    pub(super) fn pretty(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text.push('\n');
        text
    }

    fn write(&self, out: &mut String, depth: usize) {
        let indent = |out: &mut String, depth: usize| {
            // Writing to a String does not fail.
            let _ = write!(out, "\n{:1$}", "", 2 * depth);
        };
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::List(items) if items.is_empty() => out.push_str("[]"),
            Self::Object(entries) if entries.is_empty() => out.push_str("{}"),
            Self::List(items) => {
                out.push('[');
                for (nth, item) in items.iter().enumerate() {
                    out.push_str(if nth > 0 { "," } else { "" });
                    indent(out, depth + 1);
                    item.write(out, depth + 1);
                }
                indent(out, depth);
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (nth, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if nth > 0 { "," } else { "" });
                    indent(out, depth + 1);
                    let _ = write!(out, "{}: ", serde_json::Value::from(key.as_str()));
                    value.write(out, depth + 1);
                }
                indent(out, depth);
                out.push('}');
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;

        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Plain("null".to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Plain(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Plain(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Plain(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Plain(serde_json::Value::from(value).to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut object: Vec<(String, Node)> = Vec::new();
                while let Some((key, value)) = entries.next_entry::<String, Node>()? {
                    if object.iter().any(|(name, _)| *name == key) {
                        return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
                    }
                    object.push((key, value));
                }
                Ok(Node::Object(object))
            }
        }

        deserializer.deserialize_any(Nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_in_its_order() {
        let text = "{\n  \"z\": 1,\n  \"a\": [\n    true,\n    \"x\\n\"\n  ],\n  \"m\": {},\n  \"n\": null,\n  \"f\": 1.5\n}\n";
        let node: Node = serde_json::from_str(text).unwrap();
        assert_eq!(node.pretty(), text);
        assert!(serde_json::from_str::<Node>(r#"{"a":1,"a":2}"#).is_err());
        assert!(serde_json::from_str::<Node>(&"[".repeat(10_000)).is_err());
    }
}
