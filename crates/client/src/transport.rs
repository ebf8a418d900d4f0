//! Requests to the server, bounded in time and in the size of their answers.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::config::{Config, ConfigError, Place, resolve};

/// Largest answer that is read: a receipt takes some 110 bytes, and there are 10,000 at the most.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long an idle connection is kept. Shorter than the server keeps it, so that no request meets its end.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to the server.
pub(crate) struct Transport {
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    place: Place,
}

/// What the server answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Transport {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let builder = HttpsConnectorBuilder::new();
        let with_roots = |roots: RootCertStore| {
            let tls = ClientConfig::builder_with_provider(provider.clone().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| ConfigError::Ca { path: "the system".to_owned(), problem: error.to_string() })?;
            Ok::<_, ConfigError>(tls.with_root_certificates(roots).with_no_client_auth())
        };
        let is_tls = matches!(&config.place, Place::Remote { base, .. } if base.scheme_str() == Some("https"));
        let builder = match &config.ca {
            Some(ca) if is_tls => builder.with_tls_config(with_roots(read_roots(ca)?)?),
            None if is_tls => builder
                .with_provider_and_native_roots(provider.clone())
                .map_err(|error| ConfigError::Ca { path: "the system".to_owned(), problem: error.to_string() })?,
            // No TLS: do not ask the system for authorities that it may not have.
            _ => builder.with_tls_config(with_roots(RootCertStore::empty())?),
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let http =
            HttpClient::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE).build(connector);
        Ok(Self { http, place: config.place.clone() })
    }

    /// Whether the server's place and token may change while it is looked for.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.place, Place::Local { .. })
    }

    /// Posts a body. The text says why there was no answer.
    pub(crate) async fn post(
        &self,
        path: &str,
        content_type: &'static str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, String> {
        let (base, key) = resolve(&self.place)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{base}{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", key.expose()))
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| event::with_causes(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?.to_bytes();
            let seconds = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            Ok(Answer { status: head.status, retry_after: seconds.map(Duration::from_secs), body })
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, ConfigError> {
    let wrong = |problem: String| ConfigError::Ca { path: path.display().to_string(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}
