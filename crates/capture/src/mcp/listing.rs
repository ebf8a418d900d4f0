//! Definitions of tools: what a server says that its tools are, in a form that can be compared.
//!
//! A model does what a definition says, and nobody reads it a second time. So the definition that was seen first is *pinned*, and
//! every other is told.

use std::collections::BTreeSet;
use std::fmt;

use event::{Direction, EventId, Kind, Part, PieceMeta, Role, Value, attr};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::session::{ServerInfo, with_pieces};
use crate::bound::bound;
use crate::gateway::json::{self, Object};
use crate::{Raw, RawEvent};

/// Most tools of one page of a list that are compared.
const TOOLS_MAX: usize = 4_096;

/// Most names that are remembered from page to page, to see at the end which tools are gone.
const NAMES_MAX: usize = 16_384;

/// Most places in which a definition differs that are named.
const PATHS_MAX: usize = 64;

/// Definitions that came with one page of a list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Whose they are.
    pub server: ServerInfo,
    /// What the server calls itself, and its version.
    pub server_name: Option<(String, Option<String>)>,
    /// An event of the conversation, for what is to be told of them.
    pub template: RawEvent,
    /// The definitions.
    pub tools: Vec<Tool>,
    /// Every tool of the server, when this was the last page of a list that was read from its first.
    pub all: Option<BTreeSet<String>>,
}

/// A tool's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// All of its definition, as RFC 8785 writes it.
    pub definition: String,
}

/// What became of a tool's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The tool.
    pub tool: String,
    /// What happened.
    pub kind: ChangeKind,
    /// The definition that was pinned, and its digest.
    pub before: Option<(String, String)>,
    /// The definition now, and its digest.
    pub after: Option<(String, String)>,
}

/// What happened to a tool's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The server has a tool that it did not have.
    Added,
    /// The definition is another.
    Changed,
    /// The server does not list the tool any more.
    Removed,
}

/// The pages of a list as they come.
#[derive(Default)]
pub(super) struct Pages {
    names: BTreeSet<String>,
    is_from_start: bool,
}

impl Pages {
    /// A page is asked for.
    pub(super) fn asked(&mut self, has_cursor: bool) {
        if !has_cursor {
            self.names.clear();
            self.is_from_start = true;
        }
    }

    /// A page has come.
    pub(super) fn listed(
        &mut self,
        server: &ServerInfo,
        server_name: Option<(String, Option<String>)>,
        template: RawEvent,
        result: &Object<'_>,
    ) -> Listing {
        let tools = tools(&result.items("tools"));
        self.names.extend(tools.iter().map(|tool| tool.name.clone()));
        if self.names.len() > NAMES_MAX {
            self.is_from_start = false;
            self.names.clear();
        }
        let is_last = result.get("nextCursor").is_none();
        let all = (is_last && std::mem::take(&mut self.is_from_start)).then(|| std::mem::take(&mut self.names));
        Listing { server: server.clone(), server_name, template, tools, all }
    }
}

impl Listing {
    /// That a server is seen for the first time, with all that it offers. `hashes` are those of the tools.
    #[must_use]
    pub fn first_seen(&self, hashes: &[String]) -> RawEvent {
        let mut event = self.event("mcp.server.first_seen");
        event.set(attr::PACKAGE_TYPE, "mcp_server");
        event.set(attr::PACKAGE_NAME, self.server.name.as_str());
        if let Some((_, Some(version))) = &self.server_name {
            event.set(attr::PACKAGE_VERSION, version.as_str());
        }
        event.set(attr::PACKAGE_REFERENCE, self.server.place.as_str());
        event.set(attr::EVENT_ACTION, "create");
        event.set(attr::MCP_TOOL_CHANGE, "first_seen");
        let hashes = self.tools.iter().zip(hashes);
        let hashes = hashes.map(|(tool, hash)| (Raw::from(tool.name.as_str()), Value::Text(Raw::from(hash.as_str()))));
        event.attributes.insert(attr::MCP_TOOL_HASH, Value::Map(hashes.collect()));
        with_pieces(&mut event, |pieces| {
            pieces.push(PieceMeta::new(Direction::Input, Role::Assistant, Part::Command), self.server.place.clone());
            for tool in &self.tools {
                pieces.push(definition(&tool.name, Direction::Output), tool.definition.clone());
            }
        });
        bound(&mut event);
        event
    }

    /// That a definition is not what it was.
    #[must_use]
    pub fn changed(&self, change: &Change, is_blocked: bool) -> RawEvent {
        let mut event = self.event(&format!("mcp.tool.{}", change.kind.as_str()));
        event.set(attr::PACKAGE_TYPE, "mcp_tool");
        event.set(attr::PACKAGE_NAME, change.tool.as_str());
        event.set(attr::PACKAGE_REFERENCE, self.server.name.as_str());
        event.set(attr::GEN_AI_TOOL_TYPE, "mcp");
        event.set(attr::MCP_TOOL_CHANGE, change.kind.as_str());
        event.set(
            attr::EVENT_ACTION,
            match change.kind {
                ChangeKind::Added => "create",
                ChangeKind::Changed => "update",
                ChangeKind::Removed => "delete",
            },
        );
        if is_blocked {
            event.set(attr::APPROVAL_STATUS, "denied");
            event.set(attr::APPROVAL_SOURCE, "config");
        }
        if let Some((_, hash)) = &change.before {
            event.set(attr::MCP_TOOL_HASH_BEFORE, hash.as_str());
        }
        if let Some((_, hash)) = &change.after {
            event.set(attr::MCP_TOOL_HASH, hash.as_str());
        }
        if let (Some((before, _)), Some((after, _))) = (&change.before, &change.after) {
            let paths = difference(before, after).into_iter().map(|path| Value::Text(Raw::from(path))).collect();
            event.attributes.insert(attr::MCP_TOOL_PATHS, Value::List(paths));
        }
        with_pieces(&mut event, |pieces| {
            for (told, direction) in [(&change.before, Direction::Input), (&change.after, Direction::Output)] {
                if let Some((text, _)) = told {
                    let meta = definition(&change.tool, direction);
                    pieces.push(PieceMeta { history: direction == Direction::Input, ..meta }, text.clone());
                }
            }
        });
        bound(&mut event);
        event
    }

    fn event(&self, name: &str) -> RawEvent {
        let mut event = self.template.clone();
        event.id = EventId::random();
        event.kind = Kind::Installation;
        event.name = Raw::from(name);
        event
    }
}

impl ChangeKind {
    /// As the record has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What a JSON text is in RFC 8785. A text that two readers may understand differently, or that is too deep, stays as it is.
#[must_use]
pub fn canonical(json: &str) -> String {
    match serde_json::from_str::<Strict>(json) {
        Ok(Strict(value)) => serde_json_canonicalizer::to_string(&value).unwrap_or_else(|_| json.to_owned()),
        Err(_) => json.to_owned(),
    }
}

/// Where two JSON texts differ, as JSON pointers (RFC 6901): the deepest members that are not the same.
#[must_use]
pub fn difference(before: &str, after: &str) -> Vec<String> {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text);
    let mut paths = Vec::new();
    match (parse(before), parse(after)) {
        (Ok(before), Ok(after)) => differ(&before, &after, &mut String::new(), &mut paths),
        _ if before != after => paths.push(String::new()),
        _ => {}
    }
    paths
}

fn differ(before: &serde_json::Value, after: &serde_json::Value, at: &mut String, paths: &mut Vec<String>) {
    use serde_json::Value::{Array, Object};
    if before == after || paths.len() >= PATHS_MAX {
        return;
    }
    let length = at.len();
    match (before, after) {
        (Object(before), Object(after)) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                at.push('/');
                at.push_str(&key.replace('~', "~0").replace('/', "~1"));
                match (before.get(key), after.get(key)) {
                    (Some(before), Some(after)) => differ(before, after, at, paths),
                    _ if paths.len() < PATHS_MAX => paths.push(at.clone()),
                    _ => {}
                }
                at.truncate(length);
            }
        }
        (Array(before), Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                at.push_str(&format!("/{index}"));
                differ(before, after, at, paths);
                at.truncate(length);
            }
        }
        _ => paths.push(at.clone()),
    }
}

fn tools(items: &[&RawValue]) -> Vec<Tool> {
    let mut tools: Vec<Tool> = Vec::new();
    let mut known: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for raw in items.iter().take(TOOLS_MAX) {
        let name = name(raw);
        let definition = canonical(raw.get());
        match known.get(&name) {
            // Two tools of one name: which of them a client takes is not known, so both are the definition.
            Some(&at) => tools[at].definition = format!("{}\n{definition}", tools[at].definition),
            None => {
                known.insert(name.clone(), tools.len());
                tools.push(Tool { name, definition });
            }
        }
    }
    tools
}

fn name(raw: &RawValue) -> String {
    // A definition with a key twice has a name for somebody.
    Object::of(raw).and_then(|tool| tool.text("name")).unwrap_or_else(|| json::cut_at(raw.get().to_owned(), 256).0)
}

fn definition(tool: &str, direction: Direction) -> PieceMeta<Raw> {
    PieceMeta { name: Some(Raw::from(tool)), ..PieceMeta::new(direction, Role::System, Part::ToolDefinition) }
}

/// Any JSON value in which no key stands twice.
struct Strict(serde_json::Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(serde_json::Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
                let mut items = Vec::new();
                while let Some(Strict(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Strict(items.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
                let mut members = serde_json::Map::new();
                while let Some((key, Strict(value))) = map.next_entry::<String, Strict>()? {
                    if members.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key stands twice"));
                    }
                }
                Ok(Strict(members.into()))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn definitions_that_say_the_same_are_the_same() {
        let one = r#"{"name":"add", "description":"Adds.\u0020", "inputSchema":{"b":1,"a":[1.0,2]}}"#;
        let two = r#"{"inputSchema":{"a":[1,2],"b":1},"description":"Adds. ","name":"add"}"#;
        assert_eq!(canonical(one), canonical(two));
        assert_ne!(canonical(one), canonical(&two.replace("Adds", "Adds!")));
        // Which of the two descriptions counts is a matter of the reader.
        let twice = r#"{"name":"add","description":"a","description":"b"}"#;
        assert_eq!(canonical(twice), twice);
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(canonical(&deep), deep);
    }

    #[test]
    fn differences_are_named_where_they_are() {
        let before =
            r#"{"name":"add","description":"Adds.","inputSchema":{"properties":{"a/b":{"type":"number"}},"required":["a"]}}"#;
        let after = r#"{"name":"add","description":"Adds!","inputSchema":{"properties":{"a/b":{"type":"string"},"note":{}},"required":["a","n"]}}"#;
        assert_eq!(
            difference(before, after),
            ["/description", "/inputSchema/properties/a~1b/type", "/inputSchema/properties/note", "/inputSchema/required"]
        );
        assert!(difference(before, before).is_empty());
        assert_eq!(difference("not json", before), [""]);
    }

    #[test]
    fn two_tools_of_one_name_are_both_told() {
        let items = serde_json::value::to_raw_value(&serde_json::json!([
            { "name": "a", "description": "x" }, { "name": "b" }, { "name": "a", "description": "y" }
        ]))
        .unwrap();
        let tools = tools(&json::items(&items).unwrap());
        assert_eq!(tools.len(), 2);
        assert!(tools[0].definition.contains('x') && tools[0].definition.contains('y'));
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(text in r#"(\{"[a-c]":(1|"x"|\[\]|null|1e3)(,"[d-f]":\{\})?\}|[\[\]{}",:0-9a-c]{0,20})"#) {
            let once = canonical(&text);
            prop_assert_eq!(canonical(&once), once);
        }
    }
}
