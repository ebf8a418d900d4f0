//! Whether a value under a name of a secret is one, and no word of a sentence, no expression and no placeholder.

use super::secret_name::Named;

/// Longest value in quotes.
pub(super) const QUOTED_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a value that decide whether it looks like a secret.
pub(super) const JUDGED_BYTES: usize = 256;

/// Whether a value is one, and no word of a sentence, no expression and no placeholder.
pub(super) fn accepts(named: Named, value: &str, quoted: bool, environment: bool) -> bool {
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

pub(super) fn is_placeholder(value: &str) -> bool {
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
pub(super) fn head(value: &str) -> &str {
    let mut end = value.len().min(JUDGED_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

/// Capitals, small letters, digits and signs, three sorts of them.
pub(super) fn is_mixed(value: &str) -> bool {
    let has = |class: fn(&u8) -> bool| usize::from(value.as_bytes().iter().any(class));
    let sorts = has(u8::is_ascii_uppercase) + has(u8::is_ascii_lowercase) + has(u8::is_ascii_digit) + has(|b| is_symbol(*b));
    value.len() >= 8 && sorts >= 3 && value.bytes().all(|b| b.is_ascii_graphic())
}

pub(super) fn distinct(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0_u128, |seen, b| seen | 1 << (b & 0x7F)).count_ones()
}

pub(super) fn is_symbol(byte: u8) -> bool {
    matches!(byte, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'+' | b'?' | b'~' | b'_')
}
