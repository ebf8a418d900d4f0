//! Telephone numbers: international (ITU-T E.164), North American, and the common national spellings.

use super::Match;
use super::context::Topic;
use super::number::Cluster;
use crate::SensitiveType as Kind;

/// Calling codes with the length of their national numbers, least and most. Codes that are not here take 6 to 12.
#[rustfmt::skip]
const LENGTHS: &[(&str, usize, usize)] = &[
    ("1", 10, 10), ("7", 10, 10), ("20", 8, 10), ("27", 9, 9), ("30", 10, 10), ("31", 9, 9), ("32", 8, 9), ("33", 9, 9),
    ("34", 9, 9), ("36", 8, 9), ("39", 8, 11), ("40", 9, 9), ("41", 9, 9), ("43", 7, 12), ("44", 9, 10), ("45", 8, 8),
    ("46", 7, 9), ("47", 8, 8), ("48", 9, 9), ("49", 6, 11), ("51", 8, 9), ("52", 10, 11), ("53", 6, 8), ("54", 10, 11),
    ("55", 10, 11), ("56", 9, 9), ("57", 10, 10), ("58", 10, 10), ("60", 8, 10), ("61", 9, 9), ("62", 7, 12), ("63", 8, 10),
    ("64", 8, 10), ("65", 8, 8), ("66", 8, 9), ("81", 9, 10), ("82", 8, 10), ("84", 9, 10), ("86", 10, 11), ("90", 10, 10),
    ("91", 10, 10), ("92", 9, 10), ("93", 9, 9), ("94", 9, 9), ("95", 7, 10), ("98", 10, 10),
];

/// The first digit pairs of calling codes of three digits (ITU-T E.164 annex).
const THREE_DIGIT_ZONES: &[&str] = &[
    "21", "22", "23", "24", "25", "26", "29", "35", "37", "38", "42", "50", "59", "67", "68", "69", "80", "85", "87", "88", "96",
    "97", "99",
];

/// The number that begins with group `index`. Returns how many groups it takes.
pub(super) fn at(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    let group = cluster.groups[index];
    let bytes = cluster.bytes();
    if let Some(plus) = plus_before(bytes, group.start) {
        return international(cluster, index, plus, found);
    }
    if group.glued || !cluster.opens(index) {
        return None;
    }
    north_american(cluster, index, found)
        .or_else(|| double_zero(cluster, index, found))
        .or_else(|| national(cluster, index, found))
        .or_else(|| named(cluster, index, found))
}

/// Where the `+` stands that belongs to the digits at `start`.
fn plus_before(bytes: &[u8], start: usize) -> Option<usize> {
    let last = start.checked_sub(1)?;
    let plus = match bytes[last] {
        b'+' => last,
        b'(' | b' ' if last > 0 && bytes[last - 1] == b'+' => last - 1,
        _ => return None,
    };
    let free = plus == 0 || !bytes[plus - 1].is_ascii_alphanumeric() || super::is_escape(bytes, plus - 1);
    free.then_some(plus)
}

fn international(cluster: Cluster<'_>, index: usize, start: usize, found: &mut Vec<Match>) -> Option<usize> {
    let head = cluster.digits(index, (index + 3).min(cluster.groups.len()));
    let (code, least, most) = calling_code(&head)?;
    let mut digits = String::new();
    let mut best = None;
    for (count, group) in cluster.groups[index..].iter().enumerate() {
        // `+44 (0)20`: the trunk prefix is not part of the number
        let trunk = count > 0 && digits.len() == code.len() && group.len() == 1 && cluster.text[group.start..].starts_with("0)");
        if !trunk {
            digits.push_str(&cluster.text[group.start..group.end]);
        }
        let national = digits.len().saturating_sub(code.len());
        if national > most {
            break;
        }
        if national >= least {
            best = Some((count + 1, digits.clone()));
        }
        if national == most {
            break;
        }
    }
    let (count, digits) = best?;
    let mut end = cluster.groups[index + count - 1].end;
    // goes on in letters
    if count == cluster.groups.len() - index && cluster.bytes().get(end).is_some_and(u8::is_ascii_alphabetic) {
        end = extension(cluster, end)?;
    }
    let start = if start > 0 && cluster.bytes()[start - 1] == b'(' && cluster.bytes().get(end) == Some(&b')') {
        start - 1
    } else {
        start
    };
    push(start, extension(cluster, end).unwrap_or(end), format!("+{digits}"), code, found);
    Some(count)
}

/// The calling code that the digits begin with, and the least and most digits that follow it.
fn calling_code(digits: &str) -> Option<(&str, usize, usize)> {
    if let Some((code, least, most)) = LENGTHS.iter().find(|(code, ..)| digits.starts_with(code)) {
        return Some((digits.get(..code.len())?, *least, *most));
    }
    let zone = digits.get(..2)?;
    THREE_DIGIT_ZONES.contains(&zone).then_some(())?;
    Some((digits.get(..3)?, 6, 12))
}

/// `(212) 555-0143`, `212-555-0143`, `212.555.0143`, `1-212-555-0143`; ten digits in a row only when named.
fn north_american(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    let country = usize::from(cluster.groups[index].len() == 1 && cluster.digits(index, index + 1) == "1");
    let groups = cluster.groups.get(index + country..index + country + 3)?;
    let lens: [usize; 3] = [groups[0].len(), groups[1].len(), groups[2].len()];
    let fits = lens == [3, 3, 4] && groups.iter().all(|group| !group.glued) && cluster.closes(index + country + 3);
    // 3.3.4 in one run of dots is a number plan's spelling as well; mixed separators are, apart from `) `
    let inner = (cluster.separator(index + country + 1), cluster.separator(index + country + 2));
    let same = inner.0 == inner.1
        || inner.0.contains(&b')')
        || (inner.0 == b" " && inner.1 == b"-")
        || inner.0 == b"/"
        || inner.0 == b"-" && inner.1 == b" ";
    let digits = cluster.digits(index + country, index + country + 3);
    if !fits || !same || !is_nanp(&digits) {
        return None;
    }
    let start = opening(cluster, cluster.groups[index].start, groups[0].end);
    let end = groups[2].end;
    push(start, extension(cluster, end).unwrap_or(end), format!("+1{digits}"), "1", found);
    Some(country + 3)
}

/// Area code and exchange begin with 2 to 9, and end in no 11 (N11 codes are services).
fn is_nanp(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    bytes.len() == 10 && (b'2'..=b'9').contains(&bytes[0]) && (b'2'..=b'9').contains(&bytes[3]) && &bytes[1..3] != b"11"
}

/// `0049 151 23456789`: with separators, so that numbers filled up with zeros are not meant.
fn double_zero(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    // `0.0304` is no `00304`
    if !cluster.text[cluster.groups[index].start..].starts_with("00") {
        return None;
    }
    let head = cluster.digits(index, (index + 3).min(cluster.groups.len()));
    let number = head.strip_prefix("00")?;
    let (code, least, most) = calling_code(number)?;
    let code = code.to_owned();
    let mut count = 0;
    let mut digits = String::new();
    for group in &cluster.groups[index..] {
        if digits.len() + group.len() > 2 + code.len() + most || group.glued {
            break;
        }
        digits.push_str(&cluster.text[group.start..group.end]);
        count += 1;
    }
    let digits = digits.strip_prefix("00")?;
    if count < 2 && !cluster.near(index).speaks_of(Topic::Telephone) || digits.len() < code.len() + least.max(8) {
        return None;
    }
    push(cluster.groups[index].start, cluster.groups[index + count - 1].end, format!("+{digits}"), &code, found);
    Some(count)
}

/// National numbers that begin with the trunk prefix 0, in groups; and the few spellings without one that are unlike
/// anything else.
fn national(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    let first = cluster.groups[index];
    let bytes = cluster.bytes();
    // French, Belgian: five pairs
    let pairs = cluster.has_lengths(index, &[2, 2, 2, 2, 2]) && bytes[first.start] == b'0' && bytes[first.start + 1] != b'0';
    // Brazilian, Chinese, Indian mobile numbers
    let parenthesised = opening(cluster, first.start, first.end) != first.start;
    let brazilian = parenthesised && (cluster.lens_are(index, &[2, 5, 4]) || cluster.lens_are(index, &[2, 4, 4]));
    let chinese =
        cluster.has_lengths(index, &[3, 4, 4]) && bytes[first.start] == b'1' && (b'3'..=b'9').contains(&bytes[first.start + 1]);
    let indian = cluster.has_lengths(index, &[5, 5]) && (b'6'..=b'9').contains(&bytes[first.start]) && cluster.groups.len() == 2;
    let fixed = match () {
        () if pairs => 5,
        () if brazilian || chinese => 3,
        () if indian => 2,
        () => 0,
    };
    let count = if fixed > 0 { fixed } else { trunk(cluster, index, parenthesised)? };
    if !cluster.closes(index + count) || cluster.groups[index..index + count].iter().any(|group| group.glued) {
        return None;
    }
    let start = opening(cluster, first.start, first.end);
    push(start, cluster.groups[index + count - 1].end, cluster.digits(index, index + count), "", found);
    Some(count)
}

/// How many groups a number with the trunk prefix takes: 9 to 12 digits, the first group of two to five.
fn trunk(cluster: Cluster<'_>, index: usize, parenthesised: bool) -> Option<usize> {
    const DIGITS_MIN: usize = 9;
    const DIGITS_MAX: usize = 12;
    const GROUPS_MAX: usize = 5;
    let first = cluster.groups[index];
    let head = &cluster.bytes()[first.start..first.end];
    if !(2..=5).contains(&head.len()) || head[0] != b'0' || head[1] == b'0' {
        return None;
    }
    let (mut digits, mut count) = (0, 0);
    for (i, group) in cluster.groups[index..].iter().enumerate().take(GROUPS_MAX) {
        let separator = cluster.separator(index + i);
        // a full stop is a decimal point or a date's; a slash stands after the area code only
        let joins = i == 0
            || matches!(separator, b" " | b"-" | b") " | b")" | b" - " | b")-")
            || (i == 1 && matches!(separator, b"/" | b" / "));
        if !joins || digits + group.len() > DIGITS_MAX || (i > 0 && group.len() < 2) {
            break;
        }
        digits += group.len();
        count = i + 1;
    }
    // two short groups are an hour and a number; three of two digits a date
    let enough = digits >= DIGITS_MIN && count >= 2 && (count <= 4 || parenthesised || head.len() > 2);
    enough.then_some(count)
}

/// Digits of any grouping when the words before them say what they are.
fn named(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    const DIGITS_MIN: usize = 7;
    const DIGITS_MAX: usize = 15;
    let (mut digits, mut count) = (0, 0);
    for (i, group) in cluster.groups[index..].iter().enumerate().take(6) {
        if digits + group.len() > DIGITS_MAX
            || group.glued
            || (i > 0 && digits >= 10 && cluster.separator(index + i) == b" " && group.len() > 4)
        {
            break;
        }
        digits += group.len();
        count = i + 1;
    }
    let is_decimal = count == 2 && cluster.separator(index + 1) == b"." && cluster.groups[index + 1].len() <= 2;
    if digits < DIGITS_MIN || is_decimal || !cluster.closes(index + count) {
        return None;
    }
    let number = cluster.digits(index, index + count);
    // `call 2125550143`: the word alone is a function's as well
    let is_called = || is_nanp(&number) && cluster.bytes()[..cluster.groups[index].start].ends_with(b"call ");
    if !cluster.near(index).speaks_of(Topic::Telephone) && !is_called() {
        return None;
    }
    let (normal, code) = match number.len() {
        10 if is_nanp(&number) => (format!("+1{number}"), "1"),
        11 if number.strip_prefix('1').is_some_and(is_nanp) => (format!("+{number}"), "1"),
        _ => (number, ""),
    };
    let start = opening(cluster, cluster.groups[index].start, cluster.groups[index].end);
    let end = cluster.groups[index + count - 1].end;
    push(start, extension(cluster, end).unwrap_or(end), normal, code, found);
    Some(count)
}

/// Takes in the parenthesis before an area code.
fn opening(cluster: Cluster<'_>, start: usize, end: usize) -> usize {
    let bytes = cluster.bytes();
    if start > 0 && bytes[start - 1] == b'(' && bytes.get(end) == Some(&b')') { start - 1 } else { start }
}

/// Takes in ` ext. 123`, `x123` after a number.
fn extension(cluster: Cluster<'_>, end: usize) -> Option<usize> {
    let bytes = cluster.bytes();
    let rest = bytes.get(end..bytes.len().min(end + 12))?;
    let mark = [" ext. ", " ext ", " x", "x", " ext.", " extension "].iter().find(|mark| rest.starts_with(mark.as_bytes()))?;
    let from = end + mark.len();
    let len = bytes[from..].iter().take(7).take_while(|b| b.is_ascii_digit()).count();
    let after = from + len;
    ((1..=6).contains(&len) && super::ends(bytes, after)).then_some(after)
}

fn push(start: usize, end: usize, normal: String, code: &str, found: &mut Vec<Match>) {
    let feature = if code.is_empty() { String::new() } else { format!("+{code}") };
    found.push(Match::new(start, end, Kind::Phone, normal).with_feature(feature));
}

impl Cluster<'_> {
    fn lens_are(self, from: usize, lens: &[usize]) -> bool {
        self.groups
            .get(from..from + lens.len())
            .is_some_and(|groups| groups.iter().zip(lens).all(|(group, len)| group.len() == *len))
    }
}
