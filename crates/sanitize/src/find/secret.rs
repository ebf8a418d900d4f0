//! Keys and tokens that their form gives away.

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use super::{Match, begins, ends};
use crate::SensitiveType as Kind;

/// The form of a key: what may follow its literal, and how much of it.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    kind: Kind,
    len_min: usize,
    /// Exactly so many, where a longer run is something else.
    len_max: Option<usize>,
    letters: Letters,
    /// Digits and letters both, for literals that words begin with.
    mixed: bool,
    /// The literal begins a word, for literals that words end with (`task-`).
    bounded: bool,
    /// Letters and digits before the literal that are part of the key.
    back: usize,
}

#[derive(Clone, Copy)]
enum Letters {
    Word,
    Upper,
    Solid,
    Base64,
    Hex,
    /// Letters, digits, `-`, `_`, `.` and `~`.
    Dotted,
    /// What hashes of passwords are written in: base64 of crypt, parameters, `$` between them.
    Crypt,
}

/// Bytes of a key in which a digit must appear, if one must.
const MIXED_BYTES: usize = 64;
/// Longest header of a JWT that is decoded.
const JWT_HEADER_BYTES_MAX: usize = 2 * 1024;
/// Bytes after an AWS key id in which its secret is looked for.
const AWS_PAIR_BYTES: usize = 120;
/// An AWS secret access key.
const AWS_SECRET_BYTES: usize = 40;

impl Shape {
    pub(super) const fn new(kind: Kind, len_min: usize) -> Self {
        Self { kind, len_min, len_max: None, letters: Letters::Word, mixed: false, bounded: false, back: 0 }
    }

    pub(super) const fn at_most(self, len: usize) -> Self {
        Self { len_max: Some(len), ..self }
    }

    pub(super) const fn upper(self) -> Self {
        Self { letters: Letters::Upper, ..self }
    }

    pub(super) const fn solid(self) -> Self {
        Self { letters: Letters::Solid, ..self }
    }

    pub(super) const fn base64(self) -> Self {
        Self { letters: Letters::Base64, ..self }
    }

    pub(super) const fn hex(self) -> Self {
        Self { letters: Letters::Hex, ..self }
    }

    pub(super) const fn dotted(self) -> Self {
        Self { letters: Letters::Dotted, ..self }
    }

    pub(super) const fn crypt(self) -> Self {
        Self { letters: Letters::Crypt, ..self }
    }

    pub(super) const fn back(self, len: usize) -> Self {
        Self { back: len, ..self }
    }

    pub(super) const fn mixed(self) -> Self {
        Self { mixed: true, ..self }
    }

    pub(super) const fn bounded(self) -> Self {
        Self { bounded: true, ..self }
    }

    fn takes(self, byte: u8) -> bool {
        match self.letters {
            Letters::Word => is_word(byte),
            Letters::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Letters::Solid => byte.is_ascii_alphanumeric(),
            Letters::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'%' | b'-' | b'_'),
            Letters::Hex => byte.is_ascii_hexdigit(),
            Letters::Dotted => is_word(byte) || matches!(byte, b'.' | b'~'),
            Letters::Crypt => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'$' | b'+' | b'=' | b',' | b'-'),
        }
    }

    /// Where a run of this shape that begins at `from` ends, if it is one.
    fn run(self, bytes: &[u8], from: usize) -> Option<usize> {
        let rest = bytes.get(from..)?;
        if self.mixed {
            let head = &rest[..rest.len().min(MIXED_BYTES)];
            let head = &head[..head.iter().position(|b| !self.takes(*b)).unwrap_or(head.len())];
            if !head.iter().any(u8::is_ascii_digit) || !head.iter().any(u8::is_ascii_alphabetic) || words_only(head) {
                return None;
            }
        }
        // one more than the most shows that it is longer, so that a row of them stays linear
        let rest = self.len_max.map_or(rest, |max| &rest[..rest.len().min(max + 1)]);
        let len = rest.iter().position(|b| !self.takes(*b)).unwrap_or(rest.len());
        if len < self.len_min || self.len_max.is_some_and(|max| len > max) {
            return None;
        }
        let run = &rest[..len];
        // the parameters of a hash have commas, the hash behind them has none: what follows is the next cell
        let run = match (self.letters, run.iter().rposition(|b| *b == b'$')) {
            (Letters::Crypt, Some(sign)) => &run[..run[sign..].iter().position(|b| *b == b',').map_or(len, |cut| sign + cut)],
            _ => run,
        };
        // a full stop at the end belongs to the sentence; a hyphen may be the key's last letter
        let trimmed = run.iter().rposition(|b| !matches!(b, b'.' | b',')).map_or(run.len(), |last| last + 1);
        Some(from + trimmed.max(self.len_min))
    }
}

/// `sk-learn-v2-something`: short words joined by hyphens, a number among them, are a name and no key.
fn words_only(run: &[u8]) -> bool {
    run.split(|b| matches!(b, b'-' | b'_')).all(|part| {
        part.len() <= 12
            && (part.iter().all(u8::is_ascii_lowercase)
                || part.len() <= 5 && part.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
    })
}

/// A literal with a run after it. Returns where it ends.
///
/// `vendor` goes into the token where the type does not say whose the key is.
pub(super) fn key(
    text: &str,
    start: usize,
    literal_end: usize,
    (shape, vendor): (Shape, &str),
    found: &mut Vec<Match>,
) -> Option<usize> {
    let bytes = text.as_bytes();
    if shape.bounded && !begins(bytes, start) {
        return None;
    }
    let end = shape.run(bytes, literal_end)?;
    let back = bytes[..start].iter().rev().take(shape.back + 1).take_while(|b| is_word(**b)).count();
    if back < shape.back {
        return None;
    }
    let start = start - shape.back;
    push(text, start, end, shape.kind, found);
    if let Some(last) = found.last_mut() {
        last.value.feature.push_str(vendor);
    }
    if shape.kind == Kind::AwsAccessKeyId
        && let Some((from, to)) = aws_secret(bytes, end)
    {
        push(text, from, to, Kind::AwsSecretKey, found);
    }
    Some(end)
}

/// A run after a literal that stays.
pub(super) fn after(text: &str, from: usize, shape: Shape, found: &mut Vec<Match>) -> Option<usize> {
    let end = shape.run(text.as_bytes(), from)?;
    push(text, from, end, shape.kind, found);
    Some(end)
}

/// The secret that goes with an AWS key id: forty characters of base64 shortly after it.
fn aws_secret(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let to = bytes.len().min(from + AWS_PAIR_BYTES);
    let mut at = from;
    while at < to {
        let len = bytes[at..].iter().take(AWS_SECRET_BYTES + 1).take_while(|b| is_base64(b)).count();
        let run = &bytes[at..at + len];
        if len == AWS_SECRET_BYTES && run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase) {
            return Some((at, at + len));
        }
        at += len + 1;
    }
    None
}

/// `SG.` two runs with a dot between them.
pub(super) fn sendgrid(text: &str, start: usize, from: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let first = word_len(bytes, from, 64);
    let dot = from + first;
    if !(16..=32).contains(&first) || bytes.get(dot) != Some(&b'.') {
        return None;
    }
    let second = word_len(bytes, dot + 1, 128);
    let end = dot + 1 + second;
    (16..=64).contains(&second).then(|| push(text, start, end, Kind::SendgridKey, found))?;
    Some(end)
}

/// Thirty-two hexadecimal digits before `-us` and a number: a key of Mailchimp, which names its data centre.
pub(super) fn mailchimp(text: &str, start: usize, from: usize, found: &mut Vec<Match>) -> Option<usize> {
    const HEX_DIGITS: usize = 32;
    let bytes = text.as_bytes();
    let first = start.checked_sub(HEX_DIGITS)?;
    let digits = bytes[from..].iter().take(3).take_while(|b| b.is_ascii_digit()).count();
    let end = from + digits;
    let fits = matches!(digits, 1 | 2)
        && bytes[first..start].iter().all(|b| is_lower_hex(*b))
        && begins(bytes, first)
        && ends(bytes, end);
    fits.then(|| push(text, first, end, Kind::ApiKey, found))?;
    Some(end)
}

/// `pat`, fourteen letters and digits, a dot and 64 hexadecimal digits: a token of Airtable.
pub(super) fn airtable(text: &str, start: usize, from: usize, found: &mut Vec<Match>) -> Option<usize> {
    const ID_BYTES: usize = 14;
    const HEX_DIGITS: usize = 64;
    let bytes = text.as_bytes();
    let (dot, end) = (from + ID_BYTES, from + ID_BYTES + 1 + HEX_DIGITS);
    let fits = bytes.get(dot) == Some(&b'.')
        && bytes[from..dot].iter().all(u8::is_ascii_alphanumeric)
        && bytes.get(dot + 1..end)?.iter().all(|b| is_lower_hex(*b))
        && begins(bytes, start)
        && ends(bytes, end);
    fits.then(|| push(text, start, end, Kind::ApiKey, found))?;
    Some(end)
}

/// A token of a Discord bot, at its first digit: the bot's number in base64, a time, a mark of 27 characters or more.
pub(super) fn discord(text: &str, digit: usize, found: &mut Vec<Match>) -> Option<usize> {
    const FIRST_BYTES_MAX: usize = 28;
    let bytes = text.as_bytes();
    let letters = bytes[..digit].iter().rev().take(FIRST_BYTES_MAX).take_while(|b| b.is_ascii_alphabetic()).count();
    let start = digit - letters;
    if !matches!(bytes[start], b'M' | b'N' | b'O') || !begins(bytes, start) {
        return None;
    }
    let first = start + word_len(bytes, start, FIRST_BYTES_MAX + 1);
    let second = first + 1 + word_len(bytes, first + 1, 8);
    let end = second + 1 + word_len(bytes, second + 1, 64);
    let fits = (24..=FIRST_BYTES_MAX).contains(&(first - start))
        && bytes.get(first) == Some(&b'.')
        && second - first == 7
        && bytes.get(second) == Some(&b'.')
        && (27..=40).contains(&(end - second - 1));
    fits.then(|| push(text, start, end, Kind::ApiKey, found))?;
    Some(end)
}

/// Two to five dotted runs, the first of which is a JSON object with `alg`.
pub(super) fn jwt(text: &str, start: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    // In the middle of a run it is the middle of something else; this also keeps `eyJeyJeyJ` linear.
    if start > 0 && is_word(bytes[start - 1]) && !super::is_escape(bytes, start - 1) {
        return None;
    }
    let header = word_len(bytes, start, JWT_HEADER_BYTES_MAX);
    let mut at = start + header;
    if bytes.get(at) != Some(&b'.') {
        return None;
    }
    let encoded = text.get(start..at)?.trim_end_matches('=');
    let decoded = URL_SAFE_NO_PAD.decode(encoded).or_else(|_| URL_SAFE.decode(encoded)).ok()?;
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&decoded).ok()?;
    if !object.contains_key("alg") {
        return None;
    }
    for _ in 1..5 {
        if bytes.get(at) != Some(&b'.') {
            break;
        }
        let part = word_len(bytes, at + 1, usize::MAX);
        // an unsigned token ends in its dot; the full stop of a sentence is taken for one, which does no harm
        at += 1 + part;
    }
    push(text, start, at, Kind::Jwt, found);
    Some(at)
}

/// `-----BEGIN ... PRIVATE KEY-----` to its end, or to the end of what looks like its body.
pub(super) fn armour(text: &str, start: usize, found: &mut Vec<Match>) -> Option<usize> {
    const DASHES: &[u8] = b"-----";
    /// `-----BEGIN ` and the longest name in use, `ENCRYPTED PRIVATE KEY BLOCK`, fit in it.
    const HEADER_BYTES_MAX: usize = 80;
    let bytes = text.as_bytes();
    let name = start + b"-----BEGIN ".len();
    let header = bytes.get(name..bytes.len().min(start + HEADER_BYTES_MAX))?;
    let name_len =
        header.iter().position(|b| !(b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ')).unwrap_or(header.len());
    memchr::memmem::find(&header[..name_len], b"PRIVATE KEY")?;
    let mut at = name + name_len;
    if bytes.get(at..)?.starts_with(DASHES) {
        at += DASHES.len();
    }
    // The body has no five dashes, so the search from one header never passes the next: linear over all of them.
    let next = memchr::memmem::find(&bytes[at..], DASHES).map_or(bytes.len(), |len| at + len);
    let end = if bytes[next..].starts_with(b"-----END ") {
        let tail = &bytes[next + DASHES.len()..bytes.len().min(next + HEADER_BYTES_MAX)];
        memchr::memmem::find(tail, DASHES).map_or(next + DASHES.len() + tail.len(), |len| next + 2 * DASHES.len() + len)
    } else {
        cut_body_end(bytes, at, next)
    };
    let end = (end..=bytes.len()).find(|end| text.is_char_boundary(*end))?;
    push(text, start, end, Kind::PrivateKey, found);
    Some(end)
}

/// Where the body of an armoured key without an end stops: at the first word of a line that is not base64 nor a header.
fn cut_body_end(bytes: &[u8], from: usize, to: usize) -> usize {
    /// A line of the body, if not the last, is no shorter; words of a sentence are.
    const BODY_WORD_BYTES_MIN: usize = 16;
    let is_body = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let mut end = from;
    let mut at = from;
    while at < to {
        let space = bytes[at..to].iter().take_while(|b| b.is_ascii_whitespace() || **b == b'\\').count();
        let escape = usize::from(space > 0 && bytes[at + space - 1] == b'\\');
        let word = at + space + escape;
        let len = bytes.get(word..to).map_or(0, |rest| rest.iter().take_while(|b| is_body(**b)).count());
        let header = bytes.get(word..to).is_some_and(|rest| rest.starts_with(b"Proc-Type:") || rest.starts_with(b"DEK-Info:"));
        if header {
            let line = bytes[word..to].iter().position(|b| *b == b'\n').map_or(to, |len| word + len);
            (at, end) = (line, line);
        } else if len >= BODY_WORD_BYTES_MIN || (len > 0 && word + len == to) {
            at = word + len;
            end = at;
        } else {
            break;
        }
    }
    end
}

/// `SK` and 32 hexadecimal digits, at a digit of them: called from the number finder, which stops there anyway.
pub(super) fn twilio(text: &str, digit: usize, found: &mut Vec<Match>) {
    const HEX_DIGITS: usize = 32;
    let bytes = text.as_bytes();
    let back = bytes[..digit].iter().rev().take(HEX_DIGITS).take_while(|b| is_lower_hex(**b)).count();
    let Some(start) = (digit - back).checked_sub(2) else { return };
    let run = bytes[digit - back..].iter().take(HEX_DIGITS + 1).take_while(|b| is_lower_hex(**b)).count();
    if &bytes[start..start + 2] == b"SK" && run == HEX_DIGITS && begins(bytes, start) && ends(bytes, start + 2 + run) {
        push(text, start, start + 2 + run, Kind::TwilioKey, found);
    }
}

/// `123456789:AA...`: the token of a Telegram bot, whose first half is a number.
pub(super) fn telegram(text: &str, start: usize, colon: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let rest = bytes.get(colon..)?;
    if !(8..=10).contains(&(colon - start)) || !rest.starts_with(b":AA") {
        return None;
    }
    let len = word_len(bytes, colon + 1, 64);
    let end = colon + 1 + len;
    (34..=36).contains(&len).then(|| push(text, start, end, Kind::ApiKey, found))?;
    Some(end)
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn word_len(bytes: &[u8], from: usize, max: usize) -> usize {
    bytes.get(from..).map_or(0, |rest| rest.iter().take(max).take_while(|b| is_word(**b)).count())
}

fn push(text: &str, start: usize, end: usize, kind: Kind, found: &mut Vec<Match>) {
    if let Some(raw) = text.get(start..end) {
        found.push(Match::new(start, end, kind, raw.to_owned()));
    }
}
