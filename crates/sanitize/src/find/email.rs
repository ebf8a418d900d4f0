//! E-mail addresses.

use super::{Match, is_escape};
use crate::SensitiveType as Kind;

/// RFC 5321 4.5.3.1.1.
const LOCAL_BYTES_MAX: usize = 64;
/// RFC 5321 4.5.3.1.2.
const DOMAIN_BYTES_MAX: usize = 255;
/// Longest label of a domain that is kept in the token: a longer one may be data.
const KEPT_LABEL_BYTES_MAX: usize = 24;
/// Most digits of a domain that is kept.
const KEPT_DIGITS_MAX: usize = 4;
/// Longest domain that is kept.
const KEPT_BYTES_MAX: usize = 48;

/// Names of files, not of hosts: `icon@2x.png`.
const FILE_ENDINGS: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "css", "js", "ts", "jsx", "tsx", "html", "json", "yaml", "yml", "py",
    "rs", "md", "txt",
];

/// The address around the `@` at `at`.
pub(super) fn at(text: &str, at: usize, found: &mut Vec<Match>) {
    let bytes = text.as_bytes();
    let Some(start) = local_start(bytes, at) else { return };
    let Some(end) = domain_end(bytes, at + 1) else { return };
    // `git@host:path` is a place, not a person
    if &bytes[start..at] == b"git" && bytes.get(end) == Some(&b':') {
        return;
    }
    let (Some(local), Some(domain)) = (text.get(start..at), text.get(at + 1..end)) else { return };
    push(local, domain, start, end, found);
}

/// `ann [at] example [dot] com`, `ann at example dot com`: at one of the marks.
pub(super) fn spelled(text: &str, start: usize, end: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let (local_end, mut at) = if bytes[start] == b' ' {
        // at the first ` dot `: the word before it, ` at `, the word before that
        let host = start - bytes[..start].iter().rev().take(LOCAL_BYTES_MAX).take_while(|b| is_host(**b)).count();
        let mark = host.checked_sub(4)?;
        if host == start || !bytes.get(mark..host)?.eq_ignore_ascii_case(b" at ") {
            return None;
        }
        (mark, host)
    } else {
        let spaces_before = bytes[..start].iter().rev().take(2).take_while(|b| **b == b' ').count();
        let spaces_after = bytes[end..].iter().take(2).take_while(|b| **b == b' ').count();
        (start - spaces_before, end + spaces_after)
    };
    let local_start = local_start(bytes, local_end)?;
    let mut domain = String::new();
    let mut domain_end = at;
    loop {
        let len = bytes[at..].iter().take(64).take_while(|b| is_host(**b)).count();
        if len == 0 {
            break;
        }
        domain.push_str(text.get(at..at + len)?);
        domain_end = at + len;
        let rest = &bytes[domain_end..];
        let dot = [" dot ", " DOT ", " [dot] ", "[dot]", " (dot) ", "(dot)", "[DOT]", "(DOT)", "."]
            .iter()
            .find(|dot| rest.starts_with(dot.as_bytes()))
            .filter(|_| domain.len() < DOMAIN_BYTES_MAX);
        let Some(dot) = dot else { break };
        domain.push('.');
        at = domain_end + dot.len();
    }
    let domain = domain.trim_end_matches('.');
    super::email::domain_end(domain.as_bytes(), 0).filter(|end| *end == domain.len())?;
    push(text.get(local_start..local_end)?, domain, local_start, domain_end, found);
    Some(domain_end)
}

fn push(local: &str, domain: &str, start: usize, end: usize, found: &mut Vec<Match>) {
    let domain = domain.to_lowercase();
    let normal = format!("{}@{domain}", local.to_lowercase());
    let keep = tells_nothing(&domain);
    let found_one = Match::new(start, end, Kind::Email, normal);
    found.push(if keep { found_one.with_feature(domain) } else { found_one });
}

fn local_start(bytes: &[u8], at: usize) -> Option<usize> {
    let mut start = at;
    while start > 0 && at - start < LOCAL_BYTES_MAX {
        let byte = bytes[start - 1];
        let fits = byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_' | b'+' | b'-' | b'%' | b'\'' | b'~')
            || byte >= 0x80 && latin_start(bytes, start - 1).is_some();
        if !fits {
            break;
        }
        start = if byte >= 0x80 { latin_start(bytes, start - 1)? } else { start - 1 };
    }
    // a full alphabet before the limit means that this is no address but a run of something
    while start < at && matches!(bytes[start], b'.' | b'\'' | b'%' | b'~' | b'-' | b'+') {
        start += 1;
    }
    if start < at && start > 0 && is_escape(bytes, start) {
        start += 1;
    }
    let last = at.checked_sub(1).and_then(|last| bytes.get(last))?;
    (start < at && *last != b'.').then_some(start)
}

/// Where the two-byte Latin letter (U+00C0 to U+024F) begins whose last byte is at `last`. Other scripts are not taken
/// for part of an address: they run on without spaces.
fn latin_start(bytes: &[u8], last: usize) -> Option<usize> {
    let first = last.checked_sub(1)?;
    ((0x80..0xC0).contains(&bytes[last]) && (0xC3..=0xC9).contains(&bytes[first])).then_some(first)
}

/// Where the domain that begins at `from` ends: labels with dots between them, a top level of letters at the end.
fn domain_end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let mut len = 0;
    while len < DOMAIN_BYTES_MAX
        && let Some(byte) = rest.get(len)
    {
        if is_host(*byte) || *byte == b'.' {
            len += 1;
        } else if rest.get(len + 1).is_some() && latin_start(rest, len + 1) == Some(len) {
            len += 2;
        } else {
            break;
        }
    }
    // drop from the right what is no label: a full stop, a hyphen
    loop {
        let domain = &rest[..len];
        match domain.last()? {
            b'.' | b'-' => len -= 1,
            _ => {
                let dot = domain.iter().rposition(|b| *b == b'.')?;
                let top = &domain[dot + 1..];
                let labels_fit = domain
                    .split(|b| *b == b'.')
                    .all(|label| (1..=63).contains(&label.len()) && label.first() != Some(&b'-') && label.last() != Some(&b'-'));
                if labels_fit && is_top_level(top) {
                    return Some(from + len);
                }
                // `ann@example.com.2` and `ann@example.com..x`: what stands before the last dot may still be one
                len = dot;
            }
        }
    }
}

fn is_top_level(label: &[u8]) -> bool {
    let plain = (2..=24).contains(&label.len()) && label.iter().all(|b| b.is_ascii_alphabetic() || *b >= 0x80);
    let is_file = label.len() <= 4 && FILE_ENDINGS.iter().any(|ending| label.eq_ignore_ascii_case(ending.as_bytes()));
    (plain && !is_file) || label.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"xn--"))
}

/// Whether a domain may stand in the token: short, made of words, and so no carrier of anything else.
fn tells_nothing(domain: &str) -> bool {
    domain.len() <= KEPT_BYTES_MAX
        && domain.bytes().all(|b| is_host(b) || b == b'.')
        && domain.bytes().filter(u8::is_ascii_digit).count() <= KEPT_DIGITS_MAX
        && domain.split('.').all(|label| label.len() <= KEPT_LABEL_BYTES_MAX)
}

fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}
