//! How fast the store indexes and answers, and how much room it takes.
//!
//! `cargo bench -p watchkeeper-store` prints one line for each figure, `-- sessions` those of a day of many sessions alone. CPU time is that of the one thread that indexes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::cast_precision_loss)]

extern crate watchkeeper_store as store;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use event::{ContentId, Direction, Event, Key, Kind, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath, SubjectId};
use event::{Timestamp, Trace, TraceId, attr};
use journal::{ContentEntry, Record, Seq};
use keys::{DataKeys, FileRootKey, Keyring, Purpose, Secret};
use sanitize::Clean;
use store::{QueryLimits, Reader, Store};

/// Events of a run; the newest figure that changes no more with twice as many.
const EVENTS: u64 = 40_000;

/// Records of a batch: what a consumer should take when that many wait. An eighth of it takes 1.4 times the time.
const BATCH: usize = 4_096;

fn main() {
    // `cargo test --benches` builds and runs this with no such argument: nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if std::env::args().any(|argument| argument == "sessions") {
        return sessions();
    }
    for (name, records) in [("distinct 2 KB events", distinct(EVENTS)), ("conversations of 20 calls", conversations(EVENTS))] {
        run(name, &records);
    }
    lists();
}

fn run(name: &str, records: &[Record]) {
    let dir = tempfile::tempdir().unwrap();
    let root = FileRootKey::new(&Secret::random().unwrap()).unwrap();
    let keyring = Keyring::open(&dir.path().join("keys"), Arc::new(root)).unwrap();
    let keys = DataKeys::new(Arc::new(keyring), Purpose::Store);
    // A thread of its own name, so that a profiler can tell it from the making of the events.
    let (wall, cpu) = std::thread::scope(|scope| {
        let index = || {
            let mut store = Store::open(dir.path(), &keys).unwrap();
            let (began, cpu) = (Instant::now(), cpu_time());
            for batch in records.chunks(BATCH) {
                store.index(batch).unwrap();
            }
            (began.elapsed(), cpu_time() - cpu)
        };
        std::thread::Builder::new().name("index".to_owned()).spawn_scoped(scope, index).unwrap().join().unwrap()
    });
    let raw: usize =
        records.iter().map(|record| record.event_json.len() + record.contents.iter().map(|c| c.text.len()).sum::<usize>()).sum();
    let whole = whole_json(records);
    let disk: u64 =
        std::fs::read_dir(dir.path().join("store")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let per = |time: Duration| records.len() as f64 / time.as_secs_f64();
    println!("{name}: {:.0} events/s of CPU, {:.0} events/s of wall, {} events", per(cpu), per(wall), records.len());
    println!(
        "{name}: disk {:.2} of the journal's bytes, {:.2} of the JSON with every text in every event ({} MB on disk)",
        disk as f64 / raw as f64,
        disk as f64 / whole as f64,
        disk / 1_000_000
    );
    let reader = Reader::open(dir.path(), &keys).unwrap();
    // One that both runs have.
    let trace = trace_id(records.len() as u64 / 40).to_string();
    for (what, sql) in [
        ("trace by id", format!("SELECT * FROM events WHERE trace_id = '{trace}'")),
        ("latest 50 prompts", "SELECT * FROM prompts ORDER BY time DESC LIMIT 50".to_owned()),
        (
            "prompts of a minute",
            "SELECT * FROM prompts WHERE time >= '2025-11-20T12:00:10' AND time < '2025-11-20T12:00:11'".to_owned(),
        ),
        ("count of a view", "SELECT count(*) FROM agent_actions".to_owned()),
        ("tokens by user and day", "SELECT * FROM token_usage_by_user_day".to_owned()),
        ("group by agent, model", "SELECT agent, model, count(*) FROM events GROUP BY 1, 2".to_owned()),
        ("text LIKE, all prompts", "SELECT count(*) FROM prompts WHERE prompt LIKE '%no such thing%'".to_owned()),
    ] {
        timed(name, what, || reader.sql(&sql, &QueryLimits::default()).unwrap().rows.len());
    }
    timed(name, "trace view", || reader.trace(&trace).unwrap().events.len());
    for text in ["needle", "common words", "eedl", "absent thing"] {
        timed(name, &format!("search {text:?}"), || reader.search(text, 50).unwrap().len());
    }
    timed(name, "counts", || reader.counts().unwrap().by_view.len());
}

/// Events and detections of the run of lists.
const LIST_EVENTS: u64 = 1_000_000;
/// See [`LIST_EVENTS`].
const LIST_DETECTIONS: u64 = 10_000;

/// Nobody has decided anything.
struct Nothing;

impl store::Marks for Nothing {
    fn of(&self, _: &str) -> store::Marked {
        store::Marked::default()
    }

    fn suppression(&self, _: &store::DetectionRecord) -> Option<Arc<str>> {
        None
    }
}

/// What the console asks, over a million events and ten thousand detections of a day.
fn lists() {
    let dir = tempfile::tempdir().unwrap();
    let root = FileRootKey::new(&Secret::random().unwrap()).unwrap();
    let keyring = Keyring::open(&dir.path().join("keys"), Arc::new(root)).unwrap();
    let keys = DataKeys::new(Arc::new(keyring), Purpose::Store);
    let mut store = Store::open(dir.path(), &keys).unwrap();
    let mut maker = Maker::new();
    let (mut indexed, began) = (0, Instant::now());
    while indexed < LIST_EVENTS {
        maker.first = indexed;
        for n in indexed..(indexed + BATCH as u64).min(LIST_EVENTS) {
            maker.push(listed(n));
        }
        indexed += maker.records.len() as u64;
        store.index(&maker.records).unwrap();
        maker.records.clear();
    }
    println!("lists: {LIST_EVENTS} events indexed in {:.0} s", began.elapsed().as_secs_f64());
    let reader = Reader::open(dir.path(), &keys).unwrap();
    let now_ns = LIST_BEGIN_NS + 86_400_000_000_000;
    let day = store::Buckets::cover(LIST_BEGIN_NS, now_ns, None, 300);
    let any = store::EventFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (what, filter) in [
        ("newest", any()),
        ("of a rare tool", store::EventFilter { tool: text("rare"), ..any() }),
        ("of a user", store::EventFilter { user: text("user-7"), ..any() }),
        (
            "of a user, failed, of a kind",
            store::EventFilter { user: text("user-7"), status: text("error"), kind: text("tool_call"), ..any() },
        ),
        ("of an application", store::EventFilter { application: text("app-3"), ..any() }),
        ("of nobody", store::EventFilter { agent: text("nobody"), ..any() }),
        ("with a score that none has", store::EventFilter { score: Some(0.99), ..any() }),
        (
            "of an hour",
            store::EventFilter { since_ns: Some(LIST_BEGIN_NS), until_ns: Some(LIST_BEGIN_NS + 3_600_000_000_000), ..any() },
        ),
    ] {
        timed("lists", &format!("events {what}"), || reader.events(&filter, 100, None).unwrap().rows.len());
    }
    let any = store::DetectionFilter::default;
    for (what, filter) in [
        ("newest", any()),
        ("critical", store::DetectionFilter { severity: text("critical"), ..any() }),
        ("with a text", store::DetectionFilter { q: text("user-77"), ..any() }),
        ("closed", store::DetectionFilter { states: vec![store::State::Closed], ..any() }),
    ] {
        timed("lists", &format!("detections {what}"), || reader.detections(&filter, &Nothing, 100, None).unwrap().rows.len());
    }
    timed("lists", "all detections", || {
        let mut count = 0;
        reader
            .each_detection(&any(), &Nothing, &mut |_| {
                count += 1;
                true
            })
            .unwrap();
        count
    });
    let sessions = store::SessionFilter::default;
    timed("lists", "sessions", || reader.sessions(&sessions(), 100, None).unwrap().rows.len());
    let worst = store::SessionFilter { severity: text("critical"), ..sessions() };
    for part in [&session_id(LIST_EVENTS / 11)[10..], &session_id(7)[5..8], "chat-", "00", "none of them"] {
        let of_part = store::SessionFilter { q: text(part), ..sessions() };
        timed("lists", &format!("sessions with {part:?} in their ids"), || {
            reader.sessions(&of_part, 100, None).unwrap().rows.len()
        });
    }
    timed("lists", "sessions with critical detections", || reader.sessions(&worst, 100, None).unwrap().rows.len());
    timed("lists", "entities", || reader.entities(now_ns).unwrap().page(None, None, 100, None).unwrap().rows.len());
    timed("lists", "an entity", || reader.entity(store::EntityKind::User, "user-7", now_ns).unwrap().risk_over_time.len());
    timed("lists", "over time", || reader.over_time(&day).unwrap().len());
    timed("lists", "models", || reader.models(&day, 100).unwrap().0.len());
    timed("lists", "tokens by user", || reader.usage(store::UsageBy::User, &day, 20).unwrap().rows.len());
    timed("lists", "live, 1,000 events", || reader.events_from(LIST_EVENTS - 1_000, LIST_EVENTS, 1_000).unwrap().0.len());
}

/// Lists of the sessions of a day on which there were many.
fn sessions() {
    const SESSIONS: u64 = 181_000;
    let dir = tempfile::tempdir().unwrap();
    let root = FileRootKey::new(&Secret::random().unwrap()).unwrap();
    let keyring = Keyring::open(&dir.path().join("keys"), Arc::new(root)).unwrap();
    let keys = DataKeys::new(Arc::new(keyring), Purpose::Store);
    let mut store = Store::open(dir.path(), &keys).unwrap();
    let mut maker = Maker::new();
    let began = Instant::now();
    for n in 0..SESSIONS {
        for is_detection in [false, true].into_iter().take(if n % 19 == 3 { 2 } else { 1 }) {
            let mut event = model_call(n, n);
            event.session = Some(session_id(n));
            event.time = Timestamp::from_unix_ns(LIST_BEGIN_NS.unsigned_abs() + n * (86_400_000_000_000 / SESSIONS));
            event.observed = event.time;
            if is_detection {
                event.kind = Kind::Detection;
                event.set(attr::DETECTION_SEVERITY, if n % 190 == 3 { "critical" } else { "low" });
            }
            maker.push(event);
        }
        if maker.records.len() >= BATCH || n + 1 == SESSIONS {
            store.index(&maker.records).unwrap();
            maker.first += maker.records.len() as u64;
            maker.records.clear();
        }
    }
    println!("{SESSIONS} sessions indexed in {:.1} s", began.elapsed().as_secs_f64());
    let reader = Reader::open(dir.path(), &keys).unwrap();
    let (text, any) = (|text: &str| Some(text.to_owned()), store::SessionFilter::default);
    let of_part = |part: &str| store::SessionFilter { q: text(part), ..any() };
    let some = session_id(SESSIONS / 2);
    for (what, filter) in [
        ("all", any()),
        ("of a part of five", of_part(&some[some.len() - 5..])),
        ("of a part of three", of_part(&some[some.len() - 3..])),
        ("of a part of two", of_part(&some[some.len() - 2..])),
        ("of a part that all have", of_part("chat-")),
        ("of a part that none has", of_part("zzzzz")),
        ("of a part of two that none has", of_part("zz")),
        ("critical", store::SessionFilter { severity: text("critical"), ..any() }),
        ("of a user", store::SessionFilter { user: text("user-7"), ..any() }),
    ] {
        let page = reader.sessions(&filter, 100, None).unwrap();
        let ended = if page.next.is_some() && page.rows.len() < 100 { ", ended early" } else { "" };
        timed("sessions", &format!("{what}{ended}"), || reader.sessions(&filter, 100, None).unwrap().rows.len());
    }
}

/// The day of [`lists`]: 2025-11-20, which its events fill.
const LIST_BEGIN_NS: i64 = 1_763_596_800_000_000_000;

/// One of a million events: calls of models and tools by 500 users of 10 applications, and among them detections.
fn listed(n: u64) -> Event<String> {
    // 181,818 of them, with ids as they are given by chance.
    let session = n * 2 / 11;
    let mut event = model_call(n, session);
    event.session = Some(session_id(session));
    event.time = Timestamp::from_unix_ns(LIST_BEGIN_NS.unsigned_abs() + n * (86_400_000_000_000 / LIST_EVENTS));
    event.observed = event.time;
    event.identity.application = Some(Principal::asserted(format!("app-{}", n / 12 % 10)));
    event.identity.agent = Some(Principal::asserted(format!("agent-{}", n / 12 % 30)));
    if n % (LIST_EVENTS / LIST_DETECTIONS) == 50 {
        event.kind = Kind::Detection;
        event.attributes.clear();
        event.set(attr::DETECTION_RULE, format!("rule-{}", n / 100 % 60).as_str());
        event.set(attr::DETECTION_TITLE, format!("Something of kind {} was seen", n / 100 % 60).as_str());
        event.set(attr::DETECTION_SEVERITY, ["low", "medium", "high", "critical"][(n / 100 % 4) as usize]);
        event.set(attr::DETECTION_CONFIDENCE, event::Value::double(0.8));
        event.set(attr::DETECTION_TECHNIQUE, "AML.T0051.000");
        event.set(attr::DETECTION_EVIDENCE, "x".repeat(2_000).as_str());
        return event;
    }
    if n % 3 == 1 {
        event.kind = Kind::ToolCall;
        event.set(attr::GEN_AI_TOOL_NAME, if n % 99_999 == 1 { "rare".to_owned() } else { format!("tool-{}", n % 40) }.as_str());
    }
    event.status = if n.is_multiple_of(50) { event::Status::Error } else { event::Status::Ok };
    event.pieces =
        vec![piece(Direction::Input, Role::User, Part::Text, format!("question {n} about the order of the day, in a few words"))];
    event
}

fn session_id(n: u64) -> String {
    format!("chat-{:010x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24)
}

fn timed(name: &str, what: &str, run: impl Fn() -> usize) {
    let first = Instant::now();
    let rows = run();
    let first = first.elapsed();
    let again = Instant::now();
    run();
    println!(
        "{name}: {what}: {:.2} ms first, {:.2} ms again, {rows} rows",
        first.as_secs_f64() * 1e3,
        again.elapsed().as_secs_f64() * 1e3
    );
}

/// User and system time of this thread. Linux only; the figures are meaningless elsewhere.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // Behind the name: state, and nine numbers (some negative) before utime and stime, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis(fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

/// The bytes that the events would have with all their texts written out.
fn whole_json(records: &[Record]) -> usize {
    records
        .iter()
        .map(|record| {
            record.event_json.len()
                + record.event().unwrap().pieces.iter().map(|piece| piece.content.bytes as usize).sum::<usize>()
        })
        .sum()
}

struct Maker {
    records: Vec<Record>,
    /// The place of the first of them.
    first: u64,
    known: HashSet<ContentId>,
    random: u64,
    words: Vec<String>,
}

impl Maker {
    fn new() -> Self {
        let mut maker =
            Self { records: Vec::new(), first: 0, known: HashSet::new(), random: 0x9e37_79b9_7f4a_7c15, words: Vec::new() };
        for _ in 0..20_000 {
            let length = 2 + maker.next() % 9;
            let word = (0..length).map(|_| char::from(b"etaoinshrdlucmfw"[(maker.next() % 16) as usize])).collect();
            maker.words.push(word);
        }
        maker
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Text whose words are about as unevenly frequent as those of a language.
    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            let (a, b) = (self.next() % 20_000, self.next() % 20_000);
            let word = &self.words[(a * b / 20_000 * a / 20_000) as usize % 20_000];
            text.push_str(word);
            text.push(' ');
        }
        text
    }

    fn push(&mut self, event: Event<String>) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let subject = SubjectId::from_bytes([1; 16]).unwrap();
        let mut contents = Vec::new();
        let recorded = event.map(
            &mut |text: String| Clean::recorded(&text),
            &mut |_, text: String| {
                let entry = ContentEntry::commit(subject, &key, Clean::recorded(&text));
                let reference = entry.reference();
                if self.known.insert(entry.id) {
                    contents.push(entry);
                }
                reference
            },
            &|text, n| text.numbered(n),
        );
        let seq = Seq(self.first + self.records.len() as u64);
        let event_json = serde_json::to_vec(&recorded).unwrap();
        self.records.push(Record { seq, commitment_key: [0; 32], blind: [0; 16], event_json, contents });
    }
}

fn trace_id(n: u64) -> TraceId {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    TraceId::from_bytes(bytes).unwrap()
}

fn model_call(n: u64, trace: u64) -> Event<String> {
    let mut event = Event::new(Kind::ModelCall, "chat gpt-x".to_owned(), Source::new(SourcePath::OtlpGrpc, Key::of("otel")));
    event.time = Timestamp::from_unix_ns(1_763_640_000_000_000_000 + n * 1_000_000);
    event.observed = event.time;
    event.duration_ns = Some(800_000_000);
    event.trace = Some(Trace { trace_id: trace_id(trace), span_id: None, parent_span_id: None });
    event.session = Some(format!("session-{trace}"));
    event.identity.user = Some(Principal::asserted(format!("user-{}", trace % 500)));
    event.identity.application = Some(Principal::asserted("shop"));
    event.identity.agent = Some(Principal::asserted("buyer"));
    event.set(attr::GEN_AI_OPERATION_NAME, "chat");
    event.set(attr::GEN_AI_PROVIDER_NAME, "openai");
    event.set(attr::GEN_AI_REQUEST_MODEL, "gpt-x");
    event.set(attr::GEN_AI_RESPONSE_MODEL, "gpt-x-2025");
    event.set(attr::GEN_AI_USAGE_INPUT_TOKENS, 400);
    event.set(attr::GEN_AI_USAGE_OUTPUT_TOKENS, 100);
    event
}

fn piece(direction: Direction, role: Role, part: Part, text: String) -> Piece<String> {
    Piece::new(PieceMeta::new(direction, role, part), text)
}

/// Every event has a prompt and an answer of its own, 1.75 KB together: the worst case for contents stored once.
fn distinct(events: u64) -> Vec<Record> {
    let mut maker = Maker::new();
    for n in 0..events {
        let mut event = model_call(n, n);
        let mut prompt = maker.text(900);
        if n % 10_000 == 77 {
            prompt.push_str("needle-in-the-hay");
        }
        let answer = maker.text(850);
        event.pieces = vec![
            piece(Direction::Input, Role::System, Part::Text, "You are a helpful shop assistant.".to_owned()),
            piece(Direction::Input, Role::User, Part::Text, prompt),
            piece(Direction::Output, Role::Assistant, Part::Text, answer),
        ];
        maker.push(event);
    }
    maker.records
}

/// Agents that call a tool in each of 20 turns and repeat the whole conversation every time.
fn conversations(events: u64) -> Vec<Record> {
    const TURNS: u64 = 20;
    let mut maker = Maker::new();
    let mut history: Vec<Piece<String>> = Vec::new();
    for n in 0..events {
        let turn = n % TURNS;
        if turn == 0 {
            let question = maker.text(300);
            history = vec![
                piece(Direction::Input, Role::System, Part::Text, "You are a helpful shop assistant.".to_owned()),
                piece(Direction::Input, Role::User, Part::Text, question),
            ];
        }
        let mut event = model_call(n, n / TURNS);
        event.pieces.clone_from(&history);
        let mut call = piece(Direction::Output, Role::Assistant, Part::ToolCall, format!(r#"{{"query":"{}"}}"#, maker.text(60)));
        call.meta.name = Some("search".to_owned());
        call.meta.call_id = Some(format!("call_{n}"));
        event.pieces.push(call.clone());
        maker.push(event);
        history.iter_mut().for_each(|piece| piece.meta.history = true);
        call.meta.direction = Direction::Input;
        call.meta.history = true;
        let mut result = piece(Direction::Input, Role::Tool, Part::ToolResult, maker.text(1_200));
        result.meta.call_id = call.meta.call_id.clone();
        history.extend([call, result]);
    }
    maker.records
}
