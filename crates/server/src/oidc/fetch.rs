//! HTTP to the provider: bounded in size and time, no redirect followed, nobody asked but whom the provider's own document names, and of
//! this machine's addresses none unless the provider itself is configured to be there.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};

use crate::config::{OidcConfig, read_guarded};
use crate::outbound::{Guarded, HttpClient, Trust, client, is_this_machine};

/// How long an answer may take, all of it: somebody waits at their browser.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer. Keys of a large provider with their certificates are some 30 KB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A client of one provider.
pub(super) struct Fetch {
    client: HttpClient<Full<Bytes>>,
    is_local: bool,
}

/// How a request shows who asks.
pub(super) enum Shown<'a> {
    Nothing,
    /// HTTP's basic authentication; both are encoded as forms are (RFC 6749, 2.3.1).
    Basic(String, String),
    Bearer(&'a str),
}

impl Fetch {
    pub(super) fn new(config: &OidcConfig) -> Result<Self, String> {
        let issuer = config.issuer_url().map_err(|error| error.to_string())?;
        let roots = config.roots().map_err(|error| error.to_string())?;
        let trust = Trust::for_urls(std::iter::once(&issuer), roots)?;
        Ok(Self { client: client(Guarded::of(&issuer)?, trust)?, is_local: is_this_machine(&issuer) })
    }

    /// Reads a URL that the provider's document names.
    pub(super) fn read(&self, url: &str) -> Result<Uri, String> {
        let uri = read_guarded(url)?;
        if is_this_machine(&uri) && !self.is_local {
            return Err("is on this machine, and the provider is not".to_owned());
        }
        Ok(uri)
    }

    pub(super) async fn get(&self, url: &Uri, shown: Shown<'_>) -> Result<Bytes, String> {
        let (status, body) = self.send(Method::GET, url, shown, Bytes::new()).await?;
        if status.is_success() { Ok(body) } else { Err(format!("{} answers {status}", place(url))) }
    }

    /// Posts a form, and gives the answer whatever its status.
    pub(super) async fn post(&self, url: &Uri, shown: Shown<'_>, form: String) -> Result<(StatusCode, Bytes), String> {
        self.send(Method::POST, url, shown, form.into()).await
    }

    async fn send(&self, method: Method, url: &Uri, shown: Shown<'_>, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let mut request = Request::builder()
            .method(&method)
            .uri(url)
            .header(header::USER_AGENT, concat!("watchkeeper/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json");
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let authorization = match shown {
            Shown::Nothing => None,
            Shown::Basic(user, password) => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                Some(format!("Basic {pair}"))
            }
            Shown::Bearer(token) => Some(format!("Bearer {token}")),
        };
        if let Some(value) = authorization {
            let mut value = HeaderValue::try_from(value).map_err(|_| "a token holds what no header can".to_owned())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| format!("{}: {}", place(url), event::with_causes(&error)))?;
            let status = answer.status();
            if status.is_redirection() {
                return Err(format!("{} leads elsewhere: redirects are not followed", place(url)));
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|error| format!("{}: {error}", place(url)))?.to_bytes()))
        };
        let in_time = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await;
        in_time.unwrap_or_else(|_| Err(format!("{} gives no answer in time", place(url))))
    }
}

/// Where a URL leads, without its query.
fn place(url: &Uri) -> String {
    format!("{}{}", url.authority().map_or("", http::uri::Authority::as_str), url.path())
}
