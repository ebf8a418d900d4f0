//! A detection: what was seen, how bad it is, how sure we are, and what shows it (invariant I6).

use std::collections::BTreeMap;

use event::{
    Channel, ContentId, Event, EventId, Identity, Key, Kind, RecordedEvent, RuleId, Source, SourcePath, TechniqueId, Timestamp,
    Trace, Value, attr,
};
use journal::Seq;
use sanitize::Clean;
use serde::{Deserialize, Serialize};

/// How bad it is, in Sigma's words (`level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Context for an investigation.
    Informational,
    /// Of note when it keeps coming.
    Low,
    /// Worth a look.
    Medium,
    /// Somebody should look today.
    High,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// The name that JSON, SQL and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How far an injection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// The model was given it.
    Seen,
    /// The agent made a call that follows it.
    ActedOn,
    /// That call came back without an error.
    Reached,
}

impl Grade {
    /// The name that JSON, SQL and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::ActedOn => "acted_on",
            Self::Reached => "reached",
        }
    }
}

/// One fact that shows a detection. Offsets are Unicode code points of the clean text named by `content`, or of the
/// field's value where there is no content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it is: `match`, `finding`, `count`, `group`, `event`, `indicator`, `risk`, `detection`; of content flow `source`, `kept`,
    /// `recalled`, `call`, `answer`, in the order in which one led to the next, then `ground`, `shared_value`, `destination`, `data`.
    pub what: String,
    /// The field that matched, or the rule of the finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The value, or the part of it that shows the match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the rule looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// First code point of the match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u32>,
    /// One past its last code point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
    /// The content that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentId>,
    /// The event that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The place of that event's record in the journal: the index of its leaf in the ledger, too (invariant I6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// Where the text entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// The indicator of threat intelligence that says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<KnownIndicator>,
}

/// Evidence in a state that is stored in a form that leaves out the names of fields: as JSON, of which fields that are empty are left out.
pub(crate) mod stored_evidence {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Evidence;

    pub(crate) fn serialize<S: Serializer>(all: &[Evidence], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(all).map_err(S::Error::custom)?)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Evidence>, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// An indicator, as evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownIndicator {
    /// Its id, as STIX writes it.
    pub id: String,
    /// Who warns: the feed.
    pub source: String,
    /// With whom it may be shared: a label of TLP 2.0, without `TLP:`.
    pub tlp: String,
    /// How sure the feed is, 0 to 100.
    pub confidence: u8,
    /// SHA-256 of the set of indicators that was in force, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

/// What a spent alert budget kept from being told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppression {
    /// The rule whose budget it is.
    pub rule: RuleId,
    /// Which of its budgets: `rule` or `entity`; `rule_grave` or `entity_grave`, the ceilings of what is grave.
    pub scope: &'static str,
    /// Whose, of an entity's budget.
    pub entity: Option<String>,
    /// How many entities were kept silent about, of a rule's budget.
    pub entities: Option<u64>,
    /// The beginning of the hour (RFC 3339).
    pub from: String,
    /// Detections that the budget has room for.
    pub limit: u64,
    /// Detections that were suppressed in that hour so far.
    pub count: u64,
}

/// What a detection is called in the frameworks, and what to do: as its rule says, or as the crosswalk has it of its techniques.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Labels {
    /// Every ATLAS technique that it is evidence of.
    pub techniques: Vec<TechniqueId>,
    /// Entries of OWASP's Top 10 for LLM applications (`LLM01` ...) and for agentic applications (`ASI01` ...).
    pub owasp: Vec<String>,
    /// Items of NIST AI RMF and AI 600-1.
    pub nist: Vec<String>,
    /// The runbook: a name that [`crate::runbook`] knows.
    pub runbook: Option<String>,
}

impl Labels {
    /// Those of techniques, as the crosswalk has them.
    pub(crate) fn of(techniques: Vec<TechniqueId>, runbook: Option<&str>) -> Self {
        let crosswalks: Vec<_> = techniques.iter().map(|technique| technique.crosswalk()).collect();
        let sorted = |mut entries: Vec<String>| {
            entries.sort_unstable();
            entries.dedup();
            entries
        };
        let owasp = crosswalks.iter().flat_map(|one| one.owasp_llm.iter().chain(&one.owasp_agentic).cloned()).collect();
        let nist = crosswalks.iter().flat_map(|one| one.nist.iter().cloned()).collect();
        Self { techniques, owasp: sorted(owasp), nist: sorted(nist), runbook: runbook.map(str::to_owned) }
    }

    fn set(self, event: &mut Event<String>) {
        let techniques = self.techniques.iter().map(|technique| technique.as_str().to_owned()).collect();
        for (key, list) in
            [(attr::DETECTION_TECHNIQUES, techniques), (attr::DETECTION_OWASP, self.owasp), (attr::DETECTION_NIST, self.nist)]
        {
            if !list.is_empty() {
                event.set(key, Value::List(list.into_iter().map(Value::Text).collect()));
            }
        }
        if let Some(runbook) = self.runbook {
            event.set(attr::DETECTION_RUNBOOK, runbook.as_str());
        }
    }
}

/// Something that was detected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    /// Derived from the rule and the events, so that a replay gives the same id.
    pub id: EventId,
    /// The rule.
    pub rule: RuleId,
    /// SHA-256 of the rule's text, hexadecimal: which version of it this was.
    pub rule_digest: String,
    /// What the rule is called.
    pub title: String,
    /// The ATLAS technique that it is evidence of; of several, the first.
    pub technique: Option<TechniqueId>,
    /// What it is called in the frameworks, and what to do.
    pub labels: Labels,
    /// How bad it is.
    pub severity: Severity,
    /// How sure the rule is, 0 to 1.
    pub confidence: f32,
    /// How far it got, for injections.
    pub grade: Option<Grade>,
    /// When: the time of the event that completed it.
    pub time: Timestamp,
    /// The session of that event.
    pub session: Option<String>,
    /// Its trace.
    pub trace: Option<Trace>,
    /// Who was involved.
    pub identity: Identity<String>,
    /// The tool that was called, where it was one.
    pub tool: Option<String>,
    /// The events that it rests on.
    pub events: Vec<EventId>,
    /// What shows it.
    pub evidence: Vec<Evidence>,
    /// What it tells of, where it is a budget that is spent.
    pub suppression: Option<Suppression>,
}

impl Detection {
    /// The event that records the detection. It goes the way of every event: sanitised, inspected, journalled.
    #[must_use]
    pub fn into_event(self) -> Event<String> {
        let source = Source::new(SourcePath::Internal, Key::of("watchkeeper"));
        let mut event = Event::new(Kind::Detection, self.title.clone(), source);
        event.id = self.id;
        event.time = self.time;
        event.session = self.session;
        event.trace = self.trace;
        event.identity = self.identity;
        if let Some(tool) = self.tool {
            event.set(attr::GEN_AI_TOOL_NAME, tool.as_str());
        }
        event.set(attr::DETECTION_RULE, self.rule.as_str());
        event.set(attr::DETECTION_RULE_DIGEST, self.rule_digest.as_str());
        event.set(attr::DETECTION_TITLE, self.title.as_str());
        event.set(attr::DETECTION_SEVERITY, self.severity.as_str());
        event.set(attr::DETECTION_CONFIDENCE, Value::double((f64::from(self.confidence) * 1e4).round() / 1e4));
        if let Some(technique) = self.technique {
            event.set(attr::DETECTION_TECHNIQUE, technique.as_str());
        }
        self.labels.set(&mut event);
        if let Some(grade) = self.grade {
            event.set(attr::DETECTION_GRADE, grade.as_str());
        }
        let events = self.events.iter().map(|id| Value::Text(id.to_string())).collect();
        event.set(attr::DETECTION_EVENTS, Value::List(events));
        let evidence = serde_json::to_value(&self.evidence).map_or(Value::List(Vec::new()), value_of_json);
        event.set(attr::DETECTION_EVIDENCE, evidence);
        if let Some(suppression) = self.suppression {
            event.set(Key::of("watchkeeper.detection.suppressed.rule"), suppression.rule.as_str());
            event.set(Key::of("watchkeeper.detection.suppressed.scope"), suppression.scope);
            if let Some(entity) = &suppression.entity {
                event.set(Key::of("watchkeeper.detection.suppressed.entity"), entity.as_str());
            }
            if let Some(entities) = suppression.entities {
                let entities = i64::try_from(entities).unwrap_or(i64::MAX);
                event.set(Key::of("watchkeeper.detection.suppressed.entities"), entities);
            }
            event.set(Key::of("watchkeeper.detection.suppressed.from"), suppression.from.as_str());
            event.set(Key::of("watchkeeper.detection.suppressed.limit"), i64::try_from(suppression.limit).unwrap_or(i64::MAX));
            event.set(Key::of("watchkeeper.detection.suppressed.count"), i64::try_from(suppression.count).unwrap_or(i64::MAX));
        }
        event
    }
}

/// What a rule brings to its detections.
pub(crate) struct Verdict<'a> {
    pub(crate) rule: &'a str,
    pub(crate) rule_digest: &'a str,
    pub(crate) title: &'a str,
    pub(crate) labels: Labels,
    pub(crate) severity: Severity,
    pub(crate) confidence: f32,
    pub(crate) grade: Option<Grade>,
}

impl Verdict<'_> {
    /// The detection that `last` completes. `events` may or may not name `last`, and is put into order.
    pub(crate) fn on(
        &self,
        last: &RecordedEvent<Clean>,
        mut events: Vec<EventId>,
        evidence: Vec<Evidence>,
        part: &str,
    ) -> Detection {
        if !events.contains(&last.id) {
            events.push(last.id);
        }
        events.sort_unstable();
        events.dedup();
        Detection {
            id: EventId::derived(last.time, &self.digest(&events, part)),
            rule: RuleId::new(self.rule),
            rule_digest: self.rule_digest.to_owned(),
            title: self.title.to_owned(),
            technique: self.labels.techniques.first().copied(),
            labels: self.labels.clone(),
            severity: self.severity,
            confidence: self.confidence,
            grade: self.grade,
            time: last.time,
            session: last.session.as_ref().map(|session| session.to_string()),
            trace: last.trace,
            identity: last.identity.clone().map(&mut |text: Clean| text.to_string()),
            tool: crate::risk::tool_of(last),
            events,
            evidence,
            suppression: None,
        }
    }

    /// `part` tells apart what one rule sees twice in the same events (two tool calls of one model call).
    fn digest(&self, events: &[EventId], part: &str) -> [u8; 32] {
        let mut parts: Vec<&[u8]> = vec![self.rule.as_bytes(), self.grade.map_or("", Grade::as_str).as_bytes(), part.as_bytes()];
        parts.extend(events.iter().map(|id| id.as_bytes().as_slice()));
        sha256(&parts)
    }
}

/// Parts with their lengths that are hashed in one go, in bytes.
const SHORT_BYTES_MAX: usize = 256;

/// SHA-256 of parts, each preceded by its length so that no two lists of parts give one digest.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    // In one go where it is short, as words are: a context costs more than the hash.
    let mut short = [0; SHORT_BYTES_MAX];
    if let Some(bytes) = lay_out(parts, &mut short) {
        let mut out = [0; 32];
        out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
        return out;
    }
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The parts, each behind its length, where they fit.
fn lay_out<'a>(parts: &[&[u8]], into: &'a mut [u8; SHORT_BYTES_MAX]) -> Option<&'a [u8]> {
    let mut end = 0;
    for part in parts {
        let length = u64::try_from(part.len()).ok()?.to_le_bytes();
        into.get_mut(end..end + 8)?.copy_from_slice(&length);
        into.get_mut(end + 8..end + 8 + part.len())?.copy_from_slice(part);
        end += 8 + part.len();
    }
    into.get(..end)
}

/// SHA-256 as 64 hexadecimal characters.
pub(crate) fn sha256_hex(parts: &[&[u8]]) -> String {
    event::hex::encode(&sha256(parts))
}

fn value_of_json(json: serde_json::Value) -> Value<String> {
    match json {
        serde_json::Value::Null => Value::Text(String::new()),
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::double(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(values) => Value::List(values.into_iter().map(value_of_json).collect()),
        serde_json::Value::Object(entries) => {
            Value::Map(entries.into_iter().map(|(key, value)| (key, value_of_json(value))).collect::<BTreeMap<_, _>>())
        }
    }
}
