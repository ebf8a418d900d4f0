//! Signing in and out: a cookie stands for a key, for a while.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::{Client, Kind, attr};
use lru::LruCache;

use super::console::types::{SessionInfo, SignIn};
use super::openapi::Refused;
use super::{Api, ApiError, Body, Caller, NOT_VALID};
use crate::api_keys::KeyInfo;
use crate::asker::client_of;
use crate::node::internal;
use crate::secrets;

/// How long a sign-in lasts at the most.
const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3_600);

/// How long it lasts without a request.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

const MINUTE: Duration = Duration::from_secs(60);

/// Sign-ins at once; the oldest gives way.
const SESSIONS_MAX: usize = 10_000;

/// Sign-ins that may fail in a minute from one address. Each leaves an event, and nobody may fill the record with them or
/// keep others from signing in.
const FAILURES_PER_MINUTE_MAX: u32 = 10;

/// Addresses whose failures are remembered; with more of them the oldest are forgotten.
const FAILING_ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Where one signs in.
pub(crate) const SIGN_IN_PATH: &str = "/api/session";

/// Names of the events of sign-ins and sign-outs.
const SIGN_IN: &str = "sign_in";
/// See [`SIGN_IN`].
const SIGN_OUT: &str = "sign_out";

/// Name of the cookie.
const COOKIE: &str = "wk_session";

/// Sign-ins: random tokens that stand for a key, in memory only.
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    failures: Mutex<LruCache<IpAddr, (Instant, u32)>>,
}

struct Session {
    signed_in: SignedIn,
    /// When it ends at the latest.
    until: Instant,
    /// When something was asked last.
    asked: Instant,
}

impl Session {
    fn is_open(&self, now: Instant) -> bool {
        now < self.until && now.duration_since(self.asked) < IDLE_TIMEOUT
    }
}

/// Whether a request shows that somebody is there. What a page asks by itself does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// It does: the sign-in goes on.
    AsUse,
    /// It does not.
    Not,
}

/// A sign-in.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    /// Names it in the record. Not the token, by which one could go on with it.
    pub(crate) id: String,
    /// The key that it stands for.
    pub(crate) key_id: String,
    /// How long it lasts yet, at the most.
    pub(crate) left: Duration,
    /// How long it lasts yet if nothing is asked.
    pub(crate) idle_left: Duration,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { open: Mutex::default(), failures: Mutex::new(LruCache::new(FAILING_ADDRESSES_MAX)) }
    }
}

impl Sessions {
    /// Whether the address may try to sign in.
    fn may_try(&self, address: IpAddr) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.peek(&address).is_none_or(|(since, count)| since.elapsed() > MINUTE || *count < FAILURES_PER_MINUTE_MAX)
    }

    fn note_failure(&self, address: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = failures.get_or_insert_mut(address, || (Instant::now(), 0));
        if entry.0.elapsed() > MINUTE {
            *entry = (Instant::now(), 0);
        }
        entry.1 += 1;
    }

    /// Starts a session of the key and gives its token and its id.
    fn start(&self, key_id: String) -> std::io::Result<(String, String)> {
        let token = URL_SAFE_NO_PAD.encode(secrets::random::<32>()?);
        let id = format!("console-{}", event::hex::encode(&secrets::random::<6>()?));
        let mut sessions = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|_, session| session.is_open(now));
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.until).map(|(token, _)| token.clone())
        {
            sessions.remove(&oldest);
        }
        let signed_in = SignedIn { id: id.clone(), key_id, left: SESSION_LIFETIME, idle_left: IDLE_TIMEOUT };
        sessions.insert(token.clone(), Session { signed_in, until: now + SESSION_LIFETIME, asked: now });
        Ok((token, id))
    }

    /// The sign-in that the cookie of a request stands for.
    pub(super) fn of(&self, headers: &HeaderMap, counts: Counts) -> Option<SignedIn> {
        let token = cookie(headers)?;
        let now = Instant::now();
        let mut sessions = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(token).filter(|session| session.is_open(now))?;
        if counts == Counts::AsUse {
            session.asked = now;
        }
        let left = session.until.duration_since(now);
        let idle_left = IDLE_TIMEOUT.saturating_sub(now.duration_since(session.asked)).min(left);
        Some(SignedIn { left, idle_left, ..session.signed_in.clone() })
    }

    /// Whether the sign-in of that id is still open.
    pub(super) fn is_open(&self, id: &str) -> bool {
        let now = Instant::now();
        let sessions = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().any(|session| session.signed_in.id == id && session.is_open(now))
    }

    /// Ends the sign-in and gives it.
    fn end(&self, headers: &HeaderMap) -> Option<SignedIn> {
        let token = cookie(headers)?;
        let ended = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(token)?;
        ended.is_open(Instant::now()).then_some(ended.signed_in)
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The routes that need no key: signing in, and whether anything is recorded.
pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new().route("/healthz", get(health)).route(SIGN_IN_PATH, post(sign_in).delete(sign_out)).with_state(api)
}

/// For supervisors: whether events are being recorded.
async fn health(State(api): State<Arc<Api>>) -> Response {
    match api.stopped() {
        None => "ok".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopped; `watchkeeper status` says why").into_response(),
    }
}

/// Signs in: sets a cookie.
#[utoipa::path(
    post,
    path = "/api/session",
    operation_id = "sign_in",
    tag = "session",
    request_body = SignIn,
    responses((status = 200, body = SessionInfo), Refused),
    description = "Role: none.",
)]
pub(crate) async fn sign_in(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request: SignIn = body.json()?;
    if !api.sessions.may_try(peer.ip()) {
        return Err(ApiError::too_many("too many sign-ins have failed from this address; wait a minute"));
    }
    let key = api.key(request.key.trim());
    if key.is_none() {
        api.sessions.note_failure(peer.ip());
    }
    let started = key.as_ref().map(|key| api.sessions.start(key.id.clone())).transpose();
    let started = started.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let (token, id) = started.unzip();
    note(&api, SIGN_IN, key.as_ref(), id.clone(), client_of(peer, &headers)).await;
    let ((key, token), id) = key.zip(token).zip(id).ok_or_else(|| ApiError::unauthorized(NOT_VALID))?;
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", SESSION_LIFETIME.as_secs());
    let mut caller = Caller::with_key(key);
    caller.asker.session = Some(id);
    let info = SessionInfo::of(&api, &caller, Some((SESSION_LIFETIME, IDLE_TIMEOUT)));
    Ok(([(header::SET_COOKIE, cookie)], axum::Json(info)).into_response())
}

/// Signs out.
#[utoipa::path(
    delete,
    path = "/api/session",
    operation_id = "sign_out",
    tag = "session",
    responses((status = 204, description = "done"), Refused),
    description = "Role: none.",
)]
pub(crate) async fn sign_out(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Some(SignedIn { id, key_id, .. }) = api.sessions.end(&headers) {
        let key = api.key_by_id(&key_id);
        note(&api, SIGN_OUT, key.as_ref(), Some(id), client_of(peer, &headers)).await;
    }
    ([(header::SET_COOKIE, format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"))], StatusCode::NO_CONTENT)
        .into_response()
}

/// Records a sign-in, or an attempt at one, or a sign-out.
async fn note(api: &Api, name: &str, key: Option<&KeyInfo>, session: Option<String>, client: Client<String>) {
    let mut event = internal(Kind::Session, name);
    event.set(attr::EVENT_ACTION, if name == SIGN_OUT { "logout" } else { "login" });
    event.set(attr::EVENT_OUTCOME, if session.is_some() { "success" } else { "failure" });
    event.set(attr::AUTH_METHOD, "api_key");
    if let Some(key) = key {
        Caller::with_key(key.clone()).asker.sign(&mut event);
    }
    event.session = session;
    event.identity.client = Some(client);
    api.record(vec![event]).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("other=1; {COOKIE}={token}").parse().unwrap());
        headers
    }

    #[test]
    fn a_sign_in_ends_when_nobody_asks_or_when_its_time_is_over() {
        let sessions = Sessions::default();
        let (token, id) = sessions.start("key_1".to_owned()).unwrap();
        let headers = headers(&token);
        let shift = |by: Duration, until: Duration| {
            let mut open = sessions.open.lock().unwrap();
            let session = open.get_mut(&token).unwrap();
            session.asked = Instant::now().checked_sub(by).unwrap();
            session.until = Instant::now() + until;
        };
        assert_eq!(sessions.of(&headers, Counts::AsUse).unwrap().key_id, "key_1");
        let long = Duration::from_secs(3_600);
        shift(IDLE_TIMEOUT - MINUTE, long);
        // What a page asks by itself keeps nobody signed in.
        let left = sessions.of(&headers, Counts::Not).unwrap().idle_left;
        assert!(left <= MINUTE && sessions.is_open(&id), "{left:?}");
        assert!(sessions.of(&headers, Counts::AsUse).unwrap().idle_left > IDLE_TIMEOUT - MINUTE);
        shift(IDLE_TIMEOUT, long);
        assert!(sessions.of(&headers, Counts::AsUse).is_none() && !sessions.is_open(&id));
        shift(Duration::ZERO, Duration::ZERO);
        assert!(sessions.of(&headers, Counts::AsUse).is_none());
    }
}
