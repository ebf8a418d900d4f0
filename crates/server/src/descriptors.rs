//! File descriptors: every connection holds one, and the journal, the store and their consumers need some when nobody else has any
//! left.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the record keeps for itself: its files, and what opens them.
const RESERVE: u64 = 512;

/// The listeners among which the rest is shared.
const LISTENERS: u64 = 6;

/// Descriptors of one connection: its own, and the one to an upstream.
const OF_CONNECTION: u64 = 2;

/// Most descriptors that are asked for: each of six listeners with 4,096 connections, and those to upstreams.
const WANTED: u64 = 65_536;

/// Fewest connections of a listener, whatever the limit is.
const CONNECTIONS_MIN: u64 = 16;

/// Raises the limit of this process as far as it may, and says how many connections each listener may have: `wanted`, or fewer.
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = raise();
    let each = limit.saturating_sub(RESERVE) / (LISTENERS * OF_CONNECTION);
    let each = usize::try_from(each.max(CONNECTIONS_MIN)).unwrap_or(usize::MAX);
    if each < wanted {
        tracing::warn!(limit, each, "few file descriptors (ulimit -n): each listener takes fewer connections at once");
    }
    each.min(wanted)
}

fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // None at all means that nothing bounds them.
    let now = limit.current.unwrap_or(u64::MAX);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(WANTED);
    if now >= wanted {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors stays as it is");
            now
        }
    }
}

/// Whether an error says that no file can be opened because too many are open.
pub(crate) fn is_lacking(error: &io::Error) -> bool {
    files::is_out_of_descriptors(error)
}

/// Whether there are none at the moment: not every library passes on why it cannot open a file.
pub(crate) fn are_lacking() -> bool {
    std::fs::File::open("/dev/null").is_err_and(|error| is_lacking(&error))
}
