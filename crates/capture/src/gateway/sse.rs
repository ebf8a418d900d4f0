//! Server-sent events, read as the bytes come: bounded, incremental, and telling where each event ends, so that the
//! relay can pass on whole events and withhold the last one.
//!
//! Follows the event stream interpretation of the WHATWG HTML standard (section 9.2.6): CR, LF and CRLF end lines,
//! `data` lines join with a newline, comments and unknown fields are skipped. Not a crate, because none of them tells
//! where in the bytes an event ended, and most have no bound.

use std::ops::ControlFlow;

/// Longest event in bytes, all its lines and comments together. Models send a few hundred; a picture in base64 can take some MiB.
pub const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An event, as far as model APIs use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty when there is none.
    pub name: &'a [u8],
    /// The `data` fields, joined with newlines. Bytes: UTF-8 is for the reader to check.
    pub data: &'a [u8],
    /// Where in the chunk it ended.
    pub end: usize,
}

/// What a chunk brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pushed {
    /// Where in the chunk the last event ended that was not the final one: everything before it can be passed on.
    pub complete: usize,
    /// Where in the chunk the final event ended, if it came. What follows was not read.
    pub last: Option<usize>,
}

/// The stream cannot be read any further; it is passed on unread from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// An event is too long.
    #[error("an event of the stream is longer than {EVENT_BYTES_MAX} bytes")]
    TooLong,
    /// A message of a binary stream is not what its check says.
    #[error("a message of the stream is damaged: its lengths or its CRC-32 are wrong")]
    Check,
}

/// Reads a stream of events.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that the last chunk broke off in.
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: a LF that follows belongs to it.
    after_cr: bool,
    /// The byte order mark can only stand at the very start.
    begun: bool,
    event_bytes: usize,
}

impl Parser {
    /// A parser at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a chunk and hands over every event that ends in it. `ControlFlow::Break` says that this was the final one.
    pub fn push(&mut self, chunk: &[u8], mut on_event: impl FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Pushed, Unreadable> {
        let mut pushed = Pushed::default();
        let mut at = 0;
        if self.after_cr && !chunk.is_empty() {
            self.after_cr = false;
            if chunk[0] == b'\n' {
                at = 1;
                if self.event_bytes == 0 {
                    pushed.complete = 1;
                }
            }
        }
        while let Some(length) = chunk[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let end = at + length;
            let mut next = end + 1;
            if chunk[end] == b'\r' {
                match chunk.get(next) {
                    Some(b'\n') => next += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.event_bytes += next - at;
            if self.event_bytes > EVENT_BYTES_MAX {
                return Err(Unreadable::TooLong);
            }
            let line = &chunk[at..end];
            at = next;
            let blank = if self.line.is_empty() {
                self.read_line(line)
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                let blank = self.read_line(&whole);
                whole.clear();
                self.line = whole;
                blank
            };
            if !blank {
                continue;
            }
            let flow = if self.has_data {
                let data = self.data.strip_suffix(b"\n").unwrap_or(&self.data);
                on_event(Event { name: &self.name, data, end: at })
            } else {
                ControlFlow::Continue(())
            };
            self.name.clear();
            self.data.clear();
            self.has_data = false;
            self.event_bytes = 0;
            if flow.is_break() {
                pushed.last = Some(at);
                return Ok(pushed);
            }
            pushed.complete = at;
        }
        let rest = &chunk[at..];
        self.event_bytes += rest.len();
        if self.event_bytes > EVENT_BYTES_MAX {
            return Err(Unreadable::TooLong);
        }
        self.line.extend_from_slice(rest);
        Ok(pushed)
    }

    /// Whether the stream broke off inside an event that had something to say.
    #[must_use]
    pub fn is_inside_event(&self) -> bool {
        self.has_data || !self.line.is_empty()
    }

    /// Reads one line; `true` when it is blank, which ends the event.
    fn read_line(&mut self, mut line: &[u8]) -> bool {
        if !self.begun {
            self.begun = true;
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return true;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
                self.has_data = true;
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every event of the chunks, and the bytes that may be passed on.
    fn read(chunks: &[&[u8]]) -> (Vec<(String, String)>, Vec<u8>, Vec<u8>) {
        let mut parser = Parser::new();
        let mut events = Vec::new();
        let mut passed = Vec::new();
        let mut pending = Vec::new();
        for chunk in chunks {
            let pushed = parser
                .push(chunk, |event| {
                    events.push((
                        String::from_utf8_lossy(event.name).into_owned(),
                        String::from_utf8_lossy(event.data).into_owned(),
                    ));
                    if event.data == b"[DONE]" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .unwrap();
            if pushed.complete > 0 {
                passed.append(&mut pending);
                passed.extend_from_slice(&chunk[..pushed.complete]);
            }
            pending.extend_from_slice(&chunk[pushed.complete..pushed.last.unwrap_or(chunk.len())]);
            if pushed.last.is_some() {
                break;
            }
        }
        (events, passed, pending)
    }

    type Case = (&'static [u8], &'static [(&'static str, &'static str)]);

    #[test]
    fn lines_fields_and_ends() {
        let cases: &[Case] = &[
            (b"data: a\n\n", &[("", "a")]),
            (b"data:a\r\n\r\ndata: b\r\r", &[("", "a"), ("", "b")]),
            (b"event: x\ndata: 1\ndata: 2\n\n", &[("x", "1\n2")]),
            (b"\xef\xbb\xbfdata: bom\n\n", &[("", "bom")]),
            (b": ping\n\nid: 7\nretry: 1\ndata\n\n", &[("", "")]),
            (b"event: only a name\n\ndata: b\n\n", &[("", "b")]),
            (b"data: never ended\n", &[]),
            (b"data:  two spaces\n\n", &[("", " two spaces")]),
        ];
        for (bytes, expected) in cases {
            let (events, ..) = read(&[bytes]);
            let expected: Vec<_> = expected.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
            assert_eq!(events, expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn the_final_event_is_withheld_whole_even_when_split() {
        let (events, passed, held) = read(&[b"data: a\n\ndata: [DO", b"NE]\n", b"\ndata: smuggled\n\n"]);
        assert_eq!(events.len(), 2);
        assert_eq!(passed, b"data: a\n\n");
        assert_eq!(held, b"data: [DONE]\n\n");
    }

    #[test]
    fn an_endless_event_is_an_error_and_not_memory() {
        let mut parser = Parser::new();
        let chunk = vec![b'x'; 1024 * 1024];
        let outcome = (0..20).find_map(|_| parser.push(&chunk, |_| ControlFlow::Continue(())).err());
        assert_eq!(outcome, Some(Unreadable::TooLong));
        let mut parser = Parser::new();
        let lines = b"data: x\n".repeat(128 * 1024);
        let outcome = (0..20).find_map(|_| parser.push(&lines, |_| ControlFlow::Continue(())).err());
        assert_eq!(outcome, Some(Unreadable::TooLong));
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            lines in proptest::collection::vec("(data: ?[aé:\u{1f600} ]{0,6}|event: b|:c|)(\n|\r\n|\r|\n\n)", 0..12),
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let bytes = lines.concat().into_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            let (whole, ..) = read(&[&bytes]);
            let (split, passed, pending) = read(&chunks);
            prop_assert_eq!(whole, split);
            prop_assert_eq!([passed, pending].concat(), bytes);
        }

        #[test]
        fn no_bytes_make_it_panic(chunks in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let mut parser = Parser::new();
            for chunk in &chunks {
                let pushed = parser.push(chunk, |_| ControlFlow::Continue(())).unwrap();
                prop_assert!(pushed.complete <= chunk.len());
            }
        }
    }
}
