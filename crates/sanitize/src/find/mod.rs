//! The byte pass over one segment of text, and the finders that it wakes.
//!
//! Two sweeps: one by a multi-literal searcher for what begins with a known literal, one byte by byte for what hangs on
//! a digit, `@`, `:` or `=`. Finders look back and ahead by bounded distances only.

mod address;
mod announced;
mod assignment;
pub(crate) mod beside;
mod card;
mod context;
mod date;
mod device;
mod email;
mod field;
mod financial;
mod iban;
mod literal;
mod national;
mod number;
mod person;
mod phone;
mod place;
mod quoted;
mod scope;
mod secret;
mod secret_name;
mod secret_value;
mod vendor;

pub(crate) use context::stands_before;

use crate::TypeName;
use crate::token::Value;

/// A sensitive value at its place in the text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) value: Value,
    /// Whether the token stands in quotes: it takes the place of a JSON number.
    pub(crate) quoted: bool,
    /// Further values of the same stretch, where it is an encoded run.
    pub(crate) more: Vec<Value>,
}

/// What is known of a text from outside it: the key that it is the value of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hint<'a> {
    pub(crate) key: Option<&'a str>,
}

/// Bytes before a candidate in which a context word counts.
const CONTEXT_BYTES: usize = 48;

impl Match {
    pub(crate) fn new(start: usize, end: usize, kind: impl Into<TypeName>, normal: String) -> Self {
        Self { start, end, value: Value { kind: kind.into(), normal, feature: String::new() }, quoted: false, more: Vec::new() }
    }

    pub(super) fn with_feature(mut self, feature: impl Into<String>) -> Self {
        self.value.feature = feature.into();
        self
    }
}

/// Finds what the segment holds as it stands. True when the text may have another reading (see [`crate::view`]).
pub(crate) fn pass(text: &str, hint: Hint<'_>, found: &mut Vec<Match>) -> bool {
    if hint.key.is_some() {
        assignment::whole(text, hint, found);
        announced::whole(text, hint, found);
    }
    literal::sweep(text, found);
    field::sweep(text, found);
    bytes(text, hint, found)
}

/// Whether a name says anything of its value.
pub(crate) fn is_telling(name: &str) -> bool {
    assignment::names(name) || announced::label(name.as_bytes()).is_some() || context::names(name)
}

/// Whether the text has fields in it whose names stand further from their values than words do.
pub(crate) fn has_fields(text: &str) -> bool {
    let mut found = Vec::new();
    field::sweep(text, &mut found);
    !found.is_empty()
}

/// Where words end that announce values of several words: names, dates, addresses, grouped numbers. What stands behind them may be a part of
/// one as soon as more comes.
pub(crate) fn announcements(text: &str) -> Vec<usize> {
    let mut all = literal::announcements(text);
    let signs = text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b':' | b'='));
    all.extend(signs.map(|(at, _)| at).filter(|at| assignment::announces(text, *at)));
    all
}

/// What a byte may be the beginning of.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0x80;
    while byte < 256 {
        class[byte] = OTHER;
        byte += 1;
    }
    let mut digit = b'0';
    while digit <= b'9' {
        class[digit as usize] = DIGIT;
        digit += 1;
    }
    let mut control = 0;
    while control < 0x80 {
        if crate::view::is_control(control) {
            class[control as usize] = OTHER;
        }
        control += 1;
    }
    class[b'@' as usize] = AT;
    class[b':' as usize] = COLON;
    class[b'=' as usize] = EQUALS;
    class[b'%' as usize] = OTHER;
    class[b'\\' as usize] = OTHER;
    class[b'&' as usize] = OTHER;
    class
};
const DIGIT: u8 = 1;
const AT: u8 = 2;
const COLON: u8 = 3;
const EQUALS: u8 = 4;
const OTHER: u8 = 5;

fn bytes(text: &str, hint: Hint<'_>, found: &mut Vec<Match>) -> bool {
    let bytes = text.as_bytes();
    let mut other = false;
    let mut ends = assignment::Ends::default();
    let mut at = 0;
    // An IPv6 address is looked at from its first colon only.
    let mut address_end = 0;
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| CLASS[usize::from(*b)] != 0)) {
        at += step;
        match CLASS[usize::from(bytes[at])] {
            DIGIT => {
                at = number::at(text, at, hint, found);
                continue;
            }
            AT => email::at(text, at, found),
            COLON => {
                if at >= address_end {
                    address_end = device::mac(text, at, found).unwrap_or_else(|| address::v6(text, at, found));
                }
                if bytes[at + 1..].starts_with(b"//") {
                    assignment::userinfo(text, at, found);
                } else {
                    assignment::at(text, at, &mut ends, found);
                }
            }
            EQUALS => assignment::at(text, at, &mut ends, found),
            _ => other = true,
        }
        at += 1;
    }
    other
}

/// Whether a value may begin at `at`: nothing that would make it part of a longer word stands before it. An `n`, `r`
/// or `t` after a backslash is an escape, not a letter.
pub(crate) fn begins(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|i| bytes.get(i)) else { return true };
    !(before.is_ascii_alphanumeric() || *before == b'_') || is_escape(bytes, at - 1)
}

/// Whether the letter at `at` is the second half of `\n`, `\r` or `\t`.
fn is_escape(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b'n' | b'r' | b't')) && at > 0 && bytes.get(at - 1) == Some(&b'\\')
}

/// Whether a value may end before `at`.
pub(crate) fn ends(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|after| !(after.is_ascii_alphanumeric() || *after == b'_'))
}
