//! The regex dialect of signatures: plain regex syntax, made short and cheap for normalised text.
//!
//! * `{{name}}` stands for a fragment of a signature file.
//! * A space stands for one white space character (normalised text has them single).
//! * `\b`, `\w`, `\d` mean ASCII: normalised Latin text is ASCII, and Unicode tables are what makes automata slow.

use std::collections::BTreeMap;

/// Fragments may use fragments, this deep.
const FRAGMENT_DEPTH_MAX: usize = 4;
/// Longest pattern with its fragments, in bytes.
const PATTERN_SOURCE_BYTES_MAX: usize = 16 * 1024;

/// Replaces the fragments of a pattern.
pub(super) fn expand(pattern: &str, fragments: &BTreeMap<String, String>) -> Result<String, String> {
    let mut text = pattern.trim().to_owned();
    for _ in 0..=FRAGMENT_DEPTH_MAX {
        let Some(open) = text.find("{{") else { return Ok(text) };
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        let mut next = Some(open);
        while let Some(at) = next {
            let name_end = rest[at..].find("}}").ok_or("a fragment is not closed with }}")? + at;
            let name = &rest[at + 2..name_end];
            let fragment = fragments.get(name).ok_or_else(|| format!("no fragment is called {name:?}"))?;
            out.push_str(&rest[..at]);
            out.push_str("(?:");
            out.push_str(fragment.trim());
            out.push(')');
            rest = &rest[name_end + 2..];
            next = rest.find("{{");
        }
        out.push_str(rest);
        if out.len() > PATTERN_SOURCE_BYTES_MAX {
            return Err(format!("it is longer than {PATTERN_SOURCE_BYTES_MAX} bytes with its fragments"));
        }
        text = out;
    }
    Err("its fragments refer to each other too deeply".into())
}

/// Translates a pattern with its fragments replaced into a regex.
pub(super) fn translate(pattern: &str, any_case: bool) -> String {
    let mut out = String::from(if any_case { "(?mi)" } else { "(?m)" });
    let mut class_depth = 0_usize;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('b') if class_depth == 0 => out.push_str("(?-u:\\b)"),
                Some('B') if class_depth == 0 => out.push_str("(?-u:\\B)"),
                Some('w') if class_depth == 0 => out.push_str("[a-zA-Z0-9_]"),
                Some('w') => out.push_str("a-zA-Z0-9_"),
                Some('W') => out.push_str("[^a-zA-Z0-9_]"),
                Some('d') if class_depth == 0 => out.push_str("[0-9]"),
                Some('d') => out.push_str("0-9"),
                Some('s') if class_depth == 0 => out.push_str("[ \\t\\r\\n]"),
                Some('s') => out.push_str(" \\t\\r\\n"),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' => {
                class_depth += 1;
                out.push('[');
            }
            ']' => {
                class_depth = class_depth.saturating_sub(1);
                out.push(']');
            }
            ' ' if class_depth == 0 => out.push_str("[ \\n]"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_replaced() {
        let fragments = BTreeMap::from([("a".to_owned(), "x|{{b}}".to_owned()), ("b".to_owned(), "y".to_owned())]);
        assert_eq!(expand("1{{a}}2{0,3}", &fragments).unwrap(), "1(?:x|(?:y))2{0,3}");
        assert!(expand("{{c}}", &fragments).unwrap_err().contains("\"c\""));
        assert!(expand("{{c", &fragments).unwrap_err().contains("not closed"));
        let circle = BTreeMap::from([("a".to_owned(), "{{a}}".to_owned())]);
        assert!(expand("{{a}}", &circle).unwrap_err().contains("too deeply"));
    }

    #[test]
    fn the_dialect_is_ascii() {
        assert_eq!(translate(r"\ba b[\w ]\.", false), "(?m)(?-u:\\b)a[ \\n]b[a-zA-Z0-9_ ]\\.");
    }
}
