//! How many events a second detection takes on one core: all built-in rules and content flow.

#![expect(clippy::unwrap_used, missing_docs, reason = "a benchmark may fail; criterion's macros make public items")]

use std::collections::HashMap;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::{
    ContentId, ContentRef, Direction, Event, Key, Kind, Part, Piece, PieceMeta, RecordedEvent, Role, Source, SourcePath,
    SubjectId,
};
use journal::Seq;
use sanitize::Clean;
use watchkeeper_detect::{Engine, RuleSet};

/// Events of one measured run: each brings 2 KB of new text and a tool call, in one of 100 conversations.
const EVENTS: u64 = 1_000;

fn events() -> (Vec<RecordedEvent<Clean>>, HashMap<ContentId, Clean>) {
    let mut contents = HashMap::new();
    let mut piece = |role, part, text: String| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let id = ContentId::from_slice(digest.as_ref()).unwrap();
        let content =
            ContentRef { id, subject: SubjectId::from_bytes([1; 16]).unwrap(), bytes: u32::try_from(text.len()).unwrap() };
        contents.insert(id, Clean::recorded(&text));
        Piece { meta: PieceMeta::new(Direction::Input, role, part), content, findings: Vec::new() }
    };
    let events = (0..EVENTS)
        .map(|index| {
            let mut event = Event::new(Kind::ModelCall, Clean::literal("chat"), Source::new(SourcePath::Api, Key::of("bench")));
            event.session = Some(Clean::recorded(&format!("s{}", index % 100)));
            let told =
                format!("Result {index}. ") + &"The quarterly figures are in the shared folder, see www.example.com. ".repeat(15);
            event.pieces.push(piece(
                Role::User,
                Part::Text,
                format!("Question {index}: {}", "please sum up the report. ".repeat(38)),
            ));
            event.pieces.push(piece(Role::Tool, Part::ToolResult, told));
            event.pieces.push(piece(Role::Assistant, Part::ToolCall, format!(r#"{{"path":"report-{index}.txt"}}"#)));
            event
        })
        .collect();
    (events, contents)
}

fn detect(c: &mut Criterion) {
    let (events, contents) = events();
    let mut group = c.benchmark_group("detect");
    group.throughput(Throughput::Elements(EVENTS));
    group.sample_size(10);
    group.bench_function("observe 2 KB events", |b| {
        b.iter_batched(
            || Engine::new(RuleSet::builtin().unwrap()),
            |mut engine| {
                for (index, event) in events.iter().enumerate() {
                    engine.observe(Seq(index as u64), event, &mut |content| contents.get(&content.id).cloned());
                }
                engine
            },
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Rules of users: half look for ten texts in the prompt, a sixth for a pattern, the rest at tools, numbers and users.
fn user_rules(count: usize) -> String {
    let rule = |number: usize| {
        let selection = match number % 6 {
            0..=2 => {
                let texts: Vec<String> = (0..10).map(|text| format!("'needle {number} of haystack {text}'")).collect();
                format!("watchkeeper.text.user|contains: [{}]", texts.join(", "))
            }
            3 => format!("watchkeeper.text.tool|re: '(?i)forward\\s+(?:all|every)\\s+report-{number}\\s+to'"),
            4 => format!("gen_ai.tool.name: tool-{number}"),
            _ => format!("user.id: user-{number}\n    gen_ai.usage.input_tokens|gte: {number}"),
        };
        format!(
            "title: Rule {number}\nid: 00000000-0000-4000-8000-{number:012}\nlogsource: {{product: ai, category: llm}}\ndetection:\n  s:\n    \
             {selection}\n  condition: s\n"
        )
    };
    (0..count).map(rule).collect::<Vec<_>>().join("---\n")
}

/// The same events with the program's rules, and with more and more of users' beside them.
fn rules(c: &mut Criterion) {
    let (events, contents) = events();
    let mut group = c.benchmark_group("rules");
    group.throughput(Throughput::Elements(EVENTS));
    group.sample_size(10);
    let builtin = RuleSet::builtin().unwrap().rules().len();
    for count in [builtin, 500, 3_000] {
        let rules = || {
            let files = vec![("own.yml".into(), user_rules(count - builtin))];
            RuleSet::builtin().unwrap().with_files(if count > builtin { files } else { Vec::new() }).unwrap()
        };
        let compiled = rules();
        assert_eq!(compiled.rules().len(), count);
        group.bench_function(format!("observe 2 KB events, {count} rules"), |b| {
            b.iter_batched(
                || Engine::new(compiled.again().unwrap()),
                |mut engine| {
                    for (index, event) in events.iter().enumerate() {
                        engine.observe(Seq(index as u64), event, &mut |content| contents.get(&content.id).cloned());
                    }
                    engine
                },
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, detect, rules);
criterion_main!(benches);
