//! `watchkeeper intel`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use event::Timestamp;
use intel::feed::{self, Options};
use intel::{Indicator, Kind, Problems, SetBuilder, Tlp, WarningLists};
use keys::Keyring;
use serde_json::{Value, json};
use server::config::IntelConfig;
use server::{Config, DataDir};
use store::{Cell, Table};

use crate::cli::{Data, FeedFormat, FeedReading, Feeds, FormatName, Intel, KindName, TlpName, Which};
use crate::output::{complain, printable, say, stdout};

/// Largest feed that is read.
const FEED_BYTES_MAX: u64 = 256 * 1024 * 1024;

pub(super) fn intel(command: Intel) -> anyhow::Result<ExitCode> {
    match command {
        Intel::Check { file, reading, format } => check(&file, &reading, format.format),
        Intel::Import { data, file, name, reading } => import(&data, &file, &name, &reading),
        Intel::Remove { data, name } => {
            let (dir, keyring) = open(&data)?;
            let was_there = server::intel::remove_import(&dir, &keyring, &name)?;
            say(if was_there { "removed" } else { "nothing was imported under that name" })?;
            Ok(if was_there { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        Intel::List { record, which, limit, format } => list(&record, &which, limit, format.format),
        Intel::Match { record, file, feeds, reading, warning_lists } => {
            let set =
                if feeds.is_empty() { set_of(&record, &warning_lists) } else { set_of_files(&feeds, &reading, &warning_lists) };
            look_up(&set?, &file)
        }
        Intel::Export { record, which, tlp_max } => export(&record, &which, tlp_max.tlp()),
    }
}

fn check(file: &Path, reading: &FeedReading, format: FormatName) -> anyhow::Result<ExitCode> {
    let found = read_feed(file, reading, "check")?;
    let rows = check_rows(&found, now_s());
    show(&["what", "count", "example"], &rows, format)?;
    let is_any_looked_up = found.indicators.is_empty() || found.indicators.iter().any(|one| !has_expired(one, now_s()));
    Ok(if found.problems.count() == 0 && is_any_looked_up { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What of a feed is looked up at a time, in seconds since 1970, and what is not.
fn check_rows(found: &intel::Reading, at_s: i64) -> Vec<Value> {
    let count = |what: String, count: usize| json!({ "what": what, "count": count, "example": Value::Null });
    let mut rows = Vec::new();
    for (what, is_expired) in [("looked up", false), ("expired", true)] {
        for kind in Kind::ALL {
            let of_kind = found.indicators.iter().filter(|one| one.kind == kind && has_expired(one, at_s) == is_expired).count();
            if of_kind > 0 {
                rows.push(count(format!("{what}: {kind}"), of_kind));
            }
        }
    }
    if !found.revoked.is_empty() {
        rows.push(count("taken back by the source".to_owned(), found.revoked.len()));
    }
    rows.extend(found.problems.iter().map(
        |(reason, left)| json!({ "what": format!("left out: {reason}"), "count": left.count, "example": left.examples.first() }),
    ));
    rows
}

fn has_expired(one: &Indicator, at_s: i64) -> bool {
    one.valid_until.is_some_and(|until| until <= at_s)
}

fn now_s() -> i64 {
    i64::try_from(Timestamp::now().unix_ns() / 1_000_000_000).unwrap_or(0)
}

fn import(data: &Data, file: &Path, name: &str, reading: &FeedReading) -> anyhow::Result<ExitCode> {
    let (dir, keyring) = open(data)?;
    let options = reading.options(name);
    let format = reading.feed_format.map(FeedFormat::format);
    let (count, problems) = server::intel::import(&dir, &keyring, name, &read(file)?, format, &options)?;
    told(&problems);
    say(&format!("{count} indicators imported as {name}"))?;
    Ok(if problems.count() == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn list(record: &Feeds, which: &Which, limit: usize, format: FormatName) -> anyhow::Result<ExitCode> {
    let time = |seconds: Option<i64>| {
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok())?;
        Some(Timestamp::from_unix_ns(seconds.saturating_mul(1_000_000_000)).rfc3339())
    };
    let rows: Vec<Value> = in_force(record, which)?
        .take(limit)
        .map(|one| {
            json!({ "kind": one.kind, "value": one.value, "source": one.source, "confidence": one.confidence,
                "tlp": one.tlp.as_str(), "valid_from": time(one.valid_from), "valid_until": time(one.valid_until),
                "label": one.label, "id": one.stix_id() })
        })
        .collect();
    let columns = ["kind", "value", "source", "confidence", "tlp", "valid_from", "valid_until", "label", "id"];
    show(&columns, &rows, format)?;
    Ok(ExitCode::SUCCESS)
}

fn export(record: &Feeds, which: &Which, tlp_max: Tlp) -> anyhow::Result<ExitCode> {
    let (may, may_not): (Vec<_>, Vec<_>) = in_force(record, which)?.partition(|one| one.tlp <= tlp_max);
    if !may_not.is_empty() {
        complain(&format!(
            "{} indicators are left out: they may not be shared as TLP:{} (--tlp-max)",
            may_not.len(),
            tlp_max.as_str()
        ));
    }
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, &intel::stix::bundle(may, now_s()))?;
    writeln!(out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn look_up(set: &intel::Set, file: &Path) -> anyhow::Result<ExitCode> {
    let input: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?)),
    };
    let now = now_s();
    let mut out = stdout();
    let mut any = false;
    for (index, line) in input.lines().enumerate() {
        let line = line?;
        let given: Option<Value> = serde_json::from_str(&line).ok();
        let text = given.as_ref().and_then(|given| given["text"].as_str()).unwrap_or(&line);
        let (hits, is_cut) = set.look_in(text, true);
        if is_cut {
            complain(&format!("line {}: has more addresses than are looked up", index + 1));
        }
        for hit in hits.iter().filter(|hit| set.holds(hit, now)) {
            let Some(one) = set.indicator(hit) else { continue };
            any = true;
            let shown = json!({ "line": index + 1, "kind": one.kind, "value": one.value, "seen": hit.value, "id": one.stix_id(),
                "source": one.source, "confidence": one.confidence, "tlp": one.tlp.as_str(), "label": one.label });
            serde_json::to_writer(&mut out, &shown)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(if any { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Prints objects as a table of these columns.
fn show(columns: &[&str], rows: &[Value], format: FormatName) -> anyhow::Result<()> {
    let cell = |value: &Value| match value {
        Value::Null => Cell::Null,
        Value::String(text) => Cell::Text(text.clone()),
        Value::Number(number) if number.is_i64() => Cell::Int(number.as_i64().unwrap_or_default()),
        other => Cell::Text(other.to_string()),
    };
    let rows = rows.iter().map(|row| columns.iter().map(|name| cell(&row[*name])).collect()).collect();
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    crate::output::table(&Table { columns, rows, truncated: false }, format)
}

/// The indicators in force in a record that are asked for.
fn in_force(record: &Feeds, which: &Which) -> anyhow::Result<impl Iterator<Item = Indicator> + use<>> {
    let kinds: Vec<Kind> = which.kinds.iter().map(|name| name.kind()).collect();
    let source = which.source.clone();
    let (_, all) = of_record(record)?;
    Ok(all.into_iter().filter(move |one| {
        (kinds.is_empty() || kinds.contains(&one.kind)) && source.as_ref().is_none_or(|source| one.source == *source)
    }))
}

/// The feeds of a record, and what is in force by them.
fn of_record(record: &Feeds) -> anyhow::Result<(IntelConfig, Vec<Indicator>)> {
    let (dir, keyring) = open(&record.data)?;
    let config = match &record.config {
        Some(config) => Config::read(config)?.intel,
        None => server::intel::kept_config(&keyring)?,
    };
    let indicators = server::intel::indicators(&config, &dir, &keyring)?;
    Ok((config, indicators))
}

fn set_of(record: &Feeds, warning_lists: &[PathBuf]) -> anyhow::Result<intel::Set> {
    let (config, indicators) = of_record(record)?;
    let mut builder = SetBuilder::new(with_lists(config.warnings()?, warning_lists)?);
    builder.add(indicators)?;
    let set = builder.build();
    if set.is_empty() {
        let dir = record.data.path()?;
        bail!("{} has no indicators to look up in: configure or import a feed, or name one with --feed FILE", dir.display());
    }
    Ok(set)
}

fn set_of_files(feeds: &[PathBuf], reading: &FeedReading, warning_lists: &[PathBuf]) -> anyhow::Result<intel::Set> {
    let mut builder = SetBuilder::new(with_lists(WarningLists::builtin(), warning_lists)?);
    for path in feeds {
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let found = read_feed(path, reading, &name)?;
        told(&found.problems);
        builder.add(found.indicators)?;
    }
    let set = builder.build();
    if set.is_empty() {
        bail!("--feed: there is nothing in it that can be looked up; `watchkeeper intel check` says why");
    }
    Ok(set)
}

fn with_lists(mut lists: WarningLists, more: &[PathBuf]) -> anyhow::Result<WarningLists> {
    for path in more {
        lists.add_misp(&read(path)?).with_context(|| path.display().to_string())?;
    }
    Ok(lists)
}

/// The record and its keys; a server may run on it.
fn open(data: &Data) -> anyhow::Result<(DataDir, Arc<Keyring>)> {
    let dir = DataDir::existing(&data.path()?)?;
    let keyring = server::read_keyring(&dir, &data.root()?)?;
    Ok((dir, keyring))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.to_str() == Some("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().take(FEED_BYTES_MAX).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let bytes = files::read_named_at_most(path, FEED_BYTES_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    bytes.with_context(|| format!("there is no {}", path.display()))
}

fn read_feed(path: &Path, reading: &FeedReading, source: &str) -> anyhow::Result<intel::Reading> {
    let bytes = read(path)?;
    let Some(format) = reading.feed_format.map(FeedFormat::format).or_else(|| feed::Format::of(&bytes)) else {
        bail!("{}: {}", path.display(), feed::FeedError::Unknown);
    };
    feed::read(format, &bytes, &reading.options(source)).with_context(|| path.display().to_string())
}

fn told(problems: &Problems) {
    for (reason, left) in problems.iter() {
        let example = left.examples.first().map(|example| format!(", as {example}")).unwrap_or_default();
        complain(&printable(&format!("left out: {} × {reason}{example}", left.count)));
    }
}

impl FeedReading {
    fn options(&self, source: &str) -> Options {
        Options {
            source: source.to_owned(),
            confidence: self.confidence,
            tlp: self.tlp.tlp(),
            tlp_max: Tlp::Red,
            kind: self.values.map(KindName::kind),
            expires_after_s: self.expires_days.map(|days| i64::from(days) * 86_400),
        }
    }
}

impl FeedFormat {
    fn format(self) -> feed::Format {
        match self {
            Self::Stix => feed::Format::Stix,
            Self::Misp => feed::Format::Misp,
            Self::AbuseCh => feed::Format::AbuseCh,
            Self::Plain => feed::Format::Plain,
        }
    }
}

impl KindName {
    fn kind(self) -> Kind {
        match self {
            Self::Domain => Kind::Domain,
            Self::Url => Kind::Url,
            Self::Ip => Kind::Ip,
            Self::Email => Kind::Email,
            Self::Hash => Kind::Hash,
            Self::UserAgent => Kind::UserAgent,
            Self::Command => Kind::Command,
            Self::Package => Kind::Package,
            Self::McpServer => Kind::McpServer,
            Self::Prompt => Kind::Prompt,
            Self::NearPrompt => Kind::NearPrompt,
        }
    }
}

impl TlpName {
    fn tlp(self) -> Tlp {
        match self {
            Self::Clear => Tlp::Clear,
            Self::Green => Tlp::Green,
            Self::Amber => Tlp::Amber,
            Self::AmberStrict => Tlp::AmberStrict,
            Self::Red => Tlp::Red,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_is_not_counted_as_looked_up() {
        let options = Options { kind: Some(Kind::Domain), ..Options::default() };
        let mut found = feed::read(feed::Format::Plain, b"a.example\nb.example\nc.example\n", &options).unwrap();
        found.indicators[0].valid_until = Some(1_000);
        found.indicators[1].valid_until = Some(3_000);
        let rows = check_rows(&found, 1_000);
        let told: Vec<(&str, u64)> =
            rows.iter().map(|row| (row["what"].as_str().unwrap(), row["count"].as_u64().unwrap())).collect();
        assert_eq!(told, [("looked up: domain", 2), ("expired: domain", 1)]);
    }
}
