//! The HTTP API of the console's origin, with who may use which route.

mod administration;
mod admission;
mod assets;
#[cfg(test)]
mod bounds_tests;
mod console;
mod drills;
mod error;
mod evaluations;
mod kept;
mod lifecycle;
mod log_key;
mod mcp;
mod oidc;
mod openapi;
mod people;
mod read;
mod readers;
mod refusals;
mod rules;
mod sign_in;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use event::{Event, Kind, Proof, attr};
use keys::KeysError;

use self::admission::NOT_VALID;
pub(crate) use self::admission::{note_refused_by_proxy, require_gateway_key, require_key};
pub use self::admission::{refuse_browsers, refuse_strange_hosts};
pub(crate) use self::console::live::Hub;
use self::error::{ApiError, Body, Query};
pub(crate) use self::oidc::Oidc;
use self::readers::Readers;
use self::refusals::Refusals;
use crate::access::{Access, Role};
use crate::api_keys::{ApiKeys, KeyInfo};
use crate::asker::{Asker, Person, Who, client_of};
use crate::coverage::Answered;
use crate::node::{Node, internal};
use crate::peer::Ends;
use crate::run_file::ServerProof;
use crate::running::Addresses;
use crate::triage::Triage;
use crate::watchman;

/// The name that the caller gives for themselves; nobody checks it.
const OPERATOR_HEADER: HeaderName = HeaderName::from_static("x-watchkeeper-operator");

/// The API's state.
pub(crate) struct Api {
    node: Arc<Node>,
    keys: Arc<ApiKeys>,
    /// The token of local commands, see `run_file`.
    local_token: String,
    /// What proves to local commands which server this is, and where it listens for them.
    proof: ServerProof,
    local: OnceLock<SocketAddr>,
    /// By whose word people sign in at the console, beside keys.
    oidc: Option<Oidc>,
    /// Sign-ins at the console.
    pub(crate) sessions: sign_in::Sessions,
    /// What people decided.
    triage: Arc<Triage>,
    /// What is told live.
    live: Arc<Hub>,
    /// Readers of the store that are open: to open one takes milliseconds.
    readers: Arc<Readers>,
    /// What is made once for everybody who asks.
    kept: console::overview::KeptAnswers,
    /// The rules in force, as lists show them.
    rules_shown: console::rules::Shown,
    refusals: Refusals,
    /// What the rules in force cover.
    covered: Answered,
}

/// Who is calling.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) asker: Asker,
    role: Role,
}

impl Caller {
    /// Whoever holds one of our keys.
    pub(crate) fn with_key(key: KeyInfo) -> Self {
        Self { asker: Who::Key { id: key.id, name: key.name }.into(), role: key.role }
    }

    /// Somebody for whom the OpenID provider vouches.
    pub(crate) fn of_person(person: Person, role: Role) -> Self {
        Self { asker: Who::Person(person).into(), role }
    }

    /// Whoever a test needs.
    #[cfg(test)]
    pub(crate) fn of_tests(who: Who, role: Role) -> Self {
        Self { asker: who.into(), role }
    }

    /// With what the connection and the headers tell: the user of this machine who holds the local token, and the name that the caller
    /// gives for themselves.
    fn told_by(self, request: &Request) -> Self {
        let uid = request.extensions().get::<Ends>().filter(|_| self.asker.who.proof() == Proof::Local).and_then(Ends::peer_uid);
        let asker = uid.map_or(self.asker, Asker::of_user);
        let operator = request.headers().get(&OPERATOR_HEADER).and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let client = peer.map(|peer| client_of(peer, request.headers()));
        Self { asker: asker.with_operator(operator.map(str::to_owned)).with_client(client), ..self }
    }
}

impl Api {
    pub(crate) fn new(node: Arc<Node>, keys: Arc<ApiKeys>, local_token: String, oidc: Option<Oidc>) -> Result<Self, KeysError> {
        let proof = ServerProof::new(node.keyring())?;
        let (sessions, refusals, covered) = (sign_in::Sessions::default(), Refusals::default(), Answered::default());
        let triage = node.triage().clone();
        let (live, readers, rules_shown) = (Arc::default(), Arc::default(), console::rules::Shown::default());
        let kept = console::overview::KeptAnswers::default();
        Ok(Self {
            node,
            keys,
            local_token,
            proof,
            local: OnceLock::new(),
            oidc,
            sessions,
            refusals,
            triage,
            live,
            readers,
            kept,
            rules_shown,
            covered,
        })
    }

    /// Says where it listens for local commands, once that is known.
    pub(crate) fn listens_at(&self, local: SocketAddr) {
        // Said once, by whoever starts the listeners.
        let _ = self.local.set(local);
    }

    /// What is told live.
    pub(crate) fn live(&self) -> &Arc<Hub> {
        &self.live
    }

    /// The node.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Records that the server has started, what the configuration says otherwise than before, and that the first key was made.
    /// Whether it was recorded.
    pub(crate) async fn note_start(
        &self,
        addresses: &Addresses,
        first_key: Option<&KeyInfo>,
        changes: Vec<Event<String>>,
    ) -> bool {
        let mut started = internal(Kind::Admin, "server.start");
        started.set(attr::EVENT_ACTION, "start");
        started.set(attr::ADMIN_OBJECT, format!("console {}", addresses.console).as_str());
        self.node.tell_rules(&mut started);
        let mut events: Vec<_> = self.node.newest_at_open().map(watchman::not_running_gap).into_iter().collect();
        events.push(started);
        events.extend(changes);
        if let Some(key) = first_key {
            let mut made = internal(Kind::Admin, "key.create");
            made.set(attr::EVENT_ACTION, "create");
            made.set(attr::ADMIN_OBJECT, format!("{} ({})", key.id, key.role.as_str()).as_str());
            made.set(attr::ADMIN_AFTER, key.shown().as_str());
            events.push(made);
        }
        self.record(events).await
    }

    /// Records what the program did or saw done. A record that cannot be written is logged: the journal has stopped, which
    /// every further request says, too.
    pub(crate) async fn record(&self, events: Vec<Event<String>>) -> bool {
        let pipeline = self.node.pipeline().clone();
        let recorded = tokio::task::spawn_blocking(move || pipeline.record_blocking(events, &|| true)).await;
        match recorded {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, "an administrative event was not recorded");
                false
            }
            Err(error) => {
                tracing::error!(%error, "an administrative event was not recorded");
                false
            }
        }
    }

    /// Why nothing is recorded any more, if that is so.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.node.stopped()
    }

    /// The key that somebody signs in with.
    pub(crate) fn key(&self, secret: &str) -> Option<KeyInfo> {
        self.keys.check(secret)
    }

    /// The key with that id, if it has not ended.
    pub(crate) fn key_by_id(&self, id: &str) -> Option<KeyInfo> {
        self.keys.by_id(id)
    }
}

/// Every route of the console's origin.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let recorder = api.node.recorder();
    let open = sign_in::router(api.clone()).merge(oidc::router(&api)).merge(assets::router());
    let send =
        read::scored(&api).merge(mcp::sensors(&api)).merge(capture::api::router(recorder, capture::api::Limits::default()));
    let record = read::shown(&api).merge(log_key::shown(&api)).merge(mcp::shown(&api)).merge(lifecycle::shown(api.clone()));
    let record = record.merge(rules::shown(&api)).merge(console::shown(&api));
    let administer = administration::router(&api)
        .merge(people::router(&api))
        .merge(log_key::administered(&api))
        .merge(mcp::administered(&api))
        .merge(evaluations::router(&api))
        .merge(drills::router(&api))
        .merge(lifecycle::router(api.clone()));
    let guarded = |router, access| admission::guarded(router, &api, access);
    open.merge(guarded(send, Access::Send))
        .merge(guarded(record, Access::ReadRecord))
        .merge(guarded(read::contents(&api).merge(rules::contents(&api)), Access::ReadContent))
        .merge(guarded(console::triaged(&api), Access::Triage))
        .merge(guarded(console::anybody(&api), Access::Any))
        .merge(guarded(administer, Access::Administer))
        .fallback(assets::fallback)
        .layer(middleware::map_response(secure_headers))
}

/// Nothing that was recorded may run in a reader's browser, and nothing may be framed, sniffed or kept.
async fn secure_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; \
                  base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // What a stream sets itself is weaker. Files of the console may be kept.
    let is_stream = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if is_stream || !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
