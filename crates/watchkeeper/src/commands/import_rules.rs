//! `watchkeeper rules import`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use files::{Lines, Tree};
use rule_import::{Benign, Form, Import, Noise, Outcome, Standing};
use serde::{Deserialize, Serialize};
use store::{Cell, Table};

use super::jsonl;
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
/// Widest cells of the table for people, in characters: with its lines it has 120.
const RULE_CHARS_MAX: usize = 34;
const WHY_CHARS_MAX: usize = 68;
/// The report of what became of each rule.
const REPORT: &str = "import.json";

#[derive(Deserialize)]
#[serde(expecting = "an object")]
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
    let Report { enabled, disabled, dropped, .. } = report;
    if format == FormatName::Table {
        let losses = losses(&import);
        if !losses.rows.is_empty() {
            table(&losses, format)?;
        }
        if !import.benign.is_empty() {
            table(&noise(&import.benign), format)?;
        }
        say(&format!("{enabled} enabled, {disabled} written and not enabled, {dropped} dropped; in {}", to.display()))?;
        say(&format!("{REPORT} there has all of each rule: examples, noise, and whatever was dropped of it"))?;
    } else {
        table(&outcomes(&import), format)?;
    }
    let file = to.join(REPORT);
    anyhow::ensure!(enabled + disabled > 0, "none of {dropped} rules could be taken: {} says why of each", file.display());
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
    let mut lines = Lines::new(jsonl::open(file)?, LINE_BYTES_MAX);
    while let Some((number, line)) = lines.read().with_context(cannot_read)? {
        let at = || format!("{}: line {number}", file.display());
        anyhow::ensure!(into.len() < BENIGN_MAX, "{} is one too many: {BENIGN_MAX} are taken", at());
        let BenignLine { text, channel, kind } = jsonl::value(line)
            .map_err(|problem| anyhow::anyhow!("{}: {problem}; a line is {{\"text\", \"channel\"?, \"kind\"?}}", at()))?;
        let channel = channel.as_deref().unwrap_or("user").parse().with_context(at)?;
        into.push(Benign { channel, text, kind: kind.unwrap_or_else(|| "innocent".to_owned()) });
    }
    Ok(())
}

/// For people: the rules that are not used, or not as a whole, in as many columns as a terminal has.
fn losses(import: &Import) -> Table {
    let cut = |text: &str, chars_max: usize| match text.char_indices().nth(chars_max - 1) {
        Some((at, last)) if at + last.len_utf8() < text.len() => Cell::Text(format!("{}…", &text[..at])),
        _ => Cell::Text(text.to_owned()),
    };
    let is_one = |rule: &&Outcome| rule.standing != Standing::Enabled || !rule.dropped.is_empty();
    let row = |rule: &Outcome| {
        let why = rule.reason.clone().unwrap_or_else(|| format!("without {}", rule.dropped.join("; ")));
        vec![cut(&rule.rule, RULE_CHARS_MAX), Cell::Text(standing(rule.standing).to_owned()), cut(&why, WHY_CHARS_MAX)]
    };
    let columns = ["rule", "standing", "why, or without what"].map(str::to_owned).to_vec();
    Table { columns, rows: import.rules.iter().filter(is_one).map(row).collect(), truncated: false }
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Enabled => "enabled",
        Standing::Disabled => "disabled",
        Standing::Dropped => "dropped",
    }
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
