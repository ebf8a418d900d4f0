//! Reads recorded events in the order of the journal and says what it detects.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use event::{ContentRef, EventId, Kind, Part, Piece, RecordedEvent, Role, RuleId, SourcePath, attr};
use inspect::Canaries;
use journal::Seq;
use sanitize::Clean;
use serde_json::Value as Json;

use crate::behaviour::{Behaviour, Insight};
use crate::budget::{Budgets, Judged};
use crate::carried::{self, Carried};
use crate::detection::{Detection, Evidence, Verdict};
use crate::flow::Flow;
use crate::in_force::InForce;
use crate::intel;
use crate::novelty::{CONTENTS_REMEMBERED_MAX, Novelty};
use crate::risk::Risk;
use crate::rules::{Rule, RuleKind, RuleSet};
use crate::session::{Sessions, hash};
use crate::sigma::evidence::Search;
use crate::sigma::explain::Explanation;
use crate::sigma::flatten::{self, Document};
use crate::sigma::{Hit, Place, Sigma};
use crate::skipped::Skipped;
use crate::spoken::{How, Spoken, What};
use crate::turns::Turns;

/// Most findings of inspection that go into the evidence of one detection.
const FINDINGS_SHOWN_MAX: usize = 8;
/// Most new tool calls of one event that are looked at; each is a document of its own. Models make a handful at a time, and
/// a conversation that comes in whole has a few dozen.
const EVENT_CALLS_MAX: usize = 256;
/// Most detections of one rule on one event: one more of 256 calls tells nothing new, and must not drive out another rule.
const RULE_DETECTIONS_MAX: usize = 16;
/// Most detections of Sigma rules that are gathered of one event before the most severe are chosen.
const GATHERED_MAX: usize = 512;

/// How long a rule that spoke of a tool call does not speak of the same one again, in seconds: those who tell of it later than that tell of
/// another one.
const CALL_SPOKEN_S: u64 = 3_600;

/// How the reasons of gaps begin in which detection tells of itself.
const OWN_GAPS: &str = "detection_";

/// Sigma rules and content flow, with what they remember.
pub struct Engine {
    rules: RuleSet,
    sigma: Sigma,
    sessions: Sessions,
    novelty: Novelty,
    flow: Flow,
    turns: Turns,
    risk: Risk,
    budgets: Budgets,
    behaviour: Option<Behaviour>,
    canaries: Arc<Canaries>,
    spoken: Spoken,
    /// The ids of rules that came later, each with the record from which on it is in force.
    later: HashMap<String, Seq>,
    skipped: Skipped,
    /// The rule that is to be explained, and what was said of it.
    explained: Option<(usize, Vec<Explanation>)>,
}

/// An event being looked at, and what it has shown so far.
struct Observation<'a> {
    seq: Seq,
    event: &'a RecordedEvent<Clean>,
    time_s: i64,
    detections: Vec<Detection>,
    by_rule: HashMap<usize, usize>,
    /// What the detections say, by their ids.
    said: HashMap<EventId, Vec<Saying>>,
    /// What they say of calls and groups: each once.
    spoke: HashSet<What>,
    search: Search,
    /// Whether correlations count it.
    counts: bool,
}

/// What a detection says of a call or of a group.
struct Saying {
    what: What,
    /// Whether it was kept from being told before, and counted then.
    is_again: bool,
}

impl Engine {
    /// An engine that remembers nothing.
    #[must_use]
    pub fn new(mut rules: RuleSet) -> Self {
        let sigma = rules.take_sigma();
        Self {
            canaries: Arc::new(rules.canaries().clone()),
            turns: Turns::new(rules.signs()),
            budgets: rules.budgets(),
            rules,
            sigma,
            sessions: Sessions::new(),
            novelty: Novelty::new(CONTENTS_REMEMBERED_MAX),
            flow: Flow::new(),
            risk: Risk::new(),
            behaviour: Some(Behaviour::new()),
            spoken: Spoken::new(),
            later: HashMap::new(),
            skipped: Skipped::default(),
            explained: None,
        }
    }

    /// As [`observe`](Self::observe), and says why a rule matches each document of the event, or does not: the event itself, and each
    /// tool call that it holds. `None` when there is no rule of that id.
    pub fn observe_explaining(
        &mut self,
        seq: Seq,
        event: &RecordedEvent<Clean>,
        contents: &mut dyn FnMut(&ContentRef) -> Option<Clean>,
        rule: &str,
    ) -> Option<(Vec<Detection>, Vec<Explanation>)> {
        self.explained = Some((self.rules.position(rule)?, Vec::new()));
        let found = self.observe(seq, event, contents);
        let (_, told) = self.explained.take()?;
        Some((found, told))
    }

    /// The rules of the detections of the last event that a spent alert budget kept from being told.
    #[must_use]
    pub fn suppressed(&self) -> &[RuleId] {
        &self.budgets.last
    }

    /// What outlives the engine.
    #[must_use]
    pub fn into_carried(mut self) -> Carried {
        Carried {
            rules: carried::keys_of(&self.rules),
            spent: self.budgets.take_spent(),
            windows: self.sigma.take_windows(),
            spoken: self.spoken,
            sessions: self.sessions,
            novelty: self.novelty,
            flow: self.flow.hand_on(),
            turns: self.turns.hand_on(),
            risk: self.risk.hand_on(),
        }
    }

    /// Goes on with what an engine before this one knew: hours of budgets, windows of correlations, risks and conversations do not begin
    /// anew with it. Of rules
    /// that were not there, or said something else, it knows what it has seen itself. Without any, nothing is spent.
    pub fn carry(&mut self, carried: Option<Carried>) {
        self.budgets.take_spent();
        if let Some(Carried { rules, spent, windows, spoken, sessions, novelty, flow, turns, risk }) = carried {
            let now: HashMap<u64, usize> = carried::keys_of(&self.rules).into_iter().zip(0..).collect();
            let place = |before: usize| now.get(rules.get(before)?).copied();
            self.budgets.go_on(spent);
            self.sigma.go_on(windows, place);
            self.spoken.go_on(spoken, rules.len(), place);
            (self.sessions, self.novelty) = (sessions, novelty);
            self.flow.go_on(flow);
            self.turns.go_on(turns);
            self.risk.go_on(risk);
        }
        self.note_dropped();
    }

    /// Notes from which record on the rules are in force. What one finds before shows in no way but in the windows of correlations, which
    /// count from the records before an epoch on.
    pub fn put_in_force(&mut self, in_force: &InForce) {
        self.later = in_force.later(&self.rules).collect();
    }

    fn note_dropped(&mut self) {
        let dropped = self.sigma.dropped();
        (self.skipped.correlation_groups, self.skipped.correlation_events) = (dropped.groups, dropped.entries);
        self.skipped.suppressed = self.budgets.suppressed();
    }

    /// The bytes that the windows of correlations hold, about, and the number of their groups.
    #[must_use]
    pub fn correlation_state(&self) -> (usize, usize) {
        self.sigma.held()
    }

    /// What the bounds on memory and time have left out so far. Whoever runs the engine is to show it (invariant I4).
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Exchanges what is known of behaviour, which lasts longer than an engine does. Without any, nothing is said of behaviour.
    pub fn exchange_behaviour(&mut self, behaviour: Option<Behaviour>) -> Option<Behaviour> {
        self.skipped.late = behaviour.as_ref().map_or(0, Behaviour::late);
        self.skipped.implausible = behaviour.as_ref().map_or(0, Behaviour::implausible);
        std::mem::replace(&mut self.behaviour, behaviour)
    }

    /// What is known of behaviour.
    #[must_use]
    pub fn behaviour(&self) -> Option<&Behaviour> {
        self.behaviour.as_ref()
    }

    /// What the next event of the journal, the record at `seq`, shows. The same events in the same order give the same
    /// detections.
    ///
    /// `contents` gives the text of a content; it is asked once for each content that is new to its conversation, and for system
    /// prompts, which answers are compared with, whenever they are not at hand. A content that it does not have (erased) is
    /// passed over. What Watchkeeper itself recorded of the kinds `detection` and
    /// `response_action` shows nothing, so that nothing feeds itself. A gap that tells of detection's own bounds is shown to rules, and
    /// counted by no correlation: what is left out for it would be told in the next one.
    pub fn observe(
        &mut self,
        seq: Seq,
        event: &RecordedEvent<Clean>,
        contents: &mut dyn FnMut(&ContentRef) -> Option<Clean>,
    ) -> Vec<Detection> {
        self.budgets.begin();
        // Whoever else sends these kinds must not escape the rules by it.
        if matches!(event.kind, Kind::Detection | Kind::ResponseAction) && event.source.path == SourcePath::Internal {
            return Vec::new();
        }
        let session = self.sessions.of(event);
        let mut new: Vec<(&Piece<Clean, ContentRef>, Clean)> = Vec::new();
        let mut calls = 0;
        for piece in &event.pieces {
            let role = role_of(piece);
            if !self.novelty.is_new(session, &piece.content.id, role) {
                continue;
            }
            if piece.meta.part == Part::ToolCall {
                if calls == EVENT_CALLS_MAX {
                    self.skipped.calls += 1;
                    self.novelty.forget(session, &piece.content.id, role);
                    continue;
                }
                calls += 1;
            }
            if let Some(text) = contents(&piece.content) {
                new.push((piece, text));
            }
        }
        // Nobody's clock decides but ours: an event from the future must not open or shut a window.
        let time_s = i64::try_from(event.time.min(event.observed).unix_ns() / 1_000_000_000).unwrap_or(i64::MAX);
        let own_call = (event.kind == Kind::ToolCall)
            .then(|| event.pieces.iter().find(|piece| piece.meta.part == Part::ToolCall))
            .flatten()
            .and_then(|piece| Some(flatten::call_key(piece, &contents(&piece.content)?)));
        let counts = !tells_of_detection(event);
        let (detections, by_rule, search) = (Vec::new(), HashMap::new(), Search::new());
        let (said, spoke) = (HashMap::new(), HashSet::new());
        let mut seen = Observation { seq, event, time_s, detections, by_rule, said, spoke, search, counts };
        let canaries = Arc::clone(&self.canaries);
        let mut facts = self.turns.observe(session, event, &new, contents, &mut self.skipped);
        let flow = self.flow.observe(session, seq, event, &new);
        facts.extend(flow.facts);
        let hits = intel::hits(event, &new);
        let insights = self.behaviour.as_mut().map(|behaviour| behaviour.observe(event, contents)).unwrap_or_default();
        if let Some(behaviour) = &self.behaviour {
            (self.skipped.late, self.skipped.implausible) = (behaviour.late(), behaviour.implausible());
        }
        let context =
            flatten::Context { conversation: session, facts: &facts, canaries: &canaries, hits: &hits, insights: &insights };
        for document in flatten::documents(event, &new, &context) {
            let call = document.call(session, own_call.as_deref());
            self.observe_document(call, document, &mut seen);
        }
        self.skipped.unsearched += seen.search.skipped_bytes;
        self.skipped.evidence += seen.search.skipped_evidence;
        let (mut detections, said) = (seen.detections, seen.said);
        self.skipped.flow_bytes += flow.unread;
        self.skipped.flow_forgotten = self.flow.forgotten();
        // What a rule finds in records that came before it was told to nobody, and is nothing that it has said.
        detections.retain(|one| self.later.get(one.rule.as_str()).is_none_or(|since| *since <= seq));
        detections.extend(flow.detections);
        self.skipped.bound(&mut detections);
        let is_again = |one: &Detection| said.get(&one.id).is_some_and(|all| all.iter().all(|saying| saying.is_again));
        let again: Vec<bool> = detections.iter().map(is_again).collect();
        let Judged { told, notices } = self.budgets.judge(event, seq, &detections, &again);
        let now_s = u64::try_from(time_s).unwrap_or(0);
        for (detection, is_told) in detections.iter().zip(&told) {
            let sayings = said.get(&detection.id).into_iter().flatten();
            sayings.for_each(|saying| self.spoken.decide(saying.what, now_s, *is_told));
        }
        // What nobody is told of is as much of a risk, once.
        let risk = self.risk.observe(event, seq, time_s, &detections, &told, &again);
        let mut told = told.into_iter();
        detections.retain(|_| told.next().unwrap_or(true));
        detections.extend(notices);
        detections.extend(risk);
        self.note_dropped();
        detections
    }

    fn observe_document(&mut self, call: Option<u64>, mut document: Document, seen: &mut Observation<'_>) {
        self.skipped.bytes += document.skipped_bytes;
        self.skipped.values += document.skipped_values;
        let fields = Json::Object(std::mem::take(&mut document.fields));
        let place = Place { category: document.category, service: &document.service };
        let mut matches = self.sigma.matches(&fields, Some(place));
        let asked = self.explained.as_ref().map(|(rule, _)| self.sigma.positions(&matches).contains(rule));
        let now_s = u64::try_from(seen.time_s).unwrap_or(0);
        // What a call showed before, and nobody was told of: correlations have counted it.
        let (mut again, mut kept) = (self.sigma.none(), HashMap::new());
        if let Some(call) = call {
            let spoken = &mut self.spoken;
            again = self.sigma.take_out(&mut matches, |rule| {
                let before = spoken.see((rule, call), now_s, CALL_SPOKEN_S);
                kept.extend(before.map(|how| (rule, how)));
                before.is_some()
            });
            self.sigma.retain(&mut again, |rule| kept.get(&rule) != Some(&How::Told));
        }
        let mut hits = match seen.counts {
            true => self.sigma.correlate(&fields, Some((seen.seq, seen.event.id)), matches, seen.time_s),
            false => self.sigma.uncorrelated(matches),
        };
        hits.extend(self.sigma.uncorrelated(again));
        hits.sort_by_key(|hit| hit.rule);
        if let Some((position, mut told)) = self.explained.take() {
            let of_call =
                if document.part.is_empty() { String::new() } else { format!("a tool call of the event: {}", document.part) };
            if let Some(mut one) = self.rules.explain(&self.sigma, position, &fields) {
                let place = Place { category: document.category, service: &document.service };
                one.notes.extend(Some(of_call).filter(|note| !note.is_empty()));
                if let Some(note) = self.sigma.not_asked(&one.rule, place) {
                    one.matched = false;
                    one.notes.push(note);
                } else if asked == Some(true) && !hits.iter().any(|hit| hit.rule == position) && self.sigma.speaks(position) {
                    one.notes.push("the rule spoke of this tool call before, when another event told of it".to_owned());
                }
                told.push(one);
            }
            self.explained = Some((position, told));
        }
        for hit in hits {
            let Some(rule) = self.rules.rule(hit.rule) else { continue };
            let (what, before) = match (rule.info.kind, call) {
                (RuleKind::Correlation, _) => {
                    let what = (hit.rule, hash(&[b"group", hit.group().as_bytes()]));
                    (Some(what), self.spoken.see(what, now_s, rule.parsed.timespan_s()))
                }
                (_, Some(call)) => (Some((hit.rule, call)), kept.get(&hit.rule).copied()),
                (_, None) => (None, None),
            };
            if before == Some(How::Told) || what.is_some_and(|what| seen.spoke.contains(&what)) {
                continue;
            }
            let of_rule = seen.by_rule.entry(hit.rule).or_default();
            if *of_rule == RULE_DETECTIONS_MAX || seen.detections.len() == GATHERED_MAX {
                self.skipped.detections += 1;
                continue;
            }
            *of_rule += 1;
            let evidence = self.sigma.evidence(&hit, &mut seen.search);
            let found = detection(rule, &hit, evidence, seen.seq, seen.event, &document);
            if let Some(what) = what {
                seen.spoke.insert(what);
                seen.said.entry(found.id).or_default().push(Saying { what, is_again: before == Some(How::Kept) });
            }
            seen.detections.push(found);
        }
    }
}

/// Whether it is a gap in which detection tells of itself.
fn tells_of_detection(event: &RecordedEvent<Clean>) -> bool {
    let reason = || event.attribute(attr::GAP_REASON.as_str()).and_then(|reason| reason.as_text());
    event.kind == Kind::Gap
        && event.source.path == SourcePath::Internal
        && reason().is_some_and(|reason| reason.starts_with(OWN_GAPS))
}

fn detection(
    rule: &Rule,
    hit: &Hit,
    mut evidence: Vec<Evidence>,
    seq: Seq,
    event: &RecordedEvent<Clean>,
    document: &Document,
) -> Detection {
    for item in &mut evidence {
        let field = item.field.as_deref().unwrap_or_default();
        item.content = document.contents.iter().find(|(name, _)| *name == field).map(|(_, content)| *content);
        item.event = Some(event.id);
        item.seq = Some(seq);
    }
    let shown = |insight: &&Insight| {
        let field = format!("{}.{}", flatten::INSIGHT, insight.name.as_str());
        evidence.iter().any(|item| item.field.as_deref().is_some_and(|name| name == field || name == flatten::INSIGHT))
    };
    let shown: Vec<Evidence> =
        document.insights.iter().filter(shown).map(|insight| evidence_of(insight, seq, event.id)).collect();
    evidence.extend(shown);
    evidence.extend(document.findings.iter().take(FINDINGS_SHOWN_MAX).map(|(content, channel, finding)| Evidence {
        what: "finding".to_owned(),
        field: Some(finding.rule.as_str().to_owned()),
        value: Some(finding.risk.as_str().to_owned()),
        start: Some(finding.start),
        end: Some(finding.end),
        content: Some(*content),
        event: Some(event.id),
        seq: Some(seq),
        channel: Some(*channel),
        ..Evidence::default()
    }));
    if evidence.iter().any(|item| item.field.as_deref().is_some_and(|field| field.starts_with(intel::PREFIX))) {
        evidence.extend(document.hits.iter().map(|hit| Evidence {
            seq: Some(seq),
            event: Some(event.id),
            ..hit.evidence(event)
        }));
    }
    let counted = hit.events();
    evidence.extend(counted.iter().map(|(seq, id)| Evidence {
        what: "event".to_owned(),
        event: Some(*id),
        seq: Some(*seq),
        ..Evidence::default()
    }));
    let events = counted.iter().map(|(_, id)| *id).collect();
    let verdict = Verdict {
        rule: &rule.info.id,
        rule_digest: &rule.info.digest,
        title: &rule.info.title,
        labels: rule.info.labels(),
        severity: rule.info.severity,
        confidence: rule.info.confidence,
        grade: None,
    };
    let part = if rule.info.kind == RuleKind::Correlation { hit.group() } else { document.part.clone() };
    let mut detection = verdict.on(event, events, evidence, &part);
    if let Some(identity) = &document.identity {
        // It is about somebody else, who has no part in the event.
        (detection.identity, detection.session, detection.trace, detection.tool) = (identity.clone(), None, None, None);
    }
    detection
}

/// A statement about behaviour, with what it rests on.
fn evidence_of(insight: &Insight, seq: Seq, event: EventId) -> Evidence {
    let Insight { observed, expected, support, peers, what, .. } = insight;
    let what = if what.is_empty() { String::new() } else { format!("{what}; ") };
    Evidence {
        what: "insight".to_owned(),
        field: Some(insight.name.as_str().to_owned()),
        value: Some(format!("{what}observed {observed:.4}, expected {expected:.4}, support {support}, peers {peers:.4}")),
        event: Some(event),
        seq: Some(seq),
        ..Evidence::default()
    }
}

/// A text may come back in another part: as a tool's result and then as a document, say; each use is new once. Calls are
/// told apart by their id, too: the same command given twice runs twice.
fn role_of(piece: &Piece<Clean, ContentRef>) -> u64 {
    let role: &[u8] = match piece.meta.role {
        Role::System => b"system",
        Role::User => b"user",
        Role::Assistant => b"assistant",
        Role::Tool => b"tool",
        Role::Document => b"document",
    };
    match (piece.meta.part, &piece.meta.call_id) {
        (Part::ToolCall, Some(id)) => hash(&[role, b"call", id.as_bytes()]),
        (Part::ToolCall, None) => hash(&[role, b"call"]),
        _ => hash(&[role]),
    }
}

#[cfg(test)]
mod tests {
    use event::{ContentId, Direction, Event, Key, PieceMeta, Source, SubjectId};

    use super::*;
    use crate::sigma::evidence::{EVENT_BYTES_MAX, work};
    use crate::skipped::count;

    #[test]
    fn thousands_of_calls_that_match_several_rules_are_bounded_work() {
        const CALLS: u64 = 15_000;
        const RULES: u64 = 6;
        let dir = tempfile::tempdir().unwrap();
        for index in 0..RULES {
            let rule = format!(
                "title: t{index}\nid: 00000000-0000-4000-8000-{index:012}\nlogsource: {{product: ai, category: CATEGORY}}\n\
                 detection:\n  a:\n    FIELD|re: 'never-{index}-and-never-again'\n  b:\n    FIELD|re: 'rm\\s+-r[f{index}]+ /srv'\n  \
                 condition: a or b\n"
            );
            for (group, category, field) in
                [("-4000-", "tool", "gen_ai.tool.call.arguments"), ("-4001-", "llm", "watchkeeper.text.tool")]
            {
                let rule = rule.replace("CATEGORY", category).replace("FIELD", field).replace("-4000-", group);
                std::fs::write(dir.path().join(format!("{category}-{index}.yml")), rule).unwrap();
            }
        }
        // Calls are documents of their own; those of a tool's own event, and results, are values of one field.
        for (kind, part, calls_skipped) in [
            (Kind::ModelCall, Part::ToolCall, CALLS - count(EVENT_CALLS_MAX)),
            (Kind::ToolCall, Part::ToolCall, CALLS - count(EVENT_CALLS_MAX)),
            (Kind::ModelCall, Part::ToolResult, 0),
        ] {
            let rules = RuleSet::load(dir.path(), false).unwrap();
            assert_eq!(count(rules.rules().len()), 2 * RULES, "{:?}", rules.problems());
            let mut engine = Engine::new(rules);
            let mut event = Event::new(kind, Clean::literal("op"), Source::new(SourcePath::Api, Key::of("test")));
            event.pieces = (0..CALLS)
                .map(|index| {
                    let mut id = [1; 32];
                    id[..8].copy_from_slice(&index.to_le_bytes());
                    let id = ContentId::from_slice(&id).unwrap();
                    let content = ContentRef { id, subject: SubjectId::from_bytes([1; 16]).unwrap(), bytes: 0 };
                    Piece { meta: PieceMeta::new(Direction::Input, Role::Tool, part), content, findings: Vec::new() }
                })
                .collect();
            work::take();
            let found = engine.observe(Seq(0), &event, &mut |content| {
                // What matches stands at the end, so that a search has to go through.
                Some(Clean::recorded(&format!("{} {} rm -rf /srv", content.id, "rm ".repeat(300))))
            });
            let (compiled, bytes) = work::take();
            assert!(found.len() >= usize::try_from(RULES).unwrap(), "{kind:?} {part:?}: {}", found.len());
            assert!(found.iter().all(|one| one.evidence[0].start.is_some()), "{kind:?} {part:?}");
            assert_eq!(engine.skipped().calls, calls_skipped, "{kind:?} {part:?}");
            assert_eq!(compiled, 2 * RULES, "{kind:?} {part:?}");
            assert!(0 < bytes && bytes <= count(EVENT_BYTES_MAX) / 10, "{kind:?} {part:?}: {bytes}");
        }
    }

    #[test]
    fn a_call_that_comes_again_after_an_hour_is_told_again() {
        let rule = "title: t\nid: 00000000-0000-4000-8000-000000000001\nlogsource: {product: ai, category: tool}\n\
                    detection:\n  a:\n    gen_ai.tool.call.arguments|contains: 'rm -rf'\n  condition: a\n";
        let mut engine = Engine::new(RuleSet::of_files(vec![("own.yml".into(), rule.to_owned())]).unwrap());
        // The minutes at which it comes; the same call in other bytes each time, so that its text is new.
        let told: Vec<usize> = [0, 1, 59, 61, 62]
            .into_iter()
            .map(|minute: u64| {
                let mut event = Event::new(Kind::ToolCall, Clean::literal("op"), Source::new(SourcePath::Api, Key::of("test")));
                event.session = Some(Clean::literal("s"));
                event.time = event::Timestamp::from_unix_ns((1_790_000_000 + minute * 60) * 1_000_000_000);
                event.observed = event.time;
                let mut id = [1; 32];
                id[..8].copy_from_slice(&minute.to_le_bytes());
                let content = ContentRef {
                    id: ContentId::from_slice(&id).unwrap(),
                    subject: SubjectId::from_bytes([1; 16]).unwrap(),
                    bytes: 0,
                };
                let meta = PieceMeta::new(Direction::Output, Role::Assistant, Part::ToolCall);
                event.pieces = vec![Piece { meta, content, findings: Vec::new() }];
                engine.observe(Seq(minute), &event, &mut |_| Some(Clean::literal(r#"{"command":"rm -rf /srv"}"#))).len()
            })
            .collect();
        assert_eq!(told, [1, 0, 0, 1, 0]);
    }

    #[test]
    fn an_engine_can_move_to_a_thread_of_its_own() {
        fn holds<T: Send>() {}
        holds::<Engine>();
        holds::<RuleSet>();
        holds::<crate::Runner>();
    }
}
