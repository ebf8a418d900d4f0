//! The running server: node, listeners, shutdown.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use base64::Engine as _;
use capture::egress::{Admitted, Egress};
use capture::gateway::Gateway;
use capture::gateway::keys::KeyChecker;
use event::{Kind, attr};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api_keys::{ApiKeyError, ApiKeys, NewKey};
use crate::asker::Asker;
use crate::config::{Config, ConfigError};
use crate::configuration::Configuration;
use crate::evaluating::Evaluating;
use crate::forwarded::Network;
use crate::guard::PipelineGuard;
use crate::http_api::{self, Api, Hub, Oidc};
use crate::intel::Pulling;
use crate::listen::{CONNECTIONS_MAX, ClientCertificate, Listener, tls_acceptor};
use crate::node::{Node, NodeError, internal};
use crate::oidc::Provider;
use crate::publishing::Publishing;
use crate::root_key::RootKeyPlace;
use crate::run_file::{Listeners, RunFile};
use crate::second_opinion::{Asking, SecondOpinion};
use crate::secrets;
use crate::timestamping::Timestamping;
use crate::witnessing::Witnessing;
use crate::{Access, Role};

/// How long the outcomes of gateway calls may take to be recorded when the server stops.
const OUTCOMES_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the consumers may take when a request still holds the node.
const HELD_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the listeners are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// The LLM gateway.
    pub gateway: SocketAddr,
    /// The console and the API.
    pub console: SocketAddr,
    /// MCP servers, where there are any.
    pub mcp: Option<SocketAddr>,
    /// The egress proxy, where it is enabled.
    pub egress: Option<SocketAddr>,
}

/// A server that listens.
pub struct Running {
    node: Arc<Node>,
    live: Arc<Hub>,
    gateway: Gateway,
    mcp: Option<capture::mcp::http::HttpProxy>,
    egress: Option<Egress>,
    addresses: Addresses,
    first_key: Option<NewKey>,
    stop: watch::Sender<bool>,
    witnessing: Option<Witnessing>,
    timestamping: Option<Timestamping>,
    publishing: Option<Publishing>,
    pulling: Option<Pulling>,
    evaluating: Option<Evaluating>,
    asking: Option<Asking>,
    listeners: Vec<JoinHandle<()>>,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not safe or not readable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory does not open.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The keys do not open.
    #[error(transparent)]
    Keys(#[from] ApiKeyError),
    /// The gateway cannot be made.
    #[error("gateway")]
    Gateway(#[from] capture::gateway::GatewayError),
    /// The proxies in front of MCP servers cannot be made.
    #[error(transparent)]
    Mcp(#[from] crate::mcp_proxies::McpError),
    /// The egress proxy cannot be made.
    #[error(transparent)]
    Egress(#[from] crate::egress_proxy::EgressProxyError),
    /// A listener cannot be bound.
    #[error("cannot listen on listen.{listener} = {address}: {source}; is another server running?")]
    Bind {
        /// Which listener.
        listener: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("tls: {0}")]
    Tls(std::io::Error),
    /// The key by which local commands know the server cannot be had.
    #[error("the key by which local commands know the server: {0}")]
    Proof(keys::KeysError),
    /// The client of the OpenID provider cannot be made.
    #[error("oidc: {0}")]
    Oidc(String),
    /// The run file cannot be written.
    #[error("run/api.json: {0}")]
    RunFile(std::io::Error),
}

/// The keys with which events may be sent, as virtual keys.
struct SensorKeys(Arc<ApiKeys>);

impl KeyChecker for SensorKeys {
    fn check(&self, secret: &str) -> Option<String> {
        self.0.check(secret).filter(|key| key.role.allows(Access::Send)).map(|key| key.id)
    }
}

impl Running {
    /// Opens the data directory and starts every listener.
    pub async fn start(data: &Path, root: &RootKeyPlace, config: &Config) -> Result<Self, StartError> {
        config.check()?;
        // Before anything else opens files.
        let connections_max = crate::descriptors::connections(CONNECTIONS_MAX);
        let acceptor = |of_clients: bool| {
            let tls = config.tls.as_ref().map(|tls| tls_acceptor(tls, of_clients));
            tls.transpose().map_err(StartError::Tls)
        };
        // People at the console sign in with a key; programs that send show a certificate where one is asked for.
        let (tls, tls_of_clients) = (acceptor(false)?, acceptor(true)?);
        let witnesses = crate::witnessing::policy_text(config)?;
        let node = Arc::new(Node::open(data, root, &config.node())?.with_witnesses(witnesses));
        let asking = SecondOpinion::start(node.pipeline(), config)?;
        let keys = Arc::new(ApiKeys::open(node.keyring().clone())?);
        let token = secrets::random::<32>().map_err(StartError::RunFile)?;
        let token = format!("wkrun_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token));
        let oidc = config.oidc.clone().map(|oidc| Provider::new(oidc).and_then(Oidc::new));
        let oidc = oidc.transpose().map_err(StartError::Oidc)?;
        let api = Api::new(node.clone(), keys.clone(), token.clone(), oidc);
        let api = Arc::new(api.map_err(StartError::Proof)?);

        let listen = &config.listen;
        let guard = |router: Router, address: SocketAddr| {
            let required = config.capture.require_key || !address.ip().is_loopback();
            http_api::refuse_browsers(if required { http_api::require_key(router, api.clone(), Access::Send) } else { router })
        };
        let virtual_keys = config.gateway.key.iter().map(|key| key.api_key.clone());
        let virtual_keys: std::collections::HashSet<String> = virtual_keys.collect();
        let guard_gateway = |router: Router, address: SocketAddr| {
            let required = config.capture.require_key || !address.ip().is_loopback();
            http_api::refuse_browsers(if required {
                http_api::require_gateway_key(router, api.clone(), virtual_keys.clone())
            } else {
                router
            })
        };
        for id in &virtual_keys {
            if keys.by_id(id).is_none_or(|key| !key.role.allows(Access::Send)) {
                tracing::warn!(
                    "gateway.key {id:?}: no API key with the role sensor has this id (any more), so nobody can call with it"
                );
            }
        }
        // Nobody's browser speaks gRPC.
        let known = |router: Router, address: SocketAddr| {
            if address.ip().is_loopback() { http_api::refuse_strange_hosts(router, config.known_hosts()) } else { router }
        };
        let recorder = node.recorder();
        let otlp = capture::otlp::Receiver::new(recorder.clone(), config.capture.otlp_limits());
        let gateway = capture::gateway::Config {
            upstreams: config.upstream.upstreams(),
            on_record_failure: if config.upstream.fail_open {
                capture::gateway::OnRecordFailure::FailOpen
            } else {
                capture::gateway::OnRecordFailure::FailClosed
            },
            policies: config.gateway.policies().map_err(ConfigError::from)?,
            virtual_keys: config.gateway.virtual_keys().map_err(ConfigError::from)?,
            limits: config.upstream.limits(),
        };
        let judge = Arc::new(PipelineGuard::new(node.pipeline().clone()));
        let sensors = Arc::new(SensorKeys(keys.clone()));
        let gateway = Gateway::guarded(recorder.clone(), gateway, Some(judge), Some(sensors.clone()))?;
        let egress = crate::egress_proxy::proxy(&node, config, sensors)?;
        let mcp = crate::mcp_proxies::proxies(&node, config)?;
        // In the order of `listen.all()`. What has no router is not bound.
        let routers = [
            Some(guard(otlp.grpc(), listen.otlp_grpc)),
            Some(known(guard(otlp.http(), listen.otlp_http), listen.otlp_http)),
            Some(known(guard_gateway(gateway.router(), listen.gateway), listen.gateway)),
            Some(known(http_api::router(api.clone()), listen.console)),
            mcp.as_ref().map(|mcp| known(guard(mcp.router(), listen.mcp), listen.mcp)),
            // It asks for keys itself: they come in another header. Pages cannot make a browser send what a proxy is sent.
            egress.as_ref().map(|egress| http_api::note_refused_by_proxy(admit_certificates(egress.router()), api.clone())),
        ];
        let trusted_proxies: Arc<[Network]> = listen.trusted_proxies.clone().into();
        let mut bound = Vec::new();
        let mut at = [None; 6];
        for (index, ((listener, address), router)) in listen.all().into_iter().zip(routers).enumerate() {
            let Some(router) = router else { continue };
            let tls = if listener == "console" { &tls } else { &tls_of_clients };
            let bind = |source| StartError::Bind { listener, address, source };
            let one = Listener::bind(address, router, tls.clone()).map_err(bind)?.at_most(connections_max);
            at[index] = Some(one.address().map_err(bind)?);
            let one = one.behind(trusted_proxies.clone());
            bound.push(if listener == "egress" { one.of_proxy() } else { one });
        }
        let of = |index: usize, asked: SocketAddr| at[index].unwrap_or(asked);
        let addresses = Addresses {
            otlp_grpc: of(0, listen.otlp_grpc),
            otlp_http: of(1, listen.otlp_http),
            gateway: of(2, listen.gateway),
            console: of(3, listen.console),
            mcp: at[4],
            egress: at[5],
        };

        // Made only when the server is sure to start: a key is shown once, and one that nobody saw is lost.
        let first_key = match keys.list().is_empty() {
            true => Some(keys.create("first administrator", Role::Admin, None)?),
            false => None,
        };
        // Local commands speak plain text on loopback: with TLS on the console they get a listener of their own, so that what
        // they read is recorded all the same.
        let mut local = addresses.console;
        if tls.is_some() {
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let bind = |source| StartError::Bind { listener: "local", address, source };
            // No page of a strange name reads from it through a browser, as from none of the others.
            let router = http_api::refuse_strange_hosts(http_api::router(api.clone()), config.known_hosts());
            let listener = Listener::bind(address, router, None).map_err(bind)?;
            local = listener.address().map_err(bind)?;
            bound.push(listener);
        }
        api.listens_at(local);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = |address: SocketAddr| format!("{scheme}://{address}");
        let listeners = Listeners {
            otlp_grpc: url(addresses.otlp_grpc),
            otlp_http: url(addresses.otlp_http),
            gateway: url(addresses.gateway),
            egress: addresses.egress.map(url),
        };
        if let Some(egress) = &egress {
            egress.protect(at.into_iter().flatten().chain([local]).collect());
        }
        let run = RunFile { pid: std::process::id(), console: local, token, listeners: Some(listeners) };
        run.write(node.data()).map_err(StartError::RunFile)?;
        resume_erasures(&node);
        let configuration = Configuration::of(config).map_err(NodeError::from)?;
        let changes = configuration.changes(node.keyring(), &Asker::of_process()).map_err(NodeError::from)?;
        if api.note_start(&addresses, first_key.as_ref().map(|key| &key.info), changes).await {
            configuration.keep(node.keyring()).map_err(NodeError::from)?;
        }
        crate::rules::keep(node.keyring(), &config.rules).map_err(NodeError::from)?;
        crate::intel::keep(node.keyring(), &config.intel).map_err(NodeError::from)?;
        let noting = node.clone();
        drop(tokio::task::spawn_blocking(move || noting.note_intel()).await);
        let witnessing = Witnessing::start(node.data().path(), config, node.others())?;
        let timestamping = Timestamping::start(node.data().path(), config, node.others())?;
        let publishing = Publishing::start(&node, config)?;
        let pulling = Pulling::start(node.data(), node.keyring(), config, node.others()).map_err(NodeError::from)?;
        let evaluating = Evaluating::start(&node, config)?;
        let (stop, stopped) = watch::channel(false);
        let listeners = bound.into_iter().map(|listener| tokio::spawn(listener.serve(stopped.clone()))).collect();
        Ok(Self {
            live: api.live().clone(),
            node,
            gateway,
            mcp,
            egress,
            addresses,
            first_key,
            stop,
            witnessing,
            timestamping,
            publishing,
            pulling,
            evaluating,
            asking,
            listeners,
        })
    }

    /// Where the listeners are.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The first administrator's key, when this start has made it. It is nowhere else.
    #[must_use]
    pub fn first_key(&self) -> Option<&NewKey> {
        self.first_key.as_ref()
    }

    /// The node behind the listeners.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Stops listening, lets requests and consumers finish, and closes the journal.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.stop.send_replace(true);
        // They are read by requests that the listeners would wait for.
        self.node.replays().stop();
        self.live.stop();
        for listener in self.listeners {
            drop(listener.await);
        }
        RunFile::remove(self.node.data());
        // Calls whose client has gone still record their outcome.
        if tokio::time::timeout(OUTCOMES_TIMEOUT, self.gateway.drained()).await.is_err() {
            tracing::warn!("some gateway calls were still under way; their outcome is not recorded");
        }
        drop(self.gateway);
        if let Some(mcp) = self.mcp
            && tokio::time::timeout(OUTCOMES_TIMEOUT, mcp.end()).await.is_err()
        {
            tracing::warn!("some MCP sessions were still under way; their end is not recorded");
        }
        if let Some(egress) = self.egress
            && tokio::time::timeout(OUTCOMES_TIMEOUT, egress.end()).await.is_err()
        {
            tracing::warn!("some calls through the egress proxy were still under way; their end is not recorded");
        }
        if let Some(pulling) = self.pulling {
            drop(tokio::task::spawn_blocking(move || pulling.stop()).await);
        }
        if let Some(evaluating) = self.evaluating {
            drop(tokio::task::spawn_blocking(move || evaluating.stop()).await);
        }
        // It records what is answered, and holds the pipeline.
        if let Some(asking) = self.asking {
            drop(tokio::task::spawn_blocking(move || asking.stop()).await);
        }
        let node = self.node;
        let pipeline = node.pipeline().clone();
        let noted = tokio::task::spawn_blocking(move || pipeline.record_blocking(vec![stop_event()], &|| true)).await;
        if !matches!(noted, Ok(Ok(_))) {
            tracing::error!("the stop of the server was not recorded");
        }
        let close = tokio::task::spawn_blocking(move || match Arc::try_unwrap(node) {
            Ok(node) => node.close(),
            // A request that outlived the drain still holds the node. What was acknowledged is on disk; the next start seals it.
            Err(node) if node.flush(HELD_TIMEOUT) => Ok(()),
            Err(_) => Err(NodeError::Consumer("a request was still under way; the next start goes on from there".to_owned())),
        });
        let closed = close.await.unwrap_or_else(|error| Err(NodeError::Consumer(error.to_string())));
        if let Some(timestamping) = self.timestamping {
            drop(tokio::task::spawn_blocking(move || timestamping.stop()).await);
        }
        if let Some(witnessing) = self.witnessing {
            drop(tokio::task::spawn_blocking(move || witnessing.stop()).await);
        }
        // Last: what the others brought is published, too.
        if let Some(publishing) = self.publishing {
            drop(tokio::task::spawn_blocking(move || publishing.stop()).await);
        }
        closed
    }
}

/// A caller who has shown a client certificate needs no key.
fn admit_certificates(router: Router) -> Router {
    router.layer(middleware::from_fn(|mut request: Request, next: Next| async move {
        if request.extensions().get::<ClientCertificate>().is_some() {
            request.extensions_mut().insert(Admitted);
        }
        next.run(request).await
    }))
}

/// Ends what was interrupted of erasures, beside the rest of the work.
fn resume_erasures(node: &Arc<Node>) {
    match node.has_interrupted_erasures() {
        Ok(false) => {}
        Ok(true) => {
            let node = node.clone();
            tokio::task::spawn_blocking(move || match node.resume_erasures() {
                Ok(ended) => tracing::info!(erasures = ended.len(), "erasures that were interrupted have come to their end"),
                Err(error) => tracing::error!(%error, "an interrupted erasure does not end; it goes on at the next start"),
            });
        }
        Err(error) => tracing::error!(%error, "whether an erasure was interrupted cannot be told"),
    }
}

fn stop_event() -> event::Event<String> {
    let mut event = internal(Kind::Admin, "server.stop");
    event.set(attr::EVENT_ACTION, "stop");
    event
}
