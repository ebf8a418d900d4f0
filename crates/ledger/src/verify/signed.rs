//! What signatures say, wherever the log lies: whose log it is, who countersigned it, who put a time on it.

use super::{Report, Stop, Trust};
use crate::checkpoint::Checkpoint;
use crate::key_chain::KeyChain;
use crate::note::SignedNote;
use crate::policy::Policy;
use crate::timestamp::{TsaRoots, claimed_time, verify_timestamp};
use crate::vkey::VerifierKey;

/// Compares the log's keys with those that the verifier knows. Says so where they are another log's.
pub(super) fn known_keys(file: &str, keys: &KeyChain, trust: &Trust, report: &mut Report) -> Option<String> {
    let mut stranger = None;
    report.key = keys.first().to_string();
    for expected in trust.keys.iter().filter(|expected| !keys.contains(expected)) {
        stranger.get_or_insert(format!("is the key {}, and {expected} was expected", report.key));
        report.unmet.push(format!("that this is the log whose key is {expected}: {file} is another one, {}", report.key));
    }
    let rotations = keys.generations().len() - 1;
    if rotations > 0 {
        let newest: Vec<String> = keys.newest().iter().map(|key| format!("{:08x}", key.id())).collect();
        report.notes.push(format!("the log's keys were rotated {rotations} times; the newest are {}", newest.join(" and ")));
    }
    stranger
}

/// A log that is whole by another key is another log; one that is not had its key changed.
pub(super) fn by_stranger(passed: Result<(), Stop>, stranger: Option<String>, vkey: &str, keys: &str) -> Result<(), Stop> {
    match (passed, stranger) {
        (Err(Stop::Fault(fault)), Some(what)) if fault.place != keys => Err(Stop::fault(vkey, what)),
        (passed, _) => passed,
    }
}

/// Nobody has countersigned the log.
pub(super) fn not_cosigned(file: &str, policy: Option<&Policy>, report: &mut Report) {
    if policy.is_some_and(Policy::needs_witnesses) {
        report.unmet.push(format!("that the log is witnessed: {file} is missing, and the policy asks for it"));
    }
}

/// Verifies the signatures of a witnessed checkpoint, those of witnesses by the policy.
pub(super) fn cosigned(
    file: &str,
    bytes: &[u8],
    keys: &KeyChain,
    policy: Option<&Policy>,
    report: &mut Report,
) -> Result<Checkpoint, Stop> {
    let fault = |what: String| Stop::fault(file, what);
    let checkpoint = keys.open(bytes).map_err(|error| fault(error.to_string()))?;
    let note = SignedNote::parse(bytes).map_err(|error| fault(error.to_string()))?;
    report.witnessed = checkpoint.size;
    let Some(policy) = policy else {
        report.notes.push(format!(
            "{} records are countersigned by witnesses whose signatures were not verified; give their keys with --policy",
            checkpoint.size
        ));
        return Ok(checkpoint);
    };
    let checked = if policy.logs().is_empty() { policy.check_witnesses(&note) } else { policy.check(&note) };
    match checked {
        Ok(checked) => {
            let name = |(key, time): (VerifierKey, u64)| (key.name().to_owned(), time);
            report.witnesses = checked.witnesses.into_iter().map(name).collect();
        }
        Err(error) if !error.is_unmet() => return Err(fault(error.to_string())),
        Err(error) => report.unmet.push(format!("that {file} is witnessed as the policy asks: {error}")),
    }
    Ok(checkpoint)
}

/// The time of a time stamp that is whole, by one of the roots where they are given; else what is not proved of it. One of a stranger
/// is nothing that anybody changed; it counts for nothing.
pub(super) fn stamped_at(file: &str, answer: &[u8], note: &[u8], roots: Option<&TsaRoots>) -> Result<Result<u64, String>, Stop> {
    let claimed = claimed_time(answer, note).map_err(|error| Stop::fault(file, error.to_string()))?;
    let Some(roots) = roots else { return Ok(Ok(claimed)) };
    match verify_timestamp(answer, note, roots) {
        Ok(stamped) => Ok(Ok(stamped.time)),
        Err(error) if error.is_unmet() => Ok(Err(format!("that {file} is of an authority whose root was given: {error}"))),
        Err(error) => Err(Stop::fault(file, error.to_string())),
    }
}
