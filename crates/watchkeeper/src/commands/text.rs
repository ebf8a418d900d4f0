//! `watchkeeper inspect` and `watchkeeper sanitize`: JSONL filters that keep the order and hold one line at a time.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use event::Channel;
use files::{LineError, Lines};
use serde::{Deserialize, Serialize};
use serde_json::json;
use server::InspectConfig;

use crate::cli::{Data, Signatures};
use crate::output::stdout;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Texts are borrowed from the line where JSON wrote them as they are: a huge one is not held twice.
#[derive(Deserialize)]
struct InspectLine<'l> {
    #[serde(borrow)]
    text: Cow<'l, str>,
    channel: Option<String>,
    #[serde(borrow)]
    context: Option<Cow<'l, str>>,
}

#[derive(Deserialize)]
struct SanitizeLine<'l> {
    #[serde(borrow)]
    text: Cow<'l, str>,
}

pub(super) fn inspect(file: &Path, channel: &str, signatures: Signatures) -> anyhow::Result<ExitCode> {
    let default: Channel = channel.parse().context("--channel")?;
    let config = InspectConfig {
        signatures: signatures.dirs,
        builtin_signatures: !signatures.no_builtin_signatures,
        model: signatures.model,
        second_opinion: None,
    };
    let inspector = config.inspector()?;
    filter(file, |line: &[u8]| {
        let line: InspectLine<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let channel =
            line.channel.map_or(Ok(default), |name| name.parse()).map_err(|error: event::UnknownChannel| error.to_string())?;
        // Nobody waits for an answer in between, so that the whole of a text is scanned, however long it is.
        let report = inspector.inspect_up_to(&line.text, channel, line.context.as_deref(), usize::MAX);
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
    filter(file, |line: &[u8]| {
        let line: SanitizeLine<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let cleaned = sanitizer.text(&line.text);
        let spans: Vec<_> = cleaned
            .replacements
            .iter()
            .map(|one| json!({ "start": one.start, "end": one.end, "type": one.kind.as_str(), "action": one.action.as_str() }))
            .collect();
        Ok(json!({ "text": cleaned.text.as_str(), "spans": spans }))
    })
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

/// Answers every line with one line. A line that cannot be read is answered with `{"error"}` and does not stop the others.
fn filter<A: Serialize>(file: &Path, mut answer: impl FnMut(&[u8]) -> Result<A, String>) -> anyhow::Result<ExitCode> {
    let input: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?)),
    };
    let mut lines = Lines::new(input, LINE_BYTES_MAX);
    let mut out = stdout();
    let mut all_read = true;
    loop {
        let result = match lines.read() {
            Ok(Some((_, line))) => answer(line),
            Ok(None) => break,
            Err(LineError::TooLong { bytes_max, .. }) => Err(format!("a line has at most {bytes_max} bytes")),
            Err(LineError::Io(error)) => return Err(error.into()),
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
