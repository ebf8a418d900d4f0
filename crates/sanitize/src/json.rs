//! Sanitising inside JSON text, in place.

use std::ops::Range;

use serde::de::IgnoredAny;

use crate::SensitiveType;
use crate::find::{Hint, Match};
use crate::layer;
use crate::token::TokenKey;

/// Deepest nesting for which keys are remembered. Deeper JSON is sanitised as free text.
const DEPTH_MAX: usize = 512;
/// Shortest number that can be sensitive.
const NUMBER_BYTES_MIN: usize = 3;

/// Everything sensitive in the JSON text, in order and without overlap; `None` when it is no JSON. `is_left` says of a value, by its
/// key and its text as it is written, that it stays as it is.
pub(crate) fn find_all(key: &TokenKey, raw: &str, is_left: &dyn Fn(Option<&str>, &str) -> bool) -> Option<Vec<Match>> {
    serde_json::from_str::<IgnoredAny>(raw).ok()?;
    let bytes = raw.as_bytes();
    let mut found = Vec::new();
    // the key whose value is being read, by depth; lists pass on the one of what they are in
    let mut keys: Vec<Option<String>> = vec![None];
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                if keys.len() > DEPTH_MAX {
                    return None;
                }
                let inherited = if *byte == b'[' { keys.last().cloned().flatten() } else { None };
                keys.push(inherited);
                at += 1;
            }
            b'}' | b']' => {
                keys.pop();
                at += 1;
            }
            b'"' => {
                let end = string_end(bytes, at + 1)?;
                let decoded = Decoded::of(raw, at + 1..end)?;
                let after = bytes[end + 1..].iter().position(|b| !b.is_ascii_whitespace()).map(|gap| bytes[end + 1 + gap]);
                if after == Some(b':') {
                    let context = decoded.find(key, Hint::default(), &mut found);
                    if let Some(slot) = keys.last_mut() {
                        *slot = Some(context);
                    }
                } else {
                    let hint = Hint { key: keys.last().and_then(|key| key.as_deref()) };
                    if !is_left(hint.key, raw.get(at + 1..end)?) {
                        decoded.find(key, hint, &mut found);
                    }
                }
                at = end + 1;
            }
            b'-' | b'0'..=b'9' => {
                let len = bytes[at..].iter().take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
                if len >= NUMBER_BYTES_MIN {
                    let hint = Hint { key: keys.last().and_then(|key| key.as_deref()) };
                    if !is_left(hint.key, raw.get(at..at + len)?) {
                        found.extend(number(key, raw, at..at + len, hint));
                    }
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    Some(found)
}

/// A number that is sensitive is replaced as a whole, in quotes.
fn number(key: &TokenKey, raw: &str, range: Range<usize>, hint: Hint<'_>) -> Option<Match> {
    let text = raw.get(range.clone())?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.bytes().all(|b| b.is_ascii_digit());
    let decimal = || digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !whole && !decimal() {
        return None;
    }
    let first = layer::find_all(key, digits, hint).into_iter().next()?;
    // of numbers with decimals, coordinates alone are sensitive
    if !whole && first.value.kind != SensitiveType::GpsCoordinates {
        return None;
    }
    Some(Match { start: range.start, end: range.end, quoted: true, ..first })
}

/// A JSON string, with the way back to its raw offsets.
struct Decoded<'a> {
    raw: &'a str,
    from: usize,
    /// The text and, per escape, where it stands in it and in the raw text. `None` when there are no escapes.
    escapes: Option<(String, Vec<Escape>)>,
}

struct Escape {
    text: usize,
    text_len: usize,
    raw: usize,
    raw_len: usize,
}

impl<'a> Decoded<'a> {
    fn of(raw: &'a str, range: Range<usize>) -> Option<Self> {
        let inner = raw.get(range.clone())?;
        let mut decoded = Self { raw: inner, from: range.start, escapes: None };
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(decoded);
        }
        let mut text = String::with_capacity(inner.len());
        let mut escapes = Vec::new();
        let mut at = 0;
        while let Some(step) = memchr::memchr(b'\\', inner.as_bytes().get(at..)?) {
            text.push_str(inner.get(at..at + step)?);
            at += step;
            let (c, len) = escape(inner.as_bytes(), at);
            escapes.push(Escape { text: text.len(), text_len: c.len_utf8(), raw: at, raw_len: len });
            text.push(c);
            at += len;
        }
        text.push_str(inner.get(at..)?);
        decoded.escapes = Some((text, escapes));
        Some(decoded)
    }

    fn text(&self) -> &str {
        self.escapes.as_ref().map_or(self.raw, |(text, _)| text)
    }

    /// Adds what is found, and returns the context that the text is as a key.
    fn find(&self, key: &TokenKey, hint: Hint<'_>, found: &mut Vec<Match>) -> String {
        let matches = layer::find_all(key, self.text(), hint);
        let context = if hint.key.is_none() { layer::context(key, self.text(), &matches) } else { String::new() };
        for mut one in matches {
            one.start = self.from + self.raw_offset(one.start, false);
            one.end = self.from + self.raw_offset(one.end, true);
            found.push(one);
        }
        context
    }

    /// The raw offset of an offset in the decoded text, which lies between characters.
    fn raw_offset(&self, offset: usize, is_end: bool) -> usize {
        let Some((_, escapes)) = &self.escapes else { return offset };
        let index = escapes.partition_point(|escape| escape.text < offset);
        match index.checked_sub(1).and_then(|last| escapes.get(last)) {
            // inside an escaped character there is no offset of the text, so this is after it
            Some(last) if offset >= last.text + last.text_len => last.raw + last.raw_len + (offset - last.text - last.text_len),
            Some(last) => {
                if is_end {
                    last.raw + last.raw_len
                } else {
                    last.raw
                }
            }
            None => offset,
        }
    }
}

/// The character that the escape at `at` stands for, and its length. Halves of pairs that are alone read as U+FFFD.
fn escape(bytes: &[u8], at: usize) -> (char, usize) {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match bytes.get(at + 1) {
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'u') => match (unit(at), unit(at + 6)) {
            (Some(high @ 0xD800..0xDC00), Some(low @ 0xDC00..0xE000)) => {
                (char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).unwrap_or('\u{fffd}'), 12)
            }
            (Some(code), _) => (char::from_u32(code).unwrap_or('\u{fffd}'), 6),
            (None, _) => ('\u{fffd}', 2),
        },
        Some(other) => (char::from(*other), 2),
        None => ('\\', 1),
    }
}

/// Where the string that begins at `from` ends: its closing quote.
fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let step = memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at + step] == b'"' {
            return Some(at + step);
        }
        at += step + 2;
    }
}
