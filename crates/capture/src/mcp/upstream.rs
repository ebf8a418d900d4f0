//! MCP servers over HTTP: where they are, and the connections to them.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;

use super::session::{ServerInfo, Transport};
use crate::gateway::upstream::recorded_path;
use crate::outbound::{Client, client, root_cause, without_userinfo};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the head of an answer: tools work for minutes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Why a server cannot be reached over HTTP, or a proxy cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL cannot be used.
    #[error("{url:?} {problem}; give something like https://mcp.example.com/mcp")]
    Url {
        /// What was given, without user and password.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are no certificate authorities.
    #[error("no certificate authorities found for TLS: {0}; install ca-certificates or set SSL_CERT_FILE")]
    Roots(std::io::Error),
    /// The server did not answer.
    #[error("no answer from the MCP server: {0}")]
    Unreachable(String),
}

/// Connections to servers.
#[derive(Clone)]
pub(super) struct Upstream {
    client: Client,
}

impl Upstream {
    /// `needs_tls`: whether any server is reached with it. Without, the system needs no certificate authorities.
    pub(super) fn new(needs_tls: bool) -> Result<Self, HttpError> {
        Ok(Self { client: client(needs_tls, CONNECT_TIMEOUT).map_err(HttpError::Roots)? })
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, HttpError> {
        match tokio::time::timeout(HEAD_TIMEOUT, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(HttpError::Unreachable(root_cause(&error))),
            Err(_) => Err(HttpError::Unreachable(format!("it was silent for {} s", HEAD_TIMEOUT.as_secs()))),
        }
    }
}

/// A server by its URL: where requests go, and what is known of it.
///
/// # Errors
/// [`HttpError::Url`].
pub fn upstream(name: &str, url: &str) -> Result<(Uri, ServerInfo), HttpError> {
    let wrong = |problem| HttpError::Url { url: without_userinfo(url), problem };
    let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
    let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("holds a credential; send it in a header"));
    }
    let default_port = match uri.scheme_str() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return Err(wrong("is neither http nor https")),
    };
    // A query may hold a key.
    let place = format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), recorded_path(uri.path()));
    let info = ServerInfo {
        name: name.to_owned(),
        transport: Transport::Tcp,
        identity: name.to_owned(),
        place,
        address: Some((authority.host().to_owned(), authority.port_u16().unwrap_or(default_port))),
    };
    Ok((uri, info))
}

/// Whether an answer is a stream of events.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    is_type(headers, "text/event-stream")
}

/// Whether an answer is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    is_type(headers, "application/json")
}

fn is_type(headers: &HeaderMap, kind: &str) -> bool {
    let text = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(text).trim_start().to_ascii_lowercase().starts_with(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_tells_where_and_nothing_that_is_secret() {
        let (uri, info) = upstream("files", "https://mcp.example/mcp?key=abc").unwrap();
        assert_eq!(uri.query(), Some("key=abc"));
        assert_eq!(info.place, "https://mcp.example/mcp");
        assert_eq!(info.address, Some(("mcp.example".to_owned(), 443)));
        for wrong in ["mcp.example/mcp", "ftp://h/", "http://u:p@h/mcp", "", "http://"] {
            let error = upstream("x", wrong).unwrap_err().to_string();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
