//! What thousands of signatures cost: the same texts with 75, 1,000 and 4,000 of them, and the start with as many.

#![allow(missing_docs)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use event::Channel;
use watchkeeper_inspect::Inspector;

const PROSE: &str = "The committee met on Tuesday to look at the plans for the new library. Members asked how the building would be \
                     heated, what the budget allowed, and when work could begin. The architect showed two designs, and the \
                     treasurer explained the loan. Please send the report to the system office before the previous meeting. ";

/// Words that stand in the texts, so that the prefilter has something to do.
const COMMON: [&str; 16] = [
    "committee",
    "plans",
    "library",
    "building",
    "budget",
    "architect",
    "designs",
    "treasurer",
    "report",
    "system",
    "office",
    "previous",
    "meeting",
    "please",
    "members",
    "explained",
];
const SYLLABLES: [&str; 16] =
    ["ka", "ter", "mo", "lin", "su", "dra", "ve", "nor", "pi", "gan", "tu", "rel", "bo", "shi", "fen", "zor"];

/// A word that no text has.
fn word(number: usize) -> String {
    [number / 256 % 16, number / 16 % 16, number % 16, number * 7 % 16].map(|syllable| SYLLABLES[syllable]).concat()
}

/// Signatures of two patterns each. One in eight shares a word with the texts, and is passed over for the other.
fn signatures(count: usize) -> String {
    let mut yaml = "signatures:\n".to_owned();
    for number in 0..count {
        let first = if number % 8 == 0 { COMMON[number / 8 % 16].to_owned() } else { word(3 * number) };
        let (second, third) = (word(3 * number + 1), word(3 * number + 2));
        let _ = write!(
            yaml,
            "  - id: bench.s{number}\n    title: Bench\n    risk: prompt_injection\n    technique: AML.T0051.000\n    channels: {{user: 0.5, \
             tool: 0.5}}\n    patterns:\n      - {{view: both, regex: '\\b{first}\\s+(?:\\w+\\s+){{0,3}}(?:{second}|{third})\\b'}}\n      \
             - {{literals: ['{second} {third}']}}\n    examples:\n      positive: [{{channel: user, text: '{second} {third}'}}]\n      \
             negative: [{{channel: user, text: nothing}}]\n"
        );
    }
    yaml
}

fn thousands(criterion: &mut Criterion) {
    let prose: String = PROSE.chars().cycle().take(2_048).collect();
    for count in [75, 1_000, 4_000] {
        let sources = [("bench.yaml".to_owned(), signatures(count))];
        let Ok(inspector) = Inspector::from_checked_sources(&sources) else { return };
        let mut group = criterion.benchmark_group("signatures");
        group.throughput(Throughput::Bytes(prose.len() as u64));
        group.bench_with_input(BenchmarkId::new("prose_2k", count), &prose, |bench, text| {
            bench.iter(|| inspector.inspect(black_box(text), Channel::User, None));
        });
        group.finish();
        let mut group = criterion.benchmark_group("load");
        group.sample_size(10);
        group.bench_with_input(BenchmarkId::new("signatures", count), &sources, |bench, sources| {
            bench.iter(|| Inspector::from_checked_sources(black_box(sources)));
        });
        group.finish();
    }
}

criterion_group!(benches, thousands);
criterion_main!(benches);
