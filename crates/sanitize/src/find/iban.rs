//! International bank account numbers (ISO 13616): country, length and the check digits of ISO 7064 (mod 97-10).

use super::{Match, begins, ends};
use crate::SensitiveType as Kind;
use crate::checksum::remainder_97;

/// Length by country, from the SWIFT registry (release 99) and the experimental ones in use.
#[rustfmt::skip]
const LENGTHS: &[(&[u8; 2], u8)] = &[
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AT", 20), (b"AZ", 28), (b"BA", 20), (b"BE", 16), (b"BG", 22), (b"BH", 22),
    (b"BI", 27), (b"BR", 29), (b"BY", 28), (b"CH", 21), (b"CR", 22), (b"CY", 28), (b"CZ", 24), (b"DE", 22), (b"DJ", 27),
    (b"DK", 18), (b"DO", 28), (b"EE", 20), (b"EG", 29), (b"ES", 24), (b"FI", 18), (b"FK", 18), (b"FO", 18), (b"FR", 27),
    (b"GB", 22), (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GR", 27), (b"GT", 28), (b"HN", 28), (b"HR", 21), (b"HU", 28),
    (b"IE", 22), (b"IL", 23), (b"IQ", 23), (b"IS", 26), (b"IT", 27), (b"JO", 30), (b"KW", 30), (b"KZ", 20), (b"LB", 28),
    (b"LC", 32), (b"LI", 21), (b"LT", 20), (b"LU", 20), (b"LV", 21), (b"LY", 25), (b"MC", 27), (b"MD", 24), (b"ME", 22),
    (b"MK", 19), (b"MN", 20), (b"MR", 27), (b"MT", 31), (b"MU", 30), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23),
    (b"PK", 24), (b"PL", 28), (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22), (b"RU", 33), (b"SA", 24),
    (b"SC", 31), (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24), (b"SM", 27), (b"SO", 23), (b"ST", 25), (b"SV", 28),
    (b"TL", 23), (b"TN", 24), (b"TR", 26), (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20), (b"YE", 30),
];

/// The number whose check digits begin at `digit`. Returns where it ends.
pub(super) fn at(text: &str, digit: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    // a space may stand between the country and the check digits only where people space everything
    let start = digit.checked_sub(2)?;
    let country = [bytes[start].to_ascii_uppercase(), bytes[start + 1].to_ascii_uppercase()];
    let index = LENGTHS.binary_search_by(|(code, _)| (*code).cmp(&country)).ok()?;
    let len = usize::from(LENGTHS[index].1);
    if !bytes.get(digit + 1)?.is_ascii_digit() || !begins(bytes, start) {
        return None;
    }
    let mut normal = String::with_capacity(len);
    let mut end = start;
    for (offset, byte) in bytes[start..].iter().enumerate() {
        let separates = matches!(byte, b' ' | b'-' | b'.')
            && offset > 0
            && bytes.get(start + offset + 1).is_some_and(u8::is_ascii_alphanumeric);
        if byte.is_ascii_alphanumeric() {
            normal.push(char::from(byte.to_ascii_uppercase()));
            end = start + offset + 1;
            if normal.len() == len {
                break;
            }
        } else if !separates {
            break;
        }
    }
    let (head, tail) = normal.as_bytes().split_at_checked(4)?;
    if normal.len() != len || !ends(bytes, end) || remainder_97(tail.iter().chain(head).copied()) != 1 {
        return None;
    }
    let country = String::from_utf8_lossy(&country).into_owned();
    found.push(Match::new(start, end, Kind::Iban, normal).with_feature(country));
    Some(end)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_sorted() {
        assert!(super::LENGTHS.is_sorted());
    }
}
