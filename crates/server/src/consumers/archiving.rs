//! The consumers that keep records: one moves them to the archive, one copies some of them to the forensic archive.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event::{Kind, Timestamp, attr};
use keys::Keyring;

use super::{Consumers, IDLE, Shared, open_cursor};
use crate::lifecycle::archiver::{Archiver, ArchiverError};
use crate::lifecycle::forensic::Forensic;
use crate::lifecycle::{REBUILT_WITHIN, stale};
use crate::node::{NodeError, internal};
use crate::pipeline::Pipeline;

/// How often the archiver looks whether a file of the journal is closed, or has been open for long enough.
const ARCHIVE_LOOK: Duration = Duration::from_secs(2);

/// The cursor of the forensic archive, below `state/`.
const FORENSIC_CURSOR: &str = "forensic.cursor";

/// How soon the archive is tried again that did not answer.
const ARCHIVE_RETRY: Duration = Duration::from_secs(10);

impl Consumers {
    /// Starts to move records to the archive when they have been in the journal for long enough.
    pub(crate) fn start_archiver(&self, archiver: Arc<Mutex<Archiver>>, pipeline: Arc<Pipeline>) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        self.spawn("archive", move || {
            while !shared.stopping() {
                let worked = look_after_archive(&shared, &archiver, &pipeline);
                let waits = match &worked {
                    Err(error) if error.may_pass() => Some(error.to_string()),
                    _ => None,
                };
                let rest = if waits.is_some() { ARCHIVE_RETRY } else { ARCHIVE_LOOK };
                if let (Some(why), true) = (&waits, shared.archive_waits(waits.clone())) {
                    tracing::warn!(why, "the archive is out of reach; records stay in the journal until it is back");
                    let mut event = internal(Kind::Admin, "archive.unavailable");
                    event.set(attr::EVENT_OUTCOME, "failure");
                    // It is in the log of the program and in its status, too.
                    drop(pipeline.record_blocking(vec![event], &|| true));
                } else if waits.is_none() {
                    worked?;
                    shared.archive_waits(None);
                }
                shared.sleep(rest);
            }
            Ok(())
        })
    }

    /// Starts to copy what serious detections rest on to the forensic archive.
    pub(crate) fn start_forensic(&self, forensic: Forensic, keyring: &Keyring) -> Result<(), NodeError> {
        let shared = self.shared.clone();
        let path = forensic.data.state(FORENSIC_CURSOR);
        let is_first = !path.exists();
        let mut cursor = open_cursor(&forensic.data, keyring, FORENSIC_CURSOR)?;
        if is_first {
            // It begins with what is recorded from now on.
            cursor.set(forensic.spine.journal.end())?;
        }
        self.spawn("forensic", move || {
            let waits = |why: Option<String>| {
                if let Some(why) = &why {
                    tracing::warn!(why, "the forensic archive is out of reach; copies wait until it is back");
                    shared.sleep(ARCHIVE_RETRY);
                }
            };
            forensic.follow(cursor, &|| shared.seen(), &|| shared.stopping(), &|| shared.sleep(IDLE), &waits)
        })
    }

    /// Why nothing goes to the archive for the time being.
    pub(crate) fn archive_waits(&self) -> Option<String> {
        self.shared.archive_waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    /// Notes why nothing goes to the archive. Whether that is new.
    fn archive_waits(&self, why: Option<String>) -> bool {
        let mut noted = self.archive_waits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = noted.is_none() && why.is_some();
        *noted = why;
        is_new
    }
}

/// Moves to the archive what should lie there, and drops what is over.
fn look_after_archive(shared: &Shared, archiver: &Mutex<Archiver>, pipeline: &Pipeline) -> Result<(), ArchiverError> {
    let mut archiver = archiver.lock().unwrap_or_else(PoisonError::into_inner);
    if archiver.holds_due {
        archiver.hold_all(Timestamp::now())?;
    }
    archiver.settle()?;
    archiver.rotate_if_due()?;
    archiver.archive(shared.seen(), Timestamp::now())?;
    archiver.sweep_if_due(pipeline, Timestamp::now())?;
    let days = stale::due(&archiver.keyring, Timestamp::now(), false)?;
    if !days.is_empty() && !shared.stopping() {
        match shared.rebuild_days(days.clone(), REBUILT_WITHIN) {
            Ok(()) => stale::done(&archiver.keyring, &days)?,
            Err(why) => tracing::warn!(why, "days of the hot store still have rows of records that were dropped"),
        }
    }
    Ok(())
}
