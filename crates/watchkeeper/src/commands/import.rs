//! `watchkeeper import`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use capture::import::{self, Format, LINE_BYTES_MAX, LineContext};
use capture::{RawEvent, RecordError, Recorder};
use event::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};
use server::Node;

use crate::cli::{Data, ImportFormat};
use crate::output::{complain, say};

/// Events in one batch.
const BATCH_EVENTS: usize = 512;

/// Batches under way at once: one is written while the next are prepared.
const BATCHES_UNDER_WAY: usize = 4;

/// Refused lines that are named; the rest is counted.
const REFUSALS_NAMED: u64 = 20;

/// How long the consumers may take after the last line.
const CATCH_UP: Duration = Duration::from_secs(3_600);

pub(super) fn import(
    data: &Data,
    config: Option<&Path>,
    files: &[PathBuf],
    format: Option<ImportFormat>,
) -> anyhow::Result<ExitCode> {
    let node = Node::open(&data.path()?, &data.root()?, &super::lifecycle::settings(config)?)
        .context("import writes the record itself, so no server may run on it meanwhile")?;
    for note in node.notes() {
        complain(&format!("note: {note}"));
    }
    let runtime = super::serve::runtime()?;
    let mut sums = Sums::default();
    for file in files {
        runtime
            .block_on(one_file(file, format.map(Into::into), &node.recorder(), &mut sums))
            .with_context(|| file.display().to_string())?;
    }
    let progress = spinner("detecting, indexing, sealing");
    let done = node.flush(CATCH_UP);
    progress.finish_and_clear();
    let recorded = node.progress();
    node.close()?;
    if !done {
        bail!("recorded, but not yet detected, indexed and sealed to the end; the next start goes on");
    }
    say(&format!(
        "{} lines: {} events recorded, {} known already, {} lines refused; the record holds {} events, all sealed",
        sums.lines, sums.events, sums.duplicates, sums.refused, recorded.recorded
    ))?;
    Ok(if sums.refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[derive(Default)]
struct Sums {
    lines: u64,
    events: u64,
    duplicates: u64,
    refused: u64,
}

async fn one_file(path: &Path, format: Option<Format>, recorder: &Arc<dyn Recorder>, sums: &mut Sums) -> anyhow::Result<()> {
    let file = File::open(path).context("cannot read")?;
    let metadata = file.metadata()?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let time = modified.map_or_else(Timestamp::now, |time| Timestamp::from_unix_ns(u64::try_from(time.as_nanos()).unwrap_or(0)));
    let bar = ProgressBar::new(metadata.len()).with_style(
        ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message(path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default());
    let mut input = BufReader::with_capacity(1024 * 1024, bar.wrap_read(file));
    let mut under_way = tokio::task::JoinSet::new();
    let mut batch: Vec<RawEvent> = Vec::new();
    let mut line = Vec::new();
    let mut format = format;
    for number in 0.. {
        line.clear();
        let whole_file = format == Some(Format::OtlpProto);
        let read = if whole_file {
            input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_to_end(&mut line)?
        } else {
            input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?
        };
        if read == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        sums.lines += 1;
        let decoded = if line.len() > LINE_BYTES_MAX {
            input.skip_until(b'\n')?;
            Err(format!("has more than {LINE_BYTES_MAX} bytes"))
        } else {
            let Some(known) = format.or_else(|| import::sniff(&line)) else {
                bail!("line 1 is of no known format; name it with --format");
            };
            format = Some(known);
            import::decode_line(known, &line, LineContext { time, line: number }).map_err(|error| error.to_string())
        };
        match decoded {
            Ok(events) => batch.extend(events),
            Err(error) => {
                sums.refused += 1;
                if sums.refused <= REFUSALS_NAMED {
                    complain(&format!("{}: line {}: {error}", path.display(), number + 1));
                }
            }
        }
        if batch.len() >= BATCH_EVENTS {
            send(&mut under_way, recorder, std::mem::take(&mut batch), sums).await?;
        }
    }
    if !batch.is_empty() {
        send(&mut under_way, recorder, batch, sums).await?;
    }
    while let Some(done) = under_way.join_next().await {
        count(done??, sums);
    }
    bar.finish_and_clear();
    Ok(())
}

type Outcome = (u64, u64);

async fn send(
    under_way: &mut tokio::task::JoinSet<anyhow::Result<Outcome>>,
    recorder: &Arc<dyn Recorder>,
    batch: Vec<RawEvent>,
    sums: &mut Sums,
) -> anyhow::Result<()> {
    while under_way.len() >= BATCHES_UNDER_WAY {
        if let Some(done) = under_way.join_next().await {
            count(done??, sums);
        }
    }
    let recorder = recorder.clone();
    under_way.spawn(async move {
        loop {
            match recorder.record(batch.clone()).await {
                Ok(receipts) => {
                    let duplicates = receipts.iter().filter(|receipt| receipt.duplicate).count() as u64;
                    return Ok((receipts.len() as u64 - duplicates, duplicates));
                }
                Err(RecordError::Busy { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => return Err(error.into()),
            }
        }
    });
    Ok(())
}

fn count((events, duplicates): Outcome, sums: &mut Sums) {
    sums.events += events;
    sums.duplicates += duplicates;
}

fn spinner(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

impl From<ImportFormat> for Format {
    fn from(format: ImportFormat) -> Self {
        match format {
            ImportFormat::AgentTraces => Self::AgentTraces,
            ImportFormat::ChatJsonl => Self::ChatJsonl,
            ImportFormat::OtlpJson => Self::OtlpJson,
            ImportFormat::OtlpProto => Self::OtlpProto,
            ImportFormat::Events => Self::Events,
        }
    }
}
