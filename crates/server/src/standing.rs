//! How the watch stands: what an operator looks at to see that the record is still sealed, witnessed, stamped and archived.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use event::Timestamp;
use journal::Seq;
use ledger::{Checkpoint, SignedNote};
use serde::Serialize;
use store::{Latest, QueryError, Reader};
use utoipa::ToSchema;

use crate::data_dir::DataDir;
use crate::lifecycle::cold::archive_of;
use crate::log_keys::key_chain;
use crate::publishing;
use crate::watchman;

/// How the watch stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Standing {
    /// The newest checkpoint.
    pub checkpoint: Option<Reached>,
    /// The newest checkpoint that witnesses countersigned.
    pub witnessed: Option<Reached>,
    /// How many cosignatures that one has.
    pub cosignatures: usize,
    /// What went wrong last with each witness, as long as the server runs.
    pub witness_failures: Vec<Failure>,
    /// The newest checkpoint that a time-stamping authority stamped.
    pub time_stamped: Option<Reached>,
    /// What went wrong last with the authority, as long as the server runs.
    pub time_stamp_failures: Vec<Failure>,
    /// The newest checkpoint that is published, and when what is published changed last.
    pub published: Option<Reached>,
    /// Records that are sealed and not published yet; none where nothing is published.
    pub unpublished: Option<u64>,
    /// What went wrong last with the place that the log is published at, as long as the server runs.
    pub publish_failures: Vec<Failure>,
    /// Where the log was pruned: entries before this one are gone where retention let them go.
    pub minimum_index: Option<u64>,
    /// The newest heartbeat in the hot store.
    pub heartbeat: Option<Latest>,
    /// How many gaps the hot store has.
    pub gaps: u64,
    /// The newest of them.
    pub last_gap: Option<Latest>,
    /// The archive.
    pub archive: ArchiveStanding,
}

/// How far something is, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reached {
    /// Records that it covers.
    pub records: u64,
    /// When it was written (RFC 3339), by the file system's clock.
    pub at: String,
    /// How long ago that is, in seconds.
    pub age_s: u64,
}

/// The last thing that went wrong with somebody else's service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Failure {
    /// Its address.
    pub who: String,
    /// When (RFC 3339).
    pub at: String,
    /// What.
    pub what: String,
    /// Whether it has answered well since.
    pub is_over: bool,
}

/// How far the archive is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ArchiveStanding {
    /// Records that it has, or had until they were dropped.
    pub records: u64,
    /// Its segments.
    pub segments: usize,
    /// When the newest one was sealed (RFC 3339).
    pub last_sealed: Option<String>,
    /// The oldest record that is not archived yet.
    pub oldest_waiting: Option<Latest>,
    /// Seconds until retention is looked at again; none without a server, or while it is being looked at.
    pub next_sweep_s: Option<u64>,
}

/// What became of the requests to services of others, by their addresses, which the configuration bounds.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Mutex<BTreeMap<String, Failure>>);

/// The services of others that the watch rests on.
#[derive(Debug, Default)]
pub(crate) struct Others {
    pub(crate) witnesses: Outcomes,
    pub(crate) authorities: Outcomes,
    pub(crate) places: Outcomes,
    pub(crate) feeds: Outcomes,
    /// Asks for all feeds to be pulled now.
    pub(crate) pull: tokio::sync::Notify,
}

impl Outcomes {
    /// Notes what became of a request.
    pub(crate) fn note(&self, who: &str, failure: Option<&str>) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (failure, failures.get_mut(who)) {
            (None, known) => known.into_iter().for_each(|known| known.is_over = true),
            (Some(what), _) => {
                let at = Timestamp::now().rfc3339();
                let failure = Failure { who: who.to_owned(), at, what: what.to_owned(), is_over: false };
                failures.insert(who.to_owned(), failure);
            }
        }
    }

    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Standing {
    /// What the files and the store tell where no server runs.
    ///
    /// # Errors
    /// What the store says. A file of the ledger or of the archive that cannot be read counts as one that is not there: `verify` says
    /// more.
    pub fn of_files(data: &DataDir, reader: &Reader) -> Result<Self, QueryError> {
        let view = archive_of(data, None, None).ok().flatten();
        Self::of(data, reader, view.map(|view| ArchiveStanding::of(view.manifest())).unwrap_or_default())
    }

    /// What the files and the store tell. `archive` is how far the archive is.
    ///
    /// # Errors
    /// As [`Standing::of_files`].
    pub(crate) fn of(data: &DataDir, reader: &Reader, archive: ArchiveStanding) -> Result<Self, QueryError> {
        let now = SystemTime::now();
        let note = |note: std::io::Result<Option<SignedNote>>, name: &str| {
            let note = note.ok().flatten()?;
            let checkpoint = Checkpoint::parse(note.text()).ok()?;
            Some((reached(&data.path().join("ledger").join(name), checkpoint.size, now)?, checkpoint.origin, note))
        };
        let witnessed = note(ledger::witnessed_checkpoint(data.path()), "witnessed");
        let cosignatures =
            |(_, origin, note): &(Reached, String, SignedNote)| note.signatures().iter().filter(|by| by.name != *origin).count();
        let stamped = ledger::stamped_sizes(data.path()).ok().and_then(|sizes| sizes.last().copied());
        let is_waiting = reader.event_at(Seq(archive.records))?;
        let checkpoint = note(ledger::published_checkpoint(data.path()), "checkpoint").map(|(reached, ..)| reached);
        let public = publishing::reached(data).and_then(|at| reached(&publishing::reached_file(data), at.size, now));
        let sealed = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.records);
        let keys = key_chain(data).ok().flatten();
        let minimum = keys.and_then(|keys| ledger::minimum_index(data.path(), &keys).ok());
        Ok(Self {
            unpublished: public.as_ref().map(|public| sealed.saturating_sub(public.records)),
            published: public,
            minimum_index: minimum.filter(|minimum| *minimum > 0),
            publish_failures: Vec::new(),
            checkpoint,
            cosignatures: witnessed.as_ref().map_or(0, cosignatures),
            witnessed: witnessed.map(|(reached, ..)| reached),
            time_stamped: stamped.and_then(|size| reached(&data.path().join(format!("ledger/timestamps/{size}.tsr")), size, now)),
            heartbeat: reader.latest("admin", Some(watchman::HEARTBEAT_EVENT))?,
            gaps: reader.count_of("gap")?,
            last_gap: reader.latest("gap", None)?,
            archive: ArchiveStanding { oldest_waiting: is_waiting, ..archive },
            witness_failures: Vec::new(),
            time_stamp_failures: Vec::new(),
        })
    }
}

impl ArchiveStanding {
    /// What a manifest tells.
    pub(crate) fn of(manifest: &archive::Manifest) -> Self {
        let newest = manifest.segments().map(|segment| segment.sealed_at).max();
        Self {
            records: manifest.end(),
            segments: manifest.segments().count(),
            last_sealed: newest.map(Timestamp::rfc3339),
            ..Self::default()
        }
    }
}

fn reached(file: &Path, records: u64, now: SystemTime) -> Option<Reached> {
    let at = std::fs::metadata(file).ok()?.modified().ok()?;
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Reached {
        records,
        at: Timestamp::from_unix_ns(u64::try_from(since_epoch.as_nanos()).ok()?).rfc3339(),
        // A clock that was set back makes it new.
        age_s: now.duration_since(at).unwrap_or_default().as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_of_each_is_kept_and_said_to_be_over_when_it_is() {
        let outcomes = Outcomes::default();
        outcomes.note("https://a", None);
        assert!(outcomes.failures().is_empty());
        outcomes.note("https://a", Some("refused"));
        outcomes.note("https://b", Some("no answer in time"));
        outcomes.note("https://a", Some("forked"));
        outcomes.note("https://b", None);
        let told: Vec<_> = outcomes.failures().into_iter().map(|told| (told.who, told.what, told.is_over)).collect();
        let expected = [("https://a", "forked", false), ("https://b", "no answer in time", true)];
        assert_eq!(told, expected.map(|(who, what, is_over)| (who.to_owned(), what.to_owned(), is_over)));
    }
}
