//! A tower layer: records the calls of any service, such as the HTTP client under a model's SDK.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use event::Status;
use tower_layer::Layer;
use tower_service::Service;

use crate::client::{Client, RecordError};
use crate::event_input::Event;

/// Says what a request is and what came of it.
pub trait Describe<Request, Response, Error>: Clone + Send + 'static {
    /// The event of a request; `None` when it is none of a kind that is recorded.
    fn request(&self, request: &Request) -> Option<Event>;

    /// Adds what came of it. Time and status are there already.
    fn response(&self, event: Event, result: Result<&Response, &Error>) -> Event;
}

/// What is done with a result whose record is not on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Observe,
    Commit,
}

/// Wraps services.
#[derive(Debug, Clone)]
pub struct RecordLayer<D> {
    client: Client,
    describe: D,
    mode: Mode,
}

/// A service whose calls are recorded.
#[derive(Debug, Clone)]
pub struct RecordService<S, D> {
    inner: S,
    client: Client,
    describe: D,
    mode: Mode,
}

/// Why a recorded call failed.
#[derive(Debug, thiserror::Error)]
pub enum Recorded<E> {
    /// The call itself failed.
    #[error(transparent)]
    Call(E),
    /// The call went well, its record could not be written, and the layer is one that then gives no result.
    #[error("the call was not recorded: {0}")]
    Record(RecordError),
}

impl<D> RecordLayer<D> {
    /// Calls are recorded; one that cannot be goes on all the same, and is counted.
    #[must_use]
    pub fn new(client: Client, describe: D) -> Self {
        Self { client, describe, mode: Mode::Observe }
    }

    /// No result is given before its record is on the server's disk, and none when it cannot be.
    #[must_use]
    pub fn committing(mut self) -> Self {
        self.mode = Mode::Commit;
        self
    }
}

impl<S, D: Clone> Layer<S> for RecordLayer<D> {
    type Service = RecordService<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        RecordService { inner, client: self.client.clone(), describe: self.describe.clone(), mode: self.mode }
    }
}

impl<S, D, Request> Service<Request> for RecordService<S, D>
where
    S: Service<Request>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
    D: Describe<Request, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = Recorded<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Recorded::Call)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let event = self.describe.request(&request);
        let (client, describe, mode) = (self.client.clone(), self.describe.clone(), self.mode);
        let begun = Instant::now();
        let call = self.inner.call(request);
        Box::pin(async move {
            let result = call.await;
            if let Some(event) = event {
                let status = if result.is_ok() { Status::Ok } else { Status::Error };
                let event = describe.response(event.duration(begun.elapsed()).status(status), result.as_ref());
                match mode {
                    // What was lost is counted by the client.
                    Mode::Observe => drop(client.submit(event)),
                    Mode::Commit => drop(client.record(event).await.map_err(Recorded::Record)?),
                }
            }
            result.map_err(Recorded::Call)
        })
    }
}
