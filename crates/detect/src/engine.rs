//! Reads recorded events in the order of the journal and says what it detects.

use std::num::NonZeroUsize;

use event::{ContentRef, EventId, Kind, Part, Piece, RecordedEvent};
use journal::Seq;
use lru::LruCache;
use sanitize::Clean;
use serde_json::Value as Json;

use crate::detection::{Detection, Evidence, Verdict};
use crate::flow::Flow;
use crate::novelty::{CONTENTS_REMEMBERED_MAX, Novelty};
use crate::rules::{Rule, RuleKind, RuleSet};
use crate::session::{Sessions, hash};
use crate::sigma::flatten::{self, Document};
use crate::sigma::{Hit, Sigma};

/// Most groups of correlations whose last alarm is remembered, so that a burst is one alarm and not one for each event.
const ALARMS_REMEMBERED_MAX: usize = 65_536;
/// Most findings of inspection that go into the evidence of one detection.
const FINDINGS_SHOWN_MAX: usize = 8;

/// Sigma rules and content flow, with what they remember.
pub struct Engine {
    rules: RuleSet,
    sigma: Sigma,
    sessions: Sessions,
    novelty: Novelty,
    flow: Flow,
    /// When a rule last spoke on a group (correlations) or on a tool call.
    spoken: LruCache<(usize, u64), u64>,
}

impl Engine {
    /// An engine that remembers nothing.
    #[must_use]
    pub fn new(mut rules: RuleSet) -> Self {
        let sigma = rules.take_sigma();
        Self {
            rules,
            sigma,
            sessions: Sessions::new(),
            novelty: Novelty::new(CONTENTS_REMEMBERED_MAX),
            flow: Flow::new(),
            spoken: LruCache::new(NonZeroUsize::new(ALARMS_REMEMBERED_MAX).unwrap_or(NonZeroUsize::MIN)),
        }
    }

    /// What the next event of the journal shows. The same events in the same order give the same detections.
    ///
    /// `contents` gives the text of a content; it is asked once for each content that is new to its conversation. A content
    /// that it does not have (erased) is passed over. Events of the kinds `detection` and `response_action` show nothing, so
    /// that nothing feeds itself.
    pub fn observe(
        &mut self,
        _seq: Seq,
        event: &RecordedEvent<Clean>,
        contents: &mut dyn FnMut(&ContentRef) -> Option<Clean>,
    ) -> Vec<Detection> {
        if matches!(event.kind, Kind::Detection | Kind::ResponseAction) {
            return Vec::new();
        }
        let session = self.sessions.of(event);
        let mut new: Vec<(&Piece<Clean, ContentRef>, Clean)> = Vec::new();
        for piece in &event.pieces {
            if self.novelty.is_new(session, &piece.content.id, role_of(piece))
                && let Some(text) = contents(&piece.content)
            {
                new.push((piece, text));
            }
        }
        // Nobody's clock decides but ours: an event from the future must not open or shut a window.
        let time_s = i64::try_from(event.time.min(event.observed).unix_ns() / 1_000_000_000).unwrap_or(i64::MAX);
        let mut detections = Vec::new();
        let own_call = (event.kind == Kind::ToolCall)
            .then(|| event.pieces.iter().find(|piece| piece.meta.part == Part::ToolCall))
            .flatten()
            .and_then(|piece| Some(flatten::call_key(piece, &contents(&piece.content)?)));
        for document in flatten::documents(event, &new) {
            let call = document.call(session, own_call.as_deref());
            self.observe_document(call, event, document, time_s, &mut detections);
        }
        detections.extend(self.flow.observe(session, event, &new));
        detections
    }

    fn observe_document(
        &mut self,
        call: Option<u64>,
        event: &RecordedEvent<Clean>,
        mut document: Document,
        time_s: i64,
        detections: &mut Vec<Detection>,
    ) {
        let fields = Json::Object(std::mem::take(&mut document.fields));
        let mut matches = self.sigma.matches(&fields, Some(document.category));
        // A tool call is told of by the model's answer, by the tool's span, by the next request: one alarm of a rule is enough.
        if let Some(call) = call {
            let spoken = &mut self.spoken;
            self.sigma.retain(&mut matches, |rule| spoken.put((rule, call), 0).is_none());
        }
        let hits = self.sigma.correlate(&fields, &event.id.to_string(), matches, time_s);
        for hit in hits {
            let Some(rule) = self.rules.rule(hit.rule) else { continue };
            if rule.info.kind == RuleKind::Correlation && !is_due(&mut self.spoken, &hit, rule, time_s) {
                continue;
            }
            detections.push(detection(rule, hit, event, &document));
        }
    }
}

/// A correlation speaks once for each group and window.
fn is_due(spoken: &mut LruCache<(usize, u64), u64>, hit: &Hit, rule: &Rule, time_s: i64) -> bool {
    let now = u64::try_from(time_s).unwrap_or(0);
    let key = (hit.rule, hash(&("group", &hit.group)));
    // Time may go back where sources deliver late; then the window counts in both directions.
    if spoken.get(&key).is_some_and(|last| last.abs_diff(now) < rule.parsed.timespan_s()) {
        return false;
    }
    spoken.put(key, now);
    true
}

fn detection(rule: &Rule, hit: Hit, event: &RecordedEvent<Clean>, document: &Document) -> Detection {
    let mut evidence = hit.evidence;
    for item in &mut evidence {
        let field = item.field.as_deref().unwrap_or_default();
        item.content = document.contents.iter().find(|(name, _)| *name == field).map(|(_, content)| *content);
        item.event = Some(event.id);
    }
    evidence.extend(document.findings.iter().take(FINDINGS_SHOWN_MAX).map(|(content, channel, finding)| Evidence {
        what: "finding".to_owned(),
        field: Some(finding.rule.as_str().to_owned()),
        value: Some(finding.risk.as_str().to_owned()),
        start: Some(finding.start),
        end: Some(finding.end),
        content: Some(*content),
        event: Some(event.id),
        channel: Some(*channel),
        ..Evidence::default()
    }));
    let events = hit.events.iter().filter_map(|id| id.parse::<EventId>().ok()).collect();
    let verdict = Verdict {
        rule: &rule.info.id,
        rule_digest: &rule.info.digest,
        title: &rule.info.title,
        technique: rule.info.techniques.first().copied(),
        severity: rule.info.severity,
        confidence: rule.info.confidence,
        grade: None,
    };
    let part = if rule.info.kind == RuleKind::Correlation { hit.group } else { document.part.clone() };
    verdict.on(event, events, evidence, &part)
}

/// A text may come back in another part: as a tool's result and then as a document, say; each use is new once. Calls are
/// told apart by their id, too: the same command given twice runs twice.
fn role_of(piece: &Piece<Clean, ContentRef>) -> u64 {
    let call_id = (piece.meta.part == Part::ToolCall).then(|| piece.meta.call_id.as_ref().map(|id| id.as_str()));
    hash(&(piece.meta.role, call_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_can_move_to_a_thread_of_its_own() {
        fn holds<T: Send>() {}
        holds::<Engine>();
        holds::<RuleSet>();
        holds::<crate::Runner>();
    }
}
