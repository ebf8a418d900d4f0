//! Signing in and out: a cookie stands for a key or a person, for a while.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::{Client, Kind, attr};
use lru::LruCache;

use super::admission::is_same_origin;
use super::console::types::{SessionInfo, SignIn};
use super::openapi::Refused;
use super::{Api, ApiError, Body, Caller, NOT_VALID};
use crate::access::{Access, Role};
use crate::asker::{Asker, Person, client_of};
use crate::listen::OverTls;
use crate::node::internal;
use crate::secrets;

/// How long a sign-in lasts at the most.
const SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3_600);

/// How long it lasts without a request.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

const MINUTE: Duration = Duration::from_secs(60);

/// Sign-ins at once; the oldest gives way.
const SESSIONS_MAX: usize = 10_000;

/// Sign-ins at once of one key or person, whose own oldest gives way: nobody can sign others out by signing in.
const SESSIONS_OF_ONE_MAX: usize = 32;

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

/// Sign-ins: random tokens that stand for a key or a person, in memory only.
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

/// Who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Whoever holds the key of that id. What it allows is asked anew each time.
    Key(String),
    /// A person, with the role that the provider's claims gave them.
    Person(Person, Role),
}

impl Holder {
    /// Whether both are the same key or the same person, whatever role they have.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(one), Self::Key(other)) => one == other,
            (Self::Person(one, _), Self::Person(other, _)) => (&one.issuer, &one.subject) == (&other.issuer, &other.subject),
            _ => false,
        }
    }
}

/// A sign-in.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    /// Names it in the record. Not the token, by which one could go on with it.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) holder: Holder,
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
    pub(super) fn may_try(&self, address: IpAddr) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.peek(&address).is_none_or(|(since, count)| since.elapsed() > MINUTE || *count < FAILURES_PER_MINUTE_MAX)
    }

    pub(super) fn note_failure(&self, address: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = failures.get_or_insert_mut(address, || (Instant::now(), 0));
        if entry.0.elapsed() > MINUTE {
            *entry = (Instant::now(), 0);
        }
        entry.1 += 1;
    }

    /// Starts a session and gives its token and its id.
    pub(super) fn start(&self, holder: Holder) -> std::io::Result<(String, String)> {
        let token = URL_SAFE_NO_PAD.encode(secrets::random::<32>()?);
        let id = format!("console-{}", event::hex::encode(&secrets::random::<6>()?));
        let mut sessions = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|_, session| session.is_open(now));
        let is_theirs = |session: &Session| session.signed_in.holder.is_same(&holder);
        let of_one = sessions.values().filter(|session| is_theirs(session)).count();
        let gives_way = sessions.iter().filter(|(_, session)| of_one < SESSIONS_OF_ONE_MAX || is_theirs(session));
        let oldest = gives_way.min_by_key(|(_, session)| session.until).map(|(token, _)| token.clone());
        if let Some(oldest) = oldest.filter(|_| of_one >= SESSIONS_OF_ONE_MAX || sessions.len() >= SESSIONS_MAX) {
            sessions.remove(&oldest);
        }
        let signed_in = SignedIn { id: id.clone(), holder, left: SESSION_LIFETIME, idle_left: IDLE_TIMEOUT };
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
    pub(super) fn end(&self, headers: &HeaderMap) -> Option<SignedIn> {
        let token = cookie(headers)?;
        let ended = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(token)?;
        ended.is_open(Instant::now()).then_some(ended.signed_in)
    }

    /// Ends the sign-ins of the person and gives their ids.
    pub(super) fn end_of(&self, subject: &str) -> Vec<String> {
        let now = Instant::now();
        let mut sessions = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_theirs =
            |session: &Session| matches!(&session.signed_in.holder, Holder::Person(person, _) if person.subject == subject);
        let mut ended: Vec<String> = sessions
            .extract_if(|_, session| is_theirs(session))
            .filter(|(_, session)| session.is_open(now))
            .map(|(_, session)| session.signed_in.id)
            .collect();
        ended.sort_unstable();
        ended
    }

    /// How many sign-ins each person has open, by provider and subject.
    pub(super) fn count_by_person(&self) -> BTreeMap<(String, String), usize> {
        let now = Instant::now();
        let sessions = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = BTreeMap::new();
        for session in sessions.values().filter(|session| session.is_open(now)) {
            if let Holder::Person(person, _) = &session.signed_in.holder {
                *counts.entry((person.issuer.clone(), person.subject.clone())).or_default() += 1;
            }
        }
        counts
    }
}

/// The value of a cookie that a browser sends.
pub(super) fn cookie_of<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies.find_map(|cookies| cookies.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('=')))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    cookie_of(headers, COOKIE)
}

/// The header that gives a browser the token of its sign-in. `Strict`: no other site's page makes a browser send it; the console's pages
/// themselves need no cookie, and what they ask is of the same site. `is_https` is whether browsers come to the console by https only.
pub(super) fn session_cookie(token: &str, is_https: bool) -> String {
    cookie_for(token, SESSION_LIFETIME, is_https)
}

fn cookie_for(token: &str, age: Duration, is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{secure}", age.as_secs())
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
    over_tls: Option<Extension<OverTls>>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, ApiError> {
    only_from_the_console(&headers, &uri)?;
    let request: SignIn = body.json()?;
    if !api.sessions.may_try(peer.ip()) {
        return Err(ApiError::too_many("too many sign-ins have failed from this address; wait a minute"));
    }
    let key = api.key(request.key.trim());
    if let Some(key) = key.as_ref().filter(|key| !key.role.allows(Access::ReadRecord)) {
        let message = format!(
            "a key with the role {} sees nothing of the record; sign in with one of an auditor, an analyst or an administrator",
            key.role.as_str()
        );
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    if key.is_none() {
        api.sessions.note_failure(peer.ip());
    }
    let started = key.as_ref().map(|key| api.sessions.start(Holder::Key(key.id.clone()))).transpose();
    let started = started.map_err(|error| ApiError::stopped(format!("random generator: {error}")))?;
    let (token, id) = started.unzip();
    let caller = key.map(Caller::with_key);
    let outcome = match id.clone() {
        Some(session) => Outcome::SignedIn { session },
        None => Outcome::Failed { reason: "key", detail: None },
    };
    let asker = caller.as_ref().map(|caller| &caller.asker);
    note(&api, Method::Key, asker, outcome, client_of(peer, &headers)).await;
    let ((mut caller, token), id) = caller.zip(token).zip(id).ok_or_else(|| ApiError::unauthorized(NOT_VALID))?;
    caller.asker.session = Some(id);
    let info = SessionInfo::of(&api, &caller, Some((SESSION_LIFETIME, IDLE_TIMEOUT)));
    Ok(([(header::SET_COOKIE, session_cookie(&token, over_tls.is_some()))], axum::Json(info)).into_response())
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
    over_tls: Option<Extension<OverTls>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    only_from_the_console(&headers, &uri)?;
    if let Some(signed_in) = api.sessions.end(&headers) {
        note_sign_out(&api, signed_in, client_of(peer, &headers)).await;
    }
    let gone = cookie_for("", Duration::ZERO, over_tls.is_some());
    Ok(([(header::SET_COOKIE, gone)], StatusCode::NO_CONTENT).into_response())
}

/// No other page signs a reader in, perhaps as somebody else, or out.
fn only_from_the_console(headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    if is_same_origin(headers, uri) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "signing in and out is for the console's own pages, and for programs that send no Origin",
    ))
}

/// By what somebody signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// A key.
    Key,
    /// An OpenID provider's word.
    Oidc,
}

/// What became of it.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// They are in.
    SignedIn {
        /// Names the sign-in.
        session: String,
    },
    /// They are not.
    Failed {
        /// Why, in a word.
        reason: &'static str,
        /// Why, in more words. No token, no code.
        detail: Option<String>,
    },
    /// They were, and are no more.
    SignedOut {
        /// Names the sign-in.
        session: String,
    },
}

impl Api {
    /// Whoever a sign-in stands for, while that may be.
    pub(super) fn caller_of(&self, holder: Holder) -> Option<Caller> {
        match holder {
            Holder::Key(id) => self.key_by_id(&id).map(Caller::with_key),
            Holder::Person(person, role) => Some(Caller::of_person(person, role)),
        }
    }
}

/// Records that a sign-in was ended by its browser.
pub(super) async fn note_sign_out(api: &Api, SignedIn { id, holder, .. }: SignedIn, client: Client<String>) {
    let method = if matches!(holder, Holder::Key(_)) { Method::Key } else { Method::Oidc };
    let caller = api.caller_of(holder);
    note(api, method, caller.as_ref().map(|caller| &caller.asker), Outcome::SignedOut { session: id }, client).await;
}

/// Records a sign-in, or an attempt at one, or a sign-out. `asker` is who it is known to be.
pub(super) async fn note(api: &Api, method: Method, asker: Option<&Asker>, outcome: Outcome, client: Client<String>) {
    let is_sign_out = matches!(outcome, Outcome::SignedOut { .. });
    let mut event = internal(Kind::Session, if is_sign_out { SIGN_OUT } else { SIGN_IN });
    event.set(attr::EVENT_ACTION, if is_sign_out { "logout" } else { "login" });
    let method = match method {
        Method::Key => "api_key",
        Method::Oidc => "oidc",
    };
    event.set(attr::AUTH_METHOD, method);
    if let Some(asker) = asker {
        asker.sign(&mut event);
    }
    match outcome {
        Outcome::SignedIn { session } | Outcome::SignedOut { session } => {
            event.set(attr::EVENT_OUTCOME, "success");
            event.session = Some(session);
        }
        Outcome::Failed { reason, detail } => {
            event.set(attr::EVENT_OUTCOME, "failure");
            event.set(attr::ERROR_TYPE, reason);
            if let Some(detail) = detail {
                event.set(attr::ADMIN_OBJECT, detail.as_str());
            }
            event.session = None;
            // As with a key that is refused: somebody tried, and lists that leave out Watchkeeper's own work show it.
            event.identity.application = None;
        }
    }
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
        let (token, id) = sessions.start(Holder::Key("key_1".to_owned())).unwrap();
        let headers = headers(&token);
        let shift = |by: Duration, until: Duration| {
            let mut open = sessions.open.lock().unwrap();
            let session = open.get_mut(&token).unwrap();
            session.asked = Instant::now().checked_sub(by).unwrap();
            session.until = Instant::now() + until;
        };
        assert_eq!(sessions.of(&headers, Counts::AsUse).unwrap().holder, Holder::Key("key_1".to_owned()));
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

    #[test]
    fn whoever_signs_in_again_and_again_signs_nobody_else_out() {
        let sessions = Sessions::default();
        let (other, _) = sessions.start(Holder::Key("other".to_owned())).unwrap();
        let tokens: Vec<String> =
            (0..=SESSIONS_OF_ONE_MAX).map(|_| sessions.start(Holder::Key("one".to_owned())).unwrap().0).collect();
        assert!(sessions.of(&headers(&other), Counts::AsUse).is_some());
        let open = tokens.iter().filter(|token| sessions.of(&headers(token), Counts::Not).is_some()).count();
        assert_eq!(open, SESSIONS_OF_ONE_MAX);
        assert!(sessions.of(&headers(&tokens[0]), Counts::Not).is_none(), "their own oldest gave way");
    }

    #[test]
    fn the_sign_ins_of_a_person_end_together_and_those_of_others_stay() {
        let sessions = Sessions::default();
        let person = |subject: &str| {
            let person = Person { subject: subject.to_owned(), issuer: "https://p.example".to_owned(), name: None, email: None };
            Holder::Person(person, Role::Analyst)
        };
        let ids: Vec<String> = ["ann", "ann", "bob"].map(|who| sessions.start(person(who)).unwrap().1).into();
        let (_, key) = sessions.start(Holder::Key("ann".to_owned())).unwrap();
        let of = |subject: &str| ("https://p.example".to_owned(), subject.to_owned());
        assert_eq!(sessions.count_by_person(), BTreeMap::from([(of("ann"), 2), (of("bob"), 1)]));
        let mut ended = ids[..2].to_vec();
        ended.sort_unstable();
        assert_eq!(sessions.end_of("ann"), ended);
        assert!(!sessions.is_open(&ids[0]) && sessions.is_open(&ids[2]) && sessions.is_open(&key));
        assert!(sessions.end_of("ann").is_empty());
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "wk_session_x=1; a=b".parse().unwrap());
        headers.append(header::COOKIE, "wk_session=2".parse().unwrap());
        assert_eq!(cookie_of(&headers, COOKIE), Some("2"));
        assert_eq!(cookie_of(&headers, "wk"), None);
    }
}
