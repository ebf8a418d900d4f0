//! Throughput of the sanitiser in bytes of raw text, on text made up here.
//!
//! `chat` has about one sensitive value in two kilobytes, as support conversations have; `plain` has none; `agent` is
//! tool traffic as JSON; the others are what a hostile sender would choose.

#![allow(missing_docs)] // of what the macros make

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use watchkeeper_sanitize::{Sanitizer, TokenKey};

const SENTENCES: &[&str] = &[
    "Thanks for the quick answer, that worked on the second attempt. ",
    "I have looked at the report from 2024-03-17 and the totals differ by 1,204.50 EUR. ",
    "Could you summarise section 4.2 and keep the table with the 12 largest items? ",
    "The build fails with exit code 101 after 3.2 s: expected `;`, found `}` at src/main.rs:118:7. ",
    "Please call the function with {\"limit\": 50, \"offset\": 100} and show me the first page. ",
    "Order 7741-2209 was shipped on Monday; the tracking page says it is delayed - again. ",
    "let total: u64 = items.iter().map(|item| item.price * item.count).sum(); ",
    "In my opinion the second draft reads better, although the ending could be shorter. ",
];

const VALUES: &[&str] = &[
    "My address is ann.smith@example.com. ",
    "You can reach me at (212) 555-0143. ",
    "The server is 203.0.113.77. ",
    "Pay to DE89370400440532013000. ",
    "The card is 4111 1111 1111 1111. ",
];

fn chat(bytes: usize, one_value_in: usize) -> String {
    let mut text = String::with_capacity(bytes + 128);
    let (mut state, mut since, mut value) = (1_u32, 0, 0);
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let sentence = SENTENCES[(state >> 24) as usize % SENTENCES.len()];
        text.push_str(sentence);
        since += sentence.len();
        if since > one_value_in {
            text.push_str(VALUES[value % VALUES.len()]);
            (since, value) = (0, value + 1);
        }
    }
    text
}

fn agent(bytes: usize) -> String {
    let mut text = String::from("[");
    let mut n = 0;
    while text.len() < bytes {
        let comma = if n > 0 { "," } else { "" };
        let _ = write!(
            text,
            r#"{comma}{{"id": "call_{n:08x}", "name": "send_mail", "arguments": {{"to": "user{n}@example.com", "subject": "Report {n}", "body": "{}"}}}}"#,
            chat(1_500, usize::MAX).replace('"', "\\\"")
        );
        n += 1;
    }
    text.push(']');
    text
}

fn bench(c: &mut Criterion) {
    const SIZE: usize = 1 << 20;
    let sanitizer = Sanitizer::new(TokenKey::new([7; 32], "v26"));
    let texts = [
        ("plain", chat(SIZE, usize::MAX)),
        ("chat", chat(SIZE, 2_048)),
        ("chat_typographic", chat(SIZE, 2_048).replace('-', "–").replace("the ", "the “")),
        ("chat_2k", chat(2_048, 1_024)),
        ("hostile_numbers", "2125550143 4111111111111111 ".repeat(SIZE / 28)),
        ("hostile_at", "a@".repeat(SIZE / 2)),
        ("hostile_keys", "sk-".repeat(SIZE / 3)),
        ("hostile_assignments", "token=".repeat(SIZE / 6)),
        ("hostile_armour", "-----BEGIN PRIVATE KEY ".repeat(SIZE / 23)),
        ("hostile_encoded", "YWFhYWFhYWFhYWFhYWFhYWFhYWFh".repeat(SIZE / 28)),
        ("hostile_digits", "1 ".repeat(SIZE / 2)),
        ("hostile_tokens", "<EMAIL:v26:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>".repeat(SIZE / 44)),
        ("hostile_headers", "authorization:".repeat(SIZE / 14)),
        ("hostile_jwt", ".eyJ".repeat(SIZE / 4)),
        ("hostile_hits", "a@b.co ".repeat(SIZE / 7)),
        ("hostile_escapes", "%41%20".repeat(SIZE / 6)),
    ];
    let mut group = c.benchmark_group("text");
    group.sample_size(10);
    for (name, text) in &texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), text, |b, text| b.iter(|| black_box(sanitizer.text(text))));
    }
    group.finish();
    let mut group = c.benchmark_group("json");
    group.sample_size(10);
    let text = agent(SIZE);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("agent", |b| b.iter(|| black_box(sanitizer.json(&text))));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
