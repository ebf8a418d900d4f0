//! How many detections of a rule are told of in an hour: a flood of one rule must not bury the others, and nobody reads the ten
//! thousandth alarm of it.
//!
//! Each rule has a budget of its own, and each entity (who was involved: the user, else the session, else the application) has one of
//! each rule's. What goes beyond is not told of and counted, and the count is: in a detection of the rule `alert-budget` when a budget is
//! spent, at every doubling, and when the hour is over and the rule speaks again. Hours are those in which the recorder got the events:
//! it is people's hours that are budgeted. Those times are in the record, so a replay suppresses the same. What is imported is not
//! budgeted: somebody waits for all of it.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use event::{EventId, RecordedEvent, RuleId, SourcePath, Timestamp};
use journal::Seq;
use lru::LruCache;
use sanitize::Clean;

use crate::detection::{Detection, Evidence, Suppression, Verdict, sha256_hex};
use crate::session::hash;

/// The rule by which a spent budget is told. The number changes with its meaning.
pub(crate) const RULE: &str = "alert-budget";
const RULE_VERSION: &str = "alert-budget/1";
/// Length of the hours, in nanoseconds.
const HOUR_NS: u64 = 3_600_000_000_000;
/// Most entities, of all rules together, whose detections are counted; the least recently detected begin anew.
const ENTITIES_MAX: usize = 131_072;
/// Most rules whose detections are counted, far above what a set can have.
const RULES_MAX: usize = 65_536;

/// What is told of in an hour at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertBudget {
    /// Detections of one rule.
    pub per_hour: u32,
    /// Detections of one rule about one entity.
    pub per_entity_hour: u32,
}

/// Far above what anybody reads, and far below what a flood brings.
impl Default for AlertBudget {
    fn default() -> Self {
        Self { per_hour: 10_000, per_entity_hour: 200 }
    }
}

/// What is left of the budgets.
pub(crate) struct Budgets {
    of_all: AlertBudget,
    of_rules: HashMap<String, AlertBudget>,
    rules: LruCache<u64, Spent>,
    entities: LruCache<(u64, u64), Spent>,
    digest: String,
    /// Detections that were not told of.
    pub(crate) suppressed: u64,
    /// The rules of those of the last event.
    pub(crate) last: Vec<RuleId>,
}

/// What was spent in an hour.
#[derive(Debug, Default, Clone, Copy)]
struct Spent {
    hour: u64,
    told: u32,
    suppressed: u64,
    /// How many of them have been told as a number.
    counted: u64,
}

impl Budgets {
    pub(crate) fn new(of_all: AlertBudget, of_rules: HashMap<String, AlertBudget>) -> Self {
        let size = |max| NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN);
        Self {
            of_all,
            of_rules,
            rules: LruCache::new(size(RULES_MAX)),
            entities: LruCache::new(size(ENTITIES_MAX)),
            digest: sha256_hex(&[RULE_VERSION.as_bytes()]),
            suppressed: 0,
            last: Vec::new(),
        }
    }

    /// Takes out of the detections of one event what is beyond the budgets, and adds what tells of that.
    pub(crate) fn apply(&mut self, event: &RecordedEvent<Clean>, seq: Seq, detections: &mut Vec<Detection>) {
        self.last.clear();
        if detections.is_empty() || event.source.path == SourcePath::Import {
            return;
        }
        let hour = event.observed.unix_ns() / HOUR_NS;
        let mut tell: Vec<(Detection, Option<String>, Spent, u32)> = Vec::new();
        detections.retain(|detection| {
            let rule = detection.rule.as_str();
            let budget = self.of_rules.get(rule).copied().unwrap_or(self.of_all);
            let entity = entity_of(detection);
            let rule_key = hash(&[rule.as_bytes()]);
            let of_rule = self.rules.get_or_insert_mut(rule_key, Spent::default);
            let of_entity = self.entities.get_or_insert_mut((rule_key, hash(&[entity.as_bytes()])), Spent::default);
            tell.extend(of_rule.enter(hour).map(|spent| (detection.clone(), None, spent, budget.per_hour)));
            tell.extend(
                of_entity.enter(hour).map(|spent| (detection.clone(), Some(entity.clone()), spent, budget.per_entity_hour)),
            );
            // Its own budget first: what one entity floods is told as that entity's.
            let (spent, whom, limit) = if of_entity.told >= budget.per_entity_hour {
                (of_entity, Some(entity), budget.per_entity_hour)
            } else if of_rule.told >= budget.per_hour {
                (of_rule, None, budget.per_hour)
            } else {
                of_rule.told += 1;
                of_entity.told += 1;
                return true;
            };
            self.suppressed += 1;
            self.last.push(detection.rule.clone());
            spent.suppressed += 1;
            if spent.suppressed.is_power_of_two() {
                spent.counted = spent.suppressed;
                tell.push((detection.clone(), whom, *spent, limit));
            }
            false
        });
        for (of, whom, spent, limit) in tell {
            detections.push(self.tell(event, seq, &of, whom, spent, limit));
        }
    }

    fn tell(
        &self,
        event: &RecordedEvent<Clean>,
        seq: Seq,
        of: &Detection,
        whom: Option<String>,
        spent: Spent,
        limit: u32,
    ) -> Detection {
        let from = Timestamp::from_unix_ns(spent.hour.saturating_mul(HOUR_NS));
        let whose = whom.as_ref().map_or_else(String::new, |entity| format!(" about {entity}"));
        let mut evidence = vec![Evidence {
            what: "budget".to_owned(),
            field: Some(of.rule.as_str().to_owned()),
            value: Some(format!("{limit} told of in the hour from {}{whose}, {} suppressed", from.rfc3339(), spent.suppressed)),
            event: Some(event.id),
            seq: Some(seq),
            ..Evidence::default()
        }];
        evidence.extend(of.evidence.first().cloned());
        let verdict = Verdict {
            rule: RULE,
            rule_digest: &self.digest,
            title: &format!("Alert budget spent: {}", of.title),
            technique: of.technique,
            severity: of.severity,
            confidence: of.confidence,
            grade: None,
        };
        let part = format!("{} {whose} {} {}", of.rule.as_str(), spent.hour, spent.suppressed);
        let mut detection = verdict.on(event, Vec::<EventId>::new(), evidence, &part);
        detection.identity = of.identity.clone();
        detection.session.clone_from(&of.session);
        detection.trace = of.trace;
        detection.suppression = Some(Suppression {
            rule: of.rule.clone(),
            scope: if whom.is_some() { "entity" } else { "rule" },
            entity: whom,
            from: from.rfc3339(),
            limit: u64::from(limit),
            count: spent.suppressed,
        });
        detection
    }
}

impl Spent {
    /// Begins the hour, where it is another one; gives what was not told of the one before. A clock that is put back does not give a
    /// budget anew.
    fn enter(&mut self, hour: u64) -> Option<Self> {
        if hour <= self.hour {
            return None;
        }
        let before = std::mem::replace(self, Self { hour, ..Self::default() });
        (before.suppressed > before.counted).then_some(before)
    }
}

/// Who a detection is about: the user, else the session, else the application.
#[must_use]
pub fn entity_of(detection: &Detection) -> String {
    let application = detection.identity.application.as_ref().map_or("", |one| one.id.as_str());
    match (&detection.identity.user, &detection.session) {
        (Some(user), _) => format!("user {}", user.id),
        // Sessions of different applications may have one name.
        (None, Some(session)) if application.is_empty() => format!("session {session}"),
        (None, Some(session)) => format!("session {session} of {application}"),
        (None, None) => format!("application {application}"),
    }
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Kind, Principal, Source};

    use super::*;
    use crate::detection::Severity;

    fn event(user: &str, hour: u64, path: SourcePath) -> RecordedEvent<Clean> {
        let mut event = Event::new(Kind::ModelCall, Clean::literal("op"), Source::new(path, Key::of("test")));
        event.identity.user = Some(Principal::asserted(Clean::recorded(user)));
        event.observed = Timestamp::from_unix_ns(hour * HOUR_NS + 1);
        event
    }

    fn detected(rule: &str, event: &RecordedEvent<Clean>) -> Detection {
        let verdict = Verdict {
            rule,
            rule_digest: "d",
            title: rule,
            technique: None,
            severity: Severity::High,
            confidence: 0.5,
            grade: None,
        };
        verdict.on(event, Vec::new(), Vec::new(), "")
    }

    fn budgets(per_hour: u32, per_entity_hour: u32) -> Budgets {
        let own = HashMap::from([("own".to_owned(), AlertBudget { per_hour: 1, per_entity_hour: 1 })]);
        Budgets::new(AlertBudget { per_hour, per_entity_hour }, own)
    }

    fn apply(budgets: &mut Budgets, rule: &str, event: &RecordedEvent<Clean>) -> Vec<(RuleId, Option<(String, u64)>)> {
        let mut found = vec![detected(rule, event)];
        budgets.apply(event, Seq(1), &mut found);
        let told = |one: Detection| (one.rule, one.suppression.map(|one| (one.entity.unwrap_or_default(), one.count)));
        found.into_iter().map(told).collect()
    }

    #[test]
    fn a_flood_is_counted_and_hides_neither_another_rule_nor_another_user() {
        let mut budgets = budgets(100, 3);
        let api = SourcePath::Api;
        let mut told = Vec::new();
        for _ in 0..20 {
            told.extend(apply(&mut budgets, "r", &event("eve", 10, api)));
        }
        let of_budget: Vec<(String, u64)> = told.iter().filter_map(|(_, suppression)| suppression.clone()).collect();
        assert_eq!(of_budget, [1, 2, 4, 8, 16].map(|count| ("user eve".to_owned(), count)));
        assert_eq!((told.len(), budgets.suppressed), (3 + 5, 17));
        for (rule, user) in [("other", "eve"), ("r", "bob")] {
            assert_eq!(apply(&mut budgets, rule, &event(user, 10, api)), [(RuleId::new(rule), None)]);
        }
        // The next hour tells what was left of this one, and begins anew; a clock that is put back does not.
        let next = apply(&mut budgets, "r", &event("eve", 11, api));
        assert_eq!(next, [(RuleId::new("r"), None), (RuleId::new(RULE), Some(("user eve".to_owned(), 17)))]);
        for (hour, told) in [(10, 1), (11, 1), (10, 1), (10, 1)] {
            assert_eq!(apply(&mut budgets, "r", &event("eve", hour, api)).len(), told, "{hour}");
        }
    }

    #[test]
    fn a_rule_has_a_budget_whoever_sets_it_off() {
        let mut budgets = budgets(5, 100);
        let told: Vec<_> =
            (0..50).flat_map(|user| apply(&mut budgets, "r", &event(&format!("u{user}"), 10, SourcePath::Gateway))).collect();
        assert_eq!(told.iter().filter(|(_, suppression)| suppression.is_none()).count(), 5);
        assert_eq!(told.last().and_then(|(_, suppression)| suppression.clone()), Some((String::new(), 32)));
        assert_eq!(budgets.suppressed, 45);
    }

    #[test]
    fn a_rule_may_say_its_own_and_what_is_imported_has_none() {
        let mut budgets = budgets(100, 100);
        let live = event("eve", 10, SourcePath::Api);
        let told: Vec<usize> = (0..3).map(|_| apply(&mut budgets, "own", &live).len()).collect();
        assert_eq!((told, budgets.suppressed), (vec![1, 1, 1], 2));
        let imported = event("eve", 10, SourcePath::Import);
        assert!((0..9).all(|_| apply(&mut budgets, "own", &imported) == [(RuleId::new("own"), None)]));
        assert_eq!(budgets.suppressed, 2);
    }
}
