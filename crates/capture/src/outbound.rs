//! Connections to others: model providers and MCP servers.

use std::io;
use std::time::Duration;

use axum::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

/// How long an idle connection is kept: shorter than the keep-alive of common load balancers (60 s), so that we close first.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Idle connections kept per host.
const POOL_IDLE_MAX: usize = 512;

/// How soon an idle connection is probed: a NAT forgets it after some minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// HTTP/1.1, with TLS where the URL asks for it.
pub(crate) type Client = legacy::Client<HttpsConnector<HttpConnector>, Body>;

/// A client. `needs_tls`: whether anybody is reached with it; without, the system is not asked for authorities that it may not have.
pub(crate) fn client(needs_tls: bool, connect_timeout: Duration) -> io::Result<Client> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(KEEPALIVE));
    http.set_connect_timeout(Some(connect_timeout));
    let builder = HttpsConnectorBuilder::new();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = if needs_tls {
        builder.with_provider_and_native_roots(provider)?
    } else {
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        builder.with_tls_config(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    };
    let connector = builder.https_or_http().enable_http1().wrap_connector(http);
    Ok(legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_MAX)
        .build(connector))
}

/// The innermost cause, which says what happened; the outer ones only say where.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A URL that may be wrong, for an error: whatever could be a user and a password in it is left out.
pub(crate) fn without_userinfo(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://{}", &url[..scheme], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_no_password() {
        for (url, expected) in [
            ("https://u:p@h/x", "https://h/x"),
            ("https://u:p/q@h/x", "https://h/x"),
            ("https://h/x", "https://h/x"),
            ("u@h", "u@h"),
            ("", ""),
        ] {
            assert_eq!(without_userinfo(url), expected);
        }
    }
}
