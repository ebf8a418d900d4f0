//! Offline verification: everything is computed anew from the journal and compared with what the ledger says.

mod blame;
mod check;
mod leaves;
mod published;
mod signed;
mod snapshot;

use std::io;
use std::path::{Path, PathBuf};

#[cfg(test)]
use journal::Record;
use journal::{FrameKeys, Seq};

use crate::policy::Policy;
use crate::public::{PlaceError, PublicFiles};
use crate::stored::StoredRecord;
use crate::timestamp::TsaRoots;
use crate::tree::{EMPTY_ROOT, Hash};
use crate::vkey::VerifierKey;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Whole records in the journal.
    pub records: u64,
    /// Records that the published checkpoint covers.
    pub sealed: u64,
    /// Records that came after it. Their checksums were verified; nobody has signed them yet.
    pub unsealed: u64,
    /// Signed checkpoints that were verified against the tree.
    pub checkpoints: u64,
    /// The root that the published checkpoint signs.
    pub root: Hash,
    /// Records that the newest witnessed checkpoint covers; 0 without one. Its cosignatures were verified if a policy was given.
    pub witnessed: u64,
    /// The witnesses of the policy that countersigned it, with the time that each states, in seconds since 1970.
    pub witnesses: Vec<(String, u64)>,
    /// The public key by which the checkpoints were verified, as a verifier key. Whoever can write the directory can
    /// write another key into it: compare it with one that is kept elsewhere (or use [`verify_against`]).
    pub key: String,
    /// Time stamps of checkpoints that were compared, and verified if roots of authorities were given.
    pub timestamps: u64,
    /// The newest of them: how many records it covers, and its time in seconds since 1970.
    pub timestamped: Option<(u64, u64)>,
    /// Where the log was pruned: the first record from which on every leaf was there. Smaller checkpoints are known by their
    /// signatures alone.
    pub first_leaf: u64,
    /// Heartbeats that were disclosed with a published log, and compared with their leaves.
    pub heartbeats: u64,
    /// The newest of them: the record, and when it was received, in nanoseconds since 1970.
    pub heartbeat: Option<(u64, u64)>,
    /// What is worth knowing and no sign of tampering.
    pub notes: Vec<String>,
    /// What was asked for from elsewhere ([`Trust`]) and is not proved, while nothing is wrong with what is there.
    pub unmet: Vec<String>,
    /// The first thing that is wrong; `None` when the record is intact. Verification ends there, so the numbers above
    /// are then those reached.
    pub fault: Option<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, with the byte, record or leaf where that is known.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
    /// The record, where a record itself is not what was sealed. Whoever gave it knows better where it lies than
    /// [`Fault::place`], which says `journal`.
    pub record: Option<u64>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Nothing can be said, because something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The system could not read it.
    #[error("cannot read {path}: {source}")]
    File {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no record.
    #[error("{0} has neither a journal nor a ledger; give a data directory of Watchkeeper (--data DIR)")]
    NoDataDirectory(PathBuf),
    /// A public log could not be read.
    #[error("cannot read the published log: {0}")]
    Place(#[from] PlaceError),
    /// Nothing is published there.
    #[error("no log is published there: there is neither `vkey` nor `checkpoint`; give the prefix of a log (C2SP tlog-tiles)")]
    NothingPublished,
    /// Archived records could not be read.
    #[error("cannot read the archived records: {0}")]
    Archive(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The journal could not be read.
    #[error("cannot read the journal: {0}")]
    Journal(#[source] journal::Fault),
}

/// Verifies a data directory, or a copy of one, from nothing but its files: every byte of the journal and of the
/// ledger, every checkpoint ever signed. The ledger is read between two seals, so a server may run beside it; a group of
/// records that it is just writing is then noted as torn. The journal is encrypted, so its keys are needed.
///
/// # Errors
/// When something could not be read, so that neither "intact" nor "tampered" can be said. What is wrong with the
/// record is in [`Report::fault`].
pub fn verify(data_dir: &Path, journal_keys: &dyn FrameKeys) -> Result<Report, VerifyError> {
    verify_from(data_dir, &Trust::default(), false, &mut |take| read_journal(data_dir, journal_keys, take))
}

/// What a verifier knows from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Keys of the log: the first ones, or the ones after any rotation. All of these must be its keys.
    pub keys: Vec<VerifierKey>,
    /// Which witnesses must have countersigned the newest witnessed checkpoint, and, if it lists logs, that this is one of them.
    pub policy: Option<Policy>,
    /// The authorities whose time stamps count. Given, there must be one.
    pub tsa_roots: Option<TsaRoots>,
}

/// Verifies a data directory as [`verify`] does, and against what is known from elsewhere.
///
/// # Errors
/// As [`verify`].
pub fn verify_against(data_dir: &Path, trust: &Trust, journal_keys: &dyn FrameKeys) -> Result<Report, VerifyError> {
    verify_from(data_dir, trust, false, &mut |take| read_journal(data_dir, journal_keys, take))
}

/// Verifies a data directory as [`verify_against`] does, whose oldest records are not in the journal any more: `archived` is
/// asked for those from 0 up to the seq that it is given, which is the journal's first, whole or as redaction left them. It may
/// leave out records that were dropped, or that it does not want to read: their leaves are then taken from the entry bundles, and
/// whoever leaves them out answers for it. `seen` gets every record, of the archive and of the journal, before it is compared with its
/// leaf: what it makes of them counts when there is no fault.
///
/// # Errors
/// As [`verify`], and when `archived` could not read.
pub fn verify_archived(
    data_dir: &Path,
    trust: &Trust,
    journal_keys: &dyn FrameKeys,
    archived: &mut dyn FnMut(Seq, Visit<'_>) -> Result<(), SupplyError>,
    seen: &mut dyn FnMut(&StoredRecord),
) -> Result<Report, VerifyError> {
    verify_from(data_dir, trust, true, &mut |take| {
        read_records(data_dir, journal_keys, archived, &mut |given: Given| {
            seen(&given.stored);
            take(given);
        })
    })
}

/// Verifies what anybody can see who has no key: tree, checkpoints and signatures, by the leaves in the entry bundles; and of the
/// journal the structure and the checksums.
///
/// # Errors
/// As [`verify`].
pub fn verify_public(data_dir: &Path, trust: &Trust) -> Result<Report, VerifyError> {
    verify_from(data_dir, trust, true, &mut |take| read_all(data_dir, None, &mut |_, _| Ok(()), take))
}

/// Verifies a log where it is published, as an outsider does who has nothing but its address: every leaf, tile and signature that the
/// newest checkpoint rests on, and what others said of it. Nothing of the place is trusted, no length that it tells either; memory is
/// that for one unfinished tile of each level. The log must go on from `kept`, a checkpoint of it that the verifier kept.
///
/// # Errors
/// As [`verify`].
pub fn verify_published(place: &dyn PublicFiles, trust: &Trust, kept: Option<&[u8]>) -> Result<Report, VerifyError> {
    ended(|report| published::run(place, trust, kept, report))
}

/// Why archived records could not be given.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// They are not what they should be.
    #[error("{0}")]
    Fault(Fault),
    /// They could not be read.
    #[error(transparent)]
    Unreadable(Box<dyn std::error::Error + Send + Sync>),
}

/// What lies in a data directory, beside journal and ledger.
const DATA_DIRECTORY: [&str; 2] = ["format", "archive"];

/// Where verification ends before its end.
enum Stop {
    Fault(Fault),
    Error(VerifyError),
}

impl Stop {
    fn fault(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Fault(Fault { place: place.into(), what: what.into(), record: None })
    }

    /// A record is not what was sealed.
    fn record(seq: u64, what: impl Into<String>) -> Self {
        Self::Fault(Fault { place: format!("journal, record {seq}"), what: what.into(), record: Some(seq) })
    }

    fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            if files::NotRegular::is(&source) {
                // Named as other faults of the ledger are: from the data directory on.
                let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
                let from = names.iter().rposition(|name| name == "ledger").unwrap_or_default();
                return Self::fault(names[from..].join("/"), source.to_string());
            }
            Self::Error(VerifyError::File { path, source })
        }
    }
}

/// What is known of the journal after all of it was read.
struct Journaled {
    /// How many there are; `None` when there is the ledger alone, which is then what says so.
    records: Option<u64>,
    torn: Option<Torn>,
}

/// A group of records that is not whole, at the journal's end: what a crash leaves, unless a checkpoint signs it.
struct Torn {
    place: String,
    bytes: u64,
}

/// Takes records, in order.
pub type Visit<'a> = &'a mut dyn FnMut(StoredRecord);

/// A record, and the id of its event where the journal's index has it.
struct Given {
    stored: StoredRecord,
    id: Option<[u8; 16]>,
}

impl From<StoredRecord> for Given {
    fn from(stored: StoredRecord) -> Self {
        Self { stored, id: None }
    }
}

/// Takes what a [`Source`] gives.
type Take<'a> = &'a mut dyn FnMut(Given);

/// Gives each record, in order.
type Source<'a> = &'a mut dyn FnMut(Take<'_>) -> Result<Journaled, Stop>;

fn verify_from(data_dir: &Path, trust: &Trust, sealed_leaves: bool, source: Source<'_>) -> Result<Report, VerifyError> {
    ended(|report| check::run(data_dir, trust, sealed_leaves, source, report))
}

fn ended(run: impl FnOnce(&mut Report) -> Result<(), Stop>) -> Result<Report, VerifyError> {
    let mut report = Report { root: EMPTY_ROOT, ..Report::default() };
    match run(&mut report) {
        Ok(()) => {}
        Err(Stop::Fault(fault)) => report.fault = Some(fault),
        Err(Stop::Error(error)) => return Err(error),
    }
    report.unsealed = report.records.saturating_sub(report.sealed);
    Ok(report)
}

fn read_journal(data_dir: &Path, keys: &dyn FrameKeys, take: Take<'_>) -> Result<Journaled, Stop> {
    read_records(data_dir, keys, &mut |_, _| Ok(()), take)
}

/// The archived records, then those of the journal.
fn read_records(
    data_dir: &Path,
    keys: &dyn FrameKeys,
    archived: &mut dyn FnMut(Seq, Visit<'_>) -> Result<(), SupplyError>,
    take: Take<'_>,
) -> Result<Journaled, Stop> {
    read_all(data_dir, Some(keys), archived, take)
}

fn read_all(
    data_dir: &Path,
    keys: Option<&dyn FrameKeys>,
    archived: &mut dyn FnMut(Seq, Visit<'_>) -> Result<(), SupplyError>,
    take: Take<'_>,
) -> Result<Journaled, Stop> {
    let supplied = |result| match result {
        Ok(()) => Ok(()),
        Err(SupplyError::Fault(fault)) => Err(Stop::Fault(fault)),
        Err(SupplyError::Unreadable(source)) => Err(Stop::Error(VerifyError::Archive(source))),
    };
    let relative = |file: &Path| file.strip_prefix(data_dir).unwrap_or(file).display().to_string();
    let at = |file: &Path, offset: u64, seq: Option<Seq>| {
        format!("{} at byte {offset}{}", relative(file), seq.map(|seq| format!(" (record {})", seq.0)).unwrap_or_default())
    };
    if !data_dir.join("journal").exists() {
        // Somebody who publishes the ledger alone publishes neither an archive nor the file that makes a data directory.
        let is_alone = keys.is_none() && DATA_DIRECTORY.iter().all(|name| !data_dir.join(name).exists());
        return Ok(Journaled { records: (!is_alone).then_some(0), torn: None });
    }
    let mut before: Option<Result<(), Stop>> = None;
    let checked = journal::check_form(data_dir, keys, |record, id| {
        let all_before = || supplied(archived(record.seq, &mut |stored| take(stored.into())));
        if before.get_or_insert_with(all_before).is_ok() {
            take(Given { stored: StoredRecord::whole(record), id: Some(id) });
        }
    });
    match before {
        Some(Err(stop)) => return Err(stop),
        Some(Ok(())) => {}
        None => {
            if let Ok(checked) = &checked {
                supplied(archived(checked.first, &mut |stored| take(stored.into())))?;
            }
        }
    }
    match checked {
        Ok(checked) => {
            let torn = checked.torn.map(|torn| Torn { place: at(&torn.file, torn.offset, Some(torn.seq)), bytes: torn.bytes });
            Ok(Journaled { records: Some(checked.end.0), torn })
        }
        // A file that went while it was read, and its key with it, was archived meanwhile.
        Err(fault) if fault.is_unreadable() || !fault.file.exists() => Err(Stop::Error(VerifyError::Journal(fault))),
        Err(fault) => Err(Stop::fault(at(&fault.file, fault.offset, fault.seq), fault.wrong.to_string())),
    }
}

/// Verifies a ledger against records in memory.
#[cfg(test)]
pub(crate) fn verify_memory(data_dir: &Path, records: &[Record]) -> Result<Report, VerifyError> {
    verify_memory_against(data_dir, records, &Trust::default())
}

/// Verifies a ledger against records in memory and what is known from elsewhere.
#[cfg(test)]
pub(crate) fn verify_memory_against(data_dir: &Path, records: &[Record], trust: &Trust) -> Result<Report, VerifyError> {
    verify_from(data_dir, trust, false, &mut |take| {
        records.iter().cloned().map(|record| StoredRecord::whole(record).into()).for_each(take);
        Ok(Journaled { records: Some(records.len() as u64), torn: None })
    })
}

/// Verifies a ledger against records in memory, of which some are gone by retention.
#[cfg(test)]
pub(crate) fn verify_memory_archived(data_dir: &Path, records: &[Record]) -> Result<Report, VerifyError> {
    verify_from(data_dir, &Trust::default(), true, &mut |take| {
        records.iter().cloned().map(|record| StoredRecord::whole(record).into()).for_each(take);
        Ok(Journaled { records: records.last().map(|record| record.seq.0 + 1), torn: None })
    })
}

#[cfg(test)]
#[path = "verify/tests.rs"]
mod tests;
