//! `watchkeeper eval traces`: labelled sessions through the whole way of an event, into a record that is thrown away, and what was
//! detected in them.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use capture::import::{self, Format, LINE_BYTES_MAX, LineContext};
use capture::{RawEvent, RecordError};
use event::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};
use inspect::Inspector;
use learn::{Class, Row, Seen, SessionLabel, SessionReport, Setting, Signatures};
use server::{Node, NodeSettings, RootKeyPlace};
use store::{Cell, QueryLimits};

use super::jsonl;
use crate::cli::{EvalTracesOptions, TracesFormat};
use crate::output::{complain, stdout};

/// Events in one append.
const BATCH_EVENTS: usize = 512;

/// How long detection and indexing may take after the last session of a suite.
const CATCH_UP: Duration = Duration::from_secs(3_600);

/// Sessions that are measured at once, of one suite. Each is held in memory until its suite is recorded.
const SESSIONS_MAX: usize = 1_000_000;

/// What happened, by the clock of the sessions: they tell none.
const BEGIN: Timestamp = Timestamp::from_unix_ns(1_700_000_000_000_000_000);

/// A session: its labels, and the line that it stands in.
struct Session {
    label: SessionLabel,
    line: Vec<u8>,
}

pub(super) fn eval(options: &EvalTracesOptions) -> anyhow::Result<ExitCode> {
    let suites = read(&options.files)?;
    let mut notes = vec![
        "The rule of content flow is written by hand, and nothing in it is fitted to a suite; whoever wrote it had the suites \
         `banking` and `slack` of AgentDojo in sight. On those its figures are development figures, however the suites are left out."
            .to_owned(),
    ];
    let corpus = if options.leave_one_suite_out {
        Some(super::learning::rows(&options.train, &options.dev, &options.always)?)
    } else {
        notes.push(
            "The text classifier is the one that is part of the program; it was trained on texts of `banking` and `slack`, too. \
             `--leave-one-suite-out` trains it without."
                .to_owned(),
        );
        None
    };
    let mut seen: Vec<(SessionLabel, Seen)> = Vec::new();
    for (suite, sessions) in suites {
        let scratch = Scratch::new()?;
        let mut settings = NodeSettings::default();
        if let Some(corpus) = &corpus {
            let (model, left_out) = train_without(corpus, &suite, &scratch.0)?;
            notes.push(format!(
                "`{suite}`: the classifier was trained without the {left_out} texts whose source names the suite."
            ));
            settings.inspect.model = Some(model);
        }
        seen.extend(measure(&suite, sessions, &scratch.0, &settings)?);
    }
    if options.misses {
        for (label, of_it) in &seen {
            let alarm = of_it.acted_on || of_it.reached;
            if alarm != (label.class == Class::Succeeded) {
                let attack = label.attack.as_deref().unwrap_or("none");
                let said = if alarm { "alarm" } else { "missed" };
                complain(&format!("{said}: {} ({}, {}, {attack}, {})", label.id, label.class.as_str(), label.suite, label.model));
            }
        }
    }
    let title = if corpus.is_some() {
        "Sessions of agents, each suite left out"
    } else {
        "Sessions of agents, with the program as it is"
    };
    let report = SessionReport::of(title, notes, &seen);
    let mut out = stdout();
    match options.format {
        TracesFormat::Table => out.write_all(report.markdown().as_bytes())?,
        TracesFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &report)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The sessions of the files, by suite.
fn read(files: &[PathBuf]) -> anyhow::Result<BTreeMap<String, Vec<Session>>> {
    let mut suites: BTreeMap<String, Vec<Session>> = BTreeMap::new();
    let mut count = 0;
    for file in files {
        let mut input = jsonl::open(file)?;
        for number in 1.. {
            let mut line = Vec::new();
            if input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let of_line = || format!("{}: line {number}", file.display());
            ensure!(line.len() <= LINE_BYTES_MAX, "{} has more than {LINE_BYTES_MAX} bytes", of_line());
            let label = SessionLabel::read(&line).with_context(of_line)?;
            count += 1;
            ensure!(count <= SESSIONS_MAX, "{}: more than {SESSIONS_MAX} sessions; give fewer files", of_line());
            suites.entry(label.suite.clone()).or_default().push(Session { label, line });
        }
    }
    ensure!(!suites.is_empty(), "there are no sessions in the files that were given");
    Ok(suites)
}

/// Trains a model on what does not come from the suite. Returns where it lies, and how many texts were left out.
fn train_without(corpus: &[Row], suite: &str, dir: &Path) -> anyhow::Result<(PathBuf, usize)> {
    let names_suite = |row: &Row| row.source.split(|c: char| !c.is_alphanumeric()).any(|part| part.eq_ignore_ascii_case(suite));
    let rest: Vec<Row> = corpus.iter().filter(|row| !names_suite(row)).cloned().collect();
    let signatures = Signatures::from(Inspector::builtin()?);
    let evaluation = super::learning::left_out(&rest, &signatures, Setting::Product);
    let model = learn::train(&rest, &signatures, &format!("without-{suite}"), &evaluation)?;
    let path = dir.join("model.wkmodel");
    files::write_atomic(&path, &model.to_bytes()?, 0o600).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, corpus.len() - rest.len()))
}

/// Records the sessions of a suite and says what was detected in each.
fn measure(
    suite: &str,
    sessions: Vec<Session>,
    dir: &Path,
    settings: &NodeSettings,
) -> anyhow::Result<Vec<(SessionLabel, Seen)>> {
    let bar = ProgressBar::new(sessions.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} sessions {eta}") {
        bar.set_style(style);
    }
    bar.set_message(suite.to_owned());
    let node = Node::open(&dir.join("data"), &RootKeyPlace::File(dir.join("root.key")), settings)?;
    let runtime = super::serve::runtime()?;
    let mut by_trace: HashMap<String, usize> = HashMap::new();
    let mut batch: Vec<RawEvent> = Vec::new();
    for (index, session) in sessions.iter().enumerate() {
        let context = LineContext { time: BEGIN, line: index as u64 };
        let events =
            import::decode_line(Format::AgentTraces, &session.line, context).with_context(|| session.label.id.clone())?;
        let traces = events.iter().filter_map(|event| event.trace.map(|trace| trace.trace_id.to_string()));
        for trace in traces {
            let first = *by_trace.entry(trace).or_insert(index);
            ensure!(first == index, "{} is there twice: trace_id names one session", session.label.id);
        }
        batch.extend(events);
        if batch.len() >= BATCH_EVENTS {
            record(&runtime, &node, std::mem::take(&mut batch))?;
        }
        bar.inc(1);
    }
    record(&runtime, &node, batch)?;
    if !node.flush(CATCH_UP) {
        bail!("the sessions are not detected to the end: {}", node.stopped().unwrap_or_else(|| "it takes too long".to_owned()));
    }
    bar.finish_and_clear();
    let limits = QueryLimits { rows_max: 3 * SESSIONS_MAX, ..QueryLimits::default() };
    let found =
        node.reader()?.sql("SELECT trace_id, grade FROM detections WHERE grade IS NOT NULL GROUP BY trace_id, grade", &limits)?;
    ensure!(!found.truncated, "there are more detections than an answer takes; give fewer sessions at once");
    node.close()?;
    let mut out: Vec<(SessionLabel, Seen)> = sessions.into_iter().map(|session| (session.label, Seen::default())).collect();
    for row in &found.rows {
        let [Cell::Text(trace), Cell::Text(grade)] = row.as_slice() else { continue };
        let Some((_, seen)) = by_trace.get(trace).and_then(|index| out.get_mut(*index)) else { continue };
        match grade.as_str() {
            "seen" => seen.seen = true,
            "acted_on" => seen.acted_on = true,
            "reached" => seen.reached = true,
            _ => {}
        }
    }
    Ok(out)
}

fn record(runtime: &tokio::runtime::Runtime, node: &Node, events: Vec<RawEvent>) -> anyhow::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    loop {
        match runtime.block_on(node.recorder().record(events.clone())) {
            Ok(_) => return Ok(()),
            Err(RecordError::Busy { .. }) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A directory that is gone when the measurement ends, however it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        for number in 0..1_000 {
            let dir = std::env::temp_dir().join(format!("watchkeeper-eval-{}-{number}", std::process::id()));
            match std::fs::create_dir(&dir) {
                Ok(()) => return Ok(Self(dir)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", dir.display())),
            }
        }
        bail!("cannot make a directory below {}: remove what is left of earlier runs", std::env::temp_dir().display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            complain(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
