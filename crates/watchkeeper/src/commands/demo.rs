//! `watchkeeper demo`: the whole way, from recorded sessions through the real listeners to detections.

mod replay;
mod sessions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use server::{Config, Running};
use store::{QueryLimits, Table};

use super::playing::StandIn;
use crate::cli::Root;
use crate::output::{say, table};
use sessions::Session;

/// How long detection, indexing and sealing may take after the last session.
const CATCH_UP: Duration = Duration::from_secs(60);

pub(super) fn demo(dir: Option<PathBuf>, root: &Root, exit: bool) -> anyhow::Result<ExitCode> {
    let data = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("watchkeeper-demo-{}", std::process::id())));
    let root = root.or(None)?;
    let sessions = sessions::all()?;
    super::serve::runtime()?.block_on(async {
        let stand_in = StandIn::start().await.context("stand-in upstream")?;
        let mut config = Config::default();
        config.upstream.openai = stand_in.base();
        config.upstream.anthropic = stand_in.base();
        let running = match Running::start(&data, &root, &config).await {
            Err(server::StartError::Bind { .. }) => {
                // The usual ports are taken, by a server that is running perhaps: leave it alone.
                config.listen = server::config::Listen::any_port();
                Running::start(&data, &root, &config).await?
            }
            started => started?,
        };
        let stop = super::serve::StopSignals::listen()?;
        super::serve::announce(&running, false)?;
        say("\nReplaying recorded sessions through the listeners (their model answers come from a stand-in on loopback):")?;
        for session in &sessions {
            replay::replay(session, &running.addresses(), &stand_in).await.with_context(|| session.title.clone())?;
            say(&format!("  {:<14} {}", session.via.as_str(), session.title))?;
        }
        report(&running, &sessions).await?;
        let console = running.addresses().console;
        if exit {
            running.stop().await?;
            say(&format!(
                "\nLook at it:\n  watchkeeper query --data {0} \"SELECT * FROM detections\"\n  watchkeeper trace --data {0} demo-invoice\n  watchkeeper verify {0}",
                data.display()
            ))?;
        } else {
            say(&format!("\nLook at it: http://{console} (sign in with the admin key above), or\n  watchkeeper query --data {0} \"SELECT * FROM detections\"\n  watchkeeper trace --data {0} demo-invoice\nCtrl-C ends it; then: watchkeeper verify {0}", data.display()))?;
            stop.wait().await;
            running.stop().await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn report(running: &Running, sessions: &[Session]) -> anyhow::Result<()> {
    let node = running.node().clone();
    let (recorded, detected) = tokio::task::spawn_blocking(move || -> anyhow::Result<(Table, Table)> {
        anyhow::ensure!(node.flush(CATCH_UP), "detection did not catch up: {}", node.stopped().unwrap_or_default());
        let reader = node.reader()?;
        let limits = QueryLimits::default();
        let recorded = reader.sql(
            "SELECT session_id AS session, count(*) AS events, sum(kind = 'model_call' AND phase != 'request') AS model_calls, \
             (SELECT count(*) FROM agent_actions AS action WHERE action.session_id = events.session_id) AS agent_actions, \
             sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens \
             FROM events WHERE session_id LIKE 'demo-%' AND kind != 'detection' GROUP BY session_id ORDER BY min(seq)",
            &limits,
        )?;
        let detected = reader.sql(
            "SELECT session_id AS session, severity, technique AS atlas, title, grade FROM detections \
             WHERE session_id LIKE 'demo-%' ORDER BY session_id, time",
            &limits,
        )?;
        Ok((recorded, detected))
    })
    .await??;
    say("\nRecorded:")?;
    table(&recorded, crate::cli::FormatName::Table)?;
    say("Detected:")?;
    table(&detected, crate::cli::FormatName::Table)?;
    let benign = sessions.iter().filter(|session| session.benign);
    for session in benign {
        say(&format!("{} is benign: nothing should stand above for it.", session.id))?;
    }
    let progress = running.node().progress();
    say(&format!("{} events on disk, {} sealed under signed checkpoints.", progress.recorded, progress.sealed))?;
    Ok(())
}
