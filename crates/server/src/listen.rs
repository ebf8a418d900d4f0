//! A listener: accepts connections, speaks TLS where there is a certificate, serves HTTP/1.1 and HTTP/2, and stops gently.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::config::Tls;
use crate::forwarded::{Network, client_of};
use crate::peer::Ends;

/// Connections of one listener at once, where there are descriptors for so many. Further ones wait in the kernel's queue.
pub(crate) const CONNECTIONS_MAX: usize = 4_096;

/// Connections that wait to be accepted, as far as the kernel allows (`net.core.somaxconn`). With the 128 that are common, some of 500 clients
/// that come at one moment wait for minutes: the kernel drops what ends their handshake, and they take themselves for connected.
const BACKLOG: u32 = 4_096;

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests that are under way may take to finish when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests of one HTTP/2 connection at once: an exporter has a handful, a collector's queue ten.
const STREAMS_MAX: u32 = 128;

/// Longest head of a request. The longest real ones carry a token of a few KiB.
const HEAD_BYTES_MAX: u32 = 32 * 1024;

/// How often an HTTP/2 connection is asked whether it is still there, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Streams that a client may reset before they were answered, until its connection is ended (CVE-2023-44487).
const RESETS_MAX: usize = 64;

/// That the caller has shown a client certificate which the configuration trusts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientCertificate;

/// A bound listener with what it serves.
pub(crate) struct Listener {
    socket: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    trusted_proxies: Arc<[Network]>,
    connections_max: usize,
}

/// Reads certificate and key, and with `of_clients` the certificates under which callers must have theirs, where there are any.
pub(crate) fn tls_acceptor(tls: &Tls, of_clients: bool) -> io::Result<TlsAcceptor> {
    let name = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |error| io::Error::other(format!("{path}: {error}"))
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(name(&tls.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(name(&tls.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match tls.client_ca.as_ref().filter(|_| of_clients) {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(name(path))? {
                let certificate = certificate.map_err(name(path))?;
                roots.add(certificate).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                verifier.build().map_err(|error| io::Error::other(format!("client_ca {}: {error}", path.display())))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Listener {
    pub(crate) fn bind(address: SocketAddr, router: Router, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A server that starts again takes over an address on which old connections are still being forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self {
            socket: socket.listen(BACKLOG)?,
            router,
            tls,
            trusted_proxies: Arc::default(),
            connections_max: CONNECTIONS_MAX,
        })
    }

    /// With so many connections at once at the most.
    pub(crate) fn at_most(self, connections_max: usize) -> Self {
        Self { connections_max, ..self }
    }

    /// Behind proxies whose word is taken on where a request comes from.
    pub(crate) fn behind(self, trusted_proxies: Arc<[Network]>) -> Self {
        Self { trusted_proxies, ..self }
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop` becomes true, then lets requests under way finish.
    pub(crate) async fn serve(self, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(self.connections_max));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { break };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stopped(&mut stop) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or the peer went away: neither is a reason to stop serving the others.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // Without it the last small frame of a streamed answer waits 40 ms for an acknowledgement (Nagle).
            drop(stream.set_nodelay(true));
            let ends = stream.local_addr().map_or(Ends { peer, own: peer }, |own| Ends { peer, own });
            let router = self.router.clone();
            let tls = self.tls.clone();
            let trusted = self.trusted_proxies.clone();
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                let _permit = permit;
                let result = match tls {
                    None => connection(stream, ends, trusted, router, watcher, None).await,
                    Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            // None are asked for where none are needed, and those that come are verified.
                            let shown = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
                            connection(stream, ends, trusted, router, watcher, shown.then_some(ClientCertificate)).await
                        }
                        Ok(Err(error)) => Err(error.into()),
                        Err(_) => Err("TLS handshake took too long".into()),
                    },
                };
                if let Err(error) = result {
                    tracing::debug!(%peer, error, "connection ended");
                }
            });
        }
        drop(self.socket);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still under way when the server stopped");
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the server.
    drop(stop.wait_for(|&stop| stop).await);
}

async fn connection<S>(
    stream: S,
    ends: Ends,
    trusted: Arc<[Network]>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
    certificate: Option<ClientCertificate>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        // Behind a proxy the port of the client is not known.
        let client = client_of(ends.peer.ip(), request.headers(), &trusted);
        let client = if client == ends.peer.ip() { ends.peer } else { SocketAddr::new(client, 0) };
        request.extensions_mut().insert(ConnectInfo(client));
        request.extensions_mut().insert(ends);
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        request
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING_INTERVAL))
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    watcher.watch(connection.into_owned()).await
}
