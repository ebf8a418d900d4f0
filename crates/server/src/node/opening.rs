//! How a node is opened: what it is told, and why it does not start.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use detect::RuleSet;
use event::{Key, Kind, Timestamp, attr};
use inspect::{Canary, CanaryError};
use journal::{Journal, Options, Seq};
use keys::{DataKeys, Keyring, KeysError, Purpose};

use super::{Node, internal};
use crate::asker::Asker;
use crate::canary;
use crate::config::IntelConfig;
use crate::config::{InspectConfig, RulesConfig, SanitizeConfig, Seal};
use crate::configuration;
use crate::consumers::Consumers;
use crate::data_dir::{DataDir, DataDirError};
use crate::frame_keys::frame_keys;
use crate::geoip::{GeoipConfig, GeoipError, Places};
use crate::intel::{self, Intel, IntelError};
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
use crate::pipeline::Pipeline;
use crate::root_key::{RootKeyError, RootKeyPlace, open_keyring};
use crate::rules::{KeptRulesError, Rules, kept_rules};
use crate::sanitizing::{self, SanitizingError};
use crate::signatures::{LOOK, SignatureError, Signatures};
use crate::tool_pins::ToolPins;
use crate::triage::Triage;
use crate::watchman;

/// What a node is told when it is opened.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// Which Sigma rules there are; without it, those that the server's last start said, which the keyring keeps.
    pub rules: Option<RulesConfig>,
    /// Whether what is recorded is shown to the rules. Whoever only reads leaves that to the next one who does not.
    pub detects: bool,
    /// Which signatures the inspector uses.
    pub inspect: InspectConfig,
    /// Whose indicators events are looked up in; without it, those of the server's last start, which the keyring keeps, for whoever records.
    pub intel: Option<IntelConfig>,
    /// Markers that must not come out; without it, those that the server's last start said, which the keyring keeps.
    pub canaries: Option<Vec<Canary>>,
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
            intel: None,
            canaries: None,
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
    /// What people decided has no place, not even in memory.
    #[error("what people decide: {0}")]
    Triage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The consumers did not finish.
    #[error("{0}")]
    Consumer(String),
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
        let canaries = settings.canaries.clone().map_or_else(|| configuration::canaries(&keyring), Ok)?;
        let canaries = canary::read(&canaries, &sanitizer)?;
        let inspector = settings.inspect.inspector()?.with_canaries(canaries.clone());
        let pipeline = Pipeline::new(sanitizer, inspector, Places::open(&settings.geoip)?, keyring.clone(), journal.clone())?;
        let pipeline = Arc::new(pipeline);
        let intel = Arc::new(intel_of(settings, &data, &keyring, &pipeline)?);
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
        let consumers = Consumers::start(&data, &keyring, archives, &spine, pipeline.clone(), rule_set.uncompiled(), settings)?;
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
        let triage = Triage::open_or_without(&data, &keyring).map_err(|error| NodeError::Triage(error.into()))?;
        if let Some(lost) = triage.lost() {
            notes.push(lost.to_string());
            let recorded = pipeline.record_blocking(vec![lost.event()], &|| false);
            recorded
                .map_err(|error| NodeError::Consumer(format!("cannot record what was lost of what people decided: {error}")))?;
        }
        let triage = Arc::new(triage);
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
            triage: triage.clone(),
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
            triage,
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
}

/// The indicators of the feeds that were asked for, or of those of the server's last start.
fn intel_of(
    settings: &NodeSettings,
    data: &DataDir,
    keyring: &Arc<Keyring>,
    pipeline: &Arc<Pipeline>,
) -> Result<Intel, IntelError> {
    let open = |config: IntelConfig| Intel::open(config, data, keyring, pipeline.clone());
    match &settings.intel {
        Some(config) => open(config.clone()),
        // Where nothing is shown to the rules nothing is looked up for them.
        None if !settings.detects => open(IntelConfig::default()),
        None => intel::kept_config(keyring).and_then(open).or_else(|error| {
            tracing::error!(%error, "what is recorded now is looked up in imports alone: give the server's configuration, or start the server");
            open(IntelConfig::default())
        }),
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
