//! A replay beside what live detection recorded.
//!
//! A difference is a fault where the rule is the same and says something else. Where rules came, went or changed since, or what they rest on
//! did, it is told and is none. Which rules were in force is in the record: each start of the server and each exchange of the rules says so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use detect::{Detection, RuleSet};
use event::{EventId, Kind, RecordedEvent, SourcePath, Value, attr};
use journal::Seq;
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use super::report::LISTED_MAX;
use crate::rules::{RULES_DIGEST, RULES_FROM};

/// Most differences that are held; what is beyond is counted.
const HELD_MAX: usize = 1_000_000;
/// Records behind the event of an exchange of rules in which the rules before may still have spoken: the detector takes them in batches, and
/// what it finds is recorded behind whatever came meanwhile.
const EXCHANGE_RECORDS: u64 = 16_384;

/// A replay beside what is recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The record up to which detection had come; what is behind it is not compared.
    pub detected: u64,
    /// Detections that are recorded.
    pub recorded: u64,
    /// Those that the replay found, too.
    pub same: u64,
    /// Recorded and not found again, of rules that changed or went since, or that rest on some that did.
    pub of_other_versions: u64,
    /// Found and not recorded, of rules that came or changed since, or that rest on some that did.
    pub of_newer_rules: u64,
    /// Recorded, of records that are no more.
    pub of_gone_records: u64,
    /// Differences of changed rules by rule, the first by id: recorded only, and found only.
    pub changed: Vec<ChangedRule>,
    /// Recorded and not found again, of rules that are the same: the first. These are faults.
    pub only_recorded: Vec<String>,
    /// How many these are.
    pub only_recorded_count: u64,
    /// Found and not recorded, of rules that were in force: the first. These are faults.
    pub only_replayed: Vec<String>,
    /// How many these are.
    pub only_replayed_count: u64,
    /// Differences beyond those that can be held: what they are is not known.
    pub uncompared: u64,
}

impl Compared {
    /// Whether detection does not say the same of the same.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.only_recorded_count + self.only_replayed_count + self.uncompared > 0
    }
}

/// A rule that says something else than it said, and may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedRule {
    /// The rule.
    pub rule: String,
    /// Detections that are recorded and were not found again.
    pub recorded: u64,
    /// Detections that were found and are not recorded.
    pub found: u64,
}

/// A comparison in the making.
pub(super) struct Comparing {
    told: Compared,
    now: Now,
    versions: Versions,
    /// Detections of one side that the other has not shown yet.
    recorded: HashMap<EventId, Recorded>,
    replayed: HashMap<EventId, Replayed>,
    in_force: Vec<InForce>,
    /// Versions of rules that spoke, with the stretch of the record in which they did.
    spoke: HashSet<(usize, u32)>,
}

struct Recorded {
    seq: Seq,
    version: u32,
    events: Vec<EventId>,
}

struct Replayed {
    seq: Seq,
    version: u32,
}

/// The rules as they are in force now.
struct Now {
    digest: String,
    detected: Seq,
    digests: HashMap<String, String>,
    /// Rules that stand for themselves: no correlation, and no filter takes anything out of them.
    alone: HashSet<String>,
    /// Rules of which a budget kept something from being told.
    suppressed: HashSet<String>,
}

/// That rules came into force.
struct InForce {
    /// The first record that these rules saw.
    from: Seq,
    /// The record that says so.
    at: Seq,
    /// Which, with the version of the program.
    rules: String,
    /// Whether nothing behind `from` is of the rules before.
    is_sharp: bool,
}

/// What was in force at a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// These rules.
    Same,
    /// Others, or it is not known which; and in which stretch of the record.
    Other(usize),
}

impl Comparing {
    pub(super) fn new(rules: &RuleSet, detected: Seq) -> Self {
        let now = Now {
            digest: version_of(&rules.digest(), Some(env!("CARGO_PKG_VERSION"))),
            detected,
            digests: rules.rules().map(|rule| (rule.id.clone(), rule.digest.clone())).collect(),
            alone: rules.alone().map(|rule| rule.id.clone()).collect(),
            suppressed: HashSet::new(),
        };
        Self {
            told: Compared { detected: detected.0, ..Compared::default() },
            now,
            versions: Versions::default(),
            recorded: HashMap::new(),
            replayed: HashMap::new(),
            in_force: Vec::new(),
            spoke: HashSet::new(),
        }
    }

    /// Takes a record.
    pub(super) fn recorded(&mut self, seq: Seq, event: &RecordedEvent<Clean>) {
        if event.source.path != SourcePath::Internal {
            return;
        }
        let text = |key: &str| event.attribute(key).and_then(|value| value.as_text()).map_or("", |text| text.as_str());
        if event.kind == Kind::Detection {
            // What was found of a record is recorded behind it.
            self.told.recorded += 1;
            let version = self.versions.of(text(attr::DETECTION_RULE.as_str()), text(attr::DETECTION_RULE_DIGEST.as_str()));
            if let Standing::Other(stretch) = self.standing(seq) {
                self.spoke.insert((stretch, version));
            }
            if self.replayed.remove(&event.id).is_some() {
                self.told.same += 1;
            } else if self.recorded.len() < HELD_MAX {
                let events = match event.attribute(attr::DETECTION_EVENTS.as_str()) {
                    Some(Value::List(ids)) => ids.iter().filter_map(|id| id.as_text()?.as_str().parse().ok()).collect(),
                    _ => Vec::new(),
                };
                self.recorded.insert(event.id, Recorded { seq, version, events });
            } else {
                self.told.uncompared += 1;
            }
            return;
        }
        let digest = text(RULES_DIGEST);
        if event.kind == Kind::Admin && !digest.is_empty() {
            let from = event.attribute(RULES_FROM).and_then(|value| value.as_int()).and_then(|from| u64::try_from(from).ok());
            let version = event.identity.application.as_ref().and_then(|application| application.version.as_deref());
            self.in_force.push(InForce {
                from: from.map_or(seq, Seq).min(seq),
                at: seq,
                rules: version_of(digest, version),
                is_sharp: event.name.as_str() == "server.start",
            });
        }
    }

    /// Takes what the replay found in a record.
    pub(super) fn replayed(&mut self, seq: Seq, one: &Detection) {
        if self.recorded.remove(&one.id).is_some() {
            self.told.same += 1;
        } else if self.replayed.len() < HELD_MAX {
            let version = self.versions.of(one.rule.as_str(), &one.rule_digest);
            self.replayed.insert(one.id, Replayed { seq, version });
        } else {
            self.told.uncompared += 1;
        }
    }

    /// Notes that the replay found something that a budget kept from being told.
    pub(super) fn suppressed(&mut self, rule: &str) {
        if !self.now.suppressed.contains(rule) {
            self.now.suppressed.insert(rule.to_owned());
        }
    }

    /// The events on which those detections rest that were not found again: whether they are still there decides what that means.
    pub(super) fn sought(&self) -> HashSet<EventId> {
        self.recorded.values().flat_map(|one| one.events.iter().copied()).collect()
    }

    /// Takes out what rests on events that are gone.
    pub(super) fn without(&mut self, gone: &HashSet<EventId>) {
        let before = self.recorded.len();
        self.recorded.retain(|_, one| !one.events.iter().any(|event| gone.contains(event)));
        self.told.of_gone_records += (before - self.recorded.len()) as u64;
    }

    pub(super) fn finish(mut self) -> Compared {
        let mut changed: BTreeMap<String, ChangedRule> = BTreeMap::new();
        let mut faults = BTreeSet::new();
        for (id, one) in &self.recorded {
            let (rule, digest) = self.versions.name(one.version);
            if self.is_fault_recorded(one.seq, rule, digest) {
                faults.insert(format!("{id} {rule}"));
            } else {
                self.told.of_other_versions += 1;
                changed.entry(rule.to_owned()).or_default().recorded += 1;
            }
        }
        (self.told.only_recorded_count, self.told.only_recorded) = listed(&faults);
        faults.clear();
        for (id, one) in self.replayed.iter().filter(|(_, one)| one.seq < self.now.detected) {
            let (rule, _) = self.versions.name(one.version);
            if self.is_fault_replayed(one, rule) {
                faults.insert(format!("{id} {rule}"));
            } else {
                self.told.of_newer_rules += 1;
                changed.entry(rule.to_owned()).or_default().found += 1;
            }
        }
        (self.told.only_replayed_count, self.told.only_replayed) = listed(&faults);
        let all = changed.into_iter().map(|(rule, one)| ChangedRule { rule, ..one });
        self.told.changed = all.take(LISTED_MAX).collect();
        self.told
    }

    /// Whether it is a fault that what is recorded was not found again.
    fn is_fault_recorded(&self, seq: Seq, rule: &str, digest: &str) -> bool {
        if self.standing(seq) == Standing::Same {
            return true;
        }
        let is_same = self.now.digests.get(rule).is_some_and(|now| now == digest);
        is_same && self.stands_alone(rule)
    }

    /// Whether it is a fault that what was found is not recorded.
    fn is_fault_replayed(&self, one: &Replayed, rule: &str) -> bool {
        match self.standing(one.seq) {
            Standing::Same => true,
            // The same rule spoke there, and did not say this.
            Standing::Other(stretch) => self.spoke.contains(&(stretch, one.version)) && self.stands_alone(rule),
        }
    }

    /// Whether what a rule says depends on no other rule, as they are now, and on no budget.
    fn stands_alone(&self, rule: &str) -> bool {
        self.now.alone.contains(rule) && !self.now.suppressed.contains(rule)
    }

    fn standing(&self, seq: Seq) -> Standing {
        let Some(last) = self.in_force.iter().rposition(|rules| rules.from <= seq) else { return Standing::Other(usize::MAX) };
        let rules = &self.in_force[last];
        let is_blurred = !rules.is_sharp && seq.0 < rules.at.0 + EXCHANGE_RECORDS;
        let before = last.checked_sub(1).and_then(|before| self.in_force.get(before));
        let may_be_before = is_blurred && before.is_none_or(|before| before.rules != rules.rules);
        if rules.rules == self.now.digest && !may_be_before { Standing::Same } else { Standing::Other(last) }
    }
}

/// How many there are, and the first of them.
fn listed(all: &BTreeSet<String>) -> (u64, Vec<String>) {
    (all.len() as u64, all.iter().take(LISTED_MAX).cloned().collect())
}

fn version_of(digest: &str, version: Option<&str>) -> String {
    format!("{digest} {}", version.unwrap_or_default())
}

/// Rules with their digests, each kept once.
#[derive(Default)]
struct Versions {
    numbers: HashMap<(String, String), u32>,
    names: Vec<(String, String)>,
}

impl Versions {
    fn of(&mut self, rule: &str, digest: &str) -> u32 {
        let name = (rule.to_owned(), digest.to_owned());
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    fn name(&self, number: u32) -> (&str, &str) {
        let name = usize::try_from(number).ok().and_then(|number| self.names.get(number));
        name.map_or(("", ""), |(rule, digest)| (rule, digest))
    }
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Source, Timestamp};

    use super::*;

    const PLAIN: &str = "title: Plain\nid: 11111111-1111-4111-8111-111111111111\nlogsource: {product: ai}\ndetection:\n  s: {k: a}\n  condition: s\n";
    const COUNTING: &str = "title: Counting\nid: 11111111-1111-4111-8111-111111111112\ncorrelation:\n  rules: [11111111-1111-4111-8111-111111111111]\n  \
                            type: event_count\n  timespan: 1m\n  condition: {gte: 2}\n";
    const CAME: &str = "title: Came\nid: 11111111-1111-4111-8111-111111111113\nlogsource: {product: ai}\ndetection:\n  s: {k: b}\n  condition: s\n";
    const GONE: &str = "99999999-9999-4999-8999-999999999999";

    fn rules() -> RuleSet {
        let text = [PLAIN, COUNTING, CAME].join("---\n");
        RuleSet::of_files(vec![("r.yml".into(), text)]).unwrap()
    }

    fn id(number: u8) -> EventId {
        EventId::derived(Timestamp::from_unix_ns(0), &[number; 32])
    }

    fn text(text: &str) -> Value<Clean> {
        Value::Text(Clean::recorded(text))
    }

    /// That rules of a digest came into force, at a start of the server or without one.
    fn in_force(digest: &str, from: i64, is_start: bool) -> RecordedEvent<Clean> {
        let name = Clean::literal(if is_start { "server.start" } else { "rules.reload" });
        let mut event = Event::new(Kind::Admin, name, Source::new(SourcePath::Internal, Key::of("watchkeeper")));
        let mut application = event::Principal::asserted(Clean::literal("watchkeeper"));
        application.version = Some(Clean::literal(env!("CARGO_PKG_VERSION")));
        event.identity.application = Some(application);
        event.set(Key::of(RULES_DIGEST), text(digest));
        event.set(Key::of(RULES_FROM), from);
        event
    }

    fn detection(number: u8, rule: &str, digest: &str, of: u8) -> RecordedEvent<Clean> {
        let source = Source::new(SourcePath::Internal, Key::of("watchkeeper"));
        let mut event = Event::new(Kind::Detection, Clean::literal("found"), source);
        event.id = id(number);
        event.set(attr::DETECTION_RULE, text(rule));
        event.set(attr::DETECTION_RULE_DIGEST, text(digest));
        event.set(attr::DETECTION_EVENTS, Value::List(vec![text(&id(of).to_string())]));
        event
    }

    fn found(number: u8, rule: &str, digest: &str) -> Detection {
        Detection {
            id: id(number),
            rule: event::RuleId::new(rule),
            rule_digest: digest.to_owned(),
            title: String::new(),
            technique: None,
            labels: detect::Labels::default(),
            severity: detect::Severity::Low,
            confidence: 0.5,
            grade: None,
            time: Timestamp::from_unix_ns(0),
            session: None,
            trace: None,
            identity: event::Identity::default(),
            tool: None,
            events: Vec::new(),
            evidence: Vec::new(),
            suppression: None,
        }
    }

    /// What happens in a record, in its order.
    enum Step<'a> {
        InForce(&'a str, i64, bool),
        /// Of a rule and a digest: found by the replay, and recorded.
        Both(&'a str, &'a str),
        Found(&'a str, &'a str),
        Recorded(&'a str, &'a str),
        /// Records in which nothing is.
        Quiet(u64),
    }

    #[test]
    fn only_what_the_same_rules_say_otherwise_is_a_fault() {
        use Step::{Both, Found, InForce, Quiet, Recorded};
        let now = rules().digest();
        let digest_of = |title: &str| rules().rules().find(|rule| rule.title == title).unwrap().digest.clone();
        let id_of = |title: &str| rules().rules().find(|rule| rule.title == title).unwrap().id.clone();
        let (plain, counting, came) = (id_of("Plain"), id_of("Counting"), id_of("Came"));
        let (plain_now, counting_now, came_now) = (digest_of("Plain"), digest_of("Counting"), digest_of("Came"));
        let start = || InForce(&now, 0, true);
        let (plain_same, counting_same) = ((plain.as_str(), plain_now.as_str()), (counting.as_str(), counting_now.as_str()));
        // Same, of other versions, of newer rules, faults of what is recorded, faults of what was found.
        for (what, steps, expected) in [
            ("all the same", vec![start(), Both(plain_same.0, plain_same.1)], (1, 0, 0, 0, 0)),
            ("recorded only", vec![start(), Recorded(plain_same.0, plain_same.1)], (0, 0, 0, 1, 0)),
            ("found only", vec![start(), Found(plain_same.0, plain_same.1)], (0, 0, 0, 0, 1)),
            ("of a correlation, found only", vec![start(), Found(counting_same.0, counting_same.1)], (0, 0, 0, 0, 1)),
            ("of a rule that was edited", vec![InForce("o", 0, true), Recorded(&plain, "old")], (0, 1, 0, 0, 0)),
            ("of a rule that went", vec![InForce("o", 0, true), Recorded(GONE, "old")], (0, 1, 0, 0, 0)),
            ("of a rule that came", vec![InForce("o", 0, true), Found(&came, &came_now)], (0, 0, 1, 0, 0)),
            ("of the same rule in another set", vec![InForce("o", 0, true), Recorded(&plain, &plain_now)], (0, 0, 0, 1, 0)),
            // Its rule may have been another.
            (
                "of the same correlation in another set",
                vec![InForce("o", 0, true), Recorded(&counting, &counting_now)],
                (0, 1, 0, 0, 0),
            ),
            (
                "of the same rule, which spoke in another set",
                vec![InForce("o", 0, true), Both(&plain, &plain_now), Found(&plain, &plain_now)],
                (1, 0, 0, 0, 1),
            ),
            ("nobody knows of which rules", vec![Found(&plain, &plain_now)], (0, 0, 1, 0, 0)),
            (
                "before the rules came",
                vec![InForce("o", 0, true), Found(&came, &came_now), Quiet(9), InForce(&now, 9, true)],
                (0, 0, 1, 0, 0),
            ),
            ("behind", vec![InForce("o", 0, true), Quiet(9), InForce(&now, 9, true), Found(&came, &came_now)], (0, 0, 0, 0, 1)),
            // Rules that are exchanged while the server runs take their turn somewhere there.
            (
                "about where rules were exchanged",
                vec![InForce("o", 0, true), Quiet(9), InForce(&now, 5, false), Found(&came, &came_now)],
                (0, 0, 1, 0, 0),
            ),
            (
                "well behind",
                vec![InForce("o", 0, true), InForce(&now, 0, false), Quiet(EXCHANGE_RECORDS), Found(&came, &came_now)],
                (0, 0, 0, 0, 1),
            ),
        ] {
            let mut comparing = Comparing::new(&rules(), Seq(u64::MAX));
            let mut seq = 0;
            for (number, step) in (1..).zip(&steps) {
                match step {
                    InForce(digest, from, is_start) => comparing.recorded(Seq(seq), &in_force(digest, *from, *is_start)),
                    Both(rule, digest) => {
                        comparing.replayed(Seq(seq), &found(number, rule, digest));
                        comparing.recorded(Seq(seq + 1), &detection(number, rule, digest, 0));
                        seq += 1;
                    }
                    Found(rule, digest) => comparing.replayed(Seq(seq), &found(number, rule, digest)),
                    Recorded(rule, digest) => comparing.recorded(Seq(seq), &detection(number, rule, digest, 0)),
                    Quiet(records) => seq += records,
                }
                seq += 1;
            }
            let told = comparing.finish();
            let counts =
                (told.same, told.of_other_versions, told.of_newer_rules, told.only_recorded_count, told.only_replayed_count);
            assert_eq!(counts, expected, "{what}: {told:?}");
            assert_eq!(told.differs(), expected.3 + expected.4 > 0, "{what}");
            assert_eq!(told.changed.len(), usize::from(expected.1 + expected.2 > 0), "{what}");
        }
    }

    #[test]
    fn what_detection_has_not_come_to_and_what_is_gone_is_no_fault() {
        let (rule, digest) = rules().rules().next().map(|rule| (rule.id.clone(), rule.digest.clone())).unwrap();
        let now = rules().digest();
        let mut comparing = Comparing::new(&rules(), Seq(10));
        comparing.recorded(Seq(0), &in_force(&now, 0, true));
        comparing.replayed(Seq(9), &found(1, &rule, &digest));
        comparing.replayed(Seq(10), &found(2, &rule, &digest));
        // Recorded while the replay read: detection came there after all.
        comparing.replayed(Seq(11), &found(3, &rule, &digest));
        comparing.recorded(Seq(12), &detection(3, &rule, &digest, 30));
        comparing.recorded(Seq(13), &detection(4, &rule, &digest, 40));
        comparing.recorded(Seq(14), &detection(5, &rule, &digest, 50));
        let mut sought = comparing.sought();
        assert_eq!(sought.len(), 2);
        // The event of one of them is still there.
        sought.remove(&id(40));
        comparing.without(&sought);
        let told = comparing.finish();
        assert_eq!((told.recorded, told.same, told.of_gone_records), (3, 1, 1), "{told:?}");
        assert_eq!((told.only_recorded_count, told.only_replayed_count), (1, 1), "{told:?}");
        assert!(told.only_recorded[0].starts_with(&id(4).to_string()), "{told:?}");
    }
}
