//! A node: the data directory opened for writing, with the pipeline in front of the journal and the consumers behind it.

mod opening;

use std::sync::Arc;
use std::time::{Duration, Instant};

use capture::command::Deriving;
use capture::{RecordError, Recorder};
use event::{Event, Key, Kind, Source, SourcePath, Timestamp, attr};
use journal::Journal;
use keys::{DataKeys, Keyring, Purpose};
use ledger::Rotation;
use store::QueryError;

pub use self::opening::{NodeError, NodeSettings};
use crate::asker::Asker;
use crate::consumers::Consumers;
use crate::data_dir::DataDir;
use crate::evaluating::{Baselines, BaselinesError};
use crate::intel::{Intel, IntelStanding};
use crate::lifecycle::Lifecycle;
use crate::log_keys::{self, LogKeyError};
use crate::pipeline::{Pipeline, PipelineRecorder};
use crate::replay::Replays;
use crate::rules::{Rules, RulesStanding};
use crate::signatures::{Signatures, SignaturesStanding};
use crate::standing::{ArchiveStanding, Others, Standing};
use crate::tool_pins::ToolPins;
use crate::triage::Triage;

/// How long [`Node::close`] waits for the consumers to catch up before it gives up on them. They continue where they
/// stopped at the next start.
const CATCH_UP: Duration = Duration::from_secs(600);

/// A data directory that is being written. Only one can exist for a directory at a time.
pub struct Node {
    data: DataDir,
    keyring: Arc<Keyring>,
    pipeline: Arc<Pipeline>,
    journal: Journal,
    consumers: Consumers,
    lifecycle: Lifecycle,
    triage: Arc<Triage>,
    tool_pins: Arc<ToolPins>,
    signatures: Arc<Signatures>,
    rules: Arc<Rules>,
    intel: Arc<Intel>,
    replays: Arc<Replays>,
    newest_at_open: Option<Timestamp>,
    /// The policy by which its checkpoints are witnessed.
    witnesses: Option<String>,
    others: Arc<Others>,
    notes: Vec<String>,
}

/// How far the consumers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Progress {
    /// Records that are durable.
    pub recorded: u64,
    /// Records that a signed checkpoint covers.
    pub sealed: u64,
    /// Records that queries can see.
    pub indexed: u64,
    /// Records that rules have seen.
    pub detected: u64,
}

impl Node {
    /// With witnesses that countersign its checkpoints, by this policy (C2SP tlog-policy).
    #[must_use]
    pub(crate) fn with_witnesses(self, witnesses: Option<String>) -> Self {
        Self { witnesses, ..self }
    }

    /// The policy by which the checkpoints are witnessed, where somebody does.
    pub(crate) fn witness_policy(&self) -> Option<&str> {
        self.witnesses.as_deref()
    }

    /// The way in.
    #[must_use]
    pub fn recorder(&self) -> Arc<dyn Recorder> {
        Arc::new(Deriving::new(Arc::new(PipelineRecorder(self.pipeline.clone()))))
    }

    /// The pipeline, for scoring text without recording it.
    #[must_use]
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The keys.
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// A reader of the store.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn reader(&self) -> Result<store::Reader, store::StoreError> {
        store::Reader::open(self.data.path(), &DataKeys::new(self.keyring.clone(), Purpose::Store))
    }

    /// The definitions of MCP tools as they were seen first.
    pub(crate) fn tool_pins(&self) -> &Arc<ToolPins> {
        &self.tool_pins
    }

    /// How the signatures of the inspector stand.
    #[must_use]
    pub fn signatures(&self) -> SignaturesStanding {
        self.signatures.standing()
    }

    /// Reads the signatures of the directories anew, now. What does not load leaves those before in force, and is told in
    /// [`signatures`](Self::signatures). Takes as long as their examples do; not from within an asynchronous task.
    pub fn reload_signatures(&self, asker: &Asker) {
        self.signatures.reload(asker);
    }

    /// How the Sigma rules stand.
    #[must_use]
    pub fn rules(&self) -> RulesStanding {
        self.rules.standing()
    }

    /// Reads the rules of the directories anew, now. What cannot be used is left out, and told in [`rules`](Self::rules). Not from within
    /// an asynchronous task.
    pub fn reload_rules(&self, asker: &Asker) {
        self.rules.reload(asker);
    }

    /// Says in an event which rules are in force, and from which record on.
    pub(crate) fn tell_rules(&self, event: &mut Event<String>) {
        self.rules.tell(event);
    }

    /// How the indicators stand.
    #[must_use]
    pub fn intel(&self) -> IntelStanding {
        let failures = self.others.feeds.failures();
        IntelStanding { failures, ..self.intel.standing() }
    }

    /// Records which indicators are in force, where those are others than at the start before. Not from within an asynchronous task.
    pub(crate) fn note_intel(&self) {
        self.intel.note_start();
    }

    /// Reads the indicators anew, now, and has all feeds pulled. Not from within an asynchronous task.
    pub fn reload_intel(&self, asker: &Asker) {
        self.intel.reload(asker);
        self.others.pull.notify_one();
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// What people decided.
    pub(crate) fn triage(&self) -> &Arc<Triage> {
        &self.triage
    }

    pub(crate) fn replays(&self) -> &Arc<Replays> {
        &self.replays
    }

    pub(crate) fn consumers(&self) -> &Consumers {
        &self.consumers
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// When the newest record was received that was there when the node was opened.
    pub(crate) fn newest_at_open(&self) -> Option<Timestamp> {
        self.newest_at_open
    }

    /// What a person should know about the start.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How far the consumers are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.consumers.progress(self.journal.end().0)
    }

    /// Why the journal or a consumer stands still, if one does.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.journal.stopped().or_else(|| self.consumers.failure())
    }

    /// Why nothing goes to the archive for the time being, if that is so. What is recorded stays in the journal meanwhile.
    #[must_use]
    pub fn archive_waits(&self) -> Option<String> {
        self.consumers.archive_waits()
    }

    /// How the watch stands.
    ///
    /// # Errors
    /// What the store says.
    pub fn standing(&self) -> Result<Standing, QueryError> {
        self.standing_by(&self.reader()?)
    }

    /// The same, by a reader that is open.
    pub(crate) fn standing_by(&self, reader: &store::Reader) -> Result<Standing, QueryError> {
        let archive = ArchiveStanding { next_sweep_s: self.lifecycle.next_sweep_s(), ..self.lifecycle.cold.standing() };
        let standing = Standing::of(&self.data, reader, archive)?;
        let (witness_failures, time_stamp_failures) = (self.others.witnesses.failures(), self.others.authorities.failures());
        let publish_failures = self.others.places.failures();
        Ok(Standing { witness_failures, time_stamp_failures, publish_failures, ..standing })
    }

    pub(crate) fn others(&self) -> &Arc<Others> {
        &self.others
    }

    /// Waits until everything that is recorded is detected, indexed and sealed. `false` when it was not within `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        loop {
            let progress = self.progress();
            if self.consumers.have_seen(progress.recorded) {
                return true;
            }
            if Instant::now() >= until || self.consumers.failure().is_some() {
                return false;
            }
            self.consumers.wait(Duration::from_millis(50));
        }
    }

    /// Records that somebody reads contents, before they get to see any.
    pub fn note_read(&self, asker: &Asker, action: &str, object: &str) -> Result<(), RecordError> {
        self.pipeline.record_blocking(vec![read_event(asker, action, object)], &|| true).map(drop)
    }

    /// Records what came of an evaluation, for whoever asked for it. It is on disk when this returns.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn record_evaluation(&self, report: &evaluate::Report, asker: &Asker) -> Result<(), RecordError> {
        crate::evaluating::record(&self.pipeline, crate::evaluating::events(report, None, Some(asker)), &|| true)
    }

    /// From now on runs of the evaluation `name` on schedule are compared with this baseline, and with no other. It is recorded when this
    /// returns.
    ///
    /// # Errors
    /// When no evaluation of the configuration is called so, or disk, keyring or record cannot be written.
    pub fn accept_baseline(&self, name: &str, baseline: &evaluate::Baseline, asker: &Asker) -> Result<(), BaselinesError> {
        Baselines::of(self).accept_configured(name, baseline, asker)
    }

    /// Gives the log a new pair of keys. The old one signs with it for `overlap` more records, and is destroyed then. It is done, and
    /// recorded, when this returns.
    ///
    /// # Errors
    /// [`LogKeyError::Ledger`] while the overlap of the rotation before lasts, and what the keyring or the disk say.
    pub fn rotate_log_keys(&self, asker: &Asker, overlap: u64) -> Result<Rotation, LogKeyError> {
        let rotation = self.consumers.rotate_log_keys(overlap)?;
        self.pipeline.record_blocking(vec![log_keys::rotation_event(&rotation, Some(asker))], &|| true)?;
        log_keys::note_recorded(&self.keyring, rotation.number)?;
        Ok(rotation)
    }

    /// Lets the consumers finish, seals what is recorded and closes the journal.
    pub fn close(self) -> Result<(), NodeError> {
        let caught_up = self.flush(CATCH_UP);
        let failure = self.consumers.stop();
        self.journal.close().map_err(|error| NodeError::Consumer(format!("journal: {error}")))?;
        match failure {
            Some(failure) => Err(NodeError::Consumer(failure)),
            None if !caught_up => {
                Err(NodeError::Consumer("the consumers did not catch up; they continue at the next start".to_owned()))
            }
            None => Ok(()),
        }
    }
}

/// An event of this program itself.
pub(crate) fn internal(kind: Kind, name: &str) -> Event<String> {
    // Whoever reads the record goes by these names, so none may be one that others can send. Evaluations bear the name of their convention.
    debug_assert!(
        !matches!(kind, Kind::Admin | Kind::DataAccess | Kind::Gap | Kind::Guardrail | Kind::Session)
            || capture::is_reserved_name(name),
        "{name} is missing from capture::reserved"
    );
    let mut event = Event::new(kind, name, Source::new(SourcePath::Internal, Key::of("watchkeeper")));
    let mut application = event::Principal::asserted("watchkeeper".to_owned());
    application.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    application.proof = event::Proof::Local;
    event.identity.application = Some(application);
    event
}

/// That somebody reads contents: who, how, what.
pub(crate) fn read_event(asker: &Asker, action: &str, object: &str) -> Event<String> {
    /// Longest description of what is read, in characters: a whole query, as long as any that is answered. What was asked stands in the record
    /// to its end, or it could be hidden behind a long beginning.
    const OBJECT_CHARS_MAX: usize = 65_536;
    let mut event = internal(Kind::DataAccess, "record.read");
    asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, action);
    event.set(attr::DB_OPERATION_NAME, "read");
    event.set(attr::DB_SYSTEM_NAME, "watchkeeper");
    event.set(attr::DB_COLLECTION_NAME, object.chars().take(OBJECT_CHARS_MAX).collect::<String>().as_str());
    event
}
