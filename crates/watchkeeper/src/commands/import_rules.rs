//! `watchkeeper rules import`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use files::{Lines, Tree};
use rule_import::{Benign, Form, Import, Noise, Outcome, Standing};
use serde::{Deserialize, Serialize};
use store::{Cell, Table};

use crate::cli::{FormatName, RuleForm};
use crate::output::{say, table};

/// Longest file of foreign rules, in bytes. The largest of ATR has 60 KB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most files of foreign rules.
const FILES_MAX: usize = 5_000;
/// Longest line of innocent texts, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most innocent texts: they are held while rules are tried on them.
const BENIGN_MAX: usize = 1_000_000;
/// The report of what became of each rule.
const REPORT: &str = "import.json";

#[derive(Deserialize)]
struct BenignLine {
    text: String,
    channel: Option<String>,
    kind: Option<String>,
}

#[derive(Serialize)]
struct Report<'i> {
    from: Form,
    enabled: usize,
    disabled: usize,
    dropped: usize,
    rules: &'i [Outcome],
    #[serde(skip_serializing_if = "<[Noise]>::is_empty")]
    benign: &'i [Noise],
}

pub(super) fn import(from: RuleForm, path: &Path, to: &Path, benign: &[PathBuf], format: FormatName) -> anyhow::Result<ExitCode> {
    let (form, ending) = match from {
        RuleForm::Atr => (Form::Atr, ["yaml", "yml"].as_slice()),
        RuleForm::Nova => (Form::Nova, ["nov"].as_slice()),
    };
    make_empty(to)?;
    let tree = Tree { endings: ending, file_bytes_max: FILE_BYTES_MAX, files_max: FILES_MAX };
    let name = |file: &Path| file.strip_prefix(path).ok().filter(|name| !name.as_os_str().is_empty()).unwrap_or(file).to_owned();
    let files = tree.read(path)?.into_iter();
    let files: Vec<(String, String)> =
        files.map(|(file, bytes)| (name(&file).display().to_string(), String::from_utf8_lossy(&bytes).into_owned())).collect();
    let mut innocent = Vec::new();
    for file in benign {
        read_benign(file, &mut innocent)?;
    }
    let import = rule_import::import(form, &files, &innocent)?;
    for (name, yaml) in import.to_yaml()? {
        write(&to.join(name), yaml.as_bytes())?;
    }
    let count = |standing| import.count(standing);
    let report = Report {
        from: form,
        enabled: count(Standing::Enabled),
        disabled: count(Standing::Disabled),
        dropped: count(Standing::Dropped),
        rules: &import.rules,
        benign: &import.benign,
    };
    write(&to.join(REPORT), &serde_json::to_vec_pretty(&report)?)?;
    table(&outcomes(&import), format)?;
    if format == FormatName::Table {
        if !import.benign.is_empty() {
            table(&noise(&import.benign), format)?;
        }
        let Report { enabled, disabled, dropped, .. } = report;
        say(&format!("{enabled} enabled, {disabled} written and not enabled, {dropped} dropped; in {}", to.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Rules that were changed by hand must not be lost, and those of an import before must not stay.
fn make_empty(to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut entries = std::fs::read_dir(to).with_context(|| format!("cannot read {}", to.display()))?;
    anyhow::ensure!(entries.next().is_none(), "{} is not empty; name a new directory", to.display());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn read_benign(file: &Path, into: &mut Vec<Benign>) -> anyhow::Result<()> {
    let cannot_read = || format!("cannot read {}", file.display());
    let mut lines = Lines::new(BufReader::new(File::open(file).with_context(cannot_read)?), LINE_BYTES_MAX);
    while let Some((number, line)) = lines.read().with_context(cannot_read)? {
        let at = || format!("{}: line {number}", file.display());
        anyhow::ensure!(into.len() < BENIGN_MAX, "{} is one too many: {BENIGN_MAX} are taken", at());
        let BenignLine { text, channel, kind } = serde_json::from_slice(line).with_context(at)?;
        let channel = channel.as_deref().unwrap_or("user").parse().with_context(at)?;
        into.push(Benign { channel, text, kind: kind.unwrap_or_else(|| "innocent".to_owned()) });
    }
    Ok(())
}

fn outcomes(import: &Import) -> Table {
    let columns = [
        "rule",
        "standing",
        "patterns",
        "positives",
        "negatives",
        "evasions",
        "cross noise",
        "benign noise",
        "reason",
        "dropped",
    ];
    let text = |text: &str| Cell::Text(text.to_owned());
    let number = |number: usize| Cell::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let share = |share: rule_import::Share| Cell::Text(format!("{}/{}", share.count, share.of));
    let standing = |standing| match standing {
        Standing::Enabled => "enabled",
        Standing::Disabled => "disabled",
        Standing::Dropped => "dropped",
    };
    let row = |rule: &Outcome| {
        vec![
            text(&rule.rule),
            text(standing(rule.standing)),
            number(rule.patterns),
            share(rule.positives),
            share(rule.negatives),
            share(rule.evasions),
            number(rule.cross_noise),
            number(rule.benign_noise),
            text(rule.reason.as_deref().unwrap_or_default()),
            text(&rule.dropped.join("; ")),
        ]
    };
    Table { columns: columns.map(str::to_owned).to_vec(), rows: import.rules.iter().map(row).collect(), truncated: false }
}

fn noise(benign: &[Noise]) -> Table {
    let number = |number: usize| Cell::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let row = |noise: &Noise| vec![Cell::Text(noise.kind.clone()), number(noise.texts), number(noise.found)];
    let columns = ["innocent texts", "texts", "in which a rule is found"];
    Table { columns: columns.map(str::to_owned).to_vec(), rows: benign.iter().map(row).collect(), truncated: false }
}
