//! The typed columns of an event.

use std::borrow::Cow;
use std::fmt::Write as _;

use event::limits::DELEGATION_MAX;
use event::{ContentRef, SourcePath, Timestamp};
use event::{
    Direction, Finding, Key, Kind, Part, Phase, Piece, PieceMeta, Principal, Proof, RecordedEvent, Role, Status, Value, attr,
};
use journal::Seq;
use rusqlite::types::ToSql;
use rusqlite::{CachedStatement, Result};
use sanitize::Clean;

use crate::cut;

/// An event beside what its columns need and it does not hold as it is.
pub(crate) struct EventRow<'e> {
    /// The event.
    pub(crate) event: &'e RecordedEvent<Clean>,
    /// Its place in the journal.
    pub(crate) seq: i64,
    /// Its id as text.
    pub(crate) id: String,
    /// When it began, as people write it.
    pub(crate) time: String,
    /// The same, in nanoseconds.
    pub(crate) time_ns: i64,
    /// When it was over.
    pub(crate) end_ns: i64,
    /// The trace.
    pub(crate) trace_id: Option<String>,
    /// Which instrumentation reported it: one of them does not report the same call twice.
    pub(crate) source: String,
}

pub(crate) type EventPiece = Piece<Clean, ContentRef>;

impl<'e> EventRow<'e> {
    /// Reads what the columns need.
    pub(crate) fn new(seq: Seq, event: &'e RecordedEvent<Clean>) -> Self {
        let time_ns = ns(event.time);
        Self {
            event,
            seq: integer(seq.0),
            id: event.id.to_string(),
            time: crate::text::iso(time_ns),
            time_ns,
            end_ns: time_ns.saturating_add(integer(event.duration_ns.unwrap_or(0))),
            trace_id: event.trace.map(|trace| trace.trace_id.to_string()),
            source: format!(
                "{}/{}/{}",
                path_name(event.source.path),
                event.source.dialect,
                event.source.scope.as_deref().map(cut::text).unwrap_or_default()
            ),
        }
    }

    /// The session, if any.
    pub(crate) fn session(&self) -> Option<&'e str> {
        self.event.session.as_deref().map(cut::text)
    }

    /// The end user.
    pub(crate) fn user(&self) -> Option<&'e str> {
        self.event.identity.user.as_ref().map(|user| cut::text(&user.id))
    }

    /// The application, by its name where it has one.
    pub(crate) fn application(&self) -> Option<&'e str> {
        self.event.identity.application.as_ref().map(display)
    }

    /// The agent, by its name where it has one.
    pub(crate) fn agent(&self) -> Option<&'e str> {
        self.event.identity.agent.as_ref().map(display)
    }

    /// The credential.
    pub(crate) fn credential(&self) -> Option<&'e str> {
        self.event.identity.credential.as_ref().map(|credential| cut::text(&credential.id))
    }

    /// Whether it tells of the server's own administration: that it was started, administered, signed in to, or read. By the way in, which
    /// nobody who sends events can name. What failed is not: a key that was refused, or a sign-in, may be somebody at the server's own door.
    pub(crate) fn is_own(&self) -> bool {
        let event = self.event;
        event.source.path == SourcePath::Internal
            && matches!(event.kind, Kind::Admin | Kind::Session | Kind::DataAccess)
            && self.text(&attr::EVENT_OUTCOME).is_none_or(|outcome| outcome != "failure")
            && event.identity.agent.is_none()
            && self.model().is_none()
            && self.text(&attr::GEN_AI_TOOL_NAME).is_none()
            && event.pieces.iter().all(|piece| piece.findings.is_empty())
    }

    /// The model that answered, or else the one that was asked for.
    pub(crate) fn model(&self) -> Option<Cow<'e, str>> {
        self.text(&attr::GEN_AI_RESPONSE_MODEL).or_else(|| self.text(&attr::GEN_AI_REQUEST_MODEL))
    }

    /// What bounds the meaning of a call id where there is neither a session nor a trace.
    pub(crate) fn scope(&self) -> &'e str {
        self.application().or_else(|| self.credential()).or_else(|| self.user()).unwrap_or_default()
    }

    /// An attribute as text.
    pub(crate) fn text(&self, key: &Key) -> Option<Cow<'e, str>> {
        self.event.attribute(key.as_str()).map(|value| cut::cow(as_text(value)))
    }

    /// An attribute as a whole number.
    pub(crate) fn int(&self, key: &Key) -> Option<i64> {
        match self.event.attribute(key.as_str())? {
            Value::Int(number) => Some(*number),
            // Whole numbers of this size are exact in a double.
            #[allow(clippy::cast_possible_truncation)]
            Value::Double(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// An attribute as a number.
    pub(crate) fn real(&self, key: &Key) -> Option<f64> {
        match self.event.attribute(key.as_str())? {
            Value::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            value => value.as_f64(),
        }
    }

    /// Binds the event's columns, in the order of [`EVENT_COLUMNS`](crate::schema::EVENT_COLUMNS), and executes.
    /// Whether a row was inserted: an event that stands in the partition already is not.
    pub(crate) fn insert(&self, statement: &mut CachedStatement<'_>) -> Result<bool> {
        let event = self.event;
        let identity = &event.identity;
        let whole_attributes = json(&event.attributes);
        let whole_unmapped = (!event.unmapped.is_empty()).then(|| json(&event.unmapped));
        let sanitized = (!event.sanitized.is_empty()).then(|| json(&event.sanitized));
        let sanitized = sanitized.filter(|json| json.len() <= cut::TEXT_BYTES_MAX);
        let delegation = (!identity.delegation.is_empty()).then(|| json(&chain(&identity.delegation)));
        // Of all that it says, as two events may differ in what is cut.
        let variant = self.variant(&whole_attributes, whole_unmapped.as_deref());
        let (attributes, attributes_cut) = cut::map(&event.attributes, &whole_attributes);
        let unmapped = whole_unmapped.as_deref().map(|whole| cut::map(&event.unmapped, whole));
        let unmapped_cut = unmapped.as_ref().map_or(0, |(_, bytes)| *bytes);
        let unmapped = unmapped.map(|(json, _)| json);
        let attributes = cut::with_count(attributes, attributes_cut + unmapped_cut);
        let span = |id: Option<event::SpanId>| id.map(|id| id.to_string());
        let prompt = Worst::of(event, |meta| meta.direction == Direction::Input && meta.role == Role::User && !meta.history);
        let response = Worst::of(event, |meta| meta.direction == Direction::Output);
        let all = Worst::of(event, |_| true);
        let inspected = event.inspection;
        let client = identity.client.as_ref();
        let columns: [&dyn ToSql; 66] = [
            &self.seq,
            &self.id,
            &variant,
            &event.kind.as_str(),
            &phase_name(event.phase),
            &cut::text(&event.name),
            &self.time,
            &self.time_ns,
            &ns(event.observed),
            &event.duration_ns.map(integer),
            &self.trace_id,
            &event.trace.and_then(|trace| span(trace.span_id)),
            &event.trace.and_then(|trace| span(trace.parent_span_id)),
            &self.session(),
            &event.turn.as_deref().map(cut::text),
            &self.user(),
            &identity.user.as_ref().and_then(|user| user.name.as_deref().map(cut::text)),
            &identity.user.as_ref().map(|user| proof_name(user.proof)),
            &self.application(),
            &identity.application.as_ref().and_then(|application| application.version.as_deref().map(cut::text)),
            &identity.agent.as_ref().map(|agent| cut::text(&agent.id)),
            &self.agent(),
            &identity.agent.as_ref().and_then(|agent| agent.version.as_deref().map(cut::text)),
            &identity.agent.as_ref().map(|agent| proof_name(agent.proof)),
            &delegation,
            &self.credential(),
            &identity.credential.as_ref().map(|credential| proof_name(credential.proof)),
            &client.and_then(|client| client.address.as_deref().map(cut::text)),
            &client.and_then(|client| client.user_agent.as_deref().map(cut::text)),
            &path_name(event.source.path),
            &event.source.dialect.as_str(),
            &event.source.scope.as_deref().map(cut::text),
            &self.text(&attr::GEN_AI_OPERATION_NAME),
            &self.text(&attr::GEN_AI_PROVIDER_NAME),
            &self.text(&attr::GEN_AI_REQUEST_MODEL),
            &self.text(&attr::GEN_AI_RESPONSE_MODEL),
            &self.text(&attr::GEN_AI_TOOL_NAME),
            &self.text(&attr::GEN_AI_TOOL_CALL_ID),
            &self.text(&attr::CALL_ID),
            &status_name(event.status),
            &self.text(&attr::ERROR_TYPE),
            &self.text(&attr::GEN_AI_RESPONSE_FINISH_REASONS),
            &self.int(&attr::GEN_AI_USAGE_INPUT_TOKENS),
            &self.int(&attr::GEN_AI_USAGE_OUTPUT_TOKENS),
            &self.int(&attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
            &self.int(&attr::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS),
            &self.int(&attr::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS),
            &self.real(&attr::LOGPROB_MEAN),
            &inspected.map(|inspected| round(inspected.score)),
            &inspected.map(|inspected| inspected.verdict.as_str()),
            &inspected.map(|inspected| integer(inspected.scanned_bytes)),
            &inspected.map(|inspected| integer(inspected.unscanned_bytes)),
            &all.risks(),
            &inspected.map(|_| round(prompt.score())),
            &inspected.map(|_| prompt.risk()),
            &inspected.map(|_| round(response.score())),
            &inspected.map(|_| response.risk()),
            &has_prompt(event),
            &output_class(event),
            &self.text(&attr::URL_FULL),
            &self.text(&attr::SERVER_ADDRESS),
            &self.int(&attr::HTTP_RESPONSE_STATUS_CODE),
            &attributes,
            &unmapped,
            &sanitized,
            &self.is_own(),
        ];
        for (index, column) in columns.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, column)?;
        }
        Ok(statement.raw_execute()? > 0)
    }

    /// A digest (FNV-1a) of what the event says, without when it was received: a report that is sent twice has one
    /// variant, and an event that uses another one's id has a variant of its own.
    fn variant(&self, attributes: &str, unmapped: Option<&str>) -> i64 {
        let mut hash = Fnv::default();
        hash.field(self.event.kind.as_str().as_bytes());
        hash.field(phase_name(self.event.phase).as_bytes());
        hash.field(self.event.name.as_bytes());
        hash.field(&self.time_ns.to_le_bytes());
        hash.field(&self.end_ns.to_le_bytes());
        let identity = &self.event.identity;
        let user = identity.user.as_ref().map(|user| &*user.id);
        let agent = identity.agent.as_ref().map(|agent| agent.name.as_deref().unwrap_or(&agent.id));
        let session = self.event.session.as_deref();
        for text in [self.trace_id.as_deref(), session, user, agent, unmapped, Some(attributes)] {
            hash.field(text.unwrap_or_default().as_bytes());
        }
        for piece in &self.event.pieces {
            hash.field(piece.content.id.as_bytes());
            hash.field(piece.meta.call_id.as_deref().unwrap_or_default().as_bytes());
        }
        hash.finish()
    }
}

/// FNV-1a over fields, each with its length: stable over releases, as its values are kept.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        for byte in bytes.len().to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) fn finish(&self) -> i64 {
        i64::from_le_bytes(self.0.to_le_bytes())
    }
}

/// The worst finding of some of an event's pieces.
pub(crate) struct Worst<'e>(Vec<&'e Finding>);

impl<'e> Worst<'e> {
    pub(crate) fn of(event: &'e RecordedEvent<Clean>, of: impl Fn(&PieceMeta<Clean>) -> bool) -> Self {
        Self(event.pieces.iter().filter(|piece| of(&piece.meta)).flat_map(|piece| &piece.findings).collect())
    }

    pub(crate) fn score(&self) -> f32 {
        self.0.iter().map(|finding| finding.score).fold(0.0, f32::max)
    }

    pub(crate) fn risk(&self) -> &'static str {
        let worst = self.0.iter().max_by(|a, b| a.score.total_cmp(&b.score));
        worst.map_or("none", |finding| finding.risk.as_str())
    }

    fn risks(&self) -> Option<String> {
        let mut risks: Vec<&str> = self.0.iter().map(|finding| finding.risk.as_str()).collect();
        risks.sort_unstable();
        risks.dedup();
        (!risks.is_empty()).then(|| risks.join(", "))
    }
}

/// Scores are single precision; as the double that prints alike they compare as people expect (0.4, not 0.4000000059).
pub(crate) fn round(score: f32) -> f64 {
    (f64::from(score) * 1e6).round() / 1e6
}

fn has_prompt(event: &RecordedEvent<Clean>) -> bool {
    event.kind == Kind::ModelCall && event.phase != Phase::Response && event.pieces.iter().any(|piece| is_prompt(&piece.meta))
}

/// Whether the piece is new text of the user.
fn is_prompt(meta: &PieceMeta<Clean>) -> bool {
    meta.direction == Direction::Input && meta.role == Role::User && meta.part == Part::Text && !meta.history
}

/// Whether it is a log record of a call whose span has an event of its own: no call by itself. Its content stands there, or, where it came
/// after the span, in itself.
pub(crate) fn is_joined(event: &RecordedEvent<Clean>) -> bool {
    event.attributes.contains_key(attr::JOINED_TO.as_str())
}

/// What a model call brought: `error`, `refusal`, `tool_call`, `text`, `reasoning`, `empty`, `not_captured`.
pub(crate) fn output_class(event: &RecordedEvent<Clean>) -> Option<&'static str> {
    if event.kind != Kind::ModelCall || event.phase == Phase::Request || (is_joined(event) && event.pieces.is_empty()) {
        return None;
    }
    let output =
        |part: Part| event.pieces.iter().any(|piece| piece.meta.direction == Direction::Output && piece.meta.part == part);
    let reasons = event.attribute(attr::GEN_AI_RESPONSE_FINISH_REASONS.as_str()).map(as_text).unwrap_or_default();
    let categories = event.attribute(attr::RESPONSE_CATEGORY.as_str()).map(as_text).unwrap_or_default();
    let tokens = event.attribute(attr::GEN_AI_USAGE_OUTPUT_TOKENS.as_str()).and_then(Value::as_int);
    let embedding = event
        .attribute(attr::GEN_AI_OPERATION_NAME.as_str())
        .and_then(Value::as_text)
        .is_some_and(|operation| &**operation == "embeddings");
    Some(if event.status == Status::Error || event.attributes.contains_key(attr::ERROR_TYPE.as_str()) {
        "error"
    } else if attr::is_refusal_reason(&reasons) || categories.contains("refusal") {
        "refusal"
    } else if output(Part::ToolCall) {
        "tool_call"
    } else if output(Part::Text) {
        "text"
    } else if output(Part::Reasoning) {
        "reasoning"
    } else if embedding {
        return None;
    } else if tokens == Some(0) {
        "empty"
    } else {
        "not_captured"
    })
}

/// A value as text: what it is for texts, JSON for maps, items with commas between them for lists.
fn as_text(value: &Value<Clean>) -> Cow<'_, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::List(items) => {
            let mut text = String::new();
            for (index, item) in items.iter().enumerate() {
                let _ = write!(text, "{}{}", if index == 0 { "" } else { ", " }, as_text(item));
            }
            Cow::Owned(text)
        }
        Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Value::Int(number) => Cow::Owned(number.to_string()),
        Value::Double(number) => Cow::Owned(number.to_string()),
        Value::Map(_) => Cow::Owned(json(value)),
    }
}

/// What cannot fail: the maps of an event have texts as keys.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

/// SQLite's integers are signed; 2^63 ns is the year 2262.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn ns(time: Timestamp) -> i64 {
    integer(time.unix_ns())
}

/// The name of a principal, or else its id.
pub(crate) fn display(principal: &Principal<Clean>) -> &str {
    cut::text(principal.name.as_deref().unwrap_or(&principal.id))
}

/// The names of a chain of delegation, which together have the room of one text.
pub(crate) fn chain(delegation: &[Principal<Clean>]) -> Vec<&str> {
    let bytes_max = cut::TEXT_BYTES_MAX / DELEGATION_MAX;
    delegation.iter().take(DELEGATION_MAX).map(|principal| cut::head(display(principal), bytes_max)).collect()
}

pub(crate) const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Complete => "complete",
        Phase::Request => "request",
        Phase::Response => "response",
    }
}

pub(crate) const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Unset => "unset",
        Status::Ok => "ok",
        Status::Error => "error",
    }
}

pub(crate) const fn proof_name(proof: Proof) -> &'static str {
    match proof {
        Proof::Asserted => "asserted",
        Proof::ApiKey => "api_key",
        Proof::Mtls => "mtls",
        Proof::Oidc => "oidc",
        Proof::Upstream => "upstream",
        Proof::Local => "local",
    }
}

const fn path_name(path: SourcePath) -> &'static str {
    match path {
        SourcePath::OtlpGrpc => "otlp_grpc",
        SourcePath::OtlpHttp => "otlp_http",
        SourcePath::Gateway => "gateway",
        SourcePath::Api => "api",
        SourcePath::Mcp => "mcp",
        SourcePath::Egress => "egress",
        SourcePath::Hook => "hook",
        SourcePath::Import => "import",
        SourcePath::Internal => "internal",
        _ => "other",
    }
}

/// The number of a role in [`ROLES`](crate::schema::ROLES).
pub(crate) const fn role_code(role: Role) -> i64 {
    match role {
        Role::System => 0,
        Role::User => 1,
        Role::Assistant => 2,
        Role::Tool => 3,
        Role::Document => 4,
    }
}

/// The number of a part in [`PARTS`](crate::schema::PARTS).
pub(crate) const fn part_code(part: Part) -> i64 {
    match part {
        Part::Text => 0,
        Part::Reasoning => 1,
        Part::ToolCall => 2,
        Part::ToolResult => 3,
        Part::Document => 4,
        Part::Query => 5,
        Part::ToolDefinition => 6,
        Part::Media => 7,
        Part::Command => 8,
        Part::Body => 9,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{PARTS, ROLES};

    #[test]
    fn names_are_those_of_the_json() {
        let name = |value: serde_json::Value| value.as_str().unwrap().to_owned();
        for role in [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Document] {
            assert_eq!(ROLES[usize::try_from(role_code(role)).unwrap()], name(serde_json::to_value(role).unwrap()));
        }
        for part in [
            Part::Text,
            Part::Reasoning,
            Part::ToolCall,
            Part::ToolResult,
            Part::Document,
            Part::Query,
            Part::ToolDefinition,
            Part::Media,
            Part::Command,
            Part::Body,
        ] {
            assert_eq!(PARTS[usize::try_from(part_code(part)).unwrap()], name(serde_json::to_value(part).unwrap()));
        }
        for proof in [Proof::Asserted, Proof::ApiKey, Proof::Mtls, Proof::Oidc, Proof::Upstream, Proof::Local] {
            assert_eq!(proof_name(proof), name(serde_json::to_value(proof).unwrap()));
        }
        for path in [
            SourcePath::OtlpGrpc,
            SourcePath::OtlpHttp,
            SourcePath::Gateway,
            SourcePath::Api,
            SourcePath::Mcp,
            SourcePath::Hook,
            SourcePath::Import,
            SourcePath::Internal,
        ] {
            assert_eq!(path_name(path), name(serde_json::to_value(path).unwrap()));
        }
    }
}
