//! Who uses the proxy: what `Proxy-Authorization` (RFC 9110, section 11.7) and the headers of ours tell. None of it goes on.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::{Principal, Proof, Trace};
use http::request::Parts;
use http::{HeaderMap, header};

use super::answer::Failure;
use super::{Admitted, Shared};
use crate::Raw;
use crate::gateway::caller::Caller;
use crate::gateway::header as own_header;
use crate::gateway::keys::PREFIX;

/// Our own header for a key, as on the other listeners.
const KEY_HEADER: &str = "x-watchkeeper-key";

/// Longest value that is read.
const CREDENTIAL_BYTES_MAX: usize = 4 * 1024;

/// Who uses a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct User {
    /// The id of the key that was presented.
    pub(super) key: Option<String>,
    /// The name that stood before it (`http://NAME:KEY@proxy`), which nobody has checked.
    name: Option<String>,
    /// Our own headers of a CONNECT, for the requests inside of it.
    headers: HeaderMap,
    /// The trace of a CONNECT, for the same.
    trace: Option<Trace>,
}

impl User {
    /// Admits a request, or says what it lacks.
    pub(super) fn admit(shared: &Shared, parts: &Parts) -> Result<Self, Failure> {
        let (name, secret) = presented(&parts.headers)?;
        let key = match secret {
            Some(secret) => {
                let key = shared.checker.as_ref().and_then(|checker| checker.check(&secret));
                Some(key.ok_or_else(|| Failure::key_needed("this key is not valid, has ended or was revoked"))?)
            }
            None => None,
        };
        if key.is_none() && shared.config.require_key && parts.extensions.get::<Admitted>().is_none() {
            let message = "a key with the role sensor is needed: put it into the proxy's URL, http://NAME:wk_...@HOST:PORT";
            return Err(Failure::key_needed(message));
        }
        let own = parts.headers.iter().filter(|(name, _)| name.as_str().starts_with(own_header::PREFIX));
        let headers = own.filter(|(name, _)| *name != KEY_HEADER).map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Self { key, name, headers, trace: Caller::of(parts).trace })
    }

    /// By what callers share the proxy's places: the key, else the address. Callers of this machine without a key are not told apart.
    pub(super) fn share(&self, client: Option<SocketAddr>) -> Option<String> {
        let by_address =
            || client.map(|client| client.ip().to_canonical()).filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string());
        self.key.clone().or_else(by_address)
    }

    /// Who makes a request: what itself says first, then what its connection said.
    pub(super) fn caller(&self, parts: &mut Parts) -> Caller {
        for (name, value) in &self.headers {
            if !parts.headers.contains_key(name) {
                parts.headers.insert(name, value.clone());
            }
        }
        let mut caller = Caller::of(parts);
        caller.trace = caller.trace.or(self.trace);
        if !parts.headers.contains_key(own_header::APPLICATION) {
            let named = self.name.as_deref().map(Principal::asserted);
            let by_key = || self.key.as_deref().map(|id| Principal::<Raw> { proof: Proof::ApiKey, ..Principal::asserted(id) });
            caller.identity.application = named.or_else(by_key).or(caller.identity.application);
        }
        caller
    }
}

/// Name and key, as they are presented.
fn presented(headers: &HeaderMap) -> Result<(Option<String>, Option<String>), Failure> {
    let unreadable =
        || Failure::key_needed("Proxy-Authorization cannot be read: Basic with a key as its password, or Bearer, is");
    if let Some(key) = headers.get(KEY_HEADER) {
        return Ok((None, Some(key.to_str().map_err(|_| unreadable())?.to_owned())));
    }
    let Some(value) = headers.get(header::PROXY_AUTHORIZATION) else { return Ok((None, None)) };
    let value = value.to_str().ok().filter(|value| value.len() <= CREDENTIAL_BYTES_MAX).ok_or_else(unreadable)?;
    let (scheme, rest) = value.split_once(' ').ok_or_else(unreadable)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok((None, Some(rest.to_owned())));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unreadable());
    }
    let plain = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unreadable)?;
    let (name, password) = plain.split_once(':').unwrap_or((&plain, ""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(match (name, password) {
        (key, "") if key.starts_with(PREFIX) => (None, some(key)),
        // Where there is no name to give, programs want one all the same.
        ("key", password) => (None, some(password)),
        (name, password) => (some(name), some(password)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(Option<String>, Option<String>)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::PROXY_AUTHORIZATION, value.parse().unwrap());
        presented(&headers).ok()
    }

    #[test]
    fn places_are_shared_by_key_or_address() {
        let user = |key: Option<&str>| User { key: key.map(str::to_owned), ..User::default() };
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(user(Some("key_1")).share(at("192.0.2.1:9")).as_deref(), Some("key_1"));
        assert_eq!(user(None).share(at("[::ffff:192.0.2.1]:9")).as_deref(), Some("192.0.2.1"));
        assert_eq!(user(None).share(at("127.0.0.1:9")), None);
    }

    #[test]
    fn names_and_keys_are_read_from_both_schemes() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let some = |name: Option<&str>, key: Option<&str>| Some((name.map(str::to_owned), key.map(str::to_owned)));
        assert_eq!(read(&basic("planner:wk_a")), some(Some("planner"), Some("wk_a")));
        assert_eq!(read(&basic("planner:")), some(Some("planner"), None));
        assert_eq!(read(&basic("wk_a:")), some(None, Some("wk_a")));
        assert_eq!(read(&basic("wk_a")), some(None, Some("wk_a")));
        assert_eq!(read(&basic(":wk_a")), some(None, Some("wk_a")));
        assert_eq!(read(&basic("key:wk_a")), some(None, Some("wk_a")));
        assert_eq!(read("bearer wk_a"), some(None, Some("wk_a")));
        for wrong in ["Digest x", "Basic", "Basic %%%", "x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
