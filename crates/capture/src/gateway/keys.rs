//! Virtual keys: keys of ours that callers present in the place of a provider's. Each stands for a principal, and for the provider's
//! keys, the models and the rate that it may use.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use event::{Principal, Proof};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Failure;
use super::caller::Caller;
use super::target::Provider;
use crate::pattern::fits;

/// How our keys begin: a credential of that form is never passed on, known or not.
pub const PREFIX: &str = "wk_";

/// Characters of one of our keys after [`PREFIX`]: 32 random bytes in base64url.
const SECRET_CHARS: usize = 43;

/// How often a query may be escaped over and over before it is read: a chain of servers undoes one level each.
const ESCAPES_MAX: usize = 4;

/// The window of the rate limit.
const WINDOW: Duration = Duration::from_secs(60);

/// The window of the limit on tokens.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Headers in which clients present the key of a provider.
const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// The parameter of a query in which Gemini's clients present their key.
const QUERY_KEY: &str = "key";

/// How a subprotocol of a WebSocket begins that brings a key: browsers have no other way.
pub(super) const SUBPROTOCOL_KEY: &str = "openai-insecure-api-key.";

/// Says whether a key of ours is valid, and which one it is.
pub trait KeyChecker: Send + Sync + 'static {
    /// The id of the key, when it is one and has neither ended nor been revoked.
    fn check(&self, secret: &str) -> Option<String>;
}

/// What a virtual key stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct VirtualKey {
    /// The id of the API key that callers present.
    pub api_key: String,
    /// Who calls: recorded as the application, proved by the key.
    pub principal: String,
    /// The keys that go upstream, by provider. Calls for others are refused.
    pub provider_keys: HashMap<Provider, Secret>,
    /// The models that may be asked for (`gpt-4o*`); all of them when empty.
    pub models: Vec<String>,
    /// The APIs that may be used (`openai.chat`, `anthropic.*`). When empty: all that are read, without what names an object by its id (a
    /// stored response, a file, a batch), for those of other callers lie under the same key of the provider.
    pub routes: Vec<String>,
    /// Whether paths may be used that pass unread: with the provider's key they reach everything that is its owner's.
    pub unread: bool,
    /// Calls within a minute at the most.
    pub requests_per_minute: Option<u32>,
    /// Tokens within a day at the most, as providers count them. A call that begins below the limit may end above it.
    pub tokens_per_day: Option<u64>,
    /// Calls at once at the most.
    pub concurrent: Option<u32>,
}

/// A provider's key. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key, without the white space around it.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(secret.trim().to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Debug for VirtualKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualKey({} for {})", self.api_key, self.principal)
    }
}

/// The virtual keys of a gateway.
pub(super) struct Keys {
    checker: Option<Arc<dyn KeyChecker>>,
    entries: HashMap<String, Arc<Entry>>,
}

/// A virtual key and what was used of it.
pub(super) struct Entry {
    pub(super) key: VirtualKey,
    used: Mutex<Used>,
    concurrent: Option<Arc<Semaphore>>,
}

#[derive(Debug)]
struct Used {
    minute: Instant,
    requests: u32,
    day: Instant,
    tokens: u64,
}

/// A call under a virtual key.
pub(super) struct Grant {
    pub(super) entry: Arc<Entry>,
    _slot: Option<OwnedSemaphorePermit>,
}

/// A call that may not be made.
pub(super) struct Refused {
    pub(super) failure: Failure,
    /// Under whose key it was to be made, where that is known: the record names them.
    pub(super) grant: Option<Grant>,
}

impl std::fmt::Debug for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.failure.fmt(f)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, grant: None }
    }
}

impl Keys {
    pub(super) fn new(checker: Option<Arc<dyn KeyChecker>>, keys: Vec<VirtualKey>) -> Self {
        let entry = |key: VirtualKey| {
            let now = Instant::now();
            let concurrent = key.concurrent.map(|calls| Arc::new(Semaphore::new(calls as usize)));
            let used = Mutex::new(Used { minute: now, requests: 0, day: now, tokens: 0 });
            (key.api_key.clone(), Arc::new(Entry { key, used, concurrent }))
        };
        Self { checker, entries: keys.into_iter().map(entry).collect() }
    }

    /// The grant of a call that presents a key of ours; `None` when it presents none. Its credential becomes the provider's.
    pub(super) fn admit(&self, parts: &mut Parts, provider: Provider) -> Result<Option<Grant>, Refused> {
        let unknown = || {
            let message = "this key of the gateway is not valid, has ended, was revoked, or stands for no provider's key";
            Failure::new(StatusCode::UNAUTHORIZED, "virtual_key_invalid", message)
        };
        let Some(secret) = presented_key(&parts.headers, &parts.uri) else {
            return if holds_our_key(parts) { Err(misplaced().into()) } else { Ok(None) };
        };
        let id = self.checker.as_ref().and_then(|checker| checker.check(&secret)).ok_or_else(unknown)?;
        let entry = self.entries.get(&id).ok_or_else(unknown)?;
        self.grant(entry, parts, provider).map(Some).map_err(|failure| {
            // Whose limits it is that a call runs into is known.
            Refused { failure, grant: Some(Grant { entry: Arc::clone(entry), _slot: None }) }
        })
    }

    fn grant(&self, entry: &Arc<Entry>, parts: &mut Parts, provider: Provider) -> Result<Grant, Failure> {
        let upstream = entry.key.provider_keys.get(&provider).ok_or_else(|| {
            let message = format!("this key may not be used for {}", provider.field());
            Failure::new(StatusCode::FORBIDDEN, "provider_not_allowed", message)
        })?;
        let slot = match &entry.concurrent {
            Some(calls) => Some(
                Arc::clone(calls).try_acquire_owned().map_err(|_| limited("too many calls at once", Duration::from_secs(1)))?,
            ),
            None => None,
        };
        entry.count()?;
        replace(parts, provider, upstream)?;
        Ok(Grant { entry: Arc::clone(entry), _slot: slot })
    }
}

impl Grant {
    /// Whether the model may be asked for.
    pub(super) fn allows(&self, model: &str) -> Result<(), Failure> {
        let models = &self.entry.key.models;
        if models.is_empty() || models.iter().any(|pattern| fits(pattern, model)) {
            return Ok(());
        }
        let message = format!("this key may not be used for the model {model:?}; it may be for {}", models.join(", "));
        Err(Failure::new(StatusCode::FORBIDDEN, "model_not_allowed", message))
    }

    /// Whether an API may be used, or what passes unread (`None`).
    pub(super) fn allows_route(&self, route: Option<&str>, is_of_object: bool) -> Result<(), Failure> {
        let key = &self.entry.key;
        let what = match route {
            None if key.unread => return Ok(()),
            None => "what passes unread; its entry would need unread = true".to_owned(),
            Some(route) if key.routes.iter().any(|pattern| fits(pattern, route)) => return Ok(()),
            Some(_) if key.routes.is_empty() && !is_of_object => return Ok(()),
            Some(route) if key.routes.is_empty() => {
                format!("objects of {route}, which may be another caller's; its entry would need {route:?} in routes")
            }
            Some(route) => format!("{route}; its entry would need that in routes"),
        };
        Err(Failure::new(StatusCode::FORBIDDEN, "route_not_allowed", format!("this key may not be used for {what}")))
    }

    /// Whether it may be used for some models alone.
    pub(super) fn names_models(&self) -> bool {
        !self.entry.key.models.is_empty()
    }

    /// Who calls, as far as the key proves it.
    pub(super) fn identify(&self, caller: &mut Caller) {
        let key = &self.entry.key;
        caller.identity.application = Some(Principal { proof: Proof::ApiKey, ..Principal::asserted(key.principal.as_str()) });
        // The caller never had the provider's key, and the record has neither.
        caller.identity.credential = None;
        caller.auth_method = "virtual_key";
    }

    /// Counts a call on a connection that stays open, or refuses it.
    pub(super) fn count_call(&self) -> Result<(), Failure> {
        self.entry.count()
    }

    /// Counts the tokens of an answer.
    pub(super) fn count_tokens(&self, tokens: u64) {
        let mut used = self.entry.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.tokens = used.tokens.saturating_add(tokens);
    }
}

impl Entry {
    /// Counts a call, or refuses it.
    fn count(&self) -> Result<(), Failure> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.duration_since(used.minute) >= WINDOW {
            (used.minute, used.requests) = (now, 0);
        }
        if now.duration_since(used.day) >= DAY {
            (used.day, used.tokens) = (now, 0);
        }
        if self.key.tokens_per_day.is_some_and(|most| used.tokens >= most) {
            return Err(limited("the tokens of the day are used up", DAY.saturating_sub(now.duration_since(used.day))));
        }
        if self.key.requests_per_minute.is_some_and(|most| used.requests >= most) {
            return Err(limited("too many calls within a minute", WINDOW.saturating_sub(now.duration_since(used.minute))));
        }
        used.requests = used.requests.saturating_add(1);
        Ok(())
    }
}

fn limited(what: &str, wait: Duration) -> Failure {
    let message = format!("the limit of this key is reached: {what}");
    Failure { retry_after: Some(wait), ..Failure::new(StatusCode::TOO_MANY_REQUESTS, "key_limited", message) }
}

fn misplaced() -> Failure {
    let message = "a key of the gateway stands where it cannot be taken for one, or twice; send it once, as Authorization: Bearer KEY, \
                   x-api-key, api-key, x-goog-api-key, key in the query or the subprotocol openai-insecure-api-key.KEY";
    Failure::new(StatusCode::UNAUTHORIZED, "virtual_key_invalid", message)
}

/// Whether something that would go upstream is a key of ours, or looks like one where a credential stands.
fn holds_our_key(parts: &Parts) -> bool {
    let in_headers = parts.headers.iter().any(|(name, value)| {
        let text = String::from_utf8_lossy(value.as_bytes());
        // Our own headers never go on.
        if name.as_str().starts_with(super::header::PREFIX) {
            false
        } else if CREDENTIALS.contains(name) || *name == header::SEC_WEBSOCKET_PROTOCOL {
            is_ours(&text, 0) || of_basic(&text).is_some_and(|text| is_ours(&text, 0))
        } else {
            is_ours(&text, SECRET_CHARS)
        }
    });
    in_headers || parts.uri.query().is_some_and(query_is_ours)
}

fn query_is_ours(query: &str) -> bool {
    let mut query = query.to_owned();
    for _ in 0..ESCAPES_MAX {
        if is_ours(&query, 0) {
            return true;
        }
        let decoded = percent_decode_str(&query).decode_utf8_lossy().into_owned();
        if decoded == query {
            return false;
        }
        query = decoded;
    }
    // Escaped more often than anybody does in good faith: it is not known what it says.
    true
}

/// Whether a word of the text begins as our keys do, with at least so many characters behind.
fn is_ours(text: &str, chars_min: usize) -> bool {
    let is_of_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    memchr::memmem::find_iter(text.as_bytes(), PREFIX.as_bytes()).any(|at| {
        let begins = at == 0 || !is_of_key(text.as_bytes()[at - 1]);
        begins && text.bytes().skip(at + PREFIX.len()).take_while(|byte| is_of_key(*byte)).take(chars_min).count() >= chars_min
    })
}

/// What a credential in base64 says (`Basic`, RFC 7617).
fn of_basic(text: &str) -> Option<String> {
    let (scheme, encoded) = text.trim().split_once(char::is_whitespace)?;
    let bytes = BASE64.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The parameters of a query: as they are written, their name and their value.
fn parameters(uri: &Uri) -> impl Iterator<Item = (&str, String, String)> {
    let plain = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    uri.query().into_iter().flat_map(|query| query.split('&')).map(move |parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (parameter, plain(name), plain(value))
    })
}

/// Puts the provider's key where that provider looks for it, and takes every other credential off.
fn replace(parts: &mut Parts, provider: Provider, secret: &Secret) -> Result<(), Failure> {
    let unusable = |_| {
        Failure::new(StatusCode::BAD_GATEWAY, "provider_key_unusable", "the provider's key has characters that no header takes")
    };
    for name in &CREDENTIALS {
        parts.headers.remove(name);
    }
    let named: Vec<String> = subprotocols(&parts.headers).filter(|name| !name.starts_with(SUBPROTOCOL_KEY)).collect();
    parts.headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let Some(named) = HeaderValue::from_str(&named.join(", ")).ok().filter(|_| !named.is_empty()) {
        parts.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, named);
    }
    let bearer = || HeaderValue::from_str(&format!("Bearer {}", secret.0));
    let plain = || HeaderValue::from_str(&secret.0);
    let (name, value) = match provider {
        Provider::OpenAi | Provider::Bedrock => (CREDENTIALS[0].clone(), bearer()),
        Provider::Anthropic => (CREDENTIALS[1].clone(), plain()),
        Provider::Azure => (CREDENTIALS[2].clone(), plain()),
        Provider::Gemini => (CREDENTIALS[3].clone(), plain()),
    };
    let mut value = value.map_err(unusable)?;
    if parameters(&parts.uri).any(|(_, name, _)| name == QUERY_KEY) {
        parts.uri = without_key(&parts.uri)
            .ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "url_malformed", "the query cannot be read"))?;
    }
    if holds_our_key(parts) {
        return Err(misplaced());
    }
    value.set_sensitive(true);
    parts.headers.insert(name, value);
    Ok(())
}

fn without_key(uri: &Uri) -> Option<Uri> {
    let kept: Vec<&str> = parameters(uri).filter(|(_, name, _)| name != QUERY_KEY).map(|(parameter, _, _)| parameter).collect();
    let path = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// The key of ours that a request presents in the place of a provider's.
#[must_use]
pub fn presented_key(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let of = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split_whitespace().find(|word| word.starts_with(PREFIX)).map(str::to_owned)
    };
    let in_headers = CREDENTIALS.iter().flat_map(|name| headers.get_all(name)).find_map(of);
    let in_protocols = || subprotocols(headers).find_map(|name| Some(name.strip_prefix(SUBPROTOCOL_KEY)?.to_owned()));
    let in_headers = in_headers.or_else(|| in_protocols().filter(|key| key.starts_with(PREFIX)));
    let in_query = || parameters(uri).find(|(_, name, value)| name == QUERY_KEY && value.starts_with(PREFIX));
    in_headers.or_else(|| in_query().map(|(_, _, value)| value))
}

/// The subprotocols that a WebSocket is asked for with.
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let names = values.flat_map(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        value.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    });
    names.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl KeyChecker for One {
        fn check(&self, secret: &str) -> Option<String> {
            (secret == "wk_good").then(|| "key_1".to_owned())
        }
    }

    fn keys(more: impl FnOnce(&mut VirtualKey)) -> Keys {
        let mut key = VirtualKey {
            api_key: "key_1".to_owned(),
            principal: "support".to_owned(),
            provider_keys: HashMap::from([
                (Provider::OpenAi, Secret::new("not-a-key\n")),
                (Provider::Gemini, Secret::new("not-a-key")),
            ]),
            models: Vec::new(),
            routes: Vec::new(),
            unread: false,
            requests_per_minute: None,
            tokens_per_day: None,
            concurrent: None,
        };
        more(&mut key);
        Keys::new(Some(Arc::new(One)), vec![key])
    }

    fn request(path: &str, name: &str, value: &str) -> Parts {
        http::Request::post(path).header(name, value).body(()).unwrap().into_parts().0
    }

    #[test]
    fn our_key_becomes_the_providers() {
        let keys = keys(|_| {});
        let mut parts = request("/v1/chat/completions", "authorization", concat!("Bearer ", "wk_good"));
        let grant = keys.admit(&mut parts, Provider::OpenAi).unwrap().unwrap();
        assert_eq!(grant.entry.key.principal, "support");
        assert_eq!(parts.headers["authorization"], concat!("Bearer ", "not-a-key"));
        let mut parts = request("/v1beta/models/g:generateContent?key=wk_good&alt=sse", "x-other", "1");
        keys.admit(&mut parts, Provider::Gemini).unwrap().unwrap();
        assert_eq!(parts.uri.to_string(), "/v1beta/models/g:generateContent?alt=sse");
        assert_eq!(parts.headers["x-goog-api-key"], "not-a-key");
        let mut parts = request("/v1/chat/completions", "authorization", concat!("Bearer ", "of-the-provider"));
        assert!(keys.admit(&mut parts, Provider::OpenAi).unwrap().is_none());
    }

    #[test]
    fn what_is_not_valid_never_goes_on() {
        let keys = keys(|_| {});
        for (name, value, provider, kind) in [
            ("authorization", concat!("Bearer ", "wk_bad"), Provider::OpenAi, "virtual_key_invalid"),
            ("x-api-key", "wk_bad", Provider::Anthropic, "virtual_key_invalid"),
            ("x-api-key", "wk_good", Provider::Anthropic, "provider_not_allowed"),
        ] {
            let failure = keys.admit(&mut request("/v1/x", name, value), provider).err().unwrap().failure;
            assert_eq!(failure.kind, kind);
        }
        assert!(Keys::new(None, Vec::new()).admit(&mut request("/v1/x", "x-api-key", "wk_good"), Provider::Anthropic).is_err());
    }

    #[test]
    fn a_key_is_known_however_it_is_written_and_goes_on_nowhere() {
        let gemini = "/v1beta/models/g:generateContent";
        for (path, name, value) in [
            (format!("{gemini}?key=wk%5Fgood"), "x-other", "1"),
            (format!("{gemini}?%6bey=wk_good"), "x-other", "1"),
            (gemini.to_owned(), "authorization", concat!("Bearer\t", "wk_good")),
            (gemini.to_owned(), "authorization", concat!("bearer   ", "wk_good")),
        ] {
            let mut parts = request(&path, name, value);
            assert!(keys(|_| {}).admit(&mut parts, Provider::Gemini).unwrap().is_some(), "{path} {value}");
            assert!(!parts.uri.to_string().contains("good") && parts.headers["x-goog-api-key"] == "not-a-key");
            assert!(!parts.headers.contains_key("authorization"));
        }
        // What is no way to present a key is refused, not passed on.
        let whole = format!("{PREFIX}{}", "a".repeat(SECRET_CHARS));
        let basic = format!("Basic {}", BASE64.encode("user:wk_good"));
        for (path, name, value) in [
            ("/v1/x?api_key=wk_good".to_owned(), "x-other", "1"),
            ("/v1/x?key=wk%255Fgood".to_owned(), "x-other", "1"),
            ("/v1/x?a=1;key=wk_good".to_owned(), "x-other", "1"),
            ("/v1/x".to_owned(), "authorization", "Bearer=wk_good"),
            ("/v1/x".to_owned(), "authorization", basic.as_str()),
            ("/v1/x".to_owned(), "x-other", whole.as_str()),
        ] {
            let failure =
                keys(|_| {}).admit(&mut request(&path, name, value), Provider::OpenAi).err().map(|refused| refused.failure);
            assert_eq!(failure.map(|failure| failure.kind), Some("virtual_key_invalid"), "{path} {value}");
        }
        let mut twice = request("/v1/x?token=wk_good", "authorization", concat!("Bearer ", "wk_good"));
        assert!(keys(|_| {}).admit(&mut twice, Provider::OpenAi).is_err(), "a second copy goes on");
        // Another's key may have the letters of ours within.
        for value in [concat!("Bearer ", "sk-abwk_cd"), concat!("Bearer ", "sk-wk_cd")] {
            assert!(keys(|_| {}).admit(&mut request("/v1/x", "authorization", value), Provider::OpenAi).unwrap().is_none());
        }
        assert!(keys(|_| {}).admit(&mut request("/v1/x", "x-project", "wk_7"), Provider::OpenAi).unwrap().is_none());
    }

    #[test]
    fn limits_are_kept() {
        let admit =
            |keys: &Keys| keys.admit(&mut request("/v1/x", "authorization", concat!("Bearer ", "wk_good")), Provider::OpenAi);
        let rated = keys(|key| key.requests_per_minute = Some(1));
        admit(&rated).unwrap();
        assert_eq!(admit(&rated).err().unwrap().failure.status, StatusCode::TOO_MANY_REQUESTS);
        let at_once = keys(|key| key.concurrent = Some(1));
        let held = admit(&at_once).unwrap();
        assert!(admit(&at_once).is_err());
        drop(held);
        let grant = admit(&at_once).unwrap().unwrap();
        drop(grant);
        let daily = keys(|key| key.tokens_per_day = Some(10));
        admit(&daily).unwrap().unwrap().count_tokens(10);
        assert!(admit(&daily).is_err());
        let models = keys(|key| key.models = vec!["gpt-4o*".to_owned()]);
        let grant = admit(&models).unwrap().unwrap();
        assert!(grant.allows("gpt-4o-mini").is_ok());
        assert_eq!(grant.allows("o3").unwrap_err().kind, "model_not_allowed");
    }

    #[test]
    fn a_key_reaches_what_is_read_and_no_more_unless_it_is_said() {
        type Change = fn(&mut VirtualKey);
        let allows = |more: Change, route: Option<&str>, is_of_object: bool| {
            let keys = keys(more);
            let mut parts = request("/v1/x", "authorization", concat!("Bearer ", "wk_good"));
            keys.admit(&mut parts, Provider::OpenAi).unwrap().unwrap().allows_route(route, is_of_object).is_ok()
        };
        let (plain, chat, unread): (Change, Change, Change) =
            (|_| {}, |key| key.routes = vec!["openai.responses".to_owned()], |key| key.unread = true);
        for (key, route, is_of_object, expected) in [
            (plain, Some("openai.chat"), false, true),
            (plain, Some("openai.files"), true, false),
            (plain, None, false, false),
            (chat, Some("openai.responses"), true, true),
            (chat, Some("openai.chat"), false, false),
            (chat, None, false, false),
            (unread, None, false, true),
            (unread, Some("openai.responses"), true, false),
        ] {
            assert_eq!(allows(key, route, is_of_object), expected, "{route:?} {is_of_object}");
        }
    }
}
