//! `watchkeeper train` and `watchkeeper eval text`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use inspect::Inspector;
use learn::{Evaluation, Report, Row, Setting, Signatures, Split};

use super::{inspector, jsonl};
use crate::cli::{Corpora, Eval, EvalTextOptions, ReportFormat, SettingName, TrainOptions};
use crate::output::{complain, say, stdout};

pub(super) fn train(options: &TrainOptions) -> anyhow::Result<ExitCode> {
    let Corpora { train, dev, always } = &options.corpora;
    let rows = rows(train, dev, always)?;
    learn::check(&rows)?;
    let signatures = Signatures::from(Inspector::builtin()?);
    let evaluation = left_out(&rows, &signatures, Setting::Product);
    let model = learn::train(&rows, &signatures, &options.name, &evaluation)?;
    let report = Report::of("Sources that were left out", &rows, &evaluation);
    let bytes = model.to_bytes()?;
    files::write_atomic(&options.out, &bytes, 0o644).with_context(|| format!("cannot write {}", options.out.display()))?;
    let found = report.recall().map_or_else(
        || "no attack was measured".to_owned(),
        |[warn, deny]| {
            format!(
                "on sources left out it finds {:.3} of attacks ({:.3} as the mean of sources) at a promised 1 %, {:.3} ({:.3}) at 0.1 %",
                warn.0, warn.1, deny.0, deny.1
            )
        },
    );
    say(&format!("{}: {} rows, {} bytes; {found}", options.out.display(), rows.len(), bytes.len()))?;
    for caveat in learn::caveats(&rows) {
        complain(&format!("note: {caveat}"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn eval(command: &Eval) -> anyhow::Result<ExitCode> {
    let options = match command {
        Eval::Text(options) => options,
        Eval::Traces(options) => return super::eval_traces::eval(options),
        Eval::Model(options) => return super::eval_model::eval(options),
        Eval::Accept(options) => return super::eval_model::accept(options),
    };
    let report = if options.leave_one_source_out { of_left_out(options)? } else { of_this_program(options)? };
    let mut out = stdout();
    match options.format {
        ReportFormat::Markdown => out.write_all(report.markdown().as_bytes())?,
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &report)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn of_this_program(options: &EvalTextOptions) -> anyhow::Result<Report> {
    let inspector = inspector::of(&options.signatures)?;
    let rows = rows(&[], &options.files, &[])?;
    Ok(Report::of("Text inspection as it is", &rows, &learn::measure(&rows, &inspector)))
}

fn of_left_out(options: &EvalTextOptions) -> anyhow::Result<Report> {
    let rows = rows(&options.train, &options.dev, &options.always)?;
    if options.setting != SettingName::Signatures {
        learn::check(&rows)?;
    }
    let (setting, title) = match options.setting {
        SettingName::Product => (Setting::Product, "Classifier and signatures, on sources that were left out"),
        SettingName::Classifier => (Setting::ClassifierAlone, "The classifier alone, on sources that were left out"),
        SettingName::Signatures => (Setting::SignaturesAlone, "Signatures alone"),
        SettingName::Words => (Setting::BagOfWords, "Logistic regression over words, on sources that were left out"),
    };
    let signatures = Signatures::from(Inspector::builtin()?);
    Ok(Report::of(title, &rows, &left_out(&rows, &signatures, setting)))
}

pub(super) fn left_out(rows: &[Row], signatures: &Signatures, setting: Setting) -> Evaluation {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} families of sources left out") {
        bar.set_style(style);
    }
    let evaluation = learn::evaluate(rows, signatures, setting, &|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    evaluation
}

pub(super) fn rows(train: &[PathBuf], dev: &[PathBuf], always: &[PathBuf]) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (paths, split) in [(train, Split::Train), (dev, Split::Dev), (always, Split::Always)] {
        for file in files_of(paths)? {
            rows.extend(learn::read(jsonl::open(&file)?, split).with_context(|| file.display().to_string())?);
        }
    }
    ensure!(!rows.is_empty(), "there are no rows in the files that were given; files are named, in directories *.jsonl are read");
    Ok(rows)
}

/// Files as they are named, and those of directories in the order of their names, so that a model does not depend on the file system.
fn files_of(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut inside: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        inside.retain(|file| file.extension().is_some_and(|extension| extension == Path::new("jsonl")));
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}
