//! What is asked of the proxy: a request with a whole URL, or a CONNECT.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use event::attr;
use http::{Method, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Shared;
use super::answer::Failure;
use super::call::{Call, Mode, end};
use super::caller::User;
use super::forward::{forward, handshake};
use super::intercept;
use super::target::Target;
use super::tunnel::relay;
use crate::gateway::upstream::recorded_path_and_query;

pub(super) async fn dispatch(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let user = match User::admit(&shared, &parts) {
        Ok(user) => user,
        Err(failure) => return failure.into_response(),
    };
    let request = Request::from_parts(parts, body);
    if request.method() == Method::CONNECT { connect(&shared, user, request).await } else { pass(&shared, &user, request).await }
}

/// A request in plain text.
async fn pass(shared: &Arc<Shared>, user: &User, request: Request) -> Response<Body> {
    let target = match Target::of_url(request.uri()) {
        Ok(target) => target,
        Err(error) => return Failure::malformed(error.to_string()).into_response(),
    };
    let (mut parts, body) = request.into_parts();
    let caller = user.caller(&mut parts);
    let mut call = Call::new(shared, Mode::Http, parts.method.as_str(), &target, caller, user.key.as_deref());
    let path = recorded_path_and_query(parts.uri.path_and_query().map_or("/", |path| path.as_str()));
    call.describe(|event| event.set(attr::URL_FULL, format!("http://{}{path}", target.authority(80)).as_str()));
    let (ruling, opened) = shared.open(&target).await;
    call.rule(ruling);
    let opened = match opened {
        Ok(opened) => opened,
        Err(failure) => return call.fail(failure).await,
    };
    call.connected(opened.peer);
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
    let client = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address);
    let caller = user.caller(&mut parts);
    let mut call = Call::new(shared, Mode::Tunnel, "CONNECT", &target, caller, user.key.as_deref());
    let Ok(slot) = shared.tunnels.clone().try_acquire_owned() else {
        let message = format!("{} tunnels are open already; try again in 1 s", shared.config.limits.tunnels_max);
        return call.fail(Failure::busy(message)).await;
    };
    let (ruling, opened) = shared.open(&target).await;
    call.rule(ruling.clone());
    let opened = match opened {
        Ok(opened) => opened,
        Err(failure) => return call.fail(failure).await,
    };
    call.connected(opened.peer);
    let interception = shared.interception.as_ref().filter(|interception| interception.is_for(&target, opened.peer));
    let Some(interception) = interception else {
        if let Err(failure) = call.commit_request().await {
            return failure.into_response();
        }
        tokio::spawn(tunnel(shared.clone(), call, claim, (target, opened.stream), slot));
        return Response::new(Body::empty());
    };
    // Nobody is vouched for here who has not shown a good certificate: the client could not tell.
    let secured = match interception.secure(shared, &target, opened).await {
        Ok(secured) => secured,
        Err(failure) => return call.fail(failure).await,
    };
    let session = intercept::Session::new(shared.clone(), user, target, client, ruling, secured);
    tokio::spawn(intercept::serve(session, call, claim, slot));
    Response::new(Body::empty())
}

/// Passes the bytes of a tunnel on, and records how it ended.
async fn tunnel(
    shared: Arc<Shared>,
    mut call: Call,
    claim: hyper::upgrade::OnUpgrade,
    (target, upstream): (Target, TcpStream),
    slot: OwnedSemaphorePermit,
) {
    let limits = &shared.config.limits;
    let Ok(Ok(client)) = timeout(limits.handshake, claim).await else {
        call.error = Some(end::CLIENT_DISCONNECT.into());
        call.end = Some(end::CLIENT_DISCONNECT);
        drop(call.commit().await);
        return;
    };
    call.status = Some(200);
    let bytes = call.bytes.clone();
    let mut on_name = |name: &str| {
        call.describe(|event| event.set(attr::TLS_CLIENT_SERVER_NAME, name));
        // What CONNECT named was judged already.
        let ruling = if name == target.host { None } else { shared.config.policy.judge_name(name) };
        let is_blocked = ruling.as_ref().is_some_and(|ruling| ruling.is_blocked);
        call.rule(ruling);
        !is_blocked
    };
    let stop = shared.stop.subscribe();
    let ended = relay(TokioIo::new(client), upstream, &bytes, limits.tunnel_idle, &mut on_name, stop).await;
    call.end = Some(ended.end);
    call.error = ended.is_error.then(|| ended.end.into());
    if let Err(failure) = call.commit().await {
        tracing::error!(reason = failure.message, "the end of a tunnel was not recorded");
    }
    drop(slot);
}
