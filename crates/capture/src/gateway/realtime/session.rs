//! What passes on a connection: both ways at once, each message read before it goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event::{Direction, Key, Part, Piece, PieceMeta, Role, attr};
use http::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::ReadHalf;
use tokio::sync::watch;

use super::super::answer::Failure;
use super::super::api::REALTIME_RESPONSE;
use super::super::call::{Call, Shared, stream_end};
use super::super::decode::{DecodeError, MALFORMED_EVENTS, ModelRequest};
use super::super::judging::{Form, Subject, left_out};
use super::super::openai::realtime::{Conversation, Heard, Said, Step, error_of, read_client};
use super::super::policy::{Action, Decision, Policy, Ruling};
use super::super::relay::where_it_may_wait;
use super::super::{enforce, json};
use super::error_event;
use super::frames::{Incoming, Message, Reader, Side, close, close_payload};
use super::line::{CLOSE_TIME_MAX, Ended, Line, Out, next};
use super::responses::{Open, State};
use crate::recording::Pending;
use crate::{Raw, RecordError};

/// Most responses that are under way at once on one connection. The API has one of the conversation, and some beside it.
const OPEN_MAX: usize = 64;

/// How much of a message that cannot be read is kept as evidence, in bytes.
const EVIDENCE_BYTES_MAX: usize = 64 * 1024;

/// The code of the close frame that ended a connection.
const CLOSE_CODE: Key = Key::of("watchkeeper.websocket.close_code");

/// Who ended a connection: `client`, `upstream` or `gateway`.
const CLOSED_BY: Key = Key::of("watchkeeper.websocket.closed_by");

/// A connection on which both sides speak.
pub(super) struct Session {
    shared: Arc<Shared>,
    policy: Option<Arc<Policy>>,
    state: Mutex<State>,
    /// Bytes of messages, as they came.
    sent: AtomicU64,
    heard: AtomicU64,
    /// Bytes of messages that passed unread, and events of the upstream that could not be read.
    unread: AtomicU64,
    malformed: AtomicU64,
}

impl Session {
    pub(super) fn new(call: Call, model: Option<String>) -> Self {
        let conversation = Conversation::new(model.clone());
        Self {
            shared: Arc::clone(&call.shared),
            policy: call.policy.clone(),
            state: Mutex::new(State { call, model, conversation, open: Vec::new(), ruling: None }),
            sent: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            unread: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        }
    }

    /// Lets both sides speak until one ends it, and records how it ended.
    pub(super) async fn run(self, client: Upgraded, upstream: Upgraded, mut stopping: watch::Receiver<bool>) {
        let stall_max = self.shared.config.limits.client_idle;
        let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
        let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upstream));
        let client = Line::new(Side::Client, to_client, stall_max);
        let upstream = Line::new(Side::Upstream, to_upstream, stall_max);
        let ended = {
            let up = self.upwards(Reader::new(from_client, Side::Client, &self.shared.budget), &client, &upstream);
            let down = self.downwards(Reader::new(from_upstream, Side::Upstream, &self.shared.budget), &client, &upstream);
            let stopped = async {
                let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
            };
            tokio::pin!(up, down);
            tokio::select! {
                ended = &mut up => {
                    if matches!(ended, Ended::Closed { .. }) {
                        let _ = tokio::time::timeout(CLOSE_TIME_MAX, down).await;
                    }
                    ended
                }
                ended = &mut down => {
                    if matches!(ended, Ended::Closed { .. }) {
                        let _ = tokio::time::timeout(CLOSE_TIME_MAX, up).await;
                    }
                    ended
                }
                () = stopped => Ended::Stopped,
            }
        };
        self.say_goodbye(&ended, &client, &upstream).await;
        self.finish(&ended).await;
        // The gateway's stop waits until nobody has one of these any more.
        drop(stopping);
    }

    async fn upwards(&self, mut reader: Reader<ReadHalf<TokioIo<Upgraded>>>, client: &Line, upstream: &Line) -> Ended {
        loop {
            let incoming = match next(&mut reader, client).await {
                Ok(incoming) => incoming,
                Err(ended) => return ended,
            };
            let passed = match incoming {
                Incoming::Ping(payload) => upstream.send(Out::Ping(&payload)).await,
                Incoming::Pong(payload) => upstream.send(Out::Pong(&payload)).await,
                Incoming::Close(code, payload) => {
                    let _ = upstream.send(Out::Close(&payload)).await;
                    return Ended::Closed { by: Side::Client, code };
                }
                Incoming::Message(message) => self.say(message, client, upstream).await,
            };
            if let Err(ended) = passed {
                return ended;
            }
        }
    }

    async fn downwards(&self, mut reader: Reader<ReadHalf<TokioIo<Upgraded>>>, client: &Line, upstream: &Line) -> Ended {
        loop {
            let incoming = match next(&mut reader, upstream).await {
                Ok(incoming) => incoming,
                Err(ended) => return ended,
            };
            let passed = match incoming {
                Incoming::Ping(payload) => client.send(Out::Ping(&payload)).await,
                Incoming::Pong(payload) => client.send(Out::Pong(&payload)).await,
                Incoming::Close(code, payload) => {
                    let _ = client.send(Out::Close(&payload)).await;
                    return Ended::Closed { by: Side::Upstream, code };
                }
                Incoming::Message(message) => match self.hear(&message).await {
                    Ok(()) => client.send(Out::Message(&message)).await,
                    Err(ended) => Err(ended),
                },
            };
            if let Err(ended) = passed {
                return ended;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message of the client, and passes it on when it may.
    async fn say(&self, mut message: Message, client: &Line, upstream: &Line) -> Result<(), Ended> {
        let bytes = message.payload.len();
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        let mut read: Result<Said, DecodeError> = Err(DecodeError::NotUtf8 { offset: 0 });
        where_it_may_wait(bytes, || read = read_client(&message.payload));
        let judging = self.policy.clone().filter(|policy| policy.judges_requests());
        let mut said = match read {
            Ok(said) => said,
            // Bytes that are no event: what they are, only the provider knows.
            Err(_) if !message.is_text && judging.is_none() => {
                self.unread.fetch_add(bytes as u64, Ordering::Relaxed);
                return upstream.send(Out::Message(&message)).await;
            }
            Err(error) => {
                let failure = Failure::new(StatusCode::BAD_REQUEST, "request_malformed", error.to_string());
                return self.refuse(&failure, evidence(&message.payload), None, None, client).await;
            }
        };
        let event_id = said.event_id.clone();
        if let Err(failure) = self.allows_model(said.model.as_deref()) {
            let request = ModelRequest { pieces: said.pieces, ..ModelRequest::default() };
            return self.refuse(&failure, request, None, event_id.as_deref(), client).await;
        }
        let is_sound_alone = matches!(said.step, Step::Sound { alone: true, .. });
        if let Some(policy) = judging.filter(|_| !is_sound_alone) {
            let (ruling, beside, passed) = self.judged(&policy, &said, message).await;
            message = passed;
            if ruling.action == Action::Block {
                said.pieces.extend(beside);
                let request = ModelRequest { pieces: said.pieces, attributes: said.attributes, ..ModelRequest::default() };
                let failure = enforce::refusal(&ruling);
                return self.refuse(&failure, request, Some(ruling), event_id.as_deref(), client).await;
            }
            let mut state = self.state();
            state.conversation.add(beside);
            match &mut state.ruling {
                Some(before) => before.merge(ruling),
                none => *none = Some(ruling),
            }
        }
        let goes_on = if matches!(said.step, Step::Ask(_)) {
            self.ask(said, bytes, client).await?
        } else {
            self.state().conversation.say(said);
            match self.keep_what_waits().await {
                Ok(()) => true,
                Err(failure) => {
                    client.send(Out::Text(&error_event(&failure, event_id.as_deref()))).await?;
                    false
                }
            }
        };
        if goes_on { upstream.send(Out::Message(&message)).await } else { Ok(()) }
    }

    /// Decides on a message, and gives what may go on of it.
    async fn judged(&self, policy: &Arc<Policy>, said: &Said, message: Message) -> (Ruling, Vec<Piece<Raw>>, Message) {
        let Some(guard) = self.shared.guard.clone() else {
            return (policy.unjudged("guardrail_missing"), Vec::new(), message);
        };
        let subject = Subject {
            direction: Direction::Input,
            pieces: said.pieces.clone(),
            body: message.payload.clone(),
            form: Form::Json,
            left_out: left_out(&said.attributes),
            held: Some(Arc::clone(&message.held)),
        };
        let Decision { mut ruling, beside, rewritten } = policy.judge_request(&self.shared.bench, &guard, subject).await;
        if ruling.action != Action::Redact {
            return (ruling, beside, message);
        }
        match rewritten.filter(|(_, count)| *count > 0) {
            Some((redacted, count)) => {
                ruling.note_redactions(count);
                (ruling, beside, message.rewritten(redacted))
            }
            None => {
                ruling.fail("guardrail_unsupported");
                (ruling, beside, message)
            }
        }
    }

    /// Whether a session may be of another model than the connection: its key and its policy were chosen by that one.
    fn allows_model(&self, model: Option<&str>) -> Result<(), Failure> {
        let state = self.state();
        let Some(model) = model.filter(|model| state.model.as_deref() != Some(*model)) else { return Ok(()) };
        if let Some(grant) = &state.call.grant {
            grant.allows(model)?;
        }
        let principal = state.call.grant.as_ref().map(|grant| grant.entry.key.principal.as_str());
        let policy = self.shared.policy(REALTIME_RESPONSE.name, &[model], principal);
        if policy.as_ref().map(Arc::as_ptr) == self.policy.as_ref().map(Arc::as_ptr) {
            return Ok(());
        }
        let message = format!("another policy is for the model {model:?} than for the connection's; name it when you connect");
        Err(Failure::new(StatusCode::BAD_REQUEST, "model_ambiguous", message))
    }

    /// Begins a response that the client asks for. Whether it may be asked for; otherwise the client was told why not.
    async fn ask(&self, said: Said, bytes: usize, client: &Line) -> Result<bool, Ended> {
        if let Err(failure) = self.counted() {
            let request = ModelRequest { pieces: said.pieces, ..ModelRequest::default() };
            self.refuse(&failure, request, None, said.event_id.as_deref(), client).await?;
            return Ok(false);
        }
        let asked_by = said.event_id.clone();
        let (mut call, mut pending) = {
            let mut state = self.state();
            let Some(request) = state.conversation.say(said) else { return Ok(true) };
            state.begin(request, bytes)
        };
        // What may find no place in the record is recorded before it is asked.
        let mut is_kept = false;
        if pending.goes_first {
            if let Err(failure) = call.judge(pending.durable().await) {
                call.abandon();
                client.send(Out::Text(&error_event(&failure, asked_by.as_deref()))).await?;
                return Ok(false);
            }
            is_kept = true;
        }
        let pending = (!is_kept).then_some(pending);
        self.state().open.push(Open { call, pending, id: None, asked_by, sound: 0 });
        Ok(true)
    }

    /// Counts a response under the limits of the key, and of the connection.
    fn counted(&self) -> Result<(), Failure> {
        let state = self.state();
        if state.open.len() >= OPEN_MAX {
            let message = format!("{OPEN_MAX} responses are under way on this connection; wait for one to end");
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "gateway_busy", message));
        }
        state.call.grant.as_ref().map_or(Ok(()), |grant| grant.count_call())
    }

    /// Records what was said and not answered, where too much of it waits.
    async fn keep_what_waits(&self) -> Result<(), Failure> {
        let recorded = {
            let mut state = self.state();
            if !state.conversation.is_full() {
                return Ok(());
            }
            state.rest()
        };
        let Some(mut pending) = recorded else { return Ok(()) };
        let outcome = pending.durable().await;
        self.recorded(outcome)
    }

    /// What a record's outcome means for the connection.
    fn recorded(&self, outcome: Result<crate::Receipt, RecordError>) -> Result<(), Failure> {
        self.state().call.judge(outcome).map(drop)
    }

    /// Tells the client that an event does not go on, once that is recorded.
    async fn refuse(
        &self,
        failure: &Failure,
        evidence: ModelRequest,
        ruling: Option<Ruling>,
        event_id: Option<&str>,
        client: &Line,
    ) -> Result<(), Ended> {
        let pending = {
            let state = self.state();
            let mut call = state.call.within(&REALTIME_RESPONSE);
            call.ruling = ruling;
            let model = state.conversation.model().map(str::to_owned);
            call.record_alone(ModelRequest { model, stream: true, ..evidence }, Some(failure.kind))
        };
        if let Some(mut pending) = pending {
            // Nothing of it went on: whether it is recorded changes nothing for the client.
            let _ = pending.durable().await;
        }
        client.send(Out::Text(&error_event(failure, event_id))).await
    }

    /// Takes a message of the upstream: what it belongs to is recorded before it is handed out.
    async fn hear(&self, message: &Message) -> Result<(), Ended> {
        let bytes = message.payload.len();
        self.heard.fetch_add(bytes as u64, Ordering::Relaxed);
        let mut heard = Heard::Malformed;
        where_it_may_wait(bytes, || heard = self.state().conversation.hear(&message.payload));
        match &heard {
            Heard::Malformed => {
                self.malformed.fetch_add(1, Ordering::Relaxed);
                self.unread.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Heard::Session(Some(id)) => self.state().call.note_session(id),
            Heard::Session(None) => {}
            Heard::Began(id) => self.began(id.as_deref())?,
            Heard::Ended(id) if !self.state().open.iter().any(|open| open.is(id.as_deref())) => self.began(id.as_deref())?,
            Heard::Transcribed(_) | Heard::Failed(_) | Heard::Other => self.keep_what_waits().await.map_err(Ended::Failed)?,
            _ => {}
        }
        match heard {
            Heard::Began(id) | Heard::Part(id) => {
                where_it_may_wait(bytes, || self.state().add(id.as_deref(), &message.payload));
                self.gate(id.as_deref()).await
            }
            Heard::Sound(id, characters) => {
                self.state().add_sound(id.as_deref(), bytes, characters);
                self.gate(id.as_deref()).await
            }
            Heard::Ended(id) => {
                where_it_may_wait(bytes, || self.state().add(id.as_deref(), &message.payload));
                self.gate(id.as_deref()).await?;
                let open = self.state().take(id.as_deref());
                match open {
                    Some(open) => self.complete(open).await,
                    None => Ok(()),
                }
            }
            Heard::Failed(event_id) => {
                let open = self.state().take_failed(event_id.as_deref());
                let (mut call, pending) = match open {
                    Some(open) => (open.call, open.pending),
                    None => (self.state().within(), None),
                };
                if let Some(mut pending) = pending {
                    let outcome = pending.durable().await;
                    self.recorded(outcome).map_err(Ended::Failed)?;
                }
                call.decoder = None;
                call.outcome.response = error_of(&message.payload);
                call.outcome.response_bytes = bytes as u64;
                call.commit().await.map(drop).map_err(Ended::Failed)
            }
            Heard::Transcribed(response) => {
                let mut call = self.state().within();
                call.outcome.response = Some(*response);
                call.outcome.response_bytes = bytes as u64;
                call.commit().await.map(drop).map_err(Ended::Failed)
            }
            Heard::Session(_) | Heard::Other | Heard::Malformed => Ok(()),
        }
    }

    /// A response began: one that was asked for, or one that the provider begins by itself when the user has spoken.
    fn began(&self, id: Option<&str>) -> Result<(), Ended> {
        let mut state = self.state();
        if let Some(open) = state.open.iter_mut().find(|open| open.id.is_none()) {
            open.id = id.map(str::to_owned);
            return Ok(());
        }
        drop(state);
        let counted = self.counted();
        let mut state = self.state();
        if state.open.len() < OPEN_MAX {
            let request = state.conversation.ask_by_itself();
            let (call, pending) = state.begin(request, 0);
            state.open.push(Open { call, pending: Some(pending), id: id.map(str::to_owned), asked_by: None, sound: 0 });
        }
        counted.map_err(Ended::Failed)
    }

    /// Waits until the request of a response is on disk; of an event that names none, those of all.
    async fn gate(&self, id: Option<&str>) -> Result<(), Ended> {
        let waiting: Vec<Pending> = {
            let mut state = self.state();
            state.open.iter_mut().filter(|open| id.is_none() || open.is(id)).filter_map(|open| open.pending.take()).collect()
        };
        for mut pending in waiting {
            let outcome = pending.durable().await;
            self.recorded(outcome).map_err(Ended::Failed)?;
        }
        Ok(())
    }

    /// Records a response that is over.
    async fn complete(&self, open: Open) -> Result<(), Ended> {
        let mut call = self.state().with_response(open);
        call.outcome.stream_end = Some(stream_end::COMPLETE);
        let flags = self.policy.clone().filter(|policy| policy.answers == Action::Flag);
        if let (Some(policy), Some(guard), Some(response)) = (flags, call.answer_guard(), &call.outcome.response) {
            let subject = Subject::of_pieces(Direction::Output, response.pieces.clone(), left_out(&response.attributes));
            let ruling = policy.judge_answer(&self.shared.bench, &guard, subject).await.ruling;
            call.outcome.coverage = Some((0, ruling.coverage().0));
            call.ruling = Some(ruling.afterwards());
        }
        call.commit().await.map(drop).map_err(Ended::Failed)
    }

    /// Tells both sides of the end, each as it concerns it.
    async fn say_goodbye(&self, ended: &Ended, client: &Line, upstream: &Line) {
        let away = close_payload(close::GOING_AWAY, "");
        let (to_client, to_upstream) = match ended {
            // Who closed gets its close back, the other had it already.
            Ended::Closed { code, .. } => {
                let echo = code.map_or_else(Vec::new, |code| close_payload(code, ""));
                (echo.clone(), echo)
            }
            Ended::Fault { by: Side::Client, fault } => (close_payload(fault.code(), &fault.to_string()), away),
            Ended::Fault { by: Side::Upstream, fault } => {
                let reason = format!("watchkeeper gateway: the upstream: {fault}");
                (close_payload(close::INTERNAL, &reason), close_payload(fault.code(), &fault.to_string()))
            }
            Ended::Failed(failure) => {
                let event = error_event(failure, None);
                let _ = tokio::time::timeout(CLOSE_TIME_MAX, client.send(Out::Text(&event))).await;
                let code = match failure.status {
                    StatusCode::TOO_MANY_REQUESTS => close::POLICY,
                    _ if failure.retry_after.is_some() => close::TRY_LATER,
                    _ => close::INTERNAL,
                };
                (close_payload(code, failure.kind), away)
            }
            Ended::Stopped => (away.clone(), away),
        };
        tokio::join!(client.end(&to_client), upstream.end(&to_upstream));
    }

    /// Records what was under way, what was never answered, and the end of the connection.
    async fn finish(self, ended: &Ended) {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (end, of_response, error, by, code) = ended.told();
        let mut records = Vec::new();
        for open in std::mem::take(&mut state.open) {
            let mut call = state.with_response(open);
            call.outcome.stream_end = Some(of_response);
            call.outcome.error = Some(error.unwrap_or(of_response).into());
            records.extend(call.record_outcome());
        }
        records.extend(state.rest());
        let mut call = state.call;
        call.outcome.stream_end = Some(end);
        call.outcome.error = error.map(Into::into);
        call.outcome.request_bytes = Some(self.sent.into_inner());
        call.outcome.response_bytes = self.heard.into_inner();
        call.outcome.unread_bytes = self.unread.into_inner();
        let malformed = self.malformed.into_inner();
        if malformed > 0 {
            call.note(MALFORMED_EVENTS, i64::try_from(malformed).unwrap_or(i64::MAX));
        }
        call.note(CLOSED_BY, by);
        if let Some(code) = code {
            call.note(CLOSE_CODE, i64::from(code));
        }
        records.extend(call.record_outcome());
        for mut record in records {
            if let Err(error) = record.durable().await {
                tracing::error!(%error, "of the end of a connection something is not recorded");
            }
        }
    }
}

/// What is recorded of a message that cannot be read: its beginning, as text.
fn evidence(bytes: &[u8]) -> ModelRequest {
    let kept = &bytes[..bytes.len().min(EVIDENCE_BYTES_MAX)];
    let (text, _) = json::cut(String::from_utf8_lossy(kept).into_owned());
    let meta = PieceMeta::new(Direction::Input, Role::User, Part::Body);
    let mut request = ModelRequest { pieces: vec![Piece::new(meta, Raw::from(text))], ..ModelRequest::default() };
    super::super::decode::add(&mut request.attributes, attr::CONTENT_BYTES_CUT, bytes.len() - kept.len());
    request
}
