//! HTTP requests of the server's own: to witnesses and time-stamping authorities. Answers are bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer: a few signatures, or a token with its certificates.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A client of HTTP and HTTPS.
#[derive(Clone)]
pub(crate) struct Outbound {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
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
    pub(crate) fn new<'a>(mut urls: impl Iterator<Item = &'a Uri>) -> Result<Self, String> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let builder = HttpsConnectorBuilder::new();
        let builder = if urls.any(|url| url.scheme_str() == Some("https")) {
            builder.with_provider_and_native_roots(provider).map_err(|error| error.to_string())?
        } else {
            // No TLS: do not ask the system for authorities that it may not have.
            let config = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
            let config = config.map_err(|error| error.to_string())?.with_root_certificates(RootCertStore::empty());
            builder.with_tls_config(config.with_no_client_auth())
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector) })
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
