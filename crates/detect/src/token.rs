//! What the sanitiser leaves behind: `<TYPE:...>`.

use std::sync::LazyLock;

use regex::Regex;

/// A replaced value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// Its type: `EMAIL`, `IBAN` ...
    pub(crate) kind: &'a str,
    /// The whole token: equal values have equal tokens.
    pub(crate) text: &'a str,
    /// Where it begins, in bytes.
    pub(crate) start: usize,
}

static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"<([A-Z][A-Z0-9_]{1,39})(?::[^<>\s]{1,200})>").ok());

/// The tokens of a text, in its order.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    TOKEN.iter().flat_map(move |pattern| pattern.captures_iter(text)).filter_map(|found| {
        let (whole, kind) = (found.get(0)?, found.get(1)?);
        Some(Token { kind: kind.as_str(), text: whole.as_str(), start: whole.start() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_and_markup_is_not() {
        let text = "mail <EMAIL:a1b2@example.com> or <IBAN:GB-9f> not <B> nor <important: now>";
        let kinds: Vec<&str> = tokens(text).map(|token| token.kind).collect();
        assert_eq!(kinds, ["EMAIL", "IBAN"]);
    }
}
