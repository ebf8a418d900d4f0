//! The HTTP API of the console's origin, with who may use which route.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use capture::egress::KeyRefused;
use event::{Channel, Client, Event, Key, Kind, Proof, attr};
use keys::KeysError;
use serde::{Deserialize, Serialize};
use store::{QueryError, QueryLimits};

use crate::access::{Access, Role};
use crate::api_keys::{ApiKeyError, ApiKeys, KeyInfo};
use crate::asker::{Asker, client_of};
use crate::listen::ClientCertificate;
use crate::log_key_api;
use crate::node::{Node, internal, read_event};
use crate::page;
use crate::peer::Ends;
use crate::refusals::Refusals;
use crate::run_file::ServerProof;
use crate::running::Addresses;
use crate::watchman;

/// Largest body of an API call that is not a batch of events.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Largest body of a sign-in, for which nobody has to have shown a key yet.
const SIGN_IN_BYTES_MAX: usize = 4 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a caller with a wrong key is told.
pub(crate) const NOT_VALID: &str =
    "this key is not valid, has ended or was revoked; an administrator can make one with `watchkeeper keys create`";

/// Why a request was refused, in the record.
const WRONG_KEY: &str = "a key that is not valid";
/// See [`WRONG_KEY`].
const NO_KEY: &str = "no key of ours";

/// What a caller without a key is told at a listener that takes events.
const SENSOR_KEY_NEEDED: &str = "a key is needed: send `x-watchkeeper-key: wk_...`, or `Authorization: Bearer wk_...` where that is not a \
                                 provider's; an administrator makes one with `watchkeeper keys create --role sensor NAME`";

/// The same at the console and its API.
const KEY_NEEDED: &str = "a key is needed: send `Authorization: Bearer wk_...` or `x-watchkeeper-key: wk_...`; the first start printed \
                          one, and `watchkeeper keys create --role ROLE NAME` makes others";

/// Carries a key where `Authorization` is somebody else's.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-watchkeeper-key");

/// The name that the caller gives for themselves; nobody checks it.
const OPERATOR_HEADER: HeaderName = HeaderName::from_static("x-watchkeeper-operator");

/// Rows of a page of live events or of a search at the most.
const ROWS_MAX: usize = 1_000;

/// How long a live request waits for something new before it answers with nothing.
const LIVE_WAIT: Duration = Duration::from_secs(15);

/// How often a live request looks for something new.
const LIVE_POLL: Duration = Duration::from_millis(100);

/// The API's state.
pub(crate) struct Api {
    node: Arc<Node>,
    keys: Arc<ApiKeys>,
    /// The token of local commands, see `run_file`.
    local_token: String,
    /// What proves to local commands which server this is, and where it listens for them.
    proof: ServerProof,
    local: OnceLock<SocketAddr>,
    /// Sign-ins of the page.
    pub(crate) sessions: page::Sessions,
    refusals: Refusals,
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
        let asker = Asker { id: key.id, name: Some(key.name), operator: None, proof: Proof::ApiKey, client: None, session: None };
        Self { asker, role: key.role }
    }

    /// With what the connection and the headers tell: the user of this machine who holds the local token, and the name that the caller
    /// gives for themselves.
    fn told_by(self, request: &Request) -> Self {
        let uid = request.extensions().get::<Ends>().filter(|_| self.asker.proof == Proof::Local).and_then(Ends::peer_uid);
        let asker = uid.map_or(self.asker, Asker::of_user);
        let operator = request.headers().get(&OPERATOR_HEADER).and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let client = peer.map(|peer| client_of(peer, request.headers()));
        Self { asker: asker.with_operator(operator.map(str::to_owned)).with_client(client), ..self }
    }
}

impl Api {
    pub(crate) fn new(node: Arc<Node>, keys: Arc<ApiKeys>, local_token: String) -> Result<Self, KeysError> {
        let proof = ServerProof::new(node.keyring())?;
        let (sessions, refusals) = (page::Sessions::default(), Refusals::default());
        Ok(Self { node, keys, local_token, proof, local: OnceLock::new(), sessions, refusals })
    }

    /// Says where it listens for local commands, once that is known.
    pub(crate) fn listens_at(&self, local: SocketAddr) {
        // Said once, by whoever starts the listeners.
        let _ = self.local.set(local);
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

    /// Who presents one of our keys, and in which header.
    fn by_key(&self, headers: &HeaderMap) -> Option<(Caller, HeaderName)> {
        let own = headers.get(&KEY_HEADER).and_then(|value| value.to_str().ok());
        let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
        let (secret, name) = own.map(|key| (key, KEY_HEADER)).or_else(|| Some((bearer()?, header::AUTHORIZATION)))?;
        if aws_lc_rs::constant_time::verify_slices_are_equal(secret.as_bytes(), self.local_token.as_bytes()).is_ok() {
            let asker =
                Asker { id: "local".to_owned(), name: None, operator: None, proof: Proof::Local, client: None, session: None };
            return Some((Caller { asker, role: Role::Admin }, name));
        }
        Some((Caller::with_key(self.keys.check(secret)?), name))
    }

    /// That a request is refused for want of a key, or for a wrong one; told a few times a minute for each address.
    fn refusal(&self, ConnectInfo(peer): &ConnectInfo<SocketAddr>, headers: &HeaderMap, why: &str) -> Option<Event<String>> {
        let (address, count) = self.refusals.note(peer.ip().to_canonical(), Instant::now())?;
        let mut event = internal(Kind::Session, "key.refused");
        event.set(attr::EVENT_ACTION, "login");
        event.set(attr::EVENT_OUTCOME, "failure");
        event.set(attr::AUTH_METHOD, "api_key");
        event.set(attr::ADMIN_OBJECT, format!("{why}, {count} within a minute").as_str());
        let client = client_of(*peer, headers);
        event.identity.client = Some(Client { address: Some(address.to_string()), ..client });
        Some(event)
    }

    fn refusal_of(&self, request: &Request, why: &str) -> Option<Event<String>> {
        self.refusal(request.extensions().get()?, request.headers(), why)
    }

    /// What a caller without a key, or with a wrong one, is told.
    async fn refuse(&self, refusal: Option<Event<String>>, message: &str) -> Response {
        if let Some(event) = refusal {
            self.record(vec![event]).await;
        }
        ApiError::unauthorized(message).into_response()
    }

    /// Who has signed in at the page.
    fn by_session(&self, headers: &HeaderMap) -> Option<Caller> {
        let page::SignedIn { id, key_id } = self.sessions.of(headers)?;
        let mut caller = Caller::with_key(self.keys.by_id(&key_id)?);
        caller.asker.session = Some(id);
        Some(caller)
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

    /// Records that somebody reads contents, before they get to see any.
    async fn note_read(&self, caller: &Caller, action: &str, object: &str) -> Result<(), ApiError> {
        if self.record(vec![read_event(&caller.asker, action, object)]).await {
            Ok(())
        } else {
            Err(ApiError::unavailable("reading contents is recorded, and the record cannot be written"))
        }
    }

    /// Runs a query on a thread that may wait.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&store::Reader) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let node = self.node.clone();
        let result = tokio::task::spawn_blocking(move || work(&node.reader().map_err(QueryError::from)?)).await;
        result.map_err(|error| ApiError::unavailable(error.to_string()))?.map_err(ApiError::from)
    }
}

/// Every route of the console's origin.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let recorder = api.node.recorder();
    let open = page::router(api.clone());
    let send = guarded(
        Router::new()
            .route("/v1/inspect", post(inspect))
            .with_state(api.clone())
            .merge(crate::mcp_api::sensors(&api))
            .merge(capture::api::router(recorder, capture::api::Limits::default())),
        &api,
        Access::Send,
    );
    let record = guarded(
        Router::new()
            .route("/api/status", get(status))
            .route("/api/tail", get(tail))
            .route("/api/detections", get(detections))
            .route("/api/log-key", get(log_key_api::show))
            .with_state(api.clone())
            .merge(crate::mcp_api::shown(&api))
            .merge(crate::lifecycle_api::shown(api.clone())),
        &api,
        Access::ReadRecord,
    );
    let content = guarded(
        Router::new()
            .route("/api/query", post(query))
            .route("/api/search", get(search))
            .route("/api/trace/{*id}", get(trace))
            .with_state(api.clone()),
        &api,
        Access::ReadContent,
    );
    let administer = guarded(
        Router::new()
            .route("/api/keys", get(list_keys).post(create_key))
            .route("/api/keys/{id}", axum::routing::delete(revoke_key))
            .route("/api/keyring/rotate", post(rotate_keyring))
            .route("/api/log-key/rotate", post(log_key_api::rotate))
            .route("/api/proof", get(prove))
            .with_state(api.clone())
            .merge(crate::mcp_api::administered(&api))
            .merge(crate::lifecycle_api::router(api.clone())),
        &api,
        Access::Administer,
    );
    open.merge(send)
        .merge(record)
        .merge(content)
        .merge(administer)
        .fallback(|| async {
            ApiError {
                status: StatusCode::NOT_FOUND,
                message: "there is nothing at this path; see docs/reference/api.md".to_owned(),
            }
        })
        .layer(middleware::map_response(secure_headers))
}

/// Lets only callers with a key that has the permission through to a listener that sends on what it gets: the key goes no
/// further, and signing in at the page is no way in.
pub(crate) fn require_key(router: Router, api: Arc<Api>, access: Access) -> Router {
    require_key_unless(router, api, access, |_| false)
}

/// As [`require_key`], except that a caller who presents a virtual key in the place of a provider's has shown who it is: the gateway puts
/// the provider's key there. `virtual_keys` are the ids of these.
pub(crate) fn require_gateway_key(router: Router, api: Arc<Api>, virtual_keys: HashSet<String>) -> Router {
    let (keys, virtual_keys) = (api.keys.clone(), Arc::new(virtual_keys));
    let is_virtual = move |request: &Request| {
        let presented = capture::gateway::keys::presented_key(request.headers(), request.uri());
        let key = presented.filter(|_| !virtual_keys.is_empty()).and_then(|secret| keys.check(&secret));
        key.is_some_and(|key| key.role.allows(Access::Send) && virtual_keys.contains(&key.id))
    };
    require_key_unless(router, api, Access::Send, is_virtual)
}

/// Records whom the egress proxy refuses: it asks for keys itself.
pub(crate) fn note_refused_by_proxy(router: Router, api: Arc<Api>) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let api = api.clone();
        async move {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().copied();
            let headers = request.headers().clone();
            let response = next.run(request).await;
            if response.extensions().get::<KeyRefused>().is_some() {
                let why = if headers.contains_key(header::PROXY_AUTHORIZATION) { WRONG_KEY } else { NO_KEY };
                let event = peer.and_then(|peer| api.refusal(&peer, &headers, why));
                if let Some(event) = event {
                    api.record(vec![event]).await;
                }
            }
            response
        }
    }))
}

fn require_key_unless(
    router: Router,
    api: Arc<Api>,
    access: Access,
    is_judged_elsewhere: impl Fn(&Request) -> bool + Clone + Send + Sync + 'static,
) -> Router {
    router.layer(middleware::from_fn(move |mut request: Request, next: Next| {
        let api = api.clone();
        let passes = is_judged_elsewhere(&request);
        async move {
            if passes {
                return next.run(request).await;
            }
            let caller = api.by_key(request.headers());
            if caller.is_none() && request.headers().contains_key(&KEY_HEADER) {
                let refusal = api.refusal_of(&request, WRONG_KEY);
                return api.refuse(refusal, NOT_VALID).await;
            }
            if let Some((_, header)) = &caller {
                request.headers_mut().remove(header);
            }
            // Whoever issued it decided who may send; it is no way to anything else.
            if caller.is_none() && access == Access::Send && request.extensions().get::<ClientCertificate>().is_some() {
                return next.run(request).await;
            }
            if caller.is_none() {
                let refusal = api.refusal_of(&request, NO_KEY);
                return api.refuse(refusal, SENSOR_KEY_NEEDED).await;
            }
            admit(caller.map(|(caller, _)| caller), access, SENSOR_KEY_NEEDED, request, next).await
        }
    }))
}

/// Refuses requests that a web page has made its reader's browser send: a page must not be able to feed the record or to
/// spend the provider's keys. Pages with a server of their own call from there.
pub fn refuse_browsers(router: Router) -> Router {
    router.layer(middleware::from_fn(|mut request: Request, next: Next| async move {
        // Browsers name the site of the page with every request, also where they send no origin.
        let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
        if request.headers().contains_key(header::ORIGIN) || site.is_some_and(|site| site != b"none" && site != b"same-origin") {
            let message = "requests of web pages (with Origin, or Sec-Fetch-Site) are refused: none must reach this listener through a browser";
            return ApiError { status: StatusCode::FORBIDDEN, message: message.to_owned() }.into_response();
        }
        // Browsers send cookies to every port of a host; none of them is for here.
        request.headers_mut().remove(header::COOKIE);
        next.run(request).await
    }))
}

/// Refuses requests for a host whose name a stranger's name server could have given this machine's address (DNS rebinding): to the
/// browser a page from there is of the same origin, and may read the answers. `hosts` are the names under which the listener is known,
/// beside addresses, `localhost`, names without a dot and those below `.internal` and `.localhost`, which no public name server has.
pub fn refuse_strange_hosts(router: Router, hosts: HashSet<String>) -> Router {
    let hosts = Arc::new(hosts);
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let host = host_of(&request).filter(|host| is_strange(host, &hosts));
        async move {
            let Some(host) = host else { return next.run(request).await };
            let message = format!("the host {host:?} is not known here; where this listener is meant, add it to listen.hosts");
            ApiError { status: StatusCode::FORBIDDEN, message }.into_response()
        }
    }))
}

/// The name of the host that is asked for, in lower case and without a port.
fn host_of(request: &Request) -> Option<String> {
    let header = request.headers().get(header::HOST).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let named = header.or_else(|| request.uri().authority().map(|authority| authority.as_str().to_owned()))?;
    let host = match named.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => named.split(':').next().unwrap_or_default(),
    };
    Some(host.trim_end_matches('.').to_ascii_lowercase())
}

fn is_strange(host: &str, hosts: &HashSet<String>) -> bool {
    let is_public = host.contains('.') && !host.ends_with(".localhost") && !host.ends_with(".internal");
    is_public && host.parse::<std::net::IpAddr>().is_err() && !hosts.contains(host)
}

fn guarded(router: Router, api: &Arc<Api>, access: Access) -> Router {
    let api = api.clone();
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let api = api.clone();
        async move {
            let by_key = api.by_key(request.headers()).map(|(caller, _)| caller);
            if by_key.is_none() && [KEY_HEADER, header::AUTHORIZATION].iter().any(|name| request.headers().contains_key(name)) {
                let refusal = api.refusal_of(&request, WRONG_KEY);
                return api.refuse(refusal, NOT_VALID).await;
            }
            let caller = by_key.or_else(|| api.by_session(request.headers()));
            let needed = if access == Access::Send { SENSOR_KEY_NEEDED } else { KEY_NEEDED };
            admit(caller, access, needed, request, next).await
        }
    }))
}

async fn admit(caller: Option<Caller>, access: Access, needed: &str, mut request: Request, next: Next) -> Response {
    match caller {
        None => ApiError::unauthorized(needed).into_response(),
        Some(caller) if !caller.role.allows(access) => {
            let message = format!("a key with the role {} may not do this", caller.role.as_str());
            ApiError { status: StatusCode::FORBIDDEN, message }.into_response()
        }
        Some(caller) => {
            let caller = caller.told_by(&request);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
    }
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
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InspectRequest {
    text: String,
    channel: Option<String>,
    context: Option<String>,
}

async fn inspect(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let request: InspectRequest = body.json()?;
    let channel: Channel = match request.channel.as_deref() {
        None => Channel::User,
        Some(name) => name.parse().map_err(|error: event::UnknownChannel| ApiError::bad_request(error.to_string()))?,
    };
    let scored = tokio::task::spawn_blocking(move || {
        let report = api.node.pipeline().inspect(&request.text, channel, request.context.as_deref());
        serde_json::json!({
            "score": report.score, "verdict": report.verdict, "findings": report.findings,
            "scanned_bytes": report.scanned_bytes, "unscanned_bytes": report.unscanned_bytes,
        })
    });
    Ok(Json(scored.await.map_err(|error| ApiError::unavailable(error.to_string()))?).into_response())
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    progress: crate::Progress,
    throughput: crate::Throughput,
    stopped: Option<String>,
    archive_waits: Option<String>,
    watch: crate::Standing,
    counts: store::Counts,
}

async fn status(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let counts = api.read(|reader| reader.counts()).await?;
    let node = api.node.clone();
    let watch = tokio::task::spawn_blocking(move || node.standing()).await;
    let watch = watch.map_err(|error| ApiError::unavailable(error.to_string()))??;
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        progress: api.node.progress(),
        throughput: api.node.pipeline().throughput(),
        stopped: api.node.stopped(),
        archive_waits: api.node.archive_waits(),
        watch,
        counts,
    };
    Ok(Json(status).into_response())
}

#[derive(Deserialize)]
struct TailQuery {
    after: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    wait: bool,
}

/// Rows that follow the place `after` in the journal, or the newest ones; `next` is the `after` of the next request. With `wait`,
/// answers when there is one, or after some seconds without.
async fn tail(State(api): State<Arc<Api>>, Query(query): Query<TailQuery>) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(100).min(ROWS_MAX);
    let until = tokio::time::Instant::now() + LIVE_WAIT;
    // The first record that the caller has not seen.
    let unseen = query.after.map_or(0, |after| after.saturating_add(1));
    while query.wait && api.node.progress().indexed <= unseen && tokio::time::Instant::now() < until {
        tokio::time::sleep(LIVE_POLL).await;
    }
    let after = query.after.map(journal::Seq);
    let mut rows = api.read(move |reader| reader.tail(after, limit)).await?;
    // A row of the live view holds no contents: reading those is a permission of its own, and leaves an event.
    rows.iter_mut().for_each(|row| row.summary.clear());
    let next = rows.last().map(|row| row.seq.0).or(query.after);
    Ok(Json(serde_json::json!({ "rows": rows, "next": next })).into_response())
}

async fn detections(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let sql = "SELECT time, detection_id, rule, title, technique, severity, confidence, grade, session_id, trace_id, user_id, agent \
               FROM detections ORDER BY time DESC LIMIT 500";
    Ok(Json(api.read(move |reader| reader.sql(sql, &QueryLimits::default())).await?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlRequest {
    sql: String,
}

async fn query(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: SqlRequest = body.json()?;
    api.note_read(&caller, "query", &request.sql).await?;
    Ok(Json(api.read(move |reader| reader.sql(&request.sql, &QueryLimits::default())).await?).into_response())
}

#[derive(Deserialize)]
struct SearchQuery {
    q: String,
    limit: Option<usize>,
}

async fn search(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<SearchQuery>,
) -> Result<Response, ApiError> {
    api.note_read(&caller, "search", &query.q).await?;
    let limit = query.limit.unwrap_or(50).min(ROWS_MAX);
    Ok(Json(api.read(move |reader| reader.search(&query.q, limit)).await?).into_response())
}

async fn trace(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    api.note_read(&caller, "trace", &id).await?;
    Ok(Json(api.read(move |reader| reader.trace(&id)).await?).into_response())
}

async fn list_keys(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let keys = api.keys.list();
    let rows: Vec<_> = keys
        .iter()
        .map(|key| serde_json::json!({"id": key.id, "name": key.name, "role": key.role, "created_unix_s": key.created_unix_s, "expires_unix_s": key.expires_unix_s}))
        .collect();
    Ok(Json(rows).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    name: String,
    role: Role,
    lifetime_s: Option<u64>,
}

async fn create_key(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>, body: Body) -> Result<Response, ApiError> {
    let request: KeyRequest = body.json()?;
    let key = api.keys.create(&request.name, request.role, request.lifetime_s)?;
    api.note_key(&caller, "create", &key.info).await;
    Ok(Json(serde_json::json!({ "id": key.info.id, "role": key.info.role, "key": key.secret })).into_response())
}

async fn revoke_key(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let key = api.keys.revoke(&id)?;
    api.note_key(&caller, "delete", &key).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct ProofQuery {
    challenge: String,
}

/// Proves to a local command that this is the server of the record.
async fn prove(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Query(query): Query<ProofQuery>,
) -> Result<Response, ApiError> {
    if caller.asker.proof != Proof::Local {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "this is for commands on the server's own machine"));
    }
    let local = *api.local.get().ok_or_else(|| ApiError::unavailable("the server is not ready yet"))?;
    let answer = api.proof.answer(local, &query.challenge);
    let answer = answer.ok_or_else(|| ApiError::bad_request("challenge: 64 hexadecimal digits are needed"))?;
    Ok(Json(answer).into_response())
}

async fn rotate_keyring(State(api): State<Arc<Api>>, Extension(caller): Extension<Caller>) -> Result<Response, ApiError> {
    let keyring = api.node.keyring().clone();
    let rotated = tokio::task::spawn_blocking(move || keyring.rotate_tenant()).await;
    let rotated = rotated.map_err(|error| ApiError::unavailable(error.to_string()))?;
    rotated.map_err(|error| ApiError::unavailable(error.to_string()))?;
    api.note_admin(&caller, "tenant_key.rotate", "rotate", "the tenant key", None).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Api {
    async fn note_key(&self, caller: &Caller, action: &str, key: &KeyInfo) {
        let object = format!("{} ({}, {})", key.id, key.role.as_str(), key.name);
        let changed = if action == "delete" { attr::ADMIN_BEFORE } else { attr::ADMIN_AFTER };
        self.note_admin(caller, &format!("key.{action}"), action, &object, Some((changed, key.shown()))).await;
    }

    /// Records what a caller has administered; `told` is what the object was before, or is since then.
    async fn note_admin(&self, caller: &Caller, name: &str, action: &str, object: &str, told: Option<(Key, String)>) {
        let mut event = internal(Kind::Admin, name);
        caller.asker.sign(&mut event);
        event.set(attr::EVENT_ACTION, action);
        event.set(attr::ADMIN_OBJECT, object);
        event.set(attr::EVENT_OUTCOME, "success");
        if let Some((key, text)) = told {
            event.set(key, text.as_str());
        }
        self.record(vec![event]).await;
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

/// A body within the limit, read before the handler runs.
pub(crate) struct Body(bytes::Bytes);

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.0).map_err(|error| ApiError::bad_request(format!("body: {error}")))
    }
}

impl<S: Send + Sync> axum::extract::FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes_max = if request.uri().path() == page::SIGN_IN_PATH { SIGN_IN_BYTES_MAX } else { BODY_BYTES_MAX };
        let body = axum::body::to_bytes(request.into_body(), bytes_max);
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(_)) => {
                let message = format!("body: at most {bytes_max} bytes are taken");
                Err(ApiError { status: StatusCode::PAYLOAD_TOO_LARGE, message })
            }
            Err(_) => {
                Err(ApiError { status: StatusCode::REQUEST_TIMEOUT, message: "body: it did not come within the time".to_owned() })
            }
        }
    }
}

/// An error that the caller gets to see.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, message: message.into() }
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, message: message.into() }
    }

    pub(crate) fn new(status: StatusCode, error: impl std::fmt::Display) -> Self {
        Self { status, message: error.to_string() }
    }

    /// Something of ours does not work now.
    pub(crate) fn stopped(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    fn unavailable(message: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, message: message.into() }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::NotFound { .. } => StatusCode::NOT_FOUND,
            QueryError::Store(_) | QueryError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, message: error.to_string() }
    }
}

impl From<ApiKeyError> for ApiError {
    fn from(error: ApiKeyError) -> Self {
        let status = match &error {
            ApiKeyError::Unknown(_) => StatusCode::NOT_FOUND,
            ApiKeyError::TooMany => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { status, message: error.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": { "message": self.message } }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_stranger_can_answer_for_are_known() {
        let hosts = HashSet::from(["llm.example.com".to_owned()]);
        let host = |value: &str| {
            host_of(&axum::http::Request::builder().header("host", value).body(axum::body::Body::empty()).unwrap()).unwrap()
        };
        for (value, strange) in [
            ("localhost:4000", false),
            ("app.localhost", false),
            ("127.0.0.1", false),
            ("[::1]:4000", false),
            ("192.168.1.7:4000", false),
            ("gateway", false),
            ("host.docker.internal", false),
            ("LLM.example.com.:443", false),
            ("evil.example.com", true),
            ("127.0.0.1.nip.io", true),
            ("localhost.evil.com", true),
            ("llm.example.com.evil.com", true),
        ] {
            assert_eq!(is_strange(&host(value), &hosts), strange, "{value}");
        }
        assert_eq!(
            host_of(&axum::http::Request::builder().uri("http://a.b:1/x").body(axum::body::Body::empty()).unwrap()).as_deref(),
            Some("a.b")
        );
    }
}
