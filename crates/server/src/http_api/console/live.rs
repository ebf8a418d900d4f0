//! What comes in, as it comes in.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use store::{DetectionRow, EventFilter, EventRow, QueryError, Reader, Shorten as _};
use tokio::sync::broadcast::{self, error::RecvError};

use super::types::{Live, LiveDetections, LiveDropped, LiveQuery, LiveReset, LiveRows};
use crate::asker::{Asker, Who};
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Caller, Query};
use crate::node::Progress;
use crate::triage::Triage;

/// How often is looked for something new.
const LOOK: Duration = Duration::from_millis(100);

/// How often is told how far everything is, also where nothing is new.
const PROGRESS: Duration = Duration::from_secs(1);

/// Events that are read at once.
const BATCH_ROWS: usize = 1_000;

/// Batches that wait for a slow reader. What comes then is passed over, and counted.
const BATCHES_MAX: usize = 32;

/// Events that somebody who comes again gets of those that they missed. Older ones are counted.
const CATCH_UP_MAX: u64 = 5_000;

/// How long a stream that catches up waits where it gets no reader.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Streams at once.
const STREAMS_MAX: usize = 64;

/// Streams at once of one key or one person: as many pages as somebody has open, and not all that there are.
const STREAMS_OF_ONE_MAX: usize = 8;

/// When to ask again where there are too many.
const STREAMS_RETRY: Duration = Duration::from_secs(10);

/// What comes in, as it comes in: server-sent events.
#[utoipa::path(
    get,
    path = "/api/live",
    operation_id = "live",
    tag = "live",
    params(LiveQuery),
    responses((status = 200, body = Live, content_type = "text/event-stream", description = "a stream of events"), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn live(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut receiver = api.live.subscribe(&api, &caller.asker)?;
    let permit = receiver.permit.take();
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse::<u64>().ok()).or(query.after);
    let filter = EventFilter {
        kind: query.kind,
        user: query.user,
        agent: query.agent,
        application: query.application,
        model: query.model,
        tool: query.tool,
        session: query.session,
        status: query.status,
        risk: query.risk,
        without_own: query.own == Some(false),
        ..EventFilter::default()
    };
    let progress = api.node.progress();
    let mut stream = Stream::from(last, progress.indexed, filter);
    stream.catch_up(&api, progress.indexed).await?;
    stream.push_progress(progress);
    let state = (stream, receiver, api, caller, permit);
    let messages = stream::unfold(state, |(mut stream, mut receiver, api, caller, permit)| async move {
        loop {
            if let Some(message) = stream.queue.pop_front() {
                return Some((Ok::<_, Infallible>(message), (stream, receiver, api, caller, permit)));
            }
            match receiver.batches.recv().await {
                Ok(batch) => {
                    // Whoever has signed out, or whose key has ended, sees no more.
                    if !api.is_still_signed_in(&caller) {
                        return None;
                    }
                    stream.take(&batch);
                }
                // What was missed shows in the places of the next batch.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::default()).into_response())
}

/// What is new, for everybody who watches: read once, whoever many there are.
#[derive(Default)]
pub(crate) struct Hub(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    /// There while somebody reads what is new.
    sender: Option<broadcast::Sender<Arc<Batch>>>,
    /// How many streams each has, by the id of whoever asked.
    streams: HashMap<String, usize>,
    is_stopped: bool,
}

/// What came in since the batch before.
struct Batch {
    /// The first record that it covers.
    from: u64,
    /// One past the last.
    end: u64,
    rows: Vec<EventRow>,
    detections: Vec<DetectionRow>,
    progress: Progress,
}

/// Somebody who watches.
struct Receiver {
    batches: broadcast::Receiver<Arc<Batch>>,
    permit: Option<Permit>,
}

/// A stream of somebody, for as long as it lasts.
struct Permit {
    hub: Arc<Hub>,
    of: String,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if let Some(streams) = state.streams.get_mut(&self.of) {
            *streams -= 1;
            if *streams == 0 {
                state.streams.remove(&self.of);
            }
        }
    }
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every stream, and lets none begin.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.sender = None;
    }

    fn subscribe(self: &Arc<Self>, api: &Arc<Api>, asker: &Asker) -> Result<Receiver, ApiError> {
        let mut state = self.state();
        if state.is_stopped {
            return Err(ApiError::stopped("the server stops"));
        }
        let permit = Some(self.permit(&mut state, asker)?);
        if let Some(sender) = &state.sender {
            return Ok(Receiver { batches: sender.subscribe(), permit });
        }
        let (sender, batches) = broadcast::channel(BATCHES_MAX);
        state.sender = Some(sender);
        drop(state);
        // Before whoever asks looks where to begin: what lies between would be nobody's.
        let from = api.node.progress().indexed;
        tokio::spawn(self.clone().watch(api.clone(), from));
        Ok(Receiver { batches, permit })
    }

    /// Room for one more stream of somebody.
    fn permit(self: &Arc<Self>, state: &mut Watched, asker: &Asker) -> Result<Permit, ApiError> {
        let refused = |message: String| Err(ApiError::too_many(message).with_retry_after(STREAMS_RETRY));
        let of = asker.id();
        let own = state.streams.get(&of).copied().unwrap_or(0);
        if own >= STREAMS_OF_ONE_MAX {
            return refused(format!("{own} live streams of {asker} are open already; close one of them, or use another key"));
        }
        if state.streams.values().sum::<usize>() >= STREAMS_MAX {
            return refused(format!("{STREAMS_MAX} live streams are open already; close one, or ask again later"));
        }
        state.streams.insert(of.clone(), own + 1);
        Ok(Permit { hub: self.clone(), of })
    }

    /// Reads what is new from a place on, as long as somebody watches.
    async fn watch(self: Arc<Self>, api: Arc<Api>, from: u64) {
        let mut next = from;
        // Up to where everybody was told. Records that are no rows, because they were reported before, are not told of alone.
        let mut sent = next;
        let mut told = Instant::now();
        loop {
            {
                let mut state = self.state();
                match &state.sender {
                    Some(sender) if sender.receiver_count() > 0 => {}
                    _ => {
                        state.sender = None;
                        return;
                    }
                }
            }
            let progress = api.node.progress();
            let mut is_behind = false;
            let mut batch = Batch { from: sent, end: next, rows: Vec::new(), detections: Vec::new(), progress };
            if progress.indexed > next {
                // What comes faster than it can be read is passed over.
                let from = next.max(progress.indexed.saturating_sub(CATCH_UP_MAX));
                match read(&api, from, progress.indexed).await {
                    Ok((rows, detections, end)) => {
                        is_behind = end < progress.indexed;
                        if from > next {
                            batch.from = from;
                        }
                        (batch.end, batch.rows, batch.detections) = (end, rows, detections);
                        next = end;
                    }
                    Err(error) => {
                        tracing::warn!(?error, "what is new cannot be read for those who watch");
                        tokio::time::sleep(PROGRESS).await;
                    }
                }
            }
            if !batch.rows.is_empty() || told.elapsed() >= PROGRESS {
                (told, sent) = (Instant::now(), batch.end);
                if let Some(sender) = &self.state().sender {
                    // Whoever has left meanwhile is seen in the next round.
                    let _ = sender.send(Arc::new(batch));
                }
            }
            if !is_behind {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// The next events from a place on, up to what is indexed, and the detections among them; and one past the last record that they cover.
///
/// What is indexed while they are read is left for the next time: it would come twice, or, where one of two days is written and the other
/// one not yet, not at all.
async fn read(api: &Api, from: u64, indexed: u64) -> Result<(Vec<EventRow>, Vec<DetectionRow>, u64), ApiError> {
    let triage = api.triage.clone();
    let found = api.read(move |reader| {
        let (rows, is_whole) = reader.events_from(from, indexed, BATCH_ROWS)?;
        let end = rows.last().map(|row| row.seq + 1).filter(|_| !is_whole).unwrap_or(indexed);
        let detections = detections(reader, &rows, &triage)?;
        Ok::<_, QueryError>((rows, detections, end))
    });
    found.await
}

fn detections(reader: &Reader, rows: &[EventRow], triage: &Triage) -> Result<Vec<DetectionRow>, QueryError> {
    let mut found = Vec::new();
    for row in rows.iter().filter(|row| row.kind == "detection") {
        match reader.detection(&row.event_id, triage) {
            Ok(detection) => found.push(detection.shortened()),
            // It was erased in this moment.
            Err(QueryError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What is sent to one who watches.
struct Stream {
    queue: VecDeque<Message>,
    /// The first record that was not sent or passed over.
    next: u64,
    filter: EventFilter,
    /// When progress was told last.
    told: Option<Instant>,
}

impl Stream {
    /// Begins behind the place that somebody saw last, or else at `indexed`. Nobody has seen what lies behind that: whoever names such a
    /// place saw another store, or one that was built anew since, and is told.
    fn from(last: Option<u64>, indexed: u64, filter: EventFilter) -> Self {
        let asked = last.map_or(indexed, |last| last.saturating_add(1));
        let mut stream = Self { queue: VecDeque::new(), next: asked.min(indexed), filter, told: None };
        if let Some(asked) = last.filter(|_| asked > indexed) {
            stream.send("reset", &LiveReset { asked, seq: indexed.checked_sub(1) }, Some(indexed));
        }
        stream
    }

    /// Sends what came in before the first batch that will come.
    async fn catch_up(&mut self, api: &Arc<Api>, end: u64) -> Result<(), ApiError> {
        if end.saturating_sub(self.next) > CATCH_UP_MAX {
            self.skip_to(end - CATCH_UP_MAX);
        }
        while self.next < end {
            // Whoever asked has others of theirs reading, or all read: it goes on when they are done, and ends when they hang up.
            let (rows, detections, reached) = match read(api, self.next, end).await {
                Err(error) if error.is_busy() => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                    continue;
                }
                read => read?,
            };
            self.push(&rows, &detections, reached);
        }
        Ok(())
    }

    /// Sends a batch, as far as it is new.
    fn take(&mut self, batch: &Batch) {
        if batch.from > self.next {
            self.skip_to(batch.from);
        }
        if batch.end > self.next {
            self.push(&batch.rows, &batch.detections, batch.end);
        }
        if self.told.is_none_or(|told| told.elapsed() >= PROGRESS) {
            self.push_progress(batch.progress);
        }
    }

    fn skip_to(&mut self, place: u64) {
        let count = place - self.next;
        self.next = place;
        self.send("dropped", &LiveDropped { count, seq: place.saturating_sub(1) }, Some(place));
    }

    fn push(&mut self, rows: &[EventRow], detections: &[DetectionRow], end: u64) {
        let new: Vec<EventRow> = rows.iter().filter(|row| row.seq >= self.next && self.filter.passes(row)).cloned().collect();
        let detections: Vec<DetectionRow> = detections.iter().filter(|row| row.detection.seq >= self.next).cloned().collect();
        self.next = end;
        if !detections.is_empty() {
            self.send("detections", &LiveDetections { rows: detections }, None);
        }
        if !new.is_empty() {
            self.send("rows", &LiveRows { rows: new }, Some(end));
        }
    }

    fn push_progress(&mut self, progress: Progress) {
        self.told = Some(Instant::now());
        self.send("progress", &progress, Some(self.next));
    }

    /// `end` is the first record that whoever comes again has not seen.
    fn send(&mut self, name: &'static str, data: &impl Serialize, end: Option<u64>) {
        let message = Message::default().event(name).data(serde_json::to_string(data).unwrap_or_default());
        let id = end.and_then(|end| end.checked_sub(1));
        self.queue.push_back(match id {
            Some(id) => message.id(id.to_string()),
            None => message,
        });
    }
}

impl Api {
    /// Whether whoever asked for a stream may still see what comes.
    fn is_still_signed_in(&self, caller: &Caller) -> bool {
        let has_session = caller.asker.session.as_ref().is_none_or(|session| self.sessions.is_open(session));
        let has_ended = matches!(&caller.asker.who, Who::Key { id, .. } if self.key_by_id(id).is_none());
        has_session && !has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_streams() {
        let hub = Arc::new(Hub::default());
        let key = |id: &str| Asker::from(Who::Key { id: id.to_owned(), name: "laptop".to_owned() });
        let take = |id: &str| hub.permit(&mut hub.state(), &key(id));
        let of_one: Vec<Permit> = (0..STREAMS_OF_ONE_MAX).map(|_| take("key_1").unwrap()).collect();
        let refused = format!("{:?}", take("key_1").err().unwrap());
        assert!(refused.contains("429") && refused.contains("8 live streams of laptop (key_1)"), "{refused}");
        let others: Vec<Permit> =
            (0..STREAMS_MAX - STREAMS_OF_ONE_MAX).map(|n| take(&format!("key_2{}", n / 8)).unwrap()).collect();
        let refused = format!("{:?}", take("key_3").err().unwrap());
        assert!(refused.contains("64 live streams are open"), "{refused}");
        drop(of_one);
        assert!(take("key_1").is_ok());
        drop(others);
        assert!(hub.state().streams.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn a_stream_begins_where_it_was_left_and_never_ahead_of_the_store() {
        for (last, next, messages) in
            [(None, 100, 0), (Some(41), 42, 0), (Some(99), 100, 0), (Some(100), 100, 1), (Some(u64::MAX), 100, 1)]
        {
            let stream = Stream::from(last, 100, EventFilter::default());
            assert_eq!((stream.next, stream.queue.len()), (next, messages), "{last:?}");
        }
        assert_eq!(Stream::from(Some(7), 0, EventFilter::default()).next, 0);
    }
}
