//! What processes and their threads use, from Linux's /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

/// Time of one tick of /proc/PID/stat: 100 a second on every Linux that is not built otherwise.
const TICK: Duration = Duration::from_millis(10);

/// What one line of `stat` says.
struct Stat {
    name: String,
    parent: u32,
    cpu: Duration,
}

/// User and system time of a process's threads, added up by name. `process`: its id, or `self`.
pub(crate) fn cpu_by_thread(process: &str) -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut times = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task")).context("CPU time is read from Linux's /proc")? {
        // A thread may end while it is looked at.
        let Some(stat) = stat(&task?.path()) else { continue };
        *times.entry(stat.name).or_default() += stat.cpu;
    }
    Ok(times)
}

/// What was used by name between two looks.
pub(crate) fn spent(before: &BTreeMap<String, Duration>, after: BTreeMap<String, Duration>) -> BTreeMap<String, Duration> {
    let since = |(name, cpu): (String, Duration)| {
        let spent = cpu.saturating_sub(before.get(&name).copied().unwrap_or_default());
        (!spent.is_zero()).then_some((name, spent))
    };
    after.into_iter().filter_map(since).collect()
}

/// A process and all that came of it.
pub(crate) fn tree(root: u32) -> BTreeSet<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: BTreeMap<u32, u32> = ids.filter_map(|id| Some((id, stat(&format!("/proc/{id}"))?.parent))).collect();
    let mut tree = BTreeSet::from([root]);
    loop {
        let more: Vec<u32> =
            parents.iter().filter(|(id, parent)| tree.contains(parent) && !tree.contains(id)).map(|(id, _)| *id).collect();
        if more.is_empty() {
            return tree;
        }
        tree.extend(more);
    }
}

/// User and system time of processes. One that has ended counts no more.
pub(crate) fn cpu(processes: &BTreeSet<u32>) -> Duration {
    processes.iter().filter_map(|id| Some(stat(&format!("/proc/{id}"))?.cpu)).sum()
}

/// Resident memory of processes in bytes. A page that several share counts once between them (`Pss`).
pub(crate) fn resident(processes: &BTreeSet<u32>) -> u64 {
    let of = |id: &u32| {
        let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    processes.iter().filter_map(of).sum::<u64>() * 1024
}

fn stat(of: &(impl AsRef<Path> + ?Sized)) -> Option<Stat> {
    let line = std::fs::read_to_string(of.as_ref().join("stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let (before, fields) = line.rsplit_once(')')?;
    let name = before.split_once('(').map_or("", |(_, name)| name).to_owned();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // Behind the name: state, parent, and nine numbers before user and system time.
    let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(Stat { name, parent: number(1)?, cpu: TICK * (number(11)? + number(12)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_ours_is_found_and_measured() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let own = tree(std::process::id());
        let child_tree = tree(child.id());
        let memory = resident(&child_tree);
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(own.contains(&child.id()) && own.len() > child_tree.len());
        assert_eq!(child_tree, BTreeSet::from([child.id()]));
        assert!(memory > 0);
    }

    #[test]
    fn time_of_threads_adds_up() {
        let threads = cpu_by_thread("self").expect("/proc is there");
        assert!(!threads.is_empty());
        let later = threads.iter().map(|(name, cpu)| (name.clone(), *cpu + TICK)).collect();
        assert!(spent(&threads, later).values().all(|spent| *spent == TICK));
        assert!(spent(&threads, threads.clone()).is_empty());
    }
}
