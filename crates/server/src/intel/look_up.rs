//! An event, looked up.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use event::{Channel, Event, Key, Part, PieceMeta, Role, Value, attr};
use intel::{Hit, Kind, Set};
use sanitize::{Clean, Sanitizer};

use crate::cache::Processed;

/// Most hits of one event that are recorded, the surest first; of the rest there is the count.
const HITS_MAX: usize = 32;

/// What an event has beside its texts that is looked up.
const ADDRESSES: [Key; 6] = [
    attr::SERVER_ADDRESS,
    attr::NETWORK_PEER_ADDRESS,
    attr::URL_FULL,
    attr::TLS_CLIENT_SERVER_NAME,
    attr::MCP_RESOURCE_URI,
    attr::PACKAGE_REFERENCE,
];

/// What was found beside the texts of an event.
#[derive(Default)]
pub(crate) struct Looked {
    hits: Vec<(&'static str, Hit)>,
}

/// Looks up what stands beside the texts of an event. It must not have been sanitised.
pub(crate) fn looked_up<R: AsRef<str>>(set: &Set, event: &Event<R>) -> Looked {
    let mut looked = Looked::default();
    if set.is_empty() {
        return looked;
    }
    let text = |key: &Key| match event.attributes.get(key) {
        Some(Value::Text(text)) => Some(text.as_ref()),
        _ => None,
    };
    for key in &ADDRESSES {
        if let Some(value) = text(key) {
            let place = if *key == attr::PACKAGE_REFERENCE { "package" } else { "destination" };
            let (hits, _) = set.look_in(value, false);
            looked.hits.extend(hits.into_iter().map(|hit| (place, hit)));
        }
    }
    if let Some(client) = &event.identity.client {
        looked.value(set, "client", Kind::Ip, client.address.as_ref().map(AsRef::as_ref));
        looked.value(set, "client", Kind::UserAgent, client.user_agent.as_ref().map(AsRef::as_ref));
    }
    for key in [attr::MCP_SERVER_NAME, attr::MCP_PROXY_SERVER] {
        looked.value(set, "mcp_server", Kind::McpServer, text(&key));
    }
    looked.value(set, "mcp_server", Kind::Hash, text(&attr::MCP_TOOL_HASH));
    if let (Some(manager), Some(name)) = (text(&attr::PACKAGE_TYPE), text(&attr::PACKAGE_NAME)) {
        let version = text(&attr::PACKAGE_VERSION).map(|version| format!("@{version}")).unwrap_or_default();
        looked.value(set, "package", Kind::Package, Some(&format!("{}/{name}{version}", ecosystem(manager))));
    }
    looked
}

/// The ecosystem of a package manager, as package URLs name it.
fn ecosystem(manager: &str) -> &str {
    match manager {
        "pip" | "pipx" | "uv" | "uvx" | "poetry" | "pdm" => "pypi",
        "npx" | "yarn" | "pnpm" | "bun" | "bunx" => "npm",
        other => other,
    }
}

impl Looked {
    fn value(&mut self, set: &Set, place: &'static str, kind: Kind, value: Option<&str>) {
        if let Some(value) = value.and_then(|value| intel::normalize(kind, value)) {
            let mut hits = Vec::new();
            set.look_up(kind, &value, &mut hits);
            self.hits.extend(hits.into_iter().map(|hit| (place, hit)));
        }
    }
}

/// Whether a text is what somebody has a model read: only such is compared with prompts. By channel and part alone, as texts are known by
/// heart.
pub(crate) fn is_prompt<T>(meta: &PieceMeta<T>) -> bool {
    matches!(meta.channel(), Channel::User | Channel::Tool | Channel::Document)
        && matches!(meta.part, Part::Text | Part::ToolResult | Part::Document)
}

/// Where a text stands.
fn place_of<T>(meta: &PieceMeta<T>) -> &'static str {
    match (meta.part, meta.channel()) {
        (Part::ToolCall | Part::Query | Part::Command, _) => "arguments",
        (Part::ToolResult, _) | (_, Channel::Tool) => "tool",
        (Part::Document, _) | (_, Channel::Document) => "document",
        (Part::ToolDefinition, _) => "definition",
        _ => match meta.role {
            Role::Assistant => "answer",
            Role::User => "user",
            _ => "system",
        },
    }
}

/// Notes in an event what was found, as far as it holds now.
pub(crate) fn note_hits(
    set: &Set,
    looked: Looked,
    event: &mut Event<Clean>,
    processed: &[Arc<Processed>],
    sanitizer: &Sanitizer,
) {
    if looked.hits.is_empty() && processed.iter().all(|one| one.hits.is_empty()) {
        return;
    }
    // The time of our own clock: nobody escapes by a date of his own.
    let now_s = i64::try_from(event.observed.unix_ns() / 1_000_000_000).unwrap_or(i64::MAX);
    let of_pieces = event.pieces.iter().zip(processed).enumerate();
    let of_pieces = of_pieces.flat_map(|(index, (piece, known))| {
        let place = place_of(&piece.meta);
        known.hits.iter().map(move |hit| (place, Some(index), hit.clone()))
    });
    let all = looked.hits.into_iter().map(|(place, hit)| (place, None, hit)).chain(of_pieces);
    let mut seen = HashSet::new();
    let mut found: Vec<(&'static str, Option<usize>, Hit, intel::Indicator)> = all
        .filter(|(place, piece, hit)| set.holds(hit, now_s) && seen.insert((*place, *piece, hit.clone())))
        .filter_map(|(place, piece, hit)| {
            let indicator = set.indicator(&hit)?;
            Some((place, piece, hit, indicator))
        })
        .collect();
    if found.is_empty() {
        return;
    }
    // Stable: what is equally sure stays in the order of the event.
    found.sort_by_key(|(.., indicator)| std::cmp::Reverse(indicator.confidence));
    let beyond = found.len().saturating_sub(HITS_MAX);
    found.truncate(HITS_MAX);
    let clean = |text: &str| Value::Text(sanitizer.text(text).text);
    let shown = found.iter().map(|(place, piece, hit, indicator)| {
        let mut entries: BTreeMap<Clean, Value<Clean>> = BTreeMap::from([
            (Clean::literal("id"), clean(&indicator.stix_id())),
            (Clean::literal("kind"), Value::Text(Clean::literal(indicator.kind.as_str()))),
            (Clean::literal("value"), clean(&indicator.value)),
            (Clean::literal("source"), clean(&indicator.source)),
            (Clean::literal("confidence"), Value::Int(i64::from(indicator.confidence))),
            (Clean::literal("tlp"), Value::Text(Clean::literal(indicator.tlp.as_str()))),
            (Clean::literal("place"), Value::Text(Clean::literal(place))),
        ]);
        if hit.value != indicator.value {
            entries.insert(Clean::literal("seen"), clean(&hit.value));
        }
        if let Some(label) = &indicator.label {
            entries.insert(Clean::literal("label"), clean(label));
        }
        if let Some(piece) = piece {
            entries.insert(Clean::literal("piece"), Value::Int(i64::try_from(*piece).unwrap_or(i64::MAX)));
        }
        Value::Map(entries)
    });
    let shown = shown.collect();
    event.attributes.insert(attr::INTEL_HITS, Value::List(shown));
    event.attributes.insert(attr::INTEL_SET, clean(&event::hex::encode(set.digest())));
    if beyond > 0 {
        event.attributes.insert(attr::INTEL_LEFT_OUT, Value::Int(i64::try_from(beyond).unwrap_or(i64::MAX)));
    }
}
