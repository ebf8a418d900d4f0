//! What behaviour costs: an event of a known user, and one of somebody who was never seen; and what a million of them take.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark may fail; criterion's macros make public items"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::{
    ContentId, ContentRef, Direction, Event, Key, Kind, Part, Piece, PieceMeta, Principal, RecordedEvent, Role, Source,
    SourcePath, SubjectId, Timestamp, Value, attr,
};
use sanitize::Clean;
use watchkeeper_detect::behaviour::Behaviour;

/// Events of one measured run.
const EVENTS: u64 = 10_000;
/// Events a simulated second.
const PER_SECOND: u64 = 5;

/// A call of a model: `users` take turns, through one of ten applications.
fn call(index: u64, users: u64) -> (RecordedEvent<Clean>, Clean) {
    let mut event: RecordedEvent<Clean> =
        Event::new(Kind::ModelCall, Clean::literal("chat"), Source::new(SourcePath::Api, Key::of("bench")));
    event.time = Timestamp::from_unix_ns((1_700_000_000 + index / PER_SECOND) * 1_000_000_000);
    event.observed = event.time;
    let user = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let name = |kind: &str, number: u64| Principal::asserted(Clean::recorded(&format!("{kind}-{number}")));
    event.identity.user = Some(name("user", user % users));
    event.identity.application = Some(name("application", user % 10));
    event.identity.credential = Some(name("key", user % 50));
    event.identity.agent = Some(name("agent", user % 20));
    event.set(attr::GEN_AI_REQUEST_MODEL, Value::Text(Clean::literal("model-1")));
    event.set(attr::GEN_AI_USAGE_INPUT_TOKENS, 900);
    event.set(attr::GEN_AI_USAGE_OUTPUT_TOKENS, 300);
    event.set(attr::GEO_COUNTRY_ISO_CODE, Value::Text(Clean::literal("DE")));
    event.duration_ns = Some(900_000_000);
    let content =
        ContentRef { id: ContentId::from_bytes([1; 32]).unwrap(), subject: SubjectId::from_bytes([1; 16]).unwrap(), bytes: 0 };
    event.pieces.push(Piece { meta: PieceMeta::new(Direction::Input, Role::User, Part::Text), content, findings: Vec::new() });
    let text = format!(
        "Question {index}: could you please sum up report {} for the board, in three short points, with its figures?",
        index % 977
    );
    (event, Clean::recorded(&text))
}

fn run(behaviour: &mut Behaviour, events: &[(RecordedEvent<Clean>, Clean)]) {
    for (event, text) in events {
        behaviour.observe(event, &mut |_| Some(text.clone()));
    }
}

fn behaviour(c: &mut Criterion) {
    let mut group = c.benchmark_group("behaviour");
    group.throughput(Throughput::Elements(EVENTS));
    group.sample_size(10);
    for (name, users) in [("1,000 users", 1_000), ("a stranger each time", u64::MAX)] {
        let events: Vec<_> = (0..EVENTS).map(|index| call(index, users)).collect();
        let mut warm = Behaviour::new();
        run(&mut warm, &events);
        let bytes = warm.to_bytes().unwrap();
        group.bench_function(name, |b| {
            b.iter_batched(
                || Behaviour::from_bytes(&bytes).unwrap(),
                |mut behaviour| {
                    run(&mut behaviour, &events);
                    behaviour
                },
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    million();
}

/// What a million principals take, printed once.
fn million() {
    let before = resident();
    let mut behaviour = Behaviour::new();
    let started = std::time::Instant::now();
    for index in 0..1_000_000 {
        let (event, text) = call(index, u64::MAX);
        behaviour.observe(&event, &mut |_| Some(text.clone()));
    }
    let took = started.elapsed();
    let stored = std::time::Instant::now();
    let bytes = behaviour.to_bytes().unwrap().len();
    println!(
        "a million principals: {} entities kept, {} MiB resident, {} MiB stored in {:?}, {:.1} microseconds an event with its making",
        behaviour.entities(),
        (resident() - before) / 1024,
        bytes / 1024 / 1024,
        stored.elapsed(),
        took.as_secs_f64()
    );
}

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

criterion_group!(benches, behaviour);
criterion_main!(benches);
