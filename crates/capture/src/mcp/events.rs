//! A stream of events on its way from a server to a client.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::conversation::{Conversation, Onward};
use crate::broken_off::BrokenOff;
use crate::budget::Share;
use crate::gateway::sse;
use crate::outbound::root_cause;

/// A stream: each event is a message, which is recorded before it goes on where that is asked for.
pub(super) struct Relay {
    conversation: Arc<Conversation>,
    upstream: Incoming,
    parser: sse::Parser,
    /// The beginning of an event.
    pending: BytesMut,
    ready: VecDeque<Bytes>,
    chunk: Bytes,
    /// An event was too long, or the stream is packed: what follows is not read.
    is_unread: bool,
    is_over: bool,
    /// For the beginning of an event.
    share: Share,
}

impl Relay {
    /// A stream; `is_unread`: it goes on as it comes.
    pub(super) fn new(conversation: Arc<Conversation>, upstream: Incoming, share: Share, is_unread: bool) -> Self {
        Self {
            conversation,
            upstream,
            parser: sse::Parser::new(),
            pending: BytesMut::new(),
            ready: VecDeque::new(),
            chunk: Bytes::new(),
            is_unread,
            is_over: false,
            share,
        }
    }

    /// As the body of an answer.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut relay| async move { relay.next().await.map(|piece| (piece, relay)) }))
    }

    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            if self.is_over {
                return None;
            }
            if self.chunk.is_empty() {
                match self.upstream.frame().await {
                    Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => {
                        tracing::debug!(cause = root_cause(&error), "the server broke off its stream");
                        self.is_over = true;
                        return Some(Err(BrokenOff::after_what_came().await));
                    }
                    None => {
                        self.is_over = true;
                        return self.rest().await.map(Ok);
                    }
                }
                continue;
            }
            self.absorb().await;
        }
    }

    /// What is left at the end. An event without its end says nothing by the standard, and something to readers that are not strict.
    async fn rest(&mut self) -> Option<Bytes> {
        let rest = self.pending.split().freeze();
        if rest.is_empty() || (self.parser.is_inside_event() && self.conversation.server_sends_unread(&rest).await.is_err()) {
            return None;
        }
        Some(rest)
    }

    /// Takes the next event of the chunk.
    async fn absorb(&mut self) {
        if self.is_unread {
            self.ready.push_back(std::mem::take(&mut self.chunk));
            return;
        }
        let has_room = self.share.cover(self.pending.len() + self.chunk.len()).is_ok();
        let mut message = None;
        let pushed = self.parser.push(&self.chunk, |event| {
            message = Some(Bytes::copy_from_slice(event.data));
            ControlFlow::Break(())
        });
        let Some(pushed) = pushed.ok().filter(|_| has_room) else {
            let begun = self.pending.split().freeze();
            let may_pass = self.conversation.server_begins_too_large(&begun).await.is_ok();
            self.is_unread = true;
            self.is_over = !may_pass;
            if may_pass {
                self.ready.push_back(begun);
                self.ready.push_back(std::mem::take(&mut self.chunk));
            }
            return;
        };
        let Some(end) = pushed.last else {
            // Comments and blank lines, and the beginning of the next event.
            self.pending.extend_from_slice(&std::mem::take(&mut self.chunk));
            if pushed.complete > 0 && !self.parser.is_inside_event() {
                self.ready.push_back(self.pending.split().freeze());
                self.share.clear();
            }
            return;
        };
        self.pending.extend_from_slice(&self.chunk[..end]);
        self.chunk = self.chunk.slice(end..);
        let event = self.pending.split().freeze();
        self.share.clear();
        let message = message.unwrap_or_default();
        // An event without data names an id to resume from (2025-11-25).
        if message.is_empty() {
            self.ready.push_back(event);
            return;
        }
        match self.conversation.server_message(message).await.onward {
            Onward::Message(_) => self.ready.push_back(event),
            Onward::Instead(error) => {
                let told = [&b"event: message\ndata: "[..], &error, b"\n\n"].concat();
                self.ready.push_back(told.into());
            }
            Onward::Nothing => {}
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.conversation.is_one_exchange()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let conversation = self.conversation.clone();
            runtime.spawn(async move { conversation.end("closed").await });
        }
    }
}
