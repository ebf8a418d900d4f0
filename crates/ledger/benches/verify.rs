//! How fast a data directory is verified: records that a real journal wrote, with real checkpoints.
//!
//! `WATCHKEEPER_VERIFY_RECORDS` says how many (100,000 without it). Prints the time on the wall and that of all threads together: on
//! a machine that does something else, too, the second one is what the work costs.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::hmac;
use event::{
    ContentRef, Direction, Event, Key, Kind, Part, Piece, PieceMeta, Role, Source, SourcePath, SubjectId, Timestamp, attr,
};
use journal::{Append, ContentEntry, DerivedKeys, FrameKeys, Journal, Options, Record, Seq};
use sanitize::Clean;
use watchkeeper_ledger::{Leaf, Ledger, LogKey, Trust, verify, verify_public};

#[path = "../tests/common/plain.rs"]
mod plain;

/// A model call as an instrumented application reports it: 20 fields, three pieces, one new text of 400 bytes.
fn append(seq: u64) -> Append {
    let subject = SubjectId::from_bytes([1; 16]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let content = ContentEntry::commit(subject, &key, Clean::recorded(&format!("{seq} {}", "a word of a question ".repeat(19))));
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
    Append::of(&event, vec![content]).unwrap()
}

/// The time of all threads of this process, in seconds: fields 14 and 15 of `/proc/self/stat`, in hundredths.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    [11, 12].iter().map(|field| fields[*field].parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn measured<T>(what: &str, records: u64, work: impl FnOnce() -> T) -> T {
    let (wall, before) = (Instant::now(), cpu());
    let result = work();
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu() - before);
    let rate = |seconds: f64| records as f64 / seconds;
    println!(
        "{what}: {:.0} a second on the wall, {:.0} a second of one core ({wall:.2} s, {cpu:.2} s of all)",
        rate(wall),
        rate(cpu)
    );
    result
}

fn main() {
    let count: u64 = std::env::var("WATCHKEEPER_VERIFY_RECORDS").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir().unwrap();
    let keys: Arc<dyn FrameKeys> = Arc::new(DerivedKeys::new(&[7; 32]));
    let (journal, _) = Journal::open(dir.path(), Options::default(), keys.clone()).unwrap();
    let mut ledger = Ledger::open(dir.path(), LogKey::generate("bench.example/log").unwrap()).unwrap();
    let mut reader = journal.reader(Seq(0)).unwrap();
    let mut sample: Vec<Record> = Vec::new();
    while ledger.size() < count {
        let batch = (ledger.size()..count.min(ledger.size() + 10_000)).map(append).collect();
        journal.append(batch).unwrap().wait().unwrap();
        while let Some(record) = reader.next().unwrap() {
            ledger.append(&record).unwrap();
            if sample.len() < 20_000 {
                sample.push(record);
            }
        }
        ledger.seal(Timestamp::now()).unwrap();
    }
    drop(reader);
    journal.close().unwrap();
    let records = sample.len() as u64;
    for _ in 0..2 {
        let plain = measured("leaves in the plain way, without any check, one thread", records, || {
            sample.iter().map(|record| plain::leaf(record, [9; 16])).collect::<Vec<_>>()
        });
        let fast = measured("leaves, one thread", records, || {
            sample.iter().map(|record| Leaf::of(record, [9; 16]).unwrap().encode().to_vec()).collect::<Vec<_>>()
        });
        assert!(plain == fast);
        let report = measured("verify", count, || verify(dir.path(), &*keys).unwrap());
        assert!(report.fault.is_none() && report.records == count);
        let report = measured("verify without keys: tree, checkpoints, checksums", count, || {
            verify_public(dir.path(), &Trust::default()).unwrap()
        });
        assert!(report.fault.is_none() && report.records == count);
    }
}
