//! The witness over HTTP: C2SP tlog-witness for the logs of others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use ledger::VerifierKey;
use ledger::witness::{Reply, Witness, WitnessError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{ConfigError, Tls};
use crate::listen::{Listener, tls_acceptor};

/// Longest request: a consistency proof and a checkpoint with all its signatures.
const REQUEST_BYTES_MAX: usize = 528 * 1024;

/// How long a client may take for the whole of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// What a witness is started with.
#[derive(Debug, Clone)]
pub struct WitnessOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The certificate; without it only loopback is listened on.
    pub tls: Option<Tls>,
    /// Where the keys and the last checkpoints are.
    pub state: PathBuf,
    /// The name of new keys.
    pub name: Option<String>,
    /// The keys of the logs.
    pub logs: Vec<VerifierKey>,
}

/// A witness that listens.
pub struct WitnessServer {
    witness: Arc<Witness>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

/// Why a witness does not start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessStartError {
    /// Its state or keys.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// Plain text on the network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate or the socket.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

impl WitnessServer {
    /// Opens the state and listens.
    pub async fn start(options: WitnessOptions) -> Result<Self, WitnessStartError> {
        let address = options.listen;
        if options.tls.is_none() && !address.ip().is_loopback() {
            return Err(ConfigError::PlainTextOnNetwork { listener: "witness", address }.into());
        }
        let at = |source| WitnessStartError::Listen { address, source };
        let tls = options.tls.as_ref().map(|tls| tls_acceptor(tls, false)).transpose().map_err(at)?;
        let witness = Arc::new(Witness::open(&options.state, options.name.as_deref(), options.logs)?);
        let listener = Listener::bind(address, router(witness.clone()), tls).map_err(at)?;
        let address = listener.address().map_err(at)?;
        let (stop, stopped) = watch::channel(false);
        Ok(Self { witness, address, stop, listener: tokio::spawn(listener.serve(stopped)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its public keys.
    #[must_use]
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        self.witness.verifiers().cloned().collect()
    }

    /// Lets requests under way finish, and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        drop(self.listener.await);
    }
}

fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint).layer(DefaultBodyLimit::disable()))
        .route("/{origin}/checkpoint", get(checkpoint))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Body) -> Response {
    let body = match tokio::time::timeout(REQUEST_TIMEOUT, axum::body::to_bytes(body, REQUEST_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long or was cut off\n"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
    };
    // The state is made durable before the answer, which blocks.
    let answer = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, now())).await;
    answer.map_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed\n"), response)
}

async fn checkpoint(State(witness): State<Arc<Witness>>, UrlPath(origin): UrlPath<String>) -> Response {
    let answer = tokio::task::spawn_blocking(move || witness.checkpoint(&origin)).await;
    answer.map_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed\n"), response)
}

fn response(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    response
}

fn plain(status: StatusCode, body: &'static str) -> Response {
    let mut response = Response::new(Body::from(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
