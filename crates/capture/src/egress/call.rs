//! One call to somewhere outside: its two events, and the promise that the second is written whatever happens to the client.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use event::{Event, EventId, Key, Kind, Phase, Source, SourcePath, Status, attr};
use http::Response;

use super::Shared;
use super::answer::Failure;
use super::policy::Ruling;
use super::slots::Slot;
use super::target::Target;
use crate::gateway::OnRecordFailure;
use crate::gateway::caller::Caller;
use crate::recording::Pending;
use crate::{Raw, RawEvent, Receipt, RecordError};

/// How the proxy sees a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A request in plain text.
    Http,
    /// Bytes of a CONNECT.
    Tunnel,
    /// A request inside of a CONNECT whose TLS ends here.
    Intercepted,
    /// Such a CONNECT itself. What passes in it is counted with its requests.
    Session,
}

/// How a call ended, where it is not by the end of its answer.
pub(super) mod end {
    pub(in super::super) const CLIENT_CLOSED: &str = "client_closed";
    pub(in super::super) const UPSTREAM_CLOSED: &str = "upstream_closed";
    pub(in super::super) const UPSTREAM_ERROR: &str = "upstream_error";
    pub(in super::super) const CLIENT_DISCONNECT: &str = "client_disconnect";
    pub(in super::super) const IDLE: &str = "idle";
    pub(in super::super) const BLOCKED: &str = "blocked";
    pub(in super::super) const STOPPED: &str = "proxy_stopped";
}

/// Bytes that have passed. Shared with those who pass them on.
#[derive(Debug, Clone, Default)]
pub(super) struct Bytes {
    /// From the client.
    pub(super) sent: Arc<AtomicU64>,
    /// To the client.
    pub(super) received: Arc<AtomicU64>,
}

/// A call whose outcome is still to be recorded. Dropped without that (the client is gone), it records what is known.
pub(super) struct Call {
    shared: Arc<Shared>,
    pub(super) mode: Mode,
    pub(super) bytes: Bytes,
    /// Bytes of the request's head, once it has gone.
    pub(super) head_bytes: u64,
    /// Its place among the connections; those of one session share theirs.
    pub(super) slot: Option<Arc<Slot>>,
    pub(super) status: Option<u16>,
    pub(super) error: Option<Cow<'static, str>>,
    pub(super) end: Option<&'static str>,
    /// What was decided, until it is recorded.
    ruling: Option<Ruling>,
    started: Instant,
    is_request_recorded: bool,
    /// What both events have in common; taken when the outcome is recorded.
    template: Option<RawEvent>,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tunnel => "tunnel",
            Self::Intercepted | Self::Session => "intercepted",
        }
    }
}

impl Call {
    /// A call that begins now.
    pub(super) fn new(
        shared: &Arc<Shared>,
        mode: Mode,
        method: &str,
        target: &Target,
        caller: Caller,
        key: Option<&str>,
    ) -> Self {
        let default_port = if mode == Mode::Http { 80 } else { 443 };
        let dialect = Key::of(if mode == Mode::Tunnel { "connect" } else { "http" });
        let name = format!("{method} {}", target.authority(default_port));
        let mut event: RawEvent = Event::new(Kind::ExternalCall, name, Source::new(SourcePath::Egress, dialect));
        event.identity = caller.identity;
        event.session = caller.session;
        event.trace = caller.trace;
        event.set(attr::CALL_ID, uuid::Uuid::now_v7().hyphenated().to_string().as_str());
        event.set(attr::EGRESS_MODE, mode.as_str());
        event.set(attr::HTTP_REQUEST_METHOD, method);
        event.set(attr::SERVER_ADDRESS, target.host.as_str());
        event.set(attr::SERVER_PORT, i64::from(target.port));
        event.set(attr::RECORD_ON_FAILURE, if shared.fails_open() { "open" } else { "closed" });
        if mode != Mode::Tunnel {
            // Whom a tunnel's bytes show is not known.
            event.set(attr::AUTH_METHOD, caller.auth_method);
        }
        if let Some(key) = key {
            event.set(attr::EGRESS_KEY, key);
        }
        Self {
            shared: shared.clone(),
            mode,
            bytes: Bytes::default(),
            head_bytes: 0,
            slot: None,
            status: None,
            error: None,
            end: None,
            ruling: None,
            started: Instant::now(),
            is_request_recorded: false,
            template: Some(event),
        }
    }

    /// What the record says of the call, from now on.
    pub(super) fn describe(&mut self, describe: impl FnOnce(&mut RawEvent)) {
        if let Some(template) = &mut self.template {
            describe(template);
        }
    }

    /// From now on it is a CONNECT whose TLS ends here.
    pub(super) fn becomes_session(&mut self) {
        self.mode = Mode::Session;
        self.describe(|event| event.set(attr::EGRESS_MODE, Mode::Session.as_str()));
    }

    /// Notes where the connection leads.
    pub(super) fn connected(&mut self, peer: SocketAddr) {
        self.describe(|event| {
            event.set(attr::NETWORK_PEER_ADDRESS, peer.ip().to_string().as_str());
            event.set(attr::NETWORK_PEER_PORT, i64::from(peer.port()));
        });
    }

    /// Notes a decision; it is recorded with the next event.
    pub(super) fn rule(&mut self, ruling: Option<Ruling>) {
        if let Some(ruling) = ruling {
            self.describe(|event| {
                if ruling.is_blocked {
                    event.set(attr::APPROVAL_STATUS, "denied");
                    event.set(attr::APPROVAL_SOURCE, "config");
                }
                event.set(attr::GUARD_REASON, ruling.reason.as_str());
            });
            self.ruling = Some(ruling);
        }
    }

    /// Starts recording the request.
    pub(super) fn record_request(&mut self) -> Option<Pending> {
        let mut event = self.template.clone()?;
        self.is_request_recorded = true;
        event.id = EventId::random();
        event.phase = Phase::Request;
        let events = self.with_ruling(event);
        Some(self.shared.recording.record(events))
    }

    /// What to do about a record: nothing, or the refusal.
    pub(super) fn judge(&self, recorded: Result<Receipt, RecordError>) -> Result<(), Failure> {
        match recorded {
            Ok(_) => Ok(()),
            Err(error) if self.shared.fails_open() => {
                tracing::error!(%error, "a call passes unrecorded, as configured");
                Ok(())
            }
            Err(error) => Err(Failure::unrecorded(&error)),
        }
    }

    /// Records the request and waits for it. Where it must not go on, nothing more is recorded of it.
    pub(super) async fn commit_request(&mut self) -> Result<(), Failure> {
        let Some(mut pending) = self.record_request() else { return Ok(()) };
        let recorded = pending.durable().await;
        self.judge(recorded).inspect_err(|_| self.abandon())
    }

    /// Records the outcome and waits for it.
    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        match self.record_outcome() {
            Some(mut pending) => self.judge(pending.durable().await),
            None => Ok(()),
        }
    }

    /// Ends a call that does not succeed, once that is recorded.
    pub(super) async fn fail(mut self, failure: Failure) -> Response<axum::body::Body> {
        self.status = Some(failure.status.as_u16());
        self.error = Some(failure.kind.into());
        match self.commit().await {
            Ok(()) => failure.into_response(),
            Err(unrecorded) => unrecorded.into_response(),
        }
    }

    /// Gives up recording the outcome: the recorder has just failed and nothing goes on, or others record what happens.
    pub(super) fn abandon(&mut self) {
        self.template = None;
    }

    fn record_outcome(&mut self) -> Option<Pending> {
        let mut event = self.template.take()?;
        event.id = EventId::random();
        event.phase = if self.is_request_recorded { Phase::Response } else { Phase::Complete };
        event.observed = event::Timestamp::now();
        event.duration_ns = Some(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let mut error = self.error.take();
        if let Some(status) = self.status {
            event.set(attr::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
            if status >= 400 {
                error = error.or_else(|| Some(status.to_string().into()));
            }
        }
        event.status = if error.is_some() { Status::Error } else { Status::Ok };
        if let Some(error) = error {
            event.set(attr::ERROR_TYPE, &*error);
        }
        let (sent, received) = (self.bytes.sent.load(Ordering::Relaxed), self.bytes.received.load(Ordering::Relaxed));
        let counts = match self.mode {
            Mode::Tunnel => vec![(attr::SOURCE_BYTES, sent), (attr::DESTINATION_BYTES, received)],
            // A head carries as much out as a body does.
            Mode::Http | Mode::Intercepted => vec![
                (attr::SOURCE_BYTES, sent.saturating_add(self.head_bytes)),
                (attr::HTTP_REQUEST_BODY_SIZE, sent),
                (attr::HTTP_RESPONSE_BODY_SIZE, received),
            ],
            Mode::Session => Vec::new(),
        };
        for (key, count) in counts {
            event.set(key, i64::try_from(count).unwrap_or(i64::MAX));
        }
        if let Some(end) = self.end {
            event.set(attr::STREAM_END, end);
        }
        let events = self.with_ruling(event);
        Some(self.shared.recording.record(events))
    }

    /// An event of the call, with the decision that is to be recorded with it.
    fn with_ruling(&mut self, event: RawEvent) -> Vec<RawEvent> {
        let Some(ruling) = self.ruling.take() else { return vec![event] };
        let mut decision = event.clone();
        decision.id = EventId::random();
        decision.kind = Kind::Guardrail;
        decision.phase = Phase::Complete;
        decision.name = Raw::from("egress.policy");
        decision.duration_ns = None;
        // The call has it; whatever names a URL counts as one.
        decision.attributes.remove(attr::URL_FULL.as_str());
        decision.set(attr::CAUSE_EVENT_ID, event.id.to_string().as_str());
        decision.set(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME, "watchkeeper.egress");
        decision.set(attr::GEN_AI_GUARDRAIL_SECURITY_POLICY_ID, ruling.policy);
        decision.set(attr::GEN_AI_GUARDRAIL_VERDICT_TYPE, "deny");
        decision.set(attr::GEN_AI_GUARDRAIL_ACTION_TYPE, if ruling.is_blocked { "block" } else { "allow" });
        vec![event, decision]
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.template.is_none() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.end = self.end.or(Some(end::CLIENT_DISCONNECT));
        if self.error.is_none() {
            self.error = Some(end::CLIENT_DISCONNECT.into());
        }
        // Runs on by itself; nobody is left who could be told.
        drop(self.record_outcome());
    }
}

impl Shared {
    fn fails_open(&self) -> bool {
        self.config.on_record_failure == OnRecordFailure::FailOpen
    }
}
