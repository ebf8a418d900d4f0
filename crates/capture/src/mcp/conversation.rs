//! A conversation with its record: each message is read, recorded, and only then goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use event::attr;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::session::{Drifted, Session};
use super::sides::{Reading, ServerInfo, Side, Who};
use super::{Compared, Limits, OnDrift, Pins, Policy, answer, trace};
use crate::gateway::OnRecordFailure;
use crate::{RawEvent, RecordError, Recorder};

/// Messages above this are read on a thread that may block, so that no neighbour waits for it.
const READ_INLINE_BYTES_MAX: usize = 256 * 1024;

/// Records of one conversation that may be under way while its messages go on. Beyond them the next message waits.
const BESIDE_MAX: u32 = 64;

/// Most tools that are named to a client whose list is withheld.
const NAMES_TOLD_MAX: usize = 16;

/// How soon a record is tried again when too much was under way.
const RETRY: Duration = Duration::from_millis(50);

/// A proxy in front of one server.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    server: Arc<ServerInfo>,
    policy: Arc<Policy>,
    limits: Limits,
    adds_trace: bool,
    recorder: Arc<dyn Recorder>,
    pins: Arc<dyn Pins>,
    drifted: Drifted,
    /// Every record under way holds a receiver of it, so that a shutdown can wait for the last one.
    background: watch::Sender<()>,
}

/// What a client and a server say to each other.
pub struct Conversation {
    shared: Arc<Shared>,
    session: Mutex<Session>,
    beside: Arc<Semaphore>,
    is_one_exchange: bool,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passage {
    /// What goes on to the other side.
    pub onward: Onward,
    /// What goes back to the sender in its place.
    pub back: Option<Bytes>,
}

/// What goes on to the other side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Onward {
    /// Nothing.
    #[default]
    Nothing,
    /// The bytes that came, to the last.
    Message(Bytes),
    /// An error in the place of an answer that must not be seen.
    Instead(Bytes),
}

impl Proxy {
    /// A proxy that records with `recorder` and compares definitions of tools with `pins`.
    #[must_use]
    pub fn new(server: ServerInfo, policy: Policy, limits: Limits, recorder: Arc<dyn Recorder>, pins: Arc<dyn Pins>) -> Self {
        let shared = Shared {
            server: Arc::new(server),
            adds_trace: policy.adds_trace,
            policy: Arc::new(policy),
            limits,
            recorder,
            pins,
            drifted: Drifted::default(),
            background: watch::Sender::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A conversation that begins now.
    #[must_use]
    pub fn conversation(&self, who: Who) -> Arc<Conversation> {
        self.begin(who, false)
    }

    /// A conversation of one request and its answer: its end tells nothing of its own.
    pub(super) fn exchange(&self, who: Who) -> Arc<Conversation> {
        self.begin(who, true)
    }

    fn begin(&self, who: Who, is_one_exchange: bool) -> Arc<Conversation> {
        let Shared { server, policy, drifted, .. } = &*self.shared;
        let session = Session::new(server.clone(), policy.clone(), drifted.clone(), who);
        let beside = Arc::new(Semaphore::new(BESIDE_MAX as usize));
        Arc::new(Conversation { shared: self.shared.clone(), session: Mutex::new(session), beside, is_one_exchange })
    }

    /// Its bounds.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// The server behind it.
    #[must_use]
    pub fn server(&self) -> &ServerInfo {
        &self.shared.server
    }

    /// Waits until every record that is under way has been written.
    pub async fn drained(&self) {
        self.shared.background.closed().await;
    }
}

impl Conversation {
    /// The bounds of its proxy.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Whether it has one request and its answer.
    pub(super) fn is_one_exchange(&self) -> bool {
        self.is_one_exchange
    }

    /// Goes on with what another conversation has begun.
    pub(super) fn take_over(&self, begun: &Self) {
        let fresh = self.begin_again();
        let state = std::mem::replace(&mut *begun.session(), fresh);
        *self.session() = state;
    }

    fn begin_again(&self) -> Session {
        let Shared { server, policy, drifted, .. } = &*self.shared;
        Session::new(server.clone(), policy.clone(), drifted.clone(), Who::default())
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message of the client. What is to be recorded of it is on disk when this answers.
    pub async fn client_message(self: &Arc<Self>, bytes: Bytes) -> Passage {
        let bytes = self.traced(bytes);
        let reading = self.read(Side::Client, bytes.clone(), None).await;
        self.commit(Side::Client, reading, bytes).await
    }

    /// As [`Conversation::client_message`], from somebody who shares the conversation with others.
    pub(super) async fn client_message_of(self: &Arc<Self>, who: Who, bytes: Bytes) -> Passage {
        let bytes = self.traced(bytes);
        let reading = self.read(Side::Client, bytes.clone(), Some(who)).await;
        self.commit(Side::Client, reading, bytes).await
    }

    /// Takes a message of the server.
    pub async fn server_message(self: &Arc<Self>, bytes: Bytes) -> Passage {
        let reading = self.read(Side::Server, bytes.clone(), None).await;
        self.commit(Side::Server, reading, bytes).await
    }

    /// Takes the beginning of a message that is too large to be read. Whether it may go on; if not, what its sender is told.
    pub async fn client_begins_too_large(self: &Arc<Self>, begun: &[u8]) -> Result<(), Option<Bytes>> {
        self.too_large(Side::Client, begun).await
    }

    /// As [`Conversation::client_begins_too_large`], for the server's.
    pub async fn server_begins_too_large(self: &Arc<Self>, begun: &[u8]) -> Result<(), Option<Bytes>> {
        self.too_large(Side::Server, begun).await
    }

    /// Records the end: what was never answered, and what was only counted.
    pub async fn end(self: &Arc<Self>, reason: &'static str) {
        // Whatever is still being recorded first.
        drop(self.beside.acquire_many(BESIDE_MAX).await);
        let events = self.session().end(reason, !self.is_one_exchange);
        if events.is_empty() {
            return;
        }
        if let Err(error) = self.shared.record(events).await {
            tracing::error!(%error, "the end of an MCP session was not recorded");
        }
    }

    /// Records that a message of the client got no answer. How many of its requests that leaves without one.
    pub async fn failed(self: &Arc<Self>, message: &[u8], error: &str) -> usize {
        let events = self.session().failed(message, error);
        let count = events.len();
        if count > 0 {
            self.record_beside(events).await;
        }
        count
    }

    /// The message, with a trace context where one is to be added.
    fn traced(&self, bytes: Bytes) -> Bytes {
        self.shared.adds_trace.then(|| trace::traced(&bytes)).flatten().map_or(bytes, Bytes::from)
    }

    async fn read(self: &Arc<Self>, side: Side, bytes: Bytes, who: Option<Who>) -> Reading {
        let this = Arc::clone(self);
        let read = move |bytes: &[u8]| {
            let mut session = this.session();
            if let Some(who) = who {
                session.set_who(who);
            }
            session.read(side, bytes)
        };
        if bytes.len() <= READ_INLINE_BYTES_MAX {
            return read(&bytes);
        }
        let begun = bytes.slice(..READ_INLINE_BYTES_MAX);
        match tokio::task::spawn_blocking(move || read(&bytes)).await {
            Ok(reading) => reading,
            Err(_) => self.session().too_large(side, &begun),
        }
    }

    /// Takes the beginning of an answer of the server whose form is none that is read. Whether it may go on; if not, what the server
    /// is told.
    pub(super) async fn server_sends_unread(self: &Arc<Self>, begun: &[u8]) -> Result<(), Option<Bytes>> {
        let reading = self.session().unread(Side::Server, begun);
        self.passes(Side::Server, reading).await
    }

    /// Takes a request of the transport's own. Whether it may go on; if not, what the client is told.
    pub(super) async fn transport_request(
        self: &Arc<Self>,
        who: Who,
        method: &'static str,
        is_known: bool,
    ) -> Result<(), Option<Bytes>> {
        let reading = {
            let mut session = self.session();
            session.set_who(who);
            session.transport(method, is_known)
        };
        self.passes(Side::Client, reading).await
    }

    async fn too_large(self: &Arc<Self>, side: Side, begun: &[u8]) -> Result<(), Option<Bytes>> {
        let reading = self.session().too_large(side, begun);
        self.passes(side, reading).await
    }

    /// Records what has no bytes of its own.
    async fn passes(self: &Arc<Self>, side: Side, reading: Reading) -> Result<(), Option<Bytes>> {
        let passage = self.commit(side, reading, Bytes::new()).await;
        if matches!(passage.onward, Onward::Message(_)) { Ok(()) } else { Err(passage.back) }
    }

    /// Records what was read, and says what becomes of the message.
    async fn commit(self: &Arc<Self>, side: Side, mut reading: Reading, bytes: Bytes) -> Passage {
        let mut withheld = self.compare(&mut reading).await;
        let events = std::mem::take(&mut reading.events);
        let waits = side == Side::Client || !reading.asks.is_empty() || self.shared.policy.hold_results;
        if !events.is_empty() {
            if waits {
                // Events that are lost take with them what they tell of others.
                let (count, carried) = (events.len(), carried(&events));
                if let Err(error) = self.shared.record(events).await {
                    match self.shared.policy.on_record_failure {
                        OnRecordFailure::FailClosed => {
                            self.session().note_unrecorded(carried);
                            withheld = Some(format!("the message does not go on because it cannot be recorded: {error}"));
                        }
                        OnRecordFailure::FailOpen => {
                            tracing::error!(%error, "a message passes unrecorded, as configured");
                            self.session().note_unrecorded(count + carried);
                        }
                    }
                }
            } else {
                self.record_beside(events).await;
            }
        }
        let Some(why) = reading.refused.clone().or(withheld) else {
            return Passage { onward: Onward::Message(bytes), back: None };
        };
        self.session().withdraw(side, if reading.refused.is_some() { &[] } else { &reading.waits });
        let back = reading.answer(answer::REFUSED, &why);
        let back = match side {
            // A message that could not even be read has no id to answer to.
            Side::Client if back.is_none() && reading.answers.is_empty() => Some(answer::unasked(answer::INVALID_REQUEST, &why)),
            _ => back,
        };
        let onward = answer::errors(&reading.answers, answer::REFUSED, &why).map(|error| Onward::Instead(error.into()));
        Passage { onward: onward.unwrap_or_default(), back: back.map(Bytes::from) }
    }

    /// Compares definitions of tools. Why the list must not be seen, if that is so.
    async fn compare(self: &Arc<Self>, reading: &mut Reading) -> Option<String> {
        let policy = &self.shared.policy;
        let mut withheld = None;
        for listing in std::mem::take(&mut reading.listings) {
            let listed: Vec<String> = listing.tools.iter().map(|tool| tool.name.clone()).collect();
            match self.shared.pins.compare(listing, policy.on_drift).await {
                Ok(compared) if policy.on_drift == OnDrift::Block => {
                    let mut drifted = self.shared.drifted.lock().unwrap_or_else(PoisonError::into_inner);
                    for tool in listed {
                        drifted.remove(&tool);
                    }
                    if compared.drifted.is_empty() && compared.uncompared == 0 {
                        continue;
                    }
                    withheld = Some(why_withheld(&compared));
                    drifted.extend(compared.drifted);
                }
                Ok(_) => {}
                Err(error) if policy.on_drift == OnDrift::Block && policy.on_record_failure == OnRecordFailure::FailClosed => {
                    withheld = Some(format!("the definitions of tools cannot be compared with those that are pinned: {error}"));
                }
                Err(error) => {
                    tracing::error!(%error, "definitions of tools were not compared");
                    self.session().note_unrecorded(1);
                }
            }
        }
        withheld
    }

    /// Records while the message goes on. Waits when too many are under way.
    async fn record_beside(self: &Arc<Self>, events: Vec<RawEvent>) {
        let Ok(permit) = self.beside.clone().acquire_owned().await else { return };
        let this = Arc::clone(self);
        let under_way = self.shared.background.subscribe();
        tokio::spawn(async move {
            let _permit: OwnedSemaphorePermit = permit;
            let count = events.len() + carried(&events);
            if let Err(error) = this.shared.record(events).await {
                tracing::error!(%error, "an answer was not recorded");
                this.session().note_unrecorded(count);
            }
            drop(under_way);
        });
    }
}

impl Shared {
    /// Records events, in a task of its own: who waits for it may go away. When too much is under way it is tried again.
    async fn record(self: &Arc<Self>, events: Vec<RawEvent>) -> Result<(), RecordError> {
        let this = Arc::clone(self);
        let under_way = self.background.subscribe();
        let task = tokio::spawn(async move {
            let recorded = this.record_patiently(events).await;
            drop(under_way);
            recorded
        });
        match tokio::time::timeout(self.limits.record_wait, task).await {
            Ok(Ok(recorded)) => recorded,
            Ok(Err(_)) => Err(RecordError::Unavailable { reason: "the recorder failed unexpectedly".to_owned() }),
            Err(_) => Err(RecordError::Busy { retry_after: Duration::from_secs(1) }),
        }
    }

    async fn record_patiently(&self, mut events: Vec<RawEvent>) -> Result<(), RecordError> {
        let until = tokio::time::Instant::now() + self.limits.record_wait;
        let mut is_cut = false;
        loop {
            match self.recorder.record(events.clone()).await {
                Ok(_) => return Ok(()),
                Err(RecordError::Busy { .. }) if tokio::time::Instant::now() < until => tokio::time::sleep(RETRY).await,
                Err(RecordError::TooLarge { .. }) if !is_cut => {
                    // That it happened is worth more than the rest of it.
                    is_cut = true;
                    events.iter_mut().for_each(without_contents);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the client is told in the place of a list.
fn why_withheld(compared: &Compared) -> String {
    let named = compared.drifted.iter().take(NAMES_TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = compared.drifted.len().saturating_sub(NAMES_TOLD_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    match (compared.drifted.is_empty(), compared.uncompared) {
        (false, _) => {
            format!("definitions of the server are not the pinned ones: {named}{more}; an operator has to approve them")
        }
        (true, count) => format!("the server lists {count} tools more than are compared; an operator has to split it"),
    }
}

/// How many lost events these tell of.
fn carried(events: &[RawEvent]) -> usize {
    let told = |event: &RawEvent| event.attribute(attr::EVENTS_UNRECORDED.as_str())?.as_int();
    events.iter().filter_map(told).map(|count| usize::try_from(count).unwrap_or(0)).sum()
}

fn without_contents(event: &mut RawEvent) {
    let bytes = event.pieces.iter().map(|piece| piece.content.expose().len()).sum();
    event.pieces.clear();
    crate::bound::add(&mut event.attributes, attr::CONTENT_BYTES_CUT, bytes);
}
