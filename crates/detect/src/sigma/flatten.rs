//! An event as documents that rules can be applied to: one for the event, and one for each tool call that a model's
//! answer holds, so that a rule on tool calls sees them whichever source tells of them.

use std::collections::BTreeSet;

use event::{Channel, ContentId, ContentRef, Direction, Finding, Kind, Part, Piece, RecordedEvent, Value};
use sanitize::Clean;
use serde_json::{Map, Value as Json};

use crate::session::hash;
use crate::token;

/// A flattened event, or a tool call of one.
pub(crate) struct Document {
    /// The category of our log source.
    pub(crate) category: &'static str,
    /// The fields.
    pub(crate) fields: Map<String, Json>,
    /// Which content a field's text came from, in the order of the field's values.
    pub(crate) contents: Vec<(&'static str, ContentId)>,
    /// What inspection found in the new pieces.
    pub(crate) findings: Vec<(ContentId, Channel, Finding)>,
    /// Tells apart the documents of one event; empty for the event's own.
    pub(crate) part: String,
}

/// The documents of `event`. `new` are the pieces that are new to the conversation, with their texts.
pub(crate) fn documents(event: &RecordedEvent<Clean>, new: &[(&Piece<Clean, ContentRef>, Clean)]) -> Vec<Document> {
    let base = base_fields(event);
    let own_calls = category(event.kind) == "tool";
    let mut main = Document::new(category(event.kind), base.clone(), String::new());
    let mut calls = Vec::new();
    for (piece, text) in new {
        if piece.meta.part == Part::ToolCall && !own_calls {
            let mut call = Document::new("tool", base.clone(), call_key(piece, text));
            call.add_piece(piece, text);
            call.close();
            calls.push(call);
        } else {
            main.add_piece(piece, text);
        }
    }
    main.close();
    std::iter::once(main).chain(calls).collect()
}

/// Names a tool call by its id and its arguments. Emitters write the same JSON with and without spaces and in any order of
/// keys, so it is read before it is compared. The id alone would let a second call hide behind a first one's.
pub(crate) fn call_key(piece: &Piece<Clean, ContentRef>, arguments: &Clean) -> String {
    let call_id = piece.meta.call_id.as_ref().map_or("", |id| id.as_str());
    let parsed = serde_json::from_str::<Json>(arguments).ok().map(|value| value.to_string());
    format!("{:016x}/{call_id}", hash(&parsed.as_deref().unwrap_or(arguments)))
}

fn category(kind: Kind) -> &'static str {
    match kind {
        Kind::ToolCall | Kind::Installation | Kind::DataAccess | Kind::ExternalCall => "tool",
        Kind::Retrieval => "retrieval",
        Kind::AgentStep => "agent",
        Kind::Guardrail => "guardrail",
        Kind::Session | Kind::Admin => "auth",
        Kind::Gap => "gap",
        _ => "llm",
    }
}

fn base_fields(event: &RecordedEvent<Clean>) -> Map<String, Json> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), Json::String(value.to_owned()));
        }
    };
    let identity = &event.identity;
    put("@timestamp", Some(&event.time.unix_ns().to_string()));
    put("event.id", Some(&event.id.to_string()));
    put("event.kind", Some(event.kind.as_str()));
    put("event.name", Some(&event.name));
    put("event.phase", name_of(&event.phase).as_deref());
    put("event.status", name_of(&event.status).as_deref());
    put("trace.id", event.trace.map(|trace| trace.trace_id.to_string()).as_deref());
    put("session.id", event.session.as_deref());
    put("watchkeeper.source.path", name_of(&event.source.path).as_deref());
    put("watchkeeper.source.dialect", Some(event.source.dialect.as_str()));
    if let Some(user) = &identity.user {
        put("user.id", Some(&user.id));
        put("user.name", user.name.as_deref());
    }
    if let Some(application) = &identity.application {
        put("service.name", Some(application.name.as_ref().unwrap_or(&application.id)));
        put("service.version", application.version.as_deref());
    }
    if let Some(agent) = &identity.agent {
        put("gen_ai.agent.id", Some(&agent.id));
        put("gen_ai.agent.name", Some(agent.name.as_ref().unwrap_or(&agent.id)));
        put("gen_ai.agent.version", agent.version.as_deref());
    }
    put("watchkeeper.credential.id", identity.credential.as_ref().map(|credential| credential.id.as_str()));
    if let Some(client) = &identity.client {
        put("client.address", client.address.as_deref());
        put("user_agent.original", client.user_agent.as_deref());
    }
    if !identity.delegation.is_empty() {
        let agents = identity.delegation.iter().map(|agent| Json::String(agent.id.to_string())).collect();
        fields.insert("watchkeeper.delegation".to_owned(), Json::Array(agents));
    }
    if let Some(duration) = event.duration_ns {
        fields.insert("event.duration_ms".to_owned(), Json::from(duration / 1_000_000));
    }
    if let Some(inspection) = &event.inspection {
        fields.insert("watchkeeper.verdict".to_owned(), Json::from(inspection.verdict.as_str()));
    }
    for (kind, count) in &event.sanitized {
        fields.insert(format!("watchkeeper.sanitized.{kind}"), Json::from(*count));
    }
    for (key, value) in &event.attributes {
        fields.insert(key.as_str().to_owned(), json_of_value(value));
    }
    for (key, value) in &event.unmapped {
        fields.insert(format!("unmapped.{key}"), json_of_value(value));
    }
    fields
}

impl Document {
    fn new(category: &'static str, fields: Map<String, Json>, part: String) -> Self {
        Self { category, fields, contents: Vec::new(), findings: Vec::new(), part }
    }

    fn add_piece(&mut self, piece: &Piece<Clean, ContentRef>, text: &Clean) {
        let meta = &piece.meta;
        let channel = meta.channel();
        let output = meta.direction == Direction::Output;
        let arguments = meta.part == Part::ToolCall;
        self.add_text(text_field(meta.part, channel), piece.content.id, text);
        if meta.part == Part::ToolResult {
            self.add_text("watchkeeper.text.tool", piece.content.id, text);
        }
        if output && meta.part == Part::Text {
            self.add_text("watchkeeper.text.output", piece.content.id, text);
        }
        if (arguments || meta.part == Part::ToolResult)
            && let Some(name) = &meta.name
            && !self.fields.contains_key("gen_ai.tool.name")
        {
            self.fields.insert("gen_ai.tool.name".to_owned(), Json::from(name.as_str()));
        }
        if meta.part == Part::Document
            && let Some(name) = &meta.name
        {
            self.push("watchkeeper.document.name", Json::from(name.as_str()));
        }
        if let Some(score) = meta.score {
            self.push("watchkeeper.retrieval.score", Json::from(score));
        }
        if let Some(failed) = meta.failed {
            self.push("watchkeeper.tool.failed", Json::from(failed));
        }
        let sanitized = match (arguments, output) {
            (true, _) => "watchkeeper.sanitized.arguments",
            (false, true) => "watchkeeper.sanitized.output",
            (false, false) => "watchkeeper.sanitized.input",
        };
        for token in token::tokens(text) {
            self.push(sanitized, Json::from(token.kind));
        }
        for finding in &piece.findings {
            self.add_finding(piece.content.id, channel, output, arguments, finding);
        }
    }

    /// Which tool call of the conversation this is, if it is one: by its arguments and its id, whatever event tells of it.
    /// `own` is the key of the call that the event itself is.
    pub(crate) fn call(&self, session: u64, own: Option<&str>) -> Option<u64> {
        match (self.category, self.part.as_str()) {
            ("tool", "") => own.map(|own| hash(&(session, own))),
            ("tool", part) => Some(hash(&(session, part))),
            _ => None,
        }
    }

    fn add_text(&mut self, field: &'static str, content: ContentId, text: &Clean) {
        self.push(field, Json::from(text.as_str()));
        self.contents.push((field, content));
    }

    fn add_finding(&mut self, content: ContentId, channel: Channel, output: bool, arguments: bool, finding: &Finding) {
        let risk = finding.risk.as_str();
        self.push("watchkeeper.finding.rule", Json::from(finding.rule.as_str()));
        self.push("watchkeeper.finding.risk", Json::from(risk));
        self.push("watchkeeper.finding.channel", Json::from(channel.as_str()));
        self.push(if output { "watchkeeper.finding.output" } else { "watchkeeper.finding.input" }, Json::from(risk));
        if arguments {
            self.push("watchkeeper.finding.arguments", Json::from(risk));
        } else {
            self.push(&format!("watchkeeper.finding.{}", channel.as_str()), Json::from(risk));
        }
        if let Some(technique) = finding.technique {
            self.push("watchkeeper.finding.technique", Json::from(technique.as_str()));
        }
        self.findings.push((content, channel, finding.clone()));
    }

    fn push(&mut self, field: &str, value: Json) {
        match self.fields.get_mut(field) {
            None => {
                self.fields.insert(field.to_owned(), value);
            }
            Some(Json::Array(values)) => values.push(value),
            Some(first) => *first = Json::Array(vec![first.take(), value]),
        }
    }

    /// Fills what depends on all pieces.
    fn close(&mut self) {
        let score = |channel: Option<Channel>| {
            let of_channel = self.findings.iter().filter(|(_, one, _)| channel.is_none_or(|channel| *one == channel));
            of_channel.map(|(_, _, finding)| f64::from(finding.score)).fold(0.0, f64::max)
        };
        let channels: BTreeSet<Channel> = self.findings.iter().map(|(_, channel, _)| *channel).collect();
        let scores: Vec<(String, f64)> = channels
            .into_iter()
            .map(|channel| (format!("watchkeeper.score.{}", channel.as_str()), score(Some(channel))))
            .chain([("watchkeeper.score".to_owned(), score(None))])
            .collect();
        for (field, score) in scores {
            self.fields.insert(field, Json::from(score));
        }
        let replaced = match self.fields.get("watchkeeper.sanitized.output") {
            None => 0,
            Some(Json::Array(values)) => values.len(),
            Some(_) => 1,
        };
        if replaced > 0 {
            self.fields.insert("watchkeeper.sanitized.output.count".to_owned(), Json::from(replaced));
        }
    }
}

fn text_field(part: Part, channel: Channel) -> &'static str {
    match part {
        Part::Reasoning => "watchkeeper.text.reasoning",
        Part::ToolCall => "gen_ai.tool.call.arguments",
        Part::ToolDefinition => "watchkeeper.text.definition",
        Part::Query => "watchkeeper.text.query",
        Part::Command => "watchkeeper.text.command",
        Part::Body => "watchkeeper.text.body",
        Part::Media => "watchkeeper.text.media",
        Part::ToolResult => "gen_ai.tool.call.result",
        _ => match channel {
            Channel::User => "watchkeeper.text.user",
            Channel::Assistant => "watchkeeper.text.assistant",
            Channel::Tool => "watchkeeper.text.tool",
            Channel::Document => "watchkeeper.text.document",
            Channel::System => "watchkeeper.text.system",
        },
    }
}

fn name_of(value: &impl serde::Serialize) -> Option<String> {
    match serde_json::to_value(value) {
        Ok(Json::String(name)) => Some(name),
        _ => None,
    }
}

fn json_of_value(value: &Value<Clean>) -> Json {
    match value {
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Double(value) => Json::from(*value),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(values) => Json::Array(values.iter().map(json_of_value).collect()),
        Value::Map(entries) => Json::Object(entries.iter().map(|(key, value)| (key.to_string(), json_of_value(value))).collect()),
    }
}
