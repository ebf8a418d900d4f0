//! HTTP for feeds: bounded in size and time, to the address that was configured and to no other.
//!
//! Redirects are not followed, and a name that leads to an address that only this machine or its network's services have is refused: what
//! a feed answers must not make the server ask something else of somebody else.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tower::Service;

use super::FEED_BYTES_MAX;
use crate::config::Credentials;

/// How long an answer may take, all of it: a quarter of a GiB over a slow line.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// How long until it begins.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Where clouds give out credentials over IPv6; over IPv4 it is a link-local address.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// A client of one feed's server.
pub(super) struct Fetch {
    client: Client<HttpsConnector<HttpConnector<Guarded>>, Empty<Bytes>>,
    origin: Uri,
    credentials: Credentials,
}

/// An answer.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Nothing has changed since what was pulled before.
    pub(super) is_unchanged: bool,
}

/// What makes an answer an empty one where nothing has changed.
#[derive(Default)]
pub(super) struct Since<'a> {
    pub(super) etag: Option<&'a str>,
    pub(super) last_modified: Option<&'a str>,
}

impl Fetch {
    /// A client of the server of `origin`.
    pub(super) fn new(origin: &Uri, credentials: Credentials, more_roots: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let host = origin.host().unwrap_or_default().trim_matches(['[', ']']);
        let literal = host.parse::<IpAddr>().ok();
        let is_local = host == "localhost" || literal.is_some_and(|address| address.is_loopback());
        if let Some(what) = literal.and_then(|address| refused(address, is_local)) {
            return Err(format!("{host} is {what}"));
        }
        let mut http = HttpConnector::new_with_resolver(Guarded { is_local });
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let builder = HttpsConnectorBuilder::new();
        let mut roots = RootCertStore::empty();
        // Without TLS the system is not asked for authorities that it may not have.
        if origin.scheme_str() == Some("https") {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots.add_parsable_certificates(more_roots);
        }
        let config = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
        let builder = builder.with_tls_config(config);
        let connector = builder.https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, origin: origin.clone(), credentials })
    }

    /// Gets what is at an address of the same server.
    pub(super) async fn get(&self, url: &str, accept: Option<&'static str>, since: Since<'_>) -> Result<Answer, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is not a URL"))?;
        if uri.scheme() != self.origin.scheme() || uri.authority() != self.origin.authority() {
            return Err(format!("{url} is on another server than the feed: it is not asked"));
        }
        let mut request =
            Request::builder().uri(uri).header(header::USER_AGENT, concat!("watchkeeper/", env!("CARGO_PKG_VERSION")));
        if let Some(accept) = accept {
            request = request.header(header::ACCEPT, accept);
        }
        for (name, value) in [(header::IF_NONE_MATCH, since.etag), (header::IF_MODIFIED_SINCE, since.last_modified)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if let Some((name, value)) = self.authorization()? {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let exchange = async {
            let answered = tokio::time::timeout(HEAD_TIMEOUT, self.client.request(request)).await;
            let answered = answered.map_err(|_| "no answer in time".to_owned())?;
            let (head, body) = answered.map_err(|error| event::with_causes(&error))?.into_parts();
            if head.status == StatusCode::NOT_MODIFIED {
                return Ok(Answer { headers: head.headers, body: Bytes::new(), is_unchanged: true });
            }
            if head.status.is_redirection() {
                let to = head.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
                return Err(format!("leads to {to:.200}: redirects are not followed, give that address if it is meant"));
            }
            if !head.status.is_success() {
                return Err(format!("answers {}{}", head.status, hint(head.status)));
            }
            let bytes_max = usize::try_from(FEED_BYTES_MAX).unwrap_or(usize::MAX);
            let body = Limited::new(body, bytes_max).collect().await.map_err(|error| error.to_string())?;
            Ok(Answer { headers: head.headers, body: body.to_bytes(), is_unchanged: false })
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| Err("no whole answer in time".to_owned()))
    }

    fn authorization(&self) -> Result<Option<(HeaderName, HeaderValue)>, String> {
        let (name, value) = match &self.credentials {
            Credentials::None => return Ok(None),
            Credentials::Basic(user, password) => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                (header::AUTHORIZATION, format!("Basic {pair}"))
            }
            Credentials::Bearer(token) => (header::AUTHORIZATION, format!("Bearer {token}")),
            Credentials::Header(name, value) => (name.clone(), value.clone()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| "the secret holds what no header can".to_owned())?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": see to user, secret and header of the feed",
        StatusCode::NOT_FOUND => ": see to url and collection of the feed",
        StatusCode::NOT_ACCEPTABLE => ": it does not speak TAXII 2.1",
        StatusCode::TOO_MANY_REQUESTS => ": pull less often (interval_minutes)",
        _ => "",
    }
}

/// What an address is that no feed is at.
pub(crate) fn refused(address: IpAddr, is_local: bool) -> Option<&'static str> {
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

/// Looks names up, and leaves out addresses that no feed is at.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) is_local: bool,
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
        assert!(Fetch::new(&"http://169.254.169.254/x".parse().unwrap(), Credentials::None, Vec::new()).is_err());
    }

    #[tokio::test]
    async fn nobody_is_asked_but_the_feeds_own_server() {
        let fetch = Fetch::new(&"http://127.0.0.1:9/x".parse().unwrap(), Credentials::None, Vec::new()).unwrap();
        for url in ["http://127.0.0.1:10/x", "https://127.0.0.1:9/x", "http://other.example/", "nonsense"] {
            assert!(fetch.get(url, None, Since::default()).await.is_err(), "{url}");
        }
    }
}
