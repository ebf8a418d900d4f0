//! HTTP for feeds: bounded in size and time, to the address that was configured and to no other.
//!
//! Redirects are not followed, and a name that leads to an address that only this machine or its network's services have is refused: what
//! a feed answers must not make the server ask something else of somebody else.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use rustls::pki_types::CertificateDer;

use super::FEED_BYTES_MAX;
use crate::config::Credentials;
use crate::outbound::{Guarded, HttpClient, Trust, client};

/// How long an answer may take, all of it: a quarter of a GiB over a slow line.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// How long until it begins.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one feed's server.
pub(super) struct Fetch {
    client: HttpClient<Empty<Bytes>>,
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
        let guard = Guarded::of(origin).map_err(|what| format!("{} {what}", origin.host().unwrap_or_default()))?;
        let client = client(guard, Trust::for_urls(std::iter::once(origin), more_roots)?)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metadata_service_is_no_feed() {
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
