//! A conversation between one client and one server: what each message of either side becomes in the record.
//!
//! Pure: no clock but for durations, no I/O. The transports hand in the bytes of each message and get back events, and whether
//! the message may go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use event::{Event, Key, Kind, Phase, Principal, Source, SourcePath, Status, Value, attr};
use serde_json::value::RawValue;

use super::listing::{Pages, known_name};
use super::message::{Frame, Id, Message, Outcome, Params, Unreadable, asked, read};
use super::pieces::{Pieces, evidence};
use super::policy::Policy;
use super::rulings::{AMBIGUOUS, Ruling, TOO_MANY, denied, fail, guardrail, is_result_unclear, is_unclear};
use super::sides::{Reading, ServerInfo, Side, Transport, Who};
use super::waiting::{Waiting, Waitings};
use super::{describe, results};
use crate::bound::bound;
use crate::gateway::caller::traceparent;
use crate::gateway::json::{self, Object};
use crate::{Raw, RawEvent, mark_reported};

/// Most names of methods that are counted separately.
const COUNTED_METHODS_MAX: usize = 32;

/// Key of the client's name and version in `_meta` (MCP 2026-07-28).
const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
/// Key of the server's.
const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";
/// Key of the protocol's version.
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Tools whose definition is not the pinned one, of one server, whoever it speaks with.
pub(super) type Drifted = Arc<Mutex<BTreeSet<String>>>;

/// The state of a conversation.
pub(super) struct Session {
    server: Arc<ServerInfo>,
    policy: Arc<Policy>,
    who: Who,
    /// `Mcp-Session-Id`.
    transport_session: Option<String>,
    protocol: Option<String>,
    server_name: Option<(String, Option<String>)>,
    asked: Waitings,
    asked_back: Waitings,
    pages: Pages,
    /// Tools whose definition is not the pinned one, when these are blocked.
    drifted: Drifted,
    counted: BTreeMap<String, i64>,
    unrecorded: i64,
}

impl Session {
    pub(super) fn new(server: Arc<ServerInfo>, policy: Arc<Policy>, drifted: Drifted, who: Who) -> Self {
        Self {
            server,
            policy,
            who,
            transport_session: None,
            protocol: None,
            server_name: None,
            asked: Waitings::default(),
            asked_back: Waitings::default(),
            pages: Pages::default(),
            drifted,
            counted: BTreeMap::new(),
            unrecorded: 0,
        }
    }

    /// The transport's own id of the session. Without another, it is the conversation, too.
    pub(super) fn set_transport_session(&mut self, id: &str) {
        self.transport_session = Some(id.to_owned());
        if self.who.session.is_none() {
            self.who.session = Some(Raw::from(id));
        }
    }

    /// The protocol's version, as the transport tells it.
    pub(super) fn set_protocol(&mut self, version: &str) {
        self.protocol.get_or_insert_with(|| version.to_owned());
    }

    /// The protocol's version, as far as it is known.
    pub(super) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Where the next messages stand in a trace, and who sends them, as the transport tells.
    pub(super) fn set_who(&mut self, who: Who) {
        let session = who.session.or_else(|| self.who.session.take());
        let application = who.identity.application.clone().or_else(|| self.who.identity.application.take());
        self.who = Who { session, ..who };
        self.who.identity.application = application;
    }

    /// Events that were not recorded.
    pub(super) fn note_unrecorded(&mut self, events: usize) {
        self.unrecorded = self.unrecorded.saturating_add(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// Reads what one side sends.
    pub(super) fn read(&mut self, side: Side, bytes: &[u8]) -> Reading {
        let mut reading = Reading::default();
        let Frame { is_batch, messages } = read(bytes);
        if is_batch {
            self.count("batch");
        }
        for message in messages {
            match message {
                Err(unreadable) => self.unreadable(side, unreadable, bytes, &mut reading),
                Ok(Message::Request { id, method, params }) => self.request(side, id, &method, params, &mut reading),
                Ok(Message::Notification { method, params, has_null_id }) => {
                    self.notification(side, &method, params, has_null_id, &mut reading);
                }
                Ok(Message::Response { id, outcome }) => self.response(side, id, &outcome, &mut reading),
            }
        }
        if reading.refused.is_some() {
            // Nothing of the frame goes on: what it asked will not be answered by the other side.
            self.withdraw(side, &reading.waits);
        }
        self.finish(&mut reading.events);
        reading
    }

    /// What is recorded of a message that is too large to be read. `begun` is its beginning.
    pub(super) fn too_large(&mut self, side: Side, begun: &[u8]) -> Reading {
        self.not_read(side, "too_large", "the message is too large to be read", begun)
    }

    /// What is recorded of an answer whose form is none that is read: its headers say so, or it broke off.
    pub(super) fn unread(&mut self, side: Side, begun: &[u8]) -> Reading {
        self.not_read(side, "unread", "the answer is not in a form that is read", begun)
    }

    fn not_read(&mut self, side: Side, anomaly: &'static str, why: &str, begun: &[u8]) -> Reading {
        let mut event = self.event(Kind::AgentStep, side, "message");
        event.set(attr::MCP_ANOMALY, anomaly);
        fail(&mut event, anomaly);
        evidence(&mut event, side.direction(), begun);
        let mut reading = Reading { events: vec![event], ..Reading::default() };
        self.refuse_unread(why, &mut reading);
        self.finish(&mut reading.events);
        reading
    }

    /// What is recorded of a request of the transport's own: it has no message. `is_known`: MCP has such requests.
    pub(super) fn transport(&mut self, method: &'static str, is_known: bool) -> Reading {
        let mut event = self.event(Kind::AgentStep, Side::Client, &format!("http {method}"));
        event.set(attr::HTTP_REQUEST_METHOD, method);
        let mut reading = Reading::default();
        if !is_known {
            fail(&mut event, "method_not_allowed");
            reading.refused = Some("MCP has no requests of this HTTP method".to_owned());
        }
        reading.events.push(event);
        self.finish(&mut reading.events);
        reading
    }

    /// What becomes of requests when their frame could not be recorded, and so did not go on.
    pub(super) fn withdraw(&mut self, side: Side, waits: &[Id]) {
        for id in waits {
            self.waiting(side).take_newest(id);
        }
    }

    /// Requests of a message that will not be answered: why is in `error`.
    pub(super) fn failed(&mut self, bytes: &[u8], error: &str) -> Vec<RawEvent> {
        let mut events: Vec<RawEvent> =
            asked(bytes).into_iter().filter_map(|id| self.asked.take_newest(&id)).map(Waiting::outcome).collect();
        events.iter_mut().for_each(|event| fail(event, error));
        self.finish(&mut events);
        events
    }

    /// The end: requests that were never answered, and what was only counted. A conversation of one exchange has no end of its own
    /// to tell of.
    pub(super) fn end(&mut self, reason: &'static str, is_told: bool) -> Vec<RawEvent> {
        let mut events = Vec::new();
        for waitings in [std::mem::take(&mut self.asked), std::mem::take(&mut self.asked_back)] {
            for waiting in waitings.into_all() {
                let why = if waiting.is_cancelled { "cancelled" } else { "unanswered" };
                let mut event = waiting.outcome();
                fail(&mut event, why);
                events.push(event);
            }
        }
        if !is_told && self.unrecorded == 0 {
            self.finish(&mut events);
            return events;
        }
        let mut event = self.event(Kind::AgentStep, Side::Client, "session.end");
        event.set(attr::EVENT_ACTION, "end");
        event.unmapped.insert(Raw::from("reason"), Value::Text(Raw::from(reason)));
        let counted = std::mem::take(&mut self.counted);
        if !counted.is_empty() {
            let counted = counted.into_iter().map(|(method, count)| (Raw::from(method), Value::Int(count))).collect();
            event.attributes.insert(attr::MCP_COUNTED, Value::Map(counted));
        }
        events.push(event);
        self.finish(&mut events);
        events
    }

    /// An event of this conversation.
    pub(super) fn event(&self, kind: Kind, sender: Side, name: &str) -> RawEvent {
        let mut event: RawEvent = Event::new(kind, name, Source::new(SourcePath::Mcp, Key::of("mcp")));
        event.identity = self.who.identity.clone();
        event.session = self.who.session.clone();
        event.trace = self.who.trace;
        event.set(attr::MCP_PROXY_SERVER, self.server.name.as_str());
        event.set(attr::MCP_SENDER, sender.as_str());
        event.set(attr::NETWORK_TRANSPORT, if self.server.transport == Transport::Pipe { "pipe" } else { "tcp" });
        if let Some((host, port)) = &self.server.address {
            event.set(attr::SERVER_ADDRESS, host.as_str());
            event.set(attr::SERVER_PORT, i64::from(*port));
        }
        for (key, value) in [(attr::MCP_SESSION_ID, &self.transport_session), (attr::MCP_PROTOCOL_VERSION, &self.protocol)] {
            if let Some(value) = value {
                event.set(key, value.as_str());
            }
        }
        if let Some((name, version)) = &self.server_name {
            event.set(attr::MCP_SERVER_NAME, name.as_str());
            if let Some(version) = version {
                event.set(attr::MCP_SERVER_VERSION, version.as_str());
            }
        }
        event
    }

    fn request(&mut self, side: Side, id: Id, method: &str, params: Params<'_>, reading: &mut Reading) {
        self.learn_from_meta(side, params);
        reading.asks.push(id.clone());
        if method == "ping" {
            self.count("ping");
            let waiting = Waiting::new(method, self.event(Kind::AgentStep, side, method));
            if self.waiting(side).put(id.clone(), waiting) {
                reading.waits.push(id);
            } else {
                self.refuse_unread(TOO_MANY, reading);
            }
            return;
        }
        let mut template = self.event(describe::kind(side, method), side, method);
        template.set(attr::MCP_METHOD_NAME, method);
        template.set(attr::JSONRPC_REQUEST_ID, id.text());
        template.set(attr::CALL_ID, uuid::Uuid::now_v7().hyphenated().to_string().as_str());
        if let Some(meta) = params.meta()
            && let Some(trace) = meta.text("traceparent").as_deref().and_then(traceparent)
        {
            template.trace = Some(trace);
        }
        let mut event = template.clone();
        describe::request(&mut event, side, method, params);
        for key in describe::SHARED {
            if let Some(value) = event.attributes.get(key.as_str()) {
                template.attributes.insert(key.clone(), value.clone());
            }
        }
        template.name = event.name.clone();
        event.phase = Phase::Request;
        if self.waiting(side).holds(&id) {
            event.set(attr::MCP_ANOMALY, "id_reused");
        }
        if is_unclear(params) {
            event.set(attr::MCP_ANOMALY, "ambiguous");
        }
        if side == Side::Client {
            self.input_responses(params, reading);
        }
        match self.verdict(side, method, params, &event) {
            None => {}
            Some(ruling) => {
                reading.events.push(guardrail(&template, &ruling));
                if ruling.is_blocked {
                    denied(&mut event);
                    reading.refused = Some(ruling.reason);
                    reading.events.push(event);
                    return;
                }
            }
        }
        let mut waiting = Waiting::new(method, template);
        waiting.begins_list = params.text("cursor").is_none();
        if self.waiting(side).put(id.clone(), waiting) {
            reading.waits.push(id);
        } else {
            event.set(attr::MCP_ANOMALY, "not_followed");
            if self.refuse_unread(TOO_MANY, reading) {
                denied(&mut event);
            }
        }
        reading.events.push(event);
    }

    /// Where anything is refused, so is what is not read. Whether it is.
    fn refuse_unread(&self, why: &str, reading: &mut Reading) -> bool {
        let is_enforced = self.policy.is_enforced();
        if is_enforced {
            reading.refused = Some(format!("{why}, and what cannot be read cannot be allowed"));
        }
        is_enforced
    }

    /// Whether a request may go on, where something is to be said of it.
    fn verdict(&self, side: Side, method: &str, params: Params<'_>, event: &RawEvent) -> Option<Ruling> {
        let is_ambiguous =
            event.attributes.get(attr::MCP_ANOMALY.as_str()).and_then(Value::as_text).map(Raw::expose) == Some("ambiguous");
        if is_ambiguous && self.policy.is_enforced() {
            let reason = format!("{AMBIGUOUS}, and what cannot be read cannot be allowed");
            return Some(Ruling { policy: "mcp.unreadable", reason, is_blocked: true });
        }
        if side == Side::Server {
            return None;
        }
        if method != "tools/call" {
            return None;
        }
        let name = params.text("name").unwrap_or_default();
        if self.drifted.lock().unwrap_or_else(PoisonError::into_inner).contains(&known_name(&name)) {
            let reason = format!("the definition of the tool {name:?} is not a pinned one; an operator has to approve it");
            return Some(Ruling { policy: "mcp.drift", reason, is_blocked: true });
        }
        if self.policy.allows(&name) {
            return None;
        }
        let reason = format!("the policy of this MCP proxy does not allow the tool {name:?}; ask its operator");
        Some(Ruling { policy: "mcp.tools", reason, is_blocked: self.policy.blocks_tools() })
    }

    /// Something that asks for no answer. A request that has no id is one to us, and still a request to a server that is not strict:
    /// what is said of requests is said of it.
    fn notification(&mut self, side: Side, method: &str, params: Params<'_>, has_null_id: bool, reading: &mut Reading) {
        self.learn_from_meta(side, params);
        let has_text = params.text("message").is_some();
        if method == "notifications/progress" && !has_text {
            return self.count(method);
        }
        let is_request = !method.starts_with("notifications/");
        let kind = if is_request { describe::kind(side, method) } else { Kind::AgentStep };
        let mut event = self.event(kind, side, method);
        event.set(attr::MCP_METHOD_NAME, method);
        if method == "notifications/cancelled"
            && let Some(id) = params.object().and_then(|object| object.get("requestId").and_then(Id::of))
        {
            event.set(attr::JSONRPC_REQUEST_ID, id.text());
            self.waiting(side).cancel(&id);
        }
        let template = event.clone();
        describe::request(&mut event, side, method, params);
        if has_null_id || is_request {
            event.set(attr::MCP_ANOMALY, "no_id");
        }
        if has_null_id && self.refuse_unread("the id of the request is null", reading) {
            denied(&mut event);
        }
        if is_unclear(params) {
            event.set(attr::MCP_ANOMALY, "ambiguous");
        }
        if let Some(ruling) = self.verdict(side, method, params, &event) {
            reading.events.push(guardrail(&template, &ruling));
            if ruling.is_blocked {
                denied(&mut event);
                reading.refused = Some(ruling.reason);
            }
        }
        reading.events.push(event);
    }

    fn response(&mut self, side: Side, id: Option<Id>, outcome: &Outcome<'_>, reading: &mut Reading) {
        let waiting = id.as_ref().and_then(|id| self.waiting(side.other()).take(id));
        reading.answers.extend(id.clone());
        if let Outcome::Result(result) = outcome {
            self.learn_from_result(side, waiting.as_ref().map(|waiting| waiting.method.as_str()), result);
        }
        let Some(waiting) = waiting else {
            let mut event = self.event(Kind::AgentStep, side, "response");
            // An error without an id is how a server answers what it could not read; it belongs to no request.
            if id.is_some() || matches!(outcome, Outcome::Result(_)) {
                event.set(attr::MCP_ANOMALY, "unmatched_response");
                // A client that is not strict takes it for the answer to what it asked: `"1"` for 1.
                if side == Side::Server {
                    self.refuse_unread("the answer belongs to no request", reading);
                }
            }
            if let Some(id) = id {
                event.set(attr::JSONRPC_REQUEST_ID, id.text());
            }
            match outcome {
                Outcome::Result(result) => results::body(&mut event, side, result),
                Outcome::Error { code, message, data } => results::error(&mut event, side, *code, message, *data),
            }
            reading.events.push(event);
            return;
        };
        if waiting.method == "ping" {
            return;
        }
        let (method, is_cancelled, begins_list) = (waiting.method.clone(), waiting.is_cancelled, waiting.begins_list);
        let mut event = waiting.outcome();
        // The server may have told its name only now.
        if let Some((name, _)) = &self.server_name {
            event.set(attr::MCP_SERVER_NAME, name.as_str());
        }
        if is_cancelled {
            event.set(attr::MCP_ANOMALY, "answered_after_cancellation");
        }
        match outcome {
            Outcome::Error { code, message, data } => results::error(&mut event, side, *code, message, *data),
            Outcome::Result(result) => {
                event.status = Status::Ok;
                results::result(&mut event, side, &method, result);
                if is_result_unclear(&method, result) {
                    event.set(attr::MCP_ANOMALY, "ambiguous");
                    self.refuse_unread("the result can be understood in two ways", reading);
                }
                if side == Side::Server {
                    self.told_by_result(&method, begins_list, result, &event, reading);
                }
            }
        }
        reading.events.push(event);
    }

    /// What else the server's results tell: instructions, definitions of tools, questions to the client.
    fn told_by_result(&mut self, method: &str, begins_list: bool, result: &RawValue, event: &RawEvent, reading: &mut Reading) {
        let Some(members) = Object::of(result) else { return };
        if let Some(instructions) = members.text("instructions").filter(|_| matches!(method, "initialize" | "server/discover")) {
            reading.events.push(results::instructions(event, instructions));
        }
        if method == "tools/list" {
            let template = self.event(Kind::Installation, Side::Server, "mcp.tools");
            let server = self.server_name.clone();
            reading.listings.push(self.pages.listed(&self.server, server, template, begins_list, &members));
        }
        // MCP 2026-07-28: what the server asks comes in a result, and the answers come with the request's next try.
        for (key, raw) in members.object("inputRequests").iter().flat_map(Object::entries) {
            let Some(ask) = Object::of(raw) else { continue };
            let Some(method) = ask.text("method") else { continue };
            let id = Id::Text(input_id(key));
            let mut asked = Reading::default();
            self.request(Side::Server, id, &method, Params(ask.get("params")), &mut asked);
            reading.events.append(&mut asked.events);
            reading.waits.append(&mut asked.waits);
            reading.refused = reading.refused.take().or(asked.refused);
        }
    }

    /// The answers to what the server asked in a result.
    fn input_responses(&mut self, params: Params<'_>, reading: &mut Reading) {
        let Some(answers) = params.object().and_then(|object| object.object("inputResponses")) else { return };
        for (key, raw) in answers.entries() {
            let mut answered = Reading::default();
            self.response(Side::Client, Some(Id::Text(input_id(key))), &Outcome::Result(raw), &mut answered);
            reading.events.append(&mut answered.events);
            reading.refused = reading.refused.take().or(answered.refused);
        }
    }

    fn unreadable(&mut self, side: Side, why: Unreadable, bytes: &[u8], reading: &mut Reading) {
        let mut event = self.event(Kind::AgentStep, side, "message");
        event.set(attr::MCP_ANOMALY, why.anomaly());
        fail(&mut event, why.anomaly());
        evidence(&mut event, side.direction(), bytes);
        reading.events.push(event);
        self.refuse_unread(&why.to_string(), reading);
    }

    /// MCP 2026-07-28 has no `initialize`: each request says who sends it.
    fn learn_from_meta(&mut self, side: Side, params: Params<'_>) {
        if side != Side::Client {
            return;
        }
        let Some(members) = params.object() else { return };
        let meta = members.object("_meta");
        if let Some(version) = meta.as_ref().and_then(|meta| meta.text(META_VERSION)) {
            self.protocol = Some(version);
        }
        let client = meta.as_ref().and_then(|meta| meta.object(META_CLIENT)).or_else(|| members.object("clientInfo"));
        if let Some(client) = client {
            self.set_client(&client);
        }
    }

    fn learn_from_result(&mut self, side: Side, method: Option<&str>, result: &RawValue) {
        if side != Side::Server {
            return;
        }
        let Some(members) = Object::of(result) else { return };
        if method == Some("initialize") {
            self.protocol = members.text("protocolVersion").or_else(|| self.protocol.take());
        }
        let meta = members.object("_meta");
        let server = members.object("serverInfo").filter(|_| method == Some("initialize"));
        if let Some(server) = server.or_else(|| meta.as_ref().and_then(|meta| meta.object(META_SERVER)))
            && let Some(name) = server.text("name")
        {
            self.server_name = Some((name, server.text("version")));
        }
    }

    fn set_client(&mut self, client: &Object<'_>) {
        if let Some(name) = client.text("name")
            && self.who.identity.application.is_none()
        {
            let version = client.text("version").map(Raw::from);
            self.who.identity.application = Some(Principal { version, ..Principal::asserted(name) });
        }
    }

    /// The requests of a side that wait for an answer.
    fn waiting(&mut self, asker: Side) -> &mut Waitings {
        match asker {
            Side::Client => &mut self.asked,
            Side::Server => &mut self.asked_back,
        }
    }

    fn count(&mut self, what: &str) {
        if self.counted.len() < COUNTED_METHODS_MAX || self.counted.contains_key(what) {
            *self.counted.entry(what.to_owned()).or_default() += 1;
        }
    }

    /// The last touch: limits, and what was lost before.
    fn finish(&mut self, events: &mut [RawEvent]) {
        if self.unrecorded > 0
            && let Some(first) = events.first_mut()
        {
            first.set(attr::EVENTS_UNRECORDED, self.unrecorded);
            self.unrecorded = 0;
        }
        for event in events {
            bound(event);
            // A method, and the name of a client, are words of strangers.
            mark_reported(event);
        }
    }
}

/// Under which id a question in a result waits. No client can have such a one in the same map: it is for requests of servers.
fn input_id(key: &str) -> String {
    format!("input:{key}")
}

/// Adds pieces to an event.
pub(super) fn with_pieces(event: &mut RawEvent, fill: impl FnOnce(&mut Pieces)) {
    let mut pieces = Pieces::new();
    fill(&mut pieces);
    pieces.into_event(event);
}

/// Any JSON value as text.
pub(super) fn text(raw: &RawValue) -> String {
    json::text_or_json(raw)
}
