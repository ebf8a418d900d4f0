//! `watchkeeper witness`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use server::config::Tls;
use server::witness::{WitnessOptions, WitnessServer};

use super::serve::{StopSignals, runtime};
use crate::cli::Witness;
use crate::output::say;

pub(super) fn witness(command: Witness) -> anyhow::Result<ExitCode> {
    let Witness::Serve { listen, state, name, log, certificate, key } = command;
    let tls = certificate.zip(key).map(|(certificate, key)| Tls { certificate, key, client_ca: None });
    serve(listen, state, name, &log, tls)
}

fn serve(
    listen: SocketAddr,
    state: PathBuf,
    name: Option<String>,
    logs: &[String],
    tls: Option<Tls>,
) -> anyhow::Result<ExitCode> {
    let mut keys = Vec::new();
    for log in logs {
        let text = std::fs::read_to_string(log).unwrap_or_else(|_| log.clone());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            keys.push(line.parse().context("--log")?);
        }
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    runtime()?.block_on(async {
        let server = WitnessServer::start(WitnessOptions { listen, tls, state, name, logs: keys }).await?;
        let stop = StopSignals::listen()?;
        say(&format!("witness    {scheme}://{}", server.address()))?;
        for key in server.verifiers() {
            say(&format!("vkey       {key}"))?;
        }
        say("ready")?;
        stop.wait().await;
        server.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
