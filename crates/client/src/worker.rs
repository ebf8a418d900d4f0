//! Delivers what waits, in order, for as long as it takes or as each event allows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::EventId;
use http::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::client::{Receipt, RecordError};
use crate::losses::{Loss, Losses};
use crate::queue::{Item, Queue};
use crate::transport::{Answer, Transport};

/// Most events in one request. The server takes more; a lost answer then costs little.
const BATCH_EVENTS_MAX: usize = 500;

/// Most bytes of one request, but for an event that is larger by itself.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

/// First wait before the same request is sent again.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest wait between two attempts when the server does not say how long.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Delivers until the client is gone and nothing is left.
pub(crate) struct Worker {
    pub(crate) queue: Arc<Queue>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) attempt_timeout: Duration,
    /// See [`Config::is_patient`](crate::Config::is_patient).
    pub(crate) is_patient: bool,
}

/// How long a server that takes no gaps from a sensor is not told of any.
const UNTOLD: Duration = Duration::from_secs(60);

/// A gap that the server is being told of: the same lines until it has taken them, so that it records them once.
#[derive(Default)]
struct Telling {
    losses: Losses,
    lines: Vec<String>,
    not_before: Option<Instant>,
}

/// What became of an attempt.
enum Outcome {
    Done(Vec<Receipt>),
    /// The same again later.
    Again {
        why: String,
        after: Option<Duration>,
    },
    /// One of the events will never be taken, or all of them.
    Refused {
        line: Option<usize>,
        why: String,
    },
    /// Fewer at once.
    TooLarge,
}

impl Worker {
    pub(crate) async fn run(self) {
        let mut telling = Telling::default();
        while let Some(batch) = self.queue.next(BATCH_EVENTS_MAX, BATCH_BYTES_MAX).await {
            let (events, bytes) = (batch.iter().filter(|item| item.json.is_some()).count(), batch.iter().map(Item::bytes).sum());
            self.deliver(batch, &mut telling).await;
            self.queue.done(events, bytes);
        }
    }

    /// Delivers a batch, and with it what is to be told of losses.
    async fn deliver(&self, mut batch: Vec<Item>, telling: &mut Telling) {
        let mut backoff = BACKOFF_FIRST;
        // Fewer than the batch after the server found it too large; 0 stands for all.
        let mut at_once = 0;
        loop {
            self.refresh(telling);
            let part = if at_once == 0 { batch.len() } else { at_once.min(batch.len()) };
            let events = batch[..part].iter().filter(|item| item.json.is_some()).count();
            if events == 0 && telling.lines.is_empty() {
                batch.drain(..part).for_each(|mark| mark.answer(Ok(None)));
                if batch.is_empty() {
                    return;
                }
                continue;
            }
            let lines =
                telling.lines.iter().map(String::as_str).chain(batch[..part].iter().filter_map(|item| item.json.as_deref()));
            let body = lines.fold(String::new(), |body, line| body + line + "\n");
            match self.attempt(body.into()).await {
                Outcome::Done(receipts) => {
                    let told = telling.lines.len();
                    self.queue.told(&telling.losses);
                    *telling = Telling::default();
                    let mut receipts = receipts.into_iter().skip(told);
                    for item in batch.drain(..part) {
                        let receipt = item.json.is_some().then(|| receipts.next()).flatten();
                        item.answer(Ok(receipt));
                    }
                    if batch.is_empty() {
                        return;
                    }
                    backoff = BACKOFF_FIRST;
                }
                Outcome::TooLarge if part > 1 => at_once = part / 2,
                Outcome::TooLarge => {
                    self.lose(batch.drain(..part), Loss::TooLarge, &RecordError::TooLarge);
                    at_once = 0;
                }
                Outcome::Refused { line, why } => self.refuse(&mut batch, part, telling, line, &why, &mut at_once),
                Outcome::Again { why, after } => {
                    let now = Instant::now();
                    let wait = after.map_or(backoff, |after| after.clamp(backoff, RETRY_AFTER_MAX));
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    let expired = |item: &Item| !self.is_patient || item.until <= now;
                    if batch.iter().any(expired) {
                        let (gone, kept): (Vec<_>, Vec<_>) = batch.into_iter().partition(expired);
                        batch = kept;
                        self.lose(gone.into_iter(), Loss::Unreachable, &RecordError::Unreachable(why));
                        if batch.is_empty() {
                            return;
                        }
                    }
                    let earliest = batch.iter().map(|item| item.until).min().unwrap_or(now);
                    sleep_until((now + wait).min(earliest)).await;
                }
            }
            if batch.is_empty() {
                return;
            }
        }
    }

    /// Takes up losses that nobody is being told of yet.
    fn refresh(&self, telling: &mut Telling) {
        if telling.lines.is_empty() && telling.not_before.is_none_or(|time| time <= Instant::now()) {
            telling.losses = self.queue.losses();
            telling.lines = telling.losses.events().iter().filter_map(|event| event.to_json().ok()).collect();
        }
    }

    /// Takes out what the server refuses, so that its neighbours are not lost with it.
    fn refuse(
        &self,
        batch: &mut Vec<Item>,
        part: usize,
        telling: &mut Telling,
        line: Option<usize>,
        why: &str,
        at_once: &mut usize,
    ) {
        let error = RecordError::Refused(why.to_owned());
        let told = telling.lines.len();
        match line {
            // A server that does not take gaps from a sensor: the losses go on being counted here.
            Some(line) if line < told => *telling = Telling { not_before: Some(Instant::now() + UNTOLD), ..Telling::default() },
            Some(line) => {
                let is_it = |(_, item): &(usize, &Item)| item.json.is_some();
                let at = batch[..part].iter().enumerate().filter(is_it).nth(line - told).map(|(at, _)| at);
                match at {
                    Some(at) => self.lose(std::iter::once(batch.remove(at)), Loss::Refused, &error),
                    None => self.lose(batch.drain(..part), Loss::Refused, &error),
                }
            }
            // The server does not say which: each is sent alone.
            None if part > 1 => *at_once = 1,
            None if told > 0 => *telling = Telling { not_before: Some(Instant::now() + UNTOLD), ..Telling::default() },
            None => self.lose(batch.drain(..part), Loss::Refused, &error),
        }
    }

    fn lose(&self, items: impl Iterator<Item = Item>, loss: Loss, error: &RecordError) {
        let items: Vec<Item> = items.collect();
        let count = items.iter().filter(|item| item.json.is_some()).count() as u64;
        // Counted before anybody is told, who may ask for the count at once.
        self.queue.lose(loss, count);
        items.into_iter().for_each(|item| item.answer(Err(error.clone())));
    }

    async fn attempt(&self, body: Bytes) -> Outcome {
        match self.transport.post("/v1/events", "application/x-ndjson", body, self.attempt_timeout).await {
            Err(why) => Outcome::Again { why, after: None },
            Ok(answer) => self.read(&answer),
        }
    }

    fn read(&self, answer: &Answer) -> Outcome {
        let Answer { status, retry_after, body } = answer;
        match *status {
            StatusCode::OK => match serde_json::from_slice::<Receipts>(body) {
                Ok(receipts) => Outcome::Done(receipts.receipts.into_iter().map(|receipt| receipt.into()).collect()),
                Err(error) => Outcome::Again { why: format!("the answer is not one of Watchkeeper: {error}"), after: None },
            },
            StatusCode::PAYLOAD_TOO_LARGE => Outcome::TooLarge,
            // A server on this machine that was started again has another token: it is looked up anew.
            StatusCode::UNAUTHORIZED if self.transport.is_local() => Outcome::Again { why: message(body), after: None },
            status
                if status.is_client_error() && !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) =>
            {
                let refusal = serde_json::from_slice::<Refusal>(body).ok();
                Outcome::Refused { line: refusal.and_then(|refusal| refusal.error.index), why: message(body) }
            }
            status => Outcome::Again { why: format!("{status}: {}", message(body)), after: *retry_after },
        }
    }
}

/// What the server says is wrong, and what to do.
pub(crate) fn message(body: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error }) => {
            let parts = [error.field, error.message, error.remedy];
            parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
        }
        Err(_) => String::from_utf8_lossy(body).chars().take(200).collect(),
    }
}

#[derive(Deserialize)]
struct Receipts {
    receipts: Vec<ReceiptBody>,
}

#[derive(Deserialize)]
struct ReceiptBody {
    event_id: EventId,
    position: u64,
    duplicate: bool,
}

impl From<ReceiptBody> for Receipt {
    fn from(body: ReceiptBody) -> Self {
        Self { event_id: body.event_id, position: body.position, duplicate: body.duplicate }
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Deserialize)]
struct RefusalBody {
    index: Option<usize>,
    field: Option<String>,
    message: Option<String>,
    remedy: Option<String>,
}
