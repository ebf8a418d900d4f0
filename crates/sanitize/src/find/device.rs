//! Hardware addresses, vehicles, and places on earth.

use super::context::{Near, Topic};
use super::{Hint, Match, begins, ends};
use crate::SensitiveType as Kind;
use crate::checksum::value;

const MAC_BYTES: usize = 17;
/// Three groups of four: as network equipment writes them.
const MAC_DOTTED_BYTES: usize = 14;
const VIN_BYTES: usize = 17;
/// A vehicle's number has at most so many letters before its first digit.
const VIN_LETTERS_MAX: usize = 9;

/// What has its first digit, or a digit of its first groups, at `digit`. Returns where it ends.
pub(super) fn at(text: &str, digit: usize, hint: Hint<'_>, found: &mut Vec<Match>) -> Option<usize> {
    mac_dashed(text, digit, found).or_else(|| vehicle(text, digit, hint, found)).or_else(|| position(text, digit, hint, found))
}

/// The hardware address whose first colon is at `colon`: `00:1A:2B:3C:4D:5E`. Returns where it ends.
pub(super) fn mac(text: &str, colon: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let start = colon.checked_sub(2)?;
    pairs(bytes, start, b':')?;
    // a longer row is something else, an IPv6 address or a fingerprint
    let alone = bytes.get(start + MAC_BYTES) != Some(&b':') && start.checked_sub(1).is_none_or(|before| bytes[before] != b':');
    alone.then(|| push_mac(text, start, start + MAC_BYTES, found))
}

fn mac_dashed(text: &str, digit: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let letters = bytes[..digit].iter().rev().take(4).take_while(|b| b.is_ascii_hexdigit()).count();
    let mut start = digit - letters;
    // the groups before may be of letters alone
    while start >= 3 && bytes[start - 1] == b'-' && bytes[start - 3..start - 1].iter().all(u8::is_ascii_hexdigit) {
        start -= 3;
        if digit - start > MAC_BYTES {
            return None;
        }
    }
    if pairs(bytes, start, b'-').is_some() {
        let alone =
            bytes.get(start + MAC_BYTES) != Some(&b'-') && start.checked_sub(1).is_none_or(|before| bytes[before] != b'-');
        return alone.then(|| push_mac(text, start, start + MAC_BYTES, found));
    }
    let run = bytes.get(start..start + MAC_DOTTED_BYTES)?;
    let dotted = run.iter().enumerate().all(|(i, byte)| if i % 5 == 4 { *byte == b'.' } else { byte.is_ascii_hexdigit() })
        && run.iter().any(u8::is_ascii_alphabetic)
        && begins(bytes, start)
        && ends(bytes, start + MAC_DOTTED_BYTES)
        && bytes.get(start + MAC_DOTTED_BYTES) != Some(&b'.');
    dotted.then(|| push_mac(text, start, start + MAC_DOTTED_BYTES, found))
}

/// Six pairs of hexadecimal digits with `between` between them.
fn pairs(bytes: &[u8], start: usize, between: u8) -> Option<()> {
    let run = bytes.get(start..start + MAC_BYTES)?;
    let fits = run.iter().enumerate().all(|(i, byte)| if i % 3 == 2 { *byte == between } else { byte.is_ascii_hexdigit() });
    // all zeros and all ones are nobody's
    let first = run[0];
    let somebodys = run.iter().any(|byte| *byte != between && !byte.eq_ignore_ascii_case(&first));
    // with hyphens it may be days and hours: 20-11-22-10-15-00
    let is_hex = between == b':' || run.iter().any(u8::is_ascii_alphabetic);
    (fits && somebodys && is_hex && begins(bytes, start) && ends(bytes, start + MAC_BYTES)).then_some(())
}

fn push_mac(text: &str, start: usize, end: usize, found: &mut Vec<Match>) -> usize {
    let normal: String = text[start..end].chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect();
    found.push(Match::new(start, end, Kind::MacAddress, normal));
    end
}

/// Seventeen letters and digits without I, O and Q; with a check digit in the ninth place, or a word that says it.
fn vehicle(text: &str, digit: usize, hint: Hint<'_>, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let letters = bytes[..digit].iter().rev().take(VIN_LETTERS_MAX + 1).take_while(|b| b.is_ascii_alphabetic()).count();
    let start = digit - letters;
    let end = start + VIN_BYTES;
    let run = bytes.get(start..end)?;
    let digits = run.iter().filter(|b| b.is_ascii_digit()).count();
    let plausible = run.iter().all(|b| (b.is_ascii_uppercase() || b.is_ascii_digit()) && !b"IOQ".contains(b))
        && (5..VIN_BYTES - 1).contains(&digits)
        && run[VIN_BYTES - 4..].iter().all(u8::is_ascii_digit)
        && begins(bytes, start)
        && ends(bytes, end);
    if !plausible || !(vin_check(run) || Near::before(bytes, start, hint).speaks_of(Topic::Vehicle)) {
        return None;
    }
    found.push(Match::new(start, end, Kind::Vin, text.get(start..end)?.to_owned()));
    Some(end)
}

/// ISO 3779 as used in North America: letters as digits, weights, modulo 11 with X for ten.
fn vin_check(run: &[u8]) -> bool {
    const WEIGHTS: [u32; VIN_BYTES] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    const VALUES: &[u8; 26] = b"12345678012345070923456789";
    let of = |byte: u8| if byte.is_ascii_digit() { value(byte) } else { value(VALUES[usize::from(byte - b'A') % 26]) };
    let sum: u32 = run.iter().zip(WEIGHTS).map(|(byte, weight)| of(*byte) * weight).sum();
    let check = run[8];
    match sum % 11 {
        10 => check == b'X',
        rest => check.is_ascii_digit() && value(check) == rest,
    }
}

/// A pair of decimal degrees: `48.858370, 2.294481`. Without a word that says it, both have four decimals or more, and no third
/// number follows: that is a list.
fn position(text: &str, digit: usize, hint: Hint<'_>, found: &mut Vec<Match>) -> Option<usize> {
    const DECIMALS: std::ops::RangeInclusive<usize> = 4..=9;
    const NAMED_DECIMALS_MIN: usize = 2;
    let bytes = text.as_bytes();
    let start = digit - usize::from(digit > 0 && bytes[digit - 1] == b'-');
    let first = degrees(bytes, digit)?;
    if first.whole > 90
        || start.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric() || bytes[before] == b'.')
    {
        return None;
    }
    let between = bytes[first.end..].iter().take(3).take_while(|b| matches!(b, b',' | b' ' | b';' | b'/')).count();
    let gap = &bytes[first.end..first.end + between];
    if !matches!(gap, b"," | b", " | b" , " | b" " | b";" | b"; " | b"/" | b" / ") {
        return None;
    }
    let second_start = first.end + between;
    let sign = usize::from(bytes.get(second_start) == Some(&b'-'));
    let second = degrees(bytes, second_start + sign)?;
    let goes_on = bytes[second.end..]
        .iter()
        .take(4)
        .find(|b| !matches!(b, b',' | b' ' | b';' | b'-' | b'+'))
        .is_some_and(u8::is_ascii_digit)
        && bytes.get(second.end).is_some_and(|b| matches!(b, b',' | b' ' | b';'));
    let listed = bytes[..start].iter().rev().find(|b| !matches!(b, b' ' | b',' | b';')).is_some_and(u8::is_ascii_digit);
    if second.whole > 180 || !ends(bytes, second.end) {
        return None;
    }
    let exact = DECIMALS.contains(&first.decimals) && DECIMALS.contains(&second.decimals);
    let sure = exact && gap.contains(&b',') && !goes_on && !listed && first.whole.max(second.whole) > 0;
    let named = || {
        let near = Near::before(bytes, start, hint);
        first.decimals.min(second.decimals) >= NAMED_DECIMALS_MIN && near.of(Kind::GpsCoordinates) > 0
    };
    if !sure && !named() {
        return None;
    }
    found.push(Match::new(start, second.end, Kind::GpsCoordinates, text.get(start..second.end)?.replace(' ', "")));
    Some(second.end)
}

struct Degrees {
    whole: u32,
    decimals: usize,
    end: usize,
}

fn degrees(bytes: &[u8], from: usize) -> Option<Degrees> {
    let digits = |at: usize| bytes.get(at..).map_or(0, |rest| rest.iter().take(16).take_while(|b| b.is_ascii_digit()).count());
    let len = digits(from);
    let dot = from + len;
    if !(1..=3).contains(&len) || bytes.get(dot) != Some(&b'.') {
        return None;
    }
    let decimals = digits(dot + 1);
    let whole = bytes[from..dot].iter().fold(0, |sum, digit| sum * 10 + value(*digit));
    (decimals > 0).then_some(Degrees { whole, decimals, end: dot + 1 + decimals })
}

/// The machine-readable zone of a passport: two lines of 44 characters (ICAO 9303, part 4). Returns where it ends.
pub(super) fn passport_zone(text: &str, start: usize, found: &mut Vec<Match>) -> Option<usize> {
    const LINE_BYTES: usize = 44;
    /// A name with less behind it has lost its fillers.
    const FIRST_BYTES_MIN: usize = 30;
    /// A line's end, escaped or not, and the next line's indentation.
    const GAP_BYTES_MAX: usize = 24;
    let bytes = text.as_bytes();
    let is_zone = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'<';
    let first = bytes[start..].iter().take(LINE_BYTES + 1).take_while(|b| is_zone(b)).count();
    let gap = bytes[start + first..]
        .iter()
        .take(GAP_BYTES_MAX)
        .take_while(|b| b.is_ascii_whitespace() || matches!(b, b'\\' | b'n' | b'r'))
        .count();
    let from = start + first + gap;
    let second = bytes.get(from..from + LINE_BYTES)?;
    let digits = |from: usize, to: usize| second[from..to].iter().all(u8::is_ascii_digit);
    let is_second = second.iter().all(is_zone)
        && second[10..13].iter().all(|b| !b.is_ascii_digit())
        && digits(13, 20)
        && matches!(second[20], b'M' | b'F' | b'X' | b'<')
        && digits(21, 28);
    let end = from + LINE_BYTES;
    let fits = (FIRST_BYTES_MIN..=LINE_BYTES).contains(&first)
        && gap > 0
        && is_second
        && super::begins(bytes, start)
        && super::ends(bytes, end);
    fits.then(|| found.push(Match::new(start, end, Kind::Passport, second.iter().map(|b| char::from(*b)).collect())))?;
    Some(end)
}
