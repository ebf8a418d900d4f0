//! `watchkeeper serve`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use server::{Config, Node, Running};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Data;
use crate::output::say;

pub(super) fn serve(data: &Data, config: Option<&Path>, any_port: bool) -> anyhow::Result<ExitCode> {
    let mut config = config.map_or_else(|| Ok(Config::default()), Config::read)?;
    if any_port {
        let server::config::Listen { hosts, trusted_proxies, .. } = config.listen;
        config.listen = server::config::Listen { hosts, trusted_proxies, ..server::config::Listen::any_port() };
    }
    let (data, root) = (data.path()?, data.root.or(config.keys.root.as_deref())?);
    runtime()?.block_on(async {
        let stop = StopSignals::listen()?;
        let hangups = signal(SignalKind::hangup())?;
        let running = Running::start(&data, &root, &config).await?;
        announce(&running, config.tls.is_some())?;
        tokio::select! {
            () = stop.wait() => {}
            () = reload_at(hangups, running.node()) => {}
        }
        say("stopping: finishing what is under way")?;
        running.stop().await?;
        say("stopped; everything recorded is sealed")?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Reads the signatures, the rules and the indicators anew at each SIGHUP. It never ends by itself.
async fn reload_at(mut hangups: Signal, node: &Arc<Node>) {
    while hangups.recv().await.is_some() {
        let node = node.clone();
        let reload = move || {
            node.reload_signatures(&server::Asker::of_process());
            node.reload_rules(&server::Asker::of_process());
            node.reload_intel(&server::Asker::of_process());
        };
        drop(tokio::task::spawn_blocking(reload).await);
    }
    std::future::pending().await
}

/// The runtime of the listeners: one thread a core.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the network threads")
}

/// Says where everything is, and the first key if there is one.
pub(super) fn announce(running: &Running, tls: bool) -> anyhow::Result<()> {
    let addresses = running.addresses();
    let scheme = if tls { "https" } else { "http" };
    for note in running.node().notes() {
        say(&format!("note: {note}"))?;
    }
    say(&format!("record     {}", running.node().data().path().display()))?;
    say(&format!("OTLP/gRPC  {scheme}://{}", addresses.otlp_grpc))?;
    say(&format!("OTLP/HTTP  {scheme}://{}", addresses.otlp_http))?;
    say(&format!("gateway    {scheme}://{}", addresses.gateway))?;
    if let Some(mcp) = addresses.mcp {
        say(&format!("MCP        {scheme}://{mcp}"))?;
    }
    if let Some(egress) = addresses.egress {
        say(&format!("egress     {scheme}://{egress}"))?;
    }
    say(&format!("console    {scheme}://{}", addresses.console))?;
    if let Some(key) = running.first_key() {
        say(&format!(
            "\nadmin key  {}\n           shown this once; it signs in at the console. More: watchkeeper keys create",
            key.secret
        ))?;
    }
    say("ready")?;
    Ok(())
}

/// Ctrl-C and SIGTERM. Listened for before the start: whoever waits for the run file or for `ready` may send one at once, and a
/// start that was asked to stop ends as every stop does, with the record closed.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on the signals no longer end the process by themselves.
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(super) async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
