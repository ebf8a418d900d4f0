//! The binary framing of Amazon's event streams (`application/vnd.amazon.eventstream`), read as the bytes come.
//!
//! A message is: its length and that of its headers (4 bytes each, big-endian), CRC-32 of these eight bytes, headers, payload, CRC-32
//! of everything before. A header is: length of its name (1 byte), name, type of its value (1 byte), value. What a message is stands in
//! `:message-type` (`event`, `exception`, `error`), its name in `:event-type`, `:exception-type` or `:error-code`.

use std::ops::ControlFlow;

use flate2::Crc;

use super::super::sse::{Event, Pushed, Unreadable};

/// Longest message, as Amazon's own SDKs take it: 24 MiB. Ours is that of an event of any stream.
const MESSAGE_BYTES_MAX: usize = super::super::sse::EVENT_BYTES_MAX;

/// The two lengths and their check.
const PRELUDE_BYTES: usize = 12;

/// The check at the end.
const CHECK_BYTES: usize = 4;

/// Headers whose value names a message.
const NAMES: [&[u8]; 3] = [b":event-type", b":exception-type", b":error-code"];

/// Reads a stream of messages.
#[derive(Debug, Default)]
pub struct Parser {
    /// The message that the last chunk broke off in.
    begun: Vec<u8>,
}

impl Parser {
    /// Reads a chunk and hands over every message that ends in it. `ControlFlow::Break` says that this was the final one.
    pub fn push(&mut self, chunk: &[u8], mut on_event: impl FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Pushed, Unreadable> {
        let mut pushed = Pushed::default();
        let mut at = 0;
        loop {
            // What the message needs at least, before and after its length is known.
            let whole = loop {
                let needed = match length(&self.begun)? {
                    Some(length) if self.begun.len() == length => break true,
                    Some(length) => length,
                    None => PRELUDE_BYTES,
                };
                let more = (needed - self.begun.len()).min(chunk.len() - at);
                if more == 0 {
                    break false;
                }
                self.begun.extend_from_slice(&chunk[at..at + more]);
                at += more;
            };
            if !whole {
                return Ok(pushed);
            }
            let flow = on_event(message(&self.begun, at)?);
            self.begun.clear();
            if flow.is_break() {
                pushed.last = Some(at);
                return Ok(pushed);
            }
            pushed.complete = at;
        }
    }

    /// Whether the stream broke off inside a message.
    #[must_use]
    pub fn is_inside_event(&self) -> bool {
        !self.begun.is_empty()
    }
}

/// The length of the message, once its prelude is there and its check is right.
fn length(begun: &[u8]) -> Result<Option<usize>, Unreadable> {
    let Some(prelude) = begun.get(..PRELUDE_BYTES) else { return Ok(None) };
    if crc(&prelude[..8]) != number(prelude, 8) {
        return Err(Unreadable::Check);
    }
    let (total, headers) = (number(prelude, 0) as usize, number(prelude, 4) as usize);
    if total > MESSAGE_BYTES_MAX {
        return Err(Unreadable::TooLong);
    }
    if total < PRELUDE_BYTES + CHECK_BYTES || headers > total - PRELUDE_BYTES - CHECK_BYTES {
        return Err(Unreadable::Check);
    }
    Ok(Some(total))
}

fn message(bytes: &[u8], end: usize) -> Result<Event<'_>, Unreadable> {
    let body = bytes.len() - CHECK_BYTES;
    if crc(&bytes[..body]) != number(bytes, body) {
        return Err(Unreadable::Check);
    }
    let headers = PRELUDE_BYTES + number(bytes, 4) as usize;
    let name = name(&bytes[PRELUDE_BYTES..headers]).ok_or(Unreadable::Check)?;
    Ok(Event { name, data: &bytes[headers..body], end })
}

/// The message's name among its headers; empty when it has none.
fn name(mut headers: &[u8]) -> Option<&[u8]> {
    let mut found: &[u8] = &[];
    while let Some((&length, rest)) = headers.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (&kind, rest) = rest.split_first()?;
        let (value, rest) = match kind {
            // true, false
            0 | 1 => rest.split_at_checked(0)?,
            2 => rest.split_at_checked(1)?,
            3 => rest.split_at_checked(2)?,
            4 => rest.split_at_checked(4)?,
            // 64 bits, and a time
            5 | 8 => rest.split_at_checked(8)?,
            // bytes and text have a length of two bytes
            6 | 7 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?
            }
            // UUID
            9 => rest.split_at_checked(16)?,
            _ => return None,
        };
        if NAMES.contains(&name) {
            found = value;
        }
        headers = rest;
    }
    Some(found)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A message with a name and a payload: what the gateway itself says in such a stream.
pub(in super::super) fn write(kind: &str, name: &str, payload: &[u8]) -> Vec<u8> {
    let name_header = if kind == "exception" { ":exception-type" } else { ":event-type" };
    let mut headers = Vec::new();
    for (header, value) in [(":message-type", kind), (name_header, name), (":content-type", "application/json")] {
        headers.push(u8::try_from(header.len()).unwrap_or(u8::MAX));
        headers.extend_from_slice(header.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    framed(&headers, payload)
}

/// A message with another payload: its headers stay, its lengths and checks are made anew.
pub(in super::super) fn with_payload(message: &[u8], payload: &[u8]) -> Vec<u8> {
    let headers = number(message, 4) as usize;
    let Some(head) = message.get(PRELUDE_BYTES..PRELUDE_BYTES + headers) else { return message.to_vec() };
    framed(head, payload)
}

fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = PRELUDE_BYTES + headers.len() + payload.len() + CHECK_BYTES;
    let mut bytes = Vec::with_capacity(total);
    bytes.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(headers.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&crc(&bytes).to_be_bytes());
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> Result<(Vec<(String, String)>, usize), Unreadable> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        let mut passed = 0;
        for chunk in chunks {
            let pushed = parser.push(chunk, |event| {
                events.push((String::from_utf8_lossy(event.name).into_owned(), String::from_utf8_lossy(event.data).into_owned()));
                ControlFlow::Continue(())
            })?;
            passed += pushed.complete;
        }
        Ok((events, passed))
    }

    /// The message without headers and payload of Amazon's test vectors (`empty_message`), and one with a header.
    #[test]
    fn the_vectors_of_amazon_are_read() {
        let empty = [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(read(&[&empty]).unwrap().0, [(String::new(), String::new())]);
        let mut broken = empty;
        broken[15] ^= 1;
        assert_eq!(read(&[&broken]), Err(Unreadable::Check));
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_held() {
        let mut prelude = u32::MAX.to_be_bytes().to_vec();
        prelude.extend_from_slice(&0_u32.to_be_bytes());
        prelude.extend_from_slice(&crc(&prelude).to_be_bytes());
        assert_eq!(read(&[&prelude]), Err(Unreadable::TooLong));
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(payloads in proptest::collection::vec("[a-z{}\" ]{0,40}", 1..5),
                               cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6), noise in any::<Vec<u8>>()) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| write("event", "chunk", payload.as_bytes())).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            let (events, _) = read(&chunks).unwrap();
            let expected: Vec<_> = payloads.iter().map(|payload| ("chunk".to_owned(), payload.clone())).collect();
            prop_assert_eq!(events, expected);
            let _ = read(&[&noise]);
        }
    }
}
