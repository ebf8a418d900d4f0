//! MCP servers over HTTP: where they are, and the connections to them.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;

use super::sides::{ServerInfo, Transport};
use crate::gateway::upstream::{forwarded, recorded_path};
use crate::outbound::{Client, client, root_cause, without_userinfo};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the head of an answer: tools work for minutes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Headers of the protocol: they say what a request is, and nobody may say it for all.
const RESERVED: [&str; 5] = ["content-type", "content-encoding", "accept", "mcp-session-id", "mcp-protocol-version"];

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

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As a stream of events.
    Events,
    /// As JSON.
    Json,
    /// A stream of events that is packed.
    PackedEvents,
    /// Not at all: it says to be something else, or is packed. Nobody asked for either.
    Unread,
}

impl Form {
    /// By its headers. One that stands twice is whatever its reader takes it for.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let is_packed = headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"));
        let mut types = headers.get_all(header::CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
        let (Some(kind), None) = (types.next(), types.next()) else { return Self::Unread };
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        match (&kind[..], is_packed) {
            (b"text/event-stream", false) => Self::Events,
            (b"text/event-stream", true) => Self::PackedEvents,
            (b"application/json", false) => Self::Json,
            _ => Self::Unread,
        }
    }
}

/// Headers for a server whose values are in variables, as pairs of a name and a variable: configurations and command lines can be read
/// by others. `variable` gives a variable's value.
///
/// # Errors
/// [`HeaderError`].
pub fn headers_of<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<HeaderMap, HeaderError> {
    let mut headers = HeaderMap::new();
    for (name, from) in pairs {
        let wrong = |problem| HeaderError { name: name.to_owned(), variable: from.to_owned(), problem };
        let header: HeaderName = name.parse().map_err(|_| wrong("this is no name of a header"))?;
        let value = variable(from).ok_or_else(|| wrong("the variable is not set"))?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| wrong("the variable holds no value for a header"))?;
        value.set_sensitive(true);
        let one = HeaderMap::from_iter([(header, value)]);
        if RESERVED.iter().any(|reserved| one.contains_key(*reserved)) || forwarded(&one).is_empty() {
            return Err(wrong("the proxy sets this header itself"));
        }
        headers.extend(one);
    }
    Ok(headers)
}

/// Why a header cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the header {name:?} from the variable {variable:?}: {problem}")]
pub struct HeaderError {
    /// The header.
    name: String,
    /// Where its value should be.
    variable: String,
    /// What is wrong.
    problem: &'static str,
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

    #[test]
    fn only_what_says_so_once_and_plainly_is_read() {
        for (told, expected) in [
            (&[("content-type", "application/json; charset=utf-8")][..], Form::Json),
            (&[("content-type", " Text/Event-Stream")], Form::Events),
            (&[("content-type", "application/json"), ("content-encoding", "Identity")], Form::Json),
            (&[("content-type", "application/json"), ("content-encoding", "gzip")], Form::Unread),
            (&[("content-type", "application/json"), ("content-encoding", "identity"), ("content-encoding", "br")], Form::Unread),
            (&[("content-type", "text/event-stream"), ("content-encoding", "gzip")], Form::PackedEvents),
            (&[("content-type", "text/x; a=application/json")], Form::Unread),
            (&[("content-type", "text/x"), ("content-type", "application/json")], Form::Unread),
            (&[("content-type", "application/jsonx")], Form::Unread),
            (&[], Form::Unread),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in told {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(Form::of(&headers), expected, "{told:?}");
        }
    }

    #[test]
    fn headers_come_from_variables_and_never_the_protocols_own() {
        let variable = |name: &str| match name {
            "TOKEN" => Some("Bearer not-a-real-one".to_owned()),
            "LINES" => Some("a\nb".to_owned()),
            _ => None,
        };
        let headers = headers_of([("Authorization", "TOKEN")], variable).unwrap();
        assert!(headers["authorization"].is_sensitive());
        for (name, from, problem) in [
            ("authorization", "NONE", "is not set"),
            ("authorization", "LINES", "holds no value"),
            ("a b", "TOKEN", "no name"),
            ("Host", "TOKEN", "sets this header itself"),
            ("mcp-session-id", "TOKEN", "sets this header itself"),
            ("x-watchkeeper-user", "TOKEN", "sets this header itself"),
        ] {
            let error = headers_of([(name, from)], variable).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("not-a-real-one"), "{error}");
        }
    }
}
