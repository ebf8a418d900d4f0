//! Rules over what is recorded: what they would have detected (a backtest), whether detection as it stands says what it said (a replay),
//! and why a rule said something of a record, or nothing.
//!
//! The engine, the epochs and the warm-up are those of live detection (`consumers::watching`). Nothing is written but the event that says
//! that the record was read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use capture::RecordError;
use detect::{Detection, Explanation, RuleError, RuleSet};
use event::{EventId, Kind, SourcePath, Timestamp, attr};
use journal::Seq;
use serde::{Deserialize, Serialize};
use store::{Cell, QueryError, QueryLimits};

use crate::asker::Asker;
use crate::consumers::watching::Watching;
use crate::lifecycle::cold::Step;
use crate::lifecycle::spine::{Spine, SpineError};
use crate::node::Node;
use crate::room::Failure;

/// Most entities and differences that a report lists.
const LISTED_MAX: usize = 100;
/// Most entities that are counted.
const ENTITIES_MAX: usize = 1_000_000;
/// Most detections whose ids are kept, to compare them with those recorded.
const COMPARED_MAX: usize = 2_000_000;

/// What is to be replayed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayRequest {
    /// Rule files to try, with their names; without any, the rules in force are replayed and compared with what is recorded.
    pub files: Vec<(PathBuf, String)>,
    /// Whether the rules in force stay beside those to try.
    pub beside: bool,
    /// Only what was received at this time or later (RFC 3339).
    pub since: Option<String>,
    /// Only what was received before.
    pub until: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// Records that were shown to the rules.
    pub records: u64,
    /// When the first of them was received, and the last (RFC 3339).
    pub received: Option<(String, String)>,
    /// Rules that were tried.
    pub rules: usize,
    /// What is wrong with the files.
    pub problems: Vec<String>,
    /// Detections that would have been told.
    pub detections: u64,
    /// Detections that spent alert budgets would have kept from being told.
    pub suppressed: u64,
    /// By rule, the loudest first. Rules that said nothing stand at the end.
    pub by_rule: Vec<OfRule>,
    /// By who was involved, the loudest first.
    pub by_entity: Vec<OfEntity>,
    /// By the day on which what was detected happened.
    pub by_day: BTreeMap<String, u64>,
    /// The comparison with what live detection recorded, where the rules in force were replayed.
    pub live: Option<Compared>,
}

/// What one rule says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OfRule {
    /// The rule.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// Its severity.
    pub severity: String,
    /// Detections that would have been told.
    pub detections: u64,
    /// Detections beyond its budgets.
    pub suppressed: u64,
    /// How many were involved.
    pub entities: usize,
}

/// What is said of somebody.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OfEntity {
    /// As in `user u-1`.
    pub entity: String,
    /// Detections.
    pub detections: u64,
    /// Different rules.
    pub rules: usize,
}

/// A replay beside what is recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Detections of these records that are recorded.
    pub recorded: u64,
    /// Those that the replay found, too.
    pub same: u64,
    /// Those of a rule that says something else today, or is gone.
    pub of_other_versions: u64,
    /// Recorded and not found again, of rules that are the same: the first.
    pub only_recorded: Vec<String>,
    /// How many these are.
    pub only_recorded_count: u64,
    /// Found and not recorded: the first. Those of rules that are newer than the records are here.
    pub only_replayed: Vec<String>,
    /// How many these are.
    pub only_replayed_count: u64,
}

/// What is to be explained.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The rule: its id, name or title; of a detection its own where left out.
    #[serde(default)]
    pub rule: Option<String>,
    /// The id of an event, or of a detection.
    pub event: String,
    /// Rule files beside those in force.
    #[serde(default)]
    pub files: Vec<(PathBuf, String)>,
}

/// Why nothing could be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The rules.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The record cannot be read.
    #[error(transparent)]
    Spine(#[from] SpineError),
    /// Something on the way.
    #[error("{0}")]
    Stopped(String),
    /// A time is none.
    #[error("{field}: {value:?} is no time; write RFC 3339, as in 2026-03-01T09:00:00Z, or a date")]
    Time {
        /// `since` or `until`.
        field: &'static str,
        /// What was written.
        value: String,
    },
    /// The store.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// No event has that id.
    #[error("no event or detection in the hot store has the id {0}; `watchkeeper restore` brings older days back")]
    NoEvent(String),
    /// No rule is called so.
    #[error(
        "no rule in force is called {0:?}: give its id, name or title; `watchkeeper rules explain --rules DIR` looks in DIR, too"
    )]
    NoRule(String),
    /// A detection that no Sigma rule made.
    #[error("{0} is no Sigma rule: its evidence says what it rests on (`watchkeeper trace ID`)")]
    NotSigma(String),
    /// The read could not be recorded.
    #[error("reading contents is recorded, and this read cannot be: {0}")]
    Record(#[from] RecordError),
}

fn stopped(error: Failure) -> ReplayError {
    ReplayError::Stopped(error.to_string())
}

impl Node {
    /// Replays the record: see [`ReplayRequest`]. It reads all of what it is asked for, and takes its time; not from within an
    /// asynchronous task. That it was read is recorded first.
    ///
    /// # Errors
    /// Rules and times that cannot be read, and a record that cannot.
    pub fn replay(&self, asker: &Asker, request: &ReplayRequest) -> Result<ReplayReport, ReplayError> {
        let (since, until) = (time("since", request.since.as_deref())?, time("until", request.until.as_deref())?);
        let compares = request.files.is_empty();
        let rules = match (compares, request.beside) {
            (true, _) => self.consumers().rules()?,
            (false, true) => self.consumers().rules()?.with_files(request.files.clone())?,
            (false, false) => RuleSet::of_files(request.files.clone())?,
        };
        let tried: BTreeSet<&PathBuf> = request.files.iter().map(|(path, _)| path).collect();
        let mut report = Report::new(&rules, compares, &tried);
        let object = format!("{} rules over the record, since {since:?}, until {until:?}", rules.rules().len());
        self.note_read(asker, if compares { "replay" } else { "backtest" }, &object)?;
        let spine = Spine { journal: self.journal().clone(), cold: self.lifecycle().cold.clone() };
        let end = self.journal().end();
        let from = since.map_or(Seq(0), |since| spine.received_from(since));
        let mut watching = Watching::new(rules).map_err(stopped)?;
        watching.begin(&spine, from, None, &|| false).map_err(stopped)?;
        let mut reader = spine.reader_with_contents(watching.start())?;
        while let Some(step) = reader.next()? {
            let Step::Record(record) = step else { continue };
            if record.seq >= end {
                break;
            }
            let found = watching.take(&spine, &record, &mut |_, _| Ok(())).map_err(stopped)?;
            let Ok(event) = record.event() else { continue };
            let is_asked_for = record.seq >= from
                && since.is_none_or(|since| event.observed >= since)
                && until.is_none_or(|until| event.observed < until);
            if until.is_some_and(|until| event.observed >= until) && !compares {
                break;
            }
            if compares && event.kind == Kind::Detection && event.source.path == SourcePath::Internal {
                // What was found of a record is recorded behind it.
                let rule = event.attribute(attr::DETECTION_RULE.as_str()).and_then(|value| value.as_text());
                let digest = event.attribute(attr::DETECTION_RULE_DIGEST.as_str()).and_then(|value| value.as_text());
                report.recorded(event.id, rule.map_or("", |text| text.as_str()), digest.map_or("", |text| text.as_str()));
            }
            if is_asked_for {
                report.add(event.observed, &found, watching.suppressed());
            }
        }
        Ok(report.finish())
    }

    /// Explains a rule at an event that is recorded, as live detection saw it: with everything that came before.
    ///
    /// # Errors
    /// What is not there, and what cannot be read.
    pub fn explain(&self, asker: &Asker, request: &ExplainRequest) -> Result<Vec<Explanation>, ReplayError> {
        let in_force = self.consumers().rules()?;
        let rules = if request.files.is_empty() { in_force } else { in_force.with_files(request.files.clone())? };
        self.note_read(asker, "explain", &format!("{} by {}", request.event, request.rule.as_deref().unwrap_or("its rule")))?;
        let (seq, of_detection) = self.place_of(&request.event)?;
        let called = match (&request.rule, of_detection) {
            (Some(rule), _) => rule.clone(),
            (None, Some(rule)) => rule,
            (None, None) => return Err(ReplayError::NoRule(String::new())),
        };
        let rule = match rules.find(&called) {
            Some(rule) => rule.id.clone(),
            None if request.rule.is_none() => return Err(ReplayError::NotSigma(called)),
            None => return Err(ReplayError::NoRule(called)),
        };
        let spine = Spine { journal: self.journal().clone(), cold: self.lifecycle().cold.clone() };
        let mut watching = Watching::new(rules).map_err(stopped)?;
        watching.begin(&spine, seq, None, &|| false).map_err(stopped)?;
        watching.explain_at(&rule, seq);
        let mut reader = spine.reader_with_contents(watching.start())?;
        while let Some(step) = reader.next()? {
            let Step::Record(record) = step else { continue };
            watching.take(&spine, &record, &mut |_, _| Ok(())).map_err(stopped)?;
            if record.seq >= seq {
                break;
            }
        }
        Ok(watching.explained())
    }

    /// The record of an event; of a detection the record of the event that completed it, and its rule.
    fn place_of(&self, id: &str) -> Result<(Seq, Option<String>), ReplayError> {
        let missing = || ReplayError::NoEvent(id.to_owned());
        let id: EventId = id.parse().map_err(|_| missing())?;
        let reader = self.reader().map_err(QueryError::from)?;
        let limits = QueryLimits::default();
        let detection = reader.sql(&format!("SELECT rule, events FROM detections WHERE detection_id = '{id}'"), &limits)?;
        let last = |ids: &str| -> Result<Seq, ReplayError> {
            let found = reader.sql(&format!("SELECT max(seq) FROM events WHERE event_id IN ({ids})"), &limits)?;
            match found.rows.first().and_then(|row| row.first()) {
                Some(Cell::Int(seq)) => Ok(Seq(u64::try_from(*seq).unwrap_or(0))),
                _ => Err(missing()),
            }
        };
        let Some([Cell::Text(rule), Cell::Text(events)]) = detection.rows.first().map(Vec::as_slice) else {
            return Ok((last(&format!("'{id}'"))?, None));
        };
        let events: Vec<EventId> =
            serde_json::from_str::<Vec<String>>(events).unwrap_or_default().iter().filter_map(|id| id.parse().ok()).collect();
        let ids: Vec<String> = events.iter().map(|id| format!("'{id}'")).collect();
        Ok((last(&ids.join(", "))?, Some(rule.clone())))
    }
}

fn time(field: &'static str, value: Option<&str>) -> Result<Option<Timestamp>, ReplayError> {
    let Some(value) = value else { return Ok(None) };
    let read = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let time = read(value).or_else(|| read(&format!("{value}T00:00:00Z")));
    let ns = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
    ns.map(|ns| Some(Timestamp::from_unix_ns(ns))).ok_or_else(|| ReplayError::Time { field, value: value.to_owned() })
}

/// A report in the making.
struct Report {
    told: ReplayReport,
    rules: HashMap<String, (OfRule, BTreeSet<String>)>,
    /// Rules whose detections are reported; all where none are named.
    digests: HashMap<String, String>,
    only_these: bool,
    entities: HashMap<String, (u64, BTreeSet<String>)>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    replayed: HashMap<EventId, (String, String)>,
    recorded: HashMap<EventId, (String, String)>,
}

impl Report {
    fn new(rules: &RuleSet, compares: bool, tried: &BTreeSet<&PathBuf>) -> Self {
        let is_tried = |rule: &&detect::RuleInfo| compares || tried.contains(&rule.file);
        let problems = rules.problems().iter().filter(|problem| compares || tried.contains(&problem.file));
        let told = ReplayReport {
            rules: rules.rules().filter(is_tried).count(),
            problems: problems.map(ToString::to_string).collect(),
            live: compares.then(Compared::default),
            ..ReplayReport::default()
        };
        let of = |rule: &detect::RuleInfo| OfRule {
            rule: rule.id.clone(),
            title: rule.title.clone(),
            severity: rule.severity.as_str().to_owned(),
            ..OfRule::default()
        };
        Self {
            told,
            rules: rules.rules().filter(is_tried).map(|rule| (rule.id.clone(), (of(rule), BTreeSet::new()))).collect(),
            digests: rules.rules().map(|rule| (rule.id.clone(), rule.digest.clone())).collect(),
            only_these: !compares,
            entities: HashMap::new(),
            first: None,
            last: None,
            replayed: HashMap::new(),
            recorded: HashMap::new(),
        }
    }

    fn add(&mut self, observed: Timestamp, found: &[Detection], suppressed: &[event::RuleId]) {
        self.told.records += 1;
        self.first = Some(self.first.map_or(observed, |first| first.min(observed)));
        self.last = Some(self.last.map_or(observed, |last| last.max(observed)));
        for rule in suppressed {
            if self.only_these && !self.rules.contains_key(rule.as_str()) {
                continue;
            }
            self.told.suppressed += 1;
            self.rules.entry(rule.as_str().to_owned()).or_default().0.suppressed += 1;
        }
        for one in found {
            let rule = one.rule.as_str();
            if self.only_these && !self.rules.contains_key(rule) {
                continue;
            }
            self.told.detections += 1;
            let entity = detect::entity_of(one);
            let (of_rule, entities) = self.rules.entry(rule.to_owned()).or_default();
            if of_rule.rule.is_empty() {
                *of_rule = OfRule {
                    rule: rule.to_owned(),
                    title: one.title.clone(),
                    severity: one.severity.as_str().to_owned(),
                    ..of_rule.clone()
                };
            }
            of_rule.detections += 1;
            if entities.len() < ENTITIES_MAX {
                entities.insert(entity.clone());
            }
            if self.entities.len() < ENTITIES_MAX || self.entities.contains_key(&entity) {
                let (count, rules) = self.entities.entry(entity).or_default();
                *count += 1;
                rules.insert(rule.to_owned());
            }
            *self.told.by_day.entry(store::day_of(one.time.unix_ns())).or_default() += 1;
            if self.told.live.is_some() && self.replayed.len() < COMPARED_MAX {
                self.replayed.insert(one.id, (rule.to_owned(), one.rule_digest.clone()));
            }
        }
    }

    fn recorded(&mut self, id: EventId, rule: &str, digest: &str) {
        if self.recorded.len() < COMPARED_MAX {
            self.recorded.insert(id, (rule.to_owned(), digest.to_owned()));
        }
    }

    fn finish(mut self) -> ReplayReport {
        let mut told = self.told;
        told.received = self.first.zip(self.last).map(|(first, last)| (first.rfc3339(), last.rfc3339()));
        told.by_rule = self.rules.into_values().map(|(rule, entities)| OfRule { entities: entities.len(), ..rule }).collect();
        told.by_rule.sort_by(|a, b| {
            (b.detections + b.suppressed, &a.title, &a.rule).cmp(&(a.detections + a.suppressed, &b.title, &b.rule))
        });
        let of = |(entity, (detections, rules)): (String, (u64, BTreeSet<String>))| OfEntity {
            entity,
            detections,
            rules: rules.len(),
        };
        told.by_entity = self.entities.into_iter().map(of).collect();
        told.by_entity.sort_by(|a, b| (b.detections, &a.entity).cmp(&(a.detections, &b.entity)));
        told.by_entity.truncate(LISTED_MAX);
        if let Some(live) = &mut told.live {
            live.recorded = self.recorded.len() as u64;
            let mut only_recorded = Vec::new();
            for (id, (rule, digest)) in &self.recorded {
                let is_other = |now: &String| now != digest;
                match self.replayed.remove(id) {
                    Some(_) => live.same += 1,
                    None if self.digests.get(rule).is_some_and(is_other) => live.of_other_versions += 1,
                    None => only_recorded.push(format!("{id} {rule}")),
                }
            }
            let mut only_replayed: Vec<String> = self.replayed.iter().map(|(id, (rule, _))| format!("{id} {rule}")).collect();
            for (list, count, told) in [
                (&mut only_recorded, &mut live.only_recorded_count, &mut live.only_recorded),
                (&mut only_replayed, &mut live.only_replayed_count, &mut live.only_replayed),
            ] {
                list.sort();
                *count = list.len() as u64;
                list.truncate(LISTED_MAX);
                *told = std::mem::take(list);
            }
        }
        told
    }
}
