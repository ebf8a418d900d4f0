//! Texts as others spell them: an address escapes what it has no letters for, and so does JSON inside of a text. Whoever is named in one of
//! them is named.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// How deep texts lie in each other: JSON in an address in JSON.
const DEPTH_MAX: usize = 4;

/// What everything escaped has in it.
const ESCAPES: [char; 3] = ['\\', '%', '+'];

/// Whether something is true of what a text says when what is escaped in it is read, one layer after the other. A layer is read only where the
/// one before said nothing, and where it says something else: most texts have nothing to read, and are long.
pub(crate) fn any_decoded(text: &str, mut is_it: impl FnMut(&str) -> bool) -> bool {
    let (mut layer, mut with_spaces) = (Cow::Borrowed(text), None);
    for _ in 0..DEPTH_MAX {
        if !layer.contains(ESCAPES) {
            return false;
        }
        let plain = unescaped(&layer);
        let had_escapes = plain.is_some();
        if let Some(plain) = plain {
            if is_it(&plain) {
                return true;
            }
            layer = Cow::Owned(plain);
        }
        // Forms and queries have a space as a plus, also where nothing else is escaped.
        let spaced = spaced(&layer);
        if spaced != with_spaces && spaced.as_deref().is_some_and(&mut is_it) {
            return true;
        }
        with_spaces = spaced;
        match of_address(&layer) {
            Some(address) if is_it(&address) => return true,
            Some(address) => layer = Cow::Owned(address),
            None if had_escapes => {}
            None => return false,
        }
    }
    false
}

/// With the letters that an address escapes; none where it escapes none.
fn of_address(text: &str) -> Option<String> {
    match percent_decode_str(text).decode_utf8_lossy() {
        Cow::Owned(address) => Some(address),
        Cow::Borrowed(_) => None,
    }
}

/// With spaces where a query has a plus.
fn spaced(text: &str) -> Option<String> {
    text.contains('+').then(|| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// With the characters that JSON's escapes stand for; none where there is none of them.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return None;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let (letter, length) = match escape.chars().next() {
            Some('u') => unicode(escape).map_or((Some('\\'), 0), |(letter, length)| (Some(letter), length)),
            Some('n' | 'r' | 't' | 'b' | 'f') => (Some(' '), 1),
            Some(letter @ ('"' | '\\' | '/')) => (Some(letter), 1),
            _ => (Some('\\'), 0),
        };
        plain.extend(letter);
        rest = escape.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    (plain != text).then_some(plain)
}

/// The character of `uXXXX`, or of two of them that are one, and how many bytes it takes.
fn unicode(escape: &str) -> Option<(char, usize)> {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix('u')?.get(..4)?, 16).ok();
    let first = unit(escape)?;
    if let Some(letter) = char::from_u32(u32::from(first)) {
        return Some((letter, 5));
    }
    let second = unit(escape.get(5..)?.strip_prefix('\\')?)?;
    let letter = char::decode_utf16([first, second]).next()?.ok()?;
    Some((letter, 11))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        assert!(!any_decoded(text, |text| {
            all.push(text.to_owned());
            false
        }));
        all
    }

    #[test]
    fn no_layer_is_read_without_need() {
        for plain in ["", "Jo Doe, jo@example.org", "100 %", r"C:\dir\x", r"\u12", "%zz"] {
            assert_eq!(decoded(plain), [""; 0], "{plain}");
        }
        let text = r"jo\u0040example.org%2Fx+%252541";
        let all = decoded(text);
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "no two are equal: {all:?}");
        for (nth, wanted) in all.iter().enumerate() {
            let mut looked = 0;
            assert!(any_decoded(text, |text| {
                looked += 1;
                text == wanted
            }));
            assert_eq!(looked, nth + 1, "what lies behind is not read");
        }
    }

    #[test]
    fn a_text_is_read_as_it_was_meant() {
        for (text, meant) in [
            ("https://x.example/u/jo%40example.org", "https://x.example/u/jo@example.org"),
            ("q=J%C3%B6rg+Doe", "q=J\u{f6}rg Doe"),
            ("name=Jo+Doe", "name=Jo Doe"),
            (r#"{\"user\":\"J\u00f6rg\"}"#, "{\"user\":\"J\u{f6}rg\"}"),
            (r"a \ud83d\ude00 b", "a \u{1f600} b"),
            (r#"\\\"jo\\\""#, "\"jo\""),
            ("%252Fuser-4711", "/user-4711"),
            (r"jo\u0040example.org%2Fx", "jo@example.org/x"),
        ] {
            let all = decoded(text);
            assert!(all.iter().any(|text| text == meant), "{text}: {all:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_grow(text in any::<String>(), escapes in "([%+\\\\u0-9a-fD]|\u{f6}){0,40}") {
            for text in [text, escapes] {
                // A byte that is no text becomes a mark of three.
                prop_assert!(decoded(&text).iter().all(|decoded| decoded.len() <= text.len() * 3));
            }
        }
    }
}
