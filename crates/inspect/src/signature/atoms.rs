//! Atoms of a regex: literals of which each match must hold one, read off the regex itself.
//!
//! The idea is that of RE2's `FilteredRE2` and of Russ Cox's index for code search: each part of a regex is either one of a few exact
//! strings, or demands that one of some strings is there. Strings of a concatenation are joined while they stay few, and what no longer
//! can be joined becomes a group.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, Hir, HirKind};

/// Exact strings of a part that are followed further; beyond it they become a group. Two cases of four letters are 16.
const EXACT_MAX: usize = 32;
/// Characters of a class that count as exact strings.
const CLASS_MAX: usize = 8;
/// Atoms of a group. More of them say little about a text.
const GROUP_ATOMS_MAX: usize = 256;
/// Groups that are kept, the most telling ones: each further one costs a look and hardly filters more.
const GROUPS_MAX: usize = 4;
/// Longest atom, in bytes: what is longer is cut, and filters as well.
const ATOM_BYTES_MAX: usize = 32;
/// Deepest regex that is looked into. regex-syntax allows more, and what is not looked into merely has no atoms.
const DEPTH_MAX: usize = 200;

/// What the regex demands of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Derived {
    /// Of each group one must be there, in lower case where ASCII has cases; the most telling group first. Each stands within the match.
    pub(super) groups: Vec<Vec<String>>,
    /// Most bytes of a match, where that is bounded.
    pub(super) bytes_max: Option<usize>,
}

/// The atoms of a regex; `None` where there are none of at least `bytes_min` bytes. White space never is part of one: views differ in it.
pub(super) fn derive(hir: &Hir, bytes_min: usize) -> Option<Derived> {
    let whole = Part::of(hir, bytes_min, 0);
    let mut groups: Vec<BTreeSet<String>> = whole.demands(bytes_min);
    let telling = |group: &BTreeSet<String>| (group.iter().map(String::len).min().unwrap_or(0), usize::MAX - group.len());
    groups.sort_by_key(|group| std::cmp::Reverse(telling(group)));
    groups.dedup();
    groups.truncate(GROUPS_MAX);
    let groups: Vec<Vec<String>> = groups.into_iter().map(|group| group.into_iter().collect()).collect();
    (!groups.is_empty()).then(|| Derived { groups, bytes_max: hir.properties().maximum_len() })
}

/// What is known of a part of a regex.
#[derive(Debug, Default)]
struct Part {
    /// It matches these strings and no others.
    exact: Option<BTreeSet<String>>,
    /// Of each of these one is in what it matches.
    groups: Vec<BTreeSet<String>>,
}

impl Part {
    fn of(hir: &Hir, bytes_min: usize, depth: usize) -> Self {
        if depth > DEPTH_MAX {
            return Self::default();
        }
        let of = |hir: &Hir| Self::of(hir, bytes_min, depth + 1);
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::exactly([String::new()]),
            HirKind::Literal(literal) => Self::joined(Self::words(&literal.0).into_iter(), bytes_min),
            HirKind::Class(class) => Self::class(class),
            HirKind::Capture(capture) => of(&capture.sub),
            HirKind::Repetition(repetition) => {
                let sub = of(&repetition.sub);
                match (repetition.min, repetition.max, sub.exact) {
                    (0, Some(1), Some(mut exact)) => {
                        exact.insert(String::new());
                        Self::exactly(exact)
                    }
                    (0, ..) => Self::default(),
                    (1, Some(1), Some(exact)) => Self::exactly(exact),
                    (_, _, Some(exact)) => Self { exact: None, groups: group(exact, bytes_min).into_iter().collect() },
                    (_, _, None) => Self { exact: None, groups: sub.groups },
                }
            }
            HirKind::Concat(parts) => {
                let parts = parts.iter().flat_map(|part| match part.kind() {
                    HirKind::Literal(literal) => Self::words(&literal.0),
                    _ => vec![of(part)],
                });
                Self::joined(parts, bytes_min)
            }
            HirKind::Alternation(parts) => Self::either(parts.iter().map(of).collect(), bytes_min),
        }
    }

    fn exactly(strings: impl IntoIterator<Item = String>) -> Self {
        Self { exact: Some(strings.into_iter().collect()), groups: Vec::new() }
    }

    /// The words of a literal, and what parts them.
    fn words(bytes: &[u8]) -> Vec<Self> {
        let Ok(text) = std::str::from_utf8(bytes) else { return vec![Self::default()] };
        let mut parts = Vec::new();
        for (nth, word) in text.split(char::is_whitespace).enumerate() {
            parts.extend((nth > 0).then(Self::default));
            parts.push(Self::exactly([word.to_ascii_lowercase()]));
        }
        parts
    }

    fn class(class: &Class) -> Self {
        let mut strings = BTreeSet::new();
        let mut add = |character: char| {
            strings.insert(folded(character).to_string());
            strings.len() <= CLASS_MAX && !character.is_whitespace()
        };
        let few = match class {
            Class::Unicode(class) => class.ranges().iter().all(|range| (range.start()..=range.end()).all(&mut add)),
            Class::Bytes(class) => {
                class.is_ascii()
                    && class.ranges().iter().all(|range| (range.start()..=range.end()).all(|byte| add(char::from(byte))))
            }
        };
        if few { Self::exactly(strings) } else { Self::default() }
    }

    fn joined(parts: impl Iterator<Item = Self>, bytes_min: usize) -> Self {
        let mut run = BTreeSet::from([String::new()]);
        let mut groups = Vec::new();
        let mut is_whole = true;
        for mut part in parts {
            match part.exact.take() {
                Some(exact) if run.len() * exact.len() <= EXACT_MAX => {
                    run = run.iter().flat_map(|head| exact.iter().map(move |tail| format!("{head}{tail}"))).collect();
                }
                Some(exact) => {
                    groups.extend(group(std::mem::replace(&mut run, exact), bytes_min));
                    is_whole = false;
                }
                None => {
                    groups.extend(group(std::mem::replace(&mut run, BTreeSet::from([String::new()])), bytes_min));
                    groups.append(&mut part.groups);
                    is_whole = false;
                }
            }
        }
        if is_whole {
            return Self::exactly(run);
        }
        groups.extend(group(run, bytes_min));
        Self { exact: None, groups }
    }

    fn either(parts: Vec<Self>, bytes_min: usize) -> Self {
        let all_exact: Option<Vec<&BTreeSet<String>>> = parts.iter().map(|part| part.exact.as_ref()).collect();
        if let Some(exact) = all_exact {
            let together: BTreeSet<String> = exact.into_iter().flatten().cloned().collect();
            if together.len() <= EXACT_MAX {
                return Self::exactly(together);
            }
            return Self { exact: None, groups: group(together, bytes_min).into_iter().collect() };
        }
        // One group of each: the one whose shortest atom is longest.
        let best =
            |part: Self| part.demands(bytes_min).into_iter().max_by_key(|group| group.iter().map(String::len).min().unwrap_or(0));
        let together: Option<Vec<BTreeSet<String>>> = parts.into_iter().map(best).collect();
        let together = together.map(|groups| groups.into_iter().flatten().collect()).and_then(|all| group(all, bytes_min));
        Self { exact: None, groups: together.into_iter().collect() }
    }

    /// Everything that it demands.
    fn demands(self, bytes_min: usize) -> Vec<BTreeSet<String>> {
        self.groups.into_iter().chain(self.exact.and_then(|exact| group(exact, bytes_min))).collect()
    }
}

/// Strings as a group, if each of them says something.
fn group(strings: BTreeSet<String>, bytes_min: usize) -> Option<BTreeSet<String>> {
    if strings.is_empty() || strings.len() > GROUP_ATOMS_MAX || strings.iter().any(|string| string.len() < bytes_min) {
        return None;
    }
    let cut = |mut string: String| {
        string.truncate(string.floor_char_boundary(ATOM_BYTES_MAX));
        string
    };
    Some(strings.into_iter().map(cut).collect())
}

/// A letter in lower case, where it is ASCII or folds to ASCII (`ſ` and the Kelvin sign do); the index ignores the case of ASCII alone.
fn folded(character: char) -> char {
    match character {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(regex: &str) -> Vec<String> {
        let hir = regex_syntax::Parser::new().parse(regex).unwrap();
        derive(&hir, 3).map(|derived| derived.groups.iter().map(|group| group.join("|")).collect()).unwrap_or_default()
    }

    #[test]
    fn each_match_holds_an_atom_of_each_group() {
        for (regex, atoms) in [
            ("(?i)ignore", vec!["ignore"]),
            (r"(?i)ignore\s+(?:all\s+)?previous", vec!["previous", "ignore"]),
            ("(?:forget|disregard) instructions?", vec!["instruction|instructions", "disregard|forget"]),
            ("instructions?", vec!["instruction|instructions"]),
            ("(?i)(?:rm|curl) -rf", vec!["-rf"]),
            (r"\w+@\w+", vec![]),
            ("(?:abc|x)d", vec![]),
            ("abc|.*", vec![]),
            ("(?:abcd)+", vec!["abcd"]),
            ("(?:abcd)*", vec![]),
            ("Ключ", vec!["Ключ"]),
            ("a[0-9]bcd[xy]", vec!["bcdx|bcdy"]),
        ] {
            assert_eq!(groups(regex), atoms, "{regex}");
        }
    }

    #[test]
    fn the_length_of_matches_is_told_where_it_is_bounded() {
        let bytes_max = |regex: &str| derive(&regex_syntax::Parser::new().parse(regex).unwrap(), 3).unwrap().bytes_max;
        assert_eq!(bytes_max("abc[^x]{0,10}"), Some(43));
        assert_eq!(bytes_max("abc.*"), None);
    }

    proptest::proptest! {
        /// Where a regex matches a text, each group has an atom in the match: nothing is filtered out wrongly.
        #[test]
        fn no_match_is_lost(
            regex in "((abc|ignore|[xy]z|q?rst|(foo|bar|b.z)+|[0-9]{2}|\\\\s+|k|S|.)(\\||))?{1,8}",
            text in "(abc|ignore|xz|rst|qrst|foo|bar|baz|12| |K|s|ſ|[a-z]){0,24}",
        ) {
            let source = format!("(?i){regex}");
            let Ok(hir) = regex_syntax::Parser::new().parse(&source) else { return Ok(()) };
            let Some(derived) = derive(&hir, 3) else { return Ok(()) };
            let Ok(compiled) = regex_automata::meta::Regex::new(&source) else { return Ok(()) };
            for found in compiled.find_iter(&text) {
                // The index ignores the case of ASCII letters, and `ſ` is the one exception that the code names.
                let matched = text[found.range()].to_ascii_lowercase().replace('ſ', "s");
                for group in &derived.groups {
                    proptest::prop_assert!(group.iter().any(|atom| matched.contains(atom.as_str())), "{source} {matched} {group:?}");
                }
            }
        }
    }
}
