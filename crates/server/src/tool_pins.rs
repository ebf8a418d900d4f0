//! The pins of MCP tools: the definition of each tool as it was seen first, and whether it still is that.
//!
//! They are kept in the keyring, because whoever could write them could have a poisoned definition taken for the old one. What is
//! kept is sanitised; the comparison is by a keyed digest of the definition itself, so that no change is missed.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use capture::mcp::{Change, ChangeKind, Compared, Listing, OnDrift, Pins};
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

/// Tools of one server that have pins.
const TOOLS_MAX: usize = 4_096;

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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ServerPins {
    /// Its name where it was seen first.
    name: String,
    tools: BTreeMap<String, ToolPin>,
}

/// A pinned definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ToolPin {
    pinned: Definition,
    /// The other one that the server gives now, where such are blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waiting: Option<Definition>,
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
    server: String,
    tool: String,
    hash: String,
    /// Whether the server gives another definition, which an operator has to approve.
    waits_for_approval: bool,
    waiting_hash: Option<String>,
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
    #[error("no changed tool of {server:?} waits for approval; `watchkeeper mcp --pins` shows those that do")]
    Unknown {
        /// The server.
        server: String,
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
            for identity in this.servers()? {
                let Some(pins) = this.read(&identity)? else { continue };
                shown.extend(pins.tools.into_iter().map(|(tool, pin)| Shown {
                    server: pins.name.clone(),
                    tool,
                    hash: pin.pinned.hash,
                    waits_for_approval: pin.waiting.is_some(),
                    waiting_hash: pin.waiting.map(|waiting| waiting.hash),
                }));
            }
            Ok(shown)
        })
        .await
    }

    /// Takes the definitions that wait for the pinned ones, of one tool or of all of a server. It is recorded first. Gives their names.
    pub(crate) async fn approve(
        self: &Arc<Self>,
        asker: Asker,
        server: String,
        tool: Option<String>,
    ) -> Result<Vec<String>, PinsError> {
        let this = Arc::clone(self);
        let _alone = self.alone.lock().await;
        blocking(move || {
            let mut approved = Vec::new();
            for identity in this.servers()? {
                let Some(mut pins) = this.read(&identity)?.filter(|pins| pins.name == server) else { continue };
                for (name, pin) in pins.tools.iter_mut().filter(|(name, _)| tool.as_ref().is_none_or(|tool| tool == *name)) {
                    let Some(waiting) = pin.waiting.take() else { continue };
                    let mut event = internal(Kind::Admin, "mcp.tool.approve");
                    event.identity.user = Some(asker.principal());
                    event.set(attr::EVENT_ACTION, "approve");
                    event.set(attr::ADMIN_OBJECT, format!("{server} {name}").as_str());
                    event.set(attr::MCP_TOOL_HASH_BEFORE, pin.pinned.hash.as_str());
                    event.set(attr::MCP_TOOL_HASH, waiting.hash.as_str());
                    this.pipeline.record_blocking(vec![event], &|| true)?;
                    pin.pinned = waiting;
                    approved.push(name.clone());
                }
                this.write(&identity, &pins)?;
            }
            if approved.is_empty() { Err(PinsError::Unknown { server }) } else { Ok(approved) }
        })
        .await
    }

    /// What is new in a listing, and the pins after it.
    fn weigh(&self, listing: &Listing, on_drift: OnDrift) -> Result<Weighed, PinsError> {
        let identity = listing.server.identity.as_str();
        let tags = self.keyring.authenticator(TAGS)?;
        let found = self.read(identity)?;
        let is_new = found.is_none();
        if is_new && self.servers()?.len() >= SERVERS_MAX {
            return Ok(Weighed { pins: None, events: vec![full(listing)], drifted: Vec::new() });
        }
        let mut pins = found.unwrap_or_else(|| ServerPins { name: listing.server.name.clone(), ..ServerPins::default() });
        let mut room = TEXTS_BYTES_MAX.saturating_sub(pins.text_bytes());
        let mut events = Vec::new();
        let mut drifted = Vec::new();
        let mut hashes = Vec::new();
        for tool in &listing.tools {
            let now = self.definition(&tags, &tool.definition, &mut room);
            hashes.push(now.hash.clone());
            let told = |definition: &Definition, text: &str| (text.to_owned(), definition.hash.clone());
            let is_full = pins.tools.len() >= TOOLS_MAX;
            match pins.tools.get_mut(&tool.name) {
                None if is_full => {}
                None => {
                    if !is_new {
                        let after = Some(told(&now, &tool.definition));
                        let change = Change { tool: tool.name.clone(), kind: ChangeKind::Added, before: None, after };
                        events.push(listing.changed(&change, false));
                    }
                    pins.tools.insert(tool.name.clone(), ToolPin { pinned: now, waiting: None });
                }
                Some(pin) if pin.pinned.tag == now.tag => pin.waiting = None,
                Some(pin) => {
                    let is_known = pin.waiting.as_ref().is_some_and(|waiting| waiting.tag == now.tag);
                    if !is_known {
                        let change = Change {
                            tool: tool.name.clone(),
                            kind: ChangeKind::Changed,
                            before: Some(told(&pin.pinned, &pin.pinned.text)),
                            after: Some(told(&now, if now.text.is_empty() { &tool.definition } else { &now.text })),
                        };
                        events.push(listing.changed(&change, on_drift == OnDrift::Block));
                    }
                    drifted.push(tool.name.clone());
                    match on_drift {
                        OnDrift::Record => *pin = ToolPin { pinned: now, waiting: None },
                        OnDrift::Block => pin.waiting = Some(now),
                    }
                }
            }
        }
        if let Some(all) = &listing.all {
            let gone: Vec<String> = pins.tools.keys().filter(|tool| !all.contains(*tool)).cloned().collect();
            for tool in gone {
                let Some(pin) = pins.tools.remove(&tool) else { continue };
                let before = Some((pin.pinned.text, pin.pinned.hash));
                events.push(listing.changed(&Change { tool, kind: ChangeKind::Removed, before, after: None }, false));
            }
        }
        if is_new {
            events.push(listing.first_seen(&hashes));
        }
        Ok(Weighed { pins: Some(pins), events, drifted })
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

    fn servers(&self) -> Result<Vec<String>, PinsError> {
        Ok(match self.keyring.named(SERVERS)? {
            Some(bytes) => serde_json::from_slice(&bytes)?,
            None => Vec::new(),
        })
    }

    fn read(&self, identity: &str) -> Result<Option<ServerPins>, PinsError> {
        Ok(self.keyring.named(&self.key(identity)?)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn write(&self, identity: &str, pins: &ServerPins) -> Result<(), PinsError> {
        // The value first: a server on the list without a value is one without pins.
        self.keyring.put_named(&self.key(identity)?, &serde_json::to_vec(pins)?)?;
        let mut servers = self.servers()?;
        if !servers.iter().any(|known| known == identity) {
            servers.push(identity.to_owned());
            self.keyring.put_named(SERVERS, &serde_json::to_vec(&servers)?)?;
        }
        Ok(())
    }

    /// The keyring's name of a server's pins. The identity is a command line, which may be long.
    fn key(&self, identity: &str) -> Result<String, PinsError> {
        Ok(format!("mcp tools {}", event::hex::encode(&self.keyring.authenticator("mcp server")?.tag(identity.as_bytes()))))
    }
}

/// What a comparison comes to.
struct Weighed {
    /// The pins after it; none when there is no room for another server.
    pins: Option<ServerPins>,
    events: Vec<RawEvent>,
    drifted: Vec<String>,
}

impl ServerPins {
    fn text_bytes(&self) -> usize {
        self.tools.values().map(|pin| pin.pinned.text.len() + pin.waiting.as_ref().map_or(0, |waiting| waiting.text.len())).sum()
    }
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
            let stopped = |error: &dyn std::fmt::Display| RecordError::Stopped { reason: error.to_string() };
            let identity = listing.server.identity.clone();
            let this = Arc::clone(&pins);
            let weighed = blocking(move || this.weigh(&listing, on_drift)).await.map_err(|error| stopped(&error))?;
            // Told before it is kept: what is told twice after a crash is better than what is never told.
            if !weighed.events.is_empty() {
                PipelineRecorder(pins.pipeline.clone()).record(weighed.events).await?;
            }
            if let Some(after) = weighed.pins {
                let this = Arc::clone(&pins);
                blocking(move || match this.read(&identity)? {
                    Some(before) if before.tools == after.tools => Ok(()),
                    _ => this.write(&identity, &after),
                })
                .await
                .map_err(|error| stopped(&error))?;
            }
            Ok(Compared { drifted: weighed.drifted })
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
        .unwrap_or_else(|error| Err(PinsError::Record(RecordError::Stopped { reason: error.to_string() })))
}
