//! Who calls: what the headers and the connection tell.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use event::{Client, Identity, Principal, Proof, SpanId, Trace, TraceId};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::keys::{SUBPROTOCOL_KEY, subprotocols};
use super::upstream::Signature;
use super::{header, json};
use crate::Raw;

/// Longest text that is taken from a header, in bytes. Keys, names and user agents are far shorter.
const HEADER_TEXT_BYTES_MAX: usize = 4 * 1024;

/// Headers in which APIs take their keys.
const API_KEYS: [&str; 7] =
    ["x-api-key", "api-key", "x-goog-api-key", "apikey", "x-auth-token", "private-token", "x-vault-token"];

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) identity: Identity<Raw>,
    pub(crate) session: Option<Raw>,
    pub(crate) trace: Option<Trace>,
    /// How the request authenticates itself upstream. Never the credential.
    pub(crate) auth_method: &'static str,
}

impl Caller {
    pub(crate) fn of(parts: &Parts) -> Self {
        let headers = &parts.headers;
        let (mut auth_method, mut credential) = credential(headers);
        // Gemini takes its key in the query, too.
        if credential.is_none()
            && let Some(key) = key_in_query(parts)
        {
            (auth_method, credential) = ("api_key", Some(key));
        } else if auth_method == "none" && is_signed_url(parts) {
            auth_method = "sigv4";
        }
        let user_agent = text(headers, "user-agent");
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_string());
        let application = text(headers, header::APPLICATION).map(Principal::asserted);
        let identity = Identity {
            user: text(headers, header::USER).map(Principal::asserted),
            application: application.or_else(|| user_agent.as_deref().and_then(product)),
            agent: text(headers, header::AGENT).map(Principal::asserted),
            delegation: Vec::new(),
            credential: credential.map(|id| Principal { proof: Proof::Upstream, ..Principal::asserted(id) }),
            client: Some(Client { address: address.map(Raw::from), user_agent: user_agent.map(Raw::from) }),
        };
        Self {
            identity,
            session: text(headers, header::SESSION).map(Raw::from),
            trace: headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(traceparent),
            auth_method,
        }
    }
}

/// A header's text, cut; `None` when it is absent or empty.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(HEADER_TEXT_BYTES_MAX)]).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The credential and how it is presented.
fn credential(headers: &HeaderMap) -> (&'static str, Option<String>) {
    if let Some(signature) = Signature::of(headers) {
        // Of a signature, whose it is.
        return ("sigv4", Some(json::cut_at(signature.access_key, HEADER_TEXT_BYTES_MAX).0));
    }
    if let Some(value) = headers.get(http::header::AUTHORIZATION).map(HeaderValue::as_bytes) {
        let value = String::from_utf8_lossy(&value[..value.len().min(HEADER_TEXT_BYTES_MAX)]).into_owned();
        let (scheme, secret) = value.split_once(' ').unwrap_or(("", &value));
        let method = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => "bearer",
            "basic" => "basic",
            "digest" => "digest",
            "negotiate" | "ntlm" => "negotiate",
            _ => "other",
        };
        let secret = secret.trim();
        return (method, (!secret.is_empty()).then(|| secret.to_owned()));
    }
    let in_subprotocol = || subprotocols(headers).find_map(|name| Some(name.strip_prefix(SUBPROTOCOL_KEY)?.to_owned()));
    match API_KEYS.into_iter().find_map(|name| text(headers, name)).or_else(in_subprotocol) {
        Some(key) => ("api_key", Some(key)),
        // Cookies hold more than a credential, and change: nothing is known by one.
        None if headers.contains_key(http::header::COOKIE) => ("cookie", None),
        None => ("none", None),
    }
}

fn key_in_query(parts: &Parts) -> Option<String> {
    let key = parts.uri.query()?.split('&').find_map(|parameter| {
        // Azure's realtime API takes it there, too.
        parameter.strip_prefix("key=").or_else(|| parameter.strip_prefix("api-key="))
    })?;
    let key = percent_encoding::percent_decode_str(&key[..key.len().min(HEADER_TEXT_BYTES_MAX)]).decode_utf8_lossy().into_owned();
    (!key.is_empty()).then_some(key)
}

/// Whether the URL itself is signed as AWS does it.
fn is_signed_url(parts: &Parts) -> bool {
    let mut parameters = parts.uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| parameter.to_ascii_lowercase().starts_with("x-amz-signature="))
}

/// The application by its user agent's first product: `Name/1.2` or, as the SDKs of OpenAI and Anthropic write it,
/// `Name/Language 1.2`.
fn product(user_agent: &str) -> Option<Principal<Raw>> {
    let mut words = user_agent.split_whitespace();
    let first = words.next()?;
    let is_version = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let (id, version) = match first.split_once('/') {
        Some((name, version)) if is_version(version) => (name, Some(version)),
        _ => (first, words.next().filter(|word| is_version(word))),
    };
    Some(Principal { version: version.map(Raw::from), ..Principal::asserted(id) })
}

/// W3C Trace Context: the caller's span is the parent of the call.
pub(crate) fn traceparent(value: &str) -> Option<Trace> {
    let mut fields = value.trim().split('-');
    let version = fields.next()?;
    if version.len() != 2 || version == "ff" {
        return None;
    }
    let trace_id: TraceId = fields.next()?.parse().ok()?;
    let parent: SpanId = fields.next()?.parse().ok()?;
    Some(Trace { trace_id, span_id: None, parent_span_id: Some(parent) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(headers: &[(&str, &str)]) -> Caller {
        let mut request = http::Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Caller::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn headers_tell_who_calls() {
        let caller = caller(&[
            ("x-watchkeeper-user", "u1"),
            ("x-watchkeeper-session", "s1"),
            ("x-watchkeeper-agent", "planner"),
            ("user-agent", "OpenAI/Python 3.52.0"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("authorization", concat!("Bearer ", "not-a-real-key")),
        ]);
        assert_eq!(caller.identity.user.unwrap().id.expose(), "u1");
        assert_eq!(caller.identity.agent.unwrap().id.expose(), "planner");
        let application = caller.identity.application.unwrap();
        assert_eq!((application.id.expose(), application.version.unwrap().expose()), ("OpenAI/Python", "3.52.0"));
        let credential = caller.identity.credential.unwrap();
        assert_eq!((credential.id.expose(), credential.proof), ("not-a-real-key", Proof::Upstream));
        assert_eq!(caller.auth_method, "bearer");
        assert_eq!(caller.session.unwrap().expose(), "s1");
        assert_eq!(caller.trace.unwrap().parent_span_id.unwrap().to_string(), "b7ad6b7169203331");
    }

    #[test]
    fn how_a_request_shows_who_it_is() {
        let method = |headers: &[(&str, &str)]| caller(headers).auth_method;
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential=AK/20261121/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature={}",
            "ab".repeat(32)
        );
        for (headers, expected) in [
            (&[("authorization", "Basic eDp5")][..], "basic"),
            (&[("authorization", "Digest username=x")], "digest"),
            (&[("authorization", &signature)], "sigv4"),
            // No signature, though it begins as one.
            (&[("authorization", "AWS4-HMAC-SHA256 Credential=AK/x, Signature=ab")], "other"),
            (&[("private-token", "t")], "api_key"),
            (&[("cookie", "session=1")], "cookie"),
            (&[("cookie", "session=1"), ("authorization", "Bearer t")], "bearer"),
            (&[], "none"),
        ] {
            assert_eq!(method(headers), expected, "{headers:?}");
        }
        let signed = http::Request::get("http://h/x?a=1&X-Amz-Signature=ab").body(()).unwrap().into_parts().0;
        assert_eq!(Caller::of(&signed).auth_method, "sigv4");
    }

    #[test]
    fn what_is_wrong_in_a_header_is_left_out() {
        for wrong in [
            "",
            "00-x-y-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(caller(&[("traceparent", wrong)]).trace, None, "{wrong}");
        }
        let caller = caller(&[("x-watchkeeper-user", " "), ("x-api-key", "k"), ("user-agent", "curl/8.5.0")]);
        assert!(caller.identity.user.is_none());
        assert_eq!(caller.auth_method, "api_key");
        assert_eq!(caller.identity.application.unwrap().id.expose(), "curl");
    }
}
