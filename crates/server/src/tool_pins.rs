//! The pins of MCP tools: the definition of each tool as it was seen first, and whether it still is that.
//!
//! They are kept in the keyring, because whoever could write them could have a poisoned definition taken for the old one. What is
//! kept is sanitised; the comparison is by a keyed digest of the definition itself, so that no change is missed. Nothing is ever
//! forgotten: a tool that goes and comes back is compared with what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use capture::mcp::listing::TOOLS_MAX;
use capture::mcp::{Change, ChangeKind, Compared, Listing, OnDrift, Pins, Tool};
use capture::{RawEvent, RecordError, Recorder};
use event::{Direction, Kind, Part, PieceMeta, Role, attr};
use keys::{Keyring, KeysError};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::asker::Asker;
use crate::node::internal;
use crate::pipeline::{Pipeline, PipelineRecorder};

/// The keyring's name of the list of servers; each has a value of its own beside it.
const SERVERS: &str = "mcp servers";

/// The use of the tags by which definitions are compared.
const TAGS: &str = "mcp tools";

/// Servers that have pins. Beyond them nothing is pinned, and the record says so.
const SERVERS_MAX: usize = 512;

/// Longest name of a server or a tool that is kept, in bytes; what is longer is cut. Names are for people; what is compared is digests.
const NAME_BYTES_MAX: usize = 512;

/// Characters of a server's id: 64 bits of a keyed digest, so that nobody makes a second server with the id of another.
const ID_CHARS: usize = 16;

/// Longest definition whose text is kept, in bytes. Of a longer one the digest is.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Most text that is kept of one server, in bytes.
const TEXTS_BYTES_MAX: usize = 1024 * 1024;

/// The pins.
pub(crate) struct ToolPins {
    keyring: Arc<Keyring>,
    pipeline: Arc<Pipeline>,
    /// One comparison at a time: two that see the same change tell of it once.
    alone: Mutex<()>,
}

/// The pins of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerPins {
    /// Its name where it was seen first, sanitised.
    name: String,
    /// Whether somebody had changes blocked. It stays so: who asks for less later could be anybody who has a key for sending.
    blocks: bool,
    /// The first list has not come to its end: what comes with its next pages was there from the start.
    is_open: bool,
    /// By a keyed digest of the tool's name.
    tools: BTreeMap<String, ToolPin>,
}

/// What is known of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ToolPin {
    /// Its name, sanitised.
    name: String,
    /// The definition that stands; none before an operator has approved a new tool.
    pinned: Option<Definition>,
    /// The other one that the server gives now, where such are blocked.
    waiting: Option<Definition>,
    /// The server does not list it any more.
    is_gone: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Definition {
    /// Keyed digest of the definition.
    tag: String,
    /// Digest of the sanitised definition, as the record has it.
    hash: String,
    /// The sanitised definition; empty when it is too long.
    text: String,
}

/// A tool, as people are shown it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Shown {
    /// What tells its server from others of the same name.
    id: String,
    server: String,
    tool: String,
    hash: Option<String>,
    /// Whether the server gives another definition, which an operator has to approve.
    waits_for_approval: bool,
    waiting_hash: Option<String>,
    /// Whether the server lists it still.
    listed: bool,
}

/// Why pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinsError {
    /// The keyring does not do what it should.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What is in the keyring was not written by this program.
    #[error("the pins of MCP tools in the keyring: {0}")]
    Parse(#[from] serde_json::Error),
    /// There is nothing to approve.
    #[error(
        "no definition of {server:?} with the hash {hash:?} waits for approval; `watchkeeper mcp --pins` shows those that do now"
    )]
    Unknown {
        /// The server.
        server: String,
        /// What was to be approved.
        hash: String,
    },
    /// There is no such server.
    #[error("no server with the id or name {server:?} has pins; `watchkeeper mcp --pins` shows those that do")]
    NoServer {
        /// What was given.
        server: String,
    },
    /// A name is not enough.
    #[error("several servers are named {server:?}; give the id of one instead: {}", ids.join(", "))]
    Ambiguous {
        /// The name.
        server: String,
        /// Their ids.
        ids: Vec<String>,
    },
    /// It could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl ToolPins {
    pub(crate) fn new(keyring: Arc<Keyring>, pipeline: Arc<Pipeline>) -> Self {
        Self { keyring, pipeline, alone: Mutex::new(()) }
    }

    /// Every pinned tool.
    pub(crate) async fn list(self: &Arc<Self>) -> Result<Vec<Shown>, PinsError> {
        let this = Arc::clone(self);
        let _alone = self.alone.lock().await;
        blocking(move || {
            let mut shown = Vec::new();
            for server in this.servers()? {
                let Some(pins) = this.read(&server)? else { continue };
                shown.extend(pins.tools.into_values().map(|pin| Shown {
                    id: id(&server),
                    server: pins.name.clone(),
                    tool: pin.name,
                    hash: pin.pinned.map(|pinned| pinned.hash),
                    waits_for_approval: pin.waiting.is_some(),
                    waiting_hash: pin.waiting.map(|waiting| waiting.hash),
                    listed: !pin.is_gone,
                }));
            }
            shown.sort_by(|a: &Shown, b| (&a.server, &a.id, &a.tool).cmp(&(&b.server, &b.id, &b.tool)));
            Ok(shown)
        })
        .await
    }

    /// Takes the definitions that wait and have these hashes for the pinned ones: all of them, or none. It is recorded first. Gives the
    /// names of their tools. `server` is the id of one, or the name of the only one that has it.
    pub(crate) async fn approve(
        self: &Arc<Self>,
        asker: Asker,
        server: String,
        hashes: BTreeSet<String>,
    ) -> Result<Vec<String>, PinsError> {
        let this = Arc::clone(self);
        let _alone = self.alone.lock().await;
        blocking(move || {
            let (key, mut pins) = this.find(&server)?;
            let waits =
                |hash: &String| pins.tools.values().any(|pin| pin.waiting.as_ref().is_some_and(|waiting| waiting.hash == *hash));
            let missing = if hashes.is_empty() { Some(String::new()) } else { hashes.iter().find(|hash| !waits(hash)).cloned() };
            if let Some(hash) = missing {
                return Err(PinsError::Unknown { server, hash });
            }
            let mut approved = Vec::new();
            let (id, name) = (id(&key), pins.name.clone());
            for pin in pins.tools.values_mut() {
                let Some(waiting) = pin.waiting.take_if(|waiting| hashes.contains(&waiting.hash)) else { continue };
                let mut event = internal(Kind::Admin, "mcp.tool.approve");
                asker.sign(&mut event);
                event.set(attr::EVENT_ACTION, "approve");
                event.set(attr::ADMIN_OBJECT, format!("{name} ({id}) {}", pin.name).as_str());
                if let Some(pinned) = &pin.pinned {
                    event.set(attr::MCP_TOOL_HASH_BEFORE, pinned.hash.as_str());
                    event.set(attr::ADMIN_BEFORE, pinned.hash.as_str());
                }
                event.set(attr::MCP_TOOL_HASH, waiting.hash.as_str());
                event.set(attr::ADMIN_AFTER, waiting.hash.as_str());
                this.pipeline.record_blocking(vec![event], &|| true)?;
                pin.pinned = Some(waiting);
                approved.push(pin.name.clone());
            }
            this.write(&key, &pins)?;
            Ok(approved)
        })
        .await
    }

    /// The server that an operator means, and its pins.
    fn find(&self, server: &str) -> Result<(String, ServerPins), PinsError> {
        let mut named = Vec::new();
        for key in self.servers()? {
            let Some(pins) = self.read(&key)? else { continue };
            if id(&key) == server {
                return Ok((key, pins));
            }
            if pins.name == server {
                named.push((key, pins));
            }
        }
        match named.len() {
            0 => Err(PinsError::NoServer { server: server.to_owned() }),
            1 => Ok(named.swap_remove(0)),
            _ => Err(PinsError::Ambiguous { server: server.to_owned(), ids: named.iter().map(|(key, _)| id(key)).collect() }),
        }
    }

    /// What is new in a listing, and the pins after it.
    fn weigh(&self, key: &str, listing: &Listing, on_drift: OnDrift) -> Result<Weighed, PinsError> {
        let tags = self.keyring.authenticator(TAGS)?;
        let found = self.read(key)?;
        let is_new = found.is_none();
        if is_new && self.servers()?.len() >= SERVERS_MAX {
            let drifted = listing.tools.iter().map(|tool| tool.name.clone()).collect();
            let compared = Compared { drifted, uncompared: listing.uncompared };
            return Ok(Weighed { pins: None, events: vec![full(listing)], compared });
        }
        let mut pins =
            found.unwrap_or_else(|| ServerPins { name: self.name(&listing.server.name), is_open: true, ..ServerPins::default() });
        // Another list has begun: what was not in the first one is new.
        pins.is_open &= is_new || !listing.begins;
        pins.blocks |= on_drift == OnDrift::Block;
        let mut room = TEXTS_BYTES_MAX.saturating_sub(pins.text_bytes());
        let mut weighed =
            Weighed { compared: Compared { uncompared: listing.uncompared, ..Compared::default() }, ..Weighed::default() };
        let mut unpinned = listing.uncompared;
        let mut hashes = Vec::new();
        for tool in &listing.tools {
            let now = self.definition(&tags, &tool.definition, &mut room);
            hashes.push(now.hash.clone());
            let is_full = pins.tools.len() >= TOOLS_MAX;
            let (takes_new, is_open) = (pins.is_open || !pins.blocks, pins.is_open);
            match pins.tools.get_mut(&tool_key(&tags, &tool.name)) {
                Some(pin) => weighed.weigh_known(listing, tool, pin, now, pins.blocks, on_drift),
                None if is_full => {
                    unpinned += 1;
                    weighed.compared.drifted.push(tool.name.clone());
                }
                None => {
                    if !is_open {
                        weighed.tell(listing, tool, ChangeKind::Added, None, &now, on_drift == OnDrift::Block);
                    }
                    let (pinned, waiting) = if takes_new { (Some(now), None) } else { (None, Some(now)) };
                    if waiting.is_some() {
                        weighed.compared.drifted.push(tool.name.clone());
                    }
                    let pin = ToolPin { name: self.name(&tool.name), pinned, waiting, is_gone: false };
                    pins.tools.insert(tool_key(&tags, &tool.name), pin);
                }
            }
        }
        if let Some(all) = &listing.all {
            let all: BTreeSet<String> = all.iter().map(|name| tool_key(&tags, name)).collect();
            for (_, pin) in pins.tools.iter_mut().filter(|(key, pin)| !pin.is_gone && !all.contains(*key)) {
                pin.is_gone = true;
                let before = pin.pinned.as_ref().or(pin.waiting.as_ref()).map(|known| (known.text.clone(), known.hash.clone()));
                let change = Change { tool: pin.name.clone(), kind: ChangeKind::Removed, before, after: None };
                weighed.events.push(listing.changed(&change, false));
            }
        }
        if unpinned > 0 {
            weighed.events.push(listing.not_compared(unpinned));
        }
        if is_new {
            weighed.events.push(listing.first_seen(&hashes));
        }
        pins.is_open &= !listing.ends;
        weighed.pins = Some(pins);
        Ok(weighed)
    }

    fn definition(&self, tags: &keys::Authenticator, raw: &str, room: &mut usize) -> Definition {
        let meta = PieceMeta::new(Direction::Output, Role::System, Part::ToolDefinition);
        let clean = self.pipeline.sanitizer().content(&meta, raw);
        let clean = clean.text.as_str();
        let hash = event::hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, clean.as_bytes()).as_ref());
        let is_kept = clean.len() <= TEXT_BYTES_MAX.min(*room);
        *room -= if is_kept { clean.len() } else { 0 };
        let text = if is_kept { clean.to_owned() } else { String::new() };
        Definition { tag: event::hex::encode(&tags.tag(raw.as_bytes())), hash: format!("sha256:{hash}"), text }
    }

    /// A name for people.
    fn name(&self, raw: &str) -> String {
        let clean = self.pipeline.sanitizer().text(raw).text;
        let clean = clean.as_str();
        clean[..clean.floor_char_boundary(NAME_BYTES_MAX.min(clean.len()))].to_owned()
    }

    /// The keys of the servers that have pins.
    fn servers(&self) -> Result<Vec<String>, PinsError> {
        Ok(match self.keyring.named(SERVERS)? {
            Some(bytes) => serde_json::from_slice(&bytes)?,
            None => Vec::new(),
        })
    }

    fn read(&self, key: &str) -> Result<Option<ServerPins>, PinsError> {
        Ok(self.keyring.named(&place(key))?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn write(&self, key: &str, pins: &ServerPins) -> Result<(), PinsError> {
        // The value first: a server on the list without a value is one without pins.
        self.keyring.put_named(&place(key), &serde_json::to_vec(pins)?)?;
        let mut servers = self.servers()?;
        if !servers.iter().any(|known| known == key) {
            servers.push(key.to_owned());
            self.keyring.put_named(SERVERS, &serde_json::to_vec(&servers)?)?;
        }
        Ok(())
    }

    /// A server's key. Its identity is a command line, which may be long, and may hold what is secret.
    fn key(&self, identity: &str) -> Result<String, PinsError> {
        Ok(event::hex::encode(&self.keyring.authenticator("mcp server")?.tag(identity.as_bytes())))
    }
}

/// What a comparison comes to.
#[derive(Default)]
struct Weighed {
    /// The pins after it; none when there is no room for another server.
    pins: Option<ServerPins>,
    events: Vec<RawEvent>,
    compared: Compared,
}

impl Weighed {
    /// Compares a tool with what is known of it. `blocks`: another definition waits for an operator.
    fn weigh_known(&mut self, listing: &Listing, tool: &Tool, pin: &mut ToolPin, now: Definition, blocks: bool, asked: OnDrift) {
        let was_gone = std::mem::take(&mut pin.is_gone);
        if pin.pinned.as_ref().is_some_and(|pinned| pinned.tag == now.tag) {
            pin.waiting = None;
            if was_gone {
                self.tell(listing, tool, ChangeKind::Added, pin.pinned.as_ref(), &now, false);
            }
            return;
        }
        let is_told = !was_gone && pin.waiting.as_ref().is_some_and(|waiting| waiting.tag == now.tag);
        if !is_told {
            let kind = if pin.pinned.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
            self.tell(listing, tool, kind, pin.pinned.as_ref(), &now, asked == OnDrift::Block);
        }
        self.compared.drifted.push(tool.name.clone());
        if blocks {
            pin.waiting = Some(now);
        } else {
            (pin.pinned, pin.waiting) = (Some(now), None);
        }
    }

    fn tell(
        &mut self,
        listing: &Listing,
        tool: &Tool,
        kind: ChangeKind,
        before: Option<&Definition>,
        now: &Definition,
        is_blocked: bool,
    ) {
        let before = before.map(|known| (known.text.clone(), known.hash.clone()));
        let text = if now.text.is_empty() { &tool.definition } else { &now.text };
        let change = Change { tool: tool.name.clone(), kind, before, after: Some((text.clone(), now.hash.clone())) };
        self.events.push(listing.changed(&change, is_blocked));
    }
}

impl ServerPins {
    fn text_bytes(&self) -> usize {
        let definitions = self.tools.values().flat_map(|pin| pin.pinned.iter().chain(&pin.waiting));
        definitions.map(|definition| definition.text.len()).sum()
    }
}

/// The keyring's name of a server's pins.
fn place(key: &str) -> String {
    format!("mcp tools {key}")
}

/// What people call a server by.
fn id(key: &str) -> String {
    key.chars().take(ID_CHARS).collect()
}

/// Under which key a tool is kept: its name may be long, and anything.
fn tool_key(tags: &keys::Authenticator, name: &str) -> String {
    event::hex::encode(&tags.tag(format!("name {name}").as_bytes()))
}

/// A handle that the proxies hold.
pub(crate) struct Comparer(pub(crate) Arc<ToolPins>);

impl Pins for Comparer {
    fn compare(
        &self,
        listing: Listing,
        on_drift: OnDrift,
    ) -> Pin<Box<dyn Future<Output = Result<Compared, RecordError>> + Send + '_>> {
        let pins = Arc::clone(&self.0);
        Box::pin(async move {
            let _alone = pins.alone.lock().await;
            let stopped = |error: &dyn std::fmt::Display| RecordError::Unavailable { reason: error.to_string() };
            let key = pins.key(&listing.server.identity).map_err(|error| stopped(&error))?;
            let (this, of) = (Arc::clone(&pins), key.clone());
            let weighed = blocking(move || this.weigh(&of, &listing, on_drift)).await.map_err(|error| stopped(&error))?;
            // Told before it is kept: what is told twice after a crash is better than what is never told.
            if !weighed.events.is_empty() {
                PipelineRecorder(pins.pipeline.clone()).record(weighed.events).await?;
            }
            if let Some(after) = weighed.pins {
                let this = Arc::clone(&pins);
                blocking(move || match this.read(&key)? {
                    Some(before) if before == after => Ok(()),
                    _ => this.write(&key, &after),
                })
                .await
                .map_err(|error| stopped(&error))?;
            }
            Ok(weighed.compared)
        })
    }
}

/// That there is no room for the pins of another server.
fn full(listing: &Listing) -> RawEvent {
    let mut event = listing.first_seen(&[]);
    event.set(attr::MCP_ANOMALY, "not_pinned");
    event
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, PinsError> + Send + 'static) -> Result<T, PinsError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(PinsError::Record(RecordError::Unavailable { reason: error.to_string() })))
}
