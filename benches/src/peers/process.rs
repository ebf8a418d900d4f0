//! A gateway under test: started, watched, stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};

use crate::usage;

/// How long a gateway may take until it listens: the slowest loads for minutes on a busy machine.
const START: Duration = Duration::from_secs(600);

/// How long it may take to end.
const STOP: Duration = Duration::from_secs(30);

/// How long work that a gateway left for later may take.
const SETTLE: Duration = Duration::from_secs(60);

/// A gateway is at rest when it uses at most one tick of CPU time (10 ms) in so long.
const REST: Duration = Duration::from_millis(400);

/// A process and all that it starts. Ended when it is dropped.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command. What it says goes to a file `log`.
    pub(super) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        // A group of its own, so that what it starts ends with it.
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("{:?} does not start", command.get_program()))?;
        Ok(Self { child })
    }

    /// Waits until `found` gives something; the log says why it does not.
    pub(super) fn wait_for<T>(&mut self, log: &Path, mut found: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + START;
        loop {
            if let Some(found) = found() {
                return Ok(found);
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let from = said.char_indices().rev().nth(2_000).map_or(0, |(at, _)| at);
                bail!("it does not listen ({ended:?}); {} ends with:\n{}", log.display(), &said[from..]);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn cpu(&self) -> Duration {
        usage::cpu(&usage::tree(self.id()))
    }

    pub(super) fn resident(&self) -> u64 {
        usage::resident(&usage::tree(self.id()))
    }

    pub(super) fn cpu_by_thread(&self) -> anyhow::Result<BTreeMap<String, Duration>> {
        usage::cpu_by_thread(&self.id().to_string())
    }

    /// Waits until it has done what it left for later.
    pub(super) fn settle(&self) {
        let until = Instant::now() + SETTLE;
        let mut before = self.cpu();
        while Instant::now() < until {
            std::thread::sleep(REST);
            let now = self.cpu();
            if now.saturating_sub(before) <= Duration::from_millis(10) {
                return;
            }
            before = now;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let tell = |signal| group.map(|group| rustix::process::kill_process_group(group, signal));
        tell(Signal::TERM);
        let until = Instant::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        // What the first process left behind, too.
        tell(Signal::KILL);
        drop(self.child.wait());
    }
}

/// A port of loopback that nobody has just now.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Whether somebody listens on a port of loopback.
pub(super) fn listens(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1)).is_ok()
}
