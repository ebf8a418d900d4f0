//! Scores texts for measurements: JSON lines of `{"text", "channel"?, "context"?}` in, JSON lines of score and rules out.
//!
//! ```text
//! cargo run -p watchkeeper-inspect --example score_jsonl < texts.jsonl > scores.jsonl
//! ```

#![allow(missing_docs)]

use std::io::{BufRead, Write};

use event::Channel;
use watchkeeper_inspect::Inspector;

#[derive(serde::Deserialize)]
struct Row {
    text: String,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    context: Option<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let inspector = Inspector::builtin()?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let row: Row = serde_json::from_str(&line?)?;
        let channel: Channel = row.channel.as_deref().unwrap_or("user").parse()?;
        let started = std::time::Instant::now();
        let report = inspector.inspect(&row.text, channel, row.context.as_deref());
        let micros = started.elapsed().as_micros();
        let rules: Vec<_> = report.findings.iter().map(|found| (found.rule.as_str(), found.score)).collect();
        serde_json::to_writer(&mut out, &serde_json::json!({ "score": report.score, "rules": rules, "us": micros }))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
