//! How fast leaves are integrated into the tree, and how fast they are computed from records.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use aws_lc_rs::hmac;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use event::{
    ContentRef, Direction, Event, Key, Kind, Part, Piece, PieceMeta, Role, Source, SourcePath, SubjectId, Timestamp, attr,
};
use journal::{ContentEntry, Record, Seq};
use sanitize::Clean;
use watchkeeper_ledger::{Algorithm, Checkpoint, CompactRange, LEAF_BYTES, Leaf, Ledger, LogKey, SigningKey, leaf_hash};

#[path = "../tests/common/plain.rs"]
mod plain;

const LEAVES: u64 = 100_000;
const RECORDS: u64 = 1_000;

/// A model call as an instrumented application reports it: 20 fields and 2 KB of text.
fn record(seq: u64) -> Record {
    let subject = SubjectId::from_bytes([1; 16]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let text = format!("{seq} {}", "a word of a question ".repeat(96));
    let content = ContentEntry::commit(subject, &key, Clean::recorded(&text));
    let mut event: Event<Clean, ContentRef> =
        Event::new(Kind::ModelCall, Clean::literal("chat gpt-4o"), Source::new(SourcePath::OtlpGrpc, Key::of("otel")));
    event.session = Some(Clean::literal("7d0f3c7e"));
    event.set(attr::GEN_AI_REQUEST_MODEL, event::Value::Text(Clean::literal("gpt-4o")));
    event.set(attr::GEN_AI_PROVIDER_NAME, event::Value::Text(Clean::literal("openai")));
    event.set(attr::GEN_AI_OPERATION_NAME, event::Value::Text(Clean::literal("chat")));
    event.set(attr::GEN_AI_USAGE_INPUT_TOKENS, 412);
    event.set(attr::GEN_AI_USAGE_OUTPUT_TOKENS, 98);
    event.set(attr::SERVER_ADDRESS, event::Value::Text(Clean::literal("api.openai.com")));
    for role in [Role::System, Role::User, Role::Assistant] {
        event.pieces.push(Piece::new(PieceMeta::new(Direction::Input, role, Part::Text), content.reference()));
    }
    Record {
        seq: Seq(seq),
        commitment_key: [3; 32],
        blind: [4; 16],
        event_json: serde_json::to_vec(&event).unwrap(),
        contents: vec![content],
    }
}

fn ledger(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(20);

    group.throughput(Throughput::Elements(LEAVES));
    group.bench_function("integrate a leaf of 102 bytes into the tree", |bencher| {
        let mut leaf = [0; LEAF_BYTES];
        bencher.iter(|| {
            let mut tree = CompactRange::default();
            for seq in 0..LEAVES {
                leaf[24..32].copy_from_slice(&seq.to_be_bytes());
                tree.push(leaf_hash(&leaf), |_, root| {
                    black_box(root);
                });
            }
            tree.root()
        });
    });

    let records: Vec<Record> = (0..RECORDS).map(record).collect();
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("compute the leaf of a record", |bencher| {
        bencher.iter(|| records.iter().map(|record| Leaf::of(record, [9; 16]).unwrap().field_root[0]).fold(0, u8::wrapping_add));
    });
    group.bench_function("the same in the plain way, without any check", |bencher| {
        bencher.iter(|| records.iter().map(|record| plain::leaf(record, [9; 16])[80]).fold(0, u8::wrapping_add));
    });
    // What each of the two signatures of a seal costs: at one seal a second, its share of a core.
    let text = Checkpoint { origin: "example.com/log".to_owned(), size: 1_000_000, root: [7; 32] }.text();
    group.throughput(Throughput::Elements(1));
    for (name, algorithm) in [("Ed25519", Algorithm::Ed25519), ("ML-DSA-44", Algorithm::MlDsa44)] {
        let key = SigningKey::generate(algorithm, "example.com/log").unwrap();
        group.bench_function(format!("sign a checkpoint with {name}"), |bencher| bencher.iter(|| key.sign(&text, 0).unwrap()));
    }
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("append and seal 1000 records on disk", |bencher| {
        bencher.iter_batched(
            || {
                let dir = tempfile::tempdir().unwrap();
                let ledger = Ledger::open(dir.path(), LogKey::generate("bench").unwrap()).unwrap();
                (dir, ledger)
            },
            |(dir, mut ledger)| {
                for record in &records {
                    ledger.append(record).unwrap();
                }
                ledger.seal(Timestamp::from_unix_ns(1)).unwrap();
                (dir, ledger)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
