//! Sanitising inside JSON text, in place.

use std::ops::Range;
use std::rc::Rc;

use serde::de::IgnoredAny;

use crate::SensitiveType;
use crate::find::{Hint, Match, beside, is_telling};
use crate::{Sanitizer, layer};

/// Deepest nesting for which keys are remembered. Deeper JSON is sanitised as free text.
const DEPTH_MAX: usize = 512;
/// Shortest number that can be sensitive.
const NUMBER_BYTES_MIN: usize = 3;

/// An object or a list that is being read.
#[derive(Default)]
struct Frame {
    /// The key whose value is being read; lists pass on the one of what they are in, shared, since there may be many of a long one.
    key: Option<Rc<str>>,
    /// What the object says is the name of its `value`.
    name: Option<Rc<str>>,
    /// Where in the text the `value` stands that has no name yet, and what was found in it.
    unnamed: Option<(Range<usize>, Range<usize>)>,
}

/// Everything sensitive in the JSON text, in order and without overlap; `None` when it is no JSON. `is_left` says of a value, by its
/// key and its text as it is written, that it stays as it is.
pub(crate) fn find_all(by: &Sanitizer, raw: &str, is_left: &dyn Fn(Option<&str>, &str) -> bool) -> Option<Vec<Match>> {
    serde_json::from_str::<IgnoredAny>(raw).ok()?;
    let bytes = raw.as_bytes();
    let mut found = Vec::new();
    let mut frames = vec![Frame::default()];
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                if frames.len() > DEPTH_MAX {
                    return None;
                }
                let key = frames.last().filter(|_| *byte == b'[').and_then(|frame| frame.key.clone());
                frames.push(Frame { key, ..Frame::default() });
                at += 1;
            }
            b'}' | b']' => {
                frames.pop();
                at += 1;
            }
            b'"' => {
                let end = string_end(bytes, at + 1)?;
                let decoded = Decoded::of(raw, at + 1..end)?;
                let after = bytes[end + 1..].iter().position(|b| !b.is_ascii_whitespace()).map(|gap| bytes[end + 1 + gap]);
                let frame = frames.last_mut()?;
                if after == Some(b':') {
                    frame.key = Some(decoded.find(by, Hint::default(), &mut found).into());
                } else if !is_left(frame.key.as_deref(), raw.get(at + 1..end)?) {
                    frame.string(by, &decoded, at + 1..end, &mut found)?;
                }
                at = end + 1;
            }
            b'-' | b'0'..=b'9' => {
                let len = bytes[at..].iter().take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
                if len >= NUMBER_BYTES_MIN {
                    let hint = Hint { key: frames.last().and_then(Frame::context) };
                    if !is_left(frames.last().and_then(|frame| frame.key.as_deref()), raw.get(at..at + len)?) {
                        found.extend(number(by, raw, at..at + len, hint));
                    }
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    Some(found)
}

impl Frame {
    /// The name of the value that is read: its key, or what a key beside it says.
    fn context(&self) -> Option<&str> {
        let key = self.key.as_deref();
        self.name.as_deref().filter(|_| key.is_some_and(|key| beside::is_value(key.as_bytes()))).or(key)
    }

    /// Reads a string that is a value.
    fn string(&mut self, by: &Sanitizer, decoded: &Decoded<'_>, place: Range<usize>, found: &mut Vec<Match>) -> Option<()> {
        let before = found.len();
        let key = self.key.as_deref().unwrap_or_default().as_bytes();
        let (is_value, is_name) = (beside::is_value(key), beside::is_name(key));
        decoded.find(by, Hint { key: self.context() }, found);
        if is_value && self.name.is_none() {
            self.unnamed = Some((place, before..found.len()));
        } else if is_name {
            let matches = layer::find_all(by, decoded.text(), Hint::default());
            let name = layer::context(by, decoded.text(), &matches);
            if !is_telling(&name) {
                return Some(());
            }
            self.name = Some(name.into());
            // the value came first
            if let Some((place, earlier)) = self.unnamed.take() {
                let mut named = Vec::new();
                Decoded::of(decoded.whole, place)?.find(by, Hint { key: self.name.as_deref() }, &mut named);
                drop(found.splice(earlier, named));
            }
        }
        Some(())
    }
}

/// A number that is sensitive is replaced as a whole, in quotes.
fn number(by: &Sanitizer, raw: &str, range: Range<usize>, hint: Hint<'_>) -> Option<Match> {
    let text = raw.get(range.clone())?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.bytes().all(|b| b.is_ascii_digit());
    let decimal = || digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !whole && !decimal() {
        return None;
    }
    let first = layer::find_all(by, digits, hint).into_iter().next()?;
    // of numbers with decimals, coordinates alone are sensitive
    if !whole && first.value.kind != SensitiveType::GpsCoordinates {
        return None;
    }
    Some(Match { start: range.start, end: range.end, quoted: true, ..first })
}

/// A JSON string, with the way back to its raw offsets.
struct Decoded<'a> {
    whole: &'a str,
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
        let mut decoded = Self { whole: raw, raw: inner, from: range.start, escapes: None };
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
    fn find(&self, by: &Sanitizer, hint: Hint<'_>, found: &mut Vec<Match>) -> String {
        let matches = layer::find_all(by, self.text(), hint);
        let context = if hint.key.is_none() { layer::context(by, self.text(), &matches) } else { String::new() };
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
