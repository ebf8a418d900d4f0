//! Codes of letters and digits.

use std::sync::LazyLock;

use super::{Code, Needs, americas, asia_pacific, europe, vat};
use crate::SensitiveType as Kind;
use crate::find::context::Near;
use crate::find::{Hint, Match, begins, ends};

/// Most letters before the first digit of a code: a fiscal code has six, a vehicle's number up to eight.
const LEADING_MAX: usize = 8;

/// The codes with so many letters before their first digit.
static BY_LEADING: LazyLock<Vec<Vec<&'static Code>>> = LazyLock::new(|| {
    let mut by_leading: Vec<Vec<&Code>> = (0..=LEADING_MAX).map(|_| Vec::new()).collect();
    for code in europe::CODES.iter().chain(americas::CODES).chain(asia_pacific::CODES).chain(vat::CODES) {
        let letters = code.pattern.iter().take_while(|byte| !matches!(byte, b'9' | b'X')).filter(|byte| **byte != b'?').count();
        if let Some(slot) = by_leading.get_mut(letters) {
            slot.push(code);
        }
    }
    by_leading
});

/// The code whose first digit is at `digit`. Returns where it ends.
pub(in crate::find) fn at(text: &str, digit: usize, hint: Hint<'_>, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let tight = letters_before(bytes, digit);
    let mut best: Option<(usize, usize, &Code, Vec<u8>)> = None;
    let mut near: Option<Near> = None;
    let mut attempt = |start: usize, letters: usize| {
        let Some(codes) = BY_LEADING.get(letters) else { return };
        if codes.is_empty() || !begins(bytes, start) {
            return;
        }
        for code in codes {
            let Some((end, is_upper)) = matched(bytes, start, code.pattern) else { continue };
            if best.as_ref().is_some_and(|(from, to, ..)| to - from >= end - start) {
                continue;
            }
            let normal: Vec<u8> =
                bytes[start..end].iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
            if !(code.check)(&normal) {
                continue;
            }
            // `de 123 456 789`: small letters before a space are a word
            let is_spaced = !is_upper && start + letters < digit;
            if is_spaced && code.kind == Kind::EuVat {
                continue;
            }
            // a fiscal code has sixteen places, seven of them of a narrow choice, and a check letter
            let is_sure = match code.needs {
                Needs::Capitals => (is_upper || code.kind == Kind::ItFiscalCode) && !is_spaced,
                Needs::Nothing => is_upper || !is_ordinary(&bytes[start..end]),
                Needs::Word => false,
            };
            let mut is_named = || {
                let near = near.get_or_insert_with(|| Near::before(bytes, start, hint));
                near.of(code.kind) > 0 && near.of(code.kind) >= near.other()
            };
            if is_sure || is_named() {
                best = Some((start, end, code, normal));
            }
        }
    };
    // most numbers have no letter in them
    if tight > 0 || has_letter(bytes, digit) {
        attempt(digit - tight, tight);
    }
    // `AB 12 34 56 C`: one separator between the letters and the digits
    if tight == 0
        && let Some(mark) = digit.checked_sub(1).filter(|mark| is_separator(bytes[*mark]))
    {
        let letters = letters_before(bytes, mark);
        if (1..=4).contains(&letters) {
            attempt(mark - letters, letters);
            // `RSS MRA 85T10 A562S`
            if letters == 3
                && let Some(mark) = (mark - letters).checked_sub(1).filter(|mark| is_separator(bytes[*mark]))
            {
                let more = letters_before(bytes, mark);
                attempt(mark - more, letters + more);
            }
        }
    }
    let (start, end, code, normal) = best?;
    found.push(Match::new(start, end, code.kind, String::from_utf8_lossy(&normal).into_owned()));
    Some(end)
}

/// Whether a letter stands among the digits and separators that begin at `digit`.
fn has_letter(bytes: &[u8], digit: usize) -> bool {
    /// More digits and separators before its first letter no code has: those of China have seventeen.
    const BYTES_MAX: usize = 20;
    let mut run = bytes[digit..].iter().take(BYTES_MAX);
    run.find(|b| !(b.is_ascii_digit() || is_separator(**b))).is_some_and(u8::is_ascii_alphabetic)
}

fn letters_before(bytes: &[u8], at: usize) -> usize {
    let letters = bytes[..at].iter().rev().take(LEADING_MAX + 1).take_while(|b| b.is_ascii_alphabetic()).count();
    // the letter of an escape is none
    if letters > 0 && crate::find::is_escape(bytes, at - letters) { letters - 1 } else { letters }
}

/// Where the pattern ends that begins at `start`, and whether its letters are capitals.
fn matched(bytes: &[u8], start: usize, pattern: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut is_upper) = (start, true);
    for class in pattern {
        let byte = bytes.get(at).copied();
        let fits = match class {
            b'?' => {
                at += usize::from(byte.is_some_and(is_separator));
                continue;
            }
            b'A' => byte?.is_ascii_alphabetic(),
            b'9' => byte?.is_ascii_digit(),
            b'X' => byte?.is_ascii_alphanumeric(),
            letter => byte?.eq_ignore_ascii_case(letter),
        };
        if !fits {
            return None;
        }
        is_upper &= !byte?.is_ascii_lowercase();
        at += 1;
    }
    ends(bytes, at).then_some((at, is_upper))
}

/// Whether a code in small letters may be something else: a hash, a number and its unit, a word and a number behind it.
fn is_ordinary(code: &[u8]) -> bool {
    /// `kb`, `ms` and such end in one of these.
    const UNITS: &[u8] = b"smkgbpthdwyx";
    /// Words of two letters that prefixes of codes may be.
    const WORDS: &[&[u8]] = &[
        b"as", b"at", b"be", b"by", b"he", b"me", b"my", b"we", b"am", b"ms", b"mm", b"pm", b"kg", b"kb", b"mb", b"gb", b"rs",
        b"nr", b"pp", b"cm", b"km",
    ];
    let letters = code.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let is_measure = letters == 1 && code.last().is_some_and(|last| UNITS.contains(last));
    is_measure
        || code.iter().all(|b| !b.is_ascii_alphabetic() || b.is_ascii_hexdigit())
        || WORDS.iter().any(|word| code.starts_with(word))
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/')
}
