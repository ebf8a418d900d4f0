//! The client itself: what a program holds.

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use event::{Channel, EventId, Finding, Verdict};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::{Config, ConfigError};
use crate::event_input::Event;
use crate::losses::{Loss, Losses};
use crate::queue::{Item, Queue};
use crate::transport::Transport;
use crate::worker::{Worker, message};

/// Largest event, in bytes as JSON: the server takes bodies of 16 MiB.
const EVENT_BYTES_MAX: usize = 15 * 1024 * 1024;

/// Reports events to one server. Clones share one queue and one connection.
///
/// When the last clone goes, what waits is still delivered as long as the process lives and each event allows: call
/// [`flush`](Self::flush) before the program ends.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    transport: Arc<Transport>,
    runtime: Handle,
    deadline: Duration,
}

/// That an event is on the server's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The id under which it is recorded; not the one that was sent.
    pub event_id: EventId,
    /// Its place in the journal, which is the index of its leaf in the ledger.
    pub position: u64,
    /// Whether it had been recorded before and was not recorded again.
    pub duplicate: bool,
}

/// What inspection says of a text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Scored {
    /// 0 (nothing) to 1 (certain).
    pub score: f32,
    /// What a guardrail would advise.
    pub verdict: Verdict,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Bytes that were inspected.
    pub scanned_bytes: u64,
    /// Bytes that were not.
    #[serde(default)]
    pub unscanned_bytes: u64,
}

/// An event was not recorded, or nobody knows whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too many others wait. The event is lost and counted.
    #[error("too many events wait for the server; send fewer, or look whether it runs")]
    QueueFull,
    /// The event is larger than the server takes. It is lost and counted.
    #[error("the event is larger than the server takes; send it in parts")]
    TooLarge,
    /// The server refuses it. It is lost and counted.
    #[error("the server refuses the event: {0}")]
    Refused(String),
    /// The server did not take it in its time. It is lost and counted.
    #[error("the server was not reached: {0}")]
    Unreachable(String),
    /// Nobody knows yet: it is still being sent, and may be recorded.
    #[error("the server has not confirmed the event in time; it may still be recorded")]
    Deadline,
    /// The client is closing.
    #[error("the client is closed")]
    Closed,
}

impl Client {
    /// Starts a client, with a thread of its own. The server need not run yet.
    ///
    /// # Errors
    /// When the authorities cannot be read or there is no thread to be had.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let queue = Arc::new(Queue::new(config.queue_events_max, config.queue_bytes_max));
        let transport = Arc::new(Transport::new(&config)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (attempt_timeout, is_patient) = (config.attempt_timeout, config.is_patient);
        let worker = Worker { queue: queue.clone(), transport: transport.clone(), attempt_timeout, is_patient };
        std::thread::Builder::new().name("watchkeeper-client".to_owned()).spawn(move || runtime.block_on(worker.run()))?;
        Ok(Self { inner: Arc::new(Inner { queue, transport, runtime: handle, deadline: config.deadline }) })
    }

    /// Sends an event and waits until it is on the server's disk, as long as [`Config::deadline`] says. A future that is dropped
    /// does not take the event back.
    ///
    /// # Errors
    /// When it is not known to be recorded; see [`RecordError`] for what then holds.
    pub async fn record(&self, event: Event) -> Result<Receipt, RecordError> {
        self.confirmed(event)?.await.unwrap_or(Err(RecordError::Closed))
    }

    /// As [`record`](Self::record), for code that is not asynchronous.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn record_blocking(&self, event: Event) -> Result<Receipt, RecordError> {
        let confirmed = self.confirmed(event)?;
        self.block_on(async move { confirmed.await.unwrap_or(Err(RecordError::Closed)) })?
    }

    /// Sends an event and does not wait. What becomes of it is seen in [`losses`](Self::losses).
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn submit(&self, event: Event) -> Result<(), RecordError> {
        self.push(&event, None)
    }

    /// Waits until everything before is recorded or given up, for a time.
    ///
    /// # Errors
    /// [`RecordError::Deadline`] when something is still under way then.
    pub async fn flush(&self, patience: Duration) -> Result<(), RecordError> {
        self.inner.runtime.spawn(self.flushed(patience)?).await.unwrap_or(Err(RecordError::Closed))
    }

    /// As [`flush`](Self::flush), for code that is not asynchronous.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn flush_blocking(&self, patience: Duration) -> Result<(), RecordError> {
        let flushed = self.flushed(patience)?;
        self.block_on(flushed)?
    }

    /// Asks the server what it thinks of a text. Nothing is recorded.
    ///
    /// # Errors
    /// When it does not answer within `patience`.
    pub async fn inspect(&self, text: &str, channel: Channel, patience: Duration) -> Result<Scored, RecordError> {
        self.inner.runtime.spawn(self.scored(text, channel, patience)).await.unwrap_or(Err(RecordError::Closed))
    }

    /// As [`inspect`](Self::inspect), for code that is not asynchronous.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    pub fn inspect_blocking(&self, text: &str, channel: Channel, patience: Duration) -> Result<Scored, RecordError> {
        self.block_on(self.scored(text, channel, patience))?
    }

    /// Posts JSON to another route of the server and gives its answer, once: for what is no event. Nothing of it is queued.
    ///
    /// # Errors
    /// When it does not answer within `patience`, or refuses.
    pub async fn ask(&self, path: &'static str, body: Vec<u8>, patience: Duration) -> Result<Bytes, RecordError> {
        let transport = self.inner.transport.clone();
        let asked = self.inner.runtime.spawn(async move {
            let answer = transport.post(path, "application/json", body.into(), patience).await;
            let answer = answer.map_err(RecordError::Unreachable)?;
            match answer.status {
                StatusCode::OK => Ok(answer.body),
                StatusCode::PAYLOAD_TOO_LARGE => Err(RecordError::TooLarge),
                status if status.is_client_error() => Err(RecordError::Refused(message(&answer.body))),
                status => Err(RecordError::Unreachable(format!("{status}: {}", message(&answer.body)))),
            }
        });
        asked.await.unwrap_or(Err(RecordError::Closed))
    }

    /// What was lost and what the server has not been told of.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.inner.queue.losses()
    }

    /// Has the server told of losses that are known from elsewhere (a program that ran before), with the next events or at once.
    pub fn report(&self, losses: Losses) {
        if !losses.is_empty() {
            self.inner.queue.join_losses(losses);
            self.inner.queue.nudge(Instant::now() + self.inner.deadline);
        }
    }

    fn push(&self, event: &Event, waiter: Option<crate::queue::Waiter>) -> Result<(), RecordError> {
        let json = event.to_json().map_err(|error| RecordError::Refused(error.to_string()))?;
        if json.len() > EVENT_BYTES_MAX {
            self.inner.queue.lose(Loss::TooLarge, 1);
            return Err(RecordError::TooLarge);
        }
        self.inner.queue.push(Item { json: Some(json), until: Instant::now() + self.inner.deadline, waiter })
    }

    /// A task that ends with the receipt. It has a clock of its own, so that nobody waits for those before in the queue.
    #[allow(clippy::type_complexity)]
    fn confirmed(&self, event: Event) -> Result<tokio::task::JoinHandle<Result<Receipt, RecordError>>, RecordError> {
        let (waiter, answer) = oneshot::channel();
        self.push(&event, Some(waiter))?;
        let deadline = self.inner.deadline;
        Ok(self.inner.runtime.spawn(async move {
            match tokio::time::timeout(deadline, answer).await {
                Ok(Ok(Ok(Some(receipt)))) => Ok(receipt),
                Ok(Ok(Err(error))) => Err(error),
                Ok(_) => Err(RecordError::Closed),
                Err(_) => Err(RecordError::Deadline),
            }
        }))
    }

    fn flushed(&self, patience: Duration) -> Result<impl Future<Output = Result<(), RecordError>> + Send + use<>, RecordError> {
        let (waiter, answer) = oneshot::channel();
        self.inner.queue.push(Item { json: None, until: Instant::now() + patience, waiter: Some(waiter) })?;
        Ok(async move {
            match tokio::time::timeout(patience, answer).await {
                Ok(Ok(Ok(_))) => Ok(()),
                Ok(_) | Err(_) => Err(RecordError::Deadline),
            }
        })
    }

    fn scored(
        &self,
        text: &str,
        channel: Channel,
        patience: Duration,
    ) -> impl Future<Output = Result<Scored, RecordError>> + Send + use<> {
        #[derive(Serialize)]
        struct Request<'a> {
            text: &'a str,
            channel: Channel,
        }
        let body = serde_json::to_vec(&Request { text, channel });
        let transport = self.inner.transport.clone();
        async move {
            let body: Bytes = body.map_err(|error| RecordError::Refused(error.to_string()))?.into();
            let answer = transport.post("/v1/inspect", "application/json", body, patience).await;
            let answer = answer.map_err(RecordError::Unreachable)?;
            match answer.status {
                StatusCode::OK => {
                    serde_json::from_slice(&answer.body).map_err(|error| RecordError::Unreachable(error.to_string()))
                }
                status if status.is_client_error() => Err(RecordError::Refused(message(&answer.body))),
                status => Err(RecordError::Unreachable(format!("{status}: {}", message(&answer.body)))),
            }
        }
    }

    /// Runs something on the client's own thread and waits for it here: also inside of a runtime, where waiting for a future would
    /// panic.
    fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T, RecordError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.inner.runtime.spawn(async move { drop(sender.send(future.await)) });
        receiver.recv().map_err(|_| RecordError::Closed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("losses", &self.losses()).finish_non_exhaustive()
    }
}
