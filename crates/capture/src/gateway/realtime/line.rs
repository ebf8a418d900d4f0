//! The two sides of a connection: how each is written to and listened to, and why it is over.

use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, WriteHalf};

use super::super::answer::Failure;
use super::super::call::stream_end;
use super::frames::{Fault, Incoming, Message, Reader, Side, Writer, close};

/// How long the other side may take to answer a close, and either to take the last that is said to it.
pub(super) const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

/// The payload of the pings by which a silent side is found to be gone. Answers to them go no further.
const PROBE: &[u8] = b"watchkeeper";

/// How a connection ends that the gateway's own stop ended.
const PROXY_STOPPED: &str = "proxy_stopped";

type Half = WriteHalf<TokioIo<Upgraded>>;

/// Why a connection is over.
pub(super) enum Ended {
    Closed {
        by: Side,
        code: Option<u16>,
    },
    Fault {
        by: Side,
        fault: Fault,
    },
    /// The gateway does not let it go on.
    Failed(Failure),
    Stopped,
}

/// Where a side is written to.
pub(super) struct Line {
    side: Side,
    writer: tokio::sync::Mutex<Writer<Half>>,
    /// How long it may take nothing.
    stall_max: Duration,
}

#[derive(Clone, Copy)]
pub(super) enum Out<'a> {
    Message(&'a Message),
    Text(&'a str),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Close(&'a [u8]),
}

impl Line {
    /// `side`: who reads it.
    pub(super) fn new(side: Side, io: Half, stall_max: Duration) -> Self {
        let role = if side == Side::Client { Side::Upstream } else { Side::Client };
        Self { side, writer: tokio::sync::Mutex::new(Writer::new(io, role)), stall_max }
    }

    pub(super) async fn send(&self, out: Out<'_>) -> Result<(), Ended> {
        let writing = async {
            let mut writer = self.writer.lock().await;
            match out {
                Out::Message(message) => writer.message(message).await,
                Out::Text(text) => writer.text(text).await,
                Out::Ping(payload) => writer.ping(payload).await,
                Out::Pong(payload) => writer.pong(payload).await,
                Out::Close(payload) => writer.close(payload).await,
            }
        };
        match tokio::time::timeout(self.stall_max, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Fault { by: self.side, fault: Fault::Gone }),
            Err(_) => Err(Ended::Fault { by: self.side, fault: Fault::Silent }),
        }
    }

    /// Says that this is the end, where that was not said, and closes.
    pub(super) async fn end(&self, payload: &[u8]) {
        let ending = async {
            let mut writer = self.writer.lock().await;
            let _ = writer.close(payload).await;
            let _ = writer.shutdown().await;
        };
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, ending).await;
    }
}

impl Ended {
    /// How the connection ended, and a response that was under way; the error; who ended it, and with which code.
    pub(super) fn told(&self) -> (&'static str, &'static str, Option<&'static str>, &'static str, Option<u16>) {
        let of_side = |side: Side| match side {
            Side::Client => (stream_end::CLIENT_DISCONNECT, "client"),
            Side::Upstream => (stream_end::UPSTREAM_ERROR, "upstream"),
        };
        match self {
            Self::Closed { by, code } => {
                let (gone, name) = of_side(*by);
                let is_normal = matches!(code, None | Some(close::NORMAL | close::GOING_AWAY));
                let (end, error) = if is_normal { (stream_end::COMPLETE, None) } else { (gone, Some(gone)) };
                (end, gone, error, name, Some(code.unwrap_or(close::NO_CODE)))
            }
            Self::Fault { by, fault: Fault::Gone | Fault::Silent } => {
                let (gone, name) = of_side(*by);
                (gone, gone, Some(gone), name, None)
            }
            Self::Fault { fault: Fault::Busy, .. } => {
                (stream_end::BLOCKED, stream_end::BLOCKED, Some("gateway_busy"), "gateway", Some(close::TRY_LATER))
            }
            Self::Fault { fault, .. } => {
                (stream_end::MALFORMED, stream_end::MALFORMED, Some(stream_end::MALFORMED), "gateway", Some(fault.code()))
            }
            Self::Failed(failure) => (stream_end::BLOCKED, stream_end::BLOCKED, Some(failure.kind), "gateway", None),
            Self::Stopped => (PROXY_STOPPED, PROXY_STOPPED, Some(PROXY_STOPPED), "gateway", Some(close::GOING_AWAY)),
        }
    }
}

/// The next that a side sends. One that says nothing is asked whether it is still there; a half-open connection ends so.
pub(super) async fn next<R: AsyncRead + Unpin>(reader: &mut Reader<R>, line: &Line) -> Result<Incoming, Ended> {
    let mut is_asked = false;
    loop {
        let before = reader.received;
        match tokio::time::timeout(line.stall_max, reader.next()).await {
            Ok(Ok(Incoming::Pong(payload))) if payload == PROBE => is_asked = false,
            Ok(Ok(incoming)) => return Ok(incoming),
            Ok(Err(fault)) => return Err(Ended::Fault { by: line.side, fault }),
            Err(_) if reader.received != before => is_asked = false,
            Err(_) if is_asked => return Err(Ended::Fault { by: line.side, fault: Fault::Silent }),
            Err(_) => {
                line.send(Out::Ping(PROBE)).await?;
                is_asked = true;
            }
        }
    }
}
