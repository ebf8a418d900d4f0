//! The egress proxy: an HTTP/1.1 forward proxy (RFC 9110, section 3.7) for what agents and applications ask of the world, and the
//! record of it.
//!
//! ```text
//! dispatch ─ who asks? ─┬─ http://HOST/PATH ──── resolve, judge, connect ─ forward ─────────────► answer
//!                       └─ CONNECT HOST:PORT ─── resolve, judge, connect ─┬─ tunnel: bytes both ways, after a look at the ClientHello
//!                                                                         └─ listed: TLS ends here ─ forward, per request
//! ```
//!
//! # What is promised
//!
//! - Each call has an event when it begins and one when it has ended, whatever way it ends. The first is on disk before anything of
//!   the call goes out, the second before the end of an answer is handed out ([`OnRecordFailure`]: what happens when it cannot be).
//! - Credentials are never recorded: how a request shows who it is, is.
//! - A name is judged before anybody is asked for its address, and what was judged is what is connected to: it is resolved once.
//! - Bodies are counted and not read. TLS is ended here only for hosts that the operator lists.
//!
//! HTTP/2 is not offered inside of an intercepted connection: clients fall back to HTTP/1.1.

mod answer;
mod authority;
mod call;
mod caller;
mod connect;
mod dispatch;
mod forward;
mod hello;
mod intercept;
mod policy;
mod slots;
mod target;
mod tunnel;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use http::HeaderMap;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

pub use authority::{Authority, AuthorityError, Kept};
pub use hello::{Hello, Named};
pub use policy::{Mode, Pattern, PatternError, Policy};

use crate::Recorder;
use crate::gateway::OnRecordFailure;
use crate::gateway::keys::KeyChecker;
use crate::recording::Recording;
use intercept::Interception;
use slots::Slots;

/// Questions to the system's resolver at once. Each holds a thread.
const LOOKUPS_MAX: usize = 64;

/// Those of one caller: names whose servers do not answer hold their turns for long.
const LOOKUPS_EACH_MAX: usize = 16;

/// How the proxy behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Which destinations may be reached.
    pub policy: Policy,
    /// Whether callers must show a key of ours. A client certificate stands for one ([`Admitted`]).
    pub require_key: bool,
    /// Whether the listener is on loopback: its callers reach what listens there by themselves.
    pub is_local: bool,
    /// What happens to a call that cannot be recorded.
    pub on_record_failure: OnRecordFailure,
    /// Bounds on numbers and times.
    pub limits: Limits,
}

/// What is intercepted.
pub struct Intercept {
    /// Hosts whose TLS ends here.
    pub hosts: Vec<Pattern>,
    /// Who vouches for them.
    pub authority: Authority,
    /// Authorities beside the system's under which the hosts may have their certificates.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Bounds on numbers and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections to destinations at once; what comes beyond gets a 503. Each holds two sockets, and 32 KiB in a tunnel.
    pub connections_max: usize,
    /// Those of one caller (a key, else an address that is not loopback).
    pub connections_each_max: usize,
    /// Longest wait for the address of a name.
    pub resolve: Duration,
    /// Longest wait for a connection, over all addresses of a name.
    pub connect: Duration,
    /// Longest wait for a TLS handshake, and for a client to take its tunnel.
    pub handshake: Duration,
    /// Longest silence of a client that sends a request's head or body.
    pub client_idle: Duration,
    /// Longest silence of a destination before and within its answer: models that reason take minutes.
    pub answer: Duration,
    /// Longest time in which nothing passes through a tunnel in either direction.
    pub tunnel_idle: Duration,
    /// Longest wait for a record to become durable.
    pub record_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            connections_each_max: 512,
            resolve: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            client_idle: Duration::from_secs(30),
            answer: Duration::from_secs(600),
            tunnel_idle: Duration::from_secs(900),
            record_wait: Duration::from_secs(30),
        }
    }
}

/// Why a proxy cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// There are no certificate authorities to check intercepted hosts with.
    #[error(
        "no authorities for intercepted hosts: {0}; install ca-certificates, set SSL_CERT_FILE, or name some in egress.roots"
    )]
    Roots(io::Error),
}

/// In the extensions of a request: the caller has shown otherwise that it may use the proxy.
#[derive(Debug, Clone, Copy)]
pub struct Admitted;

/// In the extensions of an answer: the caller showed no key of ours, or one that is not good, and was refused for it.
#[derive(Clone)]
pub struct KeyRefused {
    /// Where it called from.
    pub client: Option<SocketAddr>,
    /// What it said, the credential included: for who looks, and for no log.
    pub headers: HeaderMap,
}

/// The proxy. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

/// What all calls share.
struct Shared {
    config: Config,
    recording: Recording,
    checker: Option<Arc<dyn KeyChecker>>,
    interception: Option<Interception>,
    /// Our own listeners, once they are known.
    listeners: OnceLock<Vec<SocketAddr>>,
    connections: Slots,
    lookups: Slots,
    /// Every tunnel holds a receiver of it, so that a shutdown can wait for the last one.
    tunnels: watch::Sender<()>,
    stop: watch::Sender<bool>,
}

impl Egress {
    /// A proxy that records with `recorder`. Opens no connection yet.
    ///
    /// # Errors
    /// [`EgressError::Roots`] where something is to be intercepted.
    pub fn new(
        recorder: Arc<dyn Recorder>,
        config: Config,
        checker: Option<Arc<dyn KeyChecker>>,
        intercept: Option<Intercept>,
    ) -> Result<Self, EgressError> {
        let interception = intercept.map(Interception::new).transpose()?;
        let recording = Recording::new(recorder, config.limits.record_wait);
        let connections = Slots::new(config.limits.connections_max, config.limits.connections_each_max);
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                recording,
                checker,
                interception,
                listeners: OnceLock::new(),
                connections,
                lookups: Slots::new(LOOKUPS_MAX, LOOKUPS_EACH_MAX),
                tunnels: watch::Sender::new(()),
                stop: watch::Sender::new(false),
            }),
        })
    }

    /// Its one route, which takes whatever is asked. Serve it with connect info of type [`SocketAddr`].
    pub fn router(&self) -> Router {
        Router::new().fallback(dispatch::dispatch).with_state(self.shared.clone())
    }

    /// Names the listeners of this server, which are not reached through it. Counts once.
    pub fn protect(&self, listeners: Vec<SocketAddr>) {
        drop(self.shared.listeners.set(listeners));
    }

    /// Ends every tunnel and waits until all of them, and every call, are recorded: call it after the listener has stopped.
    pub async fn end(&self) {
        self.shared.stop.send_replace(true);
        self.shared.tunnels.closed().await;
        self.shared.recording.drained().await;
    }
}

#[cfg(test)]
mod tests;
