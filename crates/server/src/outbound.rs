//! HTTP requests of the server's own: to witnesses, time-stamping authorities, feeds, models that are evaluated. There is one way to make a
//! client of them: whom it trusts, how long a connection may take, and which addresses it never asks.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tower::Service;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Where clouds give out credentials over IPv6; over IPv4 it is a link-local address.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer: a few signatures, or a token with its certificates.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// HTTP/1.1, with TLS where the URL asks for it.
pub(crate) type HttpClient<B> = Client<HttpsConnector<HttpConnector<Guarded>>, B>;

/// Which certificate authorities are believed.
pub(crate) struct Trust(RootCertStore);

impl Trust {
    /// Those of the system and `more`, if one of the URLs needs any: without TLS the system is not asked for authorities that it may not
    /// have.
    pub(crate) fn for_urls<'a>(
        mut urls: impl Iterator<Item = &'a Uri>,
        more: Vec<CertificateDer<'static>>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if urls.any(|url| url.scheme_str() == Some("https")) {
            let native = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(native.certs);
            roots.add_parsable_certificates(more);
            if roots.is_empty() {
                let why = native.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
                return Err(format!(
                    "the system has no certificate authorities{why}; install them, as package ca-certificates does"
                ));
            }
        }
        Ok(Self(roots))
    }
}

/// A client: the one way in which this server asks others.
pub(crate) fn client<B>(guard: Guarded, trust: Trust) -> Result<HttpClient<B>, String>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    let mut http = HttpConnector::new_with_resolver(guard);
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(trust.0).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// A client of those who give short answers.
#[derive(Clone)]
pub(crate) struct Outbound {
    client: HttpClient<Full<Bytes>>,
}

/// Reads a URL of either scheme.
pub(crate) fn read_url(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is not a URL")?;
    if matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some() {
        Ok(uri)
    } else {
        Err("must begin with https:// or http://")
    }
}

impl Outbound {
    /// A client that trusts the system's authorities, if one of the URLs needs them.
    pub(crate) fn new<'a>(urls: impl Iterator<Item = &'a Uri>) -> Result<Self, String> {
        Ok(Self { client: client(Guarded::of_own(), Trust::for_urls(urls, Vec::new())?)? })
    }

    /// Posts a body and gives the status and the answer.
    pub(crate) async fn post(&self, url: &Uri, content_type: &str, body: impl Into<Bytes>) -> Result<(u16, Bytes), String> {
        let request = Request::builder().method(Method::POST).uri(url).header(header::CONTENT_TYPE, content_type);
        self.send(request.body(body.into()).map_err(|error| error.to_string())?).await
    }

    /// Sends a request and gives the status and the answer.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<(u16, Bytes), String> {
        let request = request.map(Full::new);
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| event::with_causes(&error))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

fn host(url: &Uri) -> &str {
    url.host().unwrap_or_default().trim_matches(['[', ']'])
}

/// Whether a URL names this machine.
pub(crate) fn is_this_machine(url: &Uri) -> bool {
    let host = host(url);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What an address is that nobody is asked at.
fn refused(address: IpAddr, is_local: bool) -> Option<&'static str> {
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA_V6,
    };
    match () {
        () if is_link_local => Some("a link-local address, or of a metadata service, which gives out credentials"),
        () if address.is_unspecified() || address.is_multicast() => Some("no address of anybody"),
        () if address.is_loopback() && !is_local => Some("this machine itself"),
        () => None,
    }
}

/// Looks names up, and leaves out addresses at which nobody is asked.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    is_local: bool,
}

impl Guarded {
    /// For a server that somebody configured: it may be this machine where its URL says so, and a name that leads here must not.
    pub(crate) fn of(url: &Uri) -> Result<Self, String> {
        let host = host(url);
        let literal = host.parse::<IpAddr>().ok();
        let is_local = is_this_machine(url);
        match literal.and_then(|address| refused(address, is_local)) {
            Some(what) => Err(format!("is {what}")),
            None => Ok(Self { is_local }),
        }
    }

    /// For servers of one's own, whose names may well lead to this machine.
    fn of_own() -> Self {
        Self { is_local: true }
    }
}

impl Service<Name> for Guarded {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let is_local = self.is_local;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let what = found.iter().find_map(|address| refused(address.ip(), is_local));
            let may: Vec<SocketAddr> = found.into_iter().filter(|address| refused(address.ip(), is_local).is_none()).collect();
            match (may.is_empty(), what) {
                (true, Some(what)) => Err(io::Error::other(format!("{} leads to {what}", name.as_str()))),
                _ => Ok(may.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_metadata_services_are_refused() {
        for (address, is_local, is_refused) in [
            ("169.254.169.254", true, true),
            ("::ffff:169.254.169.254", false, true),
            ("fd00:ec2::254", false, true),
            ("fe80::1", false, true),
            ("0.0.0.0", false, true),
            ("127.0.0.1", false, true),
            ("127.0.0.1", true, false),
            ("10.1.2.3", false, false),
            ("45.9.148.7", false, false),
        ] {
            assert_eq!(refused(address.parse().unwrap(), is_local).is_some(), is_refused, "{address}");
        }
    }

    #[test]
    fn a_url_may_name_this_machine_and_no_metadata_service() {
        for (url, is_taken) in [
            ("http://127.0.0.1:8000/v1", true),
            ("http://[::1]:8000/v1", true),
            ("https://models.example/v1", true),
            ("http://169.254.169.254/latest", false),
            ("http://[fd00:ec2::254]/x", false),
            ("http://0.0.0.0/x", false),
        ] {
            assert_eq!(Guarded::of(&url.parse().unwrap()).is_ok(), is_taken, "{url}");
        }
    }
}
