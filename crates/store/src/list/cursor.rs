//! Where a page ended.

use crate::error::QueryError;

/// A place in a list that is sorted by time, newest first: the row behind it is the first one that is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    /// Nanoseconds since 1970.
    pub(super) time_ns: i64,
    /// Tells rows of one time apart.
    pub(super) seq: i64,
}

impl Cursor {
    /// Before the first row.
    pub(super) const START: Self = Self { time_ns: i64::MAX, seq: i64::MAX };

    /// The place that a cursor names; the start where there is none.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, QueryError> {
        let Some(text) = text else { return Ok(Self::START) };
        let parts = text.split_once('.').and_then(|(time, seq)| Some((number(time)?, number(seq)?)));
        parts.map(|(time_ns, seq)| Self { time_ns, seq }).ok_or(QueryError::Cursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}.{:x}", self.time_ns, self.seq)
    }
}

fn number(text: &str) -> Option<i64> {
    u64::from_str_radix(text, 16).ok()?.try_into().ok()
}

/// The place of a list that is counted.
pub(super) fn offset(text: Option<&str>) -> Result<usize, QueryError> {
    text.map_or(Ok(0), |text| text.strip_prefix('o').and_then(|text| text.parse().ok()).ok_or(QueryError::Cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        for cursor in [Cursor::START, Cursor { time_ns: 0, seq: 0 }, Cursor { time_ns: 1_763_683_200_123_456_789, seq: 17 }] {
            assert_eq!(Cursor::parse(Some(&cursor.to_string())).unwrap(), cursor);
        }
        assert_eq!(Cursor::parse(None).unwrap(), Cursor::START);
        for text in ["", ".", "1", "1.", "x.1", "1.-1", "ffffffffffffffffff.1", "8000000000000000.1", "1.1.1"] {
            assert!(matches!(Cursor::parse(Some(text)), Err(QueryError::Cursor)), "{text}");
        }
        assert_eq!((offset(None).unwrap(), offset(Some("o17")).unwrap()), (0, 17));
        assert!(offset(Some("17")).is_err());
    }
}
