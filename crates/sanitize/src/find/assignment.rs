//! Values that their names give away: `password = ...`, `"api_key": "..."`, `Authorization: ...`, `scheme://user:...@host`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::quoted::{self, BACKSLASHES_MAX, BYTES_MAX as QUOTED_BYTES_MAX, Opening};
use super::{Hint, Match, announced, beside, has_context};
use crate::SensitiveType as Kind;

/// Longest name that is looked at.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a value that decide whether it looks like a secret.
const JUDGED_BYTES: usize = 256;
/// Longest user part of a URL.
const USERINFO_BYTES_MAX: usize = 512;
/// Spaces, quotes and marks between a name, its sign and its value.
const GAP_BYTES_MAX: usize = 6;

/// How much a name says of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Password,
    Secret,
    Token,
    Verification,
}

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
    let announced = if named.is_none() { announced::label(name) } else { None };
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
    let mut from = end + between.or_else(flag)?;
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
    let accepted = (quote.is_some() && !value.contains(' ') && accepts(Named::Password, value, true, false))
        || looks && !is_placeholder(value);
    accepted.then(|| found.push(Match::new(from, from + value.len(), Kind::Password, value.to_owned())))?;
    Some(from + value.len())
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
    let len = bytes.iter().take(NAME_BYTES_MAX).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')).count();
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

/// Whether a name ends in the last letter of one that is looked for.
fn may_be_secret(name: &[u8]) -> bool {
    name.last().is_some_and(|last| *last >= 0x80 || b"adetnyshw21cvr".contains(&last.to_ascii_lowercase()))
}

/// What a name says, by its last words.
fn name_of(name: &[u8]) -> Option<Named> {
    const PASSWORDS: &[&str] = &["パスワード", "비밀번호", "密码", "密碼", "şifre", "пароль", "hasło", "lösenord", "contraseña"];
    const SECRETS: &[&str] = &["clé secrète", "api-schlüssel", "密钥", "비밀키"];
    if !name.is_ascii() {
        let lower = String::from_utf8_lossy(name.get(name.len().saturating_sub(NAME_BYTES_MAX)..)?).to_lowercase();
        let ends_with = |words: &[&str]| words.iter().any(|word| lower.trim_end().ends_with(word));
        let named = ends_with(PASSWORDS).then_some(Named::Password).or_else(|| ends_with(SECRETS).then_some(Named::Secret));
        if named.is_some() {
            return named;
        }
    }
    let mut joined = [0_u8; NAME_BYTES_MAX];
    let mut len = 0;
    for byte in name.get(name.len().saturating_sub(NAME_BYTES_MAX)..)? {
        if byte.is_ascii_alphanumeric() {
            joined[len] = byte.to_ascii_lowercase();
            len += 1;
        }
    }
    let whole = joined.get(..len)?;
    let joined = whole.get(..whole.iter().rposition(|b| !b.is_ascii_digit())? + 1)?;
    let ends_with = |words: &[&str]| words.iter().any(|word| joined.ends_with(word.as_bytes()));
    // the last word alone, where its letters end many other words as well
    let last = last_word(name);
    let is_last = |words: &[&str]| words.iter().any(|word| last.eq_ignore_ascii_case(word.as_bytes()));
    if ends_with(&[
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "passwort",
        "kennwort",
        "motdepasse",
        "senha",
        "wachtwoord",
        "salasana",
        "adgangskode",
        "passord",
        "userpwd",
        "dbpwd",
        "dbpass",
        "mysqlpwd",
    ]) || is_last(&["pwd", "pass", "pw", "psw"])
    {
        return Some(Named::Password);
    }
    if ends_with(&[
        "secret",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "encryptionkey",
        "signingkey",
        "accountkey",
        "authkey",
        "masterkey",
        "sharedkey",
        "servicekey",
        "subscriptionkey",
        "clientkey",
        "appkey",
        "accesskeyid",
        "licensekey",
        "secrets",
        "webhookkey",
        "hmackey",
        "keydata",
        "applicationkey",
        "storagekey",
        "geheimnis",
        "clavesecreta",
    ]) {
        return Some(Named::Secret);
    }
    if is_last(&["token", "jwt", "bearer", "credential", "credentials", "auth", "cookie", "session"])
        || ends_with(&[
            "accesstoken",
            "authtoken",
            "refreshtoken",
            "bearertoken",
            "sessiontoken",
            "idtoken",
            "apitoken",
            "csrftoken",
            "bottoken",
        ])
    {
        // vocabulary of models and of paging
        let other = [
            "nexttoken",
            "nextpagetoken",
            "pagetoken",
            "continuationtoken",
            "padtoken",
            "eostoken",
            "bostoken",
            "unktoken",
            "masktoken",
            "stoptoken",
        ];
        return (!ends_with(&other)).then_some(Named::Token);
    }
    let verification = ["cvv", "cvc", "securitycode", "cardverificationvalue"];
    if verification.iter().any(|word| {
        whole == word.as_bytes()
            || joined == word.as_bytes()
            || joined.ends_with(word.as_bytes()) && (word.len() > 3 || is_last(&["cvv", "cvc", "cvv2", "cvc2"]))
    }) {
        return Some(Named::Verification);
    }
    None
}

/// The last word of a name: after a separator, or from the last capital that follows a small letter.
fn last_word(name: &[u8]) -> &[u8] {
    let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let name = &name[..name.len() - digits];
    let from = (1..name.len())
        .rev()
        .find(|i| !name[i - 1].is_ascii_alphanumeric() || (name[*i].is_ascii_uppercase() && name[i - 1].is_ascii_lowercase()))
        .unwrap_or(0);
    &name[from..]
}

fn kind_of(named: Named, name: &[u8], value: &str) -> Kind {
    const AWS_SECRET_BYTES: usize = 40;
    let hint = Hint::default();
    let is_aws = value.len() == AWS_SECRET_BYTES
        && has_context(name, name.len(), hint, &["aws", "secret_access", "secretaccess", "secret access"]);
    match named {
        Named::Password => Kind::Password,
        _ if is_aws => Kind::AwsSecretKey,
        _ => Kind::Secret,
    }
}

/// Whether a value is one, and no word of a sentence, no expression and no placeholder.
fn accepts(named: Named, value: &str, quoted: bool, environment: bool) -> bool {
    let bytes = value.as_bytes();
    if is_placeholder(value) || bytes.len() > QUOTED_BYTES_MAX || bytes.contains(&b'\n') && named != Named::Secret {
        return false;
    }
    let judged = &bytes[..bytes.len().min(JUDGED_BYTES)];
    let digit = judged.iter().any(u8::is_ascii_digit);
    let letter = judged.iter().any(u8::is_ascii_alphabetic);
    let symbol = judged.iter().any(|b| is_symbol(*b));
    let spaces = judged.iter().filter(|b| **b == b' ').count();
    let code = !quoted && (judged.contains(&b'(') || judged.contains(&b'[') || (judged.contains(&b'.') && !digit));
    if code {
        return false;
    }
    match named {
        Named::Password if quoted => {
            let describes = spaces >= 2 && {
                let lower = value.to_lowercase();
                ["password", "user", "enter", "your", "the ", "must", "passphrase"].iter().any(|word| lower.contains(word))
            };
            // five spaces and no digit or sign are a sentence, and no passphrase
            let sentence = spaces >= 5 && !digit && !symbol;
            bytes.len() >= 4 && spaces <= 12 && !describes && !sentence
        }
        Named::Password => bytes.len() >= 4 && (environment || (bytes.len() >= 5 && (digit || symbol))),
        Named::Secret | Named::Token => {
            let len_min = if named == Named::Secret { 8 } else { 12 };
            let varied = distinct(judged) >= 6;
            let mixed = digit && letter || (named == Named::Secret && quoted && (symbol || letter && bytes.len() >= 16));
            bytes.len() >= len_min && spaces == 0 && varied && mixed
        }
        Named::Verification => false,
    }
}

fn is_placeholder(value: &str) -> bool {
    const STARTS: &[&str] = &[
        "$",
        "{",
        "<",
        "&lt;",
        "%",
        "[",
        "process.env",
        "os.environ",
        "os.getenv",
        "getenv",
        "env.",
        "config.",
        "self.",
        "your",
        "my_",
        "xxx",
        "***",
        "...",
        "…",
        "•••",
        "insert",
        "replace",
    ];
    const WORDS: &[&str] = &[
        "string",
        "str",
        "text",
        "password",
        "passwd",
        "required",
        "optional",
        "hidden",
        "null",
        "none",
        "true",
        "false",
        "number",
        "integer",
        "object",
        "secret",
        "token",
        "redacted",
        "masked",
        "removed",
        "example",
        "value",
        "undefined",
        "bytes",
        "varchar",
        "char",
        "any",
        "input",
        "boolean",
        "array",
        "default",
        "type",
        "auto",
        "unknown",
        "n/a",
        "yes",
        "no",
        "[redacted]",
        "nil",
        "empty",
        "bearer",
        "basic",
        "apikey",
        "api_key",
        "reset",
        "authentication",
        "plaintext",
        "protected",
    ];
    let head = head(value.trim());
    let lower = head.to_ascii_lowercase();
    let first = lower.bytes().next();
    lower.is_empty()
        || STARTS.iter().any(|start| lower.starts_with(start))
        || WORDS.contains(&lower.as_str())
        || lower.bytes().all(|b| Some(b) == first)
}

/// The beginning of a value, enough to judge it by.
fn head(value: &str) -> &str {
    let mut end = value.len().min(JUDGED_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

fn distinct(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0_u128, |seen, b| seen | 1 << (b & 0x7F)).count_ones()
}

fn is_symbol(byte: u8) -> bool {
    matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'+' | b'?' | b'~' | b'_')
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
