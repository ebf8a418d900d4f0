//! Definitions of tools on their way from a proxy that runs beside its server (`watchkeeper mcp`) to the program that keeps the pins:
//! the body of `POST /v1/mcp/tools`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::listing::{Listing, TOOLS_MAX, Tool, known_name};
use super::sides::{ServerInfo, Transport};
use super::{Compared, OnDrift};
use crate::api::decode_events;

/// Longest name and longest place of a server, in bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    name: String,
    identity: String,
    place: String,
    server_name: Option<String>,
    server_version: Option<String>,
    block: bool,
    tools: Vec<BodyTool>,
    #[serde(default)]
    uncompared: usize,
    #[serde(default)]
    begins: bool,
    #[serde(default)]
    ends: bool,
    all: Option<BTreeSet<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyTool {
    name: String,
    definition: String,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    drifted: Vec<String>,
    #[serde(default)]
    uncompared: usize,
}

/// Why a request is none.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The body is not what it should be.
    #[error("the definitions cannot be read: {0}; send what docs/reference/api.md says")]
    Malformed(#[from] serde_json::Error),
    /// The event in it is none.
    #[error("event: {0}")]
    Event(#[from] crate::api::InputError),
    /// Too much, or too long.
    #[error("{field} is too long: {length}, at most {length_max}")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its length.
        length: usize,
        /// What it can be.
        length_max: usize,
    },
}

/// Writes a request. `event` is the listing's template as `POST /v1/events` takes it.
pub fn encode(listing: &Listing, on_drift: OnDrift, event: &str) -> Result<Vec<u8>, RemoteError> {
    let event: &RawValue = serde_json::from_str(event)?;
    let (server_name, server_version) = match &listing.server_name {
        Some((name, version)) => (Some(name.clone()), version.clone()),
        None => (None, None),
    };
    let tools = listing.tools.iter().map(|tool| BodyTool { name: tool.name.clone(), definition: tool.definition.clone() });
    let body = Body {
        event,
        name: listing.server.name.clone(),
        identity: listing.server.identity.clone(),
        place: listing.server.place.clone(),
        server_name,
        server_version,
        block: on_drift == OnDrift::Block,
        tools: tools.collect(),
        uncompared: listing.uncompared,
        begins: listing.begins,
        ends: listing.ends,
        all: listing.all.clone(),
    };
    Ok(serde_json::to_vec(&body)?)
}

/// Reads a request.
pub fn decode(bytes: &[u8]) -> Result<(Listing, OnDrift), RemoteError> {
    let body: Body<'_> = serde_json::from_slice(bytes)?;
    let bounded = |field, length, length_max| {
        if length <= length_max { Ok(()) } else { Err(RemoteError::TooLong { field, length, length_max }) }
    };
    bounded("tools", body.tools.len(), TOOLS_MAX)?;
    for (field, text) in [("name", &body.name), ("identity", &body.identity), ("place", &body.place)] {
        bounded(field, text.len(), TEXT_BYTES_MAX)?;
    }
    let mut events = decode_events(body.event.get().as_bytes())?;
    let template = events.swap_remove(0);
    let server =
        ServerInfo { name: body.name, transport: Transport::Pipe, identity: body.identity, place: body.place, address: None };
    let tools = body.tools.into_iter().map(|tool| Tool { name: known_name(&tool.name), definition: tool.definition }).collect();
    let all = body.all.map(|all| all.iter().map(|name| known_name(name)).collect());
    let server_name = body.server_name.map(|name| (name, body.server_version));
    let on_drift = if body.block { OnDrift::Block } else { OnDrift::Record };
    let (uncompared, begins, ends) = (body.uncompared, body.begins, body.ends);
    Ok((Listing { server, server_name, template, tools, uncompared, begins, ends, all }, on_drift))
}

/// Writes an answer.
#[must_use]
pub fn answer(compared: &Compared) -> serde_json::Value {
    serde_json::json!({ "drifted": compared.drifted, "uncompared": compared.uncompared })
}

/// Reads an answer.
pub fn read_answer(bytes: &[u8]) -> Result<Compared, RemoteError> {
    let answer: Answer = serde_json::from_slice(bytes)?;
    Ok(Compared { drifted: answer.drifted, uncompared: answer.uncompared })
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Kind, Source, SourcePath};

    use super::*;

    #[test]
    fn what_is_sent_is_what_comes() {
        let template = Event::new(Kind::Installation, "mcp.tools", Source::new(SourcePath::Mcp, Key::of("mcp")));
        let listing = Listing {
            server: ServerInfo {
                name: "n".to_owned(),
                transport: Transport::Pipe,
                identity: "i".to_owned(),
                place: "p".to_owned(),
                address: None,
            },
            server_name: Some(("s".to_owned(), None)),
            template,
            tools: vec![Tool { name: "t".to_owned(), definition: "{}".to_owned() }],
            uncompared: 3,
            begins: true,
            ends: true,
            all: Some(BTreeSet::from(["t".to_owned()])),
        };
        let event = r#"{"kind":"installation","name":"mcp.tools","source":{"path":"mcp","dialect":"mcp"}}"#;
        let bytes = encode(&listing, OnDrift::Block, event).unwrap();
        let (came, on_drift) = decode(&bytes).unwrap();
        assert_eq!((came.server, came.tools, came.all, on_drift), (listing.server, listing.tools, listing.all, OnDrift::Block));
        assert_eq!((came.uncompared, came.begins, came.ends), (3, true, true));
        assert_eq!((came.template.kind, came.template.source.path), (Kind::Installation, SourcePath::Mcp));
        let compared = Compared { drifted: vec!["t".to_owned()], uncompared: 2 };
        assert_eq!(read_answer(answer(&compared).to_string().as_bytes()).unwrap(), compared);
        for wrong in [
            "",
            "{}",
            r#"{"event":{"kind":"gap"},"name":"n","identity":"i","place":"p","server_name":null,"server_version":null,"block":false,"tools":[],"all":null}"#,
        ] {
            assert!(decode(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
