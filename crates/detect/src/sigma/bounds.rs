//! What the YAML of rules may be. It is bounded before the engine's parser sees it: that one recurses over conditions and over the paths of
//! fields, and writes out what aliases stand for.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Longest condition, in bytes. The longest of SigmaHQ has some hundreds.
const CONDITION_BYTES_MAX: usize = 4 * 1024;
/// Most opening parentheses of a condition: each is a level of the parser's stack.
const CONDITION_PARENTHESES_MAX: usize = 64;
/// Most `not` of a condition: in a row each is a level of the parser's stack.
const CONDITION_NOTS_MAX: usize = 64;
/// Longest key, in bytes: names of fields with their modifiers.
const KEY_BYTES_MAX: usize = 2 * 1024;
/// Most opening brackets of a key: each quantifier of a path (`a[any].b[any]`) is a level of the parser's stack.
const KEY_BRACKETS_MAX: usize = 16;
/// Deepest nesting of a document. Rules of SigmaHQ have six levels, events of examples some more.
const DEPTH_MAX: usize = 32;
/// Deepest nesting of brackets and braces in the text as it stands, before it is known which of them stand in values: the scanner looks at
/// every level for each word.
const FLOW_DEPTH_MAX: usize = 1_000;
/// Most keys and values of a text, with what its aliases stand for.
const VALUES_MAX: usize = 100_000;
/// Most bytes of these.
const VALUE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most documents of a text.
const DOCUMENTS_MAX: usize = 4_096;
/// Most keys and values that `action: global` and `action: repeat` come to, which copy documents into each other.
const COPIED_VALUES_MAX: usize = 1_000_000;
/// Most bytes of these.
const COPIED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why a text is not parsed, if it is not. Whether it is YAML at all is left to the parser.
pub(super) fn error_of(yaml: &str) -> Option<String> {
    if flow_depth(yaml) > FLOW_DEPTH_MAX {
        return Some(format!("the document is nested more than {FLOW_DEPTH_MAX} brackets deep"));
    }
    let mut seen = Seen::default();
    for (number, document) in yaml_serde::Deserializer::from_str(yaml).enumerate() {
        if number >= DOCUMENTS_MAX {
            return Some(format!("the text has more than {DOCUMENTS_MAX} documents"));
        }
        seen.documents += 1;
        let walked = Walk { seen: &mut seen, depth: 0, stands: Stands::Value }.deserialize(document);
        if walked.is_err() {
            // Behind an error the stream may never end. The parser stops here, too, and says what is wrong.
            break;
        }
    }
    let copied = seen.copied();
    seen.too_much.or(copied)
}

/// Why a condition is not parsed, if it is not.
fn error_of_condition(text: &str) -> Option<String> {
    let too_much = |count: usize, max: usize, what: &str| {
        (count > max).then(|| format!("condition: {count} {what}; at most {max} are taken"))
    };
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let nots = || text.split(|character| !is_of_name(character)).filter(|word| *word == "not").count();
    too_much(text.len(), CONDITION_BYTES_MAX, "bytes")
        .or_else(|| too_much(text.matches('(').count(), CONDITION_PARENTHESES_MAX, "opening parentheses"))
        .or_else(|| too_much(nots(), CONDITION_NOTS_MAX, "`not`"))
}

fn flow_depth(yaml: &str) -> usize {
    let mut depth: usize = 0;
    let mut deepest = 0;
    for byte in yaml.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// What of a text has been walked through.
#[derive(Default)]
struct Seen {
    documents: usize,
    values: usize,
    bytes: usize,
    copies: bool,
    too_much: Option<String>,
}

impl Seen {
    fn value<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.values += 1;
        self.bytes += bytes;
        if self.values > VALUES_MAX {
            return self.refuse(format!("the document has more than {VALUES_MAX} values, with what its aliases stand for"));
        }
        if self.bytes > VALUE_BYTES_MAX {
            return self.refuse(format!("the document has more than {VALUE_BYTES_MAX} bytes, with what its aliases stand for"));
        }
        Ok(())
    }

    fn refuse<E: Error>(&mut self, why: String) -> Result<(), E> {
        self.too_much = Some(why.clone());
        Err(E::custom(why))
    }

    fn copied(&self) -> Option<String> {
        let copied = |amount: usize| amount.saturating_mul(self.documents);
        let is_too_much = self.copies && (copied(self.values) > COPIED_VALUES_MAX || copied(self.bytes) > COPIED_BYTES_MAX);
        is_too_much
            .then(|| format!("action: {} documents that are copied into each other are too much; write them out", self.documents))
    }
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Key,
    /// Under a key `condition`, by itself or in a list.
    Condition,
    Value,
}

/// Walks through a value. What comes of it says how a key is meant.
struct Walk<'a> {
    seen: &'a mut Seen,
    depth: usize,
    stands: Stands,
}

/// What a key says of its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Condition,
    Action,
    Other,
}

impl Walk<'_> {
    fn scalar<E: Error>(self, bytes: usize) -> Result<Meaning, E> {
        self.seen.value(bytes).map(|()| Meaning::Other)
    }

    fn deeper<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.seen.refuse(format!("the document is nested more than {DEPTH_MAX} levels deep"));
        }
        self.seen.value(0)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Meaning;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Meaning, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Meaning;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Meaning, E> {
        self.scalar(1)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Meaning, E> {
        self.scalar(8)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Meaning, E> {
        self.scalar(8)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Meaning, E> {
        self.scalar(16)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Meaning, E> {
        self.scalar(16)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Meaning, E> {
        self.scalar(8)
    }

    fn visit_unit<E: Error>(self) -> Result<Meaning, E> {
        self.scalar(0)
    }

    fn visit_none<E: Error>(self) -> Result<Meaning, E> {
        self.scalar(0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Meaning, E> {
        self.seen.value(text.len())?;
        let why = match self.stands {
            Stands::Condition => error_of_condition(text),
            Stands::Key if text.len() > KEY_BYTES_MAX => Some(format!("a key has more than {KEY_BYTES_MAX} bytes")),
            Stands::Key if text.matches('[').count() > KEY_BRACKETS_MAX => {
                Some(format!("detection: a field has more than {KEY_BRACKETS_MAX} brackets"))
            }
            Stands::Key | Stands::Value => None,
        };
        if let Some(why) = why {
            self.seen.refuse(why)?;
        }
        Ok(match text {
            "condition" => Meaning::Condition,
            "action" => Meaning::Action,
            _ => Meaning::Other,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Meaning, A::Error> {
        self.deeper()?;
        loop {
            let next = Walk { seen: &mut *self.seen, depth: self.depth, stands: self.stands };
            if list.next_element_seed(next)?.is_none() {
                return Ok(Meaning::Other);
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Meaning, A::Error> {
        self.deeper()?;
        loop {
            let key = Walk { seen: &mut *self.seen, depth: self.depth, stands: Stands::Key };
            let Some(meaning) = map.next_key_seed(key)? else { return Ok(Meaning::Other) };
            self.seen.copies |= meaning == Meaning::Action && self.depth == 1;
            let stands = if meaning == Meaning::Condition { Stands::Condition } else { Stands::Value };
            map.next_value_seed(Walk { seen: &mut *self.seen, depth: self.depth, stands })?;
        }
    }

    /// A value with a tag, which the parser looks behind.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Meaning, A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: &str) -> String {
        format!("title: T\nlogsource: {{product: ai}}\ndetection:\n  s:\n    a: 1\n  condition: {condition}\n")
    }

    #[test]
    fn what_would_overflow_a_stack_or_the_memory_is_named_and_what_is_usual_is_taken() {
        let deep = |count: usize| format!("{}s{}", "(".repeat(count), ")".repeat(count));
        let list = |count: usize, item: &str| (0..count).map(|_| item).collect::<Vec<_>>().join(",");
        for (what, yaml, named) in [
            ("a rule", rule("s"), None),
            ("64 parentheses", rule(&deep(64)), None),
            ("64 not", rule(&format!("{}s", "not ".repeat(64))), None),
            ("names with not in them", rule(&format!("s{}", " or is_not-not".repeat(65))), None),
            ("65 parentheses", rule(&deep(65)), Some("parentheses")),
            ("very many parentheses", rule(&deep(60_000)), Some("bytes")),
            ("open parentheses", rule(&"(".repeat(3_000)), Some("parentheses")),
            ("65 not", rule(&format!("{}s", "not ".repeat(65))), Some("`not`")),
            ("very many not", rule(&format!("{}s", "not ".repeat(15_000))), Some("bytes")),
            ("a list of conditions", rule(&format!("[s, '{}']", deep(65))), Some("parentheses")),
            ("a tagged condition", rule(&format!("[!x '{}']", deep(65))), Some("parentheses")),
            ("a condition behind an alias", format!("x: &c '{}'\n{}", deep(65), rule("*c")), Some("parentheses")),
            ("a quantified path", format!("? {}\n: 1\n", "a[any].".repeat(17)), Some("brackets")),
            ("a long key", format!("? {}\n: 1\n", "a".repeat(3_000)), Some("a key has")),
            ("nesting", format!("a: {}{}", "[".repeat(33), "]".repeat(33)), Some("levels deep")),
            ("brackets", "[".repeat(500_000), Some("brackets deep")),
            ("very many values", format!("a: [{}]", list(100_001, "1")), Some("values")),
            ("aliases of lists", format!("a: &a [{}]\nb: [{}]", list(30_000, "1"), list(30_000, "*a")), Some("aliases")),
            ("an alias of itself", "a: &a [*a]".to_owned(), Some("levels deep")),
            ("aliases of texts", format!("a: &a {}\nb: [{}]", "x".repeat(100_000), list(1_000, "*a")), Some("bytes")),
            ("documents", "a: 1\n--- # x\n".repeat(5_000), Some("documents")),
            (
                "documents that are repeated",
                format!("a: [{}]\n{}", list(10_000, "1"), "---\naction: repeat\n".repeat(200)),
                Some("action"),
            ),
        ] {
            let error = error_of(&yaml);
            match named {
                None => assert_eq!(error, None, "{what}"),
                Some(named) => assert!(error.as_ref().is_some_and(|error| error.contains(named)), "{what}: {error:?}"),
            }
        }
    }
}
