//! An event as documents that rules can be applied to: one for the event, and one for each tool call that a model's
//! answer holds, so that a rule on tool calls sees them whichever source tells of them.

use std::collections::BTreeSet;

use event::{
    Channel, ContentId, ContentRef, Direction, Finding, Identity, Kind, Part, Piece, Principal, RecordedEvent, Value, attr,
};
use inspect::{CANARY_RULE_PREFIX, Canaries};
use sanitize::Clean;
use serde_json::{Map, Value as Json};

use crate::behaviour::Insight;
use crate::intel::Hit;
use crate::session::hash;
use crate::skipped::{count, head};
use crate::token;
use crate::turns::Fact;

/// Most bytes of one attribute in a document. What rules look for in attributes are names, numbers and addresses.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of names, attributes and unmapped values in a document, all together.
const BASE_BYTES_MAX: usize = 256 * 1024;
/// What a value counts for beside its text, so that lists of small things are bounded, too.
const VALUE_BYTES: usize = 16;
/// Longest name (of a user, an operation, a document) in a document, in bytes. Correlations keep them for each group.
const NAME_BYTES_MAX: usize = 1_024;
/// Most bytes of text in a document; no less than the longest content, so that one text alone is always whole.
const TEXTS_BYTES_MAX: usize = event::limits::CONTENT_BYTES_MAX;
/// Most bytes of each text where all of them are too long, so that a long one does not drive out the others.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Most values of one field: a text for each piece that an event may have.
const FIELD_VALUES_MAX: usize = event::limits::PIECES_MAX;
/// Longest arguments that are read as JSON to compare calls, in bytes: a parsed document takes many times its text.
pub(crate) const ARGUMENTS_BYTES_MAX: usize = 1024 * 1024;

/// The field that names what behaviour says; each statement has one behind it, and its numbers.
pub(crate) const INSIGHT: &str = "watchkeeper.insight";

/// A flattened event, or a tool call of one.
pub(crate) struct Document {
    /// The category of our log source.
    pub(crate) category: &'static str,
    /// The service of our log source: the way by which the event came in.
    pub(crate) service: String,
    /// The fields.
    pub(crate) fields: Map<String, Json>,
    /// Which content a field's text came from, in the order of the field's values.
    pub(crate) contents: Vec<(&'static str, ContentId)>,
    /// What inspection found in the new pieces.
    pub(crate) findings: Vec<(ContentId, Channel, Finding)>,
    /// The indicators that its values match.
    pub(crate) hits: Vec<Hit>,
    /// Tells apart the documents of one event; empty for the event's own.
    pub(crate) part: String,
    /// What behaviour says of it.
    pub(crate) insights: Vec<Insight>,
    /// Whom it is about, where that is somebody else than the event's.
    pub(crate) identity: Option<Identity<String>>,
    /// Bytes that the bounds left out of the fields.
    pub(crate) skipped_bytes: u64,
    /// Values that they left out.
    pub(crate) skipped_values: u64,
    /// How many more bytes of text it may hold, and how many of one text.
    text_left: usize,
    text_bytes_max: usize,
}

/// What is known beside an event, of which its documents tell.
pub(crate) struct Context<'a> {
    /// The conversation that it is of.
    pub(crate) conversation: u64,
    /// What its turns show.
    pub(crate) facts: &'a [Fact],
    /// Markers that must not come out.
    pub(crate) canaries: &'a Canaries,
    /// Indicators that values of the event match, as far as that is new.
    pub(crate) hits: &'a [Hit],
    /// What behaviour says.
    pub(crate) insights: &'a [Insight],
}

/// The documents of `event`, each made when it is asked for. `new` are the pieces that are new to the conversation, with
/// their texts.
pub(crate) fn documents<'a>(
    event: &RecordedEvent<Clean>,
    new: &'a [(&Piece<Clean, ContentRef>, Clean)],
    context: &'a Context<'a>,
) -> impl Iterator<Item = Document> + use<'a> {
    let mut base = Base::of(event);
    base.put("watchkeeper.conversation.id", Some(&format!("{:016x}", context.conversation)));
    let own_calls = category(event.kind) == "tool";
    let is_call = move |piece: &Piece<Clean, ContentRef>| piece.meta.part == Part::ToolCall && !own_calls;
    let mut main = Document::new(category(event.kind), base.fields.clone(), String::new());
    main.skipped_bytes = base.skipped;
    let placed = || new.iter().enumerate();
    let of_main = || placed().filter(|(_, (piece, _))| !is_call(piece));
    if of_main().map(|(_, (_, text))| text.len()).sum::<usize>() > TEXTS_BYTES_MAX {
        main.text_bytes_max = TEXT_BYTES_MAX;
    }
    for (index, (piece, text)) in of_main() {
        main.add_piece(piece, text);
        main.add_facts(context.facts, index, piece.content.id);
    }
    main.add_canaries(event, context.canaries);
    let is_of_call = |hit: &Hit| hit.piece.is_some_and(|index| event.pieces.get(index).is_some_and(is_call));
    main.add_hits(context.hits.iter().filter(|hit| !is_of_call(hit)));
    context.insights.iter().filter(|insight| insight.entity.is_empty()).for_each(|insight| main.add_insight(insight));
    main.close();
    let calls = placed().filter(move |(_, (piece, _))| is_call(piece)).map(move |(index, (piece, text))| {
        let mut call = Document::new("tool", base.fields.clone(), call_key(piece, text));
        call.add_piece(piece, text);
        call.add_facts(context.facts, index, piece.content.id);
        call.add_hits(context.hits.iter().filter(|hit| hit.content == Some(piece.content.id)));
        call.close();
        call
    });
    let others = context.insights.iter().filter(|insight| !insight.entity.is_empty()).map(about_another);
    std::iter::once(main).chain(calls).chain(others)
}

/// A statement about somebody of whom the event is not, as a document: what shows that somebody is silent is what others do.
fn about_another(insight: &Insight) -> Document {
    let name = insight.name.as_str();
    let is_agent = name.starts_with("agent");
    let principal = |id: &str| (!id.is_empty()).then(|| Principal::<String>::asserted(id));
    let identity = Identity {
        application: principal(&insight.application),
        agent: principal(&insight.entity).filter(|_| is_agent),
        ..Identity::default()
    };
    let part = format!("{name}/{:016x}", hash(&[insight.application.as_bytes(), insight.entity.as_bytes()]));
    let mut document = Document::new("agent", Map::new(), part);
    if let Some(application) = &identity.application {
        document.fields.insert("service.name".to_owned(), Json::from(application.id.as_str()));
    }
    if let Some(agent) = &identity.agent {
        document.fields.insert("gen_ai.agent.id".to_owned(), Json::from(agent.id.as_str()));
        document.fields.insert("gen_ai.agent.name".to_owned(), Json::from(agent.id.as_str()));
    }
    document.identity = Some(identity);
    document.add_insight(insight);
    document.close();
    document
}

/// Names a tool call by its id and its arguments. Emitters write the same JSON with and without spaces and in any order of
/// keys, so it is read before it is compared. The id alone would let a second call hide behind a first one's.
pub(crate) fn call_key(piece: &Piece<Clean, ContentRef>, arguments: &Clean) -> String {
    let call_id = piece.meta.call_id.as_ref().map_or("", |id| id.as_str());
    let readable = (arguments.len() <= ARGUMENTS_BYTES_MAX).then_some(arguments.as_str());
    let parsed = readable.and_then(|text| serde_json::from_str::<Json>(text).ok()).map(|value| value.to_string());
    format!("{:016x}/{call_id}", hash(&[parsed.as_deref().unwrap_or(arguments).as_bytes()]))
}

pub(crate) fn category(kind: Kind) -> &'static str {
    match kind {
        Kind::ToolCall | Kind::Installation | Kind::DataAccess | Kind::ExternalCall => "tool",
        Kind::Retrieval => "retrieval",
        Kind::AgentStep => "agent",
        Kind::Guardrail => "guardrail",
        Kind::Session | Kind::Admin => "auth",
        Kind::Gap => "gap",
        Kind::Metric => "metric",
        _ => "llm",
    }
}

/// The fields that all documents of an event have, within their bounds.
struct Base {
    fields: Map<String, Json>,
    left: usize,
    skipped: u64,
}

impl Base {
    fn of(event: &RecordedEvent<Clean>) -> Self {
        let mut base = Self { fields: Map::new(), left: BASE_BYTES_MAX, skipped: 0 };
        base.fill(event);
        base
    }

    fn put(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            let value = Json::from(self.text(value, NAME_BYTES_MAX));
            self.fields.insert(name.to_owned(), value);
        }
    }

    /// The beginning of a text that fits.
    fn text(&mut self, text: &str, bytes_max: usize) -> String {
        let kept = head(text, bytes_max.min(self.left));
        self.left -= kept.len();
        self.skipped += count(text.len() - kept.len());
        kept.to_owned()
    }

    fn put_value(&mut self, name: String, value: &Value<Clean>) {
        if name.len() > self.left.min(VALUE_BYTES_MAX) {
            self.skipped += count(name.len() + size(value));
            return;
        }
        self.left -= name.len();
        // Others are not to go short because of this one.
        let others = self.left.saturating_sub(VALUE_BYTES_MAX);
        self.left -= others;
        let value = self.json(value);
        self.left += others;
        if let Some(value) = value {
            self.fields.insert(name, value);
        }
    }

    fn json(&mut self, value: &Value<Clean>) -> Option<Json> {
        if self.left < VALUE_BYTES {
            self.skipped += count(size(value));
            return None;
        }
        self.left -= VALUE_BYTES;
        Some(match value {
            Value::Bool(value) => Json::from(*value),
            Value::Int(value) => Json::from(*value),
            Value::Double(value) => Json::from(*value),
            Value::Text(text) => Json::from(self.text(text, VALUE_BYTES_MAX)),
            Value::List(values) => Json::Array(values.iter().filter_map(|value| self.json(value)).collect()),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .filter_map(|(key, value)| {
                        let key = self.text(key, VALUE_BYTES_MAX);
                        Some((key, self.json(value)?))
                    })
                    .collect(),
            ),
        })
    }

    fn fill(&mut self, event: &RecordedEvent<Clean>) {
        let identity = &event.identity;
        self.put("@timestamp", Some(&event.time.unix_ns().to_string()));
        self.put("event.id", Some(&event.id.to_string()));
        self.put("event.kind", Some(event.kind.as_str()));
        self.put("event.name", Some(&event.name));
        self.put("event.phase", name_of(&event.phase).as_deref());
        self.put("event.status", name_of(&event.status).as_deref());
        self.put("trace.id", event.trace.map(|trace| trace.trace_id.to_string()).as_deref());
        self.put("session.id", event.session.as_deref());
        self.put("watchkeeper.source.path", name_of(&event.source.path).as_deref());
        self.put("watchkeeper.source.dialect", Some(event.source.dialect.as_str()));
        if let Some(user) = &identity.user {
            self.put("user.id", Some(&user.id));
            self.put("user.name", user.name.as_deref());
        }
        if let Some(application) = &identity.application {
            self.put("service.name", Some(application.name.as_ref().unwrap_or(&application.id)));
            self.put("service.version", application.version.as_deref());
        }
        if let Some(agent) = &identity.agent {
            self.put("gen_ai.agent.id", Some(&agent.id));
            self.put("gen_ai.agent.name", Some(agent.name.as_ref().unwrap_or(&agent.id)));
            self.put("gen_ai.agent.version", agent.version.as_deref());
        }
        self.put("watchkeeper.credential.id", identity.credential.as_ref().map(|credential| credential.id.as_str()));
        if let Some(client) = &identity.client {
            self.put("client.address", client.address.as_deref());
            self.put("user_agent.original", client.user_agent.as_deref());
        }
        if !identity.delegation.is_empty() {
            let agents = identity.delegation.iter().map(|agent| Json::from(self.text(&agent.id, NAME_BYTES_MAX))).collect();
            self.fields.insert("watchkeeper.delegation".to_owned(), Json::Array(agents));
        }
        if let Some(duration) = event.duration_ns {
            self.fields.insert("event.duration_ms".to_owned(), Json::from(duration / 1_000_000));
        }
        if let Some(inspection) = &event.inspection {
            self.fields.insert("watchkeeper.verdict".to_owned(), Json::from(inspection.verdict.as_str()));
        }
        for (kind, count) in &event.sanitized {
            self.fields.insert(format!("watchkeeper.sanitized.{kind}"), Json::from(*count));
        }
        // What threat intelligence said is told where it is new.
        for (key, value) in event.attributes.iter().filter(|(key, _)| **key != attr::INTEL_HITS) {
            self.put_value(key.as_str().to_owned(), value);
        }
        for (key, value) in &event.unmapped {
            self.put_value(format!("unmapped.{key}"), value);
        }
    }
}

/// What a value counts for.
fn size(value: &Value<Clean>) -> usize {
    VALUE_BYTES
        + match value {
            Value::Text(text) => text.len(),
            Value::List(values) => values.iter().map(size).sum(),
            Value::Map(entries) => entries.iter().map(|(key, value)| key.len() + size(value)).sum(),
            _ => 0,
        }
}

impl Document {
    fn new(category: &'static str, fields: Map<String, Json>, part: String) -> Self {
        Self {
            category,
            service: fields.get("watchkeeper.source.path").and_then(Json::as_str).unwrap_or("internal").to_owned(),
            fields,
            contents: Vec::new(),
            findings: Vec::new(),
            hits: Vec::new(),
            part,
            insights: Vec::new(),
            identity: None,
            skipped_bytes: 0,
            skipped_values: 0,
            text_left: TEXTS_BYTES_MAX,
            text_bytes_max: TEXTS_BYTES_MAX,
        }
    }

    fn add_piece(&mut self, piece: &Piece<Clean, ContentRef>, text: &Clean) {
        let meta = &piece.meta;
        let channel = meta.channel();
        let output = meta.direction == Direction::Output;
        let arguments = meta.part == Part::ToolCall;
        let text = self.fitting(text);
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
            let name = self.name(name);
            self.fields.insert("gen_ai.tool.name".to_owned(), name);
        }
        if meta.part == Part::Document
            && let Some(name) = &meta.name
        {
            let name = self.name(name);
            self.push("watchkeeper.document.name", name);
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
        for class in token::classes(text) {
            self.push(sanitized, Json::from(class));
        }
        for finding in &piece.findings {
            self.add_finding(piece.content.id, channel, output, arguments, finding);
        }
    }

    /// What behaviour says.
    fn add_insight(&mut self, insight: &Insight) {
        let name = insight.name.as_str();
        let field = format!("{INSIGHT}.{name}");
        self.push(INSIGHT, Json::from(name));
        let rounded = |value: f64| Json::from((value * 1e4).round() / 1e4);
        for (of, value) in [
            ("observed", rounded(insight.observed)),
            ("expected", rounded(insight.expected)),
            ("support", Json::from(insight.support)),
            ("peers", rounded(insight.peers)),
        ] {
            self.fields.insert(format!("{field}.{of}"), value);
        }
        if !insight.what.is_empty() {
            self.fields.insert(format!("{field}.what"), Json::from(insight.what.as_str()));
        }
        self.fields.insert(field, Json::from(true));
        self.insights.push(insight.clone());
    }

    /// What the turns of the conversation show of a piece.
    fn add_facts(&mut self, facts: &[Fact], piece: usize, content: ContentId) {
        for fact in facts.iter().filter(|fact| fact.piece == piece) {
            self.push(fact.field, fact.value.clone());
            self.contents.push((fact.field, content));
        }
    }

    /// What threat intelligence says of it.
    fn add_hits<'a>(&mut self, hits: impl Iterator<Item = &'a Hit>) {
        for hit in hits {
            for (field, value) in hit.fields() {
                self.push(&field, value);
            }
            self.hits.push(hit.clone());
        }
    }

    /// Canaries in where a call goes: no piece has the address.
    fn add_canaries(&mut self, event: &RecordedEvent<Clean>, canaries: &Canaries) {
        if canaries.is_empty() || !matches!(event.kind, Kind::ExternalCall | Kind::ToolCall | Kind::DataAccess) {
            return;
        }
        for key in [attr::URL_FULL, attr::SERVER_ADDRESS, attr::TLS_CLIENT_SERVER_NAME, attr::MCP_RESOURCE_URI] {
            let Some(address) = event.attribute(key.as_str()).and_then(Value::as_text) else { continue };
            for label in canaries.labels_in(head(address, VALUE_BYTES_MAX)) {
                self.push("watchkeeper.canary", Json::from(label));
            }
        }
    }

    /// Which tool call of the conversation this is, if it is one: by its arguments and its id, whatever event tells of it.
    /// `own` is the key of the call that the event itself is.
    pub(crate) fn call(&self, session: u64, own: Option<&str>) -> Option<u64> {
        match (self.category, self.part.as_str()) {
            ("tool", "") => own.map(|own| hash(&[&session.to_le_bytes(), own.as_bytes()])),
            ("tool", part) => Some(hash(&[&session.to_le_bytes(), part.as_bytes()])),
            _ => None,
        }
    }

    /// The beginning of a text for which there is room.
    fn fitting<'a>(&mut self, text: &'a str) -> &'a str {
        let kept = head(text, self.text_bytes_max.min(self.text_left));
        self.text_left -= kept.len();
        self.skipped_bytes += count(text.len() - kept.len());
        kept
    }

    fn name(&mut self, name: &str) -> Json {
        let kept = head(name, NAME_BYTES_MAX);
        self.skipped_bytes += count(name.len() - kept.len());
        Json::from(kept)
    }

    fn add_text(&mut self, field: &'static str, content: ContentId, text: &str) {
        self.push(field, Json::from(text));
        self.contents.push((field, content));
    }

    fn add_finding(&mut self, content: ContentId, channel: Channel, output: bool, arguments: bool, finding: &Finding) {
        let risk = finding.risk.as_str();
        self.push("watchkeeper.finding.rule", Json::from(finding.rule.as_str()));
        if let Some(label) = finding.rule.as_str().strip_prefix(CANARY_RULE_PREFIX) {
            self.push("watchkeeper.canary", Json::from(label));
            self.contents.push(("watchkeeper.canary", content));
        }
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
            Some(Json::Array(values)) if values.len() < FIELD_VALUES_MAX => values.push(value),
            Some(Json::Array(_)) => self.skipped_values += 1,
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

pub(crate) fn text_field(part: Part, channel: Channel) -> &'static str {
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
