//! SQLite's own functions on texts whose time grows with the product of two lengths, in linear time: the clock of a
//! query is looked at between two steps of SQLite's machine, and a call of a function is one step.

use std::borrow::Cow;
use std::collections::HashSet;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};

/// Longest text that `replace` makes.
const REPLACED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Puts them in the place of SQLite's. They differ in that bytes are read as text.
pub(crate) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function(c"instr", 2, flags, |context| {
        let (Some(text), Some(part)) = (text(context, 0), text(context, 1)) else { return Ok(None) };
        let place = text.find(&*part).map_or(0, |at| text[..at].chars().count() + 1);
        Ok(Some(crate::row::integer(place as u64)))
    })?;
    connection.create_scalar_function(c"replace", 3, flags, |context| {
        let (Some(text), Some(from), Some(to)) = (text(context, 0), text(context, 1), text(context, 2)) else {
            return Ok(None);
        };
        if from.is_empty() {
            return Ok(Some(text.into_owned()));
        }
        if text.matches(&*from).count().saturating_mul(to.len()) > REPLACED_BYTES_MAX {
            return Err(Error::UserFunctionError("replace would make a text that is too big".into()));
        }
        Ok(Some(text.replace(&*from, &to)))
    })?;
    trimming(connection, c"trim", flags, |text, set| text.trim_matches(|c| set.contains(&c)))?;
    trimming(connection, c"ltrim", flags, |text, set| text.trim_start_matches(|c| set.contains(&c)))?;
    trimming(connection, c"rtrim", flags, |text, set| text.trim_end_matches(|c| set.contains(&c)))
}

fn trimming(
    connection: &Connection,
    name: &std::ffi::CStr,
    flags: FunctionFlags,
    trim: impl for<'t> Fn(&'t str, &HashSet<char>) -> &'t str + Send + 'static,
) -> Result<()> {
    connection.create_scalar_function(name, 2, flags, move |context| {
        let (Some(text), Some(set)) = (text(context, 0), text(context, 1)) else { return Ok(None) };
        Ok(Some(trim(&text, &set.chars().collect()).to_owned()))
    })
}

/// An argument as text. Nothing for NULL.
fn text<'c>(context: &'c Context<'_>, index: usize) -> Option<Cow<'c, str>> {
    match context.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string())),
        ValueRef::Real(number) => Some(Cow::Owned(format!("{number:?}"))),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every answer is that of SQLite's own function.
    #[test]
    fn they_answer_as_sqlite_does() {
        let (own, ours) = (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
        register(&ours).unwrap();
        for call in [
            "instr('häuser', 'user')",
            "instr('abc', 'x')",
            "instr('abc', '')",
            "instr(NULL, 'x')",
            "instr(1234, 3)",
            "instr(1.0, '.')",
            "replace('aXbX', 'X', 'ää')",
            "replace('abc', '', 'x')",
            "replace('abc', 'b', NULL)",
            "replace(121, 1, 3)",
            "trim('xxaxbyx', 'xy')",
            "ltrim('ääb', 'ä')",
            "rtrim('abbb', 'b')",
            "trim('abc', '')",
        ] {
            let answer = |connection: &Connection| -> Option<String> {
                connection.query_row(&format!("SELECT CAST({call} AS TEXT)"), [], |row| row.get(0)).unwrap()
            };
            assert_eq!(answer(&own), answer(&ours), "{call}");
        }
        assert!(ours.query_row("SELECT replace(hex(zeroblob(9999)), '0', hex(zeroblob(9999)))", [], |_| Ok(())).is_err());
    }
}
