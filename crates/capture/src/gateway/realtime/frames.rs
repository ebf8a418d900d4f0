//! WebSocket frames (RFC 6455) as they pass: read within bounds, put together to messages, and written again with the fragments that they
//! came in.
//!
//! Only the head of a frame is read by a crate. Its connections are not used: they answer pings and closes by themselves and join
//! fragments, where here both sides have to see what the other said.

use std::io::{self, Cursor};
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::budget::{Budget, Share};

/// Longest message in bytes, all its fragments together. OpenAI takes 15 MiB of sound in one event.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most fragments of one message: those of the longest one that a server cuts into pieces of 1 KiB.
const FRAGMENTS_MAX: usize = 16 * 1024;

/// Longest payload of a control frame, in bytes (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Bytes that are asked for in one read.
const READ_BYTES: usize = 16 * 1024;

/// Bytes that are masked and written in one step.
const WRITE_BYTES: usize = 64 * 1024;

/// Close codes of RFC 6455, section 7.4.1.
pub(super) mod close {
    pub(in super::super) const NORMAL: u16 = 1000;
    pub(in super::super) const GOING_AWAY: u16 = 1001;
    pub(in super::super) const PROTOCOL: u16 = 1002;
    /// In the record only: a close frame without a code.
    pub(in super::super) const NO_CODE: u16 = 1005;
    pub(in super::super) const NOT_UTF8: u16 = 1007;
    pub(in super::super) const POLICY: u16 = 1008;
    pub(in super::super) const TOO_LARGE: u16 = 1009;
    pub(in super::super) const INTERNAL: u16 = 1011;
    pub(in super::super) const TRY_LATER: u16 = 1013;
}

/// Whose frames they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Upstream,
}

/// What a side sent.
pub(super) enum Incoming {
    Ping(Bytes),
    Pong(Bytes),
    /// The end: its code, and its payload as it came.
    Close(Option<u16>, Bytes),
    Message(Message),
}

/// A whole message.
pub(super) struct Message {
    /// Text, or bytes.
    pub(super) is_text: bool,
    pub(super) payload: Bytes,
    /// The length of each fragment, in their order.
    fragments: Vec<usize>,
    /// The memory that it takes.
    pub(super) held: Arc<Share>,
}

/// Why no more can be read of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The connection ended without a close frame.
    #[error("the connection ended without a close frame")]
    Gone,
    /// It said nothing and answered no ping.
    #[error("nothing came any more, and a ping was not answered")]
    Silent,
    /// It does not keep to the protocol.
    #[error("{0} (RFC 6455)")]
    Protocol(&'static str),
    /// A text is no UTF-8.
    #[error("a text message is not UTF-8")]
    NotUtf8,
    /// A message is too large, or has too many fragments.
    #[error("a message has more than {MESSAGE_BYTES_MAX} bytes or {FRAGMENTS_MAX} fragments")]
    TooLarge,
    /// No memory is left for it.
    #[error("too many large bodies are under way (limit buffered_bytes_max)")]
    Busy,
}

impl Fault {
    /// The close code that tells the side of it.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Gone | Self::Silent => close::GOING_AWAY,
            Self::Protocol(_) => close::PROTOCOL,
            Self::NotUtf8 => close::NOT_UTF8,
            Self::TooLarge => close::TOO_LARGE,
            Self::Busy => close::TRY_LATER,
        }
    }
}

/// Reads what a side sends. What has been read is kept when [`Self::next`] is given up, and goes on with the next call.
pub(super) struct Reader<R> {
    io: R,
    side: Side,
    buffer: BytesMut,
    frame: Option<Frame>,
    control: BytesMut,
    /// The message that has begun: whether it is text, and what has come of it.
    is_text: Option<bool>,
    message: BytesMut,
    fragments: Vec<usize>,
    budget: Arc<Budget>,
    share: Share,
    /// Bytes that came, heads included.
    pub(super) received: u64,
}

/// The frame that is being read.
struct Frame {
    header: FrameHeader,
    /// Bytes of its payload that have come, and that have not.
    at: usize,
    left: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R, side: Side, budget: &Arc<Budget>) -> Self {
        Self {
            io,
            side,
            buffer: BytesMut::new(),
            frame: None,
            control: BytesMut::new(),
            is_text: None,
            message: BytesMut::new(),
            fragments: Vec::new(),
            budget: Arc::clone(budget),
            share: budget.share(),
            received: 0,
        }
    }

    /// The next that the side sent.
    pub(super) async fn next(&mut self) -> Result<Incoming, Fault> {
        loop {
            if let Some(incoming) = self.take()? {
                return Ok(incoming);
            }
            self.buffer.reserve(READ_BYTES);
            match self.io.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(Fault::Gone),
                Ok(count) => self.received += count as u64,
            }
        }
    }

    /// What the bytes that have come hold; `None` when that is not whole.
    fn take(&mut self) -> Result<Option<Incoming>, Fault> {
        loop {
            if self.frame.is_none() && !self.begin()? {
                return Ok(None);
            }
            let Some(frame) = &mut self.frame else { return Ok(None) };
            let mut bytes = self.buffer.split_to(frame.left.min(self.buffer.len()));
            if let Some(mask) = frame.header.mask {
                apply(mask, frame.at, &mut bytes);
            }
            frame.at += bytes.len();
            frame.left -= bytes.len();
            let is_control = matches!(frame.header.opcode, OpCode::Control(_));
            if is_control {
                self.control.extend_from_slice(&bytes);
            } else {
                self.share.cover(self.message.len() + bytes.len()).map_err(|_| Fault::Busy)?;
                self.message.extend_from_slice(&bytes);
            }
            if frame.left > 0 {
                return Ok(None);
            }
            let Some(Frame { header, at, .. }) = self.frame.take() else { return Ok(None) };
            match header.opcode {
                OpCode::Control(kind) => return self.controlled(kind).map(Some),
                OpCode::Data(_) => {
                    self.fragments.push(at);
                    if header.is_final {
                        return self.whole().map(Some);
                    }
                }
            }
        }
    }

    /// Reads the head of a frame; whether it is there.
    fn begin(&mut self) -> Result<bool, Fault> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Fault::Protocol("a frame has an opcode that is reserved"))?;
        let Some((header, length)) = parsed else { return Ok(false) };
        let head_bytes = usize::try_from(cursor.position()).unwrap_or(usize::MAX).min(self.buffer.len());
        let length = usize::try_from(length).map_err(|_| Fault::TooLarge)?;
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Fault::Protocol("a frame uses an extension that was not agreed on"));
        }
        if header.mask.is_some() != (self.side == Side::Client) {
            return Err(Fault::Protocol("clients mask their frames, and servers do not"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final || length > CONTROL_BYTES_MAX => {
                return Err(Fault::Protocol("a control frame is fragmented or too long"));
            }
            OpCode::Control(_) => self.control.clear(),
            OpCode::Data(kind) => {
                match (kind, self.is_text) {
                    (Data::Continue, Some(_)) => {}
                    (Data::Text, None) => self.is_text = Some(true),
                    (Data::Binary, None) => self.is_text = Some(false),
                    _ => return Err(Fault::Protocol("a message begins inside another, or goes on without one")),
                }
                if length > MESSAGE_BYTES_MAX - self.message.len() || self.fragments.len() >= FRAGMENTS_MAX {
                    return Err(Fault::TooLarge);
                }
            }
        }
        self.buffer.advance(head_bytes);
        self.frame = Some(Frame { header, at: 0, left: length });
        Ok(true)
    }

    fn controlled(&mut self, kind: Control) -> Result<Incoming, Fault> {
        let payload = self.control.split().freeze();
        match kind {
            Control::Ping => Ok(Incoming::Ping(payload)),
            Control::Pong => Ok(Incoming::Pong(payload)),
            _ => match payload.split_first_chunk::<2>() {
                None if payload.is_empty() => Ok(Incoming::Close(None, payload)),
                None => Err(Fault::Protocol("a close frame has half a code")),
                Some((code, reason)) => {
                    let code = u16::from_be_bytes(*code);
                    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                        return Err(Fault::Protocol("a close frame has a code that none may have"));
                    }
                    std::str::from_utf8(reason).map_err(|_| Fault::NotUtf8)?;
                    Ok(Incoming::Close(Some(code), payload))
                }
            },
        }
    }

    fn whole(&mut self) -> Result<Incoming, Fault> {
        let payload = self.message.split().freeze();
        let held = Arc::new(std::mem::replace(&mut self.share, self.budget.share()));
        let is_text = self.is_text.take().unwrap_or(true);
        if is_text && std::str::from_utf8(&payload).is_err() {
            return Err(Fault::NotUtf8);
        }
        Ok(Incoming::Message(Message { is_text, payload, fragments: std::mem::take(&mut self.fragments), held }))
    }
}

impl Message {
    /// The same message with another text, in one fragment.
    pub(super) fn rewritten(self, payload: Bytes) -> Self {
        Self { fragments: vec![payload.len()], payload, ..self }
    }
}

/// Writes to a side.
pub(super) struct Writer<W> {
    io: W,
    /// Who sends: as a client writes its frames, or as a server does.
    role: Side,
    is_closed: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// `role`: as what we write.
    pub(super) fn new(io: W, role: Side) -> Self {
        Self { io, role, is_closed: false }
    }

    /// Writes a message with its fragments.
    pub(super) async fn message(&mut self, message: &Message) -> io::Result<()> {
        let mut from = 0;
        for (index, length) in message.fragments.iter().enumerate() {
            let first = if message.is_text { Data::Text } else { Data::Binary };
            let opcode = OpCode::Data(if index == 0 { first } else { Data::Continue });
            let to = (from + length).min(message.payload.len());
            self.frame(opcode, index + 1 == message.fragments.len(), &message.payload[from..to]).await?;
            from = to;
        }
        self.io.flush().await
    }

    /// Writes a text as one frame.
    pub(super) async fn text(&mut self, text: &str) -> io::Result<()> {
        self.frame(OpCode::Data(Data::Text), true, text.as_bytes()).await?;
        self.io.flush().await
    }

    pub(super) async fn ping(&mut self, payload: &[u8]) -> io::Result<()> {
        self.control(Control::Ping, payload).await
    }

    pub(super) async fn pong(&mut self, payload: &[u8]) -> io::Result<()> {
        self.control(Control::Pong, payload).await
    }

    /// Says that this is the end, once.
    pub(super) async fn close(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        self.control(Control::Close, payload).await?;
        self.is_closed = true;
        Ok(())
    }

    /// Ends the connection.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    async fn control(&mut self, kind: Control, payload: &[u8]) -> io::Result<()> {
        self.frame(OpCode::Control(kind), true, payload).await?;
        self.io.flush().await
    }

    async fn frame(&mut self, opcode: OpCode, is_final: bool, payload: &[u8]) -> io::Result<()> {
        // Nothing follows a close frame.
        if self.is_closed {
            return Ok(());
        }
        let mask = match self.role {
            Side::Client => {
                let mut mask = [0; 4];
                aws_lc_rs::rand::fill(&mut mask).map_err(|_| io::Error::other("the system's random generator gives no bytes"))?;
                Some(mask)
            }
            Side::Upstream => None,
        };
        let header = FrameHeader { is_final, opcode, mask, ..FrameHeader::default() };
        let mut out = Vec::with_capacity(16 + payload.len().min(WRITE_BYTES));
        header.format(payload.len() as u64, &mut out).map_err(io::Error::other)?;
        for (index, part) in payload.chunks(WRITE_BYTES).enumerate() {
            let from = out.len();
            out.extend_from_slice(part);
            if let Some(mask) = mask {
                apply(mask, index * WRITE_BYTES, &mut out[from..]);
            }
            self.io.write_all(&out).await?;
            out.clear();
        }
        self.io.write_all(&out).await
    }
}

/// The payload of a close frame.
pub(super) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// Masks or unmasks a part of a payload that begins at `at`.
fn apply(mask: [u8; 4], at: usize, bytes: &mut [u8]) {
    let mut turned = mask;
    turned.rotate_left(at % 4);
    for part in bytes.chunks_mut(4) {
        for (byte, key) in part.iter_mut().zip(turned) {
            *byte ^= key;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget() -> Arc<Budget> {
        Arc::new(Budget::new(64 * 1024 * 1024))
    }

    /// A frame as the standard has it, by hand.
    fn raw(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        let masked = if mask.is_some() { 0x80 } else { 0 };
        match payload.len() {
            length @ 0..=125 => out.push(masked | u8::try_from(length).unwrap()),
            length @ 126..=65_535 => {
                out.push(masked | 126);
                out.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                out.push(masked | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
        out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask.map_or(0, |mask| mask[at % 4])));
        out
    }

    async fn read(side: Side, bytes: &[u8]) -> (Vec<String>, Fault) {
        let mut reader = Reader::new(bytes, side, &budget());
        let mut seen = Vec::new();
        loop {
            seen.push(match reader.next().await {
                Ok(Incoming::Ping(payload)) => format!("ping {}", String::from_utf8_lossy(&payload)),
                Ok(Incoming::Pong(payload)) => format!("pong {}", String::from_utf8_lossy(&payload)),
                Ok(Incoming::Close(code, _)) => format!("close {code:?}"),
                Ok(Incoming::Message(message)) => {
                    format!("{} {:?} {}", message.is_text, message.fragments, String::from_utf8_lossy(&message.payload))
                }
                Err(fault) => return (seen, fault),
            });
        }
    }

    #[tokio::test]
    async fn frames_become_messages_and_control_frames_stand_between() {
        let mask = Some([1, 2, 3, 4]);
        let bytes = [
            raw(0x81, mask, b"hello"),
            raw(0x01, mask, b"frag"),
            raw(0x89, mask, b"now"),
            raw(0x00, mask, b""),
            raw(0x80, mask, "mented é".as_bytes()),
            raw(0x82, mask, &[0xff]),
            raw(0x88, mask, &close_payload(4000, "bye")),
        ]
        .concat();
        let (seen, fault) = read(Side::Client, &bytes).await;
        let expected = ["true [5] hello", "ping now", "true [4, 0, 9] fragmented é", "false [1] \u{fffd}", "close Some(4000)"];
        assert_eq!((seen.iter().map(String::as_str).collect::<Vec<_>>(), fault), (expected.to_vec(), Fault::Gone));
    }

    #[tokio::test]
    async fn what_the_protocol_forbids_is_a_fault() {
        let mask = Some([9; 4]);
        let huge = [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
        let endless: Vec<u8> =
            std::iter::once(raw(0x01, mask, b"")).chain((0..FRAGMENTS_MAX + 1).map(|_| raw(0x00, mask, b""))).flatten().collect();
        for (bytes, code) in [
            (raw(0x81, None, b"not masked"), close::PROTOCOL),
            (raw(0xc1, mask, b"compressed"), close::PROTOCOL),
            (raw(0x83, mask, b"reserved"), close::PROTOCOL),
            (raw(0x80, mask, b"goes on without a beginning"), close::PROTOCOL),
            ([raw(0x01, mask, b"a"), raw(0x81, mask, b"b")].concat(), close::PROTOCOL),
            (raw(0x09, mask, b"a fragmented ping"), close::PROTOCOL),
            (raw(0x89, mask, &[b'x'; 126]), close::PROTOCOL),
            (raw(0x88, mask, b"x"), close::PROTOCOL),
            (raw(0x88, mask, &1005u16.to_be_bytes()), close::PROTOCOL),
            (raw(0x88, mask, &[0x03, 0xe8, 0xff]), close::NOT_UTF8),
            (raw(0x81, mask, &[0xc3, 0x28]), close::NOT_UTF8),
            (huge, close::TOO_LARGE),
            (endless, close::TOO_LARGE),
        ] {
            let (seen, fault) = read(Side::Client, &bytes).await;
            assert_eq!((seen.as_slice(), fault.code()), (&[][..], code), "{:?}", &bytes[..bytes.len().min(20)]);
        }
        let (_, fault) = read(Side::Upstream, &raw(0x81, mask, b"masked")).await;
        assert_eq!(fault.code(), close::PROTOCOL);
    }

    #[tokio::test]
    async fn memory_is_bounded_by_the_budget_of_all() {
        let budget = Arc::new(Budget::new(8 * 1024));
        let bytes = raw(0x81, None, &[b'x'; 9 * 1024]);
        let mut reader = Reader::new(&bytes[..], Side::Upstream, &budget);
        assert_eq!(reader.next().await.err(), Some(Fault::Busy));
        drop(reader);
        budget.share().cover(8 * 1024).unwrap();
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_with_its_fragments(
            payload in proptest::collection::vec(any::<u8>(), 0..200_000),
            cuts in proptest::collection::vec(0usize..200_000, 0..5),
            as_client in any::<bool>(),
            piece in 1usize..70_000,
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(payload.len())).chain([0, payload.len()]).collect();
            cuts.sort_unstable();
            let fragments: Vec<usize> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let role = if as_client { Side::Client } else { Side::Upstream };
            let message = Message { is_text: false, payload: payload.clone().into(), fragments, held: Arc::new(budget().share()) };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut writer = Writer::new(Vec::new(), role);
                writer.message(&message).await.unwrap();
                writer.ping(b"p").await.unwrap();
                writer.close(&close_payload(close::NORMAL, "")).await.unwrap();
                writer.text("nothing follows").await.unwrap();
                let (mut near, far) = tokio::io::duplex(piece);
                let bytes = writer.io;
                let sending = tokio::spawn(async move { near.write_all(&bytes).await });
                let mut reader = Reader::new(far, role, &budget());
                let Ok(Incoming::Message(read)) = reader.next().await else { panic!("no message") };
                assert_eq!((read.payload, read.fragments), (message.payload, message.fragments));
                assert!(matches!(reader.next().await, Ok(Incoming::Ping(_))));
                assert!(matches!(reader.next().await, Ok(Incoming::Close(Some(close::NORMAL), _))));
                assert!(matches!(reader.next().await, Err(Fault::Gone)));
                sending.await.unwrap().unwrap();
            });
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), as_client in any::<bool>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(read(if as_client { Side::Client } else { Side::Upstream }, &bytes));
        }
    }
}
