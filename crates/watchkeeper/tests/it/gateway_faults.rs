//! The gateway under faults, through the real binary: upstreams that break off, fall silent or send what is no answer, clients that leave,
//! a record that takes nothing more. No call that was acknowledged is missing or said to be what it was not, no connection is left over,
//! and the neighbour is served after each.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults::CONFIG;
use crate::support::{SOON, Server, rows};
use crate::wire::{Answered, Asked, Call, Next, StandIn, chat, completion, delta, last_events, request};

/// Calls that meet each fault at once, on each way.
const CALLS: u64 = 4;

/// Events of one answer to a query.
const PAGE: usize = 5_000;

/// How long an upstream may be silent in these tests, in seconds: long enough for a busy machine to answer in time.
pub(crate) const UPSTREAM_IDLE_SECONDS: u64 = 5;

/// How long judging may take in these tests, in milliseconds: the most that can be set, for a busy machine.
const BUDGET_MS: u64 = 10_000;

/// What a stream says before it meets its fault: a secret across three of its pieces, and more after it than the window holds.
const PIECES: [&str; 7] = [
    "The harbour office is ",
    "at ann.le",
    "e@exam",
    "ple.com and knows ",
    "which pilot is free, when the tide lets a ship in, and where it may lie for two nights with a cargo of grain, ",
    "and it answers in one sentence that names the pier and the hour, for whoever asks in time, ",
    "and so on.",
];

/// The secret of [`PIECES`].
pub(crate) const SECRET: &str = "ann.lee@example.com";

/// What a call meets, what its client sees of it, and what the record must say.
#[derive(Debug)]
pub(crate) struct Meeting {
    /// What the stand-in does (`x-meets`).
    pub(crate) name: &'static str,
    pub(crate) path: Path,
    pub(crate) client: Client,
    /// The status that the client sees; 0 for a client that sees none.
    pub(crate) status: u16,
    /// Whether the answer comes to an end of its own.
    pub(crate) is_whole: bool,
    /// Something that is in the answer.
    pub(crate) says: &'static str,
    /// `error.type` of the outcome.
    pub(crate) error: Option<&'static str>,
    /// `watchkeeper.stream.end` of the outcome.
    pub(crate) end: Option<&'static str>,
}

/// Which way a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// A chat completion in one piece.
    Whole,
    /// A chat completion as a stream.
    Stream,
    /// A path that passes unread.
    Unread,
    /// A provider whose address nobody listens at.
    Nowhere,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Stays,
    /// Leaves within the head of its request.
    LeavesInHead,
    /// Leaves within the body of its request.
    LeavesInBody,
    /// Leaves when the upstream has its call, before there is an answer.
    LeavesWaiting,
    /// Leaves when the first text of a stream has come.
    LeavesInStream,
    /// Reads nothing of a long stream, then leaves.
    NeverReads,
}

const STAYS: Meeting = Meeting {
    name: "ok",
    path: Path::Whole,
    client: Client::Stays,
    status: 200,
    is_whole: true,
    says: "",
    error: None,
    end: None,
};

const LEAVES: Meeting =
    Meeting { status: 0, is_whole: false, error: Some("client_disconnect"), end: Some("client_disconnect"), ..STAYS };

const STREAMS: Meeting = Meeting { path: Path::Stream, says: "The harbour office", ..STAYS };

const BREAKS: Meeting =
    Meeting { name: "drop", is_whole: false, error: Some("upstream_error"), end: Some("upstream_error"), ..STREAMS };

/// Everything that a call can meet here. The first ones are as calls should be.
pub(crate) const MEETINGS: [Meeting; 28] = [
    Meeting { says: "You said: ", ..STAYS },
    Meeting { says: "[DONE]", end: Some("complete"), ..STREAMS },
    Meeting { path: Path::Unread, says: "stand-in", ..STAYS },
    // In one piece.
    Meeting { name: "error", status: 500, says: "overworked", error: Some("server_error"), ..STAYS },
    Meeting { name: "close", status: 502, says: "upstream_error", error: Some("upstream_error"), ..STAYS },
    Meeting { name: "reset", status: 502, says: "upstream_error", error: Some("upstream_error"), ..STAYS },
    Meeting { name: "no-http", status: 502, says: "upstream_error", error: Some("upstream_error"), ..STAYS },
    Meeting { name: "endless-head", status: 502, says: "upstream_error", error: Some("upstream_error"), ..STAYS },
    Meeting { name: "drop", status: 502, says: "upstream_error", error: Some("upstream_error"), ..STAYS },
    Meeting { name: "chunks", status: 502, says: "upstream_error", error: Some("upstream_error"), ..STAYS },
    Meeting { name: "json", says: "\"mess", error: Some("response_malformed"), ..STAYS },
    Meeting { name: "stall", status: 504, says: "upstream_timeout", error: Some("upstream_timeout"), ..STAYS },
    Meeting { name: "stall-within", status: 504, says: "upstream_timeout", error: Some("upstream_timeout"), ..STAYS },
    Meeting { path: Path::Nowhere, status: 502, says: "upstream_unreachable", error: Some("upstream_unreachable"), ..STAYS },
    Meeting {
        name: "drop",
        path: Path::Unread,
        is_whole: false,
        error: Some("upstream_error"),
        end: Some("upstream_error"),
        ..STAYS
    },
    // As a stream.
    BREAKS,
    Meeting { name: "chunks", ..BREAKS },
    Meeting { name: "eof", is_whole: true, error: Some("stream_truncated"), ..BREAKS },
    Meeting { name: "stall-within", is_whole: true, says: "upstream_timeout", error: Some("upstream_timeout"), ..BREAKS },
    Meeting { name: "json", is_whole: true, says: "[DONE]", error: Some("stream_malformed"), end: Some("malformed"), ..BREAKS },
    Meeting { name: "noise", is_whole: true, says: "", error: Some("stream_truncated"), ..BREAKS },
    Meeting { name: "error", is_whole: true, says: "overworked", error: Some("server_error"), ..BREAKS },
    // Clients.
    Meeting { client: Client::LeavesInHead, status: 0, is_whole: false, ..STAYS },
    Meeting { client: Client::LeavesInBody, status: 0, is_whole: false, error: Some("request_truncated"), ..STAYS },
    Meeting { name: "stall", client: Client::LeavesWaiting, ..LEAVES },
    Meeting { name: "stall", path: Path::Stream, client: Client::LeavesWaiting, ..LEAVES },
    Meeting { name: "long", path: Path::Stream, client: Client::LeavesInStream, ..LEAVES },
    Meeting { name: "long", path: Path::Stream, client: Client::NeverReads, ..LEAVES },
];

/// A server, and an upstream in which calls meet what they ask for.
pub(crate) struct Stage {
    pub(crate) stand_in: StandIn,
    /// Numbers of the calls that have come to the stand-in.
    arrived: Arc<Mutex<HashSet<u64>>>,
    next: AtomicU64,
}

/// One call: what it met, and what its client saw.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) meeting: &'static Meeting,
    pub(crate) session: String,
    pub(crate) answered: Option<Answered>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let arrived: Arc<Mutex<HashSet<u64>>> = Arc::default();
        let seen = arrived.clone();
        let stand_in = StandIn::start(move |asked| {
            if let Some(number) = asked.header("x-number").and_then(|number| number.parse().ok()) {
                seen.lock().unwrap().insert(number);
            }
            act(asked)
        });
        Self { stand_in, arrived, next: AtomicU64::new(0) }
    }

    /// The configuration of a server before this stand-in. Calls for the model `masked` have their answers masked, those for `redacted`
    /// their requests; the upstream may be silent for so long.
    pub(crate) fn config(&self, idle_seconds: u64) -> String {
        // A port that was free a moment ago.
        let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        format!(
            "[upstream]\nopenai = \"{}\"\nanthropic = \"http://{nowhere}\"\nidle_seconds = {idle_seconds}\n\
             [[gateway.policy]]\nid = \"masked\"\nmodels = [\"masked\"]\nanswers = \"redact\"\nbudget_ms = {BUDGET_MS}\n\
             [[gateway.policy]]\nid = \"redacted\"\nmodels = [\"redacted\"]\nsensitive = \"redact\"\nbudget_ms = {BUDGET_MS}\n{CONFIG}",
            self.stand_in.base
        )
    }

    /// Makes a call that meets something, and sees it through.
    pub(crate) fn call(&self, gateway: &str, meeting: &'static Meeting, model: &str) -> Met {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let session = format!("call-{number}");
        let (number_text, is_stream) = (number.to_string(), meeting.path == Path::Stream);
        let headers = [
            ("x-watchkeeper-session", session.as_str()),
            ("x-meets", meeting.name),
            ("x-number", &number_text),
            ("content-type", "application/json"),
        ];
        let body = match meeting.path {
            Path::Unread => String::new(),
            Path::Whole | Path::Stream | Path::Nowhere => {
                chat(model, &format!("Question {number} to the office at {SECRET}"), is_stream)
            }
        };
        let (method, path) = match meeting.path {
            Path::Unread => ("GET", "/v1/models"),
            Path::Nowhere => ("POST", "/anthropic/v1/messages"),
            Path::Whole | Path::Stream => ("POST", "/v1/chat/completions"),
        };
        let head = request(method, path, &headers, body.len());
        let answered =
            self.see_through(gateway, meeting, number, &head, &body).unwrap_or_else(|error| panic!("{meeting:?}: {error}"));
        Met { meeting, session, answered }
    }

    fn see_through(&self, gateway: &str, meeting: &Meeting, number: u64, head: &str, body: &str) -> io::Result<Option<Answered>> {
        let mut call = Call::connect(gateway)?;
        match meeting.client {
            Client::LeavesInHead => return call.say(&head[..head.len() / 2]).map(|()| None),
            Client::LeavesInBody => return call.say(&format!("{head}{}", &body[..body.len() / 2])).map(|()| None),
            _ => call.say(&format!("{head}{body}"))?,
        }
        match meeting.client {
            Client::LeavesWaiting => self.arrival(number),
            Client::LeavesInStream => {
                call.until("The harbour office");
            }
            Client::NeverReads => {
                self.arrival(number);
                // Long enough for the buffers of both connections to be full: the stand-in writes as fast as it can.
                std::thread::sleep(Duration::from_millis(200));
            }
            Client::Stays | Client::LeavesInHead | Client::LeavesInBody => return Ok(Some(call.finish())),
        }
        Ok(None)
    }

    /// Waits until a call has come to the stand-in.
    fn arrival(&self, number: u64) {
        let until = Instant::now() + SOON;
        while !self.arrived.lock().unwrap().contains(&number) {
            assert!(Instant::now() < until, "call {number} does not come to the upstream");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until nothing is under way, and no socket is open but `base` and those that wait for the next call.
    fn quiet(&self, server: &Server, base: usize, after: &str) {
        let until = Instant::now() + SOON;
        loop {
            let (sockets, _) = server.open_files();
            let (answering, idle) = (self.stand_in.answering(), self.stand_in.connections());
            if answering == 0 && sockets <= base + idle {
                return;
            }
            assert!(
                Instant::now() < until,
                "{after}: {sockets} sockets are open, {base} were before, {idle} wait upstream, {answering} calls are under way there"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What the stand-in does with a request.
fn act(asked: &mut Asked) -> io::Result<Next> {
    let meets = asked.header("x-meets").unwrap_or_default().to_owned();
    if meets == "reset" {
        return Ok(Next::Close);
    }
    let body = asked.body()?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body["stream"] == true { stream(asked, &meets) } else { whole(asked, &meets, &body) }
}

fn whole(asked: &mut Asked, meets: &str, body: &Value) -> io::Result<Next> {
    match meets {
        "ok" if body.is_null() => asked.answer("200 OK", r#"{"object":"list","data":[{"id":"stand-in"}]}"#)?,
        "ok" => {
            let said = body["messages"][0]["content"].as_str().unwrap_or_default();
            asked.answer("200 OK", &completion(&format!("You said: {said}")))?;
        }
        "error" => asked.answer("500 Internal Server Error", ERROR)?,
        "close" => return Ok(Next::Close),
        "no-http" => asked.say("\u{16}\u{3}\u{1} this is no answer of HTTP\r\n\r\n")?,
        "endless-head" => {
            asked.say("HTTP/1.1 200 OK\r\n")?;
            // Until the other side has had enough.
            for number in 0_u64.. {
                asked.say(format!("x-{number}: {}\r\n", "a".repeat(1_000)))?;
            }
        }
        "drop" => asked.say(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{}",
            completion("Half")
        ))?,
        "chunks" => asked.say(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"cho\r\nzz\r\n",
        )?,
        "json" => asked.answer("200 OK", r#"{"id":"x","choices":[{"index":0,"mess"#)?,
        "stall" => asked.wait_for_the_end()?,
        "stall-within" => {
            asked.say("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{\"choices\":[")?;
            asked.wait_for_the_end()?;
        }
        _ => return Err(io::Error::other(format!("nobody knows {meets:?}"))),
    }
    Ok(if matches!(meets, "ok" | "error" | "json") { Next::Request } else { Next::Close })
}

fn stream(asked: &mut Asked, meets: &str) -> io::Result<Next> {
    if meets == "stall" {
        asked.wait_for_the_end()?;
        return Ok(Next::Close);
    }
    if meets == "eof" {
        // Without chunks the end of the connection is the end of the answer.
        asked.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
        asked.say(PIECES.map(delta).concat())?;
        return Ok(Next::Close);
    }
    asked.begin_stream()?;
    if meets == "noise" {
        asked.chunk("\u{0}\u{1}\u{2} no line of this is: an event\nnor: this\n\n\n")?;
        return asked.end_stream().map(|()| Next::Request);
    }
    for piece in PIECES {
        asked.chunk(&delta(piece))?;
    }
    match meets {
        "ok" => {}
        "drop" => return Ok(Next::Close),
        "chunks" => return asked.say("zz\r\n").map(|()| Next::Close),
        "stall-within" => return asked.wait_for_the_end().map(|()| Next::Close),
        "json" => asked.chunk("data: {\"choices\":[{\"del\n\n")?,
        "error" => asked.chunk(&format!("data: {ERROR}\n\n"))?,
        // Until the other side has gone.
        "long" => loop {
            asked.chunk(&delta(&format!("{} ", "and so on ".repeat(100))))?;
        },
        _ => return Err(io::Error::other(format!("nobody knows {meets:?}"))),
    }
    if meets == "error" {
        return asked.end_stream().map(|()| Next::Request);
    }
    asked.chunk(&last_events())?;
    asked.end_stream().map(|()| Next::Request)
}

/// An error as OpenAI writes it.
const ERROR: &str = r#"{"error":{"message":"the model is overworked","type":"server_error","param":null,"code":null}}"#;

impl Met {
    /// That the client saw what it must see. `is_masked`: the secret that the answer repeats must be gone from it.
    pub(crate) fn check_seen(&self, is_masked: bool) -> Result<(), String> {
        let (meeting, Some(answered)) = (self.meeting, &self.answered) else { return Ok(()) };
        let text = answered.text();
        let is_as_expected =
            answered.status == meeting.status && answered.is_whole == meeting.is_whole && text.contains(meeting.says);
        if !is_as_expected {
            return Err(format!("{meeting:?} was seen as {} {}: {text}", answered.head, answered.is_whole));
        }
        let said = answered.said();
        if is_masked && (said.contains(SECRET) || said.contains("ann.le") || text.contains(SECRET)) {
            return Err(format!("{meeting:?} let the secret through: {text}"));
        }
        if !is_masked && meeting.path == Path::Stream && meeting.name != "noise" && !said.starts_with(&PIECES.concat()) {
            return Err(format!("{meeting:?} lost text: {text}"));
        }
        if answered.header("x-watchkeeper-record") != Some("durable") {
            return Err(format!("{meeting:?} came without a receipt: {}", answered.head));
        }
        Ok(())
    }
}

/// The models that a call which meets this may ask for: what is no JSON in one piece cannot be masked, and is refused for that.
pub(crate) fn models(meeting: &Meeting) -> &'static [&'static str] {
    match (meeting.path, meeting.name) {
        (Path::Unread, _) => &["none"],
        (Path::Whole, "json") => &["plain", "redacted"],
        _ => &["plain", "masked", "redacted"],
    }
}

/// Whether the secret must be gone from an answer to a call for this model.
pub(crate) fn hides_secret(meeting: &Meeting, model: &str) -> bool {
    // The answer in one piece repeats the request.
    model == "masked" || (model == "redacted" && meeting.path == Path::Whole)
}

/// What the record says of a call: its requests, and `error.type` and `watchkeeper.stream.end` of its outcomes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) requests: usize,
    pub(crate) outcomes: Vec<(Option<String>, Option<String>)>,
}

/// What the record says of every call, by session.
pub(crate) fn recorded(server: &Server) -> HashMap<String, Recorded> {
    let mut found: HashMap<String, Recorded> = HashMap::new();
    let mut last = -1;
    loop {
        let sql = format!(
            "SELECT seq, session_id, phase, attributes ->> '$.\"error.type\"' AS error, \
             attributes ->> '$.\"watchkeeper.stream.end\"' AS stream_end FROM events WHERE seq > {last} \
             AND session_id LIKE 'call-%' AND kind IN ('model_call', 'external_call') ORDER BY seq LIMIT {PAGE}"
        );
        let page = rows(&sql, &server.data);
        for row in &page {
            last = row["seq"].as_i64().unwrap();
            let text = |column: &str| row[column].as_str().map(ToOwned::to_owned);
            let of_call = found.entry(text("session_id").unwrap()).or_default();
            if row["phase"] == "request" {
                of_call.requests += 1;
            } else {
                of_call.outcomes.push((text("error"), text("stream_end")));
            }
        }
        if page.len() < PAGE {
            return found;
        }
    }
}

/// That the record has a call once, with the outcome that it had.
pub(crate) fn check_recorded(met: &Met, recorded: &HashMap<String, Recorded>) -> Result<(), String> {
    let meeting = met.meeting;
    let found = recorded.get(&met.session).cloned().unwrap_or_default();
    let own = |text: Option<&str>| text.map(ToOwned::to_owned);
    let expected = match meeting.client {
        Client::LeavesInHead => Recorded::default(),
        // Never went on: one event tells all of it.
        Client::LeavesInBody => Recorded { requests: 0, outcomes: vec![(own(meeting.error), own(meeting.end))] },
        _ => Recorded { requests: 1, outcomes: vec![(own(meeting.error), own(meeting.end))] },
    };
    if found == expected { Ok(()) } else { Err(format!("{} met {meeting:?}: the record has {found:?}", met.session)) }
}

#[test]
fn no_fault_loses_a_call_or_leaves_a_connection_behind() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new();
    let server = Server::start_with(&dir.path().join("data"), &stage.config(UPSTREAM_IDLE_SECONDS));
    // Before the first call: a connection that is on its way to being closed would count as one that may stay.
    let (base, _) = server.open_files();
    let neighbour = |after: &str| {
        let met = stage.call(&server.gateway, &MEETINGS[0], "neighbour");
        met.check_seen(false).unwrap_or_else(|why| panic!("the neighbour after {after}: {why}"));
        met
    };
    let mut all = vec![neighbour("nothing")];
    for meeting in &MEETINGS {
        let met: Vec<(Met, &str)> = std::thread::scope(|scope| {
            let (stage, gateway) = (&stage, server.gateway.as_str());
            let calls = models(meeting).iter().flat_map(|&model| (0..CALLS).map(move |_| model));
            let calls: Vec<_> = calls.map(|model| scope.spawn(move || (stage.call(gateway, meeting, model), model))).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        for (met, model) in met {
            met.check_seen(hides_secret(met.meeting, model)).unwrap_or_else(|why| panic!("{model}: {why}"));
            all.push(met);
        }
        all.push(neighbour(&format!("{meeting:?}")));
        stage.quiet(&server, base, &format!("after {meeting:?}"));
    }
    drop(stage);
    let until = Instant::now() + SOON;
    while server.open_files().0 > base {
        assert!(Instant::now() < until, "{:?} sockets and files are open, {base} sockets were before", server.open_files());
        std::thread::sleep(Duration::from_millis(10));
    }
    server.settle();
    let record = recorded(&server);
    let wrong: Vec<_> = all.iter().filter_map(|met| check_recorded(met, &record).err()).collect();
    assert!(wrong.is_empty(), "{} of {} calls are not recorded as what they were:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    println!(
        "{} kinds of faults, {} calls, each recorded once as what it was; {base} sockets before and after",
        MEETINGS.len(),
        all.len()
    );
    server.stop();
}
