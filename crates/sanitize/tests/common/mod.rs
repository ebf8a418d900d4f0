//! Texts with their values marked, and what was found in them.

#![allow(clippy::expect_used)]

use watchkeeper_sanitize::{Cleaned, Sanitizer, TokenKey};

pub(crate) fn sanitizer() -> Sanitizer {
    Sanitizer::new(TokenKey::new([7; 32], "v26"))
}

/// What was replaced, as `TYPE=raw text`.
pub(crate) fn replaced(raw: &str, cleaned: &Cleaned) -> Vec<String> {
    let points: Vec<char> = raw.chars().collect();
    cleaned
        .replacements
        .iter()
        .map(|one| format!("{}={}", one.kind, points[one.start as usize..one.end as usize].iter().collect::<String>()))
        .collect()
}

/// Each text marks its values as `«TYPE:value»`.
pub(crate) fn check(marked: &[&str]) {
    let sanitizer = sanitizer();
    let mut wrong = Vec::new();
    for text in marked {
        let mut raw = String::new();
        let mut expected = Vec::new();
        let mut rest = *text;
        while let Some((before, after)) = rest.split_once('«') {
            let (mark, tail) = after.split_once('»').expect("marks are closed");
            let (kind, value) = mark.split_once(':').expect("marks name a type");
            raw.push_str(before);
            raw.push_str(value);
            expected.push(format!("{kind}={value}"));
            rest = tail;
        }
        raw.push_str(rest);
        let cleaned = sanitizer.text(&raw);
        let found = replaced(&raw, &cleaned);
        if found != expected {
            wrong.push(format!("{raw}\n  expected {expected:?}\n  found    {found:?}"));
        }
        let again = sanitizer.text(&cleaned.text);
        if again.text != cleaned.text {
            wrong.push(format!("not idempotent: {}\n  then {}", cleaned.text, again.text));
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), marked.len(), wrong.join("\n"));
}
