//! `watchkeeper inspect` and `watchkeeper sanitize`: JSONL filters that keep the order and hold one line at a time.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use event::Channel;
use files::{LineError, Lines};
use sanitize::Replacement;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{inspector, jsonl};
use crate::cli::{Data, Signatures};
use crate::output::stdout;

/// Texts are borrowed from the line where JSON wrote them as they are: a huge one is not held twice.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct InspectLine<'l> {
    #[serde(borrow)]
    text: Cow<'l, str>,
    channel: Option<String>,
    #[serde(borrow)]
    context: Option<Cow<'l, str>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct SanitizeLine<'l> {
    #[serde(borrow)]
    text: Cow<'l, str>,
}

pub(super) fn inspect(file: &Path, channel: &str, signatures: &Signatures) -> anyhow::Result<ExitCode> {
    let default: Channel = channel.parse().context("--channel")?;
    let inspector = inspector::of(signatures)?;
    filter(file, r#"{"text", "channel"?, "context"?}"#, |line: &[u8]| {
        let InspectLine { text, channel, context } = jsonl::value(line)?;
        let channel =
            channel.map_or(Ok(default), |name| name.parse()).map_err(|error: event::UnknownChannel| error.to_string())?;
        // Nobody waits for an answer in between, so that the whole of a text is scanned, however long it is.
        let report = inspector.inspect_up_to(&text, channel, context.as_deref(), usize::MAX);
        let inspect::Report { score, verdict, findings, unscanned_bytes, .. } = report;
        Ok(InspectAnswer { score, verdict, findings, unscanned_bytes })
    })
}

pub(super) fn sanitize(file: &Path, data: &Data, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = config.map(server::Config::read).transpose()?.map(|config| config.sanitize);
    let sanitizer = match &data.dir {
        Some(dir) => {
            let keyring = server::read_keyring(&server::DataDir::existing(dir)?, &data.root()?)?;
            match &config {
                Some(config) => server::sanitizer_by(&keyring, config)?,
                None => server::sanitizer(&keyring)?,
            }
        }
        None => server::ephemeral_sanitizer(&config.unwrap_or_default())?,
    };
    filter(file, r#"{"text"}"#, |line: &[u8]| {
        let SanitizeLine { text } = jsonl::value(line)?;
        let cleaned = sanitizer.any(&text);
        Ok(SanitizeAnswer { text: cleaned.text.as_str().to_owned(), spans: cleaned.replacements })
    })
}

#[derive(Serialize)]
struct SanitizeAnswer {
    text: String,
    spans: Vec<Replacement>,
}

#[derive(Serialize)]
struct InspectAnswer {
    score: f32,
    verdict: event::Verdict,
    findings: Vec<event::Finding>,
    /// Bytes of the text that were not scanned, where there are any: encoded parts over the limits of decoding.
    #[serde(skip_serializing_if = "is_zero")]
    unscanned_bytes: u64,
}

/// By reference, as `serde` asks.
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// Answers every line with one line. One that cannot be read is answered with `{"error"}`, which names it, and does not stop the others.
fn filter<A: Serialize>(file: &Path, form: &str, mut answer: impl FnMut(&[u8]) -> Result<A, String>) -> anyhow::Result<ExitCode> {
    let mut lines = Lines::new(jsonl::open(file)?, jsonl::LINE_BYTES_MAX);
    let mut out = stdout();
    let mut all_read = true;
    loop {
        let result = match lines.read() {
            Ok(Some((number, line))) => answer(line).map_err(|problem| format!("line {number}: {problem}; a line is {form}")),
            Ok(None) => break,
            Err(error @ LineError::TooLong { .. }) => Err(error.to_string()),
            Err(LineError::Io(error)) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        match result {
            Ok(answer) => serde_json::to_writer(&mut out, &answer).map_err(io::Error::from)?,
            Err(error) => {
                all_read = false;
                serde_json::to_writer(&mut out, &json!({ "error": error })).map_err(io::Error::from)?;
            }
        }
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
