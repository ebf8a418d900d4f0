//! Lines of an input, one at a time and within bounds: a hostile line must not take the memory of the others.

use std::io::{self, BufRead, Read as _};

/// Memory that a line may leave to the next one: a huge one must not stay for the sake of small ones that follow.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// What editors put in front of a text on Windows. It is no part of the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads lines that are not blank.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    bytes_max: usize,
    number: usize,
    line: Vec<u8>,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The input cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The line is longer than was asked for. It was passed over: the next one can be read.
    #[error("line {number} has more than {bytes_max} bytes; make it shorter, or leave it out")]
    TooLong {
        /// Number of the line, from 1.
        number: usize,
        /// What it may have.
        bytes_max: usize,
    },
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `bytes_max` bytes, their ends not counted.
    pub fn new(input: R, bytes_max: usize) -> Self {
        Self { input, bytes_max, number: 0, line: Vec::new() }
    }

    /// The next line and its number, from 1; `None` at the end.
    ///
    /// # Errors
    /// What the system says, and a line that is too long, behind which reading can go on.
    pub fn read(&mut self) -> Result<Option<(usize, &[u8])>, LineError> {
        loop {
            if self.line.capacity() > KEPT_BYTES_MAX {
                self.line = Vec::new();
            }
            self.line.clear();
            // One more for the end of the line.
            let bytes_max = u64::try_from(self.bytes_max).unwrap_or(u64::MAX).saturating_add(1);
            if self.input.by_ref().take(bytes_max).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
            } else if self.line.len() > self.bytes_max {
                self.input.skip_until(b'\n')?;
                return Err(LineError::TooLong { number: self.number, bytes_max: self.bytes_max });
            }
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((self.number, &self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<Result<(usize, Vec<u8>), usize>> {
        let mut lines = Lines::new(input, 4);
        let mut all = Vec::new();
        loop {
            match lines.read() {
                Ok(Some((number, line))) => all.push(Ok((number, line.to_vec()))),
                Ok(None) => return all,
                Err(LineError::TooLong { number, .. }) => all.push(Err(number)),
                Err(LineError::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_the_others_are_read() {
        let line = |number, text: &str| Ok((number, text.as_bytes().to_vec()));
        assert_eq!(all(b"a\n\n \t\nfour\nfives\nmuch longer\nb"), [line(1, "a"), line(4, "four"), Err(5), Err(6), line(7, "b")]);
        assert_eq!(all(b"four"), [line(1, "four")]);
        assert_eq!(all(b"fives"), [Err(1)]);
        assert_eq!(all(b""), []);
        assert_eq!(all("\u{feff}a\r\n\u{feff}b".as_bytes()), [line(1, "a\r"), line(2, "\u{feff}b")]);
    }
}
