//! Measures content flow on recorded agent sessions.
//!
//! `cargo run -p watchkeeper-detect --example eval_traces -- TRACES.jsonl [--misses] [--inspect]`
//!
//! Reads the traces as telemetry would see them (`messages` only); the ground truth beside them only scores. An alarm is a
//! detection of content flow with the grade `acted_on` or `reached`. With `--inspect` the texts carry the findings of
//! inspection, as in the recorder; without, flow has only its own marks.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for developers: it prints, and stops at what it cannot read"
)]

use std::collections::BTreeMap;
use std::io::BufRead;

use event::{
    ContentId, ContentRef, Direction, Event, Key, Kind, Part, Piece, PieceMeta, RecordedEvent, Role, Source, SourcePath,
    SubjectId, Timestamp,
};
use sanitize::Clean;
use serde_json::Value;
use watchkeeper_detect::{Engine, Grade, RuleSet};

type Contents = BTreeMap<ContentId, Clean>;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let show_misses = args.iter().any(|arg| arg == "--misses");
    let inspector = args.iter().any(|arg| arg == "--inspect").then(|| inspect::Inspector::builtin().unwrap());
    let mut cache = std::collections::HashMap::new();
    let file = std::fs::File::open(&args[1]).unwrap();
    let mut engine = Engine::new(RuleSet::builtin().unwrap());
    // (suite, class) -> traces, seen, acted on or reached, reached
    let mut table: BTreeMap<(String, &str), [u32; 4]> = BTreeMap::new();
    let mut sigma: BTreeMap<(String, &str), u32> = BTreeMap::new();
    let mut missed: BTreeMap<String, u32> = BTreeMap::new();
    let (mut events, mut spent) = (0, std::time::Duration::ZERO);
    for line in std::io::BufReader::new(file).lines() {
        let trace: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let mut contents = Contents::new();
        let mut recorded = record(&trace, &mut contents);
        if let Some(inspector) = &inspector {
            for piece in recorded.iter_mut().flat_map(|event| &mut event.pieces) {
                let findings = cache
                    .entry((piece.content.id, piece.meta.channel()))
                    .or_insert_with(|| inspector.inspect(&contents[&piece.content.id], piece.meta.channel(), None).findings);
                piece.findings.clone_from(findings);
            }
        }
        let mut grades = Vec::new();
        let class = class(&trace);
        let suite = text(&trace, "suite");
        let begin = std::time::Instant::now();
        for (index, event) in recorded.iter().enumerate() {
            events += 1;
            for detection in engine.observe(journal::Seq(index as u64), event, &mut |content| contents.get(&content.id).cloned())
            {
                match detection.grade {
                    Some(grade) => grades.push((grade, detection)),
                    None => *sigma.entry((detection.title, class)).or_default() += 1,
                }
            }
        }
        spent += begin.elapsed();
        let row = table.entry((suite.clone(), class)).or_default();
        row[0] += 1;
        row[1] += u32::from(!grades.is_empty());
        let alarm = grades.iter().find(|(grade, _)| *grade >= Grade::ActedOn);
        row[2] += u32::from(alarm.is_some());
        row[3] += u32::from(grades.iter().any(|(grade, _)| *grade == Grade::Reached));
        let task = format!("{suite} {class} {} {}", text(&trace, "injection_task"), text(&trace, "attack"));
        if (class == "succeeded") != alarm.is_some() {
            *missed.entry(format!("{task} {:?}", alarm.map(|(_, one)| one.confidence))).or_default() += 1;
            if show_misses {
                for (grade, one) in &grades {
                    let of = |what: &str| one.evidence.iter().find(|e| e.what == what);
                    println!(
                        "MISS {} | {class} | {grade:?} | {} | {:?} | {:?} | {}",
                        text(&trace, "trace_id"),
                        one.rule.as_str(),
                        of("ground").and_then(|e| e.value.clone()),
                        of("call").and_then(|e| e.field.clone()),
                        one.evidence
                            .iter()
                            .filter(|e| e.what == "shared_value")
                            .filter_map(|e| e.value.clone())
                            .collect::<Vec<_>>()
                            .join(";")
                    );
                }
            }
        }
    }
    println!("{:<10} {:<14} {:>7} {:>7} {:>7} {:>7}", "suite", "class", "traces", "any", "alarm", "reached");
    for ((suite, class), [traces, any, alarm, reached]) in &table {
        println!("{suite:<10} {class:<14} {traces:>7} {any:>7} {alarm:>7} {reached:>7}");
    }
    println!("\nmissed attacks and other alarms, by task and confidence:");
    missed.iter().for_each(|(task, count)| println!("{count:>6} {task}"));
    println!("\nSigma rules:");
    sigma.iter().for_each(|((title, class), count)| println!("{count:>6} {class:<14} {title}"));
    println!("\n{events} events in {spent:.1?}");
    println!("left out by the bounds: {:?}", engine.skipped());
}

fn class(trace: &Value) -> &'static str {
    let flag = |field: &str| trace[field].as_bool() == Some(true);
    match () {
        () if flag("attack_succeeded") => "succeeded",
        () if flag("exposed") => "resisted",
        () if trace["attack"].is_string() => "never read",
        () => "attack-free",
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or("-").to_owned()
}

/// Each answer of the model is a call with the whole conversation before it as its input, as a gateway sees it.
fn record(trace: &Value, contents: &mut Contents) -> Vec<RecordedEvent<Clean>> {
    let messages = trace["messages"].as_array().unwrap();
    let mut events = Vec::new();
    let mut history: Vec<Piece<Clean, ContentRef>> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or("user");
        let output = pieces(message, index, contents);
        if role == "assistant" {
            events.push(call(trace, index, history.iter().chain(&output).cloned().collect()));
        }
        history.extend(output.into_iter().map(|mut piece| {
            piece.meta.direction = Direction::Input;
            piece
        }));
    }
    if messages.last().is_some_and(|message| message["role"] == "tool") {
        events.push(call(trace, messages.len(), history));
    }
    events
}

fn call(trace: &Value, index: usize, pieces: Vec<Piece<Clean, ContentRef>>) -> RecordedEvent<Clean> {
    let source = Source::new(SourcePath::Import, Key::of("agent-traces"));
    let mut event: RecordedEvent<Clean> = Event::new(Kind::ModelCall, Clean::literal("chat"), source);
    event.time = Timestamp::from_unix_ns(1_700_000_000_000_000_000 + index as u64 * 1_000_000_000);
    event.session = Some(Clean::recorded(trace["trace_id"].as_str().unwrap_or("")));
    event.pieces = pieces;
    event
}

fn pieces(message: &Value, index: usize, contents: &mut Contents) -> Vec<Piece<Clean, ContentRef>> {
    let (role, part, direction) = match message["role"].as_str() {
        Some("system") => (Role::System, Part::Text, Direction::Input),
        Some("assistant") => (Role::Assistant, Part::Text, Direction::Output),
        Some("tool") => (Role::Tool, Part::ToolResult, Direction::Input),
        _ => (Role::User, Part::Text, Direction::Input),
    };
    let mut out = Vec::new();
    let mut add = |part: Part, text: &str, name: Option<&str>, failed: Option<bool>| {
        // A result that says nothing still says that the call came back.
        if text.is_empty() && part != Part::ToolResult {
            return;
        }
        let mut meta = PieceMeta::new(direction, role, part);
        meta.message = index as u32;
        meta.name = name.map(Clean::recorded);
        meta.failed = failed;
        out.push(Piece { meta, content: content(text, contents), findings: Vec::new() });
    };
    let failed = message["error"].as_str().filter(|error| !error.is_empty()).map(|_| true);
    add(part, message["content"].as_str().unwrap_or(""), message["tool"].as_str(), failed);
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        add(Part::ToolCall, &call["args"].to_string(), call["function"].as_str(), None);
    }
    out
}

fn content(text: &str, contents: &mut Contents) -> ContentRef {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let id = ContentId::from_slice(digest.as_ref()).unwrap();
    contents.insert(id, Clean::recorded(text));
    ContentRef { id, subject: SubjectId::from_bytes([1; 16]).unwrap(), bytes: text.len() as u32 }
}
