//! Suppressions: detections of a rule, about an entity, that are only marked, until a day that somebody said.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use event::Timestamp;
use rusqlite::{Connection, params};
use sanitize::Sanitizer;
use serde::{Deserialize, Serialize};
use store::DetectionRecord;
use utoipa::ToSchema;

use super::{NAME_BYTES_MAX, REASON_BYTES_MAX, Triage, TriageError, needed};
use crate::secrets;
use crate::times::time_of;

/// Suppressions that are in force at once: each is looked at for each detection of its rule.
const SUPPRESSIONS_MAX: usize = 1_000;

/// Suppressions that are over and are kept, so that what they covered stays marked. Beyond them those go that were over first.
const OVER_MAX: usize = 1_000;

/// Longest that a suppression lasts, in nanoseconds: a year. What is right for longer belongs into the rule.
const LASTS_MAX_NS: u64 = 366 * 86_400_000_000_000;

/// What a suppression can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SuppressedKind {
    /// An end user.
    User,
    /// An agent.
    Agent,
    /// An application.
    Application,
    /// A tool.
    Tool,
    /// A session.
    Session,
}

/// Whom a suppression is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuppressedEntity {
    /// What it is.
    pub(crate) kind: SuppressedKind,
    /// Which.
    pub(crate) name: String,
}

/// Detections that are only marked from now on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SuppressionRequest)]
pub(crate) struct NewSuppression {
    /// Of this rule.
    pub(crate) rule: String,
    /// About this entity; without it, about any.
    #[serde(default)]
    pub(crate) entity: Option<SuppressedEntity>,
    /// Why; sanitised as everything is.
    pub(crate) reason: String,
    /// Who answers for it.
    pub(crate) owner: String,
    /// Until when (RFC 3339); at most a year from now.
    pub(crate) expires: String,
}

/// A suppression: what it covers is recorded, detected and counted, and only marked. It covers what is recorded between `created` and
/// `expires`, by Watchkeeper's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Suppression {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) id: Arc<str>,
    /// Of this rule.
    pub(crate) rule: String,
    /// About this entity.
    pub(crate) entity: Option<SuppressedEntity>,
    /// Why.
    pub(crate) reason: String,
    /// Who answers for it.
    pub(crate) owner: String,
    /// Who made it: the key's id.
    pub(crate) created_by: String,
    /// Since when (RFC 3339).
    pub(crate) created: String,
    /// Until when (RFC 3339); earlier than was said, where somebody ended it.
    pub(crate) expires: String,
}

impl Suppression {
    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        micros(Timestamp::now()) >= self.expires
    }

    /// Whether it covers a detection.
    pub(super) fn covers(&self, detection: &DetectionRecord) -> bool {
        // Times of one length compare as texts.
        let is_within = self.created <= detection.observed && detection.observed < self.expires;
        is_within && self.entity.as_ref().is_none_or(|entity| entity.is_of(detection))
    }
}

impl SuppressedEntity {
    fn is_of(&self, detection: &DetectionRecord) -> bool {
        let name = match self.kind {
            SuppressedKind::User => &detection.user_id,
            SuppressedKind::Agent => &detection.agent,
            SuppressedKind::Application => &detection.application,
            SuppressedKind::Tool => &detection.tool,
            SuppressedKind::Session => &detection.session_id,
        };
        name.as_ref() == Some(&self.name)
    }
}

/// A time as the store has it: RFC 3339 in UTC, with microseconds.
fn micros(time: Timestamp) -> String {
    store::iso_time(time)
}

impl NewSuppression {
    /// The suppression as it is kept, if it is possible: to be recorded, and then added.
    pub(crate) fn check(self, by: &str, sanitizer: &Sanitizer) -> Result<Suppression, TriageError> {
        let Self { rule, entity, reason, owner, expires } = self;
        needed("rule", &rule, NAME_BYTES_MAX)?;
        needed("reason", &reason, REASON_BYTES_MAX)?;
        needed("owner", &owner, NAME_BYTES_MAX)?;
        if let Some(entity) = &entity {
            needed("entity.name", &entity.name, REASON_BYTES_MAX)?;
        }
        let refuse = |message: &str| TriageError::Refused(format!("expires: {message}"));
        let until = time_of(&expires).ok_or_else(|| refuse("a time as RFC 3339 has it is needed"))?;
        let now = Timestamp::now();
        if until <= now {
            return Err(refuse("it lies in the past"));
        }
        if until.unix_ns() - now.unix_ns() > LASTS_MAX_NS {
            return Err(refuse("at most a year from now; what is right for longer belongs into the rule"));
        }
        let id = format!("sup_{}", event::hex::encode(&secrets::random::<6>().map_err(TriageError::Random)?));
        let (created_by, created, expires) = (by.to_owned(), micros(now), micros(until));
        let clean = |text: &str| sanitizer.text(text).text.to_string();
        let (reason, owner) = (clean(&reason), clean(&owner));
        let entity = entity.map(|entity| SuppressedEntity { name: clean(&entity.name), ..entity });
        Ok(Suppression { id: id.into(), rule, entity, reason, owner, created_by, created, expires })
    }
}

impl Triage {
    /// Every suppression, the newest first.
    pub(crate) fn suppressions(&self) -> Vec<Arc<Suppression>> {
        let mut all: Vec<Arc<Suppression>> = self.standing().suppressions.values().flatten().cloned().collect();
        all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        all
    }

    /// One of them.
    pub(crate) fn suppression_by_id(&self, id: &str) -> Option<Arc<Suppression>> {
        self.standing().suppressions.values().flatten().find(|suppression| *suppression.id == *id).cloned()
    }

    /// Whether one more has room.
    pub(crate) fn has_room_for_suppression(&self) -> Result<(), TriageError> {
        drop(self.writable()?);
        let in_force = self.standing().suppressions.values().flatten().filter(|suppression| !suppression.is_over()).count();
        if in_force < SUPPRESSIONS_MAX {
            return Ok(());
        }
        Err(TriageError::TooMany {
            what: "suppressions in force",
            max: SUPPRESSIONS_MAX,
            remedy: "end those that are not needed, and write what stays right into the rules, as filters",
        })
    }

    /// Adds a suppression, or puts it in the place of the one with its id. Durable when it returns.
    pub(crate) fn put_suppression(&self, suppression: Suppression) -> Result<Arc<Suppression>, TriageError> {
        let mut database = self.writable()?;
        let let_go = self.over_first(OVER_MAX);
        let transaction = database.transaction()?;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO suppressions(id, suppression) VALUES (?1, ?2)")?
            .execute(params![&*suppression.id, serde_json::to_string(&suppression)?])?;
        for gone in &let_go {
            transaction.prepare_cached("DELETE FROM suppressions WHERE id = ?1")?.execute([&*gone.id])?;
        }
        transaction.commit()?;
        let suppression = Arc::new(suppression);
        let mut standing = self.standing.write().unwrap_or_else(PoisonError::into_inner);
        for gone in let_go {
            if let Some(of_rule) = standing.suppressions.get_mut(&gone.rule) {
                of_rule.retain(|known| known.id != gone.id);
            }
        }
        let of_rule = standing.suppressions.entry(suppression.rule.clone()).or_default();
        of_rule.retain(|known| known.id != suppression.id);
        of_rule.push(suppression.clone());
        standing.suppressions.retain(|_, of_rule| !of_rule.is_empty());
        Ok(suppression)
    }

    /// Those that were over first, where more than `max` are.
    fn over_first(&self, max: usize) -> Vec<Arc<Suppression>> {
        let standing = self.standing();
        let mut over: Vec<_> =
            standing.suppressions.values().flatten().filter(|suppression| suppression.is_over()).cloned().collect();
        over.sort_unstable_by(|a, b| b.expires.cmp(&a.expires));
        over.split_off(max.min(over.len()))
    }

    /// A suppression as it is when it ends now.
    pub(crate) fn ended(&self, id: &str) -> Result<Suppression, TriageError> {
        let unknown = || TriageError::Unknown { what: "suppression", id: id.chars().take(80).collect() };
        let suppression = self.suppression_by_id(id).ok_or_else(unknown)?;
        if suppression.is_over() {
            return Err(TriageError::Refused("this suppression is over already".to_owned()));
        }
        Ok(Suppression { expires: micros(Timestamp::now()), ..Suppression::clone(&suppression) })
    }
}

pub(super) fn read(database: &Connection) -> Result<HashMap<String, Vec<Arc<Suppression>>>, TriageError> {
    let mut statement = database.prepare("SELECT suppression FROM suppressions")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut by_rule: HashMap<String, Vec<Arc<Suppression>>> = HashMap::new();
    for suppression in rows {
        let suppression: Suppression = serde_json::from_str(&suppression?)?;
        by_rule.entry(suppression.rule.clone()).or_default().push(Arc::new(suppression));
    }
    Ok(by_rule)
}

#[cfg(test)]
mod tests {
    use store::Marks as _;

    use super::super::tests::{keyring, sanitizer};
    use super::*;
    use crate::data_dir::DataDir;

    fn detection(rule: &str, user: Option<&str>, observed: &str) -> DetectionRecord {
        DetectionRecord {
            detection_id: "d".to_owned(),
            seq: 0,
            time: observed.to_owned(),
            observed: observed.to_owned(),
            late_s: None,
            rule: Some(rule.to_owned()),
            title: String::new(),
            technique: None,
            technique_name: None,
            severity: "high".to_owned(),
            confidence: None,
            grade: None,
            session_id: None,
            trace_id: None,
            user_id: user.map(str::to_owned),
            application: None,
            agent: None,
            tool: None,
            correlation: String::new(),
        }
    }

    fn asked(expires: &str) -> NewSuppression {
        let entity = Some(SuppressedEntity { kind: SuppressedKind::User, name: "u1".to_owned() });
        let (rule, reason, owner) = ("r1".to_owned(), "a pen test".to_owned(), "ann".to_owned());
        NewSuppression { rule, entity, reason, owner, expires: expires.to_owned() }
    }

    #[test]
    fn a_suppression_covers_its_rule_and_its_entity_for_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = keyring(dir.path());
        let triage = Triage::open(&data, &keyring).unwrap();
        let now = Timestamp::now().unix_ns();
        let at = |s: i64| micros(Timestamp::from_unix_ns(now.saturating_add_signed(s * 1_000_000_000)));
        let suppression = triage.put_suppression(asked(&at(3_600)).check("key_1", &sanitizer()).unwrap()).unwrap();
        let check = |triage: &Triage, rule, user, when: i64, is_covered| {
            let found = triage.suppression(&detection(rule, user, &at(when)));
            assert_eq!(found.is_some(), is_covered, "{rule} {user:?} {when}");
        };
        check(&triage, "r1", Some("u1"), 60, true);
        check(&triage, "r1", Some("u1"), -60, false);
        check(&triage, "r1", Some("u1"), 3_601, false);
        check(&triage, "r1", Some("u2"), 60, false);
        check(&triage, "r1", None, 60, false);
        check(&triage, "r2", Some("u1"), 60, false);
        triage.put_suppression(triage.ended(&suppression.id).unwrap()).unwrap();
        check(&triage, "r1", Some("u1"), 60, false);
        assert!(matches!(triage.ended(&suppression.id), Err(TriageError::Refused(_))));
        assert!(matches!(triage.ended("sup_x"), Err(TriageError::Unknown { .. })));
        drop(triage);
        let triage = Triage::open(&data, &keyring).unwrap();
        assert_eq!((triage.suppressions().len(), triage.suppressions()[0].is_over()), (1, true));
    }

    #[test]
    fn those_that_are_over_take_nobodys_place_and_the_oldest_of_them_go() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let triage = Triage::open(&data, &keyring(dir.path())).unwrap();
        let now = Timestamp::now().unix_ns();
        let at = |s: i64| micros(Timestamp::from_unix_ns(now.saturating_add_signed(s * 1_000_000_000)));
        let one = asked(&at(3_600)).check("k", &sanitizer()).unwrap();
        let all = u32::try_from(SUPPRESSIONS_MAX + OVER_MAX).unwrap();
        {
            let mut standing = triage.standing.write().unwrap();
            for number in 0..all {
                let expires = if number < 10 { at(60) } else { at(-i64::from(number)) };
                let known = Suppression { id: format!("s{number}").into(), expires, ..one.clone() };
                standing.suppressions.entry(known.rule.clone()).or_default().push(Arc::new(known));
            }
        }
        triage.has_room_for_suppression().unwrap();
        triage.put_suppression(one.clone()).unwrap();
        let kept = triage.suppressions();
        assert_eq!(kept.len(), 10 + 1 + OVER_MAX);
        assert!(kept.iter().any(|kept| &*kept.id == "s10") && !kept.iter().any(|kept| *kept.id == *format!("s{}", all - 1)));
        let mut standing = triage.standing.write().unwrap();
        for number in 0..SUPPRESSIONS_MAX {
            let known = Suppression { id: format!("f{number}").into(), ..one.clone() };
            standing.suppressions.entry(known.rule.clone()).or_default().push(Arc::new(known));
        }
        drop(standing);
        assert!(matches!(triage.has_room_for_suppression(), Err(TriageError::TooMany { .. })));
    }

    #[test]
    fn a_suppression_ends_within_a_year_and_says_why() {
        let now = Timestamp::now().unix_ns();
        let after = |days: u64| micros(Timestamp::from_unix_ns(now + days * 86_400_000_000_000));
        assert!(asked(&after(365)).check("k", &sanitizer()).is_ok());
        for expires in [after(367), "2020-01-01T00:00:00Z".to_owned(), "tomorrow".to_owned(), String::new()] {
            assert!(asked(&expires).check("k", &sanitizer()).unwrap_err().to_string().starts_with("expires"), "{expires}");
        }
        assert!(NewSuppression { reason: " ".to_owned(), ..asked(&after(1)) }.check("k", &sanitizer()).is_err());
        assert!(NewSuppression { owner: String::new(), ..asked(&after(1)) }.check("k", &sanitizer()).is_err());
    }
}
