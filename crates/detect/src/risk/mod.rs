//! Risk of users, agents, applications, tools, sessions and credentials: what detections add up to.
//!
//! A detection adds to the risk of everybody who was involved: a weight for its severity, times its confidence. What it added halves
//! every day. What one rule and what one technique can add is capped, so that no noisy rule makes anybody a risk by itself. When the
//! risk of somebody crosses the threshold, and more than one technique is behind it, that is a detection of its own, with those that it
//! rests on: worth an incident, where each of them was not.
//!
//! What a spent alert budget keeps from being told adds as much.
//!
//! Time is that of the events and the order that of the journal, so a replay gives the same risk. Detections of risk add to no risk.

use event::risk::{HALF_LIFE_S, RULE_MAX, TECHNIQUE_MAX, THRESHOLD};
use event::{EventId, Identity, Part, RecordedEvent, TechniqueId, attr};
use journal::Seq;
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use crate::behaviour::Bounded;
use crate::detection::{Detection, Evidence, Labels, Severity, Verdict, sha256_hex};
use crate::session::hash;

/// Most entities that are remembered, 4 KB each at worst; the least recently detected go first.
const ENTITIES_MAX: usize = 32_768;
/// Most rules that are remembered of one entity; the one that adds least goes first.
const RULES_MAX: usize = 24;
/// And from here on a grave one: it is told once more.
const GRAVE: f64 = 160.0;
/// Below it somebody is none any more, and the next crossing is told again.
const REARM: f64 = THRESHOLD / 2.0;
/// Least number of techniques.
const TECHNIQUES_MIN: usize = 2;
/// A technique counts from here on: one doubtful detection of low severity is none.
const TECHNIQUE_COUNTS: f64 = 4.0;
/// Most events that a detection of risk names.
const EVENTS_MAX: usize = 32;

/// The rule by which its detections go. The number changes with its meaning.
pub(crate) const RULE: &str = "risk-threshold";
const RULE_VERSION: &str = "risk-threshold/1";
const RUNBOOK: &str = "risk";

/// What everybody's detections add up to.
pub(crate) struct Risk {
    entities: Bounded<u64, Entity>,
    digest: String,
}

/// What is known of one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Entity {
    /// What each rule has added, as of `time_s`.
    added: Vec<Added>,
    time_s: i64,
    /// How far its risk was told: 0, 1 (a risk), 2 (a grave one).
    told: u8,
}

/// What a rule has added.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Added {
    rule: String,
    title: String,
    technique: Option<TechniqueId>,
    confidence: f32,
    amount: f64,
    /// Its newest detection that was told of, and an event of the newest of all.
    detection: Option<EventId>,
    event: EventId,
    seq: Option<Seq>,
}

/// Entities as they are handed on.
pub(crate) type Handed = Bounded<u64, Entity>;

/// What was detected of somebody: whether it was told of, and whether it was counted before.
struct Of<'a> {
    kind: &'static str,
    id: String,
    detections: Vec<(&'a Detection, bool, bool)>,
}

/// Somebody whose risk crossed the threshold.
struct Crossed {
    kind: &'static str,
    id: String,
    risk: f64,
    techniques: usize,
    added: Vec<Added>,
}

impl Risk {
    pub(crate) fn new() -> Self {
        Self::with_entities(ENTITIES_MAX)
    }

    fn with_entities(max: usize) -> Self {
        let constants = format!("{RULE_VERSION} {HALF_LIFE_S} {RULE_MAX} {TECHNIQUE_MAX} {THRESHOLD} {GRAVE} {TECHNIQUES_MIN}");
        Self { entities: Bounded::new(max), digest: sha256_hex(&[constants.as_bytes()]) }
    }

    /// What the next one goes on with.
    pub(crate) fn hand_on(self) -> Handed {
        self.entities
    }

    /// Goes on with what was handed on, in the place of what it knows itself: a risk fades over days, and no reading anew brings it back.
    pub(crate) fn go_on(&mut self, handed: Handed) {
        self.entities = handed;
    }

    /// Adds what was detected in `event` to the risk of whoever was involved: also what a spent budget keeps from being told, `told` says
    /// which, and `again` what added to it before and was not told then. Gives a detection where that made somebody a risk.
    pub(crate) fn observe(
        &mut self,
        event: &RecordedEvent<Clean>,
        seq: Seq,
        time_s: i64,
        detections: &[Detection],
        told: &[bool],
        again: &[bool],
    ) -> Option<Detection> {
        if detections.is_empty() {
            return None;
        }
        // A detection may be about somebody who has no part in the event: whoever is silent, say.
        let mut of: Vec<Of<'_>> = Vec::new();
        for ((detection, is_told), is_again) in detections.iter().zip(told).zip(again) {
            for (kind, id) in entities(detection) {
                let one = (detection, *is_told, *is_again);
                match of.iter_mut().find(|one| one.kind == kind && one.id == id) {
                    Some(of) => of.detections.push(one),
                    None => of.push(Of { kind, id, detections: vec![one] }),
                }
            }
        }
        let mut crossed = Vec::new();
        let mut about = None;
        for Of { kind, id, detections } in of {
            let key = hash(&[b"risk", kind.as_bytes(), id.as_bytes()]);
            let entity = self.entities.entry(key, Entity::default);
            entity.decay(time_s);
            for (detection, is_told, is_again) in &detections {
                match is_again {
                    false => entity.add(detection, *is_told, seq),
                    true => entity.tell(detection, *is_told),
                }
            }
            let (risk, techniques) = entity.risk();
            if risk < REARM {
                entity.told = 0;
            }
            let level = u8::from(risk >= THRESHOLD) + u8::from(risk >= GRAVE);
            if level > entity.told && techniques >= TECHNIQUES_MIN {
                entity.told = level;
                crossed.push(Crossed { kind, id, risk, techniques, added: entity.added.clone() });
                about = about.or(detections.first().map(|(detection, ..)| *detection));
            }
        }
        Some(self.detection(event, about?, crossed))
    }

    /// What is told, of whom `about` is.
    fn detection(&self, event: &RecordedEvent<Clean>, about: &Detection, mut crossed: Vec<Crossed>) -> Detection {
        crossed.sort_by(|one, other| other.risk.total_cmp(&one.risk));
        let worst = crossed.first().map_or(0.0, |one| one.risk);
        let mut added: Vec<Added> = crossed.first().map(|one| one.added.clone()).unwrap_or_default();
        added.sort_by(|one, other| other.amount.total_cmp(&one.amount));
        let mut evidence: Vec<Evidence> = crossed
            .iter()
            .map(|one| Evidence {
                what: "risk".to_owned(),
                field: Some(one.kind.to_owned()),
                value: Some(one.id.clone()),
                pattern: Some(format!(
                    "{:.0}, threshold {THRESHOLD}; {} techniques; runbook {RUNBOOK}",
                    one.risk, one.techniques
                )),
                ..Evidence::default()
            })
            .collect();
        evidence.extend(added.iter().map(|one| Evidence {
            what: "detection".to_owned(),
            field: Some(one.rule.clone()),
            value: Some(one.title.clone()),
            pattern: Some(format!(
                "adds {:.0}{}",
                one.amount,
                one.technique.map(|of| format!(", {}", of.as_str())).unwrap_or_default()
            )),
            // One that nobody was told of is not in the record.
            event: Some(one.detection.unwrap_or(one.event)),
            seq: one.seq,
            ..Evidence::default()
        }));
        // What adds most first, each once.
        let mut techniques: Vec<TechniqueId> = Vec::new();
        for technique in added.iter().filter_map(|one| one.technique) {
            if !techniques.contains(&technique) {
                techniques.push(technique);
            }
        }
        let events = added.iter().map(|one| one.event).take(EVENTS_MAX).collect();
        // Doubts are multiplied: several rules that see different things are surer than each.
        let doubt = added.iter().map(|one| 1.0 - one.confidence).product::<f32>();
        let parts: Vec<String> = crossed.iter().map(|one| format!("{} {}", one.kind, one.id)).collect();
        let verdict = Verdict {
            rule: RULE,
            rule_digest: &self.digest,
            title: "Risk threshold crossed",
            labels: Labels::of(techniques, Some(RUNBOOK)),
            severity: if worst >= GRAVE { Severity::Critical } else { Severity::High },
            confidence: (1.0 - doubt).clamp(0.0, 0.99),
            grade: None,
        };
        let told = verdict.on(event, events, evidence, &parts.join("\n"));
        let (identity, session) = (about.identity.clone(), about.session.clone());
        Detection { identity, session, trace: about.trace, tool: about.tool.clone(), ..told }
    }
}

/// Whom a detection is about, by kind and id.
fn entities(detection: &Detection) -> Vec<(&'static str, String)> {
    let Identity { user, application, agent, credential, .. } = &detection.identity;
    let principals = [("user", user), ("agent", agent), ("application", application), ("credential", credential)];
    let mut all: Vec<(&'static str, String)> =
        principals.into_iter().filter_map(|(kind, one)| Some((kind, one.as_ref()?.id.clone()))).collect();
    all.extend(detection.session.as_ref().map(|session| {
        let application = application.as_ref().map_or("", |one| one.id.as_str());
        // Sessions of different applications may have one name.
        ("session", if application.is_empty() { session.clone() } else { format!("{session} of {application}") })
    }));
    all.extend(detection.tool.clone().map(|tool| ("tool", tool)));
    all.retain(|(_, id)| !id.is_empty());
    all
}

/// The tool of an event: of its own call, or the only one that it tells of.
pub(crate) fn tool_of(event: &RecordedEvent<Clean>) -> Option<String> {
    if let Some(name) = event.attribute(attr::GEN_AI_TOOL_NAME.as_str()).and_then(|name| name.as_text()) {
        return Some(name.to_string());
    }
    let calls = event.pieces.iter().filter(|piece| piece.meta.part == Part::ToolCall && !piece.meta.history);
    let mut names = calls.filter_map(|piece| piece.meta.name.as_ref());
    let first = names.next()?;
    names.all(|name| name == first).then(|| first.to_string())
}

impl Entity {
    /// Lets time pass. Sources that deliver late do not turn it back.
    fn decay(&mut self, time_s: i64) {
        let passed = time_s.saturating_sub(self.time_s);
        if passed <= 0 {
            return;
        }
        self.time_s = time_s;
        let factor = event::risk::left_after(passed);
        for added in &mut self.added {
            added.amount *= factor;
        }
        self.added.retain(|added| added.amount >= 0.1);
    }

    /// What has added to it is told now.
    fn tell(&mut self, detection: &Detection, is_told: bool) {
        let added = self.added.iter_mut().find(|added| is_told && added.rule == detection.rule.as_str());
        added.into_iter().for_each(|added| added.detection = Some(detection.id));
    }

    fn add(&mut self, detection: &Detection, is_told: bool, seq: Seq) {
        let more = event::risk::weight(detection.severity.as_str()) * f64::from(detection.confidence);
        let event = detection.events.last().copied().unwrap_or(detection.id);
        let rule = detection.rule.as_str();
        let told = is_told.then_some(detection.id);
        match self.added.iter_mut().find(|added| added.rule == rule) {
            Some(added) => {
                added.amount = event::risk::added(added.amount, more);
                added.confidence = added.confidence.max(detection.confidence);
                (added.detection, added.event, added.seq) = (told.or(added.detection), event, Some(seq));
            }
            None => self.added.push(Added {
                rule: rule.to_owned(),
                title: detection.title.clone(),
                technique: detection.technique,
                confidence: detection.confidence,
                amount: event::risk::added(0.0, more),
                detection: told,
                event,
                seq: Some(seq),
            }),
        }
        if self.added.len() > RULES_MAX {
            let least = self.added.iter().enumerate().min_by(|(_, one), (_, other)| one.amount.total_cmp(&other.amount));
            if let Some(index) = least.map(|(index, _)| index) {
                self.added.remove(index);
            }
        }
    }

    /// The risk, and how many techniques it rests on. A technique and its parts are one.
    fn risk(&self) -> (f64, usize) {
        let rules = self.added.iter().map(|added| (added.technique.as_ref().map_or("", |one| one.as_str()), added.amount));
        let of_techniques = event::risk::by_technique(rules);
        let risk = of_techniques.values().sum();
        let counted = of_techniques.iter().filter(|(name, amount)| !name.is_empty() && **amount >= TECHNIQUE_COUNTS);
        (risk, counted.count())
    }
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Kind, Principal, Proof, Source, SourcePath, Timestamp};

    use super::*;

    fn event(user: &str, second: u64) -> RecordedEvent<Clean> {
        let mut event: RecordedEvent<Clean> =
            Event::new(Kind::ModelCall, Clean::literal("op"), Source::new(SourcePath::Api, Key::of("test")));
        event.time = Timestamp::from_unix_ns(second * 1_000_000_000);
        event.id = EventId::derived(event.time, &[7; 32]);
        event.identity.user = Some(Principal { id: Clean::recorded(user), name: None, version: None, proof: Proof::Asserted });
        event
    }

    fn detected(event: &RecordedEvent<Clean>, rule: &str, technique: &str, severity: Severity, confidence: f32) -> Detection {
        let technique = technique.parse().ok();
        let verdict = Verdict {
            rule,
            rule_digest: "",
            title: rule,
            labels: Labels::of(technique.into_iter().collect(), None),
            severity,
            confidence,
            grade: None,
        };
        verdict.on(event, Vec::new(), Vec::new(), "")
    }

    /// What a series of (seconds, user, rule, technique, severity) tells of: the seconds at which it does.
    fn run(series: &[(u64, &str, &str, &str, Severity)]) -> Vec<(u64, Severity)> {
        let mut risk = Risk::new();
        let mut told = Vec::new();
        for (second, user, rule, technique, severity) in series {
            let event = event(user, *second);
            let found = detected(&event, rule, technique, *severity, 0.8);
            let seconds = i64::try_from(*second).unwrap();
            told.extend(
                risk.observe(&event, Seq(*second), seconds, &[found], &[true], &[false]).map(|one| (*second, one.severity)),
            );
        }
        told
    }

    #[test]
    fn several_techniques_make_a_risk_and_one_rule_does_not() {
        use Severity::{Critical, High, Low};
        const DAY: u64 = 86_400;
        let noisy: Vec<_> = (0..1_000).map(|n| (n, "a", "one", "AML.T0051.000", Critical)).collect();
        assert_eq!(run(&noisy), []);
        // Rules of one technique, and of parts of it.
        let one: Vec<_> = (0..9)
            .map(|n| {
                (
                    n,
                    "a",
                    ["r0", "r1", "r2"][n as usize % 3],
                    ["AML.T0051.000", "AML.T0051.001", "AML.T0051"][n as usize % 3],
                    Critical,
                )
            })
            .collect();
        assert_eq!(run(&one), []);
        let two = [(0, "a", "one", "AML.T0051.000", Critical), (9, "a", "two", "AML.T0057", High)];
        assert_eq!(run(&two), [(9, High)]);
        // Of two users none.
        let apart = [(0, "a", "one", "AML.T0051.000", Critical), (9, "b", "two", "AML.T0057", High)];
        assert_eq!(run(&apart), []);
        // A day later it counts half.
        let late = [(0, "a", "one", "AML.T0051.000", Critical), (DAY, "a", "two", "AML.T0057", High)];
        assert_eq!(run(&late), []);
        // Little of another technique is no second technique.
        let little = [
            (0, "a", "one", "AML.T0051", Critical),
            (1, "a", "three", "AML.T0051.001", Critical),
            (2, "a", "two", "AML.T0057", Severity::Informational),
        ];
        assert_eq!(run(&little), []);
        let _ = Low;
    }

    #[test]
    fn a_risk_is_told_once_again_when_it_is_grave_and_anew_when_it_was_over() {
        use Severity::{Critical, High};
        const DAY: u64 = 86_400;
        let series = [
            (0, "a", "one", "AML.T0051", Critical),
            (1, "a", "two", "AML.T0057", High),
            (2, "a", "two", "AML.T0057", High),
            (3, "a", "three", "AML.T0086", Critical),
            (4, "a", "three", "AML.T0086", Critical),
            (5 * DAY, "a", "one", "AML.T0051", Severity::Low),
            (5 * DAY + 1, "a", "one", "AML.T0051", Critical),
            (5 * DAY + 2, "a", "two", "AML.T0057", High),
        ];
        assert_eq!(run(&series), [(1, High), (3, Critical), (5 * DAY + 2, High)]);
    }

    /// The event of a bystander may show that somebody else is silent.
    #[test]
    fn whom_a_detection_is_about_bears_the_risk_and_not_whose_event_shows_it() {
        let (mut risk, mut told) = (Risk::new(), Vec::new());
        for (second, rule, technique) in [(5, "one", "AML.T0051"), (9, "two", "AML.T0057")] {
            let event = event("bystander", second);
            let mut found = detected(&event, rule, technique, Severity::Critical, 0.9);
            found.identity = Identity::default();
            found.identity.agent = Some(Principal { id: "silent".to_owned(), name: None, version: None, proof: Proof::Asserted });
            let seconds = i64::try_from(second).unwrap();
            told.extend(risk.observe(&event, Seq(second), seconds, &[found], &[true], &[false]));
        }
        let [one] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((one.identity.agent.as_ref().map(|agent| agent.id.as_str()), &one.identity.user), (Some("silent"), &None));
        let who = (one.evidence[0].field.as_deref(), one.evidence[0].value.as_deref());
        assert_eq!(who, (Some("agent"), Some("silent")));
        let techniques: Vec<&str> = one.labels.techniques.iter().map(|of| of.as_str()).collect();
        assert_eq!(
            (techniques, one.labels.runbook.as_deref()),
            (vec!["AML.T0057", "AML.T0051"], Some("risk")),
            "what adds most first"
        );
    }

    #[test]
    fn what_it_rests_on_is_evidence_and_a_replay_gives_the_same() {
        let found = |is_told: bool| {
            let mut risk = Risk::new();
            let (first, last) = (event("ann", 5), event("ann", 9));
            let one = detected(&first, "one", "AML.T0051", Severity::Critical, 0.9);
            assert_eq!(risk.observe(&first, Seq(1), 5, &[one], &[is_told], &[false]), None);
            risk.observe(&last, Seq(2), 9, &[detected(&last, "two", "AML.T0057", Severity::High, 0.9)], &[true], &[false])
                .unwrap()
        };
        let one = found(true);
        assert_eq!(one, found(true));
        // One that nobody was told of counts as much; what shows it is the event, for there is no detection in the record.
        let silent = found(false);
        assert_eq!((silent.evidence.len(), silent.confidence.to_bits()), (one.evidence.len(), one.confidence.to_bits()));
        let shown = |detection: &Detection| detection.evidence[1..].iter().map(|item| item.event).collect::<Vec<_>>();
        assert_eq!((shown(&one)[0] == shown(&silent)[0], shown(&one)[1] == shown(&silent)[1]), (false, true));
        assert!(silent.events.contains(&shown(&silent)[0].unwrap()));
        assert_eq!((one.rule.as_str(), one.technique.map(|of| of.to_string()).as_deref()), (RULE, Some("AML.T0051")));
        assert!((0.98..1.0).contains(&one.confidence) && one.rule_digest.len() == 64);
        let shown: Vec<(&str, Option<&str>)> =
            one.evidence.iter().map(|item| (item.what.as_str(), item.value.as_deref())).collect();
        assert_eq!(shown, [("risk", Some("ann")), ("detection", Some("one")), ("detection", Some("two"))]);
        assert!(one.evidence[1..].iter().all(|item| item.event.is_some() && item.seq.is_some()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut risk = Risk::with_entities(16);
        for n in 0..1_000_u32 {
            let event = event(&format!("user {n}"), u64::from(n));
            let found: Vec<Detection> =
                (0..50).map(|rule| detected(&event, &format!("r{rule}"), "AML.T0051", Severity::Low, 0.5)).collect();
            risk.observe(&event, Seq(u64::from(n)), i64::from(n), &found, &vec![true; found.len()], &vec![false; found.len()]);
        }
        assert_eq!(risk.entities.len(), 16);
        assert!(risk.entities.iter_mut().all(|(_, entity)| entity.added.len() <= RULES_MAX));
    }
}
