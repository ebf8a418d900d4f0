//! The gateways that are compared, each as its own documents say that it is run in production. What they need is installed by
//! `cargo xtask peers` from the pinned requirements in `benches/peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::load::Target;
use super::process::{Process, free_port, listens};

/// The model that is asked for, where a gateway gives it no name of its own.
const MODEL: &str = "stand-in";

const PATH: &str = "/v1/chat/completions";

/// Where things lie.
pub(super) struct Places {
    /// The program under test.
    pub(super) watchkeeper: PathBuf,
    /// An earlier build of it.
    pub(super) before: Option<PathBuf>,
    /// Environments of the peers.
    pub(super) environments: PathBuf,
    /// Requirements and configurations of the peers: `benches/peers`.
    pub(super) configurations: PathBuf,
    /// Data directories and logs.
    pub(super) scratch: PathBuf,
    /// The stand-in upstream.
    pub(super) upstream: u16,
}

/// What can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Watchkeeper as it comes: recording, inspection, fsync before the end of each answer
    Watchkeeper,
    /// Another build of it (`--before`), as it comes
    Before,
    /// The same with a policy that masks answers before they are handed out
    Masking,
    /// The Portkey gateway on Node
    Portkey,
    /// TensorZero's HTTP gateway out of its Python package
    Tensorzero,
    /// The LiteLLM proxy with one worker, as its documents recommend
    Litellm,
    /// The LiteLLM proxy with a worker for each of two cores
    LitellmTwo,
}

/// A gateway that listens.
pub(super) struct Gateway {
    pub(super) kind: Kind,
    pub(super) target: Target,
    pub(super) process: Process,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Watchkeeper => "Watchkeeper, all on",
            Self::Before => "Watchkeeper, the build before",
            Self::Masking => "Watchkeeper, masking answers",
            Self::Portkey => "Portkey",
            Self::Tensorzero => "TensorZero",
            Self::Litellm => "LiteLLM, 1 worker",
            Self::LitellmTwo => "LiteLLM, 2 workers",
        }
    }

    /// Whether it is ours, and its time is told by thread.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Watchkeeper | Self::Before | Self::Masking)
    }

    pub(super) fn start(self, places: &Places) -> anyhow::Result<Gateway> {
        let started = match self {
            Self::Watchkeeper => watchkeeper(places, &places.watchkeeper, "watchkeeper", ""),
            Self::Before => {
                let before = places.before.as_deref().context("--before says where it is")?;
                watchkeeper(places, before, "before", "")
            }
            Self::Masking => {
                let policy = "[[gateway.policy]]\nid = \"mask\"\nanswers = \"redact\"\non_guard_failure = \"closed\"\n";
                watchkeeper(places, &places.watchkeeper, "masking", policy)
            }
            Self::Portkey => portkey(places),
            Self::Tensorzero => tensorzero(places),
            Self::Litellm => litellm(places, 1),
            Self::LitellmTwo => litellm(places, 2),
        };
        let (target, process) = started.with_context(|| self.name())?;
        Ok(Gateway { kind: self, target, process })
    }
}

/// The stand-in, called without a gateway.
pub(super) fn direct(upstream: u16) -> anyhow::Result<Target> {
    Target::new(&format!("http://127.0.0.1:{upstream}"), PATH, &[], MODEL)
}

fn watchkeeper(places: &Places, binary: &Path, name: &str, more: &str) -> anyhow::Result<(Target, Process)> {
    let dir = places.scratch.join(name);
    fs::create_dir(&dir)?;
    let (port, console) = (free_port()?, free_port()?);
    let config = format!(
        "[listen]\notlp_grpc = \"127.0.0.1:{}\"\notlp_http = \"127.0.0.1:{}\"\ngateway = \"127.0.0.1:{port}\"\nconsole = \"127.0.0.1:{console}\"\n\
         [upstream]\nopenai = \"http://127.0.0.1:{}\"\n{more}",
        free_port()?,
        free_port()?,
        places.upstream
    );
    let path = dir.join("watchkeeper.toml");
    fs::write(&path, config)?;
    let mut command = Command::new(binary);
    command.arg("serve").arg("--data").arg(dir.join("data")).arg("--config").arg(path);
    command.env("WATCHKEEPER_ROOT_KEY", dir.join("root.key"));
    let process = listening(places, name, command, console)?;
    Ok((Target::new(&format!("http://127.0.0.1:{port}"), PATH, &[], MODEL)?, process))
}

fn portkey(places: &Places) -> anyhow::Result<(Target, Process)> {
    let port = free_port()?;
    let script = places.environments.join("portkey/node_modules/@portkey-ai/gateway/build/start-server.js");
    let mut command = Command::new("node");
    command.arg(script).arg(format!("--port={port}")).arg("--headless").env("NODE_ENV", "production");
    let process = listening(places, "portkey", command, port)?;
    let headers =
        ["x-portkey-provider: openai".to_owned(), format!("x-portkey-custom-host: http://127.0.0.1:{}/v1", places.upstream)];
    Ok((Target::new(&format!("http://127.0.0.1:{port}"), PATH, &headers, MODEL)?, process))
}

fn tensorzero(places: &Places) -> anyhow::Result<(Target, Process)> {
    let own = places.configurations.join("tensorzero");
    let config = configured(places, &own.join("tensorzero.toml"), "tensorzero.toml")?;
    let mut command = Command::new(places.environments.join("tensorzero/bin/python"));
    command.arg(own.join("serve.py")).arg(config).env("TENSORZERO_DISABLE_PSEUDONYMOUS_USAGE_ANALYTICS", "1");
    let log = places.scratch.join("tensorzero.log");
    let mut process = Process::start(command, &log)?;
    // It chooses its port itself.
    let url = process.wait_for(&log, || {
        let said = fs::read_to_string(&log).ok()?;
        said.lines().find_map(|line| Some(line.strip_prefix("listening: ")?.trim_end_matches('/').to_owned()))
    })?;
    Ok((Target::new(&url, "/chat/completions", &[], "tensorzero::model_name::stand-in")?, process))
}

fn litellm(places: &Places, workers: u32) -> anyhow::Result<(Target, Process)> {
    let name = format!("litellm-{workers}");
    let config = configured(places, &places.configurations.join("litellm/config.yaml"), &format!("{name}.yaml"))?;
    let port = free_port()?;
    let mut command = Command::new(places.environments.join("litellm/bin/litellm"));
    command.arg("--config").arg(config).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--num_workers", &workers.to_string()]);
    command.envs([("LITELLM_MODE", "PRODUCTION"), ("LITELLM_LOG", "ERROR"), ("LITELLM_LOCAL_MODEL_COST_MAP", "True")]);
    let process = listening(places, &name, command, port)?;
    let headers = ["authorization: Bearer sk-bench".to_owned()];
    Ok((Target::new(&format!("http://127.0.0.1:{port}"), PATH, &headers, MODEL)?, process))
}

/// A configuration with the upstream's address in it.
fn configured(places: &Places, template: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let text = fs::read_to_string(template).with_context(|| template.display().to_string())?;
    let path = places.scratch.join(name);
    fs::write(&path, text.replace("@UPSTREAM@", &format!("http://127.0.0.1:{}", places.upstream)))?;
    Ok(path)
}

fn listening(places: &Places, name: &str, command: Command, port: u16) -> anyhow::Result<Process> {
    let log = places.scratch.join(format!("{name}.log"));
    let mut process = Process::start(command, &log)?;
    process.wait_for(&log, || listens(port).then_some(()))?;
    Ok(process)
}
