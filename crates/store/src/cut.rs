//! What a column may hold. The journal keeps everything; a row is for queries, and one that is too long for SQLite's
//! limits would make every query over it fail.

use std::borrow::Cow;
use std::collections::BTreeMap;

use event::Value;
use sanitize::Clean;

/// Longest text of a typed column. Ids, names and URLs have some hundreds of bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Longest JSON of `attributes` and of `unmapped`: with every other column it stays far below the longest row that a
/// query may sort (`sql::VALUE_BYTES_MAX`).
pub(crate) const MAP_BYTES_MAX: usize = 1024 * 1024;

/// Longest text that a view shows of contents, and of a list of them: several stand in a row.
pub(crate) const CONTENT_BYTES_MAX: usize = 1024 * 1024;

/// Longest name in a row of a list, in characters: whoever sends events chooses names, and a page of long ones is megabytes.
pub(crate) const SHOWN_CHARS_MAX: usize = 256;

/// Longest id or name there that leads somewhere, in characters: one that is cut finds nothing, and whoever chose it would be in no filter.
/// Longer ones name nothing that people made.
pub(crate) const NAMED_CHARS_MAX: usize = 1_024;

/// Kept free in a map for the braces and for the count of what was cut.
const MAP_SPARE_BYTES: usize = 128;

/// Where the count of bytes that the columns do not hold stands among the attributes.
pub(crate) const BYTES_CUT: &str = "watchkeeper.columns.bytes_cut";

/// As much of a text as a column holds.
pub(crate) fn text(text: &str) -> &str {
    head(text, TEXT_BYTES_MAX)
}

/// At most so many bytes of a text, up to the end of a character.
pub(crate) fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The same for a text that may have been made.
pub(crate) fn cow(long: Cow<'_, str>) -> Cow<'_, str> {
    match long {
        Cow::Borrowed(long) => Cow::Borrowed(text(long)),
        Cow::Owned(mut long) => {
            long.truncate(long.floor_char_boundary(TEXT_BYTES_MAX));
            Cow::Owned(long)
        }
    }
}

/// As much of a name as lists show.
pub(crate) fn shown(name: &str) -> &str {
    chars(name, SHOWN_CHARS_MAX)
}

/// At most so many characters of a text.
pub(crate) fn chars(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// What stands for so many bytes that a column does not hold.
pub(crate) fn marker(bytes: usize) -> String {
    format!("[cut: {bytes} bytes, see the journal]")
}

/// The JSON of a map as a column holds it, given its whole JSON, and how many bytes it does not hold. The smallest
/// entries stand whole; a marker stands for the value of the others, or nothing where even their names are too many.
pub(crate) fn map<'j, K: Ord + serde::Serialize>(map: &BTreeMap<K, Value<Clean>>, whole: &'j str) -> (Cow<'j, str>, usize) {
    if whole.len() <= MAP_BYTES_MAX {
        return (Cow::Borrowed(whole), 0);
    }
    let mut entries: Vec<(usize, String, String)> =
        map.iter().enumerate().map(|(order, (key, value))| (order, json(key), json(value))).collect();
    entries.sort_by_key(|(_, key, value)| key.len() + value.len());
    let marked = |key: &str, bytes: usize| key.len() + marker(bytes).len() + 4;
    let mut reserve: usize = entries.iter().map(|(_, key, value)| marked(key, value.len())).sum();
    let mut left = MAP_BYTES_MAX - MAP_SPARE_BYTES;
    let mut cut = 0;
    entries.retain_mut(|(_, key, value)| {
        let (whole, short) = (key.len() + value.len() + 2, marked(key, value.len()));
        reserve -= short;
        // Room for the names of what follows, but never so much that nothing stands whole.
        if whole + reserve.min(MAP_BYTES_MAX / 4) <= left {
            left -= whole;
            return true;
        }
        cut += value.len();
        if short <= left {
            left -= short;
            *value = format!("\"{}\"", marker(value.len()));
            return true;
        }
        cut += key.len();
        false
    });
    entries.sort_by_key(|(order, ..)| *order);
    let entries: Vec<String> = entries.into_iter().map(|(_, key, value)| format!("{key}:{value}")).collect();
    (Cow::Owned(format!("{{{}}}", entries.join(","))), cut)
}

/// The attributes with the count of bytes that the event's columns do not hold.
pub(crate) fn with_count(attributes: Cow<'_, str>, bytes: usize) -> Cow<'_, str> {
    match attributes.strip_suffix('}') {
        Some(open) if bytes > 0 => {
            let comma = if open.len() > 1 { "," } else { "" };
            Cow::Owned(format!("{open}{comma}\"{BYTES_CUT}\":{bytes}}}"))
        }
        _ => attributes,
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(entries: &[(String, usize)]) -> (String, usize) {
        let entries = entries.iter().map(|(key, bytes)| (key.clone(), Value::Text(Clean::recorded(&"x".repeat(*bytes)))));
        let entries: BTreeMap<String, Value<Clean>> = entries.collect();
        let whole = serde_json::to_string(&entries).unwrap();
        let (text, bytes) = map(&entries, &whole);
        (text.into_owned(), bytes)
    }

    #[test]
    fn maps_are_json_within_the_bound_and_keep_their_small_entries() {
        let named = |name: &str, bytes| (name.to_owned(), bytes);
        let many: Vec<_> = (0..40_000).map(|n| (format!("a name that is not so short {n:09}"), 3)).collect();
        for (entries, small, any_cut) in [
            (vec![named("a", 3), named("b", 4)], 2, false),
            (vec![named("a", 48 * 1024 * 1024), named("b", 4), named("c", 900_000)], 2, true),
            (vec![named("a", 800_000), named("b", 800_000)], 1, true),
            (many, 10_000, true),
        ] {
            let (text, bytes) = cut(&entries);
            assert!(text.len() <= MAP_BYTES_MAX && (bytes > 0) == any_cut);
            let counted = with_count(Cow::Owned(text), bytes);
            assert!(counted.len() <= MAP_BYTES_MAX);
            let read: BTreeMap<String, serde_json::Value> = serde_json::from_str(&counted).unwrap();
            let whole = read.values().filter(|value| value.as_str().is_some_and(|text| text.starts_with('x'))).count();
            assert!(whole >= small, "{whole}");
            assert_eq!(read.contains_key(BYTES_CUT), any_cut);
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "ä".repeat(TEXT_BYTES_MAX);
        assert_eq!(text(&long).len(), TEXT_BYTES_MAX);
        assert_eq!(text(&format!("x{long}")).len(), TEXT_BYTES_MAX - 1);
        assert_eq!(cow(Cow::Owned(long)).len(), TEXT_BYTES_MAX);
        assert_eq!(text("short"), "short");
    }
}
