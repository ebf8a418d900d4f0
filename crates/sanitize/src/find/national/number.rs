//! Numbers of digits alone.

use std::sync::LazyLock;

use super::Number;
use super::{americas, asia_pacific, europe};
use crate::SensitiveType as Kind;
use crate::find::Match;
use crate::find::number::Cluster;

/// Most groups of one number: `1 85 05 78 006 084 36`.
const GROUPS_MAX: usize = 7;
/// Least and most digits.
const DIGITS_MIN: usize = 7;
const DIGITS_MAX: usize = 18;

/// The numbers of so many digits.
static BY_DIGITS: LazyLock<Vec<Vec<&'static Number>>> = LazyLock::new(|| {
    let all = europe::NUMBERS.iter().chain(americas::NUMBERS).chain(asia_pacific::NUMBERS);
    let mut by_digits: Vec<Vec<&Number>> = (0..=DIGITS_MAX).map(|_| Vec::new()).collect();
    for number in all {
        if let Some(slot) = by_digits.get_mut(number.digits) {
            slot.push(number);
        }
    }
    by_digits
});

/// The number that begins with group `index`. Returns how many groups it takes.
pub(in crate::find) fn at(cluster: Cluster<'_>, index: usize, found: &mut Vec<Match>) -> Option<usize> {
    if !cluster.opens(index) {
        return None;
    }
    let mut ends = [0_usize; GROUPS_MAX];
    let (mut count, mut total) = (0, 0);
    for group in cluster.groups.iter().skip(index).take(GROUPS_MAX) {
        if group.glued && !is_named_by_sign(cluster, index) || total + group.len() > DIGITS_MAX {
            break;
        }
        total += group.len();
        ends[count] = total;
        count += 1;
    }
    if total < DIGITS_MIN {
        return None;
    }
    let mut digits = [0; DIGITS_MAX];
    for (slot, digit) in digits.iter_mut().zip(cluster.digit_bytes(index, index + count)) {
        *slot = digit;
    }
    let mut best: Option<(u8, usize, Kind)> = None;
    for count in (1..=count).rev() {
        let total = ends[count - 1];
        let Some(candidates) = BY_DIGITS.get(total).filter(|candidates| !candidates.is_empty()) else { continue };
        let Some(digits) = digits.get(..total) else { continue };
        if !cluster.closes(index + count) {
            continue;
        }
        let is_tight = (index + 1..index + count).all(|i| matches!(cluster.separator(i), b" " | b"-" | b"." | b"/" | b" - "));
        let near = cluster.near(index);
        let mut own: Option<(u8, Kind)> = None;
        for number in candidates {
            let nearness = near.of(number.kind);
            let is_own = number.own.iter().any(|(lens, between)| is_spelled(cluster, index, count, lens, between));
            let is_named = is_tight && nearness > 0 && nearness >= near.other();
            let is_better = own.is_none_or(|(best, _)| nearness > best);
            if is_own && is_better && (number.check)(digits) {
                own = Some((nearness, number.kind));
            } else if is_named && best.is_none_or(|(best, ..)| nearness > best) && is_better && (number.check)(digits) {
                best = Some((nearness, count, number.kind));
            }
        }
        // a number in the form of a country stays that of another whose name stands before it
        if let Some((nearness, kind)) = own
            && best.is_none_or(|(best, taken, _)| taken != count || best <= nearness)
        {
            push(cluster, index, count, kind, found);
            return Some(count);
        }
    }
    let (_, count, kind) = best?;
    push(cluster, index, count, kind, found);
    Some(count)
}

/// Whether the groups are of these lengths with these bytes between them, and no part of a longer row.
fn is_spelled(cluster: Cluster<'_>, index: usize, count: usize, lens: &[usize], between: &[u8]) -> bool {
    if lens.len() != count || between.len() + 1 != count {
        return false;
    }
    let groups = &cluster.groups[index..index + count];
    let inner = |i: usize| cluster.separator(index + i + 1);
    groups.iter().zip(lens).all(|(group, len)| group.len() == *len)
        && between.iter().enumerate().all(|(i, byte)| inner(i) == [*byte])
        && between.first().is_none_or(|byte| index == 0 || cluster.separator(index) != [*byte])
        && between.last().is_none_or(|byte| cluster.separator(index + count) != [*byte])
}

/// `#943...`: the sign that makes a number part of something else stands after a word for it as well.
fn is_named_by_sign(cluster: Cluster<'_>, index: usize) -> bool {
    let group = cluster.groups[index];
    index == 0 && group.start.checked_sub(1).is_some_and(|before| cluster.bytes()[before] == b'#')
}

fn push(cluster: Cluster<'_>, index: usize, count: usize, kind: Kind, found: &mut Vec<Match>) {
    let (start, end) = (cluster.groups[index].start, cluster.groups[index + count - 1].end);
    found.push(Match::new(start, end, kind, cluster.digits(index, index + count)));
}
