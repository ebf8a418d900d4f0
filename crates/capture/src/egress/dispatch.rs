//! What is asked of the proxy: a request with a whole URL, or a CONNECT.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use event::attr;
use http::{Method, Response, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::answer::Failure;
use super::call::{Call, Mode, end};
use super::caller::User;
use super::connect::Opened;
use super::forward::{forward, handshake};
use super::hello::Named;
use super::intercept;
use super::policy::Ruling;
use super::slots::Full;
use super::target::{Target, normal_host};
use super::tunnel::relay;
use super::{KeyRefused, Shared};
use crate::gateway::upstream::recorded_path_and_query;

pub(super) async fn dispatch(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let user = match User::admit(&shared, &parts) {
        Ok(user) => user,
        Err(failure) => {
            let mut refused = failure.into_response();
            refused.extensions_mut().insert(KeyRefused { client: client_of(&parts), headers: parts.headers });
            return refused;
        }
    };
    // Which of them counts is nobody's to guess (RFC 9112, section 3.2).
    if parts.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Failure::malformed("the request has more than one Host").into_response();
    }
    let request = Request::from_parts(parts, body);
    if request.method() == Method::CONNECT { connect(&shared, user, request).await } else { pass(&shared, &user, request).await }
}

fn client_of(parts: &http::request::Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address)
}

/// Takes a place and opens a connection: with what was decided, where the call goes on.
async fn reach(
    shared: &Shared,
    call: &mut Call,
    target: &Target,
    share: Option<&str>,
) -> Result<(Opened, Option<Ruling>), Failure> {
    let slot = shared.connections.try_take(share).map_err(|full| {
        let limits = &shared.config.limits;
        let (count, whose) = match full {
            Full::All => (limits.connections_max, ""),
            Full::Caller => (limits.connections_each_max, " for this caller"),
        };
        Failure::busy(format!("{count} connections are open already{whose}; try again in 1 s"))
    })?;
    call.slot = Some(Arc::new(slot));
    let (ruling, opened) = shared.open(target, share).await;
    call.rule(ruling.clone());
    let opened = opened?;
    call.connected(opened.peer);
    Ok((opened, ruling))
}

/// A request in plain text.
async fn pass(shared: &Arc<Shared>, user: &User, request: Request) -> Response<Body> {
    let target = match Target::of_url(request.uri()) {
        Ok(target) => target,
        Err(error) => return Failure::malformed(error.to_string()).into_response(),
    };
    let (mut parts, body) = request.into_parts();
    let share = user.share(client_of(&parts));
    let caller = user.caller(&mut parts);
    let mut call = Call::new(shared, Mode::Http, parts.method.as_str(), &target, caller, user.key.as_deref());
    let path = recorded_path_and_query(parts.uri.path_and_query().map_or("/", |path| path.as_str()));
    call.describe(|event| event.set(attr::URL_FULL, format!("http://{}{path}", target.authority(80)).as_str()));
    let opened = match reach(shared, &mut call, &target, share.as_deref()).await {
        Ok((opened, _)) => opened,
        Err(failure) => return call.fail(failure).await,
    };
    match handshake(opened.stream).await {
        Ok(mut sender) => forward(shared, call, &mut sender, parts, body).await,
        Err(failure) => call.fail(failure).await,
    }
}

/// A connection to wherever the caller says.
async fn connect(shared: &Arc<Shared>, user: User, mut request: Request) -> Response<Body> {
    let target = match Target::of_connect(request.uri()) {
        Ok(target) => target,
        Err(error) => return Failure::malformed(error.to_string()).into_response(),
    };
    let claim = hyper::upgrade::on(&mut request);
    let (mut parts, _) = request.into_parts();
    let client = client_of(&parts);
    let share = user.share(client);
    let caller = user.caller(&mut parts);
    let mut call = Call::new(shared, Mode::Tunnel, "CONNECT", &target, caller, user.key.as_deref());
    let (opened, ruling) = match reach(shared, &mut call, &target, share.as_deref()).await {
        Ok(reached) => reached,
        Err(failure) => return call.fail(failure).await,
    };
    let interception = shared.interception.as_ref().filter(|interception| interception.is_for(&target, opened.peer));
    let Some(interception) = interception else {
        if let Err(failure) = call.commit_request().await {
            return failure.into_response();
        }
        tokio::spawn(tunnel(shared.clone(), call, claim, target, opened));
        return Response::new(Body::empty());
    };
    // Nobody is vouched for here who has not shown a good certificate: the client could not tell.
    let secured = match interception.secure(shared, &target, opened).await {
        Ok(secured) => secured,
        Err(failure) => return call.fail(failure).await,
    };
    call.becomes_session();
    if let Err(failure) = call.commit_request().await {
        return failure.into_response();
    }
    let caller = intercept::SessionCaller { user, client, share, slot: call.slot.clone() };
    let session = intercept::Session::new(shared.clone(), caller, target, ruling, secured);
    tokio::spawn(intercept::serve(session, call, claim));
    Response::new(Body::empty())
}

/// Passes the bytes of a tunnel on, and records how it ended.
async fn tunnel(shared: Arc<Shared>, mut call: Call, claim: hyper::upgrade::OnUpgrade, target: Target, upstream: Opened) {
    let _open = shared.tunnels.subscribe();
    let limits = &shared.config.limits;
    let Ok(Ok(client)) = timeout(limits.handshake, claim).await else {
        call.error = Some(end::CLIENT_DISCONNECT.into());
        call.end = Some(end::CLIENT_DISCONNECT);
        drop(call.commit().await);
        return;
    };
    call.status = Some(200);
    let bytes = call.bytes.clone();
    let mut on_hello = |named: &Named| {
        let ruling = match named {
            Named::As(name) => {
                call.describe(|event| event.set(attr::TLS_CLIENT_SERVER_NAME, name.as_str()));
                shared.judge_inside(name, &target, upstream.peer.ip())
            }
            _ => Some(shared.config.policy.unreadable()),
        };
        let is_blocked = ruling.as_ref().is_some_and(|ruling| ruling.is_blocked);
        call.rule(ruling);
        !is_blocked
    };
    let stop = shared.stop.subscribe();
    let ended = relay(TokioIo::new(client), upstream.stream, &bytes, limits.tunnel_idle, &mut on_hello, stop).await;
    call.end = Some(ended.end);
    call.error = ended.is_error.then(|| ended.end.into());
    if let Err(failure) = call.commit().await {
        tracing::error!(reason = failure.message, "the end of a tunnel was not recorded");
    }
}

impl Shared {
    /// Judges the name that a TLS client asks for in a tunnel to `target`.
    fn judge_inside(&self, name: &str, target: &Target, peer: IpAddr) -> Option<Ruling> {
        let Some(name) = normal_host(name) else { return Some(self.config.policy.unreadable()) };
        // What CONNECT named was judged already.
        if name == target.host {
            return None;
        }
        let listed = self.config.policy.judge_inside(&name, peer);
        let is_intercepted = self.interception.as_ref().is_some_and(|interception| interception.lists(&name));
        listed.or_else(|| is_intercepted.then(|| self.config.policy.not_intercepted(&name)))
    }
}
