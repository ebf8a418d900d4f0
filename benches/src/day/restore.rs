//! Lets the day leave the hot store, and brings an hour of it back from the archive.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use event::Timestamp;

use super::Program;
use super::reads::Server;
use crate::say;

/// How far the clock of the server is set ahead: the day is over then, and the clock is still believed.
const LATER: &str = "+3d";

/// Nothing stays in the hot store for longer than its day, and nothing in the journal: a day leaves when the archive has all of it.
const CONFIG: &str =
    "[archive]\nafter_minutes = 0\n[retention]\ndefault = \"brief\"\n[[retention.class]]\nname = \"brief\"\nhot_days = 0\n";

/// How long the day may take to leave: what the journal still holds is archived before.
const LEAVE: Duration = Duration::from_secs(600);

/// How often it is tried.
const SWEEP: Duration = Duration::from_secs(1);

/// What was brought back, and how long it took.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) records: u64,
    pub(super) time: Duration,
}

/// The records that were received between `from` and `to`. `None` where the clock cannot be set ahead for one program.
pub(super) fn restore(program: &Program, data: &Path, from: Timestamp, to: Timestamp) -> anyhow::Result<Option<Restored>> {
    let Some(library) = faketime() else {
        say("restore: not measured, for libfaketime is not there (Debian's package faketime)");
        return Ok(None);
    };
    let config = data.with_file_name("restore.toml");
    fs::write(&config, CONFIG)?;
    let options = [OsStr::new("--config"), config.as_os_str()];
    // A weaker policy is heeded after a day of grace: it is given before the clock goes ahead.
    Server::start(program.command(), data, &options)?.0.stop()?;
    let mut command = program.command();
    command.env("LD_PRELOAD", library).env("FAKETIME", LATER).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let (server, _, _) = Server::start(command, data, &options)?;
    // Its own clock says that today's day is over.
    let run = |arguments: &[&str]| -> anyhow::Result<Vec<u8>> {
        let output = program.command().args(arguments).arg("--data").arg(data).output()?;
        if !output.status.success() {
            bail!("watchkeeper {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(output.stdout)
    };
    let day = data.join("store").join(format!("{}.db", &from.rfc3339()[..10]));
    let began = Instant::now();
    loop {
        run(&["retention", "sweep"])?;
        if !day.exists() {
            break;
        }
        if began.elapsed() > LEAVE {
            bail!("{} is in the hot store still", day.display());
        }
        std::thread::sleep(SWEEP);
    }
    let began = Instant::now();
    let restored = run(&["restore", "--from", &from.rfc3339(), "--to", &to.rfc3339(), "--format", "json"])?;
    let time = began.elapsed();
    let restored: serde_json::Value = serde_json::from_slice(&restored)?;
    let records = restored["records"].as_u64().with_context(|| format!("restore: {restored}"))?;
    if records == 0 || !day.exists() {
        bail!("restore: {restored}");
    }
    server.stop()?;
    Ok(Some(Restored { records, time }))
}

/// The library for programs with threads; its directory is named after the machine.
fn faketime() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").ok()?;
    libraries.filter_map(Result::ok).map(|dir| dir.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}
