//! Values whose names stand beside or above them in markup: elements (`<dt>CVV</dt><dd>123</dd>`, `<cvv>123</cvv>`), rows of two cells,
//! columns under a head line (CSV, Markdown), and columns of an `INSERT`. Each is read as the value of a key.

use super::{Hint, Match, announced, assignment, bytes};

/// Longest name of a field.
const NAME_BYTES_MAX: usize = 64;
/// Longest value that is read under its name; what is longer is read as text alone.
const VALUE_BYTES_MAX: usize = 512;
/// Longest head line.
const HEAD_BYTES_MAX: usize = 1024;
/// Most columns of a table.
const COLUMNS_MAX: usize = 64;
/// Tags between a name and its value: `</b></dt><dd>` has three.
const TAGS_BETWEEN_MAX: usize = 4;

/// A stretch of the text.
type Span = (usize, usize);

pub(super) fn sweep(text: &str, found: &mut Vec<Match>) {
    elements(text, found);
    tables(text, found);
    inserts(text, found);
}

/// Reads a value under its name, if the name says anything.
fn value(text: &str, (name_start, name_end): Span, (start, end): Span, found: &mut Vec<Match>) {
    if name_end - name_start > NAME_BYTES_MAX || end - start > VALUE_BYTES_MAX {
        return;
    }
    let (Some(key), Some(inner)) = (text.get(name_start..name_end), text.get(start..end)) else { return };
    let (key, trimmed) = (key.trim(), inner.trim());
    if key.is_empty() || trimmed.is_empty() || !super::is_telling(key) {
        return;
    }
    let start = start + inner.len() - inner.trim_start().len();
    let hint = Hint { key: Some(key) };
    let before = found.len();
    assignment::whole(trimmed, hint, found);
    announced::whole(trimmed, hint, found);
    bytes(trimmed, hint, found);
    for one in &mut found[before..] {
        one.start += start;
        one.end += start;
    }
}

/// `<name>value</name>`, and `<dt>name</dt><dd>value</dd>`.
fn elements(text: &str, found: &mut Vec<Match>) {
    let bytes = text.as_bytes();
    let mut last: Option<Span> = None;
    let (mut tags, mut tag_start, mut tag_end) = (0, 0, 0);
    for mark in memchr::memchr2_iter(b'<', b'>', bytes) {
        if bytes[mark] == b'<' {
            // what stands between two tags
            let span = (tag_end, mark);
            if tag_end > 0 && mark > tag_end && bytes[mark - 1] != b'\\' {
                let name = element(bytes, tag_start, tag_end);
                if let Some(name) = name.filter(|name| closes(bytes, mark, *name)) {
                    value(text, name, span, found);
                }
                if text.get(tag_end..mark).is_some_and(|text| !text.trim().is_empty()) {
                    if let Some(name) = last.filter(|_| tags <= TAGS_BETWEEN_MAX) {
                        value(text, name, span, found);
                    }
                    // the value of an element that has a name of its own is no name
                    last = Some(span).filter(|_| name.is_none_or(|(start, end)| is_layout(&bytes[start..end])));
                    tags = 0;
                }
            }
            tag_start = mark;
            tags += 1;
        } else {
            tag_end = mark + 1;
        }
    }
}

/// Elements that lay out text and do not name it.
#[rustfmt::skip]
const LAYOUT: &[&str] = &[
    "dt", "dd", "th", "td", "tr", "b", "strong", "em", "i", "u", "span", "label", "p", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6", "key", "name", "field",
    "title", "legend", "small", "font", "a", "code", "property", "param", "header", "string", "summary", "option", "caption", "mark", "bold", "text",
];

fn is_layout(name: &[u8]) -> bool {
    LAYOUT.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
}

/// Whether the tag at `mark` closes the element of this name: `<your-password>` alone is no element.
fn closes(bytes: &[u8], mark: usize, (start, end): Span) -> bool {
    let name = &bytes[start..end];
    bytes[mark..]
        .strip_prefix(b"</")
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_alphanumeric))
}

/// The name of the element that the tag opens.
fn element(bytes: &[u8], start: usize, end: usize) -> Option<Span> {
    let tag = bytes.get(start + 1..end.checked_sub(1)?)?;
    let len =
        tag.iter().take(NAME_BYTES_MAX + 1).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')).count();
    // what is dropped leaves a mark with a colon, `<CVV:dropped>`, which is no element
    let ends = tag.get(len).is_none_or(u8::is_ascii_whitespace);
    (ends && bytes.get(start) == Some(&b'<') && len > 1 && len <= NAME_BYTES_MAX).then_some((start + 1, start + 1 + len))
}

/// Head lines with rows of as many cells below them, and rows of a name and a value.
fn tables(text: &str, found: &mut Vec<Match>) {
    let bytes = text.as_bytes();
    let mut head: Option<(u8, Vec<Span>)> = None;
    let mut start = 0;
    while start < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |len| start + len);
        let line = (start, end);
        start = end + 1;
        let row = &bytes[line.0..line.1];
        let is_piped = row.first() == Some(&b'|');
        let separator = if is_piped { b'|' } else { b',' };
        if memchr::memchr(separator, row).is_none() {
            head = None;
            continue;
        }
        let continued = head.as_ref().is_some_and(|(sign, _)| *sign == separator);
        // a head line is short, and there is a line below it
        if !continued && (row.len() > HEAD_BYTES_MAX || end == bytes.len() && !is_piped) {
            head = None;
            continue;
        }
        // such a line is no head
        if !continued && !is_piped && row.iter().any(|b| matches!(b, b'<' | b'>' | b'{' | b'}' | b'=' | b':' | b'@')) {
            head = None;
            continue;
        }
        let Some(cells) = cells(bytes, line, separator) else {
            head = None;
            continue;
        };
        if is_piped && cells.len() == 2 {
            value(text, cells[0], cells[1], found);
        }
        match &head {
            Some((_, names)) if continued && names.len() == cells.len() => {
                for (name, cell) in names.iter().zip(&cells) {
                    value(text, *name, *cell, found);
                }
            }
            _ => head = (cells.len() >= 2 && cells.iter().all(|cell| is_name(bytes, *cell))).then_some((separator, cells)),
        }
    }
}

/// A column's name: short, and with a letter first.
fn is_name(bytes: &[u8], (start, end): Span) -> bool {
    let name = bytes.get(start..end).unwrap_or_default().trim_ascii();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b >= 0x80)
        && !name.iter().any(|b| matches!(b, b'<' | b'>' | b'{' | b'}' | b'=' | b':' | b'@'))
}

/// The cells of a line, or of a list in parentheses, without their quotes.
fn cells(bytes: &[u8], (start, end): Span, separator: u8) -> Option<Vec<Span>> {
    let line = bytes.get(start..end)?.trim_ascii_end();
    let (mut from, end) = (start, start + line.len());
    let mut cells = Vec::new();
    if separator == b'|' {
        from += 1;
    }
    let mut at = from;
    let mut quote = None;
    while at <= end {
        let byte = bytes.get(at).copied().filter(|_| at < end);
        match (byte, quote) {
            (Some(byte), Some(open)) => quote = (byte != open).then_some(open),
            (Some(byte @ (b'"' | b'\'')), None) if separator == b',' && bytes[from..at].trim_ascii().is_empty() => {
                quote = Some(byte)
            }
            (byte, None) if byte.is_none() || byte == Some(separator) => {
                if cells.len() == COLUMNS_MAX {
                    return None;
                }
                cells.push(unquoted(bytes, (from, at)));
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    // the bar that closes a row opens no cell
    if separator == b'|' && cells.last().is_some_and(|(start, end)| start >= end) {
        cells.pop();
    }
    Some(cells)
}

fn unquoted(bytes: &[u8], (start, end): Span) -> Span {
    let cell = &bytes[start..end];
    let trimmed = cell.trim_ascii();
    let from = start + (cell.len() - cell.trim_ascii_start().len());
    match trimmed {
        [first @ (b'"' | b'\''), .., last] if first == last => (from + 1, from + trimmed.len() - 1),
        _ => (from, from + trimmed.len()),
    }
}

/// `INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')`.
fn inserts(text: &str, found: &mut Vec<Match>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for spelling in [&b"VALUES"[..], b"values"] {
        for mark in memchr::memmem::find_iter(bytes, spelling) {
            if mark < done {
                continue;
            }
            let floor = mark.saturating_sub(HEAD_BYTES_MAX).max(done);
            let Some(close) = bytes[floor..mark].iter().rposition(|b| !b.is_ascii_whitespace()).map(|at| floor + at) else {
                continue;
            };
            let Some(open) = bytes[floor..close].iter().rposition(|b| *b == b'(').map(|at| floor + at) else { continue };
            if bytes[close] != b')' {
                continue;
            }
            let Some(names) = cells(bytes, (open + 1, close), b',') else { continue };
            let mut at = mark + spelling.len();
            while let Some(tuple) = bytes.get(at..).and_then(|rest| {
                let gap = rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == b',').count();
                (rest.get(gap) == Some(&b'(')).then_some(at + gap + 1)
            }) {
                let Some(end) = tuple_end(bytes, tuple) else { break };
                let Some(values) = cells(bytes, (tuple, end), b',') else { break };
                if values.len() == names.len() {
                    for (name, cell) in names.iter().zip(values) {
                        value(text, *name, cell, found);
                    }
                }
                at = end + 1;
            }
            done = at;
        }
    }
}

/// The parenthesis that closes a list, quotes counted.
fn tuple_end(bytes: &[u8], from: usize) -> Option<usize> {
    /// Longest row of an `INSERT` that is read.
    const ROW_BYTES_MAX: usize = 16 * 1024;
    let mut quote = None;
    bytes[from..]
        .iter()
        .take(ROW_BYTES_MAX)
        .position(|byte| {
            match quote {
                Some(open) if *byte == open => quote = None,
                None if matches!(byte, b'\'' | b'"') => quote = Some(*byte),
                _ => {}
            }
            quote.is_none() && *byte == b')'
        })
        .map(|len| from + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        sweep(text, &mut found);
        found.iter().map(|one| &text[one.start..one.end]).collect()
    }

    #[test]
    fn names_beside_and_above_values_count() {
        for (text, value) in [
            ("<dl><dt>CVV</dt><dd>739</dd></dl>", "739"),
            ("<r><security_code>685</security_code></r>", "685"),
            ("| tfn | 605 393 324 |", "605 393 324"),
            ("id,client_secret,active\n17,sxn97vaiLIbt9uHv9sbIajIdLjcjQibH,yes", "sxn97vaiLIbt9uHv9sbIajIdLjcjQibH"),
            ("id,note,tfn\n17,\"a, b\",\"605 393 324\"\n18,x,y", "605 393 324"),
            ("| id | cvc |\n| --- | --- |\n| 4 | 052 |\n", "052"),
            ("INSERT INTO c (id, cvv) VALUES (17, '955'), (18, 'x');", "955"),
        ] {
            assert_eq!(found(text), [value], "{text}");
        }
        for text in
            ["a, b\nc, d", "<p>one</p><p>250</p>", "| rows | 57994411 |", "id,count\n1,605393324", "VALUES (", "<a><b", ""]
        {
            assert_eq!(found(text), [] as [&str; 0], "{text}");
        }
    }
}
