//! What a trace shows, and to whom.

use std::collections::BTreeSet;

use journal::Seq;
use serde::Serialize;
use utoipa::ToSchema;

use crate::list::{
    ActionWord, DirectionWord, EdgeWord, Grade, KindWord, PhaseWord, Severity, StatusWord, TraceIdWord, VerdictWord,
};

/// A trace or session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct TraceView {
    /// What was asked for.
    pub id: String,
    /// What that is.
    #[schema(value_type = TraceIdWord)]
    pub id_kind: &'static str,
    /// Sessions that it touches.
    pub sessions: BTreeSet<String>,
    /// Traces that it touches.
    pub traces: BTreeSet<String>,
    /// Users that it touches.
    pub users: BTreeSet<String>,
    /// The events as a tree, written from the top: an event comes after its parent, with a greater depth. Siblings
    /// are in the order of their times.
    pub events: Vec<TraceEvent>,
    /// The tool calls in the order of their times.
    pub actions: Vec<TraceAction>,
    /// What was detected.
    pub detections: Vec<TraceDetection>,
    /// Which text led to which call, what it carried and where it went: the edges of the detections.
    pub edges: Vec<TraceEdge>,
    /// Whether events, texts or edges were left out.
    pub truncated: bool,
    /// Whether texts, and values that are parts of texts, are left out, because they were not asked for or the caller may not read them.
    pub withheld: bool,
}

/// An event of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TraceEvent {
    /// How deep it stands, from 0.
    pub depth: usize,
    /// The event that caused it, where that is known and shown.
    pub parent_event_id: Option<String>,
    /// The event.
    pub event_id: String,
    /// Its place in the journal.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When it began (ISO 8601).
    pub time: String,
    /// The same, in nanoseconds since 1970.
    pub time_ns: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// Its kind.
    #[schema(value_type = KindWord)]
    pub kind: String,
    /// Which part of the operation it tells of.
    #[schema(value_type = PhaseWord)]
    pub phase: String,
    /// Name of the operation.
    pub name: String,
    /// The trace.
    pub trace_id: Option<String>,
    /// The span.
    pub span_id: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// The end user.
    pub user_id: Option<String>,
    /// The application.
    pub application: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// How it went.
    #[schema(value_type = StatusWord)]
    pub status: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Tokens read.
    pub input_tokens: Option<i64>,
    /// Tokens written.
    pub output_tokens: Option<i64>,
    /// Highest score of inspection.
    pub score: Option<f64>,
    /// What inspection advises.
    #[schema(value_type = Option<VerdictWord>)]
    pub verdict: Option<String>,
    /// Attributes under canonical keys.
    pub attributes: serde_json::Value,
    /// What was said and is new.
    pub pieces: Vec<TracePiece>,
    /// How many pieces repeat what earlier events brought, and are left out.
    pub history: usize,
}

/// A piece of content with its text.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TracePiece {
    /// Which way it went.
    #[schema(value_type = DirectionWord)]
    pub direction: &'static str,
    /// Who says it.
    pub role: String,
    /// What it is.
    pub part: String,
    /// Tool, document or participant.
    pub name: Option<String>,
    /// The id that ties a tool's call to its result.
    pub call_id: Option<String>,
    /// Similarity of a retrieved document.
    pub score: Option<f64>,
    /// Whether the tool reported that it failed.
    pub failed: Option<bool>,
    /// The text; `None` where nobody has it any more.
    pub text: Option<String>,
    /// Whether the text is cut.
    pub cut: bool,
    /// Id of the text.
    pub content_id: Option<String>,
    /// What was found in it.
    pub findings: Vec<TraceFinding>,
}

/// A finding in a piece.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TraceFinding {
    /// Risk category.
    pub risk: String,
    /// MITRE ATLAS technique.
    pub technique: Option<String>,
    /// What matched.
    pub rule: String,
    /// How sure, 0 to 1.
    pub score: f64,
    /// First code point of the match.
    pub start: u32,
    /// One past its last code point.
    pub end: u32,
    /// View in which it matched.
    pub view: Option<String>,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TraceAction {
    /// When.
    pub time: String,
    /// Event that told of it first.
    pub event_id: String,
    /// Event that told the outcome.
    pub result_event_id: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// Id that ties call and result.
    pub call_id: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// Arguments.
    pub arguments: Option<String>,
    /// What came back.
    pub result: Option<String>,
    /// What became of it.
    #[schema(value_type = ActionWord)]
    pub status: String,
    /// Whether its use was approved.
    pub approval_status: Option<String>,
    /// Highest score of its findings.
    pub risk_score: Option<f64>,
}

/// A detection.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TraceDetection {
    /// When.
    pub time: String,
    /// The detection.
    pub detection_id: String,
    /// The rule.
    pub rule: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// MITRE ATLAS technique.
    pub technique: Option<String>,
    /// How bad.
    #[schema(value_type = Option<Severity>)]
    pub severity: Option<String>,
    /// How sure, 0 to 1.
    pub confidence: Option<f64>,
    /// Of an injection: how far it got.
    #[schema(value_type = Option<Grade>)]
    pub grade: Option<String>,
    /// Values that show it.
    pub evidence: serde_json::Value,
    /// Ids of the events that it rests on.
    pub events: Vec<String>,
}

/// An edge of the causal graph: a row of the view `flow_edges`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TraceEdge {
    /// The detection whose evidence it is.
    pub detection_id: String,
    /// What it says.
    #[schema(value_type = EdgeWord)]
    pub edge: String,
    /// The event at its beginning.
    pub from_event: Option<String>,
    /// Where the text there entered.
    pub from_channel: Option<String>,
    /// The text there.
    pub from_content: Option<String>,
    /// First code point of what counts in it.
    pub from_start: Option<i64>,
    /// One past its last code point.
    pub from_end: Option<i64>,
    /// What it says, or the beginning of it.
    pub from_value: Option<String>,
    /// The event at its end; none for a destination.
    pub to_event: Option<String>,
    /// Tool of the call.
    pub tool: Option<String>,
    /// Where the call went.
    pub destination: Option<String>,
    /// What that is.
    pub destination_kind: Option<String>,
    /// Whether the agent had never used it before.
    pub first_seen: bool,
    /// What both ends have, one on each line.
    pub shared_value: Option<String>,
    /// Why the call is taken to follow the text.
    pub ground: Option<String>,
}

impl TraceView {
    /// Leaves out what was said: texts, and whatever quotes them. `cut` goes on saying of a text whether it is longer than what is shown to
    /// whoever may read it.
    pub fn withhold(&mut self) {
        self.withheld = true;
        for event in &mut self.events {
            event.attributes = match std::mem::take(&mut event.attributes) {
                serde_json::Value::Object(attributes) => serde_json::Value::Object(crate::list::shown(attributes).0),
                other => other,
            };
            for piece in &mut event.pieces {
                piece.text = None;
            }
        }
        for action in &mut self.actions {
            (action.arguments, action.result) = (None, None);
        }
        for detection in &mut self.detections {
            let evidence = serde_json::from_value(std::mem::take(&mut detection.evidence)).unwrap_or_default();
            let evidence = crate::list::without_values(evidence);
            detection.evidence = serde_json::to_value(evidence).unwrap_or_default();
        }
        for edge in &mut self.edges {
            (edge.from_value, edge.shared_value, edge.destination) = (None, None, None);
        }
    }
}
