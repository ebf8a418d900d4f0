//! Bringing records back from the archive into the hot store, for an old case.

use std::collections::BTreeSet;
use std::time::Duration;

use event::{Timestamp, attr};
use keys::Keyring;
use serde::Serialize;

use super::lifecycle_event;
use super::noted_days::{NotedDays, NotedDaysError};
use crate::asker::Asker;
use crate::consumers::StoreJob;
use crate::node::Node;

/// How long it may take: a day of ten million events is a quarter of an hour's work.
const WITHIN: Duration = Duration::from_secs(3_600);

/// The days that were brought back, and until when each stays.
const RESTORED: NotedDays = NotedDays("days that were restored");

/// How long they stay: a week.
const STAYS_NS: u64 = 7 * 86_400 * 1_000_000_000;

const DAY_NS: u64 = 86_400 * 1_000_000_000;

/// Most days of which it is told what became: a hundred years.
const DAYS_MAX: u64 = 36_525;

/// What was brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The days that queries see again.
    pub days: Vec<String>,
    /// How many records.
    pub records: u64,
    /// Days of that time that the hot store had already.
    pub there: Vec<String>,
    /// How many days of that time have no record, neither there nor in the archive.
    pub without: u64,
}

/// Why nothing was brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The times exclude each other.
    #[error("from must be before to")]
    Times,
    /// It cannot be recorded.
    #[error("the restore cannot be recorded: {0}")]
    Record(#[from] capture::RecordError),
    /// The list of days that were brought back.
    #[error(transparent)]
    Days(#[from] NotedDaysError),
    /// The archive or the store.
    #[error("{0}")]
    Store(String),
}

impl Node {
    /// Brings the records that were received between `from` and `to` back into the hot store, where their days have left it. A
    /// day that is brought back in parts has what lies between them, too. They stay for
    /// a week.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn restore(&self, asker: &Asker, from: Timestamp, to: Timestamp) -> Result<Restored, RestoreError> {
        if from >= to {
            return Err(RestoreError::Times);
        }
        let mut event = lifecycle_event("archive.restore", "read", &format!("{} to {}", from.rfc3339(), to.rfc3339()));
        asker.sign(&mut event);
        event.set(attr::EVENT_OUTCOME, "success");
        self.pipeline().record_blocking(vec![event], &|| true)?;
        let wanted = days_between(from, to);
        let had = store::days(self.data().path()).map_err(|error| RestoreError::Store(error.to_string()))?;
        let there: Vec<String> = wanted.intersection(&had).cloned().collect();
        let (done, waits) = std::sync::mpsc::channel();
        self.consumers().ask(StoreJob::Restore { from, to, done });
        match waits.recv_timeout(WITHIN) {
            Ok(outcome) => {
                let restored = outcome.map_err(RestoreError::Store)?;
                note(self.keyring(), &restored.days, Timestamp::now())?;
                let found = restored.days.iter().chain(&there).filter(|day| wanted.contains(*day)).count();
                let without = wanted.len().saturating_sub(found) as u64;
                Ok(Restored { there, without, ..restored })
            }
            Err(_) => Err(RestoreError::Store("the archive could not be read in time; try a shorter time".to_owned())),
        }
    }
}

/// The days of a time.
fn days_between(from: Timestamp, to: Timestamp) -> BTreeSet<String> {
    let (first, last) = (from.unix_ns() / DAY_NS, to.unix_ns().saturating_sub(1) / DAY_NS);
    // Somebody may ask for everything: what is not of this record's time needs no name.
    (first..=last.min(first + DAYS_MAX)).map(|day| store::day_of(day * DAY_NS)).collect()
}

/// The days that were brought back and stay.
pub(crate) fn restored(keyring: &Keyring, now: Timestamp) -> Result<BTreeSet<String>, NotedDaysError> {
    Ok(RESTORED.read(keyring)?.into_iter().filter(|(_, until)| *until > now).map(|(day, _)| day).collect())
}

fn note(keyring: &Keyring, days: &[String], now: Timestamp) -> Result<(), NotedDaysError> {
    let until = Timestamp::from_unix_ns(now.unix_ns().saturating_add(STAYS_NS));
    RESTORED.change(keyring, |restored| {
        restored.retain(|_, until| *until > now);
        restored.extend(days.iter().map(|day| (day.clone(), until)));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::DataDir;
    use crate::root_key::{RootKeyPlace, open_keyring};

    #[test]
    fn days_stay_for_a_week_and_for_another_when_they_are_restored_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = open_keyring(&data, &RootKeyPlace::new(Some(&dir.path().join("root.key"))).unwrap()).unwrap().0;
        let at = |days: u64| Timestamp::from_unix_ns(days * DAY_NS);
        let stay = |now: u64| restored(&keyring, at(now)).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(stay(0), Vec::<String>::new());
        note(&keyring, &["2026-03-01".to_owned(), "2026-03-02".to_owned()], at(100)).unwrap();
        note(&keyring, &["2026-03-02".to_owned()], at(103)).unwrap();
        assert_eq!(stay(106), ["2026-03-01", "2026-03-02"]);
        assert_eq!(stay(107), ["2026-03-02"]);
        note(&keyring, &[], at(111)).unwrap();
        assert_eq!(RESTORED.read(&keyring).unwrap().len(), 0, "what is over is forgotten");
        keyring.put_named(RESTORED.0, b"of another version").unwrap();
        assert!(note(&keyring, &["2026-03-03".to_owned()], at(111)).is_err() && restored(&keyring, at(0)).is_err());
        assert_eq!(keyring.named(RESTORED.0).unwrap().unwrap()[..], *b"of another version");
    }
}
