//! How much of an event may be attributes: what nobody reads as content must not become the bulk of the record.

use std::collections::BTreeMap;

use event::{Key, Value, attr};

use crate::{Raw, RawEvent};

/// Longest text of one attribute or unmapped value, in bytes: far beyond a stack trace. Longer is content, which has
/// pieces of its own.
pub(crate) const VALUE_BYTES_MAX: usize = 256 * 1024;

/// Most that all attributes, unmapped values and names of one event may take, in bytes as escaped JSON: as such they
/// are stored, and a control character, one byte as it comes, takes six there.
pub(crate) const FIELDS_BYTES_MAX: usize = 1024 * 1024;

/// Values up to this length, in bytes as escaped JSON, go before longer ones: one large value must not push out the
/// many small ones that say what happened.
const SMALL_BYTES_MAX: usize = 512;

/// Longest name or identifier, in bytes as escaped JSON: 4 KiB of any characters fit.
const NAME_BYTES_MAX: usize = 32 * 1024;

/// What a control character takes in JSON (`\u0001`).
const ESCAPED_BYTES: usize = 6;

/// Quotes, colon and comma of an entry.
const ENTRY_BYTES: usize = 4;

/// Cuts names, attributes and unmapped values down to the limits. What is lost is told in [`attr::CONTENT_BYTES_CUT`]
/// and [`attr::ITEMS_DROPPED`]. Contents have limits of their own.
pub(crate) fn bound(event: &mut RawEvent) {
    let mut room = Room { left: FIELDS_BYTES_MAX, bytes_cut: 0, items_dropped: 0 };
    room.text(&mut event.name, NAME_BYTES_MAX);
    let identity = &mut event.identity;
    let principals = [&mut identity.user, &mut identity.application, &mut identity.agent];
    let names = principals.into_iter().flatten().flat_map(|principal| {
        [Some(&mut principal.id), principal.name.as_mut(), principal.version.as_mut()].into_iter().flatten()
    });
    for text in event.session.iter_mut().chain(event.turn.iter_mut()).chain(names) {
        room.text(text, NAME_BYTES_MAX);
    }
    for small in [true, false] {
        event.attributes.retain(|key, value| is_small(key.as_str(), value) != small || room.entry(key.as_str(), value));
        event.unmapped.retain(|key, value| is_small(key.expose(), value) != small || room.entry(key.expose(), value));
    }
    add(&mut event.attributes, attr::CONTENT_BYTES_CUT, room.bytes_cut);
    add(&mut event.attributes, attr::ITEMS_DROPPED, room.items_dropped);
}

struct Room {
    left: usize,
    bytes_cut: usize,
    items_dropped: usize,
}

impl Room {
    /// Takes what an entry needs, and cuts its value to what is left. False: not even its key fits.
    fn entry(&mut self, key: &str, value: &mut Value<Raw>) -> bool {
        let fits = key.len() <= VALUE_BYTES_MAX && self.take(escaped(key) + ENTRY_BYTES);
        let fits = fits && self.value(value);
        self.items_dropped += usize::from(!fits);
        fits
    }

    fn value(&mut self, value: &mut Value<Raw>) -> bool {
        match value {
            Value::Bool(_) | Value::Int(_) | Value::Double(_) => self.take(scalar_bytes(value)),
            Value::Text(text) => {
                self.text(text, FIELDS_BYTES_MAX);
                true
            }
            Value::List(items) => {
                let fits = self.take(ENTRY_BYTES);
                items.retain_mut(|item| {
                    // The comma, or an empty text would cost nothing.
                    let fits = self.take(ENTRY_BYTES) && self.value(item);
                    self.items_dropped += usize::from(!fits);
                    fits
                });
                fits
            }
            Value::Map(fields) => {
                let fits = self.take(ENTRY_BYTES);
                fields.retain(|key, value| self.entry(key.expose(), value));
                fits
            }
        }
    }

    fn text(&mut self, text: &mut Raw, escaped_max: usize) {
        let (keep, taken) = prefix(text.expose(), self.left.min(escaped_max));
        self.left -= taken;
        if keep < text.expose().len() {
            self.bytes_cut += text.expose().len() - keep;
            *text = Raw::from(&text.expose()[..keep]);
        }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left;
        self.left -= if fits { bytes } else { 0 };
        fits
    }
}

/// How many bytes of a text can stay, ending at a character, and what these take escaped.
fn prefix(text: &str, escaped_max: usize) -> (usize, usize) {
    let text = &text[..text.floor_char_boundary(VALUE_BYTES_MAX)];
    let mut taken = 0;
    for (position, character) in text.char_indices() {
        let bytes = escaped_char(character);
        if taken + bytes > escaped_max {
            return (position, taken);
        }
        taken += bytes;
    }
    (text.len(), taken)
}

fn escaped(text: &str) -> usize {
    text.chars().map(escaped_char).sum()
}

pub(crate) const fn escaped_char(character: char) -> usize {
    match character {
        '"' | '\\' => 2,
        '\0'..='\x1f' => ESCAPED_BYTES,
        other => other.len_utf8(),
    }
}

/// Longest forms: `-9223372036854775808` and `-1.7976931348623157e308`.
const fn scalar_bytes(value: &Value<Raw>) -> usize {
    match value {
        Value::Bool(_) => 5,
        Value::Int(_) => 20,
        _ => 24,
    }
}

fn is_small(key: &str, value: &Value<Raw>) -> bool {
    let text_bytes = match value {
        Value::Text(text) => text.expose().len(),
        Value::List(_) | Value::Map(_) => return false,
        Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    };
    // The lengths first: most long texts need not be looked at.
    key.len() + text_bytes <= SMALL_BYTES_MAX
        && escaped(key) + value.as_text().map_or(0, |text| escaped(text.expose())) <= SMALL_BYTES_MAX
}

pub(crate) fn add(attributes: &mut BTreeMap<Key, Value<Raw>>, key: Key, count: usize) {
    if count > 0 {
        let before = attributes.get(&key).and_then(Value::as_int).unwrap_or(0);
        attributes.insert(key, Value::Int(before.saturating_add(i64::try_from(count).unwrap_or(i64::MAX))));
    }
}

#[cfg(test)]
mod tests {
    use event::{Event, Kind, Principal, Source, SourcePath};

    use super::*;

    fn event() -> RawEvent {
        Event::new(Kind::ModelCall, "chat", Source::new(SourcePath::Api, Key::of("test")))
    }

    fn bytes(value: &Value<Raw>) -> usize {
        match value {
            Value::Text(text) => serde_json::to_string(text.expose()).unwrap().len(),
            Value::List(items) => 1 + items.iter().map(|item| bytes(item) + 1).sum::<usize>(),
            Value::Map(fields) => {
                1 + fields.iter().map(|(key, value)| bytes(&Value::Text(key.clone())) + bytes(value) + 2).sum::<usize>()
            }
            Value::Bool(value) => value.to_string().len(),
            Value::Int(value) => value.to_string().len(),
            Value::Double(value) => value.to_string().len(),
        }
    }

    fn all_bytes(event: &RawEvent) -> usize {
        let attributes = event.attributes.iter().map(|(key, value)| key.as_str().len() + 4 + bytes(value));
        attributes.sum::<usize>() + bytes(&Value::Map(event.unmapped.clone()))
    }

    fn count(event: &RawEvent, key: Key) -> i64 {
        event.attribute(key.as_str()).and_then(Value::as_int).unwrap_or(0)
    }

    #[test]
    fn what_is_usual_stays_as_it_is() {
        let mut usual = event();
        usual.set(attr::GEN_AI_REQUEST_MODEL, "m");
        usual.unmapped.insert("note".into(), Value::Text("é\n".repeat(1000).into()));
        let before = usual.clone();
        bound(&mut usual);
        assert_eq!(usual, before);
    }

    #[test]
    fn no_value_swells_the_record_and_small_ones_stay() {
        let control = || Value::Text(Raw::from("\u{1}".repeat(8 << 20)));
        let many = || (0..200_000).map(Value::Int).collect::<Vec<_>>();
        let shapes: Vec<Value<Raw>> = vec![
            control(),
            Value::List(vec![control(), control()]),
            Value::Map(BTreeMap::from([("k".into(), control()), ("\u{1}".repeat(300_000).into(), Value::Int(1))])),
            Value::List(many()),
            Value::List(vec![Value::Text(Raw::default()); 600_000]),
            Value::Map((0..200_000).map(|n| (Raw::from(format!("k{n}")), Value::Bool(true))).collect()),
        ];
        for shape in shapes {
            let mut event = event();
            event.identity.user = Some(Principal::asserted("u"));
            event.set(attr::URL_FULL, "https://h/");
            event.attributes.insert(attr::GEN_AI_REQUEST_MODEL, shape.clone());
            event.unmapped.insert("a".into(), shape);
            event.unmapped.insert("z".into(), Value::Int(7));
            bound(&mut event);
            assert!(all_bytes(&event) <= FIELDS_BYTES_MAX + 200, "{}", all_bytes(&event));
            assert!(event.attribute(attr::URL_FULL.as_str()).is_some() && event.unmapped.contains_key(&"z".into()));
            assert!(count(&event, attr::CONTENT_BYTES_CUT) + count(&event, attr::ITEMS_DROPPED) > 0);
        }
    }

    #[test]
    fn a_long_value_is_cut_at_a_character_and_the_cut_is_counted() {
        let mut event = event();
        event.name = "\u{2}".repeat(8 << 20).into();
        event.unmapped.insert("long".into(), Value::Text(format!("a{}", "é".repeat(VALUE_BYTES_MAX)).into()));
        event.unmapped.insert("x".repeat(VALUE_BYTES_MAX + 1).into(), Value::Int(1));
        bound(&mut event);
        assert!(event.name.expose().len() * ESCAPED_BYTES <= NAME_BYTES_MAX);
        let kept = event.unmapped.get(&"long".into()).and_then(Value::as_text).map_or(0, |text| text.expose().len());
        let cut = (8 << 20) - event.name.expose().len() + 1 + 2 * VALUE_BYTES_MAX - kept;
        assert_eq!(count(&event, attr::CONTENT_BYTES_CUT), i64::try_from(cut).unwrap());
        assert_eq!(count(&event, attr::ITEMS_DROPPED), 1);
    }
}
