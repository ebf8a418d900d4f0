//! Each system call of the way to the disk fails, or is the process's last one: `strace` injects the fault, the invariants are
//! checked on what is left, and a server without a fault must go on from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::faults::{CONFIG, Rng, Trail, has_stopped, seed, setting};
use crate::support::{Server, Starting};
use crate::volume::{has_program, skip};

/// The calls by which something comes to be on a disk, is named there or is read back from it.
const CALLS: &str =
    "openat,write,pwrite64,fdatasync,fsync,rename,ftruncate,fallocate,mkdir,unlink,rmdir,chmod,flock,pread64,fcntl,mmap";

/// Faults in the ordinary suite. `WATCHKEEPER_SYSCALL_FAULTS` sets another number; 0 is every one (`cargo xtask syscalls`).
const FAULTS: u64 = 6;

/// Faults after which a new data directory is begun, so that a check stays short.
const FAULTS_OF_A_DIRECTORY: u64 = 10;

/// How long the load runs in one life.
const LOAD: Duration = Duration::from_millis(120);

/// How long a server may take to end after it was asked to: less than systemd waits (90 s). SQLite tries for 10 s to get a lock that
/// fails, in each consumer that needs a key.
const PATIENCE: Duration = Duration::from_secs(80);

/// One fault: the call, which one of a thread's calls, what happens, and whether the directory is new.
#[derive(Debug, Clone)]
struct Fault {
    call: String,
    when: u64,
    what: &'static str,
    fresh: bool,
}

struct Bench {
    dir: tempfile::TempDir,
    config: PathBuf,
    log: PathBuf,
    data: PathBuf,
    trail: Trail,
}

impl Bench {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let config = dir.path().join("watchkeeper.toml");
        std::fs::write(&config, CONFIG).unwrap();
        Self { config, log: dir.path().join("server.log"), data: dir.path().join("data"), trail: Trail::new("syscalls"), dir }
    }

    fn start(&self, under: &[String]) -> Result<Server, String> {
        Starting::spawn_with(&self.data, &self.config, &self.log, under).ready()
    }

    /// Begins a new data directory.
    fn renew(&mut self) {
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data).unwrap();
        }
        drop(std::fs::remove_file(&self.log));
        self.trail = Trail::new("syscalls");
    }

    /// One life with a fault, and one without.
    fn endure(&self, fault: &Fault) -> Result<(), String> {
        let inject = format!("inject={}:{}:when={}", fault.call, fault.what, fault.when);
        let under = strace(&["-o", "/dev/null", "-e", &format!("trace={}", fault.call), "-e", &inject]);
        // A start that fails is an answer; one that never ends is none.
        match self.start(&under) {
            Ok(server) => {
                self.trail.under_load(&server, || std::thread::sleep(LOAD));
                let ended = server.end(PATIENCE);
                // `write` also wakes the network's threads; their runtime panics when that fails. It counts as killed then.
                if ended.is_none() && !std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains("/tokio-")) {
                    return Err("it does not end when it is asked to".to_owned());
                }
            }
            Err(why) if why.contains("does not get ready") => return Err(why),
            Err(_) => {}
        }
        if self.trail.acknowledged() > 0 {
            self.trail.check(&self.data).map_err(|why| format!("as the fault left it: {why}"))?;
        }
        let server = self.start(&[]).map_err(|why| format!("the next start: {why}"))?;
        let answer = self.trail.send(&server, 2);
        if answer.status != 200 {
            return Err(format!("the next start does not record: {}", answer.head));
        }
        let status = server.end(PATIENCE).ok_or("the next start does not end when it is asked to")?;
        if !status.success() {
            return Err(format!("the next start ends with {status}"));
        }
        self.trail.check_settled(&self.data).map_err(|why| format!("after the next start: {why}")).map(drop)
    }
}

#[test]
fn every_call_may_fail_or_be_the_last() {
    if !can_trace("syscalls::every_call_may_fail_or_be_the_last") {
        return;
    }
    let began = Instant::now();
    let mut bench = Bench::new();
    let mut faults = faults(&calls(&bench));
    bench.renew();
    let all = faults.len();
    // The order is a seed's, so that a part of them is a fair sample.
    let mut rng = Rng::new(seed());
    for at in (1..faults.len()).rev() {
        faults.swap(at, rng.index(at + 1));
    }
    match setting("WATCHKEEPER_SYSCALL_FAULTS", FAULTS) {
        0 => {}
        some => faults.truncate(usize::try_from(some).unwrap()),
    }
    let (mut failed, mut of_directory, mut acknowledged) = (Vec::new(), 0, 0);
    for fault in &faults {
        if fault.fresh || of_directory == FAULTS_OF_A_DIRECTORY {
            acknowledged += bench.trail.acknowledged();
            bench.renew();
            of_directory = 0;
        }
        of_directory += 1;
        if let Err(why) = bench.endure(fault) {
            println!("{fault:?}: {why}\n{}", last_lines(&bench.log));
            failed.push(format!("{fault:?}: {why}"));
            bench.renew();
        }
    }
    acknowledged += bench.trail.acknowledged();
    println!(
        "syscalls: {} of {all} faults, seed {}, {acknowledged} spans acknowledged, {:.2} s a fault",
        faults.len(),
        seed(),
        began.elapsed().as_secs_f64() / faults.len() as f64
    );
    assert!(failed.is_empty(), "seed {}: {} faults were not endured:\n{}", seed(), failed.len(), failed.join("\n"));
}

/// After one failed fsync the kernel may have dropped what it could not write and call the next one good: nothing may be
/// acknowledged any more.
#[test]
fn a_failed_fsync_ends_the_writing_for_good() {
    if !can_trace("syscalls::a_failed_fsync_ends_the_writing_for_good") {
        return;
    }
    let bench = Bench::new();
    bench.start(&[]).unwrap().stop();
    let segment = bench.data.join("journal/00000000000000000000.wkj");
    let under = strace(&[
        "-o",
        "/dev/null",
        "-P",
        segment.to_str().unwrap(),
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:error=EIO:when=6",
    ]);
    let server = bench.start(&under).unwrap();
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(bench.trail.send(&server, 3));
        bench.trail.witness(&bench.data);
    }
    let good = answers.iter().take_while(|answer| answer.status == 200).count();
    assert!((1..20).contains(&good), "{good} batches before the fault");
    for answer in &answers[good..] {
        assert!(answer.status >= 500 && has_stopped(answer), "{}", answer.head);
    }
    server.end(PATIENCE).unwrap();
    bench.trail.check(&bench.data).unwrap();
    bench.start(&[]).unwrap().stop();
    bench.trail.check_settled(&bench.data).unwrap();
    println!("{good} batches were acknowledged before the fsync that failed, none of {} after it", answers.len() - good);
}

/// How many of each call one thread makes in one life on a new directory.
fn calls(bench: &Bench) -> BTreeMap<String, u64> {
    let trace = bench.dir.path().join("trace");
    let server = bench.start(&strace(&["-o", trace.to_str().unwrap(), "-e", &format!("trace={CALLS}")])).unwrap();
    bench.trail.under_load(&server, || std::thread::sleep(LOAD));
    assert!(server.end(PATIENCE).is_some_and(|status| status.success()));
    let mut of_threads: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in std::fs::read_to_string(trace).unwrap().lines() {
        if let Some((thread, rest)) = line.split_once(' ')
            && let Some((call, _)) = rest.trim_start().split_once('(')
            && CALLS.split(',').any(|known| known == call)
        {
            *of_threads.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((call, _), count) in of_threads {
        let known: &mut u64 = most.entry(call).or_default();
        *known = count.max(*known);
    }
    assert!(most.len() >= 12, "{most:?}");
    most
}

fn faults(calls: &BTreeMap<String, u64>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (call, count) in calls {
        for when in 1..=*count {
            for what in ["error=EIO", "signal=KILL"] {
                for fresh in [true, false] {
                    faults.push(Fault { call: call.clone(), when, what, fresh });
                }
            }
        }
    }
    faults
}

/// The server stays our own child (`-D`), and only the calls of interest are stopped at.
pub(crate) fn strace(arguments: &[&str]) -> Vec<String> {
    ["strace", "-f", "-D", "-qq", "--seccomp-bpf"].iter().chain(arguments).map(|&argument| argument.to_owned()).collect()
}

pub(crate) fn can_trace(test: &str) -> bool {
    let can = has_program("strace")
        && std::process::Command::new("strace")
            .args(["-qq", "-e", "trace=none", "true"])
            .status()
            .is_ok_and(|status| status.success());
    if !can {
        skip(test, "strace is not there or may not trace");
    }
    can
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("ERROR") || line.contains("WARN") || line.contains("panicked")).collect();
    lines[lines.len().saturating_sub(6)..].join("\n")
}
