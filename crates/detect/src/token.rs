//! What the sanitiser leaves behind: keyed tokens, and what stands for values that it dropped.

use journal::content;

/// How what stands for a dropped value ends (`sanitize::TokenKey`).
const DROPPED_END: &str = ":dropped>";
/// Longest of what stands in it before that: `<`, a class, `:`, a type.
const TYPES_BYTES_MAX: usize = 41;

/// The tokens of a text, in its order.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = content::Token<'_>> {
    content::tokens(text)
}

/// Whether a token is of a secret. Its id is that of the value, whatever type the value was taken for.
pub(crate) fn is_secret(token: &content::Token<'_>) -> bool {
    matches!(token.class(), "SECRET" | "CREDENTIAL")
}

/// The classes of all values that were replaced in a text: `EMAIL`, `SECRET` ...
pub(crate) fn classes(text: &str) -> impl Iterator<Item = &str> {
    tokens(text).map(|token| token.class()).chain(dropped(text))
}

/// Those of values of which nothing is left.
fn dropped(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(DROPPED_END).filter_map(|(end, _)| {
        let before = &text[..end];
        let types = &before[before.rfind('<')? + 1..];
        let is_type = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let fits = types.len() < TYPES_BYTES_MAX && types.split(':').all(is_type);
        fits.then(|| types.split_once(':').map_or(types, |(class, _)| class))
    })
}

#[cfg(test)]
mod tests {
    use sanitize::{Sanitizer, TokenKey};

    use super::*;

    #[test]
    fn what_was_replaced_is_found_and_markup_is_not() {
        let sanitizer = Sanitizer::new(TokenKey::new([7; 32], "v26"));
        let text = sanitizer.text("password = \"hunter2-Xk9!pQ\" of ann@example.com").text;
        let text =
            format!("{} <CVV:dropped> <SECRET:OPENAI_KEY:dropped> <B> <important: now> <x:dropped> <A\n:dropped>", text.as_str());
        assert_eq!(classes(&text).collect::<Vec<_>>(), ["SECRET", "EMAIL", "CVV", "SECRET"], "{text}");
        assert_eq!(tokens(&text).filter(is_secret).count(), 1);
    }
}
