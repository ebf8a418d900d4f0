//! Texts as others spell them: an address escapes what it has no letters for, and so does JSON inside of a text. Whoever is named in one of
//! them is named.

use percent_encoding::percent_decode_str;

/// How deep texts lie in each other: JSON in an address in JSON.
const DEPTH_MAX: usize = 4;

/// What a text says when what is escaped in it is read, one layer after the other; nothing where nothing is.
pub(crate) fn decoded(text: &str) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    let mut layer = text.to_owned();
    for _ in 0..DEPTH_MAX {
        let plain = unescaped(&layer);
        let address = plain.contains('%').then(|| percent_decode_str(&plain).decode_utf8_lossy().into_owned());
        let next = address.filter(|address| *address != plain).unwrap_or_else(|| plain.clone());
        // Forms and queries have a space as a plus, also where nothing else is escaped.
        found.extend(spaced(&plain));
        if next != plain {
            found.push(plain);
        }
        if next == layer {
            break;
        }
        found.push(next.clone());
        layer = next;
    }
    found.into_iter()
}

/// With spaces where a query has a plus.
fn spaced(text: &str) -> Option<String> {
    text.contains('+').then(|| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// With the characters that JSON's escapes stand for. What is none stays.
fn unescaped(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
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
    plain
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
            let all: Vec<String> = decoded(text).collect();
            assert!(all.iter().any(|text| text == meant), "{text}: {all:?}");
        }
        for plain in ["", "jo@example.org", "100 %", r"C:\dir\x", r"\u12", "%zz"] {
            assert!(decoded(plain).all(|text| text == plain), "{plain}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_grow(text in any::<String>(), escapes in "([%+\\\\u0-9a-fD]|\u{f6}){0,40}") {
            for text in [text, escapes] {
                // A byte that is no text becomes a mark of three.
                prop_assert!(decoded(&text).all(|decoded| decoded.len() <= text.len() * 3));
            }
        }
    }
}
