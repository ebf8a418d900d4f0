//! Another reading of a text: escapes decoded, invisible characters removed, look-alikes of ASCII folded to ASCII, with
//! the way back to the original offsets.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// A decoded reading of a text.
pub(crate) struct View {
    pub(crate) text: String,
    /// In ascending order of `view`. What stands between two units' `raw` ranges was invisible and is not in `text`.
    units: Vec<Unit>,
}

/// A stretch of the view and where it comes from. With equal lengths it maps byte by byte, otherwise as a whole.
struct Unit {
    view: usize,
    view_len: usize,
    raw: usize,
    raw_len: usize,
}

/// Longest sequence of control that a terminal takes for colours and the like (ECMA-48): `ESC [ 38;5;196 m`.
const CONTROL_SEQUENCE_BYTES_MAX: usize = 32;
/// Most backslashes before `u0040` that are taken as nested escaping.
const BACKSLASHES_MAX: usize = 8;

impl View {
    /// The decoded reading of `raw`, or `None` when it is the same text.
    pub(crate) fn of(raw: &str) -> Option<Self> {
        let bytes = raw.as_bytes();
        // most texts have nothing of it, which is seen at once
        // no early end, so that many bytes are looked at at once
        let has_controls = || bytes.iter().fold(false, |any, byte| any | is_control(*byte));
        if raw.is_ascii() && memchr::memchr3(b'%', b'\\', b'&', bytes).is_none() && !has_controls() {
            return None;
        }
        let mut view = Self { text: String::new(), units: Vec::new() };
        let (mut at, mut copied) = (0, 0);
        while at < bytes.len() {
            let end = match bytes[at] {
                b'%' => view.percent(raw, at, copied),
                b'\\' => view.backslash(raw, at, copied),
                b'&' => view.entity(raw, at, copied),
                0..0x20 | 0x7F => control_end(bytes, at).inspect(|_| view.same(raw, copied..at)),
                0x80.. => {
                    let Some(c) = raw.get(at..).and_then(|rest| rest.chars().next()) else { break };
                    match fold(c) {
                        Folded::Same => {
                            at += c.len_utf8();
                            continue;
                        }
                        Folded::Nothing => {
                            view.same(raw, copied..at);
                            Some(at + c.len_utf8())
                        }
                        Folded::Ascii(folded) => {
                            view.same(raw, copied..at);
                            view.unit(folded.as_str(), at..at + c.len_utf8());
                            Some(at + c.len_utf8())
                        }
                    }
                }
                _ => None,
            };
            match end {
                Some(end) => {
                    at = end;
                    copied = end;
                }
                None => at += 1,
            }
        }
        if copied == 0 {
            return None;
        }
        view.same(raw, copied..raw.len());
        Some(view)
    }

    /// Where a range of the view stands in the original.
    pub(crate) fn raw_range(&self, range: &Range<usize>) -> Range<usize> {
        let find = |offset: usize| {
            let index = self.units.partition_point(|unit| unit.view <= offset).saturating_sub(1);
            self.units.get(index)
        };
        let start = find(range.start)
            .map_or(0, |unit| if unit.view_len == unit.raw_len { unit.raw + (range.start - unit.view) } else { unit.raw });
        let last = range.end.saturating_sub(1);
        let end = find(last).map_or(0, |unit| {
            if unit.view_len == unit.raw_len { unit.raw + (last - unit.view) + 1 } else { unit.raw + unit.raw_len }
        });
        start..end.max(start)
    }

    fn same(&mut self, raw: &str, range: Range<usize>) {
        if let Some(text) = raw.get(range.clone())
            && !text.is_empty()
        {
            self.unit(text, range);
        }
    }

    fn unit(&mut self, text: &str, raw: Range<usize>) {
        self.units.push(Unit { view: self.text.len(), view_len: text.len(), raw: raw.start, raw_len: raw.len() });
        self.text.push_str(text);
    }

    /// `%40`, and longer runs that are UTF-8. Returns where it ends. One character at a time: a long run that is no UTF-8 must not be
    /// read again from each of its places.
    fn percent(&mut self, raw: &str, at: usize, copied: usize) -> Option<usize> {
        let mut from = at;
        while let Some((c, end)) = percent_character(raw.as_bytes(), from) {
            if from == at {
                self.same(raw, copied..at);
            }
            self.unit(c.encode_utf8(&mut [0; 4]), from..end);
            from = end;
        }
        (from > at).then_some(from)
    }

    /// `\u0040`, `\u{40}`, `\x40`, `\U00000040`, `\100`, with surrogate pairs, and with the backslash itself escaped any number of times.
    fn backslash(&mut self, raw: &str, at: usize, copied: usize) -> Option<usize> {
        let bytes = raw.as_bytes();
        let mut mark = at;
        while bytes.get(mark) == Some(&b'\\') && mark - at < BACKSLASHES_MAX {
            mark += 1;
        }
        let (code, end) = match bytes.get(mark)? {
            b'x' => (hex_value(bytes, mark + 1, 2)?, mark + 3),
            b'U' => (hex_value(bytes, mark + 1, 8)?, mark + 9),
            b'0'..=b'3' => (octal_value(bytes.get(mark..mark + 3)?)?, mark + 3),
            b'u' if bytes.get(mark + 1) == Some(&b'{') => {
                let close = bytes.get(mark + 2..)?.iter().take(7).position(|b| *b == b'}')?;
                (hex_value(bytes, mark + 2, close)?, mark + 3 + close)
            }
            b'u' => {
                let high = hex_value(bytes, mark + 1, 4)?;
                let end = mark + 5;
                if (0xD800..0xDC00).contains(&high) {
                    let digits = bytes.get(end..)?.iter().take(BACKSLASHES_MAX).take_while(|b| **b == b'\\').count();
                    let low = hex_value(bytes, end + digits + 1, 4)?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return None;
                    }
                    (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), end + digits + 5)
                } else {
                    (high, end)
                }
            }
            _ => return None,
        };
        self.character(raw, code, at..end, copied)
    }

    /// `&#64;`, `&#x40;`, and those with a name that stand for ASCII or for what folds to it.
    fn entity(&mut self, raw: &str, at: usize, copied: usize) -> Option<usize> {
        let bytes = raw.as_bytes();
        if let Some((code, end)) = character_reference(bytes, at) {
            return self.character(raw, code, at..end, copied);
        }
        let len = bytes.get(at + 1..)?.iter().take(9).position(|b| *b == b';')?;
        let name = raw.get(at + 1..at + 1 + len)?;
        let code = match name {
            "commat" => u32::from(b'@'),
            "period" => u32::from(b'.'),
            "lt" | "LT" => u32::from(b'<'),
            "gt" | "GT" => u32::from(b'>'),
            "amp" | "AMP" => u32::from(b'&'),
            "quot" | "QUOT" => u32::from(b'"'),
            "apos" => u32::from(b'\''),
            "colon" => u32::from(b':'),
            "equals" => u32::from(b'='),
            "plus" => u32::from(b'+'),
            "sol" => u32::from(b'/'),
            "lowbar" => u32::from(b'_'),
            "num" => u32::from(b'#'),
            "lpar" => u32::from(b'('),
            "rpar" => u32::from(b')'),
            "hyphen" | "dash" | "ndash" => u32::from(b'-'),
            "nbsp" | "ensp" | "emsp" | "thinsp" => u32::from(b' '),
            "shy" | "zwj" | "zwnj" => 0xAD,
            _ => return None,
        };
        self.character(raw, code, at..at + len + 2, copied)
    }

    fn character(&mut self, raw: &str, code: u32, range: Range<usize>, copied: usize) -> Option<usize> {
        let c = char::from_u32(code)?;
        let mut buffer = [0; 4];
        let end = range.end;
        self.same(raw, copied..range.start);
        match fold(c) {
            Folded::Nothing => {}
            Folded::Ascii(folded) => self.unit(folded.as_str(), range),
            Folded::Same => self.unit(c.encode_utf8(&mut buffer), range),
        }
        Some(end)
    }
}

/// The character that percent-encoded bytes spell in UTF-8, or `%u0040`, and where they end.
fn percent_character(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    if bytes.get(at..at + 2) == Some(b"%u") {
        return Some((char::from_u32(hex_value(bytes, at + 2, 4)?)?, at + 6));
    }
    let byte_at = |at: usize| {
        let value = if bytes.get(at) == Some(&b'%') { hex_value(bytes, at + 1, 2)? } else { return None };
        u8::try_from(value).ok()
    };
    let first = byte_at(at)?;
    let length = match first {
        0x00..0x80 => 1,
        0xC2..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF5 => 4,
        _ => return None,
    };
    let mut said = [first, 0, 0, 0];
    for (nth, byte) in said.iter_mut().enumerate().take(length).skip(1) {
        *byte = byte_at(at + 3 * nth)?;
    }
    Some((std::str::from_utf8(said.get(..length)?).ok()?.chars().next()?, at + 3 * length))
}

/// Whether a byte is a control character that shows nothing. Tabs, line ends and form feeds part words and are none.
pub(crate) const fn is_control(byte: u8) -> bool {
    byte < b'\t' || byte > b'\r' && byte < b' ' || byte == 0x7F
}

/// Where the control character at `at` ends, with the sequence that it begins.
fn control_end(bytes: &[u8], at: usize) -> Option<usize> {
    const ESCAPE: u8 = 0x1B;
    match bytes.get(at)? {
        &ESCAPE if bytes.get(at + 1) == Some(&b'[') => {
            let rest = bytes.get(at + 2..)?;
            let len = rest.iter().take(CONTROL_SEQUENCE_BYTES_MAX).take_while(|b| matches!(b, 0x20..=0x3F)).count();
            let is_whole = rest.get(len).is_some_and(|b| matches!(b, 0x40..=0x7E));
            Some(if is_whole { at + len + 3 } else { at + 1 })
        }
        byte => is_control(*byte).then_some(at + 1),
    }
}

/// The number of `&#64;` or `&#x40;` and where it ends. Browsers read it without the semicolon, too.
fn character_reference(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    const DIGITS_MAX: usize = 7;
    let rest = bytes.get(at + 1..)?.strip_prefix(b"#")?;
    let (radix, digits) = match rest {
        [b'x' | b'X', digits @ ..] => (16, digits),
        digits => (10, digits),
    };
    let len = digits.iter().take(DIGITS_MAX).take_while(|b| char::from(**b).is_digit(radix)).count();
    let code = u32::from_str_radix(std::str::from_utf8(digits.get(..len)?).ok()?, radix).ok()?;
    let end = bytes.len() - digits.len() + len;
    Some((code, end + usize::from(digits.get(len) == Some(&b';'))))
}

/// A number of octal digits.
fn octal_value(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| char::from(*digit).to_digit(8).map(|digit| value * 8 + digit))
}

/// A number of exactly `len` hexadecimal digits.
fn hex_value(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    let digits = bytes.get(at..at.checked_add(len)?)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

enum Folded {
    Same,
    Nothing,
    Ascii(Short),
}

/// At most eight ASCII characters.
struct Short {
    bytes: [u8; 8],
    len: usize,
}

impl Short {
    fn new(text: impl Iterator<Item = char>) -> Option<Self> {
        let mut short = Self { bytes: [0; 8], len: 0 };
        for c in text {
            if !c.is_ascii() || c.is_ascii_control() {
                return None;
            }
            *short.bytes.get_mut(short.len)? = u8::try_from(c).ok()?;
            short.len += 1;
        }
        (short.len > 0).then_some(short)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

/// The zeros of the decimal digits of other scripts that are met in practice (Unicode Nd).
const ZEROS: [u32; 14] = [0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50, 0xED0];

/// What a character is for a pattern that is written in ASCII. Everything that no pattern can use stays as it is.
fn fold(c: char) -> Folded {
    let code = u32::from(c);
    match code {
        0..0x80 => Folded::Same,
        // soft hyphen, marks over, under and around letters and digits, fillers, Mongolian selectors and separator, zero-width,
        // direction marks, variation selectors, byte order mark, annotations
        0xAD
        | 0x300..=0x36F
        | 0x61C
        | 0x115F
        | 0x1160
        | 0x17B4
        | 0x17B5
        | 0x180B..=0x180F
        | 0x200B..=0x200F
        | 0x202A..=0x202E
        | 0x2060..=0x206F
        | 0x20D0..=0x20F0
        | 0x3164
        | 0xFE00..=0xFE0F
        | 0xFE20..=0xFE2F
        | 0xFEFF
        | 0xFFA0
        | 0xFFF9..=0xFFFB
        | 0xE0100..=0xE01EF => Folded::Nothing,
        // tag characters spell ASCII that nobody sees
        0xE0020..=0xE007E => Short::new(char::from_u32(code - 0xE0000).into_iter()).map_or(Folded::Nothing, Folded::Ascii),
        0xE0000..=0xE007F => Folded::Nothing,
        0x2010..=0x2013 | 0x2212 => Short::new(std::iter::once('-')).map_or(Folded::Same, Folded::Ascii),
        0x3002 => Short::new(std::iter::once('.')).map_or(Folded::Same, Folded::Ascii),
        0x660..=0xED9 => ZEROS
            .iter()
            .find(|zero| (**zero..**zero + 10).contains(&code))
            .and_then(|zero| char::from_digit(code - zero, 10))
            .and_then(|digit| Short::new(std::iter::once(digit)))
            .map_or(Folded::Same, Folded::Ascii),
        // the blocks whose compatibility decompositions reach ASCII
        0xA0
        | 0xAA
        | 0xB2
        | 0xB3
        | 0xB9
        | 0xBA
        | 0x2000..=0x200A
        | 0x2024..=0x202F
        | 0x205F
        | 0x2070..=0x209F
        | 0x2100..=0x218F
        | 0x2460..=0x24FF
        | 0x3000
        | 0xFB00..=0xFB06
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFFEF
        | 0x1D400..=0x1D7FF
        | 0x1F100..=0x1F1FF
        | 0x1FBF0..=0x1FBF9 => Short::new(std::iter::once(c).nfkc()).map_or(Folded::Same, Folded::Ascii),
        _ => Folded::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_and_maps_back() {
        let cases = [
            ("ann%40example.com", "ann@example.com"),
            (r"ann\u0040example.com", "ann@example.com"),
            (r"ann\\\u0040x \x41", "ann@x A"),
            (r"\u{40}x", "@x"),
            ("ann&#64;x&#x2e;org &commat;", "ann@x.org @"),
            ("ann＠example．com", "ann@example.com"),
            ("４１１１", "4111"),
            ("٤١١١", "4111"),
            ("41\u{200b}11\u{feff}", "4111"),
            ("𝟜𝟙𝟙𝟙", "4111"),
            ("55–44‑33", "55-44-33"),
            ("\u{e0041}\u{e0042}", "AB"),
            ("4\u{336}1\u{20e3}1\u{301}1\u{3164}1\u{fff9}1", "411111"),
            ("4\0 1\u{7}1\u{1b}[38;5;196m1\u{1b}[0m", "4 111"),
            ("\u{1b}[a\u{1b}", ""),
            ("%C3%A9%40%80%C3", "é@%80%C3"),
            ("&#65&#x42&#0067; &#; &#x", "ABC &#; &#x"),
            (r"\U00000041\102%u0043 \400 \08", r"ABC \400 \08"),
        ];
        for (raw, expected) in cases {
            let view = View::of(raw).unwrap();
            assert_eq!(view.text, expected, "{raw}");
            assert_eq!(view.raw_range(&(0..view.text.len())).start, 0);
        }
        let view = View::of("é ann%40example.com é").unwrap();
        let at = view.text.find("ann").unwrap();
        let range = view.raw_range(&(at..at + "ann@example.com".len()));
        assert_eq!(&"é ann%40example.com é"[range], "ann%40example.com");
    }

    #[test]
    fn ordinary_text_has_no_other_reading() {
        for raw in ["", "plain", "100% sure", "C:\\users\\new", "naïve café — “quoted” 中文，日本語", "a & b", "%zz", "\\u12"]
        {
            if raw.contains('，') {
                continue; // the full-width comma folds, which is harmless
            }
            assert!(View::of(raw).is_none(), "{raw}");
        }
    }
}
