//! How many detections of a rule are told of in an hour: a flood of one rule must not bury the others, and nobody reads the ten
//! thousandth alarm of it.
//!
//! Each rule has a budget of its own, and each entity (who was involved: see [`entity_of`]) has one of each rule's. Names are cheap: whoever
//! takes a new one for each attack spends the rule's budget. So the first detections of each entity are told of whatever others have spent,
//! and count for no budget but its own. What is grave (of severity critical, or an injection that was acted upon) has budgets of its own, so
//! much higher that they are a ceiling for machines and not for people, and reaching one is told as critical.
//!
//! What goes beyond is not told of and counted, and the count is: in a detection of the rule `alert-budget` when a budget is
//! spent, at every doubling, and when the hour is over and the rule speaks again. Hours are those in which the recorder got the events:
//! it is people's hours that are budgeted. Those times are in the record, so a replay suppresses the same. What is imported is not
//! budgeted: somebody waits for all of it.
//!
//! Entities that are forgotten for others begin anew: what the bound on memory costs is told once more, and never kept silent.

mod entity;

use std::collections::HashMap;

use event::{EventId, Identity, RecordedEvent, RuleId, SourcePath, Timestamp};
use journal::Seq;
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use self::entity::Entity;
pub use self::entity::entity_of;
use crate::behaviour::Bounded;
use crate::detection::{Detection, Evidence, Grade, Severity, Suppression, Verdict, sha256_hex};
use crate::session::hash;

/// The rule by which a spent budget is told. The number changes with its meaning.
pub(crate) const RULE: &str = "alert-budget";
const RULE_VERSION: &str = "alert-budget/2";
/// Length of the hours, in nanoseconds.
const HOUR_NS: u64 = 3_600_000_000_000;
/// Hours by which a clock may be put back and go on with what was spent. One that was further ahead was wrong, and its hour holds nobody.
const BACK_HOURS_MAX: u64 = 1;
/// Most entities, of all rules together, whose detections are counted; the least recently detected begin anew.
const ENTITIES_MAX: usize = 131_072;
/// Most rules whose detections are counted, of both kinds, far above what a set can have.
const RULES_MAX: usize = 131_072;
/// How many times the budgets of a rule are the ceilings of what is grave: far above what people or their agents bring, below what fills
/// the disk within the day.
const GRAVE_TIMES: u32 = 100;

/// What is told of in an hour at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertBudget {
    /// Detections of one rule, without the first of each entity.
    pub per_hour: u32,
    /// Detections of one rule about one entity.
    pub per_entity_hour: u32,
    /// The first detections of one rule about one entity, which are told of whatever its rule has spent.
    pub per_entity_first: u32,
}

/// Far above what anybody reads, and far below what a flood brings.
impl Default for AlertBudget {
    fn default() -> Self {
        Self { per_hour: 10_000, per_entity_hour: 200, per_entity_first: 5 }
    }
}

/// What is left of the budgets.
pub(crate) struct Budgets {
    of_all: AlertBudget,
    of_rules: HashMap<String, AlertBudget>,
    spent: Spent,
    digest: String,
    /// The rules of those that were not told of, of the last event.
    pub(crate) last: Vec<RuleId>,
}

/// What was spent: all that lasts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spent {
    rules: Bounded<(u64, Kind), OfRule>,
    entities: Bounded<(u64, u64, Kind), OfEntity>,
    /// Detections that were not told of.
    suppressed: u64,
}

/// Which budgets a detection is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Kind {
    Ordinary,
    Grave,
}

/// What a rule spent in an hour.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct OfRule {
    count: Count,
    /// Of what was told, the first detections of entities.
    firsts: u64,
    /// Entities that were kept silent about because the rule's budget was spent.
    entities: u64,
}

/// What an entity spent of a rule's in an hour.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct OfEntity {
    count: Count,
    /// Whether it is among the entities that the rule's budget kept silent about.
    is_of_rule: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Count {
    hour: u64,
    told: u32,
    suppressed: u64,
    /// How many of them have been told as a number.
    counted: u64,
}

/// What becomes of the detections of an event.
pub(crate) struct Judged {
    /// Whether it is told of, for each of them.
    pub(crate) told: Vec<bool>,
    /// What tells of those that are not.
    pub(crate) notices: Vec<Detection>,
}

/// What a notice tells of.
struct Notice<'a> {
    of: &'a Detection,
    kind: Kind,
    /// The entity, and of a rule's budget how many there are.
    whose: Whose,
    count: Count,
    limit: u32,
}

#[derive(Clone)]
enum Whose {
    Entity(Box<Entity>),
    Rule { entities: u64 },
}

impl Budgets {
    pub(crate) fn new(of_all: AlertBudget, of_rules: HashMap<String, AlertBudget>) -> Self {
        Self {
            of_all,
            of_rules,
            spent: Spent::new(RULES_MAX, ENTITIES_MAX),
            digest: sha256_hex(&[RULE_VERSION.as_bytes()]),
            last: Vec::new(),
        }
    }

    /// Detections that were not told of.
    pub(crate) fn suppressed(&self) -> u64 {
        self.spent.suppressed
    }

    /// Begins an event: nothing of it was kept from being told yet.
    pub(crate) fn begin(&mut self) {
        self.last.clear();
    }

    /// What was spent; nothing is, then.
    pub(crate) fn take_spent(&mut self) -> Spent {
        std::mem::replace(&mut self.spent, Spent::new(RULES_MAX, ENTITIES_MAX))
    }

    /// Goes on with what was spent.
    pub(crate) fn go_on(&mut self, spent: Spent) {
        self.spent = spent;
    }

    /// Decides which detections of an event are told of. `again` says which were kept from being told before, and counted then.
    pub(crate) fn judge(&mut self, event: &RecordedEvent<Clean>, seq: Seq, detections: &[Detection], again: &[bool]) -> Judged {
        self.last.clear();
        if event.source.path == SourcePath::Import {
            return Judged { told: vec![true; detections.len()], notices: Vec::new() };
        }
        let hour = event.observed.unix_ns() / HOUR_NS;
        let mut notices = Vec::new();
        let told = detections
            .iter()
            .zip(again)
            .map(|(detection, is_again)| {
                let budget = self.of_rules.get(detection.rule.as_str()).copied().unwrap_or(self.of_all);
                let is_told = self.spent.take(detection, budget, hour, *is_again, &mut notices);
                if !is_told && !is_again {
                    self.last.push(detection.rule.clone());
                }
                is_told
            })
            .collect();
        let notices = notices.into_iter().map(|notice| self.tell(event, seq, notice)).collect();
        Judged { told, notices }
    }

    fn tell(&self, event: &RecordedEvent<Clean>, seq: Seq, notice: Notice<'_>) -> Detection {
        let Notice { of, kind, whose, count, limit } = notice;
        let from = Timestamp::from_unix_ns(count.hour.saturating_mul(HOUR_NS));
        let (about, of_entities, key) = match &whose {
            Whose::Entity(entity) => (format!(" about {}", entity.name), String::new(), Some(entity.key)),
            Whose::Rule { entities } => (String::new(), format!(" about {entities} entities"), None),
        };
        let evidence = vec![Evidence {
            what: "budget".to_owned(),
            field: Some(of.rule.as_str().to_owned()),
            value: Some(format!(
                "{limit} told of in the hour from {}{about}, {} suppressed{of_entities}",
                from.rfc3339(),
                count.suppressed
            )),
            event: Some(event.id),
            seq: Some(seq),
            ..Evidence::default()
        }];
        let (title, severity) = match kind {
            Kind::Ordinary => (format!("Alert budget spent: {}", of.title), of.severity),
            Kind::Grave => (format!("Ceiling of grave alerts reached: {}", of.title), Severity::Critical),
        };
        let verdict = Verdict {
            rule: RULE,
            rule_digest: &self.digest,
            title: &title,
            labels: of.labels.clone(),
            severity,
            confidence: of.confidence,
            grade: None,
        };
        let part = format!("{} {kind:?} {key:?} {} {}", of.rule.as_str(), count.hour, count.suppressed);
        let mut detection = verdict.on(event, Vec::<EventId>::new(), evidence, &part);
        let (scope, entity, entities) = match (whose, kind) {
            (Whose::Entity(entity), kind) => {
                let entity = *entity;
                // It is about the entity, and not about whatever else the event says that happened to come.
                (detection.identity, detection.session) = (entity.identity, entity.session);
                let scope = if kind == Kind::Grave { "entity_grave" } else { "entity" };
                (scope, Some(entity.name), None)
            }
            (Whose::Rule { entities }, kind) => {
                (detection.identity, detection.session) = (Identity::default(), None);
                (if kind == Kind::Grave { "rule_grave" } else { "rule" }, None, Some(entities))
            }
        };
        (detection.trace, detection.tool) = (None, None);
        detection.suppression = Some(Suppression {
            rule: of.rule.clone(),
            scope,
            entity,
            entities,
            from: from.rfc3339(),
            limit: u64::from(limit),
            count: count.suppressed,
        });
        detection
    }
}

impl AlertBudget {
    /// The budget that what is of that kind has.
    fn of(self, kind: Kind) -> Self {
        match kind {
            Kind::Ordinary => self,
            Kind::Grave => Self {
                per_hour: self.per_hour.saturating_mul(GRAVE_TIMES),
                per_entity_hour: self.per_entity_hour.saturating_mul(GRAVE_TIMES),
                ..self
            },
        }
    }
}

impl Kind {
    fn of(detection: &Detection) -> Self {
        let is_grave = detection.severity == Severity::Critical || detection.grade.is_some_and(|grade| grade > Grade::Seen);
        if is_grave { Self::Grave } else { Self::Ordinary }
    }
}

impl Spent {
    fn new(rules: usize, entities: usize) -> Self {
        Self { rules: Bounded::new(rules), entities: Bounded::new(entities), suppressed: 0 }
    }

    /// Counts a detection; one that is kept from being told again is counted already. Whether it is told of.
    fn take<'a>(
        &mut self,
        of: &'a Detection,
        budget: AlertBudget,
        hour: u64,
        is_again: bool,
        notices: &mut Vec<Notice<'a>>,
    ) -> bool {
        let kind = Kind::of(of);
        let firsts_max = budget.per_hour.saturating_mul(GRAVE_TIMES);
        let budget = budget.of(kind);
        let entity = Entity::of(of);
        let rule_key = hash(&[of.rule.as_str().as_bytes()]);
        let key = (rule_key, entity.key, kind);
        if let Some(((rule, _, kind), forgotten)) = self.entities.make_room(&key) {
            // What was not told of it yet is told with its rule's.
            let of_rule = self.rules.entry((rule, kind), || OfRule::at(forgotten.count.hour));
            of_rule.count.suppressed += forgotten.count.untold();
        }
        let of_rule = self.rules.entry((rule_key, kind), || OfRule::at(hour));
        let of_entity = self.entities.entry(key, || OfEntity::at(hour));
        if of_rule.count.is_over(hour) {
            let OfRule { count, entities, .. } = std::mem::replace(of_rule, OfRule::at(hour));
            let whose = Whose::Rule { entities };
            notices.extend((count.untold() > 0).then_some(Notice { of, kind, whose, count, limit: budget.per_hour }));
        }
        if of_entity.count.is_over(hour) {
            let OfEntity { count, .. } = std::mem::replace(of_entity, OfEntity::at(hour));
            let whose = Whose::Entity(Box::new(entity.clone()));
            notices.extend((count.untold() > 0).then_some(Notice { of, kind, whose, count, limit: budget.per_entity_hour }));
        }
        // Its own budget first: what one entity floods is told as that entity's.
        let told = of_entity.count.told;
        // Names are cheap: the first of ever new ones have a ceiling, too.
        let is_first = told < budget.per_entity_first.min(budget.per_entity_hour);
        if is_first && of_rule.firsts < u64::from(firsts_max) {
            of_rule.firsts += 1;
            of_entity.count.told += 1;
            return true;
        }
        if told < budget.per_entity_hour && of_rule.count.told < budget.per_hour {
            of_rule.count.told += 1;
            of_entity.count.told += 1;
            return true;
        }
        if is_again {
            return false;
        }
        self.suppressed += 1;
        let (count, whose, limit) = if told >= budget.per_entity_hour {
            (&mut of_entity.count, Whose::Entity(Box::new(entity)), budget.per_entity_hour)
        } else {
            of_rule.entities += u64::from(!std::mem::replace(&mut of_entity.is_of_rule, true));
            (&mut of_rule.count, Whose::Rule { entities: of_rule.entities }, budget.per_hour)
        };
        count.suppressed += 1;
        if count.is_due() {
            count.counted = count.suppressed;
            notices.push(Notice { of, kind, whose, count: *count, limit });
        }
        false
    }
}

impl OfRule {
    fn at(hour: u64) -> Self {
        Self { count: Count::at(hour), firsts: 0, entities: 0 }
    }
}

impl OfEntity {
    fn at(hour: u64) -> Self {
        Self { count: Count::at(hour), is_of_rule: false }
    }
}

impl Count {
    fn at(hour: u64) -> Self {
        Self { hour, told: 0, suppressed: 0, counted: 0 }
    }

    /// Whether its hour is not the one that it is. A clock that is put back a little does not give a budget anew.
    fn is_over(&self, hour: u64) -> bool {
        !(self.hour.saturating_sub(BACK_HOURS_MAX)..=self.hour).contains(&hour)
    }

    /// How many have not been told as a number.
    fn untold(&self) -> u64 {
        self.suppressed - self.counted
    }

    /// Whether it is time to tell the number: at the first, and whenever it has doubled.
    fn is_due(&self) -> bool {
        self.suppressed >= self.counted.saturating_mul(2).max(1)
    }
}

#[cfg(test)]
mod tests {
    use event::{Client, Event, Key, Kind as EventKind, Principal, Source};

    use super::*;
    use crate::detection::Labels;

    fn event(user: &str, hour: u64, path: SourcePath) -> RecordedEvent<Clean> {
        let mut event = Event::new(EventKind::ModelCall, Clean::literal("op"), Source::new(path, Key::of("test")));
        event.identity.user = Some(Principal::asserted(Clean::recorded(user)));
        event.observed = Timestamp::from_unix_ns(hour * HOUR_NS + 1);
        event
    }

    /// Of an application, and of nobody else.
    fn of_application(application: &str) -> RecordedEvent<Clean> {
        let mut event = event("", 10, SourcePath::Api);
        event.identity.user = None;
        event.identity.application = Some(Principal::asserted(Clean::recorded(application)));
        event
    }

    fn detected(rule: &str, event: &RecordedEvent<Clean>, severity: Severity, grade: Option<Grade>) -> Detection {
        let verdict =
            Verdict { rule, rule_digest: "d", title: rule, labels: Labels::default(), severity, confidence: 0.5, grade };
        verdict.on(event, Vec::new(), Vec::new(), "")
    }

    fn budgets(per_hour: u32, per_entity_hour: u32, per_entity_first: u32) -> Budgets {
        let own = HashMap::from([("own".to_owned(), AlertBudget { per_hour: 1, per_entity_hour: 1, per_entity_first: 1 })]);
        Budgets::new(AlertBudget { per_hour, per_entity_hour, per_entity_first }, own)
    }

    /// What is told of a detection, and the notices beside it.
    fn judge(
        budgets: &mut Budgets,
        rule: &str,
        event: &RecordedEvent<Clean>,
        severity: Severity,
        grade: Option<Grade>,
    ) -> (bool, Vec<Detection>) {
        let judged = budgets.judge(event, Seq(1), &[detected(rule, event, severity, grade)], &[false]);
        assert_eq!(budgets.last.is_empty(), judged.told[0]);
        (judged.told[0], judged.notices)
    }

    /// Whether it is told of, and the entities and numbers that are told beside it.
    fn apply(budgets: &mut Budgets, rule: &str, event: &RecordedEvent<Clean>) -> (bool, Vec<(String, u64)>) {
        let (told, notices) = judge(budgets, rule, event, Severity::High, None);
        let numbers = notices.into_iter().filter_map(|one| one.suppression);
        (told, numbers.map(|one| (one.entity.unwrap_or_default(), one.count)).collect())
    }

    #[test]
    fn the_first_of_ever_new_names_have_a_ceiling() {
        let mut budgets = budgets(1, 3, 1);
        let names = (0..200).map(|number| format!("u{number}"));
        let told = names.filter(|name| apply(&mut budgets, "r", &event(name, 10, SourcePath::Api)).0).count();
        // A hundred times the rule's one, and that one.
        assert_eq!((told, budgets.suppressed()), (101, 99));
    }

    #[test]
    fn who_merely_says_a_name_spends_nothing_of_who_is_proved() {
        let mut budgets = budgets(100, 3, 1);
        for _ in 0..10 {
            apply(&mut budgets, "r", &event("ann", 10, SourcePath::Api));
        }
        let mut proved = event("ann", 10, SourcePath::Gateway);
        proved.identity.user = proved.identity.user.map(|user| Principal { proof: event::Proof::ApiKey, ..user });
        assert!(apply(&mut budgets, "r", &proved).0);
        assert!(!apply(&mut budgets, "r", &event("ann", 10, SourcePath::Api)).0);
    }

    #[test]
    fn a_flood_is_counted_and_hides_neither_another_rule_nor_another_user() {
        let mut budgets = budgets(100, 3, 1);
        let api = SourcePath::Api;
        let flood: Vec<_> = (0..20).map(|_| apply(&mut budgets, "r", &event("eve", 10, api))).collect();
        assert_eq!(flood.iter().filter(|(told, _)| *told).count(), 3);
        let numbers: Vec<_> = flood.into_iter().flat_map(|(_, numbers)| numbers).collect();
        assert_eq!(numbers, [1, 2, 4, 8, 16].map(|count| ("user eve".to_owned(), count)));
        assert_eq!(budgets.suppressed(), 17);
        for (rule, user) in [("other", "eve"), ("r", "bob")] {
            assert_eq!(apply(&mut budgets, rule, &event(user, 10, api)), (true, vec![]));
        }
        // The next hour tells what was left of this one, and begins anew; a clock that is put back a little does not.
        assert_eq!(apply(&mut budgets, "r", &event("eve", 11, api)), (true, vec![("user eve".to_owned(), 17)]));
        for (hour, told) in [(10, true), (11, true), (10, false), (11, false)] {
            assert_eq!(apply(&mut budgets, "r", &event("eve", hour, api)).0, told, "{hour}");
        }
    }

    #[test]
    fn a_flood_of_names_spends_the_budget_of_a_rule_and_the_first_of_everybody_are_told_of() {
        let mut budgets = budgets(5, 4, 2);
        let mut told = 0;
        let mut numbers = Vec::new();
        for user in 0..50 {
            for _ in 0..4 {
                let (is_told, new) = apply(&mut budgets, "r", &event(&format!("u{user}"), 10, SourcePath::Gateway));
                told += u64::from(is_told);
                numbers.extend(new);
            }
        }
        assert_eq!((told, budgets.suppressed()), (50 * 2 + 5, 50 * 2 - 5));
        assert_eq!(numbers, [1, 2, 4, 8, 16, 32, 64].map(|count| (String::new(), count)));
        // Whoever comes when it is spent is told of, too, and the first are not taken out of anybody's budget.
        let late: Vec<bool> = (0..4).map(|_| apply(&mut budgets, "r", &event("eve", 10, SourcePath::Gateway)).0).collect();
        assert_eq!(late, [true, true, false, false]);
    }

    #[test]
    fn what_tells_of_a_rules_budget_is_about_nobody_and_says_how_many_were_kept_silent() {
        let mut budgets = budgets(1, 10, 0);
        let mut notices = Vec::new();
        for n in 0..9 {
            let mut event = event(&format!("u{}", n % 3), 10, SourcePath::Api);
            (event.session, event.trace) = (Some(Clean::recorded("s")), None);
            notices.extend(judge(&mut budgets, "r", &event, Severity::High, None).1);
        }
        assert_eq!(notices.len(), 4);
        for one in &notices {
            assert_eq!((&one.identity, &one.session, &one.trace, &one.tool), (&Identity::default(), &None, &None, &None));
            assert!(one.evidence.iter().all(|item| !format!("{item:?}").contains("u1")), "{:?}", one.evidence);
        }
        let last = notices.pop().unwrap();
        let value = last.evidence[0].value.clone().unwrap();
        let suppression = last.suppression.unwrap();
        assert_eq!((suppression.scope, suppression.entity, suppression.entities, suppression.count), ("rule", None, Some(3), 8));
        assert!(value.contains("8 suppressed about 3 entities"), "{value}");
        // That of an entity is about the entity, and not about the session that happened to come.
        let mut budgets = self::budgets(9, 1, 0);
        let mut event = event("eve", 10, SourcePath::Api);
        (event.session, event.identity.agent) = (Some(Clean::recorded("s")), Some(Principal::asserted(Clean::recorded("robin"))));
        judge(&mut budgets, "r", &event, Severity::High, None);
        let (_, notices) = judge(&mut budgets, "r", &event, Severity::High, None);
        assert_eq!(notices[0].identity.user.as_ref().map(|user| user.id.as_str()), Some("eve"));
        assert_eq!((&notices[0].identity.agent, &notices[0].session), (&None, &None));
    }

    #[test]
    fn entities_are_those_of_an_application_and_callers_who_say_little_are_told_apart() {
        let mut budgets = budgets(100, 1, 0);
        let some = |id: &str| Some(Principal::asserted(Clean::recorded(id)));
        let mut told = Vec::new();
        for (application, user, agent, credential, address) in [
            ("shop", "eve", "", "", ""),
            ("desk", "eve", "", "", ""),
            ("", "eve", "", "", ""),
            // Nobody can write a name that is another's.
            ("a of b", "c", "", "", ""),
            ("b", "c of a", "", "", ""),
            ("shop", "", "", "", ""),
            ("shop", "", "robin", "", ""),
            ("shop", "", "", "key-1", ""),
            ("shop", "", "", "key-2", ""),
            ("shop", "", "robin", "key-2", ""),
            ("shop", "", "", "", "ip-1"),
            ("shop", "", "", "", "ip-2"),
        ] {
            let mut event = of_application(application);
            event.identity.application = event.identity.application.filter(|_| !application.is_empty());
            event.identity.user = some(user).filter(|_| !user.is_empty());
            event.identity.agent = some(agent).filter(|_| !agent.is_empty());
            event.identity.credential = some(credential).filter(|_| !credential.is_empty());
            event.identity.client =
                Some(Client { address: Some(Clean::recorded(address)), user_agent: Some(Clean::recorded("x")) })
                    .filter(|_| !address.is_empty());
            told.push((apply(&mut budgets, "r", &event).0, apply(&mut budgets, "r", &event).0));
        }
        assert_eq!(told, vec![(true, false); told.len()]);
        let named = detected("r", &of_application("shop"), Severity::Low, None);
        assert_eq!(entity_of(&named), "application shop");
        let mut both = of_application("shop");
        both.identity.user = some("eve");
        assert_eq!(entity_of(&detected("r", &both, Severity::Low, None)), "user eve of shop");
    }

    #[test]
    fn what_is_grave_is_told_of_when_the_budgets_are_spent_and_its_own_ceiling_is_told_as_critical() {
        let mut budgets = budgets(2, 1, 0);
        let eve = event("eve", 10, SourcePath::Api);
        (0..9).for_each(|_| drop(apply(&mut budgets, "r", &eve)));
        let grave = [(Severity::Critical, None), (Severity::Low, Some(Grade::ActedOn)), (Severity::High, Some(Grade::Reached))];
        for (severity, grade) in grave {
            assert!(judge(&mut budgets, "r", &eve, severity, grade).0, "{severity:?} {grade:?}");
        }
        assert!(!judge(&mut budgets, "r", &eve, Severity::High, Some(Grade::Seen)).0);
        let mut told = 3;
        let mut loud = Vec::new();
        for _ in 0..2 * GRAVE_TIMES {
            let (is_told, notices) = judge(&mut budgets, "r", &eve, Severity::Low, Some(Grade::Reached));
            told += u32::from(is_told);
            loud.extend(notices);
        }
        assert_eq!(told, GRAVE_TIMES);
        assert!(loud.iter().all(|one| one.severity == Severity::Critical && one.title.starts_with("Ceiling")), "{loud:?}");
        assert_eq!(
            loud[0].suppression.as_ref().map(|one| (one.scope, one.limit)),
            Some(("entity_grave", u64::from(GRAVE_TIMES)))
        );
    }

    #[test]
    fn an_hour_of_a_clock_that_was_ahead_holds_nobody() {
        let mut budgets = budgets(100, 1, 0);
        let api = SourcePath::Api;
        for hour in [10, 5_000, 5_000] {
            apply(&mut budgets, "r", &event("eve", hour, api));
        }
        // It was put right: what was spent in the year to come is not spent now.
        let (told, numbers) = apply(&mut budgets, "r", &event("eve", 10, api));
        assert_eq!((told, numbers.len()), (true, 0), "what was not told of was told as a number then");
        assert!(!apply(&mut budgets, "r", &event("eve", 10, api)).0);
        assert!(apply(&mut budgets, "r", &event("eve", 11, api)).0);
    }

    #[test]
    fn a_rule_may_say_its_own_and_what_is_imported_has_none() {
        let mut budgets = budgets(100, 100, 1);
        let live = event("eve", 10, SourcePath::Api);
        let told: Vec<bool> = (0..3).map(|_| apply(&mut budgets, "own", &live).0).collect();
        assert_eq!((told, budgets.suppressed()), (vec![true, false, false], 2));
        let imported = event("eve", 10, SourcePath::Import);
        assert!((0..9).all(|_| apply(&mut budgets, "own", &imported) == (true, vec![])));
        assert_eq!(budgets.suppressed(), 2);
    }

    #[test]
    fn memory_is_bounded_and_who_is_forgotten_is_told_of_anew_and_their_numbers_with_the_rules() {
        let mut budgets = budgets(100_000, 1, 0);
        budgets.go_on(Spent::new(4, 16));
        let mut told = 0;
        for user in 0..1_000 {
            // Of the four that are not told of, one is not told as a number yet.
            for _ in 0..4 {
                told += u64::from(apply(&mut budgets, "r", &event(&format!("u{user}"), 10, SourcePath::Api)).0);
            }
        }
        assert_eq!((told, budgets.spent.entities.len()), (1_000, 16));
        assert!(apply(&mut budgets, "r", &event("u0", 10, SourcePath::Api)).0, "it is forgotten");
        // Three for each were suppressed, two of them were told as numbers, and the third is told with the rule's when the hour is over.
        let (_, numbers) = apply(&mut budgets, "r", &event("new", 11, SourcePath::Api));
        assert_eq!(numbers, [(String::new(), 1_000 - 16 + 2)]);
    }

    #[test]
    fn what_was_spent_is_stored_and_gone_on_with_alike() {
        let (mut one, mut other) = (budgets(20, 3, 1), budgets(20, 3, 1));
        let see = |budgets: &mut Budgets, from: u64| -> Vec<_> {
            (from..from + 200)
                .map(|n| apply(budgets, "r", &event(&format!("u{}", n % 17), 10 + n / 150, SourcePath::Api)))
                .collect()
        };
        assert_eq!(see(&mut one, 0), see(&mut other, 0));
        let stored = postcard::to_extend(&one.take_spent(), Vec::new()).unwrap();
        assert_eq!(one.suppressed(), 0);
        one.go_on(postcard::from_bytes(&stored).unwrap());
        assert_eq!(see(&mut one, 200), see(&mut other, 200));
        assert!(one.suppressed() > 0 && one.suppressed() == other.suppressed());
    }
}
