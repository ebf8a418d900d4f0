//! A text that a regex matches: an example for a rule that brings none.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest sample, in bytes.
const SAMPLE_BYTES_MAX: usize = 2_000;
/// Deepest regex that is followed.
const DEPTH_MAX: usize = 200;

/// A text that the regex matches, as far as its anchors and word boundaries allow: whoever uses it tries it.
pub(crate) fn of(regex: &str) -> Option<String> {
    let mut sample = String::new();
    // As the dialect has it: in any case, and a space is one.
    let hir = regex_syntax::parse(regex).ok()?;
    add(&hir, 0, &mut sample)?;
    Some(sample)
}

fn add(hir: &Hir, depth: usize, sample: &mut String) -> Option<()> {
    if depth > DEPTH_MAX || sample.len() > SAMPLE_BYTES_MAX {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => sample.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => sample.push(character_of(class)?),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                add(&repetition.sub, depth + 1, sample)?;
            }
        }
        HirKind::Capture(capture) => add(&capture.sub, depth + 1, sample)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| add(part, depth + 1, sample))?,
        HirKind::Alternation(parts) => add(parts.first()?, depth + 1, sample)?,
    }
    Some(())
}

/// The plainest character of a class: a space, a letter, a digit, or its first.
fn character_of(class: &Class) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class.ranges().iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect(),
    };
    let has = |one: &char| ranges.iter().any(|(from, to)| from <= one && one <= to);
    let plain = [' ', 'a', 'x', '1', '-'].into_iter().chain('b'..='z').find(has);
    plain.or_else(|| ranges.first().map(|(from, _)| *from))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sample_is_matched_by_its_regex() {
        for (regex, sample) in [
            (r"ignore\s+(?:all|any) rules?", "ignore all rule"),
            ("[a-z]{3}[0-9]+(x|y)", "aaa1x"),
            (r"\bdan\b", "dan"),
            ("(?:a|b)?c", "c"),
        ] {
            assert_eq!(super::of(regex).as_deref(), Some(sample), "{regex}");
        }
        assert_eq!(super::of("("), None);
        assert_eq!(super::of("(?:a{900}){900}"), None);
    }
}
