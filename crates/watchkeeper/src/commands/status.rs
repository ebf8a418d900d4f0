//! `watchkeeper status`: first whether the record is whole, what is lost and what somebody has to do, then everything.

use std::process::ExitCode;

use serde_json::Value;
use server::Standing;
use store::{Cell, Table};

use super::read::{Place, cell, open, reader};
use crate::cli::{Data, FormatName};
use crate::output::{printable, say, table};

/// Most lines of what somebody has to do; the table below has the rest.
const NEEDS_MAX: usize = 12;

pub(super) fn status(data: &Data, format: FormatName) -> anyhow::Result<ExitCode> {
    let (running, status): (bool, Value) = match open(data)? {
        Place::Server(api) => (true, api.get("/api/status")?),
        Place::Files(dir) => {
            let reader = reader(&dir, &data.root()?)?;
            let watch = Standing::of_files(&dir, &reader)?;
            (false, serde_json::json!({ "watch": watch, "counts": reader.counts()? }))
        }
    };
    let mut rows =
        vec![vec![Cell::Text("server".to_owned()), Cell::Text(if running { "running" } else { "not running" }.to_owned())]];
    flatten("", &status, &mut rows);
    // Programs go by the paths of the API's answer; people read words, and what they have to know first.
    if format == FormatName::Table {
        for line in summary(running, &status, &data.path()?.display().to_string()) {
            say(&printable(&line))?;
        }
        say("")?;
        for row in &mut rows {
            if let Cell::Text(path) = &row[0] {
                row[0] = Cell::Text(words(path));
            }
        }
    }
    table(&Table { columns: vec!["what".to_owned(), "value".to_owned()], rows, truncated: false }, format)?;
    Ok(if status["stopped"].is_string() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Whether it records, whether the record is whole, what is lost, and what somebody has to do about it.
fn summary(running: bool, status: &Value, data: &str) -> Vec<String> {
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64);
    let text = |path: &str| status.pointer(path).and_then(Value::as_str);
    let needs = needs(running, status, data);
    let stands = text("/stopped").is_some();
    let mut lines = vec![match (running, stands) {
        (true, true) => "recorder   the server runs, and STANDS STILL: see below".to_owned(),
        (true, false) => format!("recorder   running, version {}", text("/version").unwrap_or_default()),
        (false, _) => "recorder   not running: nothing is being recorded".to_owned(),
    }];
    let sealed = number("/progress/sealed").or_else(|| number("/watch/checkpoint/records")).unwrap_or(0);
    lines.push(match number("/progress/recorded") {
        Some(recorded) => format!(
            "record     {recorded} records on disk, {sealed} of them sealed; `watchkeeper verify` says whether they are whole"
        ),
        None => format!("record     {sealed} records sealed; `watchkeeper verify` says whether they are whole"),
    });
    let turned_away = number("/throughput/turned_away").filter(|count| *count > 0);
    let turned_away = turned_away.map(|count| format!("{count} events turned away since the start"));
    let gaps = number("/watch/gaps").filter(|count| *count > 0).map(|gaps| {
        let (why, at) = (text("/watch/last_gap/reason"), text("/watch/last_gap/received"));
        format!(
            "{gaps} gaps known, the last at {} because of {}; `watchkeeper query \"SELECT time, reason, count FROM gaps\"`",
            at.unwrap_or("an unknown time"),
            why.unwrap_or("what its event says")
        )
    });
    let lost: Vec<String> = turned_away.into_iter().chain(gaps).collect();
    lines.push(format!("lost       {}", if lost.is_empty() { "nothing that is known of".to_owned() } else { lost.join("; ") }));
    if needs.is_empty() {
        lines.push("needs you  nothing".to_owned());
    }
    let more = needs.len().saturating_sub(NEEDS_MAX);
    for (index, need) in needs.into_iter().take(NEEDS_MAX).enumerate() {
        lines.push(format!("{}  {need}", if index == 0 { "needs you" } else { "         " }));
    }
    if more > 0 {
        lines.push(format!("           and {more} more, below"));
    }
    lines
}

/// What somebody has to do, each with how.
fn needs(running: bool, status: &Value, data: &str) -> Vec<String> {
    let text = |path: &str| status.pointer(path).and_then(Value::as_str);
    let mut needs = Vec::new();
    if !running {
        needs.push(format!("start the server: `watchkeeper serve --data {data}`"));
    }
    for (path, what, remedy) in [
        ("/stopped", "the server stands still", "mend that, and start it again"),
        ("/archive_waits", "the archive is out of reach, and records wait in the journal", "mend that; it goes on by itself"),
        ("/rules/refused", "newer rules are not used", "`watchkeeper rules check DIR` says what is wrong with each"),
        (
            "/signatures/refused",
            "newer signatures, or a newer model, are not used",
            "`watchkeeper rules check DIR` says what is wrong",
        ),
        ("/intel/refused", "newer indicators are not used", "mend that; they are read again by themselves"),
    ] {
        needs.extend(text(path).map(|why| format!("{what}: {why}; {remedy}")));
    }
    if let Some(problems) = status.pointer("/rules/problems").and_then(Value::as_u64).filter(|problems| *problems > 0) {
        let first = text("/rules/left_out/0").map(|first| format!(", the first: {first}")).unwrap_or_default();
        needs.push(format!("{problems} problems with rules{first}; `watchkeeper rules check DIR` has them all"));
    }
    for (path, who) in [
        ("/watch/witness_failures", "witness"),
        ("/watch/time_stamp_failures", "time-stamping authority"),
        ("/watch/publish_failures", "public log"),
        ("/intel/failures", "feed"),
    ] {
        let failures = status.pointer(path).and_then(Value::as_array).into_iter().flatten();
        needs.extend(failures.filter(|failure| failure["is_over"] != true).map(|failure| {
            let text = |key: &str| failure[key].as_str().unwrap_or_default();
            format!("{who} {} fails since {}: {}; it is asked again by itself", text("who"), text("at"), text("what"))
        }));
    }
    if let Some(days) = status.pointer("/counts/partitions_left_out").and_then(Value::as_u64).filter(|days| *days > 0) {
        needs.push(format!(
            "{days} days of the hot store are left out of queries: it holds more days than SQLite attaches; lower `hot_days`"
        ));
    }
    needs
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<Vec<Cell>>) {
    if let Some(object) = value.as_object() {
        for (key, value) in object {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            flatten(&path, value, rows);
        }
    } else if let Some(list) = value.as_array() {
        for (index, value) in list.iter().enumerate() {
            flatten(&format!("{path}.{}", index + 1), value, rows);
        }
    } else if !value.is_null() {
        rows.push(vec![Cell::Text(path.to_owned()), cell(value)]);
    }
}

/// What a path of the status says, in words.
fn words(path: &str) -> String {
    const WORDS: [(&str, &str); 73] = [
        ("progress.recorded", "records on disk"),
        ("progress.sealed", "records sealed"),
        ("progress.indexed", "records indexed"),
        ("progress.detected", "records that rules have seen"),
        ("throughput.recorded", "events recorded since the start"),
        ("throughput.duplicates", "retries recognised since the start"),
        ("throughput.turned_away", "events turned away since the start"),
        ("stopped", "stands still because"),
        ("archive_waits", "archive is out of reach because"),
        ("signatures.in_force", "signatures in force"),
        ("signatures.disabled", "signatures that are not enabled"),
        ("signatures.model", "signatures, the classifier's model"),
        ("signatures.digest", "signatures, digest"),
        ("signatures.loaded", "signatures, loaded at"),
        ("signatures.refused", "newer signatures, or a newer model, are not used because"),
        ("intel.in_force", "indicators in force"),
        ("intel.digest", "indicators, digest"),
        ("intel.loaded", "indicators, loaded at"),
        ("intel.left_out", "indicators with a value of a warning list, and near prompts of which too many are alike"),
        ("intel.suppressed", "hits on values of a warning list"),
        ("intel.refused", "newer indicators are not used because"),
        ("intel.feeds.", "feed "),
        ("intel.failures.", "last failure of a feed, "),
        ("watch.checkpoint.records", "newest checkpoint, records"),
        ("watch.checkpoint.at", "newest checkpoint, written at"),
        ("watch.checkpoint.age_s", "newest checkpoint, age in seconds"),
        ("watch.witnessed.records", "witnessed checkpoint, records"),
        ("watch.witnessed.at", "witnessed checkpoint, written at"),
        ("watch.witnessed.age_s", "witnessed checkpoint, age in seconds"),
        ("rules.rules", "rules in force"),
        ("rules.correlations", "correlations in force"),
        ("rules.filters", "filters in force"),
        ("rules.problems", "problems with rules"),
        ("rules.digest", "rules, digest"),
        ("rules.loaded", "rules, loaded at"),
        ("rules.refused", "newer rules are not used because"),
        ("watch.cosignatures", "witnessed checkpoint, cosignatures"),
        ("watch.time_stamped.records", "time-stamped checkpoint, records"),
        ("watch.time_stamped.at", "time-stamped checkpoint, stamped at"),
        ("watch.time_stamped.age_s", "time-stamped checkpoint, age in seconds"),
        ("watch.published.records", "published checkpoint, records"),
        ("watch.published.at", "published checkpoint, put at"),
        ("watch.published.age_s", "published checkpoint, age in seconds"),
        ("watch.unpublished", "records sealed and not published yet"),
        ("watch.minimum_index", "ledger, pruned before record"),
        ("watch.heartbeat.seq", "last heartbeat, record"),
        ("watch.heartbeat.received", "last heartbeat, at"),
        ("watch.heartbeat.name", "last heartbeat, event"),
        ("watch.gaps", "gaps in the hot store"),
        ("watch.last_gap.seq", "last gap, record"),
        ("watch.last_gap.received", "last gap, at"),
        ("watch.last_gap.name", "last gap, event"),
        ("watch.last_gap.reason", "last gap, because of"),
        ("watch.archive.records", "records archived"),
        ("watch.archive.segments", "segments of the archive"),
        ("watch.archive.last_sealed", "newest segment, sealed at"),
        ("watch.archive.oldest_waiting.seq", "oldest record not archived yet"),
        ("watch.archive.oldest_waiting.received", "oldest record not archived yet, received at"),
        ("watch.archive.oldest_waiting.name", "oldest record not archived yet, event"),
        ("watch.archive.oldest_waiting.reason", "oldest record not archived yet, because of"),
        ("watch.archive.next_sweep_s", "next look at retention, in seconds"),
        ("counts.partitions", "days in the hot store"),
        ("counts.partitions_left_out", "days that queries leave out"),
        ("counts.next", "records indexed up to"),
        ("counts.events", "events in the hot store"),
        ("counts.contents", "texts in the hot store"),
        ("counts.content_bytes", "bytes of these texts"),
        ("counts.by_kind.", "events of kind "),
        ("counts.by_view.", "rows of view "),
        ("watch.witness_failures.", "last failure of a witness, "),
        ("watch.time_stamp_failures.", "last failure of the time-stamping authority, "),
        ("watch.publish_failures.", "last failure of the public log, "),
        ("version", "version"),
    ];
    for (known, words) in WORDS {
        match path.strip_prefix(known) {
            Some("") => return words.to_owned(),
            Some(rest) if known.ends_with('.') => return format!("{words}{}", rest.replace(['.', '_'], " ")),
            _ => {}
        }
    }
    path.replace(['.', '_'], " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_that_is_well_says_so_first_and_asks_for_nothing() {
        let status = json!({ "version": "1.2.3", "stopped": null, "progress": { "recorded": 9, "sealed": 7 }, "throughput": { "turned_away": 0 },
            "watch": { "gaps": 0, "witness_failures": [{ "who": "w", "at": "t", "what": "x", "is_over": true }] } });
        let lines = summary(true, &status, "/data");
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(
            lines[0].contains("running, version 1.2.3") && lines[1].contains("9 records on disk, 7 of them sealed"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("`watchkeeper verify`") && lines[2].contains("nothing") && lines[3] == "needs you  nothing",
            "{lines:?}"
        );
    }

    #[test]
    fn what_is_lost_and_what_somebody_has_to_do_stands_first_with_the_remedy() {
        let status = json!({ "version": "1", "stopped": "journal: no space left", "progress": { "recorded": 9, "sealed": 9 },
            "throughput": { "turned_away": 5 }, "rules": { "problems": 2, "left_out": ["own.yaml: no title"] },
            "watch": { "gaps": 3, "last_gap": { "received": "2026-03-01T00:00:00Z", "reason": "not_running" },
                "witness_failures": [{ "who": "https://w.example", "at": "t", "what": "refused", "is_over": false }] } });
        let text = summary(true, &status, "/data").join("\n");
        for words in [
            "STANDS STILL",
            "5 events turned away",
            "3 gaps known",
            "not_running",
            "FROM gaps",
            "journal: no space left",
            "start it again",
            "own.yaml: no title",
            "rules check",
            "witness https://w.example",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let text = summary(false, &json!({ "watch": { "checkpoint": { "records": 4 } } }), "/data").join("\n");
        assert!(
            text.contains("not running") && text.contains("4 records sealed") && text.contains("watchkeeper serve --data /data"),
            "{text}"
        );
    }
}
