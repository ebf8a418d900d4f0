//! Clusters of digits: groups with separators between them, read as address, card, social security or telephone number.

use std::cell::Cell;

use super::context::Near;
use super::{Hint, Match, address, card, device, financial, iban, is_escape, national, phone, place, secret};
use crate::SensitiveType as Kind;

/// A run of digits, in bytes of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Part of something longer that is no number of this kind: an identifier, a price, a version.
    pub(super) glued: bool,
}

impl Group {
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

/// A cluster and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Cluster<'a> {
    pub(super) text: &'a str,
    pub(super) groups: &'a [Group],
    pub(super) hint: Hint<'a>,
    /// What was last read of the words before a group: several finders ask of one.
    pub(super) near: &'a Cell<Option<(usize, Near)>>,
}

/// Most groups of one cluster; a longer one goes on in the next, with as many as a card spelled digit by digit has in
/// common.
const GROUPS_MAX: usize = 64;
const GROUPS_SHARED: usize = 20;
/// A cluster with fewer digits is nothing that is looked for, unless it has the parts of an IPv4 address.
const DIGITS_MIN: usize = 7;
const ADDRESS_PARTS: usize = 4;
/// Fewest digits of a code that has no letter right behind its first digits: `AB 12 34 56 C`.
const CODE_DIGITS_MIN: usize = 6;
/// Most bytes between two groups: ` - `, `) `.
const SEPARATOR_BYTES_MAX: usize = 3;

/// A number in the groups of a card that is none; no part of it is a telephone number.
const ROW_OF_FOURS: &[usize] = &[4, 4, 4, 4];
/// Most groups of digits of a code: `12.345.678-Z`.
const CODE_GROUPS_MAX: usize = 3;

/// Looks at the cluster that begins with the digit at `at`. Returns where to go on.
pub(super) fn at(text: &str, at: usize, hint: Hint<'_>, found: &mut Vec<Match>) -> usize {
    let bytes = text.as_bytes();
    let before = at.checked_sub(1).map(|i| bytes[i]);
    if before.is_some_and(|b| b.is_ascii_alphabetic()) && !is_escape(bytes, at - 1) {
        if let Some(end) = iban::at(text, at, found) {
            return end;
        }
        if at >= 3 {
            secret::twilio(text, at, found);
        }
        let end = national::code(text, at, hint, found)
            .or_else(|| national::hong_kong(text, at, found))
            .or_else(|| financial::wallet(text, at, hint, found))
            .or_else(|| device::at(text, at, hint, found))
            .or_else(|| secret::discord(text, at, found));
        return end.unwrap_or_else(|| digits_end(bytes, at));
    }
    if let Some(end) = calendar_date(bytes, at) {
        return end;
    }
    // Most numbers are short and alone: they are measured before anything is set up for them.
    let (mut count, mut total, mut end, mut first_end) = (0, 0, at, at);
    for group in groups_from(bytes, at).take(GROUPS_MAX) {
        if count == 0 {
            first_end = group.end;
        }
        count += 1;
        total += group.len();
        end = group.end;
        if total >= DIGITS_MIN || count >= ADDRESS_PARTS {
            break;
        }
    }
    let is_code = bytes.get(first_end).is_some_and(u8::is_ascii_alphabetic);
    if (is_code || total >= CODE_DIGITS_MIN)
        && let Some(end) = national::code(text, at, hint, found).or_else(|| national::finnish(text, at, found))
    {
        return end;
    }
    if is_code && let Some(end) = financial::wallet(text, at, hint, found) {
        return end;
    }
    if (is_code || count > 1)
        && let Some(end) = device::at(text, at, hint, found)
    {
        return end;
    }
    if bytes.get(first_end).is_some_and(|after| matches!(after, b' ' | b','))
        && total == first_end - at
        && let Some(end) = place::numbered(text, at, first_end, found)
    {
        return end;
    }
    if total < DIGITS_MIN && count < ADDRESS_PARTS {
        return end;
    }
    let mut groups = [Group { start: 0, end: 0, glued: false }; GROUPS_MAX];
    let mut count = 0;
    for (slot, group) in groups.iter_mut().zip(groups_from(bytes, at)) {
        *slot = group;
        count += 1;
    }
    let groups = &mut groups[..count];
    let last = groups[count - 1];
    if let Some(end) = secret::telegram(text, last.start, last.end, found) {
        return end;
    }
    mark_glued(bytes, groups);
    let near = Cell::new(None);
    let cluster = Cluster { text, groups, hint, near: &near };
    // `2 12345678Z`: a code that begins behind another number
    for index in (count.saturating_sub(CODE_GROUPS_MAX).max(1)..count).filter(|index| cluster.opens(*index)) {
        if let Some(end) = national::code(text, cluster.groups[index].start, hint, found) {
            read(Cluster { groups: &cluster.groups[..index], ..cluster }, found);
            return end;
        }
    }
    read(cluster, found);
    if count == GROUPS_MAX { groups[GROUPS_MAX - GROUPS_SHARED].start } else { last.end }
}

/// A date as ISO 8601 has it, which is nothing else whatever stands before it. Dates of birth are found by what announces them.
fn calendar_date(bytes: &[u8], at: usize) -> Option<usize> {
    const BYTES: usize = 10;
    let date = bytes.get(at..at + BYTES)?;
    let [b'1' | b'2', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', month @ .., b'-', _, _] = date else { return None };
    let ([b'0', b'1'..=b'9'] | [b'1', b'0'..=b'2']) = month else { return None };
    let ([b'0', b'1'..=b'9'] | [b'1' | b'2', b'0'..=b'9'] | [b'3', b'0' | b'1']) = date[8..] else { return None };
    let begins = at == 0 || !matches!(bytes[at - 1], b'-' | b'.' | b'+' | b'/' | b'(');
    let ends =
        bytes.get(at + BYTES).is_none_or(|after| matches!(after, b'"' | b'\'' | b'\n' | b',' | b';' | b')' | b'<' | b'|' | b']'))
            || bytes.get(at + BYTES) == Some(&b' ') && !bytes.get(at + BYTES + 1).is_some_and(u8::is_ascii_digit);
    (begins && ends).then_some(at + BYTES)
}

/// The groups of the cluster that begins at `at`.
fn groups_from(bytes: &[u8], at: usize) -> impl Iterator<Item = Group> + '_ {
    let mut next = Some(at);
    std::iter::from_fn(move || {
        let start = next?;
        let end = digits_end(bytes, start);
        let separator = bytes[end..].iter().take(SEPARATOR_BYTES_MAX + 1).take_while(|b| is_separator(**b)).count();
        let goes_on = (1..=SEPARATOR_BYTES_MAX).contains(&separator)
            && bytes.get(end + separator).is_some_and(u8::is_ascii_digit)
            && !is_sentence_end(bytes, (start, end), separator);
        next = goes_on.then_some(end + separator);
        Some(Group { start, end, glued: false })
    })
}

/// `... 4111. 080892-5868`: the dot and the space between two numbers of which one is no part of a date, `12. 05. 1985`.
fn is_sentence_end(bytes: &[u8], (start, end): (usize, usize), separator: usize) -> bool {
    let next = end + separator;
    let is_long =
        |from: usize, most: usize| bytes.get(from..=from + most).is_some_and(|head| head.iter().all(u8::is_ascii_digit));
    bytes[end..next].starts_with(b". ") && (end - start > 2 || is_long(next, 4))
}

fn digits_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |len| from + len)
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')')
}

/// Marks the groups at either end that hang on a word, as far as no space comes between.
fn mark_glued(bytes: &[u8], groups: &mut [Group]) {
    let Some(first) = groups.first() else { return };
    let at = |i: usize| bytes.get(i).copied().unwrap_or(b' ');
    let before = first.start.checked_sub(1).map_or(b' ', at);
    let before_that = first.start.checked_sub(2).map_or(b' ', at);
    let word_before = before_that.is_ascii_alphanumeric() || before_that == b'_';
    let glued = match before {
        // `host.203.0.113.7` and `resource.4111...` are a name with a value behind it; `1.` and `_.` go on as a number.
        // `10.1000/abc.2019.32596` is a path
        b'.' => word_before && (!before_that.is_ascii_alphabetic() || is_behind_slash(bytes, first.start - 1)),
        b'/' => word_before && !is_escape(bytes, first.start - 2) && !is_in_path(bytes, first.start - 1),
        b',' => before_that.is_ascii_digit() && is_fraction(bytes, *first),
        b'-' | b'+' | b'(' => word_before && !is_escape(bytes, first.start - 2),
        b'$' | b'#' | b'_' | b'^' | b'~' => true,
        // the last byte of €, £ and ¥
        0xAC => before_that == 0x82,
        0xA3 | 0xA5 => before_that == 0xC2,
        _ => false,
    };
    if glued {
        for i in 0..groups.len() {
            if i > 0 && has_space(bytes, groups[i - 1], groups[i]) {
                break;
            }
            groups[i].glued = true;
        }
    }
    let Some(last) = groups.last() else { return };
    let after = at(last.end);
    let after_that = at(last.end + 1);
    let extension = matches!(after, b'x' | b'X') && after_that.is_ascii_digit() && last.len() == 4;
    let glued = match after {
        b'-' | b'_' => after_that.is_ascii_alphabetic(),
        b'.' => after_that.is_ascii_alphanumeric(),
        b',' => is_cents(bytes, last.end + 1),
        b'%' => true,
        b if b.is_ascii_alphabetic() => !extension,
        _ => false,
    };
    if glued {
        for i in (0..groups.len()).rev() {
            groups[i].glued = true;
            if i > 0 && has_space(bytes, groups[i - 1], groups[i]) {
                break;
            }
        }
    }
}

/// Whether the digits behind a comma go on a number, `1,234` or `0,6558`, and are no cell of their own.
fn is_fraction(bytes: &[u8], group: Group) -> bool {
    let is_zero = bytes[group.start - 2] == b'0' && group.start.checked_sub(3).is_none_or(|at| !bytes[at].is_ascii_digit());
    let goes_on = matches!(bytes.get(group.end), Some(b'-' | b'.' | b' ' | b'/'))
        && bytes.get(group.end + 1).is_some_and(u8::is_ascii_digit);
    is_zero || (group.len() <= 3 && !goes_on)
}

/// Whether there are one or two digits, as behind a decimal comma.
fn is_cents(bytes: &[u8], from: usize) -> bool {
    let len = bytes.get(from..).map_or(0, |rest| rest.iter().take(3).take_while(|b| b.is_ascii_digit()).count());
    // the next cell of a row goes on
    let goes_on = match bytes.get(from + len) {
        Some(b',' | b'/') => true,
        Some(b'.' | b'-' | b':') => bytes.get(from + len + 1).is_some_and(u8::is_ascii_alphanumeric),
        _ => false,
    };
    matches!(len, 1 | 2) && !goes_on
}

/// Whether the slash at `at` parts a URL or a path (`https://host/123`, `host.example/123`) and not a product from its version
/// (`Chrome/120.0.0.0`).
pub(super) fn is_in_path(bytes: &[u8], at: usize) -> bool {
    /// Longest host or path that is looked at.
    const PATH_BYTES_MAX: usize = 256;
    let run = bytes[at.saturating_sub(PATH_BYTES_MAX)..at]
        .rsplit(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'('))
        .next();
    run.is_some_and(|run| run.contains(&b'/') || run.contains(&b'.'))
}

/// Whether the word that ends at `at` stands behind a slash.
fn is_behind_slash(bytes: &[u8], at: usize) -> bool {
    const WORD_BYTES_MAX: usize = 32;
    let word = bytes[..at].iter().rev().take(WORD_BYTES_MAX).take_while(|b| b.is_ascii_alphabetic()).count();
    at > word && bytes[at - word - 1] == b'/'
}

fn has_space(bytes: &[u8], left: Group, right: Group) -> bool {
    bytes[left.end..right.start].contains(&b' ')
}

impl<'a> Cluster<'a> {
    pub(super) fn bytes(self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// What stands before group `index`, back to the group before it; empty at the first.
    pub(super) fn separator(self, index: usize) -> &'a [u8] {
        match index.checked_sub(1).and_then(|left| Some((self.groups.get(left)?, self.groups.get(index)?))) {
            Some((left, right)) => &self.bytes()[left.end..right.start],
            None => b"",
        }
    }

    /// Whether groups `from..from + lens.len()` have these lengths, with the same separator between them.
    pub(super) fn has_lengths(self, from: usize, lens: &[usize]) -> bool {
        self.groups.get(from..from + lens.len()).is_some_and(|groups| {
            groups.iter().zip(lens).all(|(group, len)| group.len() == *len)
                && (from + 2..from + lens.len()).all(|i| self.separator(i) == self.separator(from + 1))
        })
    }

    /// Whether something new may begin at the group: the cluster's first, or after a space.
    pub(super) fn opens(self, index: usize) -> bool {
        index == 0 || self.separator(index).contains(&b' ') || self.separator(index).contains(&b'(')
    }

    /// Whether something may end with the group before `index`.
    pub(super) fn closes(self, index: usize) -> bool {
        index >= self.groups.len() || self.separator(index).contains(&b' ') || self.separator(index).contains(&b')')
    }

    pub(super) fn digit_bytes(self, from: usize, to: usize) -> impl Iterator<Item = u8> + 'a {
        let bytes = self.bytes();
        self.groups[from..to].iter().flat_map(move |group| bytes[group.start..group.end].iter().copied())
    }

    pub(super) fn digits(self, from: usize, to: usize) -> String {
        self.groups[from..to].iter().filter_map(|group| self.text.get(group.start..group.end)).collect()
    }

    /// What the words before group `index` announce.
    pub(super) fn near(self, index: usize) -> Near {
        let start = self.groups[index].start;
        if let Some((_, near)) = self.near.get().filter(|(at, _)| *at == start) {
            return near;
        }
        let near = Near::before(self.bytes(), start, self.hint);
        self.near.set(Some((start, near)));
        near
    }
}

fn read(cluster: Cluster<'_>, found: &mut Vec<Match>) {
    let mut index = 0;
    while index < cluster.groups.len() {
        let taken = v4(cluster, index, found)
            .or_else(|| card::at(cluster, index, found))
            .or_else(|| national::number(cluster, index, found))
            .or_else(|| ssn(cluster, index, found))
            .or_else(|| date(cluster, index))
            .or_else(|| cluster.has_lengths(index, ROW_OF_FOURS).then_some(ROW_OF_FOURS.len()))
            .or_else(|| phone::at(cluster, index, found));
        index += taken.unwrap_or(1);
    }
}

fn v4(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    const PARTS: usize = 4;
    let groups = cluster.groups.get(index..index + PARTS)?;
    let dotted = groups.iter().all(|group| group.len() <= 3)
        && (index + 1..index + PARTS).all(|i| cluster.separator(i) == b".")
        && cluster.separator(index) != b"."
        && cluster.separator(index + PARTS) != b".";
    (dotted && address::v4(cluster.text, groups, cluster.hint, found)).then_some(PARTS)
}

/// A date takes its groups out of the reach of telephone numbers.
fn date(cluster: Cluster<'_>, index: usize) -> Option<usize> {
    let is_year = |i: usize| {
        let group = cluster.groups[i];
        group.len() == 4 && matches!(&cluster.bytes()[group.start..group.start + 2], b"19" | b"20")
    };
    let short = |i: usize| cluster.groups[i].len() <= 2;
    let groups = cluster.groups.get(index..index + 3)?;
    let tight = groups.windows(2).all(|pair| pair[1].start - pair[0].end == 1)
        && cluster.separator(index + 1) == cluster.separator(index + 2)
        && cluster.separator(index + 1) != b" ";
    let (first, last) = (index, index + 2);
    let is_date = tight && short(index + 1) && ((is_year(first) && short(last)) || (short(first) && is_year(last)));
    is_date.then_some(3)
}

fn ssn(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    let parts = if cluster.has_lengths(index, &[3, 2, 4]) { 3 } else { 1 };
    let group = cluster.groups[index];
    if parts == 1 && group.len() != 9 {
        return None;
    }
    let separator = cluster.separator(index + 1);
    let alone = cluster.opens(index) && cluster.closes(index + parts);
    if !alone || cluster.groups[index..index + parts].iter().any(|group| group.glued) {
        return None;
    }
    let sure = parts == 3 && (separator == b"-" || (separator == b" " && cluster.groups.len() == 3));
    if parts == 3 && separator.len() > 3 || !sure && cluster.near(index).of(Kind::UsSsn) == 0 {
        return None;
    }
    let digits = cluster.digits(index, index + parts);
    let (area, rest) = digits.split_at(3);
    let (middle, serial) = rest.split_at(2);
    if matches!(area, "000" | "666") || area.starts_with('9') || middle == "00" || serial == "0000" {
        return None;
    }
    let end = cluster.groups[index + parts - 1].end;
    found.push(Match::new(group.start, end, Kind::UsSsn, digits));
    Some(parts)
}
