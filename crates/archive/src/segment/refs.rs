//! Content ids in the JSON of an event, as numbers of rows.
//!
//! An id is 32 bytes that nothing compresses, and follows from the salt and text in the contents object. So the JSON in a
//! segment has `"content":{"id":"#17"` where the event has the id of the content in row 17. It stays JSON, and is the
//! join of the two objects.

use std::collections::HashMap;

use event::ContentId;
use memchr::memmem;

/// What stands before an id of a content in the JSON of an event.
const BEFORE_ID: &str = "\"content\":{\"id\":\"";

/// Characters of an id.
const HEX_CHARS: usize = 64;

/// Digits of the largest row number.
const DIGITS_MAX: usize = 10;

/// The JSON with row numbers for ids; `None` when it could not be expanded into the same bytes again, as when a source
/// has put `#17` there itself.
pub(crate) fn shorten(json: &str, rows: &HashMap<ContentId, u32>) -> Option<String> {
    let ids: HashMap<u32, ContentId> = rows.iter().map(|(id, row)| (*row, *id)).collect();
    let mut short = String::with_capacity(json.len());
    let mut from = 0;
    for at in memmem::find_iter(json.as_bytes(), BEFORE_ID) {
        let start = at + BEFORE_ID.len();
        let row = json.get(start..start + HEX_CHARS).and_then(|hex| hex.parse::<ContentId>().ok()).and_then(|id| rows.get(&id));
        if let (Some(row), true) = (row, start >= from) {
            short.push_str(&json[from..start]);
            short.push('#');
            short.push_str(&row.to_string());
            from = start + HEX_CHARS;
        }
    }
    short.push_str(&json[from..]);
    (expand(&short, |row| ids.get(&row).copied())? == json).then_some(short)
}

/// The JSON with its ids again; `None` when a row is named that there is none of.
pub(crate) fn expand(short: &str, id_of: impl Fn(u32) -> Option<ContentId>) -> Option<String> {
    let mut json = String::with_capacity(short.len() * 2);
    let mut from = 0;
    for at in memmem::find_iter(short.as_bytes(), BEFORE_ID) {
        let start = at + BEFORE_ID.len();
        let Some(rest) = short.get(start..).and_then(|rest| rest.strip_prefix('#')) else { continue };
        let digits = rest.bytes().take(DIGITS_MAX + 1).take_while(u8::is_ascii_digit).count();
        let Some(row) = rest[..digits].parse().ok().filter(|_| rest[digits..].starts_with('"')) else { continue };
        json.push_str(&short[from..start]);
        event::hex::push(id_of(row)?.as_bytes(), &mut json);
        from = start + 1 + digits;
    }
    json.push_str(&short[from..]);
    Some(json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(seed: u8) -> ContentId {
        ContentId::from_bytes([seed; 32]).unwrap()
    }

    #[test]
    fn ids_of_known_contents_become_rows_and_all_else_stays() {
        let rows = HashMap::from([(id(1), 17), (id(2), 0)]);
        let json = format!(
            r##"{{"pieces":[{{"content":{{"id":"{}","bytes":1}}}},{{"content":{{"id":"{}"}}}},{{"content":{{"id":"{}"}}}}],"x":"{}"}}"##,
            id(1),
            id(2),
            id(3),
            id(1)
        );
        let short = shorten(&json, &rows).unwrap();
        let expected = format!(
            r##"{{"pieces":[{{"content":{{"id":"#17","bytes":1}}}},{{"content":{{"id":"#0"}}}},{{"content":{{"id":"{}"}}}}],"x":"{}"}}"##,
            id(3),
            id(1)
        );
        assert_eq!(short, expected);
        assert_eq!(
            expand(&short, |row| [(0, id(2)), (17, id(1))].into_iter().find(|(n, _)| *n == row).map(|(_, id)| id)),
            Some(json)
        );
    }

    #[test]
    fn what_looks_like_a_row_already_is_left_as_it_is() {
        let rows = HashMap::from([(id(1), 17)]);
        assert_eq!(shorten(r##"{"content":{"id":"#17"}}"##, &rows), None);
        assert_eq!(shorten(r##"{"content":{"id":"#18"}}"##, &rows), None);
        let harmless = r##"{"content":{"id":"#"},"x":{"content":{"id":"#99999999999"}}}"##;
        assert_eq!(shorten(harmless, &rows).as_deref(), Some(harmless));
    }

    proptest! {
        #[test]
        fn whatever_is_shortened_expands_into_the_same(parts in proptest::collection::vec(
            prop_oneof![Just(BEFORE_ID.to_owned()), Just("#".to_owned()), "[0-9]{1,11}", Just("\"".to_owned()), (0u8..4).prop_map(|seed| id(seed + 1).to_string()), ".{0,4}"], 0..24)) {
            let json = parts.concat();
            let rows = HashMap::from([(id(1), 0), (id(2), 1), (id(3), 4_000_000_000)]);
            if let Some(short) = shorten(&json, &rows) {
                let back = expand(&short, |row| rows.iter().find(|(_, at)| **at == row).map(|(id, _)| *id));
                prop_assert_eq!(back, Some(json));
            }
        }
    }
}
