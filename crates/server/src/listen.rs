//! A listener: accepts connections, speaks TLS where there is a certificate, serves HTTP/1.1 and, but for a forward proxy, HTTP/2, and
//! stops gently.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
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
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::config::Tls;
use crate::forwarded::{Network, client_of};
use crate::peer::Ends;
use crate::taking::Taking;

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

/// Longest head of a request to a forward proxy: it may carry the cookies and tokens of any site.
const PROXIED_HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take nothing of what is sent to it. Whoever works through a large answer piece by piece is slower than a network.
const STALL_MAX: Duration = Duration::from_secs(300);

/// When a connection on which nothing comes is asked whether the other side is still there, and how often then. Linux asks nine times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// See [`KEEPALIVE_AFTER`].
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// That the caller has shown a client certificate which the configuration trusts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientCertificate;

/// That the caller came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverTls;

/// By what a connection is protected.
#[derive(Debug, Clone, Copy, Default)]
struct Protection {
    tls: Option<OverTls>,
    certificate: Option<ClientCertificate>,
}

/// A bound listener with what it serves.
pub(crate) struct Listener {
    socket: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    trusted_proxies: Arc<[Network]>,
    connections_max: usize,
    stall_max: Duration,
    is_proxy: bool,
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
            stall_max: STALL_MAX,
            is_proxy: false,
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

    /// As a forward proxy: one call at a time on a connection (HTTP/1.1).
    pub(crate) fn of_proxy(mut self) -> Self {
        self.tls = self.tls.map(|tls| {
            let mut config = rustls::ServerConfig::clone(tls.config());
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        Self { is_proxy: true, ..self }
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
            let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
            drop(SockRef::from(&stream).set_tcp_keepalive(&keepalive));
            let ends = stream.local_addr().map_or(Ends { peer, own: peer }, |own| Ends { peer, own });
            let router = self.router.clone();
            let tls = self.tls.clone();
            let trusted = self.trusted_proxies.clone();
            let watcher = graceful.watcher();
            let stall_max = self.stall_max;
            let proxied_until = self.is_proxy.then(|| stop.clone());
            tokio::spawn(async move {
                let _permit = permit;
                let result = match tls {
                    None => {
                        let plain = Protection::default();
                        connection(Taking::new(stream, stall_max), ends, trusted, router, watcher, plain, proxied_until).await
                    }
                    Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            // None are asked for where none are needed, and those that come are verified.
                            let shown = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
                            let protection = Protection { tls: Some(OverTls), certificate: shown.then_some(ClientCertificate) };
                            let stream = Taking::new(stream, stall_max);
                            connection(stream, ends, trusted, router, watcher, protection, proxied_until).await
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
    protection: Protection,
    proxied_until: Option<watch::Receiver<bool>>,
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
        if let Some(tls) = protection.tls {
            request.extensions_mut().insert(tls);
        }
        if let Some(certificate) = protection.certificate {
            request.extensions_mut().insert(certificate);
        }
        request
    });
    if let Some(mut stop) = proxied_until {
        // On HTTP/2 one connection would be many calls, each with a destination of its own.
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(PROXIED_HEAD_BYTES_MAX);
        let mut connection =
            pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).with_upgrades());
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // The listener waits for it.
        drop(watcher);
        return Ok(ended?);
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::{Body, Bytes};
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    use super::*;

    /// Longer than anything here takes; a test that runs into it has failed.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn serving(router: Router, stall_max: Duration, is_proxy: bool) -> (SocketAddr, watch::Sender<bool>) {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), router, None).unwrap();
        let listener = Listener { stall_max, ..if is_proxy { listener.of_proxy() } else { listener } };
        let address = listener.address().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(listener.serve(stopped));
        (address, stop)
    }

    /// All that is answered until the connection ends.
    async fn answered(address: SocketAddr, asked: &[u8]) -> Vec<u8> {
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut seen = Vec::new();
        drop(client.write_all(asked).await);
        drop(tokio::time::timeout(PATIENCE, client.read_to_end(&mut seen)).await.unwrap());
        seen
    }

    #[tokio::test]
    async fn a_proxy_speaks_no_http2_and_takes_no_endless_head() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let router = Router::new().fallback(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { "hello" }
        });
        let (address, _stop) = serving(router, PATIENCE, true).await;
        // The preface, the settings and a GET, as a client with prior knowledge sends them (RFC 9113, section 3.4).
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let get = [0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84];
        let seen = answered(address, &[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &get].concat()).await;
        assert!(seen.is_empty() || seen.starts_with(b"HTTP/1."), "{seen:?}");
        let head = |bytes: usize| format!("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx: {}\r\n\r\n", "a".repeat(bytes));
        answered(address, head(300_000).as_bytes()).await;
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        assert!(answered(address, head(1_000).as_bytes()).await.ends_with(b"hello"));
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_does_not_hold_its_call() {
        /// Says when the answer is given up.
        struct Held(mpsc::UnboundedSender<()>);
        impl Drop for Held {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (sender, mut given_up) = mpsc::unbounded_channel();
        let router = Router::new().fallback(move || {
            let held = Held(sender.clone());
            let endless =
                stream::unfold(held, |held| async { Some((Ok::<_, io::Error>(Bytes::from(vec![7; 64 * 1024])), held)) });
            async { Body::from_stream(endless) }
        });
        for is_proxy in [false, true] {
            let (address, _stop) = serving(router.clone(), Duration::from_millis(50), is_proxy).await;
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
            tokio::time::timeout(PATIENCE, given_up.recv()).await.unwrap().unwrap();
            drop(client);
        }
    }
}
