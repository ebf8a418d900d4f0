//! A node: the data directory opened for writing, with the pipeline in front of the journal and the consumers behind it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use capture::command::Deriving;
use capture::{RecordError, Recorder};
use detect::RuleSet;
use event::{Event, Key, Kind, Source, SourcePath, Timestamp, attr};
use inspect::{Canary, CanaryError};
use journal::{Journal, Options, Seq};
use keys::{DataKeys, Keyring, KeysError, Purpose};
use ledger::Rotation;
use store::QueryError;

use crate::asker::Asker;
use crate::canary;
use crate::config::IntelConfig;
use crate::config::{InspectConfig, RulesConfig, SanitizeConfig, Seal};
use crate::consumers::Consumers;
use crate::data_dir::{DataDir, DataDirError};
use crate::evaluating::{Baselines, BaselinesError};
use crate::frame_keys::frame_keys;
use crate::geoip::{GeoipConfig, GeoipError, Places};
use crate::intel::{self, Intel, IntelError, IntelStanding};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::archiver::Archiver;
use crate::lifecycle::cold::{Cold, ColdError, EVIDENCE, FORENSIC};
use crate::lifecycle::forensic::{self, Forensic};
use crate::lifecycle::hold::{HoldError, Holds};
use crate::lifecycle::kept_policy::{KeptPolicy, PolicyError};
use crate::lifecycle::place::Place;
use crate::lifecycle::retention;
use crate::lifecycle::spine::Spine;
use crate::log_keys::{self, LogKeyError};
use crate::pipeline::{Pipeline, PipelineRecorder};
use crate::replay::Replays;
use crate::root_key::{RootKeyError, RootKeyPlace, open_keyring};
use crate::rules::{KeptRulesError, Rules, RulesStanding, kept_rules};
use crate::sanitizing::{self, SanitizingError};
use crate::signatures::{LOOK, SignatureError, Signatures, SignaturesStanding};
use crate::standing::{ArchiveStanding, Others, Standing};
use crate::tool_pins::ToolPins;
use crate::watchman;

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

/// What a node is told when it is opened.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Which Sigma rules there are; without it, those that the server's last start said, which the keyring keeps.
    pub rules: Option<RulesConfig>,
    /// Whether what is recorded is shown to the rules. Whoever only reads leaves that to the next one who does not.
    pub detects: bool,
    /// Which signatures the inspector uses.
    pub inspect: InspectConfig,
    /// Whose indicators events are looked up in.
    pub intel: IntelConfig,
    /// Markers that must not come out.
    pub canaries: Vec<Canary>,
    /// How often is sealed.
    pub seal: Seal,
    /// Where the addresses of clients are looked up.
    pub geoip: GeoipConfig,
    /// What becomes of sensitive values; without it, what the server's last start said, which the keyring keeps.
    pub sanitize: Option<SanitizeConfig>,
    /// How long what is kept; without it, as it stands: the keyring has the policy that the last one said.
    pub retention: Option<retention::Settings>,
    /// Where the archive's objects lie; without it, where they did.
    pub place: Option<Place>,
    /// What goes to the forensic archive, if anything does.
    pub forensic: Option<forensic::Settings>,
    /// How long records stay in the journal before they are archived, and that they are at all: whoever opens a record for a
    /// moment, without the server's configuration, must not decide over its retention.
    pub archive_after: Option<Duration>,
    /// How long nothing may be recorded before a heartbeat is.
    pub heartbeat: Duration,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            rules: None,
            detects: true,
            inspect: InspectConfig::default(),
            intel: IntelConfig::default(),
            canaries: Vec::new(),
            seal: Seal::default(),
            geoip: GeoipConfig::default(),
            sanitize: None,
            retention: None,
            place: None,
            forensic: None,
            archive_after: None,
            heartbeat: watchman::HEARTBEAT,
        }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal does not open.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The ledger does not open.
    #[error("ledger")]
    Ledger(#[from] ledger::LedgerError),
    /// The ledger is not the one that was sealed here.
    #[error(transparent)]
    Pin(#[from] crate::pin::PinError),
    /// The log's key cannot be used.
    #[error(transparent)]
    LogKey(#[from] LogKeyError),
    /// A consumer's place is not readable.
    #[error(transparent)]
    Cursor(#[from] journal::CursorError),
    /// The store does not open.
    #[error("store")]
    Store(#[from] store::StoreError),
    /// A file of places cannot be used.
    #[error(transparent)]
    Geoip(#[from] GeoipError),
    /// What the configuration said before is not known.
    #[error(transparent)]
    Configuration(#[from] crate::configuration::ConfigurationError),
    /// The rules do not load.
    #[error("rules")]
    Rules(#[from] detect::RuleError),
    /// The rules of the server's last start cannot be had.
    #[error(transparent)]
    KeptRules(#[from] KeptRulesError),
    /// The signatures do not load.
    #[error(transparent)]
    Signatures(#[from] SignatureError),
    /// The indicators cannot be used.
    #[error(transparent)]
    Intel(#[from] IntelError),
    /// The canaries cannot be used.
    #[error(transparent)]
    Canary(#[from] CanaryError),
    /// The root key or the keyring does not open.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// The sanitiser's policy cannot be used.
    #[error(transparent)]
    Sanitizing(#[from] SanitizingError),
    /// A key cannot be had.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The archive does not open.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// The retention policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The legal holds cannot be read.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// A file does not do what it should.
    #[error("{what}: {source}")]
    Io {
        /// Which file, and for what.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The consumers did not finish.
    #[error("{0}")]
    Consumer(String),
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
    /// Opens a data directory, recovers it if need be, and starts the consumers.
    pub fn open(path: &Path, root: &RootKeyPlace, settings: &NodeSettings) -> Result<Self, NodeError> {
        let data = DataDir::create(path)?;
        // The keyring first: its lock keeps a second writer away from everything else.
        let (keyring, root_is_new) = open_keyring(&data, root)?;
        let log_key = log_keys::settle(&data, &keyring)?;
        let cold = Arc::new(Cold::open(EVIDENCE, &data, &keyring, &log_key, settings.place.as_ref())?);
        let forensic = forensic_archive(&data, &keyring, &log_key, settings)?;
        let options = Options { first: cold.end(), ..Options::default() };
        let (journal, recovery) = Journal::open(data.path(), options, frame_keys(keyring.clone()))?;
        let sanitizer = sanitizing::settle(&keyring, settings.sanitize.as_ref())?;
        let canaries = canary::read(&settings.canaries, &sanitizer)?;
        let inspector = settings.inspect.inspector()?.with_canaries(canaries.clone());
        let pipeline = Pipeline::new(sanitizer, inspector, Places::open(&settings.geoip)?, keyring.clone(), journal.clone())?;
        let pipeline = Arc::new(pipeline);
        let intel = Arc::new(Intel::open(settings.intel.clone(), &data, &keyring, pipeline.clone())?);
        let spine = Spine { journal: journal.clone(), cold: cold.clone() };
        let newest_at_open = newest(&spine)?;
        let (rules_config, rule_set) = rules_of(settings, &keyring)?;
        let rule_set = rule_set.with_canaries(canaries.clone());
        let left_out = rule_set.problems().iter().map(|problem| format!("rule left out: {problem}"));
        let mut notes: Vec<String> = left_out.chain(rule_set.notes().iter().cloned()).collect();
        if root_is_new {
            notes.push(format!(
                "made the root key {}: keep a copy of it elsewhere, apart from the data; without it nothing recorded here can be read",
                root
            ));
        }
        let store_keys = DataKeys::new(keyring.clone(), Purpose::Store);
        let archives = std::iter::once(&cold).chain(&forensic).cloned().collect();
        let consumers = Consumers::start(&data, &keyring, archives, &spine, pipeline.clone(), rule_set.again()?, settings)?;
        let exchange = consumers.rule_exchange();
        let rules = Arc::new(Rules::new(rules_config, canaries, &rule_set, pipeline.clone(), exchange));
        if recovery.torn_bytes > 0 {
            notes.push(format!(
                "the last run ended in the middle of a write: {} bytes that were never acknowledged were discarded",
                recovery.torn_bytes
            ));
            let mut gap = internal(Kind::Gap, "journal.recovered");
            gap.set(attr::GAP_REASON, "torn_tail");
            gap.set(Key::of("watchkeeper.gap.bytes"), i64::try_from(recovery.torn_bytes).unwrap_or(i64::MAX));
            let recorded = pipeline.record_blocking(vec![gap], &|| false);
            recorded.map_err(|error| NodeError::Consumer(format!("cannot record the recovery: {error}")))?;
        }
        let (unrecorded, rotations) = log_keys::unrecorded(&data, &keyring)?;
        if !unrecorded.is_empty() {
            pipeline.record_blocking(unrecorded, &|| false).map_err(LogKeyError::from)?;
            log_keys::note_recorded(&keyring, rotations)?;
        }
        let policy = Arc::new(kept_policy(&keyring, settings, newest_at_open, &pipeline)?);
        let holds = Arc::new(Holds::open(keyring.clone())?);
        let archiver = Arc::new(Mutex::new(Archiver {
            journal: journal.clone(),
            cold: cold.clone(),
            forensic: forensic.clone(),
            keyring: keyring.clone(),
            data: data.path().to_owned(),
            store_keys: store_keys.clone(),
            policy: policy.clone(),
            holds: holds.clone(),
            after: settings.archive_after.unwrap_or_default(),
            file_since: Instant::now(),
            swept: None,
            told_of_clock: false,
            holds_due: true,
        }));
        if settings.archive_after.is_some() {
            consumers.start_archiver(archiver.clone(), pipeline.clone())?;
            if let (Some(cold), Some(wanted)) = (&forensic, &settings.forensic) {
                let (cold, policy) = (cold.clone(), policy.policy.clone());
                let (data, min_severity) = (data.clone(), wanted.min_severity);
                consumers.start_forensic(Forensic { cold, spine, data, store_keys, policy, min_severity }, &keyring)?;
            }
        }
        let lifecycle = Lifecycle { cold, forensic, policy, holds, archiver };
        let tool_pins = Arc::new(ToolPins::new(keyring.clone(), pipeline.clone()));
        let signatures = Arc::new(Signatures::new(settings.inspect.clone(), pipeline.clone()));
        if signatures.can_change() {
            let signatures = signatures.clone();
            consumers.start_looking("signatures", LOOK, move || signatures.look())?;
        }
        if rules.can_change() {
            let rules = rules.clone();
            consumers.start_looking("rules", LOOK, move || rules.look())?;
        }
        {
            let intel = intel.clone();
            consumers.start_looking("intel", intel::LOOK, move || intel.look())?;
        }
        Ok(Self {
            data,
            tool_pins,
            signatures,
            rules,
            intel,
            replays: Arc::default(),
            keyring,
            pipeline,
            journal,
            consumers,
            lifecycle,
            newest_at_open,
            others: Arc::default(),
            witnesses: None,
            notes,
        })
    }

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
    /// When the name is none, or disk, keyring or record cannot be written.
    pub fn accept_baseline(&self, name: &str, baseline: &evaluate::Baseline, asker: &Asker) -> Result<(), BaselinesError> {
        Baselines::of(self).accept(name, baseline, asker)
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

/// The rules that were asked for, or those of the server's last start.
fn rules_of(settings: &NodeSettings, keyring: &Keyring) -> Result<(RulesConfig, RuleSet), NodeError> {
    if let Some(config) = &settings.rules {
        return Ok((config.clone(), config.rule_set()?));
    }
    let kept = kept_rules(keyring).and_then(|config| {
        let rules = config.rule_set()?;
        Ok((config, rules))
    });
    match kept {
        Ok(kept) => Ok(kept),
        // Where nobody detects, rules that cannot be read are in nobody's way.
        Err(_) if !settings.detects => Ok((RulesConfig::default(), RulesConfig::default().rule_set()?)),
        Err(error) => Err(error.into()),
    }
}

/// The forensic archive, where one is asked for or there is one already: what it holds is held, erased and dropped as everything is.
fn forensic_archive(
    data: &DataDir,
    keyring: &Arc<Keyring>,
    log_key: &ledger::LogKey,
    settings: &NodeSettings,
) -> Result<Option<Arc<Cold>>, ColdError> {
    if settings.forensic.is_none() && !data.path().join(FORENSIC.dir).join("manifest").exists() {
        return Ok(None);
    }
    let place = settings.forensic.as_ref().map(|forensic| &forensic.place);
    Ok(Some(Arc::new(Cold::open(FORENSIC, data, keyring, log_key, place)?)))
}

/// The retention policy that stands; another one that is wanted stands when it is recorded.
fn kept_policy(
    keyring: &Arc<Keyring>,
    settings: &NodeSettings,
    newest: Option<Timestamp>,
    pipeline: &Pipeline,
) -> Result<KeptPolicy, NodeError> {
    let (policy, change) = KeptPolicy::open(keyring.clone(), settings.retention.as_ref(), &Asker::of_process(), newest)?;
    let Some(change) = change else { return Ok(policy) };
    let recorded = pipeline.record_blocking(vec![change.event()], &|| false);
    recorded.map_err(|error| NodeError::Consumer(format!("cannot record the change of the retention policy: {error}")))?;
    Ok(policy.change(change)?)
}

/// An event of this program itself.
pub(crate) fn internal(kind: Kind, name: &str) -> Event<String> {
    let mut event = Event::new(kind, name, Source::new(SourcePath::Internal, Key::of("watchkeeper")));
    let mut application = event::Principal::asserted("watchkeeper".to_owned());
    application.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    application.proof = event::Proof::Local;
    event.identity.application = Some(application);
    event
}

/// That somebody reads contents: who, how, what.
pub(crate) fn read_event(asker: &Asker, action: &str, object: &str) -> Event<String> {
    /// Longest description of what is read, in characters.
    const OBJECT_CHARS_MAX: usize = 4_096;
    let mut event = internal(Kind::DataAccess, "record.read");
    asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, action);
    event.set(attr::DB_OPERATION_NAME, "read");
    event.set(attr::DB_SYSTEM_NAME, "watchkeeper");
    event.set(attr::DB_COLLECTION_NAME, object.chars().take(OBJECT_CHARS_MAX).collect::<String>().as_str());
    event
}

/// When the newest record was received; where it is archived already, when that was done.
fn newest(spine: &Spine) -> Result<Option<Timestamp>, NodeError> {
    let journal = &spine.journal;
    let Some(last) = journal.end().0.checked_sub(1) else { return Ok(None) };
    if journal.first() > Seq(last) {
        return Ok(spine.sealed());
    }
    let unreadable = |error: &dyn std::fmt::Display| NodeError::Consumer(format!("the newest record cannot be read: {error}"));
    let record = journal.reader(Seq(last)).and_then(|mut reader| reader.next()).map_err(|error| unreadable(&error))?;
    Ok(record.and_then(|record| record.event().ok()).map(|event| event.observed))
}
