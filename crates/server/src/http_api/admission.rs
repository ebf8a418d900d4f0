//! Who may pass: keys, sign-ins and roles before every route; pages and strange hosts kept out; refusals on record.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use capture::egress::KeyRefused;
use event::{Client, Event, Kind, Proof, attr};

use super::readers;
use super::sign_in::{self, Counts};
use super::{Api, ApiError, Caller};
use crate::access::{Access, Role};
use crate::asker::{Who, client_of};
use crate::listen::ClientCertificate;
use crate::node::internal;

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

/// Live updates.
pub(super) const LIVE_PATH: &str = "/api/live";

/// What a page asks all the time, to show how the record stands.
const PULSE_PATH: &str = "/api/pulse";

/// With it (`1`) a page says that a timer asks, and nobody who is there.
const BACKGROUND_HEADER: HeaderName = HeaderName::from_static("x-watchkeeper-background");

/// Carries a key where `Authorization` is somebody else's.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-watchkeeper-key");

impl Api {
    /// Who presents one of our keys, and in which header.
    fn by_key(&self, headers: &HeaderMap) -> Option<(Caller, HeaderName)> {
        let own = headers.get(&KEY_HEADER).and_then(|value| value.to_str().ok());
        let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
        let (secret, name) = own.map(|key| (key, KEY_HEADER)).or_else(|| Some((bearer()?, header::AUTHORIZATION)))?;
        if aws_lc_rs::constant_time::verify_slices_are_equal(secret.as_bytes(), self.local_token.as_bytes()).is_ok() {
            return Some((Caller { asker: Who::Local.into(), role: Role::Admin }, name));
        }
        Some((Caller::with_key(self.keys.check(secret)?), name))
    }

    /// That a request is refused for want of a key, or for a wrong one; told a few times a minute for each address.
    fn refusal(&self, peer: SocketAddr, headers: &HeaderMap, why: &str) -> Option<Event<String>> {
        let (address, count) = self.refusals.note(peer.ip().to_canonical(), Instant::now())?;
        let mut event = internal(Kind::Session, "key.refused");
        event.set(attr::EVENT_ACTION, "login");
        event.set(attr::EVENT_OUTCOME, "failure");
        event.set(attr::AUTH_METHOD, "api_key");
        event.set(attr::ADMIN_OBJECT, format!("{why}, {count} within a minute").as_str());
        // It is no work of Watchkeeper's own that lists may leave out: somebody else tried.
        event.identity.application = None;
        let client = client_of(peer, headers);
        event.identity.client = Some(Client { address: Some(address.to_string()), ..client });
        Some(event)
    }

    fn refusal_of(&self, request: &Request, why: &str) -> Option<Event<String>> {
        let ConnectInfo(peer) = request.extensions().get()?;
        self.refusal(*peer, request.headers(), why)
    }

    /// What a caller without a key, or with a wrong one, is told.
    async fn refuse(&self, refusal: Option<Event<String>>, message: &str) -> Response {
        if let Some(event) = refusal {
            self.record(vec![event]).await;
        }
        ApiError::unauthorized(message).into_response()
    }

    /// Who has signed in at the console.
    fn by_session(&self, request: &Request) -> Option<Caller> {
        let sign_in::SignedIn { id, holder, .. } = self.sessions.of(request.headers(), counts_of(request))?;
        let mut caller = self.caller_of(holder)?;
        caller.asker.session = Some(id);
        Some(caller)
    }
}

/// Whether a request shows that somebody is there. What says of itself that nobody asked for it can only make a sign-in end sooner, so that
/// word needs no trust.
fn counts_of(request: &Request) -> Counts {
    let is_by_itself = matches!(request.uri().path(), sign_in::SIGN_IN_PATH | LIVE_PATH | PULSE_PATH);
    let is_background = request.headers().get(&BACKGROUND_HEADER).is_some_and(|value| value != "0");
    if is_by_itself || is_background { Counts::Not } else { Counts::AsUse }
}

/// Whether a request that a cookie may come with is the console's own. The cookie is `SameSite=Strict`, but a page on another port of this
/// host is of the same site.
pub(super) fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes).map(<[u8]>::to_vec);
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str().as_bytes().to_vec()));
    let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, from)| from.as_bytes().to_vec());
    from.is_some() && from == host
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
            let mut response = next.run(request).await;
            if let Some(KeyRefused { client: Some(client), headers }) = response.extensions_mut().remove() {
                let has_shown = [header::PROXY_AUTHORIZATION, KEY_HEADER].iter().any(|name| headers.contains_key(name));
                let why = if has_shown { WRONG_KEY } else { NO_KEY };
                if let Some(event) = api.refusal(client, &headers, why) {
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
            return ApiError::new(StatusCode::FORBIDDEN, message).into_response();
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
            super::secure_headers(ApiError::new(StatusCode::FORBIDDEN, message).into_response()).await
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

/// Routes that take parameters; those say themselves which.
const WITH_PARAMETERS: [&str; 17] = [
    "/api/detections",
    "/api/detections/groups",
    "/api/detections/{id}",
    "/api/entities",
    "/api/events",
    "/api/holds/{name}",
    "/api/live",
    "/api/models",
    "/api/overview",
    "/api/proof",
    "/api/reads",
    "/api/rules/coverage",
    "/api/search",
    "/api/sessions",
    "/api/tail",
    "/api/tokens",
    "/api/trace/{*id}",
];

/// The first parameter of a request whose route takes none.
fn unknown_parameter(request: &Request) -> Option<String> {
    let query = request.uri().query().filter(|query| !query.is_empty())?;
    let route = request.extensions().get::<MatchedPath>()?;
    let name = || query.split(['=', '&']).next().unwrap_or_default().chars().take(80).collect();
    (!WITH_PARAMETERS.contains(&route.as_str())).then(name)
}

pub(super) fn guarded(router: Router, api: &Arc<Api>, access: Access) -> Router {
    let api = api.clone();
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let api = api.clone();
        async move {
            let by_key = api.by_key(request.headers()).map(|(caller, _)| caller);
            if by_key.is_none() && [KEY_HEADER, header::AUTHORIZATION].iter().any(|name| request.headers().contains_key(name)) {
                let refusal = api.refusal_of(&request, WRONG_KEY);
                return api.refuse(refusal, NOT_VALID).await;
            }
            if by_key.is_none()
                && request.headers().contains_key(header::COOKIE)
                && !is_same_origin(request.headers(), request.uri())
            {
                let message = "a sign-in's cookie is good for the console's own pages alone; programs send a key";
                return ApiError::new(StatusCode::FORBIDDEN, message).into_response();
            }
            let caller = by_key.or_else(|| api.by_session(&request));
            // What sensors send comes from everywhere, with whatever is put behind an address there.
            if access != Access::Send
                && caller.is_some()
                && let Some(name) = unknown_parameter(&request)
            {
                return ApiError::bad_request(format!("{name:?}: this route takes no parameters")).into_response();
            }
            let needed = if access == Access::Send { SENSOR_KEY_NEEDED } else { KEY_NEEDED };
            admit(caller, access, needed, request, next).await
        }
    }))
}

async fn admit(caller: Option<Caller>, access: Access, needed: &str, mut request: Request, next: Next) -> Response {
    match caller {
        None => ApiError::unauthorized(needed).into_response(),
        Some(caller) if !caller.role.allows(access) => {
            let what = if caller.asker.who.proof() == Proof::Oidc { "a person" } else { "a key" };
            let message = format!("{what} with the role {} may not do this", caller.role.as_str());
            ApiError::new(StatusCode::FORBIDDEN, message).into_response()
        }
        Some(caller) => {
            let caller = caller.told_by(&request);
            let asker = caller.asker.id();
            request.extensions_mut().insert(caller);
            readers::asked_by(asker, next.run(request)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_pages_of_the_same_origin_alone() {
        for (headers, is_good) in [
            (vec![("host", "127.0.0.1:7700")], true),
            (vec![("host", "127.0.0.1:7700"), ("origin", "http://127.0.0.1:7700")], true),
            (vec![("host", "127.0.0.1:7700"), ("origin", "http://127.0.0.1:3000")], false),
            (vec![("host", "127.0.0.1:7700"), ("origin", "null")], false),
            (vec![("origin", "http://127.0.0.1:7700")], false),
            // Behind a proxy the host may be another; browsers tell it better.
            (vec![("host", "inner"), ("origin", "https://console.example"), ("sec-fetch-site", "same-origin")], true),
            (vec![("host", "127.0.0.1:7700"), ("sec-fetch-site", "none")], true),
            (vec![("host", "127.0.0.1:7700"), ("sec-fetch-site", "same-site")], false),
            (vec![("host", "127.0.0.1:7700"), ("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:7700")], false),
        ] {
            let request = headers
                .iter()
                .fold(axum::http::Request::builder().uri("/api/keys"), |builder, (name, value)| builder.header(*name, *value));
            let request = request.body(axum::body::Body::empty()).unwrap();
            assert_eq!(is_same_origin(request.headers(), request.uri()), is_good, "{headers:?}");
        }
    }

    #[test]
    fn what_a_page_asks_by_itself_keeps_nobody_signed_in() {
        for (path, header, counts) in [
            ("/api/overview", None, Counts::AsUse),
            ("/api/overview", Some("0"), Counts::AsUse),
            ("/api/overview", Some("1"), Counts::Not),
            ("/api/detections?state=open", Some("1"), Counts::Not),
            ("/api/pulse", None, Counts::Not),
            ("/api/live?tool=x", None, Counts::Not),
            ("/api/session", None, Counts::Not),
        ] {
            let request = axum::http::Request::builder().uri(path);
            let request = header.into_iter().fold(request, |request, value| request.header(&BACKGROUND_HEADER, value));
            assert_eq!(counts_of(&request.body(axum::body::Body::empty()).unwrap()), counts, "{path} {header:?}");
        }
    }

    #[test]
    fn the_routes_that_take_parameters_are_those_of_the_contract() {
        let contract: serde_json::Value = serde_json::from_str(&super::super::openapi::document()).unwrap();
        let mut published = HashSet::new();
        for (path, methods) in contract["paths"].as_object().unwrap() {
            let takes = |method: &serde_json::Value| {
                let parameters = method["parameters"].as_array().into_iter().flatten();
                parameters.into_iter().any(|parameter| parameter["in"] == "query")
            };
            let route = if path == "/api/trace/{id}" { "/api/trace/{*id}" } else { path };
            // Browsers go there without a key.
            if !path.starts_with("/api/session/") && methods.as_object().unwrap().values().any(takes) {
                published.insert(route.to_owned());
            }
        }
        // For the program's own commands.
        published.extend(["/api/proof", "/api/reads", "/api/tail"].map(str::to_owned));
        assert_eq!(published, HashSet::from(WITH_PARAMETERS.map(str::to_owned)));
    }

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
