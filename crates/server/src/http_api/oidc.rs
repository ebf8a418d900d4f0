//! Signing in by OpenID Connect, as browsers see it: where one goes, and where one comes back.
//!
//! Between the two the server keeps nothing: what it needs to know lies in a cookie of the browser, sealed under a key of this process, so
//! that nobody can crowd out anybody else's sign-in. The cookie is `SameSite=Lax`, for the provider's page sends the browser back, which is
//! another site. That of the session stays `Strict`: the page that the browser is sent on to needs no cookie, and what that page asks then
//! is of the same site.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::Timestamp;
use lru::LruCache;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::openapi::Refused;
use super::sign_in::{self, Holder, Method, Outcome, cookie_of, session_cookie};
use super::{Api, ApiError, Query};
use crate::asker::{Asker, client_of};
use crate::oidc::{Asked, CODE_BYTES_MAX, OidcError, Provider, Vouched, word};
use crate::secrets;

/// How long a sign-in may take at the provider.
const SIGN_IN_TIME: Duration = Duration::from_secs(600);

/// Longest path that is gone to after a sign-in, in bytes: it is in a cookie meanwhile.
const TO_BYTES_MAX: usize = 2_048;

/// Sign-ins that have come back and must not again; the oldest are forgotten. Their cookies end after [`SIGN_IN_TIME`], too.
const USED_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// The cookie of a sign-in under way.
const COOKIE: &str = "wk_sign_in";

/// The same where the console is reached by https: only this host itself can have set it, for all paths, by https (RFC 6265bis, 4.1.3.2).
const HOST_COOKIE: &str = "__Host-wk_sign_in";

/// Longest detail of a failure in the record, in characters.
const DETAIL_CHARS_MAX: usize = 300;

/// The provider, and the sign-ins under way.
pub(crate) struct Oidc {
    provider: Provider,
    key: RandomizedNonceKey,
    began: Instant,
    used: Mutex<LruCache<String, ()>>,
}

/// What is needed to know when the browser comes back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    to: String,
    /// When it began, in seconds since the process did.
    since_s: u64,
}

impl Oidc {
    /// # Errors
    /// What cannot be used.
    pub(crate) fn new(provider: Provider) -> Result<Self, String> {
        let bytes = secrets::random::<32>().map_err(|error| error.to_string())?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|error| error.to_string())?;
        Ok(Self { provider, key, began: Instant::now(), used: Mutex::new(LruCache::new(USED_MAX)) })
    }

    fn cookie_name(&self) -> &'static str {
        if self.provider.is_https() { HOST_COOKIE } else { COOKIE }
    }

    fn cookie(&self, value: &str, age: Duration) -> String {
        let secure = if self.provider.is_https() { "; Secure" } else { "" };
        format!("{}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={}{secure}", self.cookie_name(), age.as_secs())
    }

    fn begin(&self, to: String) -> std::io::Result<Pending> {
        let random = || Ok::<_, std::io::Error>(URL_SAFE_NO_PAD.encode(secrets::random::<32>()?));
        Ok(Pending { state: random()?, nonce: random()?, verifier: random()?, to, since_s: self.began.elapsed().as_secs() })
    }

    fn seal(&self, pending: &Pending) -> Option<String> {
        let mut bytes = serde_json::to_vec(pending).ok()?;
        let nonce = self.key.seal_in_place_append_tag(Aad::from(COOKIE), &mut bytes).ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &bytes].concat()))
    }

    fn open(&self, sealed: &str) -> Option<Pending> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(COOKIE), &mut sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }

    /// The sign-in under way that a browser comes back from. It is one this once.
    fn take(&self, headers: &HeaderMap, state: Option<&str>) -> Result<Pending, OidcError> {
        let sealed = cookie_of(headers, self.cookie_name()).ok_or(OidcError::State("it has no cookie of one"))?;
        let pending = self.open(sealed).ok_or(OidcError::State("its cookie is none of this server since its start"))?;
        let same =
            |state: &str| aws_lc_rs::constant_time::verify_slices_are_equal(state.as_bytes(), pending.state.as_bytes()).is_ok();
        if !state.is_some_and(same) {
            return Err(OidcError::State("the answer's state is another"));
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.put(pending.state.clone(), ()).is_some() {
            return Err(OidcError::State("it has come back before"));
        }
        if self.began.elapsed().as_secs().saturating_sub(pending.since_s) > SIGN_IN_TIME.as_secs() {
            return Err(OidcError::Expired("more than ten minutes at the provider"));
        }
        Ok(pending)
    }
}

/// Whether a browser may be sent there after a sign-in: a page of the console, and of nobody else.
fn is_local_path(to: &str) -> bool {
    let is_of_api = ["/api", "/v1"].iter().any(|api| {
        to.strip_prefix(api).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_'))
    });
    to.len() <= TO_BYTES_MAX
        && to.starts_with('/')
        && !to.contains("//")
        && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !is_of_api
}

/// The routes that need no key.
pub(super) fn router(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/api/session/providers", get(providers))
        .route("/api/session/oidc/start", get(start))
        .route(crate::config::CALLBACK_PATH, get(callback))
        .with_state(api.clone())
}

/// By what people can sign in beside a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct Providers {
    /// The OpenID provider, where there is one.
    oidc: Option<OidcButton>,
}

/// How an OpenID provider is offered.
#[derive(Serialize, ToSchema)]
pub(crate) struct OidcButton {
    /// What it is called.
    name: String,
    /// Where the browser goes: `?to=PATH` says where to afterwards.
    start: &'static str,
}

/// By what people can sign in beside a key.
#[utoipa::path(
    get,
    path = "/api/session/providers",
    operation_id = "session_providers",
    tag = "session",
    responses((status = 200, body = Providers), Refused),
    description = "Role: none.",
)]
pub(crate) async fn providers(State(api): State<Arc<Api>>) -> Json<Providers> {
    let button = |oidc: &Oidc| OidcButton { name: oidc.provider.name().to_owned(), start: "/api/session/oidc/start" };
    Json(Providers { oidc: api.oidc.as_ref().map(button) })
}

/// Where to after a sign-in.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StartQuery {
    /// A path of the console; default `/`.
    to: Option<String>,
}

/// Sends a browser to the provider.
#[utoipa::path(
    get,
    path = "/api/session/oidc/start",
    operation_id = "session_oidc_start",
    tag = "session",
    params(StartQuery),
    responses((status = 302, description = "to the provider, or to `/?sign_in_error=CODE`: denied, state, provider, role or expired"), Refused),
    description = "Role: none. For browsers.",
)]
pub(crate) async fn start(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(StartQuery { to }): Query<StartQuery>,
) -> Result<Response, ApiError> {
    let oidc = api.configured_oidc()?;
    let to = to.unwrap_or_else(|| "/".to_owned());
    if !is_local_path(&to) {
        return Err(ApiError::bad_request("to: it must be a path of the console: one / at its beginning, no //, no \\"));
    }
    api.may_sign_in(peer, &headers)?;
    let pending = oidc.begin(to).map_err(ApiError::stopped)?;
    let asked = Asked { nonce: &pending.nonce, verifier: &pending.verifier };
    match oidc.provider.authorization_url(&pending.state, &asked).await {
        Ok(url) => {
            let sealed = oidc.seal(&pending).ok_or_else(|| ApiError::stopped("a sign-in cannot be sealed"))?;
            Ok(found(&url, &[oidc.cookie(&sealed, SIGN_IN_TIME)]))
        }
        Err(error) => Ok(api.refuse_sign_in(oidc, &error, None, peer, &headers).await),
    }
}

/// What a provider sends the browser back with (RFC 6749, 4.1.2; RFC 9207). More may be there.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallbackQuery {
    /// What the provider gives tokens for.
    code: Option<String>,
    /// What the sign-in began with.
    state: Option<String>,
    /// Who answers.
    iss: Option<String>,
    /// Why there is no code.
    error: Option<String>,
}

/// Where the provider sends a browser back to: signs in, and sends it on.
#[utoipa::path(
    get,
    path = "/api/session/oidc/callback",
    operation_id = "session_oidc_callback",
    tag = "session",
    params(CallbackQuery),
    responses((status = 302, description = "to where `to` said, or to `/?sign_in_error=CODE`"), Refused),
    description = "Role: none. For browsers.",
)]
pub(crate) async fn callback(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    query: Result<Query<CallbackQuery>, ApiError>,
) -> Result<Response, ApiError> {
    let oidc = api.configured_oidc()?;
    api.may_sign_in(peer, &headers)?;
    // One that cannot be read (a parameter that is there twice, say) is none of a sign-in that was begun here.
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let (pending, vouched) = match signed_in(oidc, &headers, &query).await {
        Ok(signed_in) => signed_in,
        Err(error) => return Ok(api.refuse_sign_in(oidc, &error, None, peer, &headers).await),
    };
    let Vouched { person, role } = vouched;
    let asker = Asker::from(crate::asker::Who::Person(person.clone()));
    let Some(role) = role else {
        let error = OidcError::Role("none of the person's values gives a role here; see oidc.claim and oidc.roles");
        return Ok(api.refuse_sign_in(oidc, &error, Some(&asker), peer, &headers).await);
    };
    let (triage, known) = (api.triage.clone(), person.clone());
    let noted = tokio::task::spawn_blocking(move || triage.note_person(&known, role, &Timestamp::now().rfc3339())).await;
    noted.map_err(ApiError::stopped)??;
    // Whoever sat there before does not any more. A token that the browser had before stands for nobody.
    if let Some(before) = api.sessions.end(&headers) {
        sign_in::note_sign_out(&api, before, client_of(peer, &headers)).await;
    }
    let (token, session) = api.sessions.start(Holder::Person(person, role)).map_err(ApiError::stopped)?;
    sign_in::note(&api, Method::Oidc, Some(&asker), Outcome::SignedIn { session }, client_of(peer, &headers)).await;
    let cookies = [oidc.cookie("", Duration::ZERO), session_cookie(&token, oidc.provider.is_https())];
    Ok(found(&pending.to, &cookies))
}

/// Who comes back, if that is a sign-in.
async fn signed_in(oidc: &Oidc, headers: &HeaderMap, query: &CallbackQuery) -> Result<(Pending, Vouched), OidcError> {
    let pending = oidc.take(headers, query.state.as_deref())?;
    oidc.provider.check_named(query.iss.as_deref()).await?;
    match query.error.as_deref() {
        None => {}
        Some(error @ ("access_denied" | "consent_required" | "interaction_required")) => {
            return Err(OidcError::Denied(error.to_owned()));
        }
        Some(error) => return Err(OidcError::Provider(format!("the provider answers {}", word(error)))),
    }
    let code = query.code.as_deref().filter(|code| (1..=CODE_BYTES_MAX).contains(&code.len()));
    let code = code.ok_or_else(|| OidcError::Provider("the provider gave no code".to_owned()))?;
    let asked = Asked { nonce: &pending.nonce, verifier: &pending.verifier };
    let vouched = oidc.provider.exchange(code, &asked).await?;
    Ok((pending, vouched))
}

/// Sends a browser on.
fn found(to: &str, cookies: &[String]) -> Response {
    let mut response = (StatusCode::FOUND, [(header::LOCATION, to)]).into_response();
    for cookie in cookies.iter().filter_map(|cookie| cookie.parse().ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

impl Api {
    fn configured_oidc(&self) -> Result<&Oidc, ApiError> {
        let none = || {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "nobody signs in by OpenID Connect here: there is no [oidc] in the configuration",
            )
        };
        self.oidc.as_ref().ok_or_else(none)
    }

    fn may_sign_in(&self, peer: SocketAddr, headers: &HeaderMap) -> Result<(), ApiError> {
        // What a page loads unseen, as an image say, is nobody signing in, and is not to be counted against whoever sits there.
        if headers.get("sec-fetch-mode").is_some_and(|mode| mode != "navigate") {
            return Err(ApiError::bad_request("this is for browsers to go to, and not for pages to load"));
        }
        match self.sessions.may_try(peer.ip()) {
            true => Ok(()),
            false => Err(ApiError::too_many("too many sign-ins have failed from this address; wait a minute")),
        }
    }

    /// Counts and records that a sign-in failed, and tells the browser's user.
    async fn refuse_sign_in(
        &self,
        oidc: &Oidc,
        error: &OidcError,
        asker: Option<&Asker>,
        peer: SocketAddr,
        headers: &HeaderMap,
    ) -> Response {
        self.sessions.note_failure(peer.ip());
        let detail = error.to_string().chars().take(DETAIL_CHARS_MAX).collect();
        let outcome = Outcome::Failed { reason: error.code(), detail: Some(detail) };
        sign_in::note(self, Method::Oidc, asker, outcome, client_of(peer, headers)).await;
        found(&format!("/?sign_in_error={}", error.code()), &[oidc.cookie("", Duration::ZERO)])
    }
}

#[cfg(test)]
#[path = "oidc_tests.rs"]
mod tests;
