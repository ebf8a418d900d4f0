//! Finds commands in events and adds an `installation` event for each thing that they install.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use event::{Direction, Event, EventId, Key, Kind, Part, Phase, Piece, PieceMeta, Role, Source, Trace, Value, attr};
use serde_json::value::RawValue;

use super::{Installation, installations, installations_of};
use crate::gateway::json::{self, Object};
use crate::{Raw, RawEvent, Receipt, RecordError, Recorder};

/// Fields of a tool's arguments that hold what a shell runs: a text, or a list of words.
const COMMAND_FIELDS: [&str; 9] =
    ["command", "cmd", "commands", "full_command", "script", "shell_command", "bash", "argv", "command_line"];

/// Fields of a tool's arguments that hold code, in which lines that begin with `!` or `%` are commands (IPython).
const CODE_FIELDS: [&str; 4] = ["code", "cell_source", "new_source", "source"];

/// Fields that hold arguments one level deeper.
const NESTED_FIELDS: [&str; 5] = ["input", "arguments", "args", "parameters", "tool_input"];

/// Largest arguments that are looked at, in bytes. What is larger is a file, not a command.
const ARGUMENTS_BYTES_MAX: usize = 512 * 1024;

/// Most installations that one event can bring. More are counted.
const INSTALLATIONS_MAX: usize = 64;

/// How many more installations than events one call can bring: a few events that install a lot are usual, a thousand are an attack
/// on the record. More are counted.
const DERIVED_SPARE: usize = 256;

/// Longest text of a command in an installation, in bytes. The whole of it is in the event that caused it.
const COMMAND_BYTES_MAX: usize = 4 * 1024;

/// Texts above this, together, are read on a thread that may block, so that no neighbour waits for it.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// The dialect of derived events.
const DIALECT: Key = Key::of("watchkeeper.command");

/// A recorder that also records what the events that it is given install. The receipts are those of the events that were given.
pub struct Deriving {
    inner: Arc<dyn Recorder>,
}

impl Deriving {
    /// Puts itself before a recorder.
    #[must_use]
    pub fn new(inner: Arc<dyn Recorder>) -> Self {
        Self { inner }
    }
}

impl Recorder for Deriving {
    fn record(&self, mut events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        Box::pin(async move {
            let given = events.len();
            let bytes: usize = events.iter().flat_map(wanted).map(|piece| piece.content.expose().len()).sum();
            if bytes > INLINE_BYTES_MAX {
                let both = tokio::task::spawn_blocking(move || {
                    derive(&mut events);
                    events
                });
                events = both.await.map_err(|error| RecordError::Unavailable { reason: error.to_string() })?;
            } else if bytes > 0 {
                derive(&mut events);
            }
            let mut receipts = self.inner.record(events).await?;
            receipts.truncate(given);
            Ok(receipts)
        })
    }
}

/// Adds what the events install.
fn derive(events: &mut Vec<RawEvent>) {
    let most = events.len() + DERIVED_SPARE;
    let mut derived: Vec<RawEvent> = Vec::new();
    let mut dropped = 0;
    for mut found in events.iter().map(installations_in) {
        let room = most - derived.len();
        dropped += found.len().saturating_sub(room);
        found.truncate(room);
        derived.append(&mut found);
    }
    count_dropped(&mut derived, dropped);
    events.append(&mut derived);
}

/// The pieces of an event that may hold commands.
fn wanted(event: &RawEvent) -> impl Iterator<Item = &Piece<Raw>> {
    let status = event.attribute(attr::APPROVAL_STATUS.as_str()).and_then(Value::as_text);
    let is_denied = status.is_some_and(|status| status.expose() == "denied");
    let is_wanted = move |meta: &PieceMeta<Raw>| match event.kind {
        // What a call runs is looked at before it runs; its outcome brings the same once more.
        Kind::ToolCall if event.phase == Phase::Response => false,
        Kind::ToolCall => matches!(meta.part, Part::ToolCall | Part::Command),
        // What the conversation repeats was looked at when it was new.
        Kind::ModelCall => meta.part == Part::ToolCall && meta.direction == Direction::Output,
        _ => false,
    };
    event.pieces.iter().filter(move |piece| !is_denied && is_wanted(&piece.meta))
}

fn count_dropped(events: &mut [RawEvent], dropped: usize) {
    if let (Some(last), true) = (events.last_mut(), dropped > 0) {
        let before = last.attribute(attr::ITEMS_DROPPED.as_str()).and_then(Value::as_int).unwrap_or(0);
        last.set(attr::ITEMS_DROPPED, before.saturating_add(i64::try_from(dropped).unwrap_or(i64::MAX)));
    }
}

/// What an event's tool calls install: of a call that is about to run or has run, or that a model's answer asks for. None of a call that
/// was refused.
#[must_use]
pub fn installations_in(event: &RawEvent) -> Vec<RawEvent> {
    // Each with the piece that tells it: of two pieces with the same command one event is made.
    let mut found: BTreeMap<Installation, &Piece<Raw>> = BTreeMap::new();
    for piece in wanted(event) {
        for installation in installations_of_piece(piece) {
            found.entry(installation).or_insert(piece);
        }
    }
    let dropped = found.len().saturating_sub(INSTALLATIONS_MAX);
    let made = found.into_iter().take(INSTALLATIONS_MAX).zip(0_u32..);
    let mut events: Vec<RawEvent> = made.map(|((installation, piece), nth)| derived(event, &installation, piece, nth)).collect();
    count_dropped(&mut events, dropped);
    events
}

fn installations_of_piece(piece: &Piece<Raw>) -> Vec<Installation> {
    let text = piece.content.expose();
    if text.len() > ARGUMENTS_BYTES_MAX {
        return Vec::new();
    }
    match Object::parse(text) {
        Ok(arguments) => in_arguments(&arguments, 0),
        Err(_) => match serde_json::from_str::<&RawValue>(text).ok() {
            Some(raw) if piece.meta.part == Part::ToolCall => in_value(raw),
            _ => installations(text),
        },
    }
}

fn in_arguments(arguments: &Object<'_>, depth: usize) -> Vec<Installation> {
    let mut found = Vec::new();
    for (key, raw) in arguments.entries() {
        if COMMAND_FIELDS.contains(&key) {
            let mut here = in_value(raw);
            // `{"command": "npx", "args": ["-y", "x"]}`
            let args = arguments.get("args").and_then(words);
            if let (Some(program), Some(args)) = (json::text(raw), args) {
                here = installations_of(&std::iter::once(program).chain(args).collect::<Vec<_>>());
            }
            found.extend(here);
        } else if CODE_FIELDS.contains(&key) {
            let code = json::text(raw).unwrap_or_default();
            let lines = code.lines().filter_map(|line| line.trim_start().strip_prefix(['!', '%']));
            found.extend(lines.flat_map(installations));
        } else if NESTED_FIELDS.contains(&key) && depth == 0 {
            found.extend(Object::of(raw).iter().flat_map(|inner| in_arguments(inner, depth + 1)));
        }
    }
    found
}

/// A text that a shell runs, or a list: of words, or of such texts.
fn in_value(raw: &RawValue) -> Vec<Installation> {
    match (json::text(raw), words(raw)) {
        (Some(text), _) => installations(&text),
        (None, Some(words)) => {
            let found = installations_of(&words);
            if found.is_empty() {
                words.iter().filter(|word| word.contains(' ')).flat_map(|word| installations(word)).collect()
            } else {
                found
            }
        }
        (None, None) => Vec::new(),
    }
}

fn words(raw: &RawValue) -> Option<Vec<String>> {
    json::items(raw)?.into_iter().map(json::text).collect()
}

/// The event of an installation. Its id rests on that of its cause, so that a cause that is sent again brings nothing new.
fn derived(cause: &RawEvent, found: &Installation, piece: &Piece<Raw>, nth: u32) -> RawEvent {
    let source = Source::new(cause.source.path, DIALECT);
    let mut event: RawEvent = Event::new(Kind::Installation, format!("install {}", found.manager), source);
    event.id = derived_id(cause, nth);
    event.phase = Phase::Complete;
    event.time = cause.time;
    event.observed = cause.observed;
    event.session.clone_from(&cause.session);
    event.turn.clone_from(&cause.turn);
    event.identity.clone_from(&cause.identity);
    // What a model asks for has not run yet.
    if cause.kind == Kind::ToolCall {
        event.status = cause.status;
        event.duration_ns = cause.duration_ns;
    }
    event.trace = cause.trace.map(|trace| Trace { span_id: None, parent_span_id: trace.span_id, ..trace });
    event.set(attr::PACKAGE_TYPE, found.manager.as_str());
    let parts =
        [(attr::PACKAGE_NAME, &found.package), (attr::PACKAGE_VERSION, &found.version), (attr::PACKAGE_REFERENCE, &found.source)];
    for (key, part) in parts {
        if let Some(part) = part {
            event.set(key, part.as_str());
        }
    }
    event.set(attr::CAUSE_EVENT_ID, cause.id.to_string().as_str());
    let named = |key: Key, own: &Option<Raw>| own.clone().map(Value::Text).or_else(|| cause.attributes.get(&key).cloned());
    for (key, own) in [(attr::GEN_AI_TOOL_NAME, &piece.meta.name), (attr::GEN_AI_TOOL_CALL_ID, &piece.meta.call_id)] {
        if let Some(value) = named(key.clone(), own) {
            event.attributes.insert(key, value);
        }
    }
    if let Some(status) = cause.attributes.get(&attr::APPROVAL_STATUS) {
        event.attributes.insert(attr::APPROVAL_STATUS, status.clone());
    }
    let meta = PieceMeta {
        name: piece.meta.name.clone(),
        call_id: piece.meta.call_id.clone(),
        ..PieceMeta::new(Direction::Input, Role::Assistant, Part::Command)
    };
    let (command, cut) = json::cut_at(piece.content.expose().to_owned(), COMMAND_BYTES_MAX);
    if cut > 0 {
        event.set(attr::CONTENT_BYTES_CUT, i64::try_from(cut).unwrap_or(i64::MAX));
    }
    event.pieces.push(Piece::new(meta, Raw::from(command)));
    event
}

fn derived_id(cause: &RawEvent, nth: u32) -> EventId {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(b"watchkeeper installation 1");
    context.update(cause.id.as_bytes());
    context.update(&nth.to_be_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    EventId::derived(cause.time, &digest)
}

#[cfg(test)]
mod tests {
    use event::{SourcePath, Status};

    use super::*;

    fn call(arguments: &str) -> RawEvent {
        let mut event: RawEvent =
            Event::new(Kind::ToolCall, "execute_tool Bash", Source::new(SourcePath::Hook, Key::of("claude_code.hook")));
        event.session = Some(Raw::from("s"));
        event.status = Status::Ok;
        event.set(attr::GEN_AI_TOOL_NAME, "Bash");
        let meta =
            PieceMeta { call_id: Some(Raw::from("c1")), ..PieceMeta::new(Direction::Input, Role::Assistant, Part::ToolCall) };
        event.pieces.push(Piece::new(meta, Raw::from(arguments)));
        event
    }

    fn packages(event: &RawEvent) -> Vec<String> {
        let name = |found: &RawEvent| found.attributes[&attr::PACKAGE_NAME].as_text().unwrap().expose().to_owned();
        installations_in(event).iter().map(name).collect()
    }

    #[test]
    fn a_command_is_found_wherever_a_tool_puts_it() {
        for arguments in [
            r#"{"command":"pip install p"}"#,
            r#"{"command":["pip","install","p"]}"#,
            r#"{"command":["bash","-lc","cd x; pip install p"]}"#,
            r#"{"commands":["ls -l","pip install p"]}"#,
            r#"{"cmd":"pip","args":["install","p"]}"#,
            r#"{"input":{"command":"pip install p"}}"#,
            r#"{"code":"import os\n!pip install p\nprint(1)"}"#,
            r#""pip install p""#,
            "pip install p",
        ] {
            assert_eq!(packages(&call(arguments)), ["p"], "{arguments}");
        }
        for arguments in [r#"{"text":"pip install p"}"#, r#"{"code":"pip install p"}"#, "{}", "", "[1]", "not json { pip install"]
        {
            assert!(packages(&call(arguments)).is_empty(), "{arguments}");
        }
    }

    #[test]
    fn the_event_says_what_caused_it_and_is_the_same_when_the_cause_comes_again() {
        let cause = call(r#"{"command":"pip install b a==1"}"#);
        let found = installations_in(&cause);
        assert_eq!(packages(&cause), ["a", "b"]);
        let first = &found[0];
        assert_eq!((first.kind, first.status, &first.session), (Kind::Installation, Status::Ok, &cause.session));
        let text = |key: Key| first.attributes[&key].as_text().unwrap().expose().to_owned();
        assert_eq!(text(attr::CAUSE_EVENT_ID), cause.id.to_string());
        assert_eq!(
            (text(attr::PACKAGE_TYPE), text(attr::PACKAGE_VERSION), text(attr::GEN_AI_TOOL_NAME)),
            ("pip".into(), "1".into(), "Bash".into())
        );
        assert_eq!(text(attr::GEN_AI_TOOL_CALL_ID), "c1");
        assert_eq!((first.source.path, first.pieces[0].meta.part), (SourcePath::Hook, Part::Command));
        let ids = |events: &[RawEvent]| events.iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(&installations_in(&cause)), ids(&found));
        assert_ne!(found[0].id, found[1].id);
    }

    #[test]
    fn what_was_refused_or_said_before_installs_nothing_and_many_are_bounded() {
        let mut denied = call(r#"{"command":"pip install p"}"#);
        denied.set(attr::APPROVAL_STATUS, "denied");
        assert!(installations_in(&denied).is_empty());
        let mut model = call(r#"{"command":"pip install p"}"#);
        model.kind = Kind::ModelCall;
        assert!(installations_in(&model).is_empty(), "it is input");
        model.pieces[0].meta.direction = Direction::Output;
        assert_eq!((packages(&model), installations_in(&model)[0].status), (vec!["p".to_owned()], Status::Unset));
        let many: String = (0..100).map(|n| format!(" p{n}")).collect();
        let found = installations_in(&call(&format!(r#"{{"command":"pip install{many}"}}"#)));
        assert_eq!((found.len(), found[63].attributes[&attr::ITEMS_DROPPED].as_int()), (64, Some(36)));
        // Many events that install a lot do not swell the record.
        let mut events = vec![call(&format!(r#"{{"command":"pip install{many}","note":"{}"}}"#, "x".repeat(10_000))); 100];
        derive(&mut events);
        assert_eq!(events.len(), 100 + 100 + DERIVED_SPARE);
        let last = events.last().unwrap();
        assert_eq!(last.attributes[&attr::ITEMS_DROPPED].as_int(), Some(100 * 64 - 100 - 256));
        assert!(
            last.pieces[0].content.expose().len() <= COMMAND_BYTES_MAX && last.attributes.contains_key(&attr::CONTENT_BYTES_CUT)
        );
    }
}
