//! The page: sign-in, live events, detections, one trace with its flow. Assets are part of the program.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::{Client, Kind, attr};
use lru::LruCache;

use super::{Api, ApiError, Body, Caller, NOT_VALID};
use crate::api_keys::KeyInfo;
use crate::asker::client_of;
use crate::node::internal;
use crate::secrets;

/// How long a sign-in lasts.
const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3_600);

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
    until: Instant,
}

/// A sign-in.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    /// Names it in the record. Not the token, by which one could go on with it.
    pub(crate) id: String,
    /// The key that it stands for.
    pub(crate) key_id: String,
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
        sessions.retain(|_, session| session.until > now);
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.until).map(|(token, _)| token.clone())
        {
            sessions.remove(&oldest);
        }
        let signed_in = SignedIn { id: id.clone(), key_id };
        sessions.insert(token.clone(), Session { signed_in, until: now + SESSION_LIFETIME });
        Ok((token, id))
    }

    /// The sign-in that the cookie of a request stands for.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<SignedIn> {
        let token = cookie(headers)?;
        let sessions = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(token).filter(|session| session.until > Instant::now()).map(|session| session.signed_in.clone())
    }

    /// Ends the sign-in and gives it.
    fn end(&self, headers: &HeaderMap) -> Option<SignedIn> {
        let token = cookie(headers)?;
        let ended = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(token)?;
        (ended.until > Instant::now()).then_some(ended.signed_in)
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The routes that need no key: the assets, which hold nothing, and signing in.
pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/", get(|| async { asset("text/html; charset=utf-8", include_str!("../../assets/page.html")) }))
        .route("/page.js", get(|| async { asset("text/javascript; charset=utf-8", include_str!("../../assets/page.js")) }))
        .route("/page.css", get(|| async { asset("text/css; charset=utf-8", include_str!("../../assets/page.css")) }))
        .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
        .route("/healthz", get(health))
        .route(SIGN_IN_PATH, post(sign_in).delete(sign_out))
        .with_state(api)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

/// For supervisors: whether events are being recorded.
async fn health(State(api): State<Arc<Api>>) -> Response {
    match api.stopped() {
        None => "ok".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopped; `watchkeeper status` says why").into_response(),
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    key: String,
}

async fn sign_in(
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
    note(&api, SIGN_IN, key.as_ref(), id, client_of(peer, &headers)).await;
    let (key, token) = key.zip(token).ok_or_else(|| ApiError::unauthorized(NOT_VALID))?;
    let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", SESSION_LIFETIME.as_secs());
    Ok(([(header::SET_COOKIE, cookie)], axum::Json(serde_json::json!({ "role": key.role }))).into_response())
}

async fn sign_out(State(api): State<Arc<Api>>, ConnectInfo(peer): ConnectInfo<SocketAddr>, headers: HeaderMap) -> Response {
    if let Some(SignedIn { id, key_id }) = api.sessions.end(&headers) {
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
