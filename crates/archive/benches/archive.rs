//! What an archive costs: bytes for each event, and the rate of sealing and reading, for conversations of agents.
//!
//! The texts are made of invented words in the frequencies of a language (Zipf), so that they neither repeat as a short
//! list of words would nor resist as noise. `raw` is the JSON of each call as it goes over the wire, with the whole conversation
//! in it; `cold` is the two objects of a segment, encrypted.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::{
    Direction, Event, EventId, Key, KeyId, Kind, Part, Piece, PieceMeta, Principal, RecordedEvent, Role, Source, SourcePath,
    SubjectId, Timestamp, Trace, TraceId, attr,
};
use journal::{ContentEntry, Record, Seq};
use ledger::{LogKey, StoredRecord};
use sanitize::Clean;
use serde_json::json;
use watchkeeper_archive::{
    Archive, Class, DirObjects, Item, KeyStoreError, Purpose, Sealing, SegmentKey, SegmentKeys, SegmentReader, Span,
    encode_segment,
};

/// Calls of one conversation.
const TURNS: u64 = 12;
/// Words of what a user, an assistant and a tool say, and of the system prompt.
const WORDS: [u64; 4] = [30, 120, 200, 300];
const RECORDS: u64 = 12_000;

#[derive(Default)]
struct Keys(Mutex<BTreeMap<KeyId, [u8; 32]>>);

impl SegmentKeys for Keys {
    fn create(&self) -> Result<(KeyId, SegmentKey), KeyStoreError> {
        let (id, secret) = (KeyId::from_bytes(random()).unwrap(), random());
        self.0.lock().unwrap().insert(id, secret);
        Ok((id, SegmentKey::new(secret)))
    }
    fn get(&self, id: KeyId) -> Result<Option<SegmentKey>, KeyStoreError> {
        Ok(self.0.lock().unwrap().get(&id).copied().map(SegmentKey::new))
    }
    fn destroy(&self, ids: &[KeyId]) -> Result<(), KeyStoreError> {
        self.0.lock().unwrap().retain(|id, _| !ids.contains(id));
        Ok(())
    }
    fn tag(&self, _: &[u8]) -> Result<[u8; 32], KeyStoreError> {
        Ok([0; 32])
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

/// Invented words, the n-th with the frequency 1/n.
struct Language {
    words: Vec<String>,
    state: u64,
}

impl Language {
    fn new() -> Self {
        let mut language = Self { words: Vec::new(), state: 1 };
        for _ in 0..8000 {
            let letters = 2 + language.next() % 9;
            let word = (0..letters).map(|_| char::from(b'a' + (language.next() % 26) as u8)).collect();
            language.words.push(word);
        }
        language
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.state >> 33
    }

    fn say(&mut self, words: u64) -> String {
        let mut text = String::new();
        for _ in 0..words {
            let uniform = self.next() as f64 / f64::from(1_u32 << 31);
            let rank = (self.words.len() as f64).powf(uniform) as usize - 1;
            text.push_str(&self.words[rank]);
            text.push(' ');
        }
        text
    }
}

/// The records, and how many bytes the calls have as JSON.
fn conversations() -> (Vec<StoredRecord>, u64) {
    let mut language = Language::new();
    let system = language.say(WORDS[3]);
    let (mut records, mut raw) = (Vec::new(), 0);
    let (mut messages, mut said): (Vec<serde_json::Value>, Vec<(Role, ContentEntry)>) = (Vec::new(), Vec::new());
    for seq in 0..RECORDS {
        let subject = SubjectId::from_bytes([(seq / TURNS % 200 + 1) as u8; 16]).unwrap();
        let mut brings = Vec::new();
        let mut hear = |role: Role, name: &str, text: String, messages: &mut Vec<_>, said: &mut Vec<_>| {
            let entry = ContentEntry::with_salt(subject, random(), Clean::recorded(&text));
            messages.push(json!({ "role": name, "content": text }));
            said.push((role, entry.clone()));
            brings.push(entry);
        };
        if seq % TURNS == 0 {
            messages.clear();
            said.clear();
            hear(Role::System, "system", system.clone(), &mut messages, &mut said);
        }
        if seq % 3 == 0 {
            hear(Role::User, "user", language.say(WORDS[0]), &mut messages, &mut said);
        } else {
            hear(Role::Tool, "tool", language.say(WORDS[2]), &mut messages, &mut said);
        }
        hear(Role::Assistant, "assistant", language.say(WORDS[1]), &mut messages, &mut said);
        let time = 1_790_000_000_000_000_000 + seq * 700_000_000 + language.next() % 500_000_000;
        let (session, user) = (format!("conversation-{}", seq / TURNS), format!("user-{}", seq / TURNS % 200));
        let trace: TraceId = TraceId::from_bytes(random()).unwrap();
        let call = json!({
            "trace_id": trace.to_string(), "time": time, "session": session, "user": user, "application": "desk",
            "provider": "openai", "model": "gpt-4o", "messages": messages, "usage": { "input_tokens": 1000 + seq % 500, "output_tokens": 120 },
        });
        raw += call.to_string().len() as u64;
        let mut event: RecordedEvent<Clean> =
            Event::new(Kind::ModelCall, Clean::recorded("chat gpt-4o"), Source::new(SourcePath::OtlpHttp, Key::of("otel-genai")));
        (event.id, event.time, event.observed) =
            (EventId::random(), Timestamp::from_unix_ns(time), Timestamp::from_unix_ns(time + 40_000_000));
        event.trace = Some(Trace { trace_id: trace, span_id: event::SpanId::from_bytes(random()), parent_span_id: None });
        event.session = Some(Clean::recorded(&session));
        event.identity.user = Some(Principal::asserted(Clean::recorded(&user)));
        event.identity.application = Some(Principal::asserted(Clean::recorded("desk")));
        event.set(attr::GEN_AI_REQUEST_MODEL, event::Value::Text(Clean::recorded("gpt-4o")));
        event.set(attr::GEN_AI_USAGE_INPUT_TOKENS, i64::try_from(1000 + seq % 500).unwrap());
        event.set(attr::GEN_AI_USAGE_OUTPUT_TOKENS, 120);
        let newest = said.len() - 1;
        event.pieces = said
            .iter()
            .enumerate()
            .map(|(index, (role, entry))| {
                let direction = if index == newest { Direction::Output } else { Direction::Input };
                let mut meta = PieceMeta::new(direction, *role, Part::Text);
                meta.message = u32::try_from(index).unwrap();
                meta.history = index + 2 < newest;
                Piece { meta, content: entry.reference(), findings: vec![] }
            })
            .collect();
        let event_json = serde_json::to_vec(&event).unwrap();
        let record = Record { seq: Seq(seq), commitment_key: random(), blind: random(), event_json, contents: brings };
        records.push(StoredRecord::whole(record));
    }
    (records, raw)
}

fn archive(c: &mut Criterion) {
    let (records, raw) = conversations();
    let span = Span { first: 0, end: RECORDS, class: "soc2".parse().unwrap() };
    let (events, contents) = encode_segment(&span, &records).unwrap();
    let cold = (events.len() + contents.len()) as u64;
    let per = |bytes: u64| bytes as f64 / RECORDS as f64;
    println!(
        "{RECORDS} calls of agents, {TURNS} in a conversation: raw {:.0} B, cold {:.0} B for each ({:.0} events, {:.0} contents): 1/{:.1}",
        per(raw),
        per(cold),
        per(events.len() as u64),
        per(contents.len() as u64),
        raw as f64 / cold as f64
    );
    let mut group = c.benchmark_group("archive");
    group.sample_size(10).measurement_time(Duration::from_secs(8)).throughput(Throughput::Elements(RECORDS));
    group.bench_function("encode", |b| b.iter(|| black_box(encode_segment(&span, &records).unwrap())));
    group.bench_function("decode", |b| {
        b.iter(|| {
            SegmentReader::open(span.clone(), events.clone().into(), contents.clone().into()).unwrap().map(Result::unwrap).count()
        });
    });
    let log_key = Arc::new(LogKey::generate("bench.example/log").unwrap());
    let class: Class = span.class.clone();
    let seal = |dir: &std::path::Path| {
        let objects = Arc::new(DirObjects::open(&dir.join("objects"), false).unwrap());
        let keys = Arc::new(Keys::default());
        let mut archive =
            Archive::open(&dir.join("archive"), Purpose::Evidence, objects, keys, log_key.clone(), &[], None).unwrap();
        let how = Sealing { contents: &|_| Ok(None), lock_until: &|_| None, keeps: &|_| None, root: None, now: Timestamp::now() };
        let classed = records.iter().map(|record| Ok::<_, Infallible>((class.clone(), record.clone())));
        archive.seal(0, RECORDS, classed, &how).unwrap();
        archive
    };
    group.bench_function("seal: encoded, encrypted, durable, read back", |b| {
        b.iter_with_large_drop(|| {
            let dir = tempfile::tempdir().unwrap();
            (seal(dir.path()), dir)
        });
    });
    let dir = tempfile::tempdir().unwrap();
    let sealed = seal(dir.path());
    group.bench_function("restore: decrypted, decoded, in order", |b| {
        b.iter(|| sealed.view().reader(0).filter(|item| matches!(item, Ok(Item::Record(_)))).count());
    });
    group.finish();
}

criterion_group!(benches, archive);
criterion_main!(benches);
