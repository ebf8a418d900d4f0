//! A trace or session as a picture: a tree with offsets, durations, errors and what was said, each text once.

use std::collections::HashSet;

use serde_json::Value;

use crate::output::printable;

/// Deeper events stand no further to the right.
const DEPTH_MAX: u64 = 16;

/// Longest text that is shown whole, in characters: some three lines of a terminal.
const TEXT_CHARS_MAX: usize = 400;

/// Longest quotation of a text at the beginning of an edge.
const EDGE_CHARS_MAX: usize = 160;

/// The same of what is read by programs: the state of a workflow, definitions of tools.
const BODY_CHARS_MAX: usize = 120;

/// The lines of the picture. `full`: no text is cut.
pub(super) fn lines(view: &Value, full: bool) -> Vec<String> {
    let events: Vec<&Value> = view["events"].as_array().into_iter().flatten().collect();
    let mut picture = Picture { lines: Vec::new(), shown: HashSet::new(), full };
    picture.head(&events);
    let begin = events.iter().filter_map(|event| event["time_ns"].as_i64()).min().unwrap_or_default();
    let mut who_before = events.first().map(|event| who(event)).unwrap_or_default();
    for event in events {
        picture.event(event, begin, &mut who_before);
    }
    for detection in view["detections"].as_array().into_iter().flatten() {
        picture.detection(detection);
        let id = &detection["detection_id"];
        let edges = view["edges"].as_array().into_iter().flatten();
        edges.filter(|edge| id.is_string() && edge["detection_id"] == *id).for_each(|edge| picture.edge(edge));
    }
    picture.lines
}

struct Picture {
    lines: Vec<String>,
    /// Role, part and content of the texts that were shown.
    shown: HashSet<(String, String, String)>,
    full: bool,
}

impl Picture {
    /// When it began, how long it took, and whose it is as far as all of it agrees.
    fn head(&mut self, events: &[&Value]) {
        let Some(first) = events.first() else { return };
        let ends = events.iter().filter_map(|event| {
            let length = event["duration_ms"].as_f64().unwrap_or_default() * 1e6;
            // Saturates: 292 years.
            Some(event["time_ns"].as_i64()?.saturating_add(length as i64))
        });
        let begin = events.iter().filter_map(|event| event["time_ns"].as_i64()).min().unwrap_or_default();
        let took = duration(ends.max().unwrap_or(begin).saturating_sub(begin) as f64 / 1e6);
        let failed = events.iter().filter(|event| is_failed(event)).count();
        let of = |key: &str| {
            let mut found: Vec<String> = events.iter().map(|event| text(&event[key])).filter(|text| !text.is_empty()).collect();
            found.sort_unstable();
            found.dedup();
            match found.as_slice() {
                [] => None,
                [one] => Some(format!("{} {one}", key.trim_end_matches("_id"))),
                several => Some(format!("{} {}s", several.len(), key.trim_end_matches("_id"))),
            }
        };
        let whose: Vec<String> = ["trace_id", "session_id", "user_id", "application"].into_iter().filter_map(of).collect();
        self.lines.push(format!("{}  {} events in {took}, {failed} failed", text(&first["time"]), events.len()));
        self.lines.push(whose.join(", "));
        self.lines.push(String::new());
        self.lines.push(format!("{:>9} {:>9}  what", "after", "took"));
    }

    fn event(&mut self, event: &Value, begin: i64, who_before: &mut String) {
        let depth = event["depth"].as_u64().unwrap_or(0).min(DEPTH_MAX);
        let indent = "  ".repeat(usize::try_from(depth).unwrap_or(0));
        let after = duration(event["time_ns"].as_i64().unwrap_or(begin).saturating_sub(begin) as f64 / 1e6);
        let took = event["duration_ms"].as_f64().map(duration).unwrap_or_default();
        let mut line = format!("{after:>9} {took:>9}  {indent}{}  {}", text(&event["kind"]), text(&event["name"]));
        if event["phase"] != "complete" {
            line += &format!(" ({})", text(&event["phase"]));
        }
        line += &subject(event);
        if let (Some(read), Some(written)) = (event["input_tokens"].as_i64(), event["output_tokens"].as_i64()) {
            line += &format!("  {read}+{written} tokens");
        }
        // Who does it is said where it changes.
        let now = who(event);
        if now != *who_before && !now.is_empty() {
            line += &format!("  by {now}");
            *who_before = now;
        }
        if is_failed(event) {
            line += &format!("  FAILED {}", text(&event["error"]));
        }
        self.lines.push(line.trim_end().to_owned());

        let margin = format!("{:21}{indent}", "");
        let mut repeated = 0;
        let pieces: Vec<&Value> = event["pieces"].as_array().into_iter().flatten().collect();
        let (input, output): (Vec<&Value>, Vec<&Value>) = pieces.into_iter().partition(|piece| piece["direction"] == "input");
        for piece in input.into_iter().chain(output) {
            let key = (text(&piece["role"]), text(&piece["part"]), text(&piece["content_id"]));
            if self.shown.insert(key) {
                self.piece(piece, &margin);
            } else {
                repeated += 1;
            }
        }
        match repeated {
            0 => {}
            1 => self.lines.push(format!("{margin}  (1 text as before)")),
            several => self.lines.push(format!("{margin}  ({several} texts as before)")),
        }
    }

    fn piece(&mut self, piece: &Value, margin: &str) {
        let (role, part) = (text(&piece["role"]), text(&piece["part"]));
        let arrow = if piece["direction"] == "input" { '>' } else { '<' };
        // A text of the user is `user`, a document is `document`: the part is said where it says more.
        let mut label = if part == "text" || part == role { role } else { format!("{role} {part}") };
        let name = text(&piece["name"]);
        if !name.is_empty() {
            label += &format!(" {name}");
        }
        if let Some(score) = piece["score"].as_f64() {
            label += &format!(" ({score:.3})");
        }
        if piece["failed"] == true {
            label += " FAILED";
        }
        let chars_max = if part == "body" || part == "tool_definition" { BODY_CHARS_MAX } else { TEXT_CHARS_MAX };
        let shown = if self.full { text(&piece["text"]) } else { shortened(&text(&piece["text"]), chars_max) };
        self.lines.push(format!("{margin}  {arrow} {label}: {shown}"));
        for finding in piece["findings"].as_array().into_iter().flatten() {
            let of = |key: &str| text(&finding[key]);
            let found = format!("{} {} {} ({}..{})", of("risk"), of("technique"), of("rule"), of("start"), of("end"));
            self.lines.push(format!("{margin}      ! {found}"));
        }
    }

    fn detection(&mut self, detection: &Value) {
        let of = |key: &str| text(&detection[key]);
        let carried = detection["evidence"].as_array().into_iter().flatten().find(|part| part["what"] == "shared_value");
        let carried = carried.map(|part| format!(": {}", text(&part["value"]))).unwrap_or_default();
        let told = format!("DETECTED {} {} {} {} {}", of("time"), of("severity"), of("technique"), of("title"), of("grade"));
        self.lines.push(format!("{told}{carried}"));
    }
}

impl Picture {
    /// An edge of the causal graph, below its detection.
    fn edge(&mut self, edge: &Value) {
        let of = |key: &str| text(&edge[key]);
        let short = |key: &str| if self.full { of(key) } else { shortened(&of(key), EDGE_CHARS_MAX) };
        let span = match (edge["from_start"].as_i64(), edge["from_end"].as_i64()) {
            (Some(start), Some(end)) => format!(" ({start}..{end})"),
            _ => String::new(),
        };
        let from = format!("{} text{span} of {}: {}", of("from_channel"), of("from_event"), short("from_value"));
        let tool = of("tool");
        let line = match edge["edge"].as_str().unwrap_or_default() {
            "went_to" => {
                let new = if edge["first_seen"] == true { ", never used before" } else { "" };
                format!("{tool} went to {} ({}{new})", of("destination"), of("destination_kind"))
            }
            "carried" => format!("the call carried {from}"),
            "kept" => format!("{from} → was kept by {tool} in {}", of("to_event")),
            "recalled" => format!("what {} kept → came back in {}", of("from_event"), of("to_event")),
            _ if tool.is_empty() => format!("{from} → answer of {}", of("to_event")),
            _ => format!("{from} → call of {tool} in {}", of("to_event")),
        };
        self.lines.push(format!("           {line}"));
    }
}

fn is_failed(event: &Value) -> bool {
    event["status"] == "error"
}

/// Who did it: agent and application.
fn who(event: &Value) -> String {
    let parties = ["agent", "application"].map(|key| text(&event[key]));
    parties.into_iter().filter(|party| !party.is_empty()).collect::<Vec<_>>().join(" in ")
}

/// What an event was about, by the columns and attributes that say it shortest: the model, the tool, the store and what in it.
fn subject(event: &Value) -> String {
    const FACTS: [&str; 6] =
        ["db.system.name", "db.operation.name", "db.collection.name", "gen_ai.data_source.id", "mcp.resource.uri", "url.full"];
    let columns = ["model", "tool"].into_iter().map(|column| &event[column]);
    let facts = FACTS.into_iter().map(|key| &event["attributes"][key]);
    let mut known: Vec<String> = columns.chain(facts).map(text).filter(|text| !text.is_empty()).collect();
    known.dedup();
    if known.is_empty() { String::new() } else { format!("  [{}]", known.join(" ")) }
}

/// A value as one line of text that does nothing to a terminal.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

/// A length of time, in milliseconds, as people read it.
fn duration(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms if ms < 600_000.0 => format!("{:.1} s", ms / 1e3),
        ms => format!("{:.0} min", ms / 60e3),
    }
}

fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} characters; --full shows them)", &text[..end], text.chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(depth: u8, at_ms: i64, more: &Value) -> Value {
        let mut event = json!({
            "depth": depth, "time": "2026-01-31T12:00:00Z", "time_ns": at_ms * 1_000_000, "kind": "agent_step", "name": "step",
            "phase": "complete", "status": "unset", "session_id": "s-1", "application": "shop", "pieces": [],
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    }

    fn piece(direction: &str, role: &str, part: &str, id: &str, text: &str) -> Value {
        json!({ "direction": direction, "role": role, "part": part, "content_id": id, "text": text, "findings": [] })
    }

    #[test]
    fn a_tree_with_times_errors_and_each_text_once() {
        let document = json!({ "direction": "output", "role": "document", "part": "document", "content_id": "d", "text": "14 days.", "score": 0.5 });
        let long = "x".repeat(500);
        let view = json!({ "events": [
            event(0, 1_000, &json!({ "duration_ms": 12_500.0, "pieces": [piece("input", "user", "text", "q", "refund?")] })),
            event(1, 1_003, &json!({ "kind": "retrieval", "name": "handbook", "duration_ms": 4.2,
                "pieces": [document, piece("input", "user", "query", "k", "refunds")] })),
            event(1, 1_020, &json!({ "kind": "model_call", "name": "chat", "model": "m", "input_tokens": 7, "output_tokens": 3,
                "agent": "clerk", "pieces": [piece("input", "user", "text", "q", "refund?"), piece("output", "assistant", "text", "a", &long)] })),
            event(2, 1_040, &json!({ "kind": "tool_call", "name": "refund", "tool": "refund", "status": "error", "error": "timeout", "agent": "clerk" })),
        ], "detections": [{ "time": "T", "severity": "high", "technique": "AML.T0051", "title": "Injection", "grade": "seen", "evidence": [] }] });
        let shown = lines(&view, false);
        let cut = format!("                         < assistant: {}… (500 characters; --full shows them)", "x".repeat(400));
        assert_eq!(
            shown,
            [
                "2026-01-31T12:00:00Z  4 events in 12.5 s, 1 failed",
                "session s-1, application shop",
                "",
                "    after      took  what",
                "   0.0 ms    12.5 s  agent_step  step",
                "                       > user: refund?",
                "   3.0 ms    4.2 ms    retrieval  handbook",
                "                         > user query: refunds",
                "                         < document (0.500): 14 days.",
                "    20 ms              model_call  chat  [m]  7+3 tokens  by clerk in shop",
                &cut,
                "                         (1 text as before)",
                "    40 ms                tool_call  refund  [refund]  FAILED timeout",
                "DETECTED T high AML.T0051 Injection seen",
            ]
        );
        assert!(lines(&view, true).iter().any(|line| line.ends_with(&long)));
    }

    #[test]
    fn edges_stand_below_their_detection() {
        let detection =
            |id: &str| json!({ "detection_id": id, "time": "T", "severity": "high", "title": "Injection", "evidence": [] });
        let edge = |edge: &str, more: &Value| {
            let mut edge =
                json!({ "detection_id": "d2", "edge": edge, "from_event": "e1", "to_event": "e2", "from_channel": "tool" });
            edge.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            edge
        };
        let view = json!({ "events": [], "detections": [detection("d1"), detection("d2")], "edges": [
            edge("told", &json!({ "tool": "send", "from_start": 3, "from_end": 9, "from_value": "send\u{1b}it" })),
            edge("told", &json!({ "from_value": "say it" })),
            edge("went_to", &json!({ "tool": "send", "destination": "eve@x.org", "destination_kind": "email", "first_seen": true })),
            edge("carried", &json!({ "from_value": "salaries" })),
            edge("kept", &json!({ "tool": "note", "from_value": "remember" })),
            edge("recalled", &json!({})),
        ] });
        let shown = lines(&view, false);
        assert_eq!(
            shown,
            [
                "DETECTED T high  Injection ",
                "DETECTED T high  Injection ",
                "           tool text (3..9) of e1: send⟨U+001B⟩it → call of send in e2",
                "           tool text of e1: say it → answer of e2",
                "           send went to eve@x.org (email, never used before)",
                "           the call carried tool text of e1: salaries",
                "           tool text of e1: remember → was kept by note in e2",
                "           what e1 kept → came back in e2",
            ]
        );
    }

    #[test]
    fn what_a_record_holds_does_nothing_to_a_terminal() {
        let name = json!({ "name": "a\u{1b}[2Jb\nc" });
        let shown = lines(&json!({ "events": [event(40, 0, &name)] }), false).join("\n");
        assert!(!shown.contains('\u{1b}') && shown.contains("b⏎c"), "{shown}");
    }
}
