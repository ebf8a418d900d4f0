//! How much of the disk's own rate the journal reaches: batches of 64 events of 2 KB from several threads, beside bare
//! appends to a preallocated file, in one run. `DIR=/somewhere cargo bench -p watchkeeper-journal` uses another disk.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use event::{Event, EventId, Key, Kind, Source, SourcePath, SubjectId};
use sanitize::Clean;
use watchkeeper_journal::{Append, ContentEntry, DerivedKeys, FrameKeys, Journal, Options, Seq};

const BATCH: u64 = 64;
const EVENT_BYTES: usize = 2_048;
const RAW_BYTES: usize = 64 * 1024;
/// What one batch comes to: the same number of bytes for each sync as the journal has with one thread.
const RAW_BATCH_BYTES: usize = BATCH as usize * EVENT_BYTES;
const ROUND_BATCHES: u64 = 200;

fn directory() -> tempfile::TempDir {
    let base = std::env::var_os("DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(base).unwrap()
}

fn keys() -> Arc<dyn FrameKeys> {
    Arc::new(DerivedKeys::new(&[7; 32]))
}

fn batch(thread: u64, n: u64, text: &ContentEntry) -> Vec<Append> {
    (0..BATCH)
        .map(|part| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&(thread << 56 | n << 8 | part).to_be_bytes());
            let id = EventId::derived(event::Timestamp::from_unix_ns(1_700_000_000_000_000_000), &digest);
            let name = |bytes| Clean::recorded(&"x".repeat(bytes));
            let mut event = Event::new(Kind::ModelCall, name(0), Source::new(SourcePath::Api, Key::of("watchkeeper")));
            event.id = id;
            let bare = Append::of(&event, Vec::new()).unwrap().event_json().len();
            event.name = name(EVENT_BYTES - bare);
            Append::of(&event, vec![text.clone()]).unwrap()
        })
        .collect()
}

/// Appends to a file whose bytes are all there: written as zeros, or (`written` false) only taken.
fn raw(file: &File, at: &mut u64, bytes: &[u8], file_bytes: u64) {
    if *at + bytes.len() as u64 > file_bytes {
        *at = 0;
    }
    file.write_all_at(bytes, *at).unwrap();
    file.sync_data().unwrap();
    *at += bytes.len() as u64;
}

fn zeroed(dir: &std::path::Path, bytes: u64) -> File {
    let file = File::options().create(true).truncate(true).write(true).read(true).open(dir.join("raw")).unwrap();
    for piece in 0..bytes >> 20 {
        file.write_all_at(&vec![0; 1 << 20], piece << 20).unwrap();
    }
    file.sync_all().unwrap();
    file
}

/// One round of all threads; returns bytes written and the time.
fn round(journal: &Journal, threads: u64, next: &AtomicU64, text: &ContentEntry) -> Duration {
    let batches: Vec<Vec<Vec<Append>>> = (0..threads)
        .map(|thread| (0..ROUND_BATCHES / threads).map(|_| batch(thread, next.fetch_add(1, Ordering::Relaxed), text)).collect())
        .collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for batches in batches {
            scope.spawn(move || batches.into_iter().for_each(|batch| drop(journal.append(batch).unwrap().wait().unwrap())));
        }
    });
    begun.elapsed()
}

/// The ratio, from interleaved rounds, so that both see the same disk.
fn ratio(text: &ContentEntry) {
    const ROUNDS: usize = 12;
    let dir = directory();
    let (journal, _) = Journal::open(dir.path(), Options::default(), keys()).unwrap();
    let next = AtomicU64::new(1 << 40);
    let file = zeroed(dir.path(), 256 << 20);
    let buffer = vec![0xa5; RAW_BATCH_BYTES];
    let per_round = ROUND_BATCHES * BATCH * EVENT_BYTES as u64;
    for threads in [1, 4, 16] {
        let (mut ours, mut theirs, mut theirs_batch, mut at) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..ROUNDS {
            ours += round(&journal, threads, &next, text);
            let begun = Instant::now();
            (0..per_round / RAW_BYTES as u64).for_each(|_| raw(&file, &mut at, &buffer[..RAW_BYTES], 256 << 20));
            theirs += begun.elapsed();
            let begun = Instant::now();
            (0..per_round / RAW_BATCH_BYTES as u64).for_each(|_| raw(&file, &mut at, &buffer, 256 << 20));
            theirs_batch += begun.elapsed();
        }
        let bytes = (per_round / threads * threads * ROUNDS as u64) as f64;
        let events = bytes / EVENT_BYTES as f64;
        let rate = |time: Duration| bytes / time.as_secs_f64() / 1e6;
        println!(
            "ratio, {threads:>2} threads: journal {:.0} MB/s ({:.0} events/s); raw preallocated 64 KB {:.0} MB/s: {:.0} %; raw preallocated 128 KB {:.0} MB/s: {:.0} %",
            rate(ours),
            events / ours.as_secs_f64(),
            rate(theirs),
            rate(ours) / rate(theirs) * 100.0,
            rate(theirs_batch),
            rate(ours) / rate(theirs_batch) * 100.0,
        );
    }
}

fn appends(c: &mut Criterion) {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
    let text = ContentEntry::commit(SubjectId::from_bytes([1; 16]).unwrap(), &key, Clean::literal("a system prompt"));
    ratio(&text);

    let mut group = c.benchmark_group("append");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    let dir = directory();
    let file = zeroed(dir.path(), 256 << 20);
    for bytes in [4 * 1024, RAW_BYTES, 1024 * 1024] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let buffer = vec![0xa5; bytes];
        let mut at = 0;
        group.bench_function(BenchmarkId::new("raw preallocated", bytes), |b| b.iter(|| raw(&file, &mut at, &buffer, 256 << 20)));
    }
    let next = AtomicU64::new(1);
    for threads in [1, 4, 16] {
        let dir = directory();
        let (journal, _) = Journal::open(dir.path(), Options::default(), keys()).unwrap();
        group.throughput(Throughput::Bytes(ROUND_BATCHES / threads * threads * BATCH * EVENT_BYTES as u64));
        group.bench_function(BenchmarkId::new("journal, 64 x 2 KB, threads", threads), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| round(&journal, threads, &next, &text)).sum());
        });
        // One event at a time: what the gateway does.
        group.throughput(Throughput::Elements(1));
        if threads == 1 {
            group.bench_function("journal, one event, one thread", |b| {
                b.iter_custom(|rounds| {
                    let one: Vec<_> =
                        (0..rounds).map(|_| batch(9, next.fetch_add(1, Ordering::Relaxed), &text).swap_remove(0)).collect();
                    let begun = Instant::now();
                    one.into_iter().for_each(|event| drop(journal.append(vec![event]).unwrap().wait().unwrap()));
                    begun.elapsed()
                });
            });
        }
        let mut reader = journal.reader(Seq(0)).unwrap();
        let begun = Instant::now();
        let read = std::iter::from_fn(|| reader.next().unwrap()).count();
        println!("read back {read} records at {:.0}/s", read as f64 / begun.elapsed().as_secs_f64());
    }
    group.finish();
}

criterion_group!(benches, appends);
criterion_main!(benches);
