//! Payment card numbers (ISO/IEC 7812): issuer range, length, check digit; and card verification values.

use super::Match;
use super::context::Topic;
use super::number::Cluster;
use crate::SensitiveType as Kind;
use crate::checksum::luhn;

/// Most characters between `CVV` and its value: ` code is: `.
const VERIFICATION_GAP_BYTES: usize = 16;

/// The card that begins with group `index`. Returns how many groups it takes.
pub(super) fn at(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    /// The ways in which people and forms group the digits.
    const GROUPINGS: &[&[usize]] = &[&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];
    let group = cluster.groups[index];
    // digits after a decimal point
    if index == 0 && group.start > 1 && matches!(cluster.bytes()[group.start - 1], b'.' | b',') && group.glued
        || cluster.separator(index) == b"." && cluster.separator(index + 1) != b"."
    {
        return None;
    }
    if (13..=19).contains(&group.len()) {
        let hangs_on_word = group.glued && cluster.bytes().get(group.end).is_some_and(u8::is_ascii_alphabetic);
        return (!hangs_on_word && push(cluster, index, 1, group.len() == 16 || group.len() == 15, found)).then_some(1);
    }
    for lens in GROUPINGS {
        if cluster.has_lengths(index, lens) && push(cluster, index, lens.len(), true, found) {
            return Some(lens.len());
        }
    }
    // digit by digit, or in groups of another kind when a card is spoken of
    let rest = &cluster.groups[index..];
    let same = |count: usize| (index + 2..index + count).all(|i| cluster.separator(i) == cluster.separator(index + 1));
    if cluster.opens(index) && (13..=19).contains(&rest.len()) && rest.iter().all(|group| group.len() == 1) && same(rest.len()) {
        return push(cluster, index, rest.len(), rest.len() >= 15, found).then_some(rest.len());
    }
    if !cluster.opens(index) || group.len() > 8 {
        return None;
    }
    let mut digits = 0;
    for (count, group) in rest.iter().enumerate().take(9) {
        digits += group.len();
        if digits > 16 {
            return None;
        }
        if digits >= 15 && count > 0 && cluster.near(index).speaks_of(Topic::Card) && push(cluster, index, count + 1, true, found)
        {
            return Some(count + 1);
        }
    }
    None
}

fn push(cluster: Cluster<'_>, index: usize, count: usize, sure: bool, found: &mut Vec<Match>) -> bool {
    let digits = cluster.digits(index, index + count);
    let Some((brand, strong)) = brand(&digits) else { return false };
    if !luhn(digits.as_bytes()) || !((sure && strong) || cluster.near(index).speaks_of(Topic::Card)) {
        return false;
    }
    let (start, end) = (cluster.groups[index].start, cluster.groups[index + count - 1].end);
    found.push(Match::new(start, end, Kind::CreditCard, digits).with_feature(brand));
    true
}

/// The brand whose range and length the number has, and whether that alone makes it a card.
fn brand(digits: &str) -> Option<(&'static str, bool)> {
    let prefix = |len: usize| digits.get(..len).and_then(|head| head.parse::<u32>().ok()).unwrap_or(0);
    let len = digits.len();
    let (one, two, three, four) = (prefix(1), prefix(2), prefix(3), prefix(4));
    let of = |name, lengths: &[usize], strong| lengths.contains(&len).then_some((name, strong));
    match () {
        () if one == 4 => of("visa", &[13, 16, 19], len == 16),
        () if (51..=55).contains(&two) || (2221..=2720).contains(&four) => of("mastercard", &[16], true),
        () if matches!(two, 34 | 37) => of("amex", &[15], true),
        () if four == 6011 || (644..=649).contains(&three) || two == 65 => of("discover", &[16, 17, 18, 19], len == 16),
        () if (3528..=3589).contains(&four) => of("jcb", &[16, 17, 18, 19], len == 16),
        () if matches!(two, 36 | 38 | 39) || (300..=305).contains(&three) => of("diners", &[14, 16], true),
        () if (2200..=2204).contains(&four) => of("mir", &[16, 17, 18, 19], len == 16),
        () if two == 62 || two == 81 => of("unionpay", &[16, 17, 18, 19], len == 16),
        () if matches!(two, 50 | 56 | 57 | 58 | 60 | 61 | 63 | 64 | 66 | 67 | 68 | 69 | 82) => {
            of("other", &[13, 14, 15, 16, 17, 18, 19], false)
        }
        () => None,
    }
}

/// Three or four digits after a word for a card's verification value.
pub(super) fn verification(text: &str, start: usize, from: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    // `cvv` inside another word; `ecurity code` has its first letter cut off for the sake of its case
    let short = from - start == 3;
    if short && start > 0 && bytes[start - 1].is_ascii_alphabetic() && !super::is_escape(bytes, start - 1) {
        return None;
    }
    let rest = &bytes[from..bytes.len().min(from + VERIFICATION_GAP_BYTES + 5)];
    let digit = if short && rest.first() == Some(&b'2') { 1 } else { 0 };
    let gap = digit + rest[digit..].iter().position(u8::is_ascii_digit)?;
    if gap > VERIFICATION_GAP_BYTES || rest[..gap].iter().any(|b| matches!(b, b'.' | b'!' | b'?' | b'\n' | b'<')) {
        return None;
    }
    let at = from + gap;
    let len = bytes[at..].iter().take(5).take_while(|b| b.is_ascii_digit()).count();
    let end = at + len;
    let alone = !bytes.get(end).is_some_and(u8::is_ascii_alphabetic)
        && bytes.get(at - 1).is_some_and(|b| !b.is_ascii_alphabetic())
        && !(bytes.get(end) == Some(&b'-') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit));
    if !(3..=4).contains(&len) || !alone {
        return None;
    }
    found.push(Match::new(at, end, Kind::Cvv, String::new()));
    Some(end)
}
