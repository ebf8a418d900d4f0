//! Texts in a row: short ones as they are, long ones compressed.

use std::borrow::Cow;
use std::cell::RefCell;

use event::limits::CONTENT_BYTES_MAX;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, Result};

use crate::cut;

/// Texts from here on are compressed: below it, zstd's frame and the time cost more than they save.
const COMPRESS_BYTES_MIN: usize = 256;

/// zstd's level: 1 takes a third of the time of 3 and 15 % more room (`reference/storage.md`).
const COMPRESS_LEVEL: i32 = 1;

thread_local! {
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What a column holds for `text`: the text itself, or a zstd frame where that is at least a tenth smaller.
pub(crate) fn pack(text: &str) -> ToSqlOutput<'_> {
    compressed(text)
        .map_or(ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())), |frame| ToSqlOutput::Owned(Value::Blob(frame)))
}

fn compressed(text: &str) -> Option<Vec<u8>> {
    if text.len() < COMPRESS_BYTES_MIN {
        return None;
    }
    let frame = COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(COMPRESS_LEVEL).ok();
        }
        slot.as_mut()?.compress(text.as_bytes()).ok()
    })?;
    (frame.len() < text.len() - text.len() / 10).then_some(frame)
}

/// The text that a column holds.
pub(crate) fn unpack(value: ValueRef<'_>) -> Result<Option<Cow<'_, str>>> {
    let conversion =
        |error: Box<dyn std::error::Error + Send + Sync>| Error::FromSqlConversionFailure(0, value.data_type(), error);
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => Ok(Some(Cow::Borrowed(std::str::from_utf8(text)?))),
        ValueRef::Blob(frame) => {
            let bytes = DECOMPRESSOR
                .with_borrow_mut(|slot| {
                    let decompressor = match slot {
                        Some(decompressor) => decompressor,
                        None => slot.insert(zstd::bulk::Decompressor::new()?),
                    };
                    // The frame tells its size; a damaged one cannot ask for more than a content can have.
                    let bytes = zstd::bulk::Decompressor::upper_bound(frame).unwrap_or(CONTENT_BYTES_MAX);
                    decompressor.decompress(frame, bytes.min(CONTENT_BYTES_MAX))
                })
                .map_err(|error| conversion(error.into()))?;
            Ok(Some(Cow::Owned(String::from_utf8(bytes).map_err(|error| conversion(error.into()))?)))
        }
        ValueRef::Integer(_) | ValueRef::Real(_) => Err(conversion("a text is stored as text or as a zstd frame".into())),
    }
}

/// A time as ISO 8601 in UTC with microseconds. Always of the same length, so that texts sort as the times do.
pub(crate) fn iso(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| ns.to_string(), |time| format!("{time:.6}"))
}

/// A time as the store and its views have it: RFC 3339 in UTC, with microseconds, so that texts sort as the times do.
#[must_use]
pub fn iso_time(time: event::Timestamp) -> String {
    iso(crate::row::integer(time.unix_ns()))
}

/// The functions that the views call, for every connection that reads.
pub(crate) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    crate::linear::register(connection)?;
    connection.create_scalar_function(c"text_of", 1, flags, |context| Ok(unpack(context.get_raw(0))?.map(shown)))?;
    connection.create_scalar_function(c"text_part", 3, flags, |context| {
        let (start, count): (u32, u32) = (context.get(1)?, context.get(2)?);
        let (start, count) = (start as usize, (count as usize).min(cut::CONTENT_BYTES_MAX));
        let text = unpack(context.get_raw(0))?;
        Ok(text.map(|text| shown(Cow::Owned(text.chars().skip(start).take(count).collect()))))
    })?;
    connection.create_aggregate_function(c"texts_of", 1, flags, Joined)?;
    connection.create_scalar_function(c"has_part", 2, flags, |context| {
        let (name, part) = (context.get_raw(0).as_str().unwrap_or_default(), context.get_raw(1).as_str().unwrap_or_default());
        Ok(has_part(cut::shown(name), part))
    })?;
    connection.create_scalar_function(c"iso_time", 1, flags, |context| Ok(context.get::<Option<i64>>(0)?.map(iso)))?;
    // SQLite's own mathematics are an option of its build.
    connection.create_scalar_function(c"exp", 1, flags, |context| Ok(context.get::<Option<f64>>(0)?.map(f64::exp)))?;
    crosswalk(connection, c"technique_name", flags, |id| id.technique().name.clone())?;
    crosswalk(connection, c"owasp_llm", flags, |id| id.crosswalk().owasp_llm.join(", "))?;
    crosswalk(connection, c"owasp_agentic", flags, |id| id.crosswalk().owasp_agentic.join(", "))?;
    crosswalk(connection, c"nist", flags, |id| id.crosswalk().nist.join(", "))
}

/// Whether a text has a part, which is in lower case: of the text only the letters of ASCII are taken for the same in both cases, as the
/// index of parts has them.
fn has_part(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let Some((first, rest)) = part.split_first() else { return true };
    let last = text.len().saturating_sub(rest.len());
    (0..last).any(|at| text[at].to_ascii_lowercase() == *first && text[at + 1..at + part.len()].eq_ignore_ascii_case(rest))
}

/// A text as a view shows it: one that is too long ends with a marker, because a query could not hold a row of such.
fn shown(text: Cow<'_, str>) -> String {
    if text.len() <= cut::CONTENT_BYTES_MAX {
        return text.into_owned();
    }
    let head = cut::head(&text, cut::CONTENT_BYTES_MAX);
    format!("{head}{}", cut::marker(text.len() - head.len()))
}

/// Texts with line ends between them, in the order that the query asks for, as far as a view shows them.
struct Joined;

impl Aggregate<Option<String>, Option<String>> for Joined {
    fn init(&self, _: &mut Context<'_>) -> Result<Option<String>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, joined: &mut Option<String>) -> Result<()> {
        // What does not fit is not even decompressed: an event may have thousands of long contents.
        if joined.as_ref().is_some_and(|joined| joined.len() > cut::CONTENT_BYTES_MAX) {
            return Ok(());
        }
        let Some(text) = unpack(context.get_raw(0))? else { return Ok(()) };
        let Some(joined) = joined else {
            *joined = Some(shown(text));
            return Ok(());
        };
        let room = cut::CONTENT_BYTES_MAX - joined.len();
        joined.push('\n');
        let head = cut::head(&text, room);
        joined.push_str(head);
        if head.len() < text.len() {
            joined.push_str("[cut: this and what follows, see the journal]");
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, joined: Option<Option<String>>) -> Result<Option<String>> {
        Ok(joined.flatten())
    }
}

fn crosswalk(
    connection: &Connection,
    name: &std::ffi::CStr,
    flags: FunctionFlags,
    entry: impl Fn(event::TechniqueId) -> String + Send + 'static,
) -> Result<()> {
    connection.create_scalar_function(name, 1, flags, move |context| {
        let id = context.get::<Option<String>>(0)?;
        Ok(id.and_then(|id| id.parse().ok()).map(&entry).filter(|entry| !entry.is_empty()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(text: &str) {
        let packed = pack(text);
        let value = match &packed {
            ToSqlOutput::Borrowed(value) => *value,
            ToSqlOutput::Owned(value) => value.into(),
            _ => unreachable!(),
        };
        assert_eq!(unpack(value).unwrap().as_deref(), Some(text));
    }

    #[test]
    fn long_texts_are_compressed_and_damage_is_an_error() {
        let text = "the same words again and again, ".repeat(1000);
        round_trip(&text);
        let frame = compressed(&text).unwrap();
        assert!(frame.len() < text.len() / 50);
        assert!(unpack(ValueRef::Blob(&frame[..frame.len() - 3])).is_err());
        assert!(unpack(ValueRef::Blob(b"not a frame")).is_err());
        assert!(unpack(ValueRef::Integer(1)).is_err());
    }

    #[test]
    fn times_are_iso_and_of_one_length() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_763_683_200_123_456_789, "2025-11-21T00:00:00.123456Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775Z"),
        ] {
            assert_eq!(iso(ns), text);
        }
    }

    #[test]
    fn a_part_of_a_text_is_found_wherever_it_stands_and_in_any_case() {
        for (text, part, is_found) in [
            ("Chat-12AB", "chat", true),
            ("Chat-12AB", "2ab", true),
            ("Chat-12AB", "12abc", false),
            ("aab", "ab", true),
            ("", "a", false),
            ("a", "", true),
            ("größe-1", "öß", true),
            ("GRÖSSE", "ö", false),
        ] {
            assert_eq!(has_part(text, part), is_found, "{text} {part}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in ".{0,600}") {
            round_trip(&text);
        }
    }
}
