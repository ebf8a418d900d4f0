//! What a replay says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use detect::{Detection, RuleInfo, RuleSet};
use event::{RuleId, Timestamp};
use journal::Seq;
use serde::{Deserialize, Serialize};

use super::compare::{Compared, Comparing};

/// Most entities, problems and differences that a report lists.
pub(super) const LISTED_MAX: usize = 100;
/// Most entities that are counted.
const ENTITIES_MAX: usize = 1_000_000;

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

/// A report in the making.
pub(super) struct Report {
    told: ReplayReport,
    rules: HashMap<String, (OfRule, BTreeSet<String>)>,
    /// Whether only the rules that are there now are reported.
    only_these: bool,
    entities: HashMap<String, (u64, BTreeSet<String>)>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    comparing: Option<Comparing>,
}

impl Report {
    /// Of rules that are tried: those of these files.
    pub(super) fn of(rules: &RuleSet, tried: &BTreeSet<&PathBuf>) -> Self {
        Self::new(rules, true, None, |file| tried.contains(file))
    }

    /// Of the rules in force, beside what is recorded; `detected` is the record up to which detection has come.
    pub(super) fn comparing(rules: &RuleSet, detected: Seq) -> Self {
        Self::new(rules, false, Some(Comparing::new(rules, detected)), |_| true)
    }

    fn new(rules: &RuleSet, only_these: bool, comparing: Option<Comparing>, is_tried: impl Fn(&PathBuf) -> bool) -> Self {
        let all: Vec<&RuleInfo> = rules.rules().filter(|rule| is_tried(&rule.file)).collect();
        let mut problems: Vec<String> =
            rules.problems().iter().filter(|problem| is_tried(&problem.file)).map(ToString::to_string).collect();
        if problems.len() > LISTED_MAX {
            let more = problems.len() - LISTED_MAX;
            problems.truncate(LISTED_MAX);
            problems.push(format!("and {more} more problems"));
        }
        let told = ReplayReport { rules: all.len(), problems, ..ReplayReport::default() };
        let of = |rule: &RuleInfo| OfRule {
            rule: rule.id.clone(),
            title: rule.title.clone(),
            severity: rule.severity.as_str().to_owned(),
            ..OfRule::default()
        };
        Self {
            told,
            rules: all.into_iter().map(|rule| (rule.id.clone(), (of(rule), BTreeSet::new()))).collect(),
            only_these,
            entities: HashMap::new(),
            first: None,
            last: None,
            comparing,
        }
    }

    /// Takes what was found in a record.
    pub(super) fn add(&mut self, seq: Seq, observed: Timestamp, found: &[Detection], suppressed: &[RuleId]) {
        self.told.records += 1;
        self.first = Some(self.first.map_or(observed, |first| first.min(observed)));
        self.last = Some(self.last.map_or(observed, |last| last.max(observed)));
        for rule in suppressed {
            if self.only_these && !self.rules.contains_key(rule.as_str()) {
                continue;
            }
            self.told.suppressed += 1;
            self.rules.entry(rule.as_str().to_owned()).or_default().0.suppressed += 1;
            if let Some(comparing) = &mut self.comparing {
                comparing.suppressed(rule.as_str());
            }
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
            if let Some(comparing) = &mut self.comparing {
                comparing.replayed(seq, one);
            }
        }
    }

    /// The comparison, where there is one.
    pub(super) fn comparing_mut(&mut self) -> Option<&mut Comparing> {
        self.comparing.as_mut()
    }

    pub(super) fn finish(self) -> ReplayReport {
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
        told.live = self.comparing.map(Comparing::finish);
        told
    }
}
