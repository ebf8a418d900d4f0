//! `watchkeeper verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use archive::ArchiveReport;
use keys::Keyring;
use ledger::public::{PublicFiles, PublishedLog, goes_on_from_published};
use ledger::{Fault, Policy, Report, Trust, TsaRoots};
use server::lifecycle::verify::{Depth, Verified};
use server::publishing::public_files;
use server::{Config, DataDir, pin};

use super::told::say_told;
use crate::cli::Data;
use crate::output::{printable, say};

/// How the program ends when nothing is wrong, and what was asked for is not proved.
pub(super) const NOT_PROVED: u8 = 3;

/// Longest file of keys: a line for each that the log ever had.
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// What a data directory, or a copy of a part of it, has at least one of.
const PARTS: [&str; 5] = ["format", "journal", "ledger", "archive", "keys"];

/// What can be looked into.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    /// What anybody can see who has no key.
    Public,
    /// All of it.
    Decrypted(Depth),
}

/// How the verdict is found and said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saying {
    /// What leaves something to trust is not proved.
    pub(super) strict: bool,
    /// For programs.
    pub(super) json: bool,
}

/// What the caller knows of the log from elsewhere.
pub(super) fn trust(key: Option<&str>, policy: Option<&Path>, tsa_roots: Option<&Path>) -> anyhow::Result<Trust> {
    let mut trust = Trust::default();
    if let Some(key) = key {
        let text = key_text(key)?;
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::parse);
        trust.keys = keys.collect::<Result<Vec<_>, _>>().with_context(|| format!("--key {key}"))?;
    }
    if let Some(policy) = policy {
        let text = std::fs::read(policy).with_context(|| policy.display().to_string())?;
        trust.policy = Some(Policy::parse(&text).with_context(|| policy.display().to_string())?);
    }
    if let Some(roots) = tsa_roots {
        let pem = std::fs::read(roots).with_context(|| roots.display().to_string())?;
        trust.tsa_roots = Some(TsaRoots::from_pem(&pem).with_context(|| roots.display().to_string())?);
    }
    Ok(trust)
}

/// A key as it is, or the file that has it.
fn key_text(key: &str) -> anyhow::Result<String> {
    use std::io::Read as _;
    let path = Path::new(key);
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {
            let mut text = String::new();
            let file = std::fs::File::open(path).with_context(|| format!("--key {key}"))?;
            file.take(KEYS_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("--key {key}"))?;
            Ok(text)
        }
        // NAME+ID+BASE64: the name may be any text, and the two signs are always there.
        _ if key.matches('+').count() >= 2 => Ok(key.to_owned()),
        _ => anyhow::bail!("--key {key}: there is no such file, and it is no key itself (NAME+ID+BASE64, as in ledger/vkey)"),
    }
}

/// Says of what is no data directory what it is.
fn is_data(target: &Path) -> anyhow::Result<()> {
    let metadata = target.metadata();
    let metadata = metadata.with_context(|| format!("name the data directory of a record: {}", target.display()))?;
    if !metadata.is_dir() || target.join("bagit.txt").exists() {
        anyhow::bail!(
            "{} is no data directory; `watchkeeper evidence verify` verifies bundles, which are a .tar.gz or a directory with bagit.txt",
            target.display()
        );
    }
    if !PARTS.iter().any(|part| target.join(part).exists()) {
        anyhow::bail!("{} holds no record; name the data directory of one, or a copy of it", target.display());
    }
    Ok(())
}

pub(super) fn verify(
    target: Option<PathBuf>,
    data: &Data,
    trust: &Trust,
    checkpoint: Option<&Path>,
    reach: Reach,
    config: Option<&Path>,
    saying: Saying,
) -> anyhow::Result<ExitCode> {
    let target = target.map_or_else(|| data.path(), Ok)?;
    is_data(&target)?;
    let keyring = match reach {
        Reach::Public => None,
        Reach::Decrypted(_) => Some(
            server::read_keyring(&DataDir::unchecked(&target), &data.root()?)
                .context("the record is encrypted; --public verifies what can be verified without the root key")?,
        ),
    };
    let config = config.map(Config::read).transpose()?;
    let places = config.as_ref().map(Config::places);
    let depth = if let Reach::Decrypted(depth) = reach { depth } else { Depth::Digests };
    let mut verified = server::lifecycle::verify::verify(&target, trust, keyring.as_ref(), depth, places.as_ref())?;
    if saying.strict {
        let doubts = verified.doubts(keyring.is_some().then_some(depth));
        verified.report.unmet.extend(doubts);
    }
    if verified.report.fault.is_none() {
        verified.report.fault = goes_on_from(&target, checkpoint, keyring.as_deref())?;
    }
    if verified.report.fault.is_none()
        && let Some((url, place)) = config.as_ref().and_then(public_place).transpose()?
    {
        compare(&target, &url, &*place, &mut verified.report)?;
    }
    tell(verified, saying)
}

/// Verifies a log where it is published, and that the one here, if one is named, goes on from it.
pub(super) fn published(
    url: &str,
    here: Option<&Path>,
    trust: &Trust,
    checkpoint: Option<&Path>,
    config: Option<&Path>,
    saying: Saying,
) -> anyhow::Result<ExitCode> {
    let s3 = config.map(Config::read).transpose()?.map(|config| config.publish_s3()).unwrap_or_default();
    let place = public_files(url, &s3).with_context(|| format!("--public {url}"))?;
    let kept = checkpoint.map(|path| std::fs::read(path).with_context(|| path.display().to_string())).transpose()?;
    let report = ledger::verify_published(&*place, trust, kept.as_deref()).with_context(|| format!("--public {url}"))?;
    let mut verified = Verified { report, ..Verified::default() };
    if saying.strict {
        let doubts = verified.doubts(None);
        verified.report.unmet.extend(doubts);
    }
    if let (None, Some(here)) = (&verified.report.fault, here) {
        compare(here, url, &*place, &mut verified.report)?;
    }
    tell(verified, saying)
}

/// Whether a place is a data directory, or a copy of one, and not a log as it is published.
pub(super) fn is_data_dir(place: &str) -> bool {
    ["ledger", "journal", "format"].iter().any(|name| Path::new(place).join(name).exists())
}

/// Where the configuration says that the log is published.
fn public_place(config: &Config) -> Option<anyhow::Result<(String, Box<dyn PublicFiles>)>> {
    let url = config.ledger.publish.clone()?;
    let place = public_files(&url, &config.publish_s3()).with_context(|| format!("ledger.publish {url}"));
    Some(place.map(|place| (url, place)))
}

/// The log here must go on from the one that is published.
fn compare(here: &Path, url: &str, place: &dyn PublicFiles, report: &mut Report) -> anyhow::Result<()> {
    match goes_on_from_published(here, place).with_context(|| url.to_owned())? {
        Ok(PublishedLog { size, behind }) => {
            let what = format!("{} goes on from the {size} records that are published; {behind} more are sealed", here.display());
            report.notes.push(what);
        }
        Err(fault) => report.fault = Some(fault),
    }
    Ok(())
}

/// Says what was found.
fn tell(verified: Verified, saying: Saying) -> anyhow::Result<ExitCode> {
    let Verified { report, archive, forensic, erased, told, .. } = verified;
    if saying.json {
        let fault = report.fault.as_ref().map(|fault| serde_json::json!({ "place": fault.place, "what": fault.what }));
        let report = serde_json::json!({
            "intact": report.fault.is_none() && report.unmet.is_empty(), "unmet": report.unmet, "records": report.records, "sealed": report.sealed,
            "checkpoints": report.checkpoints, "witnessed": report.witnessed,
            "witnesses": report.witnesses.iter().map(|(name, time)| serde_json::json!({ "name": name, "time": time })).collect::<Vec<_>>(),
            "archive": archive.map(of_archive),
            "forensic": forensic.map(of_archive),
            "erased": erased,
            "told": told,
            "timestamps": report.timestamps,
            "timestamped": report.timestamped.map(|(records, time)| serde_json::json!({ "records": records, "time": time })),
            "first_leaf": report.first_leaf,
            "heartbeats": report.heartbeats,
            "heartbeat": report.heartbeat.map(|(record, ns)| serde_json::json!({ "record": record, "received_ns": ns })),
            "log": report.key, "notes": report.notes, "fault": fault,
        });
        say(&serde_json::to_string_pretty(&report)?)?;
    } else {
        for note in &report.notes {
            say(&format!("note: {}", printable(note)))?;
        }
        if report.fault.is_none() && !report.witnesses.is_empty() {
            let names: Vec<&str> = report.witnesses.iter().map(|(name, _)| name.as_str()).collect();
            say(&format!("witnessed: {} records by {}", report.witnessed, printable(&names.join(", "))))?;
        }
        if report.fault.is_none() {
            say_told(&told)?;
        }
        if let Some(archive) = archive.filter(|_| report.fault.is_none()) {
            say(&format!(
                "archive: {} records in {} segments, {} of them compared with their leaves; {} records dropped",
                archive.records, archive.segments, archive.compared, archive.dropped
            ))?;
        }
        if report.fault.is_none() && erased > 0 {
            say(&format!(
                "erased: {erased} fields and texts are gone, and tombstones say of each that it was erased (where a list has a whole event as \
                 one item, each of its fields is counted here)"
            ))?;
        }
        if let Some(forensic) = forensic.filter(|_| report.fault.is_none()) {
            say(&format!("forensic archive: {} copies in {} segments", forensic.records, forensic.segments))?;
        }
        if let (None, Some((records, time))) = (&report.fault, report.timestamped) {
            let time = jiff::Timestamp::from_second(i64::try_from(time)?)?;
            say(&format!("time stamps: {}, the newest of {time} over {records} records", report.timestamps))?;
        }
        if let (None, Some((record, ns))) = (&report.fault, report.heartbeat) {
            let time = jiff::Timestamp::from_nanosecond(i128::from(ns))?;
            say(&format!(
                "heartbeats: {} disclosed, the newest is record {record}, of {time} by the log's own clock",
                report.heartbeats
            ))?;
        }
        for demand in report.unmet.iter().filter(|_| report.fault.is_none()) {
            say(&format!("NOT PROVED: {}", printable(demand)))?;
        }
        match &report.fault {
            None if !report.unmet.is_empty() => say(&format!(
                "whole, and not what was asked for: {} records, {} of them sealed by {} signed checkpoints; log {}",
                report.records, report.sealed, report.checkpoints, report.key
            ))?,
            None if report.key.is_empty() => say("intact: 0 records; there is no log yet")?,
            None => say(&format!(
                "intact: {} records, {} of them sealed by {} signed checkpoints; log {}",
                report.records, report.sealed, report.checkpoints, report.key
            ))?,
            Some(fault) => say(&format!("TAMPERED: {}: {}", printable(&fault.place), printable(&fault.what)))?,
        }
    }
    Ok(match (&report.fault, report.unmet.is_empty()) {
        (Some(_), _) => ExitCode::from(1),
        (None, false) => ExitCode::from(NOT_PROVED),
        (None, true) => ExitCode::SUCCESS,
    })
}

fn of_archive(archive: ArchiveReport) -> serde_json::Value {
    serde_json::json!({
        "segments": archive.segments, "records": archive.records, "compared": archive.compared, "dropped": archive.dropped,
        "bytes": archive.bytes, "left_over": archive.left_over,
    })
}

/// The log must hold every checkpoint that is known from elsewhere: the one that the server pinned beside its keys, and the one
/// that the caller kept.
fn goes_on_from(target: &Path, kept: Option<&Path>, keyring: Option<&Keyring>) -> anyhow::Result<Option<Fault>> {
    let missing = |from: &str| {
        let what = format!("does not hold the checkpoint of {from}: the log was replaced, cut or rolled back");
        Some(Fault { place: "ledger/checkpoints".to_owned(), what, record: None })
    };
    let data = DataDir::unchecked(target);
    if let Some(kept) = kept {
        let note = std::fs::read(kept).with_context(|| kept.display().to_string())?;
        if !pin::holds(&data, &note)? {
            return Ok(missing(&kept.display().to_string()));
        }
    }
    match keyring.map_or_else(|| pin::check(&data), |keyring| pin::check_with(&data, keyring)) {
        Ok(()) => Ok(None),
        Err(pin::PinError::Replaced(from)) => Ok(missing(from)),
        Err(error @ pin::PinError::Missing) => {
            Ok(Some(Fault { place: "keys".to_owned(), what: error.to_string(), record: None }))
        }
        // Keys that this user may not read pin nothing for whoever has no key; without an answer nothing is called intact.
        Err(error) => Err(error.into()),
    }
}
