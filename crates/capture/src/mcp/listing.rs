//! Definitions of tools: what a server says that its tools are, in a form that can be compared.
//!
//! A model does what a definition says, and nobody reads it a second time. So the definition that was seen first is *pinned*, and
//! every other is told.

use std::collections::BTreeSet;
use std::fmt;

use event::{Direction, EventId, Kind, Part, PieceMeta, Role, Value, attr};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::session::with_pieces;
use super::sides::ServerInfo;
use crate::bound::bound;
use crate::gateway::json::{self, Object};
use crate::{Raw, RawEvent};

/// Most tools of one page of a list that are compared, and most of one server that are pinned: some servers have hundreds.
pub const TOOLS_MAX: usize = 4_096;

/// Longest name of a tool that is kept as it is, in bytes. MCP recommends 128 characters at most; a longer one goes by its
/// beginning and its digest.
const NAME_BYTES_MAX: usize = 256;

/// How much of a longer name is kept, in bytes.
const NAME_BYTES_KEPT: usize = 160;

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
    /// How many more there were, of which nothing is known: a page has more than [`TOOLS_MAX`].
    pub uncompared: usize,
    /// Whether this is the first page of a list.
    pub begins: bool,
    /// Whether it is the last one.
    pub ends: bool,
    /// Every tool of the server, when this was the last page of a list that was read from its first.
    pub all: Option<BTreeSet<String>>,
}

/// A tool's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name, as [`known_name`] has it.
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
    /// The server has a tool that it did not have, or has it again as it was.
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
    /// A page has come. `begins`: it was asked for without a cursor, and so is the first one.
    pub(super) fn listed(
        &mut self,
        server: &ServerInfo,
        server_name: Option<(String, Option<String>)>,
        template: RawEvent,
        begins: bool,
        result: &Object<'_>,
    ) -> Listing {
        if begins {
            self.names.clear();
            self.is_from_start = true;
        }
        let items = result.items("tools");
        let uncompared = items.len().saturating_sub(TOOLS_MAX);
        let tools = tools(&items);
        self.names.extend(tools.iter().map(|tool| tool.name.clone()));
        // Of what was not read nobody can say that it is gone.
        if uncompared > 0 || self.names.len() > NAMES_MAX {
            self.is_from_start = false;
            self.names.clear();
        }
        let ends = result.get("nextCursor").is_none();
        let all = (ends && std::mem::take(&mut self.is_from_start)).then(|| std::mem::take(&mut self.names));
        Listing { server: server.clone(), server_name, template, tools, uncompared, begins, ends, all }
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

    /// That definitions were not compared, because there are too many.
    #[must_use]
    pub fn not_compared(&self, count: usize) -> RawEvent {
        let mut event = self.event("mcp.tools.not_compared");
        event.set(attr::PACKAGE_TYPE, "mcp_server");
        event.set(attr::PACKAGE_NAME, self.server.name.as_str());
        event.set(attr::EVENT_ACTION, "read");
        event.set(attr::MCP_ANOMALY, "not_pinned");
        crate::bound::add(&mut event.attributes, attr::ITEMS_DROPPED, count);
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

/// The name under which a tool is known: its own, or for a very long one its beginning and its SHA-256.
#[must_use]
pub fn known_name(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    format!("{}... sha256:{}", json::cut_at(name.to_owned(), NAME_BYTES_KEPT).0, event::hex::encode(digest.as_ref()))
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
    known_name(&Object::of(raw).and_then(|tool| tool.text("name")).unwrap_or_else(|| raw.get().to_owned()))
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
    use event::{Key, Source, SourcePath};
    use proptest::prelude::*;

    use super::super::sides::Transport;
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

    fn page(pages: &mut Pages, begins: bool, result: &serde_json::Value) -> Listing {
        let text = result.to_string();
        let template = RawEvent::new(Kind::Installation, "x", Source::new(SourcePath::Mcp, Key::of("mcp")));
        let server = ServerInfo {
            name: "n".to_owned(),
            transport: Transport::Pipe,
            identity: "n".to_owned(),
            place: "n".to_owned(),
            address: None,
        };
        pages.listed(&server, None, template, begins, &Object::parse(&text).unwrap())
    }

    #[test]
    fn a_list_is_known_whole_only_from_its_first_page_to_its_last() {
        let mut pages = Pages::default();
        let named = |name: &str| serde_json::json!([{ "name": name }]);
        let first = page(&mut pages, true, &serde_json::json!({ "tools": named("a"), "nextCursor": "1" }));
        assert!(first.begins && !first.ends && first.all.is_none());
        let last = page(&mut pages, false, &serde_json::json!({ "tools": named("b") }));
        assert_eq!(last.all.unwrap().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let stray = page(&mut pages, false, &serde_json::json!({ "tools": named("c") }));
        assert!(stray.ends && stray.all.is_none());
        // Beyond the bound nothing is said to be compared, or to be gone.
        let many: Vec<_> = (0..TOOLS_MAX + 2).map(|n| serde_json::json!({ "name": n.to_string() })).collect();
        let many = page(&mut pages, true, &serde_json::json!({ "tools": many }));
        assert_eq!((many.tools.len(), many.uncompared, many.all), (TOOLS_MAX, 2, None));
    }

    #[test]
    fn long_names_stay_apart_and_short() {
        let long = "n".repeat(10_000);
        assert_eq!(known_name("read_file"), "read_file");
        assert!(known_name(&long).len() <= NAME_BYTES_MAX);
        assert_ne!(known_name(&long), known_name(&format!("{long}n")));
        assert_eq!(known_name(&known_name(&long)), known_name(&long));
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(text in r#"(\{"[a-c]":(1|"x"|\[\]|null|1e3)(,"[d-f]":\{\})?\}|[\[\]{}",:0-9a-c]{0,20})"#) {
            let once = canonical(&text);
            prop_assert_eq!(canonical(&once), once);
        }
    }
}
