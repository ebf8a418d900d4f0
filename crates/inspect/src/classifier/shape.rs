//! Properties of a text as a whole that single words do not show, each as a feature that is there or is not.

/// Names of the properties that a normalised text has.
#[must_use]
pub fn properties(text: &str) -> Vec<&'static str> {
    let counts = Counts::of(text);
    let mut names = Vec::with_capacity(12);
    names.push(bucket(text.len(), &[
        (40, "length.40"),
        (120, "length.120"),
        (300, "length.300"),
        (800, "length.800"),
        (2_000, "length.2000"),
        (5_000, "length.5000"),
        (usize::MAX, "length.more"),
    ]));
    let share = |part: usize| if counts.all == 0 { 0 } else { part * 1_000 / counts.all };
    names.push(bucket(share(counts.marks), &[
        (10, "marks.1"),
        (40, "marks.4"),
        (80, "marks.8"),
        (160, "marks.16"),
        (usize::MAX, "marks.more"),
    ]));
    names.push(bucket(share(counts.digits), &[(1, "digits.0"), (30, "digits.3"), (120, "digits.12"), (usize::MAX, "digits.more")]));
    names.push(bucket(share(counts.foreign), &[
        (1, "foreign.0"),
        (50, "foreign.5"),
        (500, "foreign.50"),
        (usize::MAX, "foreign.more"),
    ]));
    names.push(bucket(counts.lines, &[(1, "lines.0"), (4, "lines.3"), (20, "lines.19"), (usize::MAX, "lines.more")]));
    for (is, name) in [
        (text.trim_end().ends_with('?'), "ends.question"),
        (text.trim_end().ends_with(':'), "ends.colon"),
        (text.trim_start().starts_with(['{', '[']), "begins.json"),
        (text.trim_start().starts_with('<'), "begins.markup"),
        (share(counts.code) > 25, "code"),
        (counts.odd_words * 8 > counts.words && counts.words > 12, "gibberish"),
        (counts.odd_words * 20 > counts.words && counts.words > 12, "gibberish.some"),
    ] {
        if is {
            names.push(name);
        }
    }
    names
}

#[derive(Default)]
struct Counts {
    all: usize,
    marks: usize,
    digits: usize,
    foreign: usize,
    lines: usize,
    code: usize,
    words: usize,
    /// Words in Latin letters that mix letters and marks, or have no vowel, or many consonants in a row.
    odd_words: usize,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self::default();
        for character in text.chars() {
            counts.all += 1;
            match character {
                '\n' => counts.lines += 1,
                '0'..='9' => counts.digits += 1,
                '{' | '}' | ';' | '(' | ')' | '=' | '\\' | '$' | '[' | ']' | '_' => {
                    counts.code += 1;
                    counts.marks += 1;
                }
                '!'..='~' if character.is_ascii_punctuation() => counts.marks += 1,
                _ if !character.is_ascii() => counts.foreign += 1,
                _ => {}
            }
        }
        for word in text.split_ascii_whitespace() {
            counts.words += 1;
            counts.odd_words += usize::from(is_odd(word));
        }
        counts
    }
}

fn is_odd(word: &str) -> bool {
    let inner = word.trim_matches(|c: char| c.is_ascii_punctuation());
    if inner.len() < 4 || !inner.is_ascii() || inner.contains("://") || inner.contains('@') {
        return false;
    }
    let marks = inner.bytes().filter(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'\'' | b'-' | b'/' | b'.' | b'_')).count();
    let mut run = 0;
    let mut longest = 0;
    for byte in inner.bytes() {
        run = if byte.is_ascii_lowercase() && !matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y') { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    marks > 0 || longest >= 5
}

fn bucket(value: usize, limits: &[(usize, &'static str)]) -> &'static str {
    limits.iter().find(|(limit, _)| value < *limit).or(limits.last()).map_or("", |(_, name)| name)
}
