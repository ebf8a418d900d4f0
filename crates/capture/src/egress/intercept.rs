//! Interception of TLS: for hosts that the operator lists, the proxy is the server that the client speaks to, and the client of
//! the server that it wanted. Requests are recorded as those in plain text are.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use event::attr;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::answer::Failure;
use super::authority::Authority;
use super::call::{Call, Mode, end};
use super::caller::User;
use super::connect::Opened;
use super::forward::{HEAD_BYTES_MAX, Sender, forward, handshake};
use super::policy::{Pattern, Ruling};
use super::slots::Slot;
use super::target::Target;
use super::{EgressError, Intercept, Shared};
use crate::gateway::upstream::recorded_path_and_query;

/// What is needed to intercept.
pub(super) struct Interception {
    hosts: Vec<Pattern>,
    authority: Authority,
    connector: TlsConnector,
}

/// One connection of a client to an intercepted host.
pub(super) struct Session {
    shared: Arc<Shared>,
    caller: SessionCaller,
    target: Target,
    /// What was decided on the connection, which is said of each of its requests.
    ruling: Option<Ruling>,
    /// The connection to the host; requests of one client come one after the other.
    upstream: Mutex<Option<Secured>>,
    acceptor: TlsAcceptor,
}

/// Whose connection it is.
pub(super) struct SessionCaller {
    pub(super) user: User,
    pub(super) client: Option<SocketAddr>,
    /// Whose places are taken.
    pub(super) share: Option<String>,
    pub(super) slot: Option<Arc<Slot>>,
}

/// A connection to an intercepted host, and what is shown in its place.
pub(super) struct Secured {
    sender: Sender,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
}

impl Interception {
    pub(super) fn new(intercept: Intercept) -> Result<Self, EgressError> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(native.certs);
        for certificate in intercept.roots {
            roots.add(certificate).map_err(|error| EgressError::Roots(io::Error::other(error)))?;
        }
        if roots.is_empty() {
            let cause = native.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
            return Err(EgressError::Roots(io::Error::other(cause)));
        }
        tracing::debug!(added, "authorities of the system for intercepted hosts");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| EgressError::Roots(io::Error::other(error)))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { hosts: intercept.hosts, authority: intercept.authority, connector: Arc::new(config).into() })
    }

    /// Whether connections to a destination are intercepted.
    pub(super) fn is_for(&self, target: &Target, peer: SocketAddr) -> bool {
        self.hosts.iter().any(|pattern| pattern.fits(&target.host, peer.ip()))
    }

    /// Whether a host is intercepted by its name alone.
    pub(super) fn lists(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| pattern.fits_name(host))
    }

    /// Speaks TLS to the host, and has its certificate verified.
    pub(super) async fn secure(&self, shared: &Shared, target: &Target, opened: Opened) -> Result<Secured, Failure> {
        let name = ServerName::try_from(target.host.clone()).map_err(|error| Failure::malformed(error.to_string()))?;
        let shaking = self.connector.connect(name, opened.stream);
        let stream = match timeout(shared.config.limits.handshake, shaking).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let is_certificate = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
                let is_certificate = matches!(is_certificate, Some(rustls::Error::InvalidCertificate(_)));
                let kind = if is_certificate { "tls_certificate_error" } else { "tls_protocol_error" };
                let message = format!("no TLS with {}: {error}", target.authority(443));
                return Err(Failure::new(StatusCode::BAD_GATEWAY, kind, message));
            }
            Err(_) => return Err(Failure::silent(shared.config.limits.handshake)),
        };
        let config = self
            .authority
            .server_config(&target.host)
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "proxy_internal_error", error.to_string()))?;
        Ok(Secured { sender: handshake(stream).await?, peer: opened.peer, acceptor: config.into() })
    }
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        caller: SessionCaller,
        target: Target,
        ruling: Option<Ruling>,
        secured: Secured,
    ) -> Self {
        let acceptor = secured.acceptor.clone();
        Self { shared, caller, target, ruling, upstream: Mutex::new(Some(secured)), acceptor }
    }

    /// One request inside of the connection.
    async fn request(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        if let Some(client) = self.caller.client {
            parts.extensions.insert(ConnectInfo(client));
        }
        // Another host is another destination, which was neither judged nor verified (RFC 9110, section 15.5.20).
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let has_others = hosts.next().is_some();
        let named = parts.uri.authority().map(|authority| authority.as_str());
        let is_here =
            host.is_some_and(|host| self.target.is_named_by(host)) && named.is_none_or(|name| self.target.is_named_by(name));
        let caller = self.caller.user.caller(&mut parts);
        let key = self.caller.user.key.as_deref();
        let mut call = Call::new(&self.shared, Mode::Intercepted, parts.method.as_str(), &self.target, caller, key);
        let path = recorded_path_and_query(parts.uri.path_and_query().map_or("/", |path| path.as_str()));
        call.describe(|event| event.set(attr::URL_FULL, format!("https://{}{path}", self.target.authority(443)).as_str()));
        call.rule(self.ruling.clone());
        call.slot = self.caller.slot.clone();
        if has_others || parts.method == Method::CONNECT {
            let message = "inside of an intercepted connection there is one Host and no CONNECT";
            return call.fail(Failure::malformed(message)).await;
        }
        if !is_here {
            let message = format!("this connection is to {}, and the request asks for another host", self.target.authority(443));
            return call.fail(Failure::new(StatusCode::MISDIRECTED_REQUEST, "http_request_error", message)).await;
        }
        // In the form in which it was compared.
        match HeaderValue::from_str(&self.target.authority(443)) {
            Ok(host) => parts.headers.insert(header::HOST, host),
            Err(error) => return call.fail(Failure::malformed(error.to_string())).await,
        };
        let mut upstream = self.upstream.lock().await;
        let kept = match upstream.take() {
            Some(mut kept) => kept.sender.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut secured = match kept {
            Some(kept) => kept,
            None => match self.again(&mut call).await {
                Ok(secured) => secured,
                Err(failure) => return call.fail(failure).await,
            },
        };
        call.connected(secured.peer);
        let response = forward(&self.shared, call, &mut secured.sender, parts, Body::new(body)).await;
        *upstream = Some(secured);
        response
    }

    /// A new connection to the host, which has closed the one before.
    async fn again(&self, call: &mut Call) -> Result<Secured, Failure> {
        let (ruling, opened) = self.shared.open(&self.target, self.caller.share.as_deref()).await;
        if ruling != self.ruling {
            call.rule(ruling);
        }
        let Some(interception) = &self.shared.interception else {
            return Err(Failure::malformed("nothing is intercepted"));
        };
        interception.secure(&self.shared, &self.target, opened?).await
    }
}

/// Serves the client of an intercepted host. `call` is that of the connection itself: what comes of it, be it no request at all, is
/// recorded beside its requests.
pub(super) async fn serve(session: Session, mut call: Call, claim: hyper::upgrade::OnUpgrade) {
    let shared = session.shared.clone();
    let _open = shared.tunnels.subscribe();
    let limits = &shared.config.limits;
    let shaking = async {
        let client = claim.await.map_err(io::Error::other)?;
        session.acceptor.accept(TokioIo::new(client)).await
    };
    let stream = match timeout(limits.handshake, shaking).await {
        Ok(Ok(stream)) => stream,
        failed => {
            // A client that does not trust the authority, most of the time.
            tracing::debug!(cause = ?failed.err(), host = session.target.host, "the client of an intercepted host makes no TLS");
            call.error = Some("tls_protocol_error".into());
            call.end = Some(end::CLIENT_DISCONNECT);
            drop(call.commit().await);
            return;
        }
    };
    call.status = Some(200);
    let session = Arc::new(session);
    let service = service_fn(|request| {
        let session = session.clone();
        async move { Ok::<_, Infallible>(session.request(request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.client_idle).max_buf_size(HEAD_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut stop = shared.stop.subscribe();
    let stopped = async { drop(stop.wait_for(|&stop| stop).await) };
    let (ended, end) = tokio::select! {
        ended = &mut connection => (ended, end::CLIENT_CLOSED),
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            (connection.await, end::STOPPED)
        }
    };
    call.end = Some(end);
    if let Err(error) = ended {
        tracing::debug!(%error, host = session.target.host, "the connection of a client ended");
        // What is no request has no record of its own. That a client leaves without a word is no error.
        if error.is_parse() {
            call.error = Some("http_request_error".into());
        } else if error.is_timeout() {
            call.end = Some(end::IDLE);
        }
    }
    if let Err(failure) = call.commit().await {
        tracing::error!(reason = failure.message, "the end of an intercepted connection was not recorded");
    }
}
