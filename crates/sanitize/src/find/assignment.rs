//! Values that their names give away: `password = ...`, `"api_key": "..."`, `Authorization: ...`, `scheme://user:...@host`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::context::{Near, Topic};
use super::quoted::{self, BACKSLASHES_MAX, Opening};
use super::secret_name::{NAME_BYTES_MAX, Named, last_word, may_be_secret, name_of};
use super::secret_value::{JUDGED_BYTES, QUOTED_BYTES_MAX, accepts, distinct, head, is_mixed, is_placeholder, is_symbol};
use super::{Hint, Match, announced, beside};
use crate::SensitiveType as Kind;

/// Longest user part of a URL.
const USERINFO_BYTES_MAX: usize = 512;
/// Spaces, quotes and marks between a name, its sign and its value.
const GAP_BYTES_MAX: usize = 6;

/// Where the current unquoted value ends; computed once per value, so that `a=b=c=...` stays linear.
#[derive(Default)]
pub(super) struct Ends {
    value: usize,
    /// Where its last letter that is no punctuation ends.
    trimmed: usize,
    /// Where a script without spaces begins in it, or its end.
    ideograph: usize,
    /// How far cookies were read.
    cookies: usize,
}

impl Ends {
    /// The end of the value that begins at `from`, without the punctuation of the sentence.
    fn of_value(&mut self, text: &str, from: usize) -> usize {
        let bytes = text.as_bytes();
        if from >= self.value {
            self.value = from + bytes[from..].iter().position(|b| is_value_end(*b)).unwrap_or(bytes.len() - from);
            self.trimmed = trimmed_end(bytes, from, self.value);
            self.ideograph = from;
        }
        // a value that begins in such a script is one of it
        let first = text.get(from..).and_then(|rest| rest.chars().next());
        if first.is_none_or(|c| c >= FIRST_IDEOGRAPH) {
            return self.trimmed.max(from);
        }
        if from >= self.ideograph {
            self.ideograph = bytes[from..self.value].iter().position(|b| *b >= 0xE3).map_or(self.value, |len| from + len);
        }
        if self.ideograph < self.value { trimmed_end(bytes, from, self.ideograph) } else { self.trimmed.max(from) }
    }
}

/// The first of the characters of scripts that are written without spaces; in UTF-8 they begin with E3 or more.
const FIRST_IDEOGRAPH: char = '\u{3000}';

fn trimmed_end(bytes: &[u8], from: usize, to: usize) -> usize {
    /// More punctuation than this ends no sentence.
    const BYTES_MAX: usize = 8;
    let tail = bytes[from..to].iter().rev().take(BYTES_MAX).take_while(|b| matches!(b, b'.' | b',' | b':' | b'\\')).count();
    to - tail
}

/// The whole text as the value of a key that names it.
pub(super) fn whole(text: &str, hint: Hint<'_>, found: &mut Vec<Match>) {
    let Some(named) = hint.key.and_then(|key| name_of(key.as_bytes())) else { return };
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    let end = start + trimmed.len();
    if named == Named::Verification {
        if is_verification(trimmed) {
            found.push(Match::new(start, end, Kind::Cvv, String::new()));
        }
    } else if is_cookie(hint.key.unwrap_or_default().as_bytes()) && trimmed.contains('=') {
        cookies(text, start, found);
    } else if accepts(named, trimmed, true, false) {
        let kind = kind_of(named, hint.key.unwrap_or_default().as_bytes(), trimmed);
        found.push(Match::new(start, end, kind, trimmed.to_owned()));
    }
}

/// Whether a name says that its value is secret.
pub(super) fn names(key: &str) -> bool {
    name_of(key.as_bytes()).is_some()
}

/// The value after the `=` or `:` at `at`, if a name before it says that it is secret.
pub(super) fn at(text: &str, at: usize, ends: &mut Ends, found: &mut Vec<Match>) {
    let bytes = text.as_bytes();
    let Some((name, quoted_name)) = name_before(bytes, at) else { return };
    // `- name: password` and a line `value: ...` below it
    let beside = if beside::is_value(name) { beside::name(bytes, start_of(bytes, name)) } else { None };
    let name = beside.unwrap_or(name);
    let named = if may_be_secret(name) { name_of(name) } else { None };
    let announced = if named.is_none() && announced::may_be_label(name) { announced::label(name) } else { None };
    if named.is_none() && announced.is_none() {
        return;
    }
    let mut from = at + 1;
    while from < bytes.len() && from - at <= GAP_BYTES_MAX && matches!(bytes[from], b' ' | b'\t' | b'=' | b'>' | b'*' | b'~') {
        from += 1;
    }
    let spaced = from > at + 1;
    if bytes[at] == b':' {
        from = block(bytes, from).unwrap_or(from);
    }
    // `"password": ["..."]`
    let list = from + usize::from(bytes.get(from) == Some(&b'['));
    let (start, end, quoted) = match quoted::opening(bytes, list) {
        Some(opening) => {
            let Some(end) = opening.end(bytes) else { return };
            (opening.start, end, true)
        }
        None if from < bytes.len() => (from, ends.of_value(text, from), false),
        None => return,
    };
    if let Some(what) = announced {
        // what is announced goes on behind spaces, and ends by its own form
        announced::assigned(text, what, (start, if quoted { end } else { bytes.len() }), quoted, found);
        return;
    }
    let (Some(value), Some(named)) = (text.get(start..end), named) else { return };
    // `**password: value**`
    let value = if quoted { value } else { value.strip_suffix("**").unwrap_or(value) };
    if named == Named::Verification {
        if is_verification(value) {
            found.push(Match::new(start, start + value.len(), Kind::Cvv, String::new()));
        }
        return;
    }
    // the names and values of a header are read one by one
    if is_cookie(name) && head(value).contains('=') {
        if start >= ends.cookies {
            ends.cookies = cookies(text, start, found);
        }
        return;
    }
    // `NAME=value` as in a file of environment variables, against `name: value` in prose or code
    let environment = !spaced && bytes[at] == b'=' && !quoted_name;
    if accepts(named, value, quoted, environment) {
        let kind = kind_of(named, name, value);
        found.push(Match::new(start, start + value.len(), kind, value.to_owned()));
    }
}

/// What stands before the first character of a script that is written without spaces, if the value begins in another.
fn before_ideographs(value: &str) -> &str {
    let end = value.find(|c| c >= FIRST_IDEOGRAPH).filter(|end| *end > 0).unwrap_or(value.len());
    &value[..end]
}

fn is_verification(value: &str) -> bool {
    matches!(value.len(), 3 | 4) && value.bytes().all(|b| b.is_ascii_digit())
}

fn is_cookie(name: &[u8]) -> bool {
    last_word(name).eq_ignore_ascii_case(b"cookie")
}

/// Whether the name before the sign at `at` announces a value that may have several words.
pub(super) fn announces(text: &str, at: usize) -> bool {
    name_before(text.as_bytes(), at).is_some_and(|(name, _)| announced::label(name).is_some())
}

/// `my password is ...`, `--password ...`: the word ends at `end` and its first letter is cut off.
pub(super) fn sentence(text: &str, start: usize, end: usize, found: &mut Vec<Match>) -> Option<usize> {
    const BETWEEN: &[&str] =
        &[" is now ", " is: ", " is ", " was ", " to ", " ist ", " es ", " est ", " è ", " lautet ", "は", "是"];
    let bytes = text.as_bytes();
    let rest = text.get(end..)?;
    let between = BETWEEN.iter().find(|between| rest.starts_with(**between)).map(|between| between.len());
    let flag = || {
        let dashes = start.checked_sub(3).map(|from| &bytes[from..start - 1]);
        (dashes == Some(b"--") && rest.starts_with(' ')).then_some(1)
    };
    let mut from = end + between.or_else(flag).or_else(|| is_line_of_its_own(text, start, end).then_some(1))?;
    let quote = bytes.get(from).copied().filter(|b| matches!(b, b'"' | b'\'' | b'`'));
    let to = match quote {
        Some(quote) => {
            from += 1;
            Opening::plain(from, quote).end(bytes)?
        }
        None => {
            from + bytes[from..]
                .iter()
                .take(JUDGED_BYTES)
                .position(|b| is_value_end(*b))
                .unwrap_or(bytes.len().min(from + JUDGED_BYTES) - from)
        }
    };
    let value = text.get(from..to)?;
    let value = if quote.is_some() { value } else { before_ideographs(value).trim_end_matches(['.', ',', ':']) };
    let looks = value.len() >= 6 && value.bytes().any(|b| b.is_ascii_digit() || (quote.is_none() && is_symbol(b)));
    let is_alone = between.is_none() && flag().is_none();
    if is_alone && (quote.is_some() || value.len() < 8 && !is_mixed(value)) {
        return None;
    }
    let accepted = (quote.is_some() && !value.contains(' ') && accepts(Named::Password, value, true, false))
        || looks && !is_placeholder(value);
    accepted.then(|| found.push(Match::new(from, from + value.len(), Kind::Password, value.to_owned())))?;
    Some(from + value.len())
}

/// `user: my password hunter22`: a line that has nothing before the word but who speaks, and one word behind it. Elsewhere a word of
/// all sorts of letters, which no sentence has, is enough.
fn is_line_of_its_own(text: &str, start: usize, end: usize) -> bool {
    const LINE_BYTES_MAX: usize = 48;
    let Some(rest) = text.get(end..).and_then(|rest| rest.strip_prefix(' ')) else { return false };
    let value = rest.split(char::is_whitespace).next().unwrap_or_default();
    if value.len() > JUDGED_BYTES || !value.bytes().any(|b| b.is_ascii_digit()) {
        return false;
    }
    if is_mixed(value.trim_end_matches(['.', ',', ':'])) {
        return true;
    }
    let ends_line = rest[value.len()..].trim_start_matches([' ', '\r']).chars().next().is_none_or(|c| c == '\n');
    let bytes = text.as_bytes();
    let line = &bytes[start.saturating_sub(LINE_BYTES_MAX)..start];
    let line = line.iter().rposition(|b| *b == b'\n').map_or(line, |at| &line[at + 1..]);
    // the word's first letter is cut off
    let words = line.split(|b| *b == b' ').filter(|word| word.len() > 1 && !word.ends_with(b":"));
    ends_line && line.len() < LINE_BYTES_MAX && words.count() <= 1
}

/// `the access token 3ea5...`, `secret key: ...`: a random run behind the words that end at `end`.
pub(super) fn run(text: &str, end: usize, found: &mut Vec<Match>) -> Option<usize> {
    const BETWEEN: &[&str] = &[" is ", " : ", ": ", "は", "是", "：", " "];
    const BYTES_MIN: usize = 20;
    const DISTINCT_MIN: u32 = 8;
    let rest = text.get(end..)?;
    let from = end + BETWEEN.iter().find(|between| rest.starts_with(**between))?.len();
    let bytes = text.as_bytes();
    let len = bytes[from..].iter().take(JUDGED_BYTES).take_while(|b| is_token68(**b)).count();
    let value = text.get(from..from + len)?.trim_end_matches('.');
    let has = |class: fn(&u8) -> bool| value.as_bytes().iter().any(class);
    let is_hex = value.bytes().all(|b| b.is_ascii_hexdigit());
    let random = has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && (is_hex || has(u8::is_ascii_uppercase));
    if value.len() < BYTES_MIN || !random || distinct(value.as_bytes()) < DISTINCT_MIN || is_placeholder(value) {
        return None;
    }
    let name = &bytes[end.saturating_sub(NAME_BYTES_MAX / 2)..end];
    push(text, from, from + value.len(), kind_of(Named::Secret, name, value), found);
    Some(from)
}

/// The credentials of an `Authorization` header, after its name. Here and in the two below, what is returned is where the
/// value begins: a key of a known provider in it is the better reading.
pub(super) fn authorization(text: &str, end: usize, found: &mut Vec<Match>) -> Option<usize> {
    const SCHEMES: &[&str] =
        &["Bearer", "Basic", "Token", "ApiKey", "Digest", "AWS4-HMAC-SHA256", "Negotiate", "GenieKey", "SSWS", "Key"];
    const BYTES_MIN: usize = 8;
    let bytes = text.as_bytes();
    let gap = bytes[end..]
        .iter()
        .take(GAP_BYTES_MAX)
        .take_while(|b| matches!(b, b' ' | b':' | b'=' | b'"' | b'\'' | b'\\' | b'>' | b'`'))
        .count();
    if !bytes[end..end + gap].iter().any(|b| matches!(b, b':' | b'=')) {
        return None;
    }
    let mut from = end + gap;
    for scheme in SCHEMES {
        if bytes.get(from..from + scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme.as_bytes()))
            && bytes.get(from + scheme.len()) == Some(&b' ')
        {
            from += scheme.len() + 1;
            break;
        }
    }
    let len = bytes[from..]
        .iter()
        .take(QUOTED_BYTES_MAX)
        .take_while(|b| !matches!(b, b'"' | b'\'' | b'\\' | b',' | b';' | b'<' | b'>' | b'`') && !b.is_ascii_whitespace())
        .count();
    let value = text.get(from..from + len)?;
    let judged = head(value);
    let looks = judged.bytes().any(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) || value.len() >= 24;
    (value.len() >= BYTES_MIN && looks && !is_placeholder(value))
        .then(|| push(text, from, from + len, Kind::Authorization, found))?;
    Some(from)
}

/// What follows `Bearer `.
pub(super) fn bearer(text: &str, from: usize, found: &mut Vec<Match>) -> Option<usize> {
    const BYTES_MIN: usize = 16;
    let bytes = text.as_bytes();
    let len = bytes[from..].iter().take_while(|b| is_token68(**b)).count();
    let value = text.get(from..from + len)?.trim_end_matches('.');
    let judged = head(value);
    let looks = judged.bytes().any(|b| b.is_ascii_digit()) && judged.bytes().any(|b| b.is_ascii_alphabetic());
    (value.len() >= BYTES_MIN && looks && !is_placeholder(value))
        .then(|| push(text, from, from + value.len(), Kind::Authorization, found))?;
    Some(from)
}

/// What follows `Basic `, when it decodes to a user and a password.
pub(super) fn basic(text: &str, from: usize, found: &mut Vec<Match>) -> Option<usize> {
    const BYTES_MIN: usize = 6;
    const BYTES_MAX: usize = 512;
    let len = text.as_bytes()[from..].iter().take(BYTES_MAX).take_while(|b| is_token68(**b)).count();
    let value = text.get(from..from + len)?.trim_end_matches('.');
    let len = value.len();
    if len < BYTES_MIN {
        return None;
    }
    let decoded = STANDARD.decode(value).or_else(|_| STANDARD_NO_PAD.decode(value.trim_end_matches('='))).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    (decoded.contains(':') && !decoded.chars().any(char::is_control))
        .then(|| push(text, from, from + len, Kind::Authorization, found))?;
    Some(from)
}

/// The values of a header's cookies that keep a session open: random ones, and those whose name says so. Its attributes stay.
/// Returns how far was read.
pub(super) fn cookies(text: &str, from: usize, found: &mut Vec<Match>) -> usize {
    const BYTES_MIN: usize = 16;
    const NAMED_BYTES_MIN: usize = 6;
    const COOKIES_MAX: usize = 64;
    let line = text.get(from..).unwrap_or_default();
    let line = &line[..line.len().min(floor_boundary(line, QUOTED_BYTES_MAX))];
    let line = line.split(['\n', '\r', '"', '`']).next().unwrap_or_default();
    let mut at = from;
    for pair in line.split(';').take(COOKIES_MAX) {
        let start = at;
        at += pair.len() + 1;
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value_start = start + name.len() + 1;
        // behind the quote of a shell's argument the command goes on: `-H 'Cookie: a=b' https://host`
        let value = value.split(['\'', ' ', '\t', '\\']).next().unwrap_or_default();
        let name = name.trim().to_ascii_lowercase();
        let attribute = ["path", "domain", "expires", "max-age", "samesite", "priority"].contains(&name.as_str());
        let named =
            ["sess", "sid", "token", "auth", "jwt", "csrf", "xsrf", "login", "remember"].iter().any(|word| name.contains(word));
        let judged = head(value).as_bytes();
        let random = judged.iter().any(u8::is_ascii_digit) && judged.iter().any(u8::is_ascii_alphabetic) && distinct(judged) >= 6;
        let long = value.len() >= if named { NAMED_BYTES_MIN } else { BYTES_MIN };
        if !attribute && random && long && !is_placeholder(value) && value.bytes().all(|b| b.is_ascii_graphic()) {
            push(text, value_start, value_start + value.len(), Kind::SessionCookie, found);
        }
    }
    from + line.len()
}

/// `Cookie JSESSIONID=...`, without the header's colon: a name and its sign follow at once.
pub(super) fn begins_pair(text: &str, from: usize) -> bool {
    let bytes = &text.as_bytes()[from..];
    let len =
        bytes.iter().take(NAME_BYTES_MAX).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')).count();
    len > 1 && bytes.get(len) == Some(&b'=')
}

/// The last boundary of a character that is not behind `at`.
pub(super) fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// `host:5432:database:user:password`, a line of PostgreSQL's password file: at its port.
pub(super) fn password_file(text: &str, start: usize, end: usize, found: &mut Vec<Match>) -> Option<usize> {
    let line = text.get(end..)?;
    let line = line[..floor_boundary(line, USERINFO_BYTES_MAX)].split(['\n', '\r', ' ', '"', '\'']).next()?;
    let mut parts = line.splitn(3, ':');
    let (database, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let host = text.as_bytes()[..start].last().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'*');
    let from = end + database.len() + user.len() + 2;
    (host && !password.is_empty() && password.len() <= JUDGED_BYTES && !is_placeholder(password))
        .then(|| push(text, from, from + password.len(), Kind::Password, found))?;
    Some(from + password.len())
}

/// `machine host login ann password secret`: behind `login`.
pub(super) fn network_file(text: &str, end: usize, found: &mut Vec<Match>) -> Option<usize> {
    let rest = text.get(end..)?;
    let rest = &rest[..floor_boundary(rest, USERINFO_BYTES_MAX)];
    let (user, rest_at) = (rest.split_whitespace().next()?, rest.find(" password ").or_else(|| rest.find("\npassword "))?);
    let from = end + rest_at + " password ".len();
    let password = text.get(from..)?.split_whitespace().next()?;
    let near = rest_at <= rest.find(user)? + user.len() + 4;
    (near && password.len() >= 4 && password.len() <= JUDGED_BYTES && !is_placeholder(password))
        .then(|| push(text, from, from + password.len(), Kind::Password, found))?;
    Some(from + password.len())
}

/// The password of `scheme://user:password@host`, or a user part that is itself a token; `at` is the first colon.
pub(super) fn userinfo(text: &str, at: usize, found: &mut Vec<Match>) {
    const TOKEN_BYTES_MIN: usize = 20;
    let bytes = text.as_bytes();
    let from = at + 3;
    let is_end = |b: &u8| {
        b.is_ascii_whitespace() || matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' | b'{' | b'|')
    };
    let window = &bytes[from.min(bytes.len())..bytes.len().min(from + USERINFO_BYTES_MAX)];
    let authority = &window[..window.iter().position(is_end).unwrap_or(window.len())];
    let Some(sign) = authority.iter().rposition(|b| *b == b'@') else { return };
    let user = &authority[..sign];
    let (start, end) = match user.iter().position(|b| *b == b':') {
        Some(colon) => (from + colon + 1, from + sign),
        None if sign >= TOKEN_BYTES_MIN && user.iter().any(u8::is_ascii_digit) && !user.contains(&b'.') => (from, from + sign),
        None => return,
    };
    if let Some(value) = text.get(start..end)
        && !value.is_empty()
        && !is_placeholder(value)
    {
        push(text, start, end, Kind::UrlPassword, found);
    }
}

/// The name that ends before the sign at `at`, and whether it stands in quotes.
fn name_before(bytes: &[u8], at: usize) -> Option<(&[u8], bool)> {
    let mut end = at;
    let mut quoted = false;
    let (mut marks, mut backslashes) = (GAP_BYTES_MAX, BACKSLASHES_MAX);
    while end > 0 && matches!(bytes[end - 1], b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\' | b']' | b'*' | b':' | b'!') {
        let left = if bytes[end - 1] == b'\\' { &mut backslashes } else { &mut marks };
        let Some(less) = left.checked_sub(1) else { break };
        *left = less;
        quoted |= matches!(bytes[end - 1], b'"' | b'\'');
        end -= 1;
    }
    let len = bytes[..end]
        .iter()
        .rev()
        .take(NAME_BYTES_MAX)
        .take_while(|b| b.is_ascii_alphanumeric() || **b >= 0x80 || matches!(b, b'_' | b'-' | b'.' | b' ' | b'\'' | b'/'))
        .count();
    if len == 0 {
        return None;
    }
    // no more than three words before the sign: `the client secret:`
    Some((&bytes[end - len..end], quoted))
}

/// Where a part of the text begins.
fn start_of(bytes: &[u8], part: &[u8]) -> usize {
    let gap = part.iter().take_while(|b| b.is_ascii_whitespace()).count();
    part.as_ptr() as usize - bytes.as_ptr() as usize + gap
}

/// Where the text of a block of YAML begins whose sign stands at `at`: `password: |` or `>-`, and the value in the next line.
fn block(bytes: &[u8], at: usize) -> Option<usize> {
    /// Deepest indentation.
    const INDENT_BYTES_MAX: usize = 32;
    // the sweep over spaces may have passed the sign `>`
    let from = if bytes.get(at) == Some(&b'|') || at == 0 { at } else { at - 1 };
    let rest = bytes.get(from..)?.strip_prefix(b"|").or_else(|| bytes.get(from..)?.strip_prefix(b">"))?;
    let rest = rest.strip_prefix(b"-").or_else(|| rest.strip_prefix(b"+")).unwrap_or(rest);
    let rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))?;
    let indent = rest.iter().take(INDENT_BYTES_MAX).take_while(|b| **b == b' ').count();
    (indent > 0).then(|| bytes.len() - rest.len() + indent)
}

fn kind_of(named: Named, name: &[u8], value: &str) -> Kind {
    const AWS_SECRET_BYTES: usize = 40;
    let speaks_of_amazon = || Near::before(name, name.len(), Hint::default()).speaks_of(Topic::Amazon);
    let is_aws = value.len() == AWS_SECRET_BYTES && speaks_of_amazon();
    match named {
        Named::Password => Kind::Password,
        _ if is_aws => Kind::AwsSecretKey,
        _ => Kind::Secret,
    }
}

fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

fn is_value_end(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(byte, b',' | b';' | b')' | b'}' | b']' | b'"' | b'\'' | b'<' | b'>' | b'|' | b'`' | b'&')
}

fn push(text: &str, start: usize, end: usize, kind: Kind, found: &mut Vec<Match>) {
    if let Some(raw) = text.get(start..end) {
        found.push(Match::new(start, end, kind, raw.to_owned()));
    }
}
