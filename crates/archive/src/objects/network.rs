//! HTTP requests whose answers are bounded, and that are tried again where the network or the server failed.

use std::fmt;
use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode};
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector as _, HttpRequest, ReqwestConnector};
use tokio::runtime::Runtime;

use super::ObjectError;

/// Tries of a request that the network or the server failed, the first included.
const TRIES_MAX: u32 = 4;

/// The pause before the second try; it doubles with each.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Longest answer that tells of an error.
pub(super) const ERROR_BYTES_MAX: usize = 4096;

/// A client, and a thread for its requests: calls come from any thread, those of other runtimes included.
pub(super) struct Network {
    client: HttpClient,
    runtime: Option<Runtime>,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// One byte more than was asked for at the most.
    pub(super) body: Bytes,
}

/// Why there is no answer.
pub(super) struct Failed {
    what: String,
    /// Whether it may be over at the next try.
    may_pass: bool,
}

impl Failed {
    /// The request could not even be made.
    pub(super) fn of_us(what: String) -> Self {
        Self { what, may_pass: false }
    }
}

impl Network {
    pub(super) fn open(options: &ClientOptions) -> Result<Self, String> {
        let client = ReqwestConnector::default().connect(options).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("objects").enable_all().build();
        let runtime = runtime.map_err(|error| format!("no thread for requests: {error}"))?;
        Ok(Self { client, runtime: Some(runtime) })
    }

    pub(super) fn client(&self) -> HttpClient {
        self.client.clone()
    }

    /// Runs requests on the thread for them and waits for the outcome.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        name: &dyn fmt::Display,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let failed = |what: String| ObjectError::Failed { name: name.to_string(), what };
        let runtime = self.runtime.as_ref().ok_or_else(|| failed("the store is being closed".to_owned()))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            let _ = sender.send(work.await);
        });
        receiver.recv().map_err(|_| failed("the request was given up".to_owned()))?.map_err(failed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // A runtime that is dropped within another one panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }

    /// Whether an element of the answer's XML has a value, in a document in which it can stand but once.
    pub(super) fn says(&self, element: &str, value: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(&format!("<{element}>{value}</{element}>"))
    }

    pub(super) fn refused(&self, name: &dyn fmt::Display) -> ObjectError {
        let body: String = String::from_utf8_lossy(&self.body).chars().filter(|c| !c.is_control()).take(400).collect();
        ObjectError::Failed { name: name.to_string(), what: format!("the server answered {} {body}", self.status) }
    }
}

/// Makes a request, and again where the network or the server failed and not the request.
pub(super) async fn tried<R: Future<Output = Result<Answer, Failed>>>(request: impl Fn() -> R) -> Result<Answer, String> {
    let mut pause = RETRY_PAUSE;
    for tried in 1.. {
        let answer = request().await;
        let again = match &answer {
            Ok(answer) => answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS,
            Err(failed) => failed.may_pass,
        };
        if !again || tried >= TRIES_MAX {
            return answer.map_err(|failed| failed.what);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err("no try was made".to_owned())
}

/// One try. At most one byte more than `bytes_max` of the body is taken, so that the caller sees that there is more.
pub(super) async fn execute(client: &HttpClient, request: HttpRequest, bytes_max: u64) -> Result<Answer, Failed> {
    let failed = |what: String| Failed { what, may_pass: true };
    let response = client.execute(request).await.map_err(|error| failed(error.to_string()))?;
    let (head, body) = response.into_parts();
    let bytes_max = if head.status.is_success() { bytes_max } else { ERROR_BYTES_MAX as u64 };
    let mut chunks = body.bytes_stream();
    let mut taken = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| failed(error.to_string()))?;
        let room = usize::try_from(bytes_max.saturating_add(1)).unwrap_or(usize::MAX).saturating_sub(taken.len());
        taken.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: taken.freeze() })
}
