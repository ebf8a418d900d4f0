//! An answer on its way to the client: passed on as it comes, its end withheld until the outcome is recorded.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use event::Direction;
use futures_util::{FutureExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::answer::Failure;
use super::bedrock::event_stream;
use super::call::{Call, stream_end};
use super::decode::Progress;
use super::dispatch::silent_upstream;
use super::enforce;
use super::json::Object;
use super::judging::{Subject, left_out};
use super::mask::{Frame, Mask};
use super::policy::{Action, OnGuardFailure, Policy, Ruling};
use super::sse;
use crate::broken_off::BrokenOff;
use crate::outbound::root_cause;

/// How long an upstream may take to close a stream whose final event has come, and how much it may still send, before
/// its connection is closed instead of used again.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(250);
/// See [`CLOSE_TIME_MAX`].
const CLOSE_BYTES_MAX: usize = 64 * 1024;

/// Events up to this size are masked where they are read. Beyond it the thread's other work is handed over first.
const MASK_INLINE_BYTES_MAX: usize = 64 * 1024;

/// An answer on its way. Dropped before its end, it records that the client left.
pub(super) struct Relay {
    call: Call,
    upstream: Option<Incoming>,
    framing: Framing,
    /// Bytes of the event that has not ended, or of the final one.
    pending: BytesMut,
    ready: VecDeque<Bytes>,
    state: State,
    saw_last: bool,
    /// Holds the texts of a stream until they are scanned.
    mask: Option<Mask>,
}

enum Framing {
    /// Events that are read.
    Events(Framer),
    /// Bytes that are counted; `left` of them are to come, where that is known.
    Plain { left: Option<u64> },
}

/// How the events of a stream are framed.
pub(super) enum Framer {
    /// Server-sent events.
    ServerSent(sse::Parser),
    /// Amazon's binary messages.
    Amazon(event_stream::Parser),
}

impl Framer {
    fn push(
        &mut self,
        chunk: &[u8],
        on_event: impl FnMut(sse::Event<'_>) -> ControlFlow<()>,
    ) -> Result<sse::Pushed, sse::Unreadable> {
        match self {
            Self::ServerSent(parser) => parser.push(chunk, on_event),
            Self::Amazon(parser) => parser.push(chunk, on_event),
        }
    }
}

enum State {
    Reading,
    /// The answer is over; its outcome is to be recorded before what is pending is handed out. Then the connection
    /// is cut, if the upstream's was, so that the client sees a broken answer as broken.
    Ending {
        cut: bool,
    },
    Cut,
    Over,
}

/// An event of a chunk.
struct Whole {
    end: usize,
    name: Vec<u8>,
    data: Vec<u8>,
}

/// The body that hands the answer out.
pub(super) fn relayed(relay: Relay) -> Body {
    Body::from_stream(stream::unfold(relay, |mut relay| async move { relay.next().await.map(|piece| (piece, relay)) }))
}

impl Relay {
    /// A stream of events, read by the call's decoder.
    pub(super) fn events(call: Call, upstream: Incoming, framer: Framer) -> Self {
        let frame = match framer {
            Framer::ServerSent(_) => Frame::ServerSent,
            Framer::Amazon(_) => Frame::Amazon,
        };
        let policy = call.policy.clone().filter(|policy| policy.answers > Action::Flag);
        let deltas = call.api.map_or(&[][..], |api| api.deltas);
        let mask = match (policy, call.answer_guard()) {
            (Some(policy), Some(guard)) if !deltas.is_empty() => Some(Mask::new(guard, policy, frame, deltas)),
            _ => None,
        };
        Self { mask, ..Self::new(call, upstream, Framing::Events(framer), Vec::new(), false) }
    }

    /// Bytes that are not read. `begun` has come already; `length` is that of the whole.
    pub(super) fn plain(call: Call, upstream: Incoming, begun: Vec<Bytes>, length: Option<u64>) -> Self {
        let came: u64 = begun.iter().map(|piece| piece.len() as u64).sum();
        let left = length.map(|length| length.saturating_sub(came));
        Self::new(call, upstream, Framing::Plain { left }, begun, left == Some(0))
    }

    fn new(call: Call, upstream: Incoming, framing: Framing, begun: Vec<Bytes>, ends: bool) -> Self {
        let mut relay = Self {
            call,
            upstream: Some(upstream),
            framing,
            pending: BytesMut::new(),
            ready: begun.into(),
            state: State::Reading,
            saw_last: false,
            mask: None,
        };
        if ends {
            // Everything has come: only the last piece has to wait.
            if let Some(last) = relay.ready.pop_back() {
                relay.pending.extend_from_slice(&last);
            }
            relay.end(None);
        }
        relay
    }

    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            match self.state {
                State::Reading => self.read().await,
                State::Ending { cut } => {
                    let closing = self.close(cut).await;
                    if !closing.is_empty() {
                        return Some(Ok(closing));
                    }
                }
                State::Cut => {
                    self.state = State::Over;
                    return Some(Err(BrokenOff::after_what_came().await));
                }
                State::Over => return None,
            }
        }
    }

    /// Takes the next piece from the upstream.
    async fn read(&mut self) {
        let idle = self.call.shared.config.limits.upstream_idle;
        let Some(upstream) = &mut self.upstream else {
            self.state = State::Over;
            return;
        };
        match tokio::time::timeout(idle, upstream.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.absorb(data);
                }
            }
            Ok(None) => {
                self.finish_event();
                self.flush_mask();
                if matches!(self.state, State::Reading) {
                    self.end(None);
                }
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(cause = root_cause(&error), "the upstream broke off its answer");
                self.drop_event();
                self.flush_mask();
                self.end(Some("upstream_error"));
                self.state = State::Ending { cut: true };
            }
            Err(_) => {
                self.drop_event();
                self.flush_mask();
                let failure = silent_upstream(idle);
                self.end(Some(failure.kind));
                // In a stream the client can be told; elsewhere it is cut off.
                let told = matches!(self.framing, Framing::Events(_));
                if told {
                    self.pending.clear();
                    self.pending.extend_from_slice(&failure.event(self.call.provider));
                }
                self.state = State::Ending { cut: !told };
            }
        }
    }

    /// Reads a piece and decides what of it goes on.
    fn absorb(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let call = &mut self.call;
        if call.outcome.first_chunk.is_none() && call.decoder.is_some() {
            call.outcome.first_chunk = Some(call.elapsed());
        }
        call.outcome.response_bytes += chunk.len() as u64;
        let parser = match &mut self.framing {
            Framing::Events(parser) => parser,
            Framing::Plain { left } => {
                call.outcome.unread_bytes += chunk.len() as u64;
                let is_last = left.as_mut().is_some_and(|left| {
                    *left = left.saturating_sub(chunk.len() as u64);
                    *left == 0
                });
                if is_last {
                    self.pending.extend_from_slice(&chunk);
                    self.end(None);
                } else {
                    self.ready.push_back(chunk);
                }
                return;
            }
        };
        let is_recorded = call.outcome.response_bytes <= call.shared.config.limits.response_recorded_bytes_max as u64;
        if !is_recorded {
            call.outcome.unread_bytes += chunk.len() as u64;
        }
        let decoder = &mut call.decoder;
        let is_masked = self.mask.is_some();
        let mut events: Vec<Whole> = Vec::new();
        let pushed = parser.push(&chunk, |event| {
            if is_masked {
                events.push(Whole { end: event.end, name: event.name.to_vec(), data: event.data.to_vec() });
            }
            let last = decoder.as_mut().is_some_and(|decoder| {
                if is_recorded {
                    decoder.event(event.name, event.data) == Progress::Last
                } else {
                    decoder.is_last(event.name, event.data)
                }
            });
            if last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let Ok(pushed) = pushed else {
            if let Some(mask) = &mut self.mask {
                if self.call.policy.as_ref().is_some_and(|policy| policy.on_guard_failure == OnGuardFailure::Closed) {
                    mask.stop("guardrail_unsupported");
                    return self.block();
                }
                mask.note_unscanned(self.pending.len() + chunk.len());
                let held = mask.finish();
                self.ready.extend(held);
            }
            let call = &mut self.call;
            // It goes on unread: the client may understand what we do not.
            call.outcome.stream_end = Some(stream_end::MALFORMED);
            call.outcome.error = Some("stream_malformed".into());
            call.outcome.unread_bytes += (self.pending.len() + if is_recorded { chunk.len() } else { 0 }) as u64;
            if !self.pending.is_empty() {
                self.ready.push_back(self.pending.split().freeze());
            }
            self.ready.push_back(chunk);
            self.framing = Framing::Plain { left: None };
            return;
        };
        if is_masked {
            let bytes = self.pending.len() + chunk.len();
            return where_it_may_wait(bytes, || self.mask_events(&chunk, events, pushed));
        }
        if pushed.complete > 0 {
            if self.pending.is_empty() {
                self.ready.push_back(chunk.slice(..pushed.complete));
            } else {
                self.pending.extend_from_slice(&chunk[..pushed.complete]);
                self.ready.push_back(self.pending.split().freeze());
            }
        }
        self.pending.extend_from_slice(&chunk[pushed.complete..pushed.last.unwrap_or(chunk.len())]);
        if pushed.last.is_some() {
            self.saw_last = true;
            self.end(None);
        }
    }

    /// Puts events through the window, and passes on what comes out.
    fn mask_events(&mut self, chunk: &Bytes, events: Vec<Whole>, pushed: sse::Pushed) {
        let Some(mask) = &mut self.mask else { return };
        let mut from = 0;
        for event in events {
            let raw = if self.pending.is_empty() {
                chunk.slice(from..event.end)
            } else {
                self.pending.extend_from_slice(&chunk[from..event.end]);
                self.pending.split().freeze()
            };
            from = event.end;
            mask.push(raw, &event.name, &event.data);
            self.ready.extend(mask.ready());
            if mask.is_blocked() {
                return self.block();
            }
        }
        if pushed.last.is_some() {
            self.saw_last = true;
            self.flush_mask();
            if matches!(self.state, State::Reading) {
                // The final event waits for the record, as it does without a window.
                if let Some(last) = self.ready.pop_back() {
                    self.pending.extend_from_slice(&last);
                }
                self.end(None);
            }
        } else {
            self.pending.extend_from_slice(&chunk[from..]);
        }
    }

    /// The stream is over within an event. Some clients take it for one all the same, so it goes through the window as if the blank line
    /// were there that ends it; what is no whole JSON is of use to nobody, and could be the rest of a value: it is dropped.
    fn finish_event(&mut self) {
        const BLANK_LINE: &[u8] = b"\n\n";
        if self.mask.is_some() && matches!(self.framing, Framing::Events(Framer::ServerSent(_))) {
            let mut is_whole = false;
            let read = sse::Parser::new().push(&[&self.pending[..], BLANK_LINE].concat(), |event| {
                let text = std::str::from_utf8(event.data).unwrap_or_default();
                is_whole = event.data == b"[DONE]" || Object::parse(text).is_ok();
                ControlFlow::Continue(())
            });
            if is_whole && read.is_ok() {
                self.absorb(Bytes::from_static(BLANK_LINE));
                self.call.outcome.response_bytes -= BLANK_LINE.len() as u64;
            }
        }
        if matches!(self.state, State::Reading) {
            self.drop_event();
        }
    }

    /// What has come of an event that does not end is never handed out where answers are masked.
    fn drop_event(&mut self) {
        if self.mask.is_some() {
            self.call.outcome.unread_bytes += self.pending.len() as u64;
            self.pending.clear();
        }
    }

    /// Lets everything out of the window that may go.
    fn flush_mask(&mut self) {
        if let Some(mask) = &mut self.mask {
            let last = mask.finish();
            if mask.is_blocked() {
                return self.block();
            }
            self.ready.extend(last);
        }
    }

    /// The policy stops the answer here: what is held is never handed out.
    fn block(&mut self) {
        self.end(None);
        let Some(mask) = &self.mask else { return };
        let failure = enforce::refusal(&mask.ruling());
        let outcome = &mut self.call.outcome;
        outcome.stream_end = Some(stream_end::BLOCKED);
        outcome.error = Some(failure.kind.into());
        self.pending.clear();
        self.pending.extend_from_slice(&failure.event(self.call.provider));
    }

    /// The answer is over.
    fn end(&mut self, error: Option<&'static str>) {
        self.state = State::Ending { cut: false };
        let outcome = &mut self.call.outcome;
        if let Some(error) = error {
            outcome.error = Some(error.into());
        }
        if outcome.stream_end.is_some() {
            return;
        }
        let (Framing::Events(_), Some(decoder)) = (&self.framing, &mut self.call.decoder) else {
            if error.is_some() {
                outcome.stream_end = Some(stream_end::UPSTREAM_ERROR);
            }
            return;
        };
        let finished = decoder.has_finished();
        let response = decoder.take();
        let (end, error) = if error.is_some() || response.error.is_some() {
            (stream_end::UPSTREAM_ERROR, None)
        } else if response.malformed_events > 0 {
            (stream_end::MALFORMED, Some("stream_malformed"))
        } else if self.saw_last || finished {
            (stream_end::COMPLETE, None)
        } else {
            (stream_end::UPSTREAM_ERROR, Some("stream_truncated"))
        };
        outcome.stream_end = Some(end);
        if let Some(error) = error {
            outcome.error = Some(error.into());
        }
        outcome.response = Some(response);
    }

    /// Records the outcome, then gives what was withheld.
    async fn close(&mut self, cut: bool) -> Bytes {
        let is_events = matches!(self.framing, Framing::Events(_));
        let is_server_sent = matches!(self.framing, Framing::Events(Framer::ServerSent(_)));
        let provider = self.call.provider;
        let whole = if is_events { self.judged_whole().await } else { None };
        if let Some(mask) = &self.mask {
            self.call.outcome.coverage = Some(mask.coverage());
            let mut ruling = mask.ruling();
            if let Some(whole) = whole {
                ruling.add(whole);
            }
            self.call.ruling = Some(ruling);
        } else if let Some(whole) = whole.filter(|_| self.call.ruling.is_none()) {
            self.call.outcome.coverage = Some((0, whole.coverage().0));
            self.call.ruling = Some(whole.afterwards());
        }
        let committed = self.call.commit().await;
        let withheld = self.pending.split();
        self.state = if cut { State::Cut } else { State::Over };
        if let Some(upstream) = self.upstream.take() {
            release(upstream);
        }
        match committed {
            Ok(Some(_)) => withheld.freeze(),
            Ok(None) if is_server_sent => {
                let mut said = BytesMut::from(&b": watchkeeper: this answer was not recorded\n\n"[..]);
                said.extend_from_slice(&withheld);
                said.freeze()
            }
            Ok(None) => withheld.freeze(),
            Err(unrecorded) => self.refuse_end(&unrecorded, is_events, provider),
        }
    }

    /// A policy that flags attacks in answers judges the whole of a stream when it is over: what is split over its events is seen so, and
    /// nothing is kept back for it.
    async fn judged_whole(&mut self) -> Option<Ruling> {
        let flags = |policy: &Arc<Policy>| matches!(policy.answers, Action::Flag | Action::Redact);
        let policy = self.call.policy.clone().filter(flags)?;
        let (guard, response) = (self.call.answer_guard()?, self.call.outcome.response.as_ref()?);
        let subject = Subject::of_pieces(Direction::Output, response.pieces.clone(), left_out(&response.attributes));
        Some(policy.judge_answer(&self.call.shared.bench, &guard, subject).await.ruling)
    }

    /// The end is not handed out: in a stream the client is told, elsewhere the connection is cut.
    fn refuse_end(&mut self, unrecorded: &Failure, is_events: bool, provider: super::target::Provider) -> Bytes {
        if is_events {
            self.state = State::Over;
            unrecorded.event(provider)
        } else {
            self.state = State::Cut;
            Bytes::new()
        }
    }
}

/// Does what takes long for much text, so that neighbours' calls do not wait for it.
pub(super) fn where_it_may_wait(bytes: usize, work: impl FnOnce()) {
    let has_others = tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread;
    if bytes > MASK_INLINE_BYTES_MAX && has_others { tokio::task::block_in_place(work) } else { work() }
}

/// Reads an answer that is over to its very end, so that its connection can be used again.
fn release(mut upstream: Incoming) {
    match upstream.frame().now_or_never() {
        Some(None | Some(Err(_))) => {}
        _ => {
            tokio::spawn(tokio::time::timeout(CLOSE_TIME_MAX, async move {
                let mut bytes = 0;
                while let Some(Ok(frame)) = upstream.frame().await {
                    bytes += frame.data_ref().map_or(0, Bytes::len);
                    if bytes > CLOSE_BYTES_MAX {
                        break;
                    }
                }
            }));
        }
    }
}
