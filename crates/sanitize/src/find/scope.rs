//! How far before a value words speak of it: not beyond the name that the value has itself, and not beyond its sentence where
//! scripts end one with a sign of their own.

use super::is_escape;

/// Longest name of a value that stands before it.
const NAME_BYTES_MAX: usize = 32;
/// Signs, quotes and spaces between a name and its value: `\\": \\"`.
const GAP_BYTES_MAX: usize = 8;

/// Names that say which one of several a value is, and leave it to what stands before them what it is.
const OPEN_NAMES: &[&str] = &[
    "home",
    "work",
    "office",
    "private",
    "business",
    "main",
    "primary",
    "secondary",
    "other",
    "alt",
    "alternative",
    "new",
    "old",
    "number",
    "no",
    "nr",
    "num",
    "value",
    "id",
    "is",
    "direct",
    "day",
    "evening",
    "first",
    "second",
    "and",
    "or",
    "e164",
    "raw",
    "formatted",
    "full",
    "local",
    "national",
    "international",
];

/// Where the words begin that speak of the value at `at`, `from` or later: at its own name, if a field that is complete stands
/// before that.
pub(super) fn start(bytes: &[u8], from: usize, at: usize) -> usize {
    let from = after_stop(bytes, from, at).max(after_head(bytes, from, at));
    own_name(bytes, from, at).unwrap_or(from)
}

fn own_name(bytes: &[u8], from: usize, at: usize) -> Option<usize> {
    let window = &bytes[from..at];
    let gap = window.iter().rev().take(GAP_BYTES_MAX).take_while(|b| is_gap(**b)).count();
    let signs = &window[window.len() - gap..];
    // a sign, or the end of a tag or a cell
    let has_sign =
        signs.iter().any(|b| matches!(b, b':' | b'=' | b'>' | b'|')) || signs.is_empty() && window.ends_with("：".as_bytes());
    if !has_sign {
        return None;
    }
    let end = window.len() - gap - if signs.is_empty() { "：".len() } else { 0 };
    let name_len = window[..end].iter().rev().take(NAME_BYTES_MAX + 1).take_while(|b| is_name(**b)).count();
    let mut name = end - name_len;
    // `\\nname`: the letter of an escape is none
    if name > 0 && name_len > 1 && window[name - 1] == b'\\' && is_escape(window, name) {
        name += 1;
    }
    // the space before a name is no part of it, and that a full stop stands in it neither
    name += window[name..end]
        .iter()
        .rposition(|b| *b == b'.')
        .filter(|dot| window.get(name + dot + 1) == Some(&b' '))
        .map_or(0, |dot| dot + 1);
    name += window[name..end].iter().take_while(|b| **b == b' ').count();
    let words = window[name..end].trim_ascii();
    if words.is_empty() || name_len > NAME_BYTES_MAX || is_open(words) {
        return None;
    }
    // `a = 'x' AND b = `
    let is_next = ["AND ", "OR ", "and ", "or "].iter().any(|word| words.starts_with(word.as_bytes()))
        && window[..name].trim_ascii_end().last().is_some_and(|b| matches!(b, b'\'' | b'"' | b')') || b.is_ascii_digit());
    (is_next || is_complete(&window[..name])).then_some(from + name)
}

fn is_open(name: &[u8]) -> bool {
    OPEN_NAMES.iter().any(|open| name.eq_ignore_ascii_case(open.as_bytes()))
}

/// Whether what stands before a name is a field, a row or a sentence that has ended.
fn is_complete(before: &[u8]) -> bool {
    let trimmed = before.len()
        - before.iter().rev().take_while(|b| matches!(b, b' ' | b'\t' | b'"' | b'\'' | b'\\' | b'{' | b'<' | b'-')).count();
    let (rest, opening) = before.split_at(trimmed);
    match rest.last() {
        // `&name=`, `;name=`, `| name |`, `</a><name>`, a sentence's end, the next element of an object
        Some(b'&' | b'?' | b';' | b'|' | b'>') => true,
        Some(b',') => {
            opening.contains(&b'"')
                || opening.contains(&b'\'')
                || rest[..trimmed - 1].last().is_some_and(|b| matches!(b, b'"' | b'\''))
        }
        Some(b'.') => !opening.is_empty() || rest[..trimmed - 1].last().is_some_and(|b| *b >= 0x80),
        // a line before it that has a sign in it
        Some(b'\n') => has_field(&rest[..trimmed - 1]),
        _ => opening.contains(&b'\\') && rest.ends_with(b"n") && has_field(rest),
    }
}

/// Whether the last line has a name and its value in it.
fn has_field(before: &[u8]) -> bool {
    let line = before.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    let sign = line.iter().position(|b| matches!(b, b':' | b'='));
    sign.is_some_and(|sign| line[sign + 1..].iter().any(|b| b.is_ascii_alphanumeric() || *b >= 0x80))
}

/// Behind the last full stop of a script that is written without spaces, also where it is folded to ASCII, if words stand between
/// it and the value.
fn after_stop(bytes: &[u8], from: usize, at: usize) -> usize {
    let window = &bytes[from..at];
    if window.is_ascii() {
        return from;
    }
    let is_stop = |i: usize| match window[i] {
        b'.' => i > 0 && window[i - 1] >= 0x80,
        0x82 => window[..i].ends_with(&[0xE3, 0x80]),
        _ => false,
    };
    let stop = (0..window.len()).rev().find(|i| is_stop(*i)).map(|stop| stop + 1);
    stop.filter(|stop| window[*stop..].iter().any(|b| b.is_ascii_alphanumeric() || *b >= 0x80)).map_or(from, |stop| from + stop)
}

/// Behind the names of columns, for a cell that is not the first of its row: it is read under its own elsewhere.
fn after_head(bytes: &[u8], from: usize, at: usize) -> usize {
    let window = &bytes[from..at];
    let cell =
        window.trim_ascii_end().strip_suffix(b"'").or_else(|| window.strip_suffix(b"\"")).unwrap_or(window).trim_ascii_end();
    if cell.last() != Some(&b',') {
        return from;
    }
    let values = (0..window.len()).rev().find(|at| {
        matches!(window[*at], b'V' | b'v') && (window[*at..].starts_with(b"VALUES") || window[*at..].starts_with(b"values"))
    });
    let line = window.iter().rposition(|b| *b == b'\n').filter(|line| window[..*line].contains(&b','));
    values.max(line).map_or(from, |head| from + head)
}

fn is_gap(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\' | b':' | b'=' | b'>' | b'|' | b'(' | b'[' | b'*' | b'+')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'_' | b'-' | b'.' | b' ' | b'/')
}

#[cfg(test)]
mod tests {
    fn scope(before: &str) -> &str {
        &before[super::start(before.as_bytes(), before.len().saturating_sub(48), before.len())..]
    }

    #[test]
    fn words_before_the_value_s_own_name_are_about_another() {
        for (before, scope_of) in [
            (r#"{"phone": "0171", "book": ""#, "book\": \""),
            (r#"{\"phone\": \"0171\", \"book\": \""#, r#"book\": \""#),
            ("tel: 0171\nbook: ", "book: "),
            ("PHONE=0171\nSKU=", "SKU="),
            ("?phone=0171&book=", "book="),
            ("<phone>0171</phone><isbn>", "isbn>"),
            ("| phone | 0171 |\n| part | ", "part | "),
            ("客户已经打过两次电话。isbn：", "isbn："),
            ("phone: 0171. isbn: ", "isbn: "),
            ("电话.isbn:", "isbn:"),
            ("고객이 전화했습니다.\nuser: timestamp ", "\nuser: timestamp "),
            ("WHERE mobile = '0171' AND model = '", "AND model = '"),
            ("INSERT INTO c (id, phone) VALUES (17, '", "VALUES (17, '"),
            ("id,phone,ean\n17,", "\n17,"),
            ("phone: 0171\nnote: +", "note: +"),
        ] {
            assert_eq!(scope(before), scope_of, "{before}");
        }
        for before in [
            "my phone number is ",
            "my phone, in case you need it: ",
            "Phone numbers\nhome: ",
            "Phone:\n  home: ",
            r#"{"phone": {"home": ""#,
            r#""phone": ["0171", ""#,
            "phone (office): ",
            "phone: ",
            "电话。",
        ] {
            assert_eq!(scope(before), before, "{before}");
        }
    }
}
