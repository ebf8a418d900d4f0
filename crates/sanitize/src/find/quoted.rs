//! Values in quotes, as code and JSON inside JSON write them: `"x"`, `\"x\"`, `\\\"x\\\"`, `"""x"""`, `rb'x'`.

/// Longest value in quotes.
pub(super) const BYTES_MAX: usize = 4 * 1024;
/// Most backslashes before a quote: JSON in strings of JSON, five deep.
pub(super) const BACKSLASHES_MAX: usize = 15;
/// Longest prefix of a string: `rb"..."` of Python.
const PREFIX_BYTES_MAX: usize = 2;

/// How a value is quoted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// Where the value begins.
    pub(super) start: usize,
    quote: u8,
    backslashes: usize,
    triple: bool,
}

/// The quote that opens at `at`, if one does: behind backslashes, or behind the letters that code writes before strings.
pub(super) fn opening(bytes: &[u8], at: usize) -> Option<Opening> {
    let rest = bytes.get(at..)?;
    let backslashes = rest.iter().take(BACKSLASHES_MAX).take_while(|b| **b == b'\\').count();
    let prefix = if backslashes == 0 {
        rest.iter()
            .take(PREFIX_BYTES_MAX)
            .take_while(|b| matches!(b, b'r' | b'R' | b'b' | b'B' | b'f' | b'F' | b'u' | b'U'))
            .count()
    } else {
        0
    };
    let mark = backslashes + prefix;
    let quote = *rest.get(mark)?;
    if !(quote == b'"' || quote == b'\'' || quote == b'`' && prefix == 0) {
        return None;
    }
    let triple = backslashes == 0 && rest.get(mark..mark + 3) == Some(&[quote; 3]);
    Some(Opening { start: at + mark + if triple { 3 } else { 1 }, quote, backslashes, triple })
}

impl Opening {
    /// A single quote that opens before `start`.
    pub(super) fn plain(start: usize, quote: u8) -> Self {
        Self { start, quote, backslashes: 0, triple: false }
    }

    /// Where the value ends.
    pub(super) fn end(self, bytes: &[u8]) -> Option<usize> {
        let window = bytes.get(self.start..bytes.len().min(self.start + BYTES_MAX))?;
        if self.triple {
            return memchr::memmem::find(window, &[self.quote; 3]).map(|len| self.start + len);
        }
        let mut from = 0;
        for mark in memchr::memchr_iter(self.quote, window) {
            let backslashes = window[from..mark].iter().rev().take_while(|b| **b == b'\\').count();
            // A quote inside the value has more of them than the one that opened it; a backslash that is itself escaped is the value's.
            let is_end = if self.backslashes == 0 { backslashes % 2 == 0 } else { backslashes <= self.backslashes };
            if is_end {
                return Some(self.start + mark - if self.backslashes == 0 { 0 } else { backslashes });
            }
            from = mark + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_their_quotes_close() {
        for (text, value) in [
            (r#""a b" c"#, "a b"),
            (r#""a\"b\\" c"#, r#"a\"b\\"#),
            (r#"\"a\\\"b\" c"#, r#"a\\\"b"#),
            (r#"\\\"a\\\", \\\"b\\\""#, "a"),
            (r#"\\\\\\\"a\\\\\\\"}"#, "a"),
            ("'''a'b''' c", "a'b"),
            (r#"rb"a" c"#, "a"),
            ("`a`", "a"),
        ] {
            let opening = opening(text.as_bytes(), 0).unwrap();
            assert_eq!(opening.end(text.as_bytes()).map(|end| &text[opening.start..end]), Some(value), "{text}");
        }
        for text in ["", "a", "\\a", "rx\"a\"", "\"a", "'''a''"] {
            assert_eq!(opening(text.as_bytes(), 0).and_then(|opening| opening.end(text.as_bytes())), None, "{text}");
        }
    }
}
