//! A full disk is a state that ends, and so are too many open files: what does not get its room waits for it, and goes on from what is
//! durable.

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::descriptors;

/// Why a consumer ends.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// How soon a consumer looks again whether there is room.
const RETRY: Duration = Duration::from_millis(500);

/// How long it sleeps at a time, so that a stop need not wait for it.
const STEP: Duration = Duration::from_millis(50);

/// SQLite's name for "the index of the write-ahead log could not be made longer" (`SQLITE_IOERR_SHMSIZE`).
const SHM_SIZE: i32 = 4874;

/// Whether an error, or what caused it, says that the disk has no room, or that too many files are open.
pub(crate) fn is_lacking(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|cause| {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
                || descriptors::is_lacking(error);
        }
        match cause.downcast_ref::<rusqlite::Error>() {
            Some(rusqlite::Error::SqliteFailure(error, _)) => {
                error.code == rusqlite::ErrorCode::DiskFull
                    || error.extended_code == SHM_SIZE
                    // SQLite does not say why.
                    || (error.code == rusqlite::ErrorCode::CannotOpen && descriptors::are_lacking())
            }
            _ => false,
        }
    })
}

/// Runs a consumer, and runs it anew when all that it lacks is room. Each run must begin from what is durable: what a failed
/// one had in memory may speak of things that never came to the disk.
pub(crate) fn when_there_is_room(
    name: &str,
    stopping: &dyn Fn() -> bool,
    mut run: impl FnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let error = match run() {
            Err(error) if !stopping() => error,
            other => return other,
        };
        if !is_lacking(&*error) {
            return Err(error);
        }
        tracing::warn!(consumer = name, %error, "no room on the disk or for open files; this goes on when there is");
        for _ in 0..RETRY.as_millis() / STEP.as_millis() {
            if stopping() {
                break;
            }
            std::thread::sleep(STEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_found_below_what_failed() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(is_lacking(&full()));
        assert!(is_lacking(&io::Error::from(rustix::io::Errno::MFILE)));
        assert!(is_lacking(&ledger::LedgerError::File { path: "tile".into(), source: full() }));
        assert!(is_lacking(&journal::CursorError::Io { path: "cursor".into(), error: full() }));
        assert!(!is_lacking(&io::Error::other("broken")));
    }

    #[test]
    fn a_run_without_room_is_run_again_and_another_failure_is_told() {
        let mut runs = 0;
        let outcome = when_there_is_room("test", &|| false, || {
            runs += 1;
            match runs {
                1 => Err(io::Error::from(io::ErrorKind::StorageFull).into()),
                _ => Err(io::Error::other("broken").into()),
            }
        });
        assert_eq!((runs, outcome.unwrap_err().to_string().as_str()), (2, "broken"));
        assert!(when_there_is_room("test", &|| true, || Err(io::Error::from(io::ErrorKind::StorageFull).into())).is_err());
    }
}
