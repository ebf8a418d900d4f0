//! `watchkeeper hook AGENT`: a coding agent's hook. Reads its JSON, records it, and answers in the agent's words.
//!
//! Nothing of what the agent says is kept on a disk here. Between two hooks, which are two processes, a small file remembers the
//! permission modes of the last sessions (by a hash of their names) and how many events could not be delivered.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use client::{Client, Config, Loss, Losses};
use event::Verdict as Advice;
use hook::{Agent, BODY_BYTES_MAX, Call, Context, Decision, ModeChange, Step, Verdict};
use serde::{Deserialize, Serialize};

use crate::cli::{HookOptions, OnAway, OnFinding};
use crate::output::{complain, say};

/// Most sessions whose permission mode is remembered.
const SESSIONS_MAX: usize = 64;

/// Longest file that is read of what was remembered: 64 sessions take some 6 KiB.
const STATE_BYTES_MAX: u64 = 64 * 1024;

/// Longest text that is looked at before the agent goes on, in bytes. What is longer is looked at when it is recorded.
const SUBJECT_BYTES_MAX: usize = 1024 * 1024;

/// How much longer than one attempt a delivery may take: for what goes on here.
const MARGIN: Duration = Duration::from_millis(500);

/// Permission modes that are remembered by their names, which are no text of anybody's.
const MODES: [&str; 7] = ["default", "plan", "acceptEdits", "auto", "dontAsk", "bypassPermissions", "yolo"];

pub(super) fn hook(options: &HookOptions) -> anyhow::Result<ExitCode> {
    let agent: Agent = options.agent.parse()?;
    let mut input = Vec::new();
    std::io::stdin().lock().take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut input).context("standard input")?;
    let patience = Duration::from_millis(options.patience_ms);
    let mut config = match &options.dir {
        Some(dir) if std::env::var_os("WATCHKEEPER_URL").is_none() => Config::local(dir),
        _ => Config::find()?,
    };
    (config.deadline, config.attempt_timeout, config.is_patient) = (patience, patience, false);
    let client = Client::new(config)?;
    let memory = Memory::find();
    let call = match Call::read(agent, &input) {
        Ok(call) => call,
        Err(error) => {
            // That something happened is known, and what is not.
            let mut losses = Losses::default();
            losses.add(Loss::Refused, 1);
            client.report(losses);
            settle(&client, &memory, patience, 0);
            complain(&error.to_string());
            return Ok(ExitCode::from(1));
        }
    };
    client.report(memory.change(|state| std::mem::take(&mut state.losses)).unwrap_or_default());
    let (mut decision, mut is_away) = decide(options, &call, &client, patience);
    let change = memory.change(|state| state.mode_change(&call)).flatten();
    let events = call.events(&context(), change.as_ref(), &decision, &call.answer(&decision));
    let count = events.len() as u64;
    for event in events {
        // What there is no room for is counted.
        drop(client.submit(event));
    }
    is_away |= !settle(&client, &memory, patience, count);
    if is_away && options.when_away == OnAway::Deny {
        let reason = "Watchkeeper cannot record this, and its policy is that nothing goes on unrecorded".to_owned();
        decision = Decision { verdict: Verdict::Deny, reason };
    }
    let answer = call.answer(&decision);
    if !answer.stdout.is_empty() {
        say(&answer.stdout)?;
    }
    if !answer.stderr.is_empty() {
        complain(&answer.stderr);
    }
    Ok(ExitCode::from(answer.code))
}

/// What the policy makes of the call, and whether the server did not say.
fn decide(options: &HookOptions, call: &Call, client: &Client, patience: Duration) -> (Decision, bool) {
    let observes = options.on_warn == OnFinding::Observe && options.on_deny == OnFinding::Observe;
    let Some((text, channel)) = call.subject().filter(|_| !observes && call.is_decidable()) else {
        return (Decision::pass(), false);
    };
    let text = &text[..text.floor_char_boundary(SUBJECT_BYTES_MAX)];
    let scored = match client.inspect_blocking(text, channel, patience) {
        Ok(scored) => scored,
        Err(_) => return (Decision::pass(), true),
    };
    let wanted = match scored.verdict {
        Advice::Allow => OnFinding::Observe,
        Advice::Warn => options.on_warn,
        Advice::Deny => options.on_deny,
    };
    let verdict = match wanted {
        OnFinding::Observe => return (Decision::pass(), false),
        OnFinding::Ask => Verdict::Ask,
        OnFinding::Deny => Verdict::Deny,
    };
    let worst = scored.findings.iter().max_by(|one, other| one.score.total_cmp(&other.score));
    let what =
        worst.map_or_else(|| "a finding".to_owned(), |finding| format!("{} ({})", finding.risk.as_str(), finding.rule.as_str()));
    let reason = format!("Watchkeeper: {what}, score {:.2}", scored.score);
    (Decision { verdict, reason }, false)
}

/// Delivers what waits and remembers what could not be delivered. Says whether everything was.
fn settle(client: &Client, memory: &Memory, patience: Duration, count: u64) -> bool {
    let delivered = client.flush_blocking(patience + MARGIN).is_ok();
    let mut lost = client.losses();
    if lost.is_empty() && !delivered {
        // Nobody knows what became of them; they may be there all the same.
        lost.add(Loss::Unreachable, count);
    }
    let is_whole = lost.is_empty();
    if !is_whole {
        memory.change(|state| state.losses.join(lost));
    }
    is_whole
}

fn context() -> Context {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let uid = || std::fs::metadata("/proc/self").ok().map(|process| format!("uid:{}", process.uid()));
    let user = variable("USER").or_else(|| variable("LOGNAME")).or_else(uid);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    Context { user, host: host.or_else(|| variable("HOSTNAME")).filter(|name| !name.is_empty()) }
}

/// What is remembered between two hooks.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    losses: Losses,
    /// Hash of a session's name, and its permission mode; the newest last.
    modes: Vec<(String, String)>,
}

/// The file of what is remembered. Where there is no place for one, nothing is.
struct Memory(Option<PathBuf>);

impl State {
    /// Notes the mode of the call's session, and says how it changed.
    fn mode_change(&mut self, call: &Call) -> Option<ModeChange> {
        let session = call.session()?;
        let name = format!("{}\0{session}", call.agent().as_str());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
        let key = event::hex::encode(&digest.as_ref()[..16]);
        let before = self.modes.iter().position(|(known, _)| *known == key).map(|at| self.modes.remove(at).1);
        if call.step() == Step::SessionEnd {
            return None;
        }
        let now = match (call.permission_mode(), &before) {
            (Some(mode), _) if MODES.contains(&mode) => mode.to_owned(),
            (Some(_), _) => "other".to_owned(),
            (None, Some(before)) => before.clone(),
            (None, None) => return None,
        };
        self.modes.push((key, now.clone()));
        let over = self.modes.len().saturating_sub(SESSIONS_MAX);
        self.modes.drain(..over);
        before.filter(|before| *before != now).map(|from| ModeChange { from, to: now })
    }
}

impl Memory {
    fn find() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
        Self(base.map(|base| base.join("watchkeeper")))
    }

    /// Reads, changes and writes what is remembered, one process at a time. `None` when it cannot be kept.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Option<T> {
        let dir = self.0.as_ref()?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).ok()?;
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(dir.join("hook.lock")).ok()?;
        lock.lock().ok()?;
        let path = dir.join("hook.json");
        let mut state = read(&path).unwrap_or_default();
        let result = change(&mut state);
        write(&path, &state).ok()?;
        Some(result)
    }
}

fn read(path: &Path) -> Option<State> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(STATE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write(path: &Path, state: &State) -> std::io::Result<()> {
    let new = path.with_extension("json.tmp");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(state)?)?;
    std::fs::rename(new, path)
}
