//! The consumer that seals: it takes each record into the ledger, publishes signed checkpoints, and changes the log's keys between
//! two of them when it is asked to.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use event::Timestamp;
use journal::{Journal, Seq};
use keys::Keyring;
use ledger::{Ledger, LedgerError, Rotation};

use crate::data_dir::DataDir;
use crate::lifecycle::cold::Cold;
use crate::log_keys::{self, LogKeyError};
use crate::pin;
use crate::pipeline::Pipeline;
use crate::room::Failure;

/// Records between two seals at the most, so that a seal's work stays bounded in an import.
const SEAL_RECORDS_MAX: u64 = 100_000;

/// How long it sleeps when there is nothing to do; a new record wakes it sooner.
const IDLE: Duration = Duration::from_millis(200);

/// How soon it is tried again to destroy private keys that could not be.
const RETIRE_RETRY: Duration = Duration::from_secs(60);

/// Somebody who waits for other keys of the log.
pub(crate) struct RotationJob {
    /// Records that the old keys go on signing.
    pub(crate) overlap: u64,
    pub(crate) done: Sender<Result<Rotation, LogKeyError>>,
}

/// What sealing needs.
pub(crate) struct Sealer {
    pub(crate) journal: Journal,
    pub(crate) data: DataDir,
    pub(crate) keyring: Arc<Keyring>,
    /// Every archive: the log's key signs their manifests.
    pub(crate) archives: Vec<Arc<Cold>>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) interval: Duration,
    pub(crate) jobs: Arc<Mutex<VecDeque<RotationJob>>>,
}

impl Sealer {
    /// The ledger, with the key that the keyring has.
    pub(crate) fn open(&self) -> Result<Ledger, LogKeyError> {
        Ok(Ledger::open(self.data.path(), log_keys::log_key(&self.keyring)?)?)
    }

    /// Seals until `stopping`, and tells `sealed` how far it is. `gather` lets records gather after some were taken.
    pub(crate) fn run(
        &self,
        mut ledger: Ledger,
        stopping: &dyn Fn() -> bool,
        gather: &dyn Fn(Instant),
        sealed: &dyn Fn(u64),
    ) -> Result<(), Failure> {
        let mut resting = None;
        self.retire(&mut ledger, &mut resting, stopping)?;
        let mut reader = self.journal.reader(Seq(ledger.size()))?;
        let mut done = ledger.size();
        let mut due = Instant::now() + self.interval;
        let mut taken = Instant::now();
        loop {
            self.rotate(&mut ledger)?;
            // Before the look at the journal: what was recorded until then is seen.
            let stop = stopping();
            let record = reader.next()?;
            if let Some(record) = &record {
                ledger.append(record)?;
            }
            let pending = ledger.size() - done;
            let idle = record.is_none();
            // At the end of the journal a seal need not wait: callers that want the record sealed are served sooner, and an
            // idle log is always whole.
            if pending > 0 && (Instant::now() >= due || pending >= SEAL_RECORDS_MAX || (idle && stop)) {
                ledger.seal(Timestamp::now())?;
                pin::set(&self.data, &self.keyring)?;
                done = ledger.size();
                due = Instant::now() + self.interval;
                sealed(done);
                self.retire(&mut ledger, &mut resting, stopping)?;
            }
            if idle {
                if stop {
                    return Ok(());
                }
                gather(taken);
                let patience = if pending > 0 { due.saturating_duration_since(Instant::now()).min(IDLE) } else { IDLE };
                reader.wait(patience);
                taken = Instant::now();
            }
        }
    }

    fn rotate(&self, ledger: &mut Ledger) -> Result<(), Failure> {
        let Some(job) = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return Ok(()) };
        let before = ledger.keys().generations().len();
        let outcome = log_keys::rotate(&self.keyring, ledger, &self.archives, job.overlap, &mut |_| {});
        // What became of it then is known when everything was opened anew, which ends the rotation where it stands.
        let is_open = match &outcome {
            Ok(_) | Err(LogKeyError::Ledger(LedgerError::Keys(_))) => false,
            Err(LogKeyError::Ledger(_)) => true,
            Err(_) => ledger.keys().generations().len() > before,
        };
        let why = outcome.as_ref().err().map(ToString::to_string).filter(|_| is_open);
        // Whoever asked may have gone.
        drop(job.done.send(outcome));
        why.map_or(Ok(()), |why| {
            Err(format!("a rotation of the log's keys was interrupted ({why}); the next start ends it").into())
        })
    }

    /// Destroys the private keys whose overlap is over. A keyring that cannot be written, or a root key that does not answer, delays
    /// that and stops nothing.
    fn retire(&self, ledger: &mut Ledger, resting: &mut Option<Instant>, stopping: &dyn Fn() -> bool) -> Result<(), Failure> {
        if resting.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        *resting = None;
        match log_keys::retire(&self.keyring, ledger) {
            Ok(false) => {}
            Ok(true) => drop(self.pipeline.record_blocking(vec![log_keys::retirement_event()], stopping)?),
            Err(error) => {
                tracing::error!(%error, "retired private keys of the log could not be destroyed; this is tried again");
                *resting = Some(Instant::now() + RETIRE_RETRY);
            }
        }
        Ok(())
    }
}
