//! Log records that carry the content of a call whose span comes by itself: held for a moment, and joined to it.
//!
//! Instrumentations of OpenTelemetry's older conventions, and newer ones when asked to, report prompts and answers as log
//! records and the call as a span; two exporters bring them in either order. A log record of that sort waits for its span,
//! unacknowledged, for [`Limits::join_window`](super::Limits). What then becomes of it is on disk before either is acknowledged:
//! its content in the span's event, and beside that an event without content, with the log record's id, so that an export
//! that is sent again is recognised, also by a later process. What no span comes for is recorded on its own and says so. So is what comes
//! after its span: an event that is recorded does not change, so the log record keeps its content and names the span's event.

use std::collections::btree_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::{Direction, EventId, Key, Part, Piece, SpanId, TraceId, Value, attr};
use tokio::sync::Notify;

use super::decode::LOG_SEVERITY;
use super::pieces::Pieces;
use crate::bound::bound;
use crate::{Raw, RawEvent};

/// Most log records that wait at once. A call has about five, an SDK's batch 512.
const HELD_MAX: usize = 16 * 1024;

/// An export with more of them than this comes from an exporter that is in a hurry: to hold it would make it drop others.
const HELD_PER_EXPORT_MAX: usize = 256;

/// How many spans are remembered, so that nobody waits for one that has come already.
const SPANS_MAX: usize = 64 * 1024;

/// Which span.
type SpanKey = (TraceId, SpanId);

/// Everything that waits, of all requests.
#[derive(Default)]
pub(super) struct Joiner(Mutex<State>);

#[derive(Default)]
struct State {
    held: HashMap<SpanKey, Vec<Held>>,
    held_count: usize,
    held_ids: HashSet<EventId>,
    /// Spans that came, the oldest first. None are remembered until somebody sends log records of this sort.
    is_used: bool,
    spans: HashMap<SpanKey, EventId>,
    spans_in_order: VecDeque<SpanKey>,
}

/// A log record that waits.
struct Held {
    event: RawEvent,
    waiter: Arc<Waiter>,
}

/// The export that log records wait for.
#[derive(Default)]
struct Waiter {
    state: Mutex<WaiterState>,
    changed: Notify,
}

#[derive(Default)]
struct WaiterState {
    /// How many are neither joined nor given back.
    outstanding: usize,
    /// Those whose span was not recorded in the end.
    given_back: Vec<RawEvent>,
}

/// Why a log record is recorded on its own, as [`attr::JOIN_MISSED`] has it.
const NOT_SEEN: &str = "span_not_seen";
const RECORDED_BEFORE: &str = "span_recorded_before";
const NO_ROOM: &str = "no_room";

/// The span that a log record belongs to.
fn key_of(event: &RawEvent) -> Option<SpanKey> {
    let trace = event.trace?;
    Some((trace.trace_id, trace.span_id?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics while it holds a lock; a state that somebody left is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missed(mut event: RawEvent, why: &str) -> RawEvent {
    event.attributes.insert(attr::JOIN_MISSED, Value::Text(why.into()));
    event
}

impl Joiner {
    /// Lets log records wait for their spans. What need not wait, or cannot, is given back in `alone`.
    pub(super) fn hold(self: &Arc<Self>, events: Vec<RawEvent>, has_room: bool, alone: &mut Vec<RawEvent>) -> Waiting {
        let waiter = Arc::new(Waiter::default());
        let mut keys = HashSet::new();
        let mut state = lock(&self.0);
        state.is_used = true;
        let has_room = has_room && events.len() <= HELD_PER_EXPORT_MAX;
        for event in events {
            let Some(key) = key_of(&event) else {
                alone.push(event);
                continue;
            };
            if let Some(span) = state.spans.get(&key) {
                let mut event = missed(event, RECORDED_BEFORE);
                event.attributes.insert(attr::JOINED_TO, Value::Text(span.to_string().into()));
                alone.push(event);
            } else if !has_room || state.held_count >= HELD_MAX || !state.held_ids.insert(event.id) {
                // One that waits already was sent again before it was answered.
                alone.push(missed(event, NO_ROOM));
            } else {
                state.held_count += 1;
                lock(&waiter.state).outstanding += 1;
                keys.insert(key);
                state.held.entry(key).or_default().push(Held { event, waiter: waiter.clone() });
            }
        }
        Waiting { joiner: self.clone(), waiter, keys }
    }

    /// Joins what waits for these spans to them; the events of the log records, without content, are added behind. Nothing of
    /// it counts until [`Joining::recorded`].
    pub(super) fn join(self: &Arc<Self>, events: &mut Vec<RawEvent>) -> Joining {
        let mut joining = Joining { joiner: self.clone(), taken: Vec::new() };
        let mut taken: Vec<(usize, Vec<Held>)> = Vec::new();
        {
            let mut state = lock(&self.0);
            if !state.is_used {
                return joining;
            }
            for (index, event) in events.iter().enumerate() {
                let Some(key) = key_of(event) else { continue };
                state.remember(key, event.id);
                if let Some(held) = state.held.remove(&key) {
                    state.held_count -= held.len();
                    taken.push((index, held));
                }
            }
        }
        for (index, held) in taken {
            let mut logs: Vec<RawEvent> = held.iter().map(|held| held.event.clone()).collect();
            // Those of one time stay in the order in which they came.
            logs.sort_by_key(|log| log.time);
            let stubs: Vec<RawEvent> = logs.iter().map(|log| stub(log, events[index].id)).collect();
            merge(&mut events[index], logs);
            events.extend(stubs);
            joining.taken.extend(held);
        }
        joining
    }
}

impl State {
    fn remember(&mut self, key: SpanKey, id: EventId) {
        if self.spans.insert(key, id).is_none() {
            self.spans_in_order.push_back(key);
        }
        if self.spans_in_order.len() > SPANS_MAX
            && let Some(oldest) = self.spans_in_order.pop_front()
        {
            self.spans.remove(&oldest);
        }
    }
}

impl Waiter {
    fn settle(&self, given_back: Option<RawEvent>) {
        let mut state = lock(&self.state);
        state.outstanding -= 1;
        state.given_back.extend(given_back);
        drop(state);
        self.changed.notify_one();
    }
}

/// Log records of one export that wait. Dropped, they wait no longer.
pub(super) struct Waiting {
    joiner: Arc<Joiner>,
    waiter: Arc<Waiter>,
    keys: HashSet<SpanKey>,
}

impl Waiting {
    /// Waits until all are joined, or the window has passed; gives those that stand on their own.
    pub(super) async fn end(mut self, window: Duration) -> Vec<RawEvent> {
        let all_settled = async {
            while lock(&self.waiter.state).outstanding > 0 {
                self.waiter.changed.notified().await;
            }
        };
        if tokio::time::timeout(window, all_settled).await.is_err() {
            self.take_back();
            // What is left was taken by a span that is being recorded.
            while lock(&self.waiter.state).outstanding > 0 {
                self.waiter.changed.notified().await;
            }
        }
        let mut alone = std::mem::take(&mut lock(&self.waiter.state).given_back);
        alone.sort_by_key(|event| event.time);
        alone.into_iter().map(|event| missed(event, NOT_SEEN)).collect()
    }

    fn take_back(&mut self) {
        let mut state = lock(&self.joiner.0);
        for key in self.keys.drain() {
            let Some(held) = state.held.remove(&key) else { continue };
            let (mine, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| Arc::ptr_eq(&held.waiter, &self.waiter));
            if !others.is_empty() {
                state.held.insert(key, others);
            }
            state.held_count -= mine.len();
            for held in mine {
                state.held_ids.remove(&held.event.id);
                held.waiter.settle(Some(held.event));
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Log records that were joined to spans which are being recorded. Dropped before [`Self::recorded`], they are given back.
pub(super) struct Joining {
    joiner: Arc<Joiner>,
    taken: Vec<Held>,
}

impl Joining {
    /// The spans are on disk, and with them what was joined.
    pub(super) fn recorded(mut self) {
        self.settle(|_| None);
    }

    fn settle(&mut self, given_back: impl Fn(RawEvent) -> Option<RawEvent>) {
        if self.taken.is_empty() {
            return;
        }
        let mut state = lock(&self.joiner.0);
        for held in self.taken.drain(..) {
            state.held_ids.remove(&held.event.id);
            held.waiter.settle(given_back(held.event));
        }
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.settle(Some);
    }
}

/// What stays of a log record whose content has gone to its span.
fn stub(log: &RawEvent, span: EventId) -> RawEvent {
    let mut stub = RawEvent { pieces: Vec::new(), unmapped: std::collections::BTreeMap::new(), ..log.clone() };
    stub.attributes.retain(|key, _| *key == LOG_SEVERITY);
    stub.attributes.insert(attr::JOINED_TO, Value::Text(span.to_string().into()));
    stub
}

/// Counts of what was lost, which add up.
const COUNTS: &[Key] = &[attr::CONTENT_BYTES_CUT, attr::ITEMS_DROPPED, attr::DUPLICATES_DROPPED];

/// Adds what log records say to the event of their span: content in the order of the conversation, attributes where the span
/// has none. Content that the span has itself is counted as a duplicate.
fn merge(span: &mut RawEvent, logs: Vec<RawEvent>) {
    let joined = i64::try_from(logs.len()).unwrap_or(i64::MAX);
    let own = std::mem::take(&mut span.pieces);
    let known: HashSet<_> = own.iter().map(saying).collect();
    let mut sources = vec![own];
    let mut duplicates = 0;
    for log in logs {
        for (key, value) in log.attributes {
            if COUNTS.contains(&key) {
                count(span, key, value.as_int().unwrap_or(0));
            } else if key != LOG_SEVERITY && key != attr::UNMAPPED_COUNT && span.attributes.get(&key) != Some(&value) {
                match span.attributes.entry(key) {
                    Entry::Vacant(place) => {
                        place.insert(value);
                    }
                    Entry::Occupied(taken) => {
                        span.unmapped.entry(format!("log.{}", taken.key()).into()).or_insert(value);
                    }
                }
            }
        }
        for (key, value) in log.unmapped {
            if span.attributes.get(key.expose()) != Some(&value) {
                span.unmapped.entry(key).or_insert(value);
            }
        }
        let (new, same): (Vec<_>, Vec<_>) = log.pieces.into_iter().partition(|piece| !known.contains(&saying(piece)));
        duplicates += i64::try_from(same.len()).unwrap_or(i64::MAX);
        sources.push(new);
        span.session = span.session.take().or(log.session);
        span.turn = span.turn.take().or(log.turn);
        span.identity.user = span.identity.user.take().or(log.identity.user);
        span.identity.agent = span.identity.agent.take().or(log.identity.agent);
    }
    let mut pieces = Pieces::default();
    for direction in [Direction::Input, Direction::Output] {
        for source in &mut sources {
            let (of_it, rest): (Vec<Piece<Raw>>, Vec<Piece<Raw>>) =
                std::mem::take(source).into_iter().partition(|piece| piece.meta.direction == direction);
            *source = rest;
            pieces.push_again(of_it);
        }
    }
    let pieces = pieces.finish();
    span.pieces = pieces.pieces;
    let lost = i64::try_from(pieces.losses.items_dropped).unwrap_or(i64::MAX);
    count(span, attr::DUPLICATES_DROPPED, duplicates);
    count(span, attr::ITEMS_DROPPED, lost);
    span.attributes.insert(attr::JOINED_RECORDS, Value::Int(joined));
    bound(span);
}

/// Longest JSON that is compared by what it says; longer ones are compared byte by byte.
const COMPARED_BYTES_MAX: usize = 64 * 1024;

/// What a piece says, by which the same is recognised: emitters write the same JSON with and without spaces.
fn saying(piece: &Piece<Raw>) -> (Direction, Part, String) {
    let text = piece.content.expose();
    let is_json = text.len() <= COMPARED_BYTES_MAX && text.trim_start().starts_with(['{', '[']);
    let json = is_json.then(|| serde_json::from_str::<serde_json::Value>(text).ok()).flatten();
    (piece.meta.direction, piece.meta.part, json.map_or_else(|| text.to_owned(), |json| json.to_string()))
}

/// Adds to a count of the event.
fn count(event: &mut RawEvent, key: Key, more: i64) {
    if more > 0 {
        let sum = event.attributes.get(&key).and_then(Value::as_int).unwrap_or(0).saturating_add(more);
        event.attributes.insert(key, Value::Int(sum));
    }
}
