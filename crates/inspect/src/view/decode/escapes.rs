//! Escapes, replaced where they stand: percent, HTML entities, backslashes, `U+0069`, quoted-printable.

use super::{Decoded, Decoder, pair_value};
use crate::view::{Spans, ViewKind};

/// Fewest escapes of one sort that make a decoded view of the whole text worthwhile.
const ESCAPES_MIN: usize = 2;
/// Fewest escapes of quoted-printable: `=20` and the like stand in addresses, too.
const QUOTED_MIN: usize = 4;
/// Longest entity, with its digits or name.
const ENTITY_BYTES_MAX: usize = 10;

/// The whole text with its escapes and entities replaced.
pub(super) fn escapes(text: &str, decoder: &mut Decoder) -> Option<Decoded> {
    let bytes = text.as_bytes();
    let (mut percent, mut entities, mut escapes, mut escaped) = (0_usize, 0_usize, 0_usize, 0_usize);
    for (at, byte) in bytes.iter().enumerate() {
        let (count, found) = match byte {
            b'%' => (&mut percent, percent_at(text, at)),
            b'&' => (&mut entities, entity_at(text, at)),
            b'\\' => (&mut escapes, escape_at(text, at)),
            b'U' => (&mut escapes, notation_at(text, at)),
            _ => continue,
        };
        if let Some((_, end)) = found {
            *count += 1;
            escaped += end - at;
        }
    }
    let kind = if percent >= ESCAPES_MIN && percent >= entities && percent >= escapes {
        ViewKind::Percent
    } else if entities >= ESCAPES_MIN && entities >= escapes {
        ViewKind::HtmlEntities
    } else if escapes >= ESCAPES_MIN {
        ViewKind::Escapes
    } else {
        return None;
    };
    if !decoder.takes(text.len(), escaped) {
        return None;
    }
    let (out, spans) = replaced(text, |at| match bytes[at] {
        b'%' => percent_at(text, at),
        b'&' => entity_at(text, at),
        b'\\' => escape_at(text, at),
        b'U' => notation_at(text, at),
        _ => None,
    });
    Some((kind, out, spans))
}

/// The whole text with the escapes and soft line ends of quoted-printable replaced (RFC 2045, section 6.7).
pub(super) fn quoted_printable(text: &str, decoder: &mut Decoder) -> Option<Decoded> {
    let escaped: Vec<usize> =
        text.match_indices('=').filter_map(|(at, _)| quoted_at(text, at).map(|(_, end)| end - at)).collect();
    if escaped.len() < QUOTED_MIN || !decoder.takes(text.len(), escaped.iter().sum()) {
        return None;
    }
    let (out, spans) = replaced(text, |at| if text.as_bytes()[at] == b'=' { quoted_at(text, at) } else { None });
    Some((ViewKind::QuotedPrintable, out, spans))
}

/// Replaces what `said` tells of a place: a character, or nothing, and where the escape ends.
fn replaced(text: &str, said: impl Fn(usize) -> Option<(Option<char>, usize)>) -> (String, Spans) {
    let mut out = String::with_capacity(text.len());
    let mut spans = Spans::default();
    let (mut at, mut copied) = (0, 0);
    while at < text.len() {
        let Some((character, end)) = said(at) else {
            at += 1;
            continue;
        };
        if copied < at {
            spans.linear(out.len(), copied);
            out.push_str(&text[copied..at]);
        }
        if let Some(character) = character {
            spans.whole(out.len(), at..end);
            out.push(character);
        }
        at = end;
        copied = end;
    }
    if copied < text.len() {
        spans.linear(out.len(), copied);
        out.push_str(&text[copied..]);
    }
    (out, spans)
}

/// The character that one to four escaped bytes spell in UTF-8, and where they end. One at a time: a long run that is no
/// UTF-8 must not be read again from each of its places.
fn utf8_at(start: usize, byte_at: impl Fn(usize) -> Option<(u8, usize)>) -> Option<(char, usize)> {
    let (first, mut end) = byte_at(start)?;
    let length = match first {
        0x00..0x80 => 1,
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return None,
    };
    let mut said = [first, 0, 0, 0];
    for byte in said.iter_mut().take(length).skip(1) {
        (*byte, end) = byte_at(end)?;
    }
    Some((std::str::from_utf8(&said[..length]).ok()?.chars().next()?, end))
}

/// The value of `length` hexadecimal digits at a place.
fn digits(text: &str, from: usize, length: usize) -> Option<u32> {
    let digits = text.get(from..from + length)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// `%69` in UTF-8, or `%u0069`.
fn percent_at(text: &str, at: usize) -> Option<(Option<char>, usize)> {
    let bytes = text.as_bytes();
    if bytes.get(at + 1) == Some(&b'u') {
        return Some((Some(char::from_u32(digits(text, at + 2, 4)?)?), at + 6));
    }
    let byte_at = |at: usize| {
        let value = pair_value(*bytes.get(at + 1)?, *bytes.get(at + 2)?)?;
        (bytes[at] == b'%').then_some((value, at + 3))
    };
    utf8_at(at, byte_at).map(|(character, end)| (Some(character), end))
}

/// `=69` in UTF-8, with capital digits as the standard asks, or a line end that is none.
fn quoted_at(text: &str, at: usize) -> Option<(Option<char>, usize)> {
    let bytes = text.as_bytes();
    match (bytes.get(at + 1), bytes.get(at + 2)) {
        (Some(b'\n'), _) => return Some((None, at + 2)),
        (Some(b'\r'), Some(b'\n')) => return Some((None, at + 3)),
        _ => {}
    }
    let byte_at = |at: usize| {
        let (high, low) = (*bytes.get(at + 1)?, *bytes.get(at + 2)?);
        let fits = bytes[at] == b'=' && !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
        fits.then(|| pair_value(high, low))?.map(|value| (value, at + 3))
    };
    let (character, end) = utf8_at(at, byte_at)?;
    (!character.is_control() || character.is_whitespace()).then_some((Some(character), end))
}

/// A character reference of HTML and where it ends. Browsers read numbers without the semicolon, too.
fn entity_at(text: &str, at: usize) -> Option<(Option<char>, usize)> {
    let rest = text.as_bytes().get(at + 1..(at + 1 + ENTITY_BYTES_MAX).min(text.len()))?;
    if rest.first() == Some(&b'#') {
        let (radix, from) = if matches!(rest.get(1), Some(b'x' | b'X')) { (16, 2) } else { (10, 1) };
        let length = rest[from..].iter().take_while(|&&byte| char::from(byte).is_digit(radix)).count();
        let number = std::str::from_utf8(&rest[from..from + length]).ok()?;
        let character = char::from_u32(u32::from_str_radix(number, radix).ok()?)?;
        let closed = usize::from(rest.get(from + length) == Some(&b';'));
        return Some((Some(character), at + 1 + from + length + closed));
    }
    let length = rest.iter().position(|&byte| byte == b';')?;
    let character = match std::str::from_utf8(&rest[..length]).ok()? {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" | "ldquo" | "rdquo" => '"',
        "apos" | "lsquo" | "rsquo" => '\'',
        "nbsp" | "ensp" | "emsp" | "thinsp" => ' ',
        "colon" => ':',
        "semi" => ';',
        "comma" => ',',
        "period" => '.',
        "sol" => '/',
        "bsol" => '\\',
        "lpar" => '(',
        "rpar" => ')',
        "lsqb" | "lbrack" => '[',
        "rsqb" | "rbrack" => ']',
        "lbrace" | "lcub" => '{',
        "rbrace" | "rcub" => '}',
        "excl" => '!',
        "quest" => '?',
        "equals" => '=',
        "commat" => '@',
        "num" => '#',
        "dollar" => '$',
        "percnt" => '%',
        "ast" => '*',
        "plus" => '+',
        "lowbar" => '_',
        "hyphen" | "dash" | "ndash" | "mdash" => '-',
        "grave" => '`',
        "vert" | "verbar" => '|',
        "NewLine" => '\n',
        "Tab" => '\t',
        "shy" => '\u{ad}',
        "zwj" => '\u{200d}',
        "zwnj" => '\u{200c}',
        _ => return None,
    };
    Some((Some(character), at + 2 + length))
}

/// `U+0069`: how people write a character's number.
fn notation_at(text: &str, at: usize) -> Option<(Option<char>, usize)> {
    if text.as_bytes().get(at + 1) != Some(&b'+') {
        return None;
    }
    let length = text.as_bytes()[at + 2..].iter().take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let value = if length >= 4 { digits(text, at + 2, length)? } else { return None };
    // Of five digits or six the last may be the next word's first letter.
    let (value, length) = if value > 0x10ffff { (digits(text, at + 2, 4)?, 4) } else { (value, length) };
    Some((Some(char::from_u32(value)?), at + 2 + length))
}

/// A backslash escape of JSON, JavaScript, Python, Rust or C and where it ends.
fn escape_at(text: &str, at: usize) -> Option<(Option<char>, usize)> {
    let bytes = text.as_bytes();
    let (character, end) = match bytes.get(at + 1)? {
        b'n' => ('\n', at + 2),
        b'r' => ('\r', at + 2),
        b't' => ('\t', at + 2),
        quoted @ (b'"' | b'\'' | b'/') => (char::from(*quoted), at + 2),
        b'x' => {
            let byte_at = |at: usize| {
                let value = u8::try_from(digits(text, at + 2, 2)?).ok()?;
                (text.get(at..at + 2)? == "\\x").then_some((value, at + 4))
            };
            // Bytes of UTF-8, as in Python and C, or one character, as in JavaScript.
            utf8_at(at, byte_at).or_else(|| byte_at(at).map(|(byte, end)| (char::from(byte), end)))?
        }
        b'u' if bytes.get(at + 2) == Some(&b'{') => {
            let length = bytes[at + 3..].iter().take(7).take_while(|byte| byte.is_ascii_hexdigit()).count();
            if bytes.get(at + 3 + length) != Some(&b'}') {
                return None;
            }
            (char::from_u32(digits(text, at + 3, length)?)?, at + 4 + length)
        }
        b'u' => {
            let first = digits(text, at + 2, 4)?;
            if (0xd800..0xdc00).contains(&first) && text.get(at + 6..at + 8) == Some("\\u") {
                let second = digits(text, at + 8, 4)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                (char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)?, at + 12)
            } else {
                (char::from_u32(first)?, at + 6)
            }
        }
        b'U' => (char::from_u32(digits(text, at + 2, 8)?)?, at + 10),
        b'0'..=b'3' => {
            let octal = text.get(at + 1..at + 4).filter(|octal| octal.bytes().all(|byte| matches!(byte, b'0'..=b'7')))?;
            (char::from(u8::from_str_radix(octal, 8).ok()?), at + 4)
        }
        _ => return None,
    };
    Some((Some(character), end))
}
