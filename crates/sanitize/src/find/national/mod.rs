//! Numbers that states, banks and makers give, by form, check digit and the words before them.
//!
//! Two kinds: numbers of digits alone ([`Number`]), read group by group from a cluster, and codes with letters in them
//! ([`Code`]), read from the first digit of a word. A form that is the country's own, or a checksum that hardly any other
//! number has, is enough; everything else counts where a word before it says what it is, and the nearest such word decides.

mod americas;
mod asia_pacific;
mod code;
mod europe;
mod number;
mod vat;

pub(super) use code::at as code;
pub(super) use number::at as number;

use super::Match;
use crate::SensitiveType as Kind;

/// A number of so many digits.
struct Number {
    kind: Kind,
    digits: usize,
    /// Whether the digits may be such a number.
    check: fn(&[u8]) -> bool,
    /// Spellings that need no word before them: lengths of groups, and the bytes between them.
    own: &'static [(&'static [usize], &'static [u8])],
}

/// A code by its pattern: `A` a letter, `9` a digit, `X` either, `?` at most one space, hyphen, dot or slash, and other letters
/// as they are.
struct Code {
    kind: Kind,
    pattern: &'static [u8],
    /// Whether the letters (in capitals) and digits may be such a code.
    check: fn(&[u8]) -> bool,
    needs: Needs,
}

/// What a code needs besides its form and its checksum.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Capitals.
    Capitals,
    /// Nothing, where it cannot be a number with a unit or the hash of a commit.
    Nothing,
    /// A word before it that says what it is.
    Word,
}

const fn number_of(
    kind: Kind,
    digits: usize,
    check: fn(&[u8]) -> bool,
    own: &'static [(&'static [usize], &'static [u8])],
) -> Number {
    Number { kind, digits, check, own }
}

const fn code_of(kind: Kind, pattern: &'static [u8], check: fn(&[u8]) -> bool, needs: Needs) -> Code {
    Code { kind, pattern, check, needs }
}

/// A Finnish code with its sign of a century, at its first digit. Returns where it ends.
pub(super) fn finnish(text: &str, start: usize, found: &mut Vec<Match>) -> Option<usize> {
    let (end, normal) = europe::hetu_at(text.as_bytes(), start)?;
    found.push(Match::new(start, end, Kind::FiPersonalIdentityCode, normal));
    Some(end)
}

/// A number of Hong Kong's identity card, at its first digit. Returns where it ends.
pub(super) fn hong_kong(text: &str, digit: usize, found: &mut Vec<Match>) -> Option<usize> {
    let (start, end, normal) = asia_pacific::hong_kong_at(text.as_bytes(), digit)?;
    found.push(Match::new(start, end, Kind::HkId, normal));
    Some(end)
}

/// Whether a day of a month may exist, of any year.
fn is_day(month: u64, day: u64) -> bool {
    const DAYS: [u64; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    usize::try_from(month).ok().and_then(|month| DAYS.get(month.wrapping_sub(1))).is_some_and(|days| (1..=*days).contains(&day))
}

/// `YYMMDD`.
fn is_year_month_day(digits: &[u8]) -> bool {
    use crate::checksum::number;
    digits.len() >= 6 && is_day(number(&digits[2..4]), number(&digits[4..6]))
}

/// `DDMMYY`.
fn is_day_month_year(digits: &[u8]) -> bool {
    use crate::checksum::number;
    digits.len() >= 6 && is_day(number(&digits[2..4]), number(&digits[..2]))
}

/// `YYYYMMDD` of the last century or this one.
fn is_full_date(digits: &[u8]) -> bool {
    digits.len() >= 8 && (digits.starts_with(b"19") || digits.starts_with(b"20")) && is_year_month_day(&digits[2..8])
}
