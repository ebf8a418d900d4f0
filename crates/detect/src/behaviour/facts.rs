//! What behaviour looks at in an event: who, what, how much, from where.

use event::{ContentRef, Direction, Kind, Part, Phase, Piece, RecordedEvent, Role, Status, Value, attr};
use sanitize::Clean;

use crate::session::hash;
use crate::skipped::head;

/// Longest name that is kept to be shown, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// What a call cost, as the dialects name it.
const COST: &str = "gen_ai.usage.cost";
/// What no call reaches: whoever says more is mistaken, or wants to spoil what is known. The largest contexts hold ten million tokens.
const TOKENS_MAX: f64 = 1e8;
/// Likewise. An agent's tool may run for days, and none for a month.
const DURATION_MS_MAX: f64 = 31.0 * 86_400_000.0;
/// Likewise, in whatever currency: ten thousand dollars are a thousand million of the smallest.
const COST_MAX: f64 = 1e9;
/// Most tools, and most documents, of one event that are looked at.
const ITEMS_MAX: usize = 64;

/// Something that an entity uses, or where it is: a hash that tells it apart, and its name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) hash: u32,
    pub(crate) name: String,
}

impl Item {
    fn new(kind: &[u8], name: &str) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough to tell the items of one entity apart")]
        let short = hash(&[b"item", kind, name.as_bytes()]) as u32;
        Self { hash: short, name: head(name, NAME_BYTES_MAX).to_owned() }
    }
}

/// An entity of the event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entity {
    /// Tells it apart from all others.
    pub(crate) key: u64,
    /// Its identifier, to be shown.
    pub(crate) id: String,
}

/// The facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    /// Seconds since 1970: the event's time, and never later than it was received.
    pub(crate) time_s: i64,
    /// Tells applications apart; 0 for none.
    pub(crate) scope: u64,
    pub(crate) application: Option<Entity>,
    pub(crate) user: Option<Entity>,
    pub(crate) agent: Option<Entity>,
    pub(crate) key: Option<Entity>,
    pub(crate) model: Option<Entity>,
    /// The model at its provider and endpoint, where the event tells what came of the call.
    pub(crate) route: Option<Entity>,
    pub(crate) tool: Option<Entity>,
    /// Whether it is a call of a model, told for the first time.
    pub(crate) asks: bool,
    /// Whether it is a call of a model that tells what came of it.
    pub(crate) answers: bool,
    /// Whether it is a tool's own event, told for the first time, or with its outcome.
    pub(crate) runs_tool: bool,
    pub(crate) tokens: f64,
    pub(crate) output_tokens: Option<f64>,
    pub(crate) latency_ms: Option<f64>,
    pub(crate) input_tokens: Option<f64>,
    pub(crate) first_chunk_ms: Option<f64>,
    pub(crate) cost: Option<f64>,
    /// Whether the answer was cut off at the most tokens; not known where no reason is told.
    pub(crate) is_cut_off: Option<bool>,
    /// Whether the text of the answer has structured data; not known where there is no text.
    pub(crate) is_structured: Option<bool>,
    /// Whether the answer calls tools; not known where the source tells no content.
    pub(crate) calls_tools: Option<bool>,
    pub(crate) failed: bool,
    pub(crate) refused: bool,
    pub(crate) scored: bool,
    pub(crate) tools: Vec<Item>,
    pub(crate) model_item: Option<Item>,
    /// Where the model was reached, and which model says that it answered.
    pub(crate) route_item: Option<Item>,
    pub(crate) version_item: Option<Item>,
    /// What the model was told as the system's words, where the event is a call that is told for the first time.
    pub(crate) system_prompt: Option<Item>,
    pub(crate) subject: Option<Item>,
    pub(crate) place: Option<Item>,
    pub(crate) application_item: Option<Item>,
    pub(crate) documents: Vec<u64>,
    /// The address and the client together.
    pub(crate) client: Option<u32>,
    /// The user's newest words.
    pub(crate) prompt: Option<ContentRef>,
    /// Measures that are left out, because no call has such: below nothing, or beyond all bounds.
    pub(crate) implausible: u32,
}

impl Facts {
    pub(crate) fn of(event: &RecordedEvent<Clean>, time_s: i64) -> Self {
        let identity = &event.identity;
        let text = |key: &event::Key| event.attribute(key.as_str()).and_then(Value::as_text).map(Clean::as_str);
        let number = |key: &str| event.attribute(key).and_then(Value::as_f64);
        let scope = identity.application.as_ref().map_or(0, |application| hash(&[b"scope", application.id.as_bytes()]));
        let of_scope = scope.to_le_bytes();
        // Entities are of one application, so that nobody can spoil what is known of another's. A key is one wherever it is used.
        let entity = |kind: &[u8], id: &str| Entity {
            key: hash(&[b"entity", kind, &of_scope, id.as_bytes()]),
            id: head(id, NAME_BYTES_MAX).to_owned(),
        };
        let is_model = event.kind == Kind::ModelCall;
        let is_tool = event.kind == Kind::ToolCall;
        let model = text(&attr::GEN_AI_REQUEST_MODEL).or_else(|| text(&attr::GEN_AI_RESPONSE_MODEL));
        let key = identity.credential.as_ref().map(|key| key.id.as_str()).or_else(|| text(&attr::GATEWAY_KEY));
        let reports = event.phase != Phase::Request;
        let answered = is_model && reports;
        let mut implausible = 0;
        let mut within = |value: Option<f64>, max: f64| {
            let within = value.filter(|value| (0.0..=max).contains(value));
            implausible += u32::from(value.is_some() && within.is_none());
            within
        };
        let of_answer = |key: &str| number(key).filter(|_| answered);
        let input_tokens = within(of_answer(attr::GEN_AI_USAGE_INPUT_TOKENS.as_str()), TOKENS_MAX);
        let output_tokens = within(of_answer(attr::GEN_AI_USAGE_OUTPUT_TOKENS.as_str()), TOKENS_MAX);
        let first_chunk_s = of_answer(attr::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK.as_str());
        let first_chunk_ms = within(first_chunk_s.map(|seconds| seconds * 1e3), DURATION_MS_MAX);
        let cost = within(of_answer(COST), COST_MAX);
        let latency_ms = within(event.duration_ns.filter(|_| reports).map(|ns| ns as f64 / 1e6), DURATION_MS_MAX);
        let place = [text(&attr::GEN_AI_PROVIDER_NAME), text(&attr::SERVER_ADDRESS)].map(Option::unwrap_or_default);
        let route = place.join(" ").trim().to_owned();
        let route_of = |name: &str| entity(b"route", &format!("{name}\n{route}"));
        let own_tool = text(&attr::GEN_AI_TOOL_NAME).filter(|_| is_tool);
        Self {
            time_s,
            scope,
            application: identity.application.as_ref().map(|one| entity(b"application", &one.id)),
            user: identity.user.as_ref().map(|one| entity(b"user", &one.id)),
            agent: identity.agent.as_ref().map(|one| entity(b"agent", &one.id)),
            key: key.map(|id| Entity { key: hash(&[b"key", id.as_bytes()]), id: head(id, NAME_BYTES_MAX).to_owned() }),
            model: model.filter(|_| is_model).map(|name| entity(b"model", name)),
            route: model.filter(|_| answered).map(route_of),
            tool: own_tool.map(|name| entity(b"tool", name)),
            asks: is_model && event.phase != Phase::Response,
            answers: answered,
            runs_tool: is_tool && reports,
            tokens: input_tokens.unwrap_or(0.0) + output_tokens.unwrap_or(0.0),
            output_tokens,
            input_tokens,
            first_chunk_ms,
            cost,
            is_cut_off: answered.then(|| is_cut_off(event)).flatten(),
            is_structured: answered.then(|| is_structured(event)).flatten(),
            calls_tools: answered.then(|| calls_tools(event)).flatten(),
            latency_ms,
            failed: reports && event.status == Status::Error,
            refused: is_model && reports && is_refused(event),
            scored: is_model && reports && event.attribute(attr::LOGPROB_MEAN.as_str()).is_some(),
            tools: tools(event, own_tool),
            model_item: model.filter(|_| is_model).map(|name| Item::new(b"model", name)),
            route_item: (answered && !route.is_empty()).then(|| Item::new(b"route", &route)),
            version_item: text(&attr::GEN_AI_RESPONSE_MODEL).filter(|_| answered).map(|name| Item::new(b"version", name)),
            system_prompt: system_prompt(event),
            subject: subject(event).map(|name| Item::new(b"subject", name)),
            place: text(&attr::GEO_COUNTRY_ISO_CODE).map(|country| Item::new(b"place", country)),
            application_item: identity.application.as_ref().map(|one| Item::new(b"application", &one.id)),
            documents: documents(event),
            client: client(event),
            prompt: prompt(event),
            implausible,
        }
    }
}

/// The tools that an event says are used: its own, and those that the model calls in its answer.
fn tools(event: &RecordedEvent<Clean>, own: Option<&str>) -> Vec<Item> {
    let is_call = |piece: &&Piece<Clean, ContentRef>| {
        piece.meta.part == Part::ToolCall && piece.meta.direction == Direction::Output && !piece.meta.history
    };
    let called = event.pieces.iter().filter(is_call).filter_map(|piece| piece.meta.name.as_deref());
    own.into_iter().chain(called).take(ITEMS_MAX).map(|name| Item::new(b"tool", name)).collect()
}

/// All of the system's words in a call. Ids of contents are keyed hashes, so that nobody can choose one prompt to be taken for another.
fn system_prompt(event: &RecordedEvent<Clean>) -> Option<Item> {
    if !matches!(event.kind, Kind::ModelCall | Kind::SystemPrompt) || event.phase == Phase::Response {
        return None;
    }
    let is_told = |piece: &&Piece<Clean, ContentRef>| {
        let meta = &piece.meta;
        meta.direction == Direction::Input && meta.role == Role::System && matches!(meta.part, Part::Text | Part::Body)
    };
    let mut parts: Vec<&[u8]> = vec![b"system prompt"];
    parts.extend(event.pieces.iter().filter(is_told).map(|piece| piece.content.id.as_bytes().as_slice()));
    let (len, hash) = (parts.len(), hash(&parts));
    #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough to tell the items of one entity apart")]
    (len > 1).then(|| Item { hash: hash as u32, name: format!("{:08x}", hash as u32) })
}

fn subject(event: &RecordedEvent<Clean>) -> Option<&str> {
    let keys = [attr::GEN_AI_DATA_SOURCE_ID, attr::DB_COLLECTION_NAME, attr::DB_NAMESPACE];
    keys.iter().find_map(|key| event.attribute(key.as_str()).and_then(Value::as_text).map(Clean::as_str))
}

fn documents(event: &RecordedEvent<Clean>) -> Vec<u64> {
    let documents = event.pieces.iter().filter(|piece| piece.meta.part == Part::Document && !piece.meta.history);
    let names = documents.map(|piece| match &piece.meta.name {
        Some(name) => hash(&[b"document", name.as_bytes()]),
        None => hash(&[b"document", piece.content.id.as_bytes()]),
    });
    names.take(ITEMS_MAX).collect()
}

fn client(event: &RecordedEvent<Clean>) -> Option<u32> {
    let client = event.identity.client.as_ref()?;
    let part = |text: &Option<Clean>| text.as_ref().map(|text| text.as_bytes().to_owned()).unwrap_or_default();
    let (address, agent) = (part(&client.address), part(&client.user_agent));
    #[expect(clippy::cast_possible_truncation, reason = "half of the hash is enough to tell the clients of one user apart")]
    let short = hash(&[b"client", &address, &agent]) as u32;
    (!address.is_empty() || !agent.is_empty()).then_some(short)
}

/// The last text of the user, where the event is a call that is told for the first time.
fn prompt(event: &RecordedEvent<Clean>) -> Option<ContentRef> {
    if event.kind != Kind::ModelCall || event.phase == Phase::Response {
        return None;
    }
    let is_said = |piece: &&Piece<Clean, ContentRef>| {
        piece.meta.direction == Direction::Input && piece.meta.role == Role::User && piece.meta.part == Part::Text
    };
    event.pieces.iter().rev().find(is_said).map(|piece| piece.content)
}

/// Whether the answer was cut off at the most tokens, where a reason is told.
fn is_cut_off(event: &RecordedEvent<Clean>) -> Option<bool> {
    let is = |reason: &Value<Clean>| {
        reason
            .as_text()
            .is_some_and(|reason| matches!(reason.as_str(), "length" | "max_tokens" | "MAX_TOKENS" | "max_output_tokens"))
    };
    match event.attribute(attr::GEN_AI_RESPONSE_FINISH_REASONS.as_str())? {
        Value::List(reasons) => (!reasons.is_empty()).then(|| reasons.iter().any(is)),
        one => Some(is(one)),
    }
}

/// Whether inspection found structured data in the text of the answer.
fn is_structured(event: &RecordedEvent<Clean>) -> Option<bool> {
    let Value::List(categories) = event.attribute(attr::RESPONSE_CATEGORY.as_str())? else { return None };
    Some(categories.iter().any(|one| one.as_text().is_some_and(|name| name.as_str() == "structured_data")))
}

fn calls_tools(event: &RecordedEvent<Clean>) -> Option<bool> {
    let said = || event.pieces.iter().filter(|piece| piece.meta.direction == Direction::Output && !piece.meta.history);
    said().next()?;
    Some(said().any(|piece| piece.meta.part == Part::ToolCall))
}

fn is_refused(event: &RecordedEvent<Clean>) -> bool {
    let has = |key: &event::Key, is: &dyn Fn(&str) -> bool| match event.attribute(key.as_str()) {
        Some(Value::List(list)) => list.iter().any(|value| value.as_text().is_some_and(|text| is(text))),
        Some(one) => one.as_text().is_some_and(|text| is(text)),
        None => false,
    };
    has(&attr::RESPONSE_CATEGORY, &|category| category == "refusal")
        || has(&attr::GEN_AI_RESPONSE_FINISH_REASONS, &attr::is_refusal_reason)
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Source, SourcePath};

    use super::*;

    #[test]
    fn measures_that_no_call_has_are_counted_and_left_out() {
        type Measure = fn(&Facts) -> Option<f64>;
        let measures: [(Key, Measure, f64); 4] = [
            (Key::of(COST), |facts| facts.cost, 0.002),
            (attr::GEN_AI_USAGE_INPUT_TOKENS, |facts| facts.input_tokens, 1e7),
            (attr::GEN_AI_USAGE_OUTPUT_TOKENS, |facts| facts.output_tokens, 0.0),
            (attr::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, |facts| facts.first_chunk_ms, 0.3),
        ];
        for (key, measure, plausible) in measures {
            for (value, is_left) in
                [(plausible, true), (1e306, false), (1e10, false), (-0.5, false), (f64::INFINITY, false), (f64::NAN, false)]
            {
                let mut event: RecordedEvent<Clean> =
                    Event::new(Kind::ModelCall, Clean::literal("op"), Source::new(SourcePath::Api, Key::of("test")));
                event.attributes.insert(key.clone(), Value::Double(value));
                let facts = Facts::of(&event, 0);
                assert_eq!(
                    (measure(&facts).is_some(), facts.implausible),
                    (is_left, u32::from(!is_left)),
                    "{} = {value}",
                    key.as_str()
                );
                assert!(facts.tokens.is_finite());
            }
        }
    }
}
