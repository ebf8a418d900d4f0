//! Runs of base64 and hexadecimal text that decode to text.

use std::ops::Range;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Shortest run that is decoded: 16 characters of base64 are 12 bytes, and hardly any sensitive value is shorter.
const RUN_BYTES_MIN: usize = 16;
/// Shortest run that is decoded where its padding shows what it is: `CVV: 123` has twelve characters.
const PADDED_BYTES_MIN: usize = 8;
/// Characters decoded first, to turn away what is not text.
const PROBE_CHARS: usize = 24;
/// A line at least this long may go on in the next (MIME breaks at 76, PEM at 64).
const WRAPPED_LINE_BYTES_MIN: usize = 60;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Calls `found` with each run that decodes to text, and the text.
pub(crate) fn for_each(text: &str, mut found: impl FnMut(Range<usize>, &str)) {
    let bytes = text.as_bytes();
    padded(bytes, &mut found);
    let mut at = 0;
    // Looks at every sixteenth byte first: most words are shorter, so most bytes are never touched.
    while at + RUN_BYTES_MIN <= bytes.len() {
        let window = &bytes[at..at + RUN_BYTES_MIN];
        if let Some(last) = window.iter().rposition(|b| !is_run(*b)) {
            at += last + 1;
            continue;
        }
        let mut end = line_end(bytes, at + RUN_BYTES_MIN);
        let mut line = at;
        let mut wrapped = false;
        let (first_end, mut previous_end) = (end, end);
        while end - line >= WRAPPED_LINE_BYTES_MIN
            && let Some(next) = next_line(bytes, end)
        {
            line = next;
            previous_end = end;
            end = line_end(bytes, next);
            wrapped = true;
        }
        while bytes.get(end) == Some(&b'=') {
            end += 1;
        }
        if !run(bytes, at..end, wrapped, &mut found) && wrapped {
            // the last line may be a word of what follows
            let is_shorter = run(bytes, at..previous_end, previous_end > first_end, &mut found);
            if !is_shorter && previous_end > first_end {
                run(bytes, at..first_end, false, &mut found);
            }
        }
        at = end.max(at + RUN_BYTES_MIN);
    }
}

/// Short runs that are padded to a multiple of four.
fn padded(bytes: &[u8], found: &mut impl FnMut(Range<usize>, &str)) {
    for sign in memchr::memchr_iter(b'=', bytes) {
        let is_last = !bytes.get(sign + 1).is_some_and(|b| is_run(*b) || *b == b'=');
        if !is_last {
            continue;
        }
        let signs = 1 + usize::from(sign > 0 && bytes[sign - 1] == b'=');
        let end = sign + 1 - signs;
        let len = bytes[..end].iter().rev().take(RUN_BYTES_MIN).take_while(|b| is_run(**b)).count();
        if len < RUN_BYTES_MIN
            && len + signs >= PADDED_BYTES_MIN
            && (len + signs).is_multiple_of(4)
            && let Ok(decoded) = URL_SAFE.decode(&bytes[end - len..end]).or_else(|_| STANDARD.decode(&bytes[end - len..end]))
            && let Some(decoded) = as_text(decoded)
        {
            found(end - len..sign + 1, &decoded);
        }
    }
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| !is_run(*b)).map_or(bytes.len(), |len| from + len)
}

/// Where the next line of a wrapped run begins, if this one goes on.
fn next_line(bytes: &[u8], end: usize) -> Option<usize> {
    let rest = bytes.get(end..)?;
    let next = end
        + if rest.starts_with(b"\r\n") {
            2
        } else if rest.starts_with(b"\n") {
            1
        } else {
            return None;
        };
    bytes.get(next).is_some_and(|b| is_run(*b)).then_some(next)
}

/// Whether the run decodes to text.
fn run(bytes: &[u8], range: Range<usize>, wrapped: bool, found: &mut impl FnMut(Range<usize>, &str)) -> bool {
    let joined: Vec<u8>;
    let text: &[u8] = if wrapped {
        joined = bytes[range.clone()].iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        &joined
    } else {
        &bytes[range.clone()]
    };
    let text = text.split(|b| *b == b'=').next().unwrap_or(text);
    if text.iter().take(PROBE_CHARS).all(u8::is_ascii_hexdigit)
        && text.iter().all(u8::is_ascii_hexdigit)
        && let Some(decoded) = hex(text).and_then(as_text)
    {
        found(range, &decoded);
        return true;
    }
    // digits alone are base64 of nothing that is written in ASCII
    if text.iter().all(u8::is_ascii_digit) {
        return false;
    }
    // A run may be glued to what stands before it, so all four alignments are tried, and after a `/` (a path, a media
    // type) from there.
    let slash = text.iter().rposition(|b| *b == b'/').map(|at| at + 1).filter(|at| text.len() - at >= RUN_BYTES_MIN);
    for from in [Some(0), Some(1), Some(2), Some(3), slash].into_iter().flatten() {
        if let Some(decoded) = text.get(from..).and_then(base64).and_then(as_text) {
            found(range.clone(), &decoded);
            return true;
        }
    }
    false
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() < RUN_BYTES_MIN - 3 {
        return None;
    }
    // one character over a multiple of four is the start of something else
    let text = if text.len() % 4 == 1 { text.split_last()?.1 } else { text };
    let probe = &text[..text.len().min(PROBE_CHARS) / 4 * 4];
    let engine = if text.iter().any(|b| matches!(b, b'-' | b'_')) { &URL_SAFE } else { &STANDARD };
    let mut buffer = [0; PROBE_CHARS];
    let len = engine.decode_slice(probe, &mut buffer).ok()?;
    if !buffer[..len].iter().all(|b| may_be_text(*b)) {
        return None;
    }
    engine.decode(text).ok()
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let high_nibbles = text.iter().step_by(2).take(PROBE_CHARS);
    // a byte of text has a high half of two or more, but for line ends and tabs; bytes beyond ASCII come in pairs at least
    high_nibbles.clone().all(|b| *b != b'1').then_some(())?;
    text.chunks_exact(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The bytes as text, when that is what they are: UTF-8, or UTF-16 in little-endian order as PowerShell has it.
fn as_text(bytes: Vec<u8>) -> Option<String> {
    let bytes = if bytes.len() >= 4 && bytes.iter().skip(1).step_by(2).all(|b| *b == 0) {
        bytes.into_iter().step_by(2).collect()
    } else {
        bytes
    };
    if !bytes.iter().all(|b| *b != 0 && may_be_text(*b)) {
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        // the last character may be cut
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            if valid + 4 < bytes.len() {
                return None;
            }
            bytes.truncate(valid);
            String::from_utf8(bytes).ok()
        }
    }
}

/// Zero is let through for UTF-16, and turned away later where it is not that.
fn may_be_text(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7F || matches!(byte, b'\t' | b'\n' | b'\r' | 0)
}

fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for_each(text, |range, decoded| all.push((text[range].to_owned(), decoded.to_owned())));
        all
    }

    #[test]
    fn finds_what_decodes_to_text() {
        let inner = "ann@example.com, please";
        let standard = STANDARD.encode(inner);
        let hex: String = inner.bytes().map(|b| format!("{b:02x}")).collect();
        let wide: Vec<u8> = inner.bytes().flat_map(|b| [b, 0]).collect();
        for run in [standard.clone(), URL_SAFE.encode(inner), hex, STANDARD.encode(wide)] {
            assert_eq!(decoded(&format!("see {run} there")), [(run, inner.to_owned())]);
        }
        assert_eq!(decoded(&format!("x/y/z/{standard}"))[0].1, inner);
        assert_eq!(decoded(&format!("b6{standard}"))[0].1, inner);
    }

    #[test]
    fn joins_wrapped_lines() {
        let inner = "a line of text that is long enough to be wrapped over more than one line of base64, is it not";
        let run = STANDARD.encode(inner);
        let wrapped: Vec<&str> = run.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        assert_eq!(decoded(&wrapped.join("\n"))[0].1, inner);
    }

    #[test]
    fn a_word_in_the_next_line_is_not_part_of_a_run() {
        let inner = "a line of text that is long enough to be wrapped over more than one line";
        let hex: String = inner.bytes().map(|b| format!("{b:02x}")).collect();
        for run in [STANDARD.encode(inner), hex] {
            assert_eq!(decoded(&format!("user: {run}\nassistant: yes")), [(run, inner.to_owned())]);
        }
    }

    #[test]
    fn what_is_not_text_is_left_alone() {
        for text in ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "4111111111111111", "short", ""] {
            assert_eq!(decoded(text), [], "{text}");
        }
    }
}
