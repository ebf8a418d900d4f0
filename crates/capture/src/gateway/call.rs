//! One call: its two events, and the promise that the second is written whatever happens to the first's client.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Channel, Event, EventId, Kind, Part, Phase, Piece, Principal, Source, SourcePath, Status, Value, attr};
use http::request::Parts;
use tokio::sync::watch;

use super::answer::{Failure, Receipts};
use super::api::{Api, StreamDecode};
use super::caller::Caller;
use super::decode::{ModelRequest, ModelResponse};
use super::guard::Guard;
use super::judging::Bench;
use super::keys::{Grant, Keys};
use super::policy::{Action, Policy, Ruling};
use super::target::{Provider, Target};
use super::upstream::{Upstream, recorded_path};
use super::{Config, OnRecordFailure};
use crate::budget::Budget;
use crate::recording::{Pending, Recording, text_bytes};
use crate::{Raw, RawEvent, Receipt, RecordError};

/// The call id of the connection that a call came on.
const CONNECTION_ID: event::Key = event::Key::of("watchkeeper.connection.call_id");

/// Bytes of text for a token, where a provider says nothing of its count: what OpenAI and Anthropic name for English.
const BYTES_PER_TOKEN: u64 = 4;

/// What all calls share.
pub(super) struct Shared {
    pub(super) recording: Recording,
    pub(super) upstream: Upstream,
    pub(super) config: Config,
    pub(super) budget: Arc<Budget>,
    /// Whether the gateway stops; every connection that stays open has a receiver of it.
    pub(super) stopping: watch::Sender<bool>,
    pub(super) keys: Keys,
    pub(super) policies: Vec<Arc<Policy>>,
    pub(super) guard: Option<Arc<dyn Guard>>,
    pub(super) bench: Bench,
}

/// What became of a call, as it is learnt.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) http_status: Option<u16>,
    /// Bytes of the answer that came.
    pub(super) response_bytes: u64,
    /// Bytes of the answer that passed without being read.
    pub(super) unread_bytes: u64,
    /// Bytes of a request body that was passed through.
    pub(super) request_bytes: Option<u64>,
    pub(super) first_chunk: Option<Duration>,
    pub(super) overhead: Option<Duration>,
    pub(super) error: Option<Cow<'static, str>>,
    pub(super) stream_end: Option<&'static str>,
    /// Bytes of text that were scanned before they were handed out, and that were not.
    pub(super) coverage: Option<(u64, u64)>,
    pub(super) response: Option<ModelResponse>,
}

/// A call whose outcome is still to be recorded. Dropped without that (the client is gone), it records what is known.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) provider: Provider,
    pub(super) api: Option<&'static Api>,
    pub(super) outcome: Outcome,
    pub(super) decoder: Option<Box<dyn StreamDecode>>,
    pub(super) call_id: String,
    /// The policy that it is under.
    pub(super) policy: Option<Arc<Policy>>,
    /// Who judges its answer, where that is not who judges everything.
    instructed: Option<Arc<dyn Guard>>,
    /// What a virtual key lets it do.
    pub(super) grant: Option<Arc<Grant>>,
    /// What was decided on its request, and on its answer, until that is recorded.
    pub(super) ruling: Option<Ruling>,
    started: Instant,
    /// Whether the request has an event of its own.
    is_request_recorded: bool,
    /// Bytes of text in the request.
    asked_bytes: u64,
    /// What both events have in common; taken when the outcome is recorded.
    template: Option<RawEvent>,
}

/// How a stream ended.
pub(super) mod stream_end {
    /// With its end marker, or after the model had said that it finished.
    pub(in super::super) const COMPLETE: &str = "complete";
    /// The client left.
    pub(in super::super) const CLIENT_DISCONNECT: &str = "client_disconnect";
    /// The upstream broke off, fell silent or reported an error.
    pub(in super::super) const UPSTREAM_ERROR: &str = "upstream_error";
    /// The policy stopped it.
    pub(in super::super) const BLOCKED: &str = "blocked";
    /// It could not be read to the end.
    pub(in super::super) const MALFORMED: &str = "malformed";
}

impl Shared {
    /// The policy of a call.
    pub(super) fn policy(&self, route: &str, models: &[&str], principal: Option<&str>) -> Option<Arc<Policy>> {
        self.policies.iter().find(|policy| policy.is_for(route, models, principal)).cloned()
    }
}

/// Most of the operator's instructions that answers are compared with; agents have one or two.
const INSTRUCTIONS_MAX: usize = 4;

impl Call {
    /// Keeps what its answer must not give away, where a policy judges answers.
    pub(super) fn note_instructions(&mut self, pieces: &[Piece<Raw>]) {
        let judges = self.policy.as_ref().is_some_and(|policy| policy.answers > Action::Observe);
        let Some(guard) = self.shared.guard.as_ref().filter(|_| judges) else { return };
        let is_instruction = |piece: &&Piece<Raw>| piece.meta.channel() == Channel::System && piece.meta.part == Part::Text;
        let instructions = pieces.iter().filter(is_instruction).map(|piece| piece.content.expose());
        let instructions: Vec<&str> = instructions.take(INSTRUCTIONS_MAX).collect();
        if !instructions.is_empty() {
            self.instructed = guard.instructed(&instructions);
        }
    }

    /// Who judges its answer.
    pub(super) fn answer_guard(&self) -> Option<Arc<dyn Guard>> {
        self.instructed.clone().or_else(|| self.shared.guard.clone())
    }

    /// A call that begins now. `started` is when its head had come.
    pub(super) fn new(shared: Arc<Shared>, target: &Target, parts: &Parts, grant: Option<Grant>, started: Instant) -> Self {
        let mut caller = Caller::of(parts);
        if let Some(grant) = &grant {
            grant.identify(&mut caller);
        }
        let call_id = uuid::Uuid::now_v7().hyphenated().to_string();
        let (kind, dialect) = (target.api.map_or(Kind::ExternalCall, |api| api.kind), target.dialect());
        let name = format!("{} {}", parts.method, recorded_path(target.path_and_query.split('?').next().unwrap_or_default()));
        let mut event: RawEvent = Event::new(kind, name, Source::new(SourcePath::Gateway, dialect));
        event.identity = caller.identity;
        event.session = caller.session;
        event.trace = caller.trace;
        event.set(attr::CALL_ID, call_id.as_str());
        event.set(attr::GEN_AI_PROVIDER_NAME, target.provider.name());
        event.set(attr::AUTH_METHOD, caller.auth_method);
        event.set(attr::HTTP_REQUEST_METHOD, parts.method.as_str());
        if let Some(base) = shared.upstream.base(target.provider) {
            event.set(attr::URL_FULL, base.recorded_url(target).as_str());
            event.set(attr::SERVER_ADDRESS, base.host());
            event.set(attr::SERVER_PORT, i64::from(base.port()));
        }
        if let Some(grant) = &grant {
            event.set(attr::GATEWAY_KEY, grant.entry.key.api_key.as_str());
        }
        Self {
            provider: target.provider,
            api: target.api,
            policy: None,
            instructed: None,
            grant: grant.map(Arc::new),
            ruling: None,
            outcome: Outcome::default(),
            decoder: None,
            call_id,
            started,
            is_request_recorded: false,
            asked_bytes: 0,
            template: Some(event),
            shared,
        }
    }

    /// A call within this one: a response on a connection that stays open. It shares who calls, its key and its policy.
    pub(super) fn within(&self, api: &'static Api) -> Self {
        let call_id = uuid::Uuid::now_v7().hyphenated().to_string();
        let template = self.template.clone().map(|mut event| {
            event.kind = api.kind;
            event.set(CONNECTION_ID, self.call_id.as_str());
            event.set(attr::CALL_ID, call_id.as_str());
            event.observed = event::Timestamp::now();
            event
        });
        Self {
            shared: Arc::clone(&self.shared),
            provider: self.provider,
            api: Some(api),
            policy: self.policy.clone(),
            instructed: self.instructed.clone(),
            grant: self.grant.clone(),
            ruling: None,
            outcome: Outcome::default(),
            decoder: None,
            call_id,
            started: Instant::now(),
            is_request_recorded: false,
            asked_bytes: 0,
            template,
        }
    }

    /// Notes the session that the provider names, where the caller named none.
    pub(super) fn note_session(&mut self, id: &str) {
        if let Some(template) = self.template.as_mut().filter(|template| template.session.is_none()) {
            template.session = Some(Raw::from(id));
        }
    }

    /// Puts what it asks into the event that tells all of it; used where a call has one event.
    pub(super) fn describe(&mut self, request: ModelRequest) {
        if let Some(template) = &mut self.template {
            *template = describe(template, request, self.api);
        }
    }

    /// Notes something of a connection on its last event.
    pub(super) fn note(&mut self, key: event::Key, value: impl Into<Value<Raw>>) {
        if let Some(template) = &mut self.template {
            template.set(key, value);
        }
    }

    /// Records a request that does not go on, or was never answered: one event tells all of it.
    pub(super) fn record_alone(mut self, request: ModelRequest, error: Option<&'static str>) -> Option<Pending> {
        self.describe(request);
        self.outcome.error = error.map(Cow::Borrowed);
        self.record_outcome()
    }

    /// Starts recording the request.
    pub(super) fn record_request(&mut self, request: Option<ModelRequest>, body_bytes: Option<u64>) -> Pending {
        let mut event = match (&mut self.template, request) {
            (Some(template), Some(request)) => describe(template, request, self.api),
            (Some(template), None) => template.clone(),
            // A request is recorded once, and before its outcome.
            (None, _) => Event::new(Kind::Gap, "gateway call", Source::new(SourcePath::Gateway, event::Key::of("http"))),
        };
        self.is_request_recorded = true;
        self.asked_bytes = text_bytes(&event.pieces);
        event.id = EventId::random();
        event.phase = Phase::Request;
        if let Some(bytes) = body_bytes {
            event.set(attr::HTTP_REQUEST_BODY_SIZE, whole(bytes));
        }
        let events = self.with_ruling(event);
        self.shared.recording.record(events)
    }

    /// An event of the call, with the decision that is to be recorded with it.
    fn with_ruling(&mut self, mut event: RawEvent) -> Vec<RawEvent> {
        let Some(ruling) = self.ruling.take() else { return vec![event] };
        ruling.describe(&mut event.attributes);
        let decision = ruling.is_notable().then(|| ruling.event(&event, &event.pieces));
        std::iter::once(event).chain(decision).collect()
    }

    /// Finds the policy for the models that are asked for; what it says of failures is recorded with the call.
    pub(super) fn choose_policy(&mut self, models: &[&str]) {
        let principal = self.grant.as_ref().map(|grant| grant.entry.key.principal.as_str());
        let route = self.api.map_or("http", |api| api.name);
        self.policy = self.shared.policy(route, models, principal);
        let says = match self.on_record_failure() {
            OnRecordFailure::FailClosed => "closed",
            OnRecordFailure::FailOpen => "open",
        };
        if let Some(template) = self.template.as_mut().filter(|_| self.policy.is_some()) {
            template.set(attr::RECORD_ON_FAILURE, says);
        }
    }

    fn on_record_failure(&self) -> OnRecordFailure {
        let of_policy = self.policy.as_ref().and_then(|policy| policy.on_record_failure);
        of_policy.unwrap_or(self.shared.config.on_record_failure)
    }

    /// What to do about a record: the receipt, none when the call passes without, or the refusal.
    pub(super) fn judge(&self, recorded: Result<Receipt, RecordError>) -> Result<Option<Receipt>, Failure> {
        match (recorded, self.on_record_failure()) {
            (Ok(receipt), _) => Ok(Some(receipt)),
            (Err(error), OnRecordFailure::FailClosed) => Err(Failure::unrecorded(&error)),
            (Err(error), OnRecordFailure::FailOpen) => {
                tracing::error!(%error, "a call passes unrecorded, as configured");
                Ok(None)
            }
        }
    }

    /// Starts recording the outcome.
    pub(super) fn record_outcome(&mut self) -> Option<Pending> {
        let event = self.outcome_event()?;
        let events = self.with_ruling(event);
        Some(self.shared.recording.record(events))
    }

    /// Records the outcome and waits for it. `None`: it passes unrecorded.
    pub(super) async fn commit(&mut self) -> Result<Option<Receipt>, Failure> {
        match self.record_outcome() {
            Some(mut pending) => self.judge(pending.durable().await),
            None => Ok(None),
        }
    }

    /// Refuses a request that never goes upstream: one event tells all of it.
    pub(super) async fn refuse(
        mut self,
        failure: Failure,
        evidence: Option<ModelRequest>,
        body_bytes: Option<u64>,
    ) -> http::Response<axum::body::Body> {
        let mut receipts = self.receipts(None, self.started.elapsed());
        if let (Some(template), Some(evidence)) = (&mut self.template, evidence) {
            *template = describe(template, evidence, self.api);
        }
        self.outcome.request_bytes = body_bytes;
        self.outcome.http_status = Some(failure.status.as_u16());
        self.outcome.error = Some(failure.kind.into());
        if let Some(mut pending) = self.record_outcome() {
            receipts.request = pending.durable().await.ok();
        }
        failure.into_response(self.provider, &receipts)
    }

    /// Gives up recording the outcome: the recorder has just failed, and nothing of the answer is handed out.
    pub(super) fn abandon(&mut self) {
        self.template = None;
    }

    pub(super) fn receipts(&self, request: Option<Receipt>, overhead: Duration) -> Receipts {
        Receipts { call_id: self.call_id.clone(), request, overhead }
    }

    /// Time since the call began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn outcome_event(&mut self) -> Option<RawEvent> {
        let mut event = self.template.take()?;
        let outcome = std::mem::take(&mut self.outcome);
        event.id = EventId::random();
        event.phase = if self.is_request_recorded { Phase::Response } else { Phase::Complete };
        if event.phase == Phase::Response
            && let Some(api) = self.api
        {
            event.kind = api.answer_kind;
        }
        event.observed = event::Timestamp::now();
        event.duration_ns = Some(nanoseconds(self.started.elapsed()));
        let response = outcome.response.or_else(|| self.decoder.as_mut().map(|decoder| decoder.take()));
        let mut error = outcome.error;
        if let Some(response) = response {
            error = error.or_else(|| response.error.map(Cow::Owned));
            event.attributes.extend(response.attributes);
            event.unmapped = response.unmapped;
            event.pieces = response.pieces;
        }
        if let Some(status) = outcome.http_status {
            event.set(attr::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
            if status >= 400 {
                error = error.or_else(|| Some(status.to_string().into()));
            }
        }
        event.status = if error.is_some() { Status::Error } else { Status::Ok };
        if let Some(error) = error {
            event.set(attr::ERROR_TYPE, &*error);
        }
        event.set(attr::HTTP_RESPONSE_BODY_SIZE, whole(outcome.response_bytes));
        if let Some(bytes) = outcome.request_bytes {
            event.set(attr::HTTP_REQUEST_BODY_SIZE, whole(bytes));
        }
        if outcome.unread_bytes > 0 {
            let cut = event.attribute(attr::CONTENT_BYTES_CUT.as_str()).and_then(Value::as_int).unwrap_or(0);
            event.set(attr::CONTENT_BYTES_CUT, cut.saturating_add(whole(outcome.unread_bytes)));
        }
        if let Some(wait) = outcome.first_chunk {
            event.attributes.insert(attr::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, Value::double(wait.as_secs_f64()));
        }
        if let Some(overhead) = outcome.overhead {
            event.set(attr::GATEWAY_OVERHEAD_US, i64::try_from(overhead.as_micros()).unwrap_or(i64::MAX));
        }
        if let Some((scanned, unscanned)) = outcome.coverage {
            event.set(attr::ANSWER_SCANNED_BYTES, whole(scanned));
            event.set(attr::ANSWER_UNSCANNED_BYTES, whole(unscanned));
        }
        if let Some(grant) = &self.grant {
            let is_estimated = self.is_request_recorded
                && self.api.is_some_and(|api| api.kind == Kind::ModelCall)
                && outcome.http_status.is_none_or(|status| status < 400);
            let is_whole = outcome.stream_end.is_none_or(|end| end == stream_end::COMPLETE);
            let asked_bytes = if is_estimated { self.asked_bytes } else { 0 };
            let said_bytes = if is_estimated { text_bytes(&event.pieces) } else { 0 };
            grant.count_tokens(tokens(&event, asked_bytes, said_bytes, is_whole));
        }
        if let Some(end) = outcome.stream_end {
            event.set(attr::STREAM_END, end);
        }
        Some(event)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.template.is_none() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.outcome.stream_end = self.outcome.stream_end.or(Some(stream_end::CLIENT_DISCONNECT));
        if self.outcome.error.is_none() {
            self.outcome.error = Some(stream_end::CLIENT_DISCONNECT.into());
        }
        // Runs on by itself; nobody is left who could be told.
        drop(self.record_outcome());
    }
}

/// Puts what a request says into the template of both events; returns the request's event.
fn describe(template: &mut RawEvent, request: ModelRequest, api: Option<&Api>) -> RawEvent {
    let model = request.model.unwrap_or_default();
    if let Some(api) = api.filter(|api| api.kind == Kind::ModelCall) {
        let operation = api.operation;
        template.name = Raw::from(if model.is_empty() { operation.to_owned() } else { format!("{operation} {model}") });
        template.set(attr::GEN_AI_OPERATION_NAME, operation);
        template.set(attr::GEN_AI_REQUEST_STREAM, request.stream);
    }
    if !model.is_empty() {
        template.set(attr::GEN_AI_REQUEST_MODEL, model.as_str());
    }
    // What the operator's header says goes before what the body says.
    if template.identity.user.is_none() {
        template.identity.user = request.user.filter(|user| !user.is_empty()).map(Principal::asserted);
    }
    if template.session.is_none() {
        template.session = request.session.filter(|session| !session.is_empty()).map(Raw::from);
    }
    let mut event = template.clone();
    event.attributes.extend(request.attributes);
    event.unmapped = request.unmapped;
    event.pieces = request.pieces;
    event
}

/// The tokens of a call as the provider counts them; where it does not say, or did not come to say it, by the bytes of the texts.
fn tokens(event: &RawEvent, asked_bytes: u64, said_bytes: u64, is_whole: bool) -> u64 {
    let count = |key: event::Key| event.attributes.get(&key).and_then(Value::as_int).and_then(|count| u64::try_from(count).ok());
    let (asked, said) = (asked_bytes.div_ceil(BYTES_PER_TOKEN), said_bytes.div_ceil(BYTES_PER_TOKEN));
    let input = count(attr::GEN_AI_USAGE_INPUT_TOKENS).unwrap_or(asked);
    let output = match count(attr::GEN_AI_USAGE_OUTPUT_TOKENS) {
        Some(counted) if is_whole => counted,
        // What stands at the beginning of a stream that breaks off is no count of the rest.
        counted => counted.unwrap_or(0).max(said),
    };
    input.saturating_add(output)
}

fn whole(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_estimated_where_nobody_counts_them() {
        let event = |counts: &[(event::Key, i64)]| {
            let mut event: RawEvent =
                Event::new(Kind::ModelCall, "x", Source::new(SourcePath::Gateway, event::Key::of("openai.chat")));
            for (key, count) in counts {
                event.set(key.clone(), *count);
            }
            event
        };
        let (input, output) = (attr::GEN_AI_USAGE_INPUT_TOKENS, attr::GEN_AI_USAGE_OUTPUT_TOKENS);
        assert_eq!(tokens(&event(&[(input.clone(), 7), (output.clone(), 5)]), 400, 400, true), 12);
        assert_eq!(tokens(&event(&[]), 401, 40, true), 101 + 10);
        assert_eq!(tokens(&event(&[(input, 7), (output, 1)]), 400, 40, false), 7 + 10, "it broke off");
    }
}
