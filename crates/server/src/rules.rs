//! The Sigma rules that detection goes by, those that are part of the program and those of the operator's directories: read anew when they
//! change, as signatures are.
//!
//! A rule that cannot be used is left out and named, and takes no other with it. A directory that cannot be read leaves the rules in force
//! that are. Other rules begin as they would at a restart: detection reads the records of its epoch anew with them, in silence, so that
//! what it knows at a record never depends on when the rules came.

use std::sync::{Arc, Mutex, PoisonError};

use detect::{Problem, RuleError, RuleKind, RuleSet, RuleSources};
use event::{Event, Key, Kind, Timestamp, attr};
use files::{Stamp, Tree, TreeError};
use inspect::Canaries;
use keys::{Keyring, KeysError};
use serde::Serialize;

use crate::asker::Asker;
use crate::config::RulesConfig;
use crate::consumers::RuleExchange;
use crate::node::internal;
use crate::pipeline::Pipeline;

/// The event that tells of other rules, or of some that were refused.
const EVENT: &str = "rules.reload";
/// Of an event that tells which rules are in force: their digest, and the first record that they saw.
pub(crate) const RULES_DIGEST: &str = "watchkeeper.rules.digest";
/// See [`RULES_DIGEST`].
pub(crate) const RULES_FROM: &str = "watchkeeper.rules.from";
/// Most problems that are told one by one; the rest is a number, and `watchkeeper rules check` tells all.
const PROBLEMS_TOLD_MAX: usize = 16;
/// Longest text that is told, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// As rule files are read.
const TREE: Tree<'_> = Tree { endings: &["yml", "yaml"], file_bytes_max: 1024 * 1024, files_max: 50_000 };

/// How the rules stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RulesStanding {
    /// Detection rules in force.
    pub rules: usize,
    /// Correlations in force.
    pub correlations: usize,
    /// Filters in force.
    pub filters: usize,
    /// Problems with rules, most of which leave one out.
    pub problems: usize,
    /// The first of them.
    pub left_out: Vec<String>,
    /// Which rules took the place of others, and which are disabled; the first of them.
    pub notes: Vec<String>,
    /// SHA-256 over the rules and budgets in force, hexadecimal.
    pub digest: String,
    /// When they were loaded (RFC 3339).
    pub loaded: String,
    /// Why what lies in the directories now is not what is in force, if that is so.
    pub refused: Option<String>,
}

impl RulesConfig {
    /// The rules of the directories and of the program.
    ///
    /// # Errors
    /// Directories that cannot be read.
    pub fn rule_set(&self) -> Result<RuleSet, RuleError> {
        let sources = RuleSources { builtin: self.builtin, dirs: &self.dirs, strict: self.strict, disable: &self.disable };
        Ok(RuleSet::assemble(&sources)?.with_budget(self.alert_budget))
    }

    fn stamps(&self) -> Result<Vec<Stamp>, TreeError> {
        let mut stamps = Vec::new();
        for dir in &self.dirs {
            stamps.extend(TREE.stamps(dir)?);
        }
        Ok(stamps)
    }
}

/// The keyring's name of the configuration of rules.
const KEPT: &str = "rules";

/// Why the rules of the server's last start are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptRulesError {
    /// The keyring.
    #[error("the rules that the server went by: {0}")]
    Keys(#[from] KeysError),
    /// What is kept is not what this program wrote.
    #[error(
        "the rules that the server went by, in the keyring: {0}; start the server with its configuration, which writes them anew"
    )]
    Form(#[from] serde_json::Error),
    /// The rules themselves.
    #[error(
        "the rules that the server went by: {0}; where they lie elsewhere now, give the server's configuration with --config"
    )]
    Rules(#[from] RuleError),
}

/// Which rules the server went by at its last start: whoever opens the record without its configuration detects by the same, so that what
/// it looks at is not lost to them. The program's own where no server has run.
///
/// # Errors
/// Whatever the keyring says.
pub fn kept_rules(keyring: &Keyring) -> Result<RulesConfig, KeptRulesError> {
    let json = keyring.named(KEPT)?;
    Ok(json.map(|json| serde_json::from_slice(&json)).transpose()?.unwrap_or_default())
}

/// Notes which rules the server goes by.
pub(crate) fn keep(keyring: &Keyring, config: &RulesConfig) -> Result<(), KeptRulesError> {
    // Commands run elsewhere.
    let dirs = config.dirs.iter().map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.clone())).collect();
    let config = RulesConfig { dirs, ..config.clone() };
    if kept_rules(keyring).ok().as_ref() != Some(&config) {
        keyring.put_named(KEPT, &serde_json::to_vec(&config)?)?;
    }
    Ok(())
}

/// Looks after the rules of a node.
pub(crate) struct Rules {
    config: RulesConfig,
    canaries: Canaries,
    pipeline: Arc<Pipeline>,
    detector: RuleExchange,
    state: Mutex<State>,
}

struct State {
    /// The files that were looked at when rules were loaded or refused last.
    taken: Option<Vec<Stamp>>,
    /// Those of the last look.
    seen: Option<Vec<Stamp>>,
    standing: RulesStanding,
}

impl Rules {
    pub(crate) fn new(
        config: RulesConfig,
        canaries: Canaries,
        rules: &RuleSet,
        pipeline: Arc<Pipeline>,
        detector: RuleExchange,
    ) -> Self {
        let taken = config.stamps().ok();
        let state = State { seen: taken.clone(), taken, standing: RulesStanding::of(rules) };
        Self { config, canaries, pipeline, detector, state: Mutex::new(state) }
    }

    /// Whether there is something that can change.
    pub(crate) fn can_change(&self) -> bool {
        !self.config.dirs.is_empty()
    }

    pub(crate) fn standing(&self) -> RulesStanding {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).standing.clone()
    }

    /// Says in an event which rules are in force, and from which record on.
    pub(crate) fn tell(&self, event: &mut Event<String>) {
        tell(event, &self.standing().digest, self.detector.detected());
    }

    /// Looks whether the files have changed and have come to rest, and reads them then.
    pub(crate) fn look(&self) {
        let now = self.config.stamps().ok();
        let is_due = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let rests = state.seen == now;
            state.seen.clone_from(&now);
            rests && state.taken != now
        };
        if is_due {
            self.reload(&Asker::of_process());
        }
    }

    /// Reads the files anew. Nothing is done where they say what is in force.
    pub(crate) fn reload(&self, asker: &Asker) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = self.config.stamps().ok();
        let before = description(&state.standing);
        let event = match self.config.rule_set().map(|rules| rules.with_canaries(self.canaries.clone())) {
            Ok(rules) => {
                let standing = RulesStanding::of(&rules);
                let is_same = standing.digest == state.standing.digest;
                let problems_are_same = standing.left_out == state.standing.left_out;
                state.standing = RulesStanding {
                    loaded: if is_same { state.standing.loaded.clone() } else { standing.loaded.clone() },
                    ..standing
                };
                if is_same && problems_are_same {
                    return;
                }
                for problem in &state.standing.left_out {
                    tracing::warn!("rule left out: {problem}");
                }
                let after = description(&state.standing);
                tracing::info!("rules: {after}; before {before}");
                let detected = self.detector.detected();
                if !is_same {
                    self.detector.exchange(rules);
                }
                let outcome = if state.standing.problems == 0 { "success" } else { "unknown" };
                let left_out = state.standing.left_out.join("; ");
                let mut event = reload_event(asker, outcome, &before, &format!("{after}; {left_out}"));
                tell(&mut event, &state.standing.digest, detected);
                event
            }
            Err(error) => {
                let reason = cut(error.to_string());
                tracing::error!("the rules that lie on the disk are not used, those before stay in force: {reason}");
                let is_known = state.standing.refused.as_ref() == Some(&reason);
                state.standing.refused = Some(reason.clone());
                if is_known {
                    return;
                }
                reload_event(asker, "failure", &before, &format!("refused: {reason}"))
            }
        };
        drop(state);
        if self.pipeline.record_blocking(vec![event], &|| true).is_err() {
            tracing::error!("the reload of the rules was not recorded");
        }
    }
}

impl RulesStanding {
    fn of(rules: &RuleSet) -> Self {
        let count = |kind| rules.rules().filter(|rule| rule.kind == kind).count();
        let told = |all: &mut dyn Iterator<Item = String>| all.take(PROBLEMS_TOLD_MAX).map(cut).collect();
        Self {
            rules: count(RuleKind::Rule),
            correlations: count(RuleKind::Correlation),
            filters: count(RuleKind::Filter),
            problems: rules.problems().len(),
            left_out: told(&mut rules.problems().iter().map(Problem::to_string)),
            notes: told(&mut rules.notes().iter().cloned()),
            digest: rules.digest(),
            loaded: Timestamp::now().rfc3339(),
            refused: None,
        }
    }
}

/// What is in force, in words.
fn description(standing: &RulesStanding) -> String {
    let RulesStanding { rules, correlations, filters, problems, digest, .. } = standing;
    format!("{rules} rules, {correlations} correlations, {filters} filters, {problems} problems, digest {digest}")
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

fn tell(event: &mut Event<String>, digest: &str, from: u64) {
    event.set(Key::of(RULES_DIGEST), digest);
    event.set(Key::of(RULES_FROM), i64::try_from(from).unwrap_or(i64::MAX));
}

fn reload_event(asker: &Asker, outcome: &str, before: &str, after: &str) -> Event<String> {
    let mut event = internal(Kind::Admin, EVENT);
    asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, "update");
    event.set(attr::ADMIN_OBJECT, "rules");
    event.set(attr::EVENT_OUTCOME, outcome);
    event.set(attr::ADMIN_BEFORE, before);
    event.set(attr::ADMIN_AFTER, cut(after.to_owned()).as_str());
    event
}
