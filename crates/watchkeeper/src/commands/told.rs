//! What a verified record tells of what is not in it, for people.

use server::lifecycle::told::{Asked, DropTold, ErasureTold, GapTold, Listed, PolicyTold, Readable, Told};

use crate::output::{printable, say};

/// Most lines of each kind; `--json` lists them all.
const SHOWN_MAX: usize = 20;

/// A line for each erasure, end of retention, gap and change of the policy.
pub(super) fn say_told(told: &Told) -> anyhow::Result<()> {
    lines(&told.policies, "changes of the retention policy", policy)?;
    lines(&told.erasures, "erasures", erasure)?;
    lines(&told.drops, "ends of retention", dropped)?;
    lines(&told.gaps, "gaps", gap)?;
    lines(&told.readable, "items that are still readable", readable)
}

fn lines<T>(listed: &Listed<T>, what: &str, line: fn(&T) -> String) -> anyhow::Result<()> {
    for one in listed.list.iter().take(SHOWN_MAX) {
        say(&printable(&line(one)))?;
    }
    let more = listed.count().saturating_sub(SHOWN_MAX as u64);
    if more > 0 {
        say(&format!("... and {more} more {what}; --json lists them"))?;
    }
    Ok(())
}

fn policy(told: &PolicyTold) -> String {
    format!(
        "policy changed: record {}, {}: {} lines of it before, {} since then",
        told.asked.record,
        by(&told.asked),
        told.old.len(),
        told.new.len()
    )
}

fn erasure(told: &ErasureTold) -> String {
    let ErasureTold { request, asked, reference, tombstone, items, nothing, refused, .. } = told;
    let asked = asked
        .as_ref()
        .map_or_else(|| "the record does not tell who asked".to_owned(), |asked| format!("asked for {}", by(asked)));
    let reference = reference.as_ref().map(|reference| format!(", {reference}")).unwrap_or_default();
    let became = match tombstone {
        Some(tombstone) => format!("{items} items went, tombstone is record {}, {}", tombstone.record, tombstone.time),
        None if *nothing => "nothing was there to erase".to_owned(),
        None if refused.is_empty() => "it has not ended".to_owned(),
        None => "nothing went".to_owned(),
    };
    let refused: String = refused.iter().map(|why| format!("; refused: {why}")).collect();
    format!("erasure {request}: {asked}{reference}; {became}{refused}")
}

fn dropped(told: &DropTold) -> String {
    let DropTold { archive, span, records, at, why, told } = told;
    let asked = match told {
        Some(asked) if asked.by.is_some() => format!("asked for {}", by(asked)),
        Some(asked) => format!("by the server, record {}", asked.record),
        None => "no event of the record tells of it".to_owned(),
    };
    let archive = if *archive == archive::Purpose::Forensic { " of the forensic archive" } else { "" };
    format!("dropped: {records} records of class {} in {} to {}{archive}, {at}: {why}; {asked}", span.class, span.first, span.end)
}

fn gap(told: &GapTold) -> String {
    let known: String = told.known.iter().map(|(name, value)| format!(", {name} {value}")).collect();
    format!("gap: record {}, {}: {}{known}", told.record, told.time, told.reason)
}

fn readable(told: &Readable) -> String {
    format!("still readable: {} of record {}, erased by {}", told.path, told.record, told.request)
}

/// By whom, and when.
fn by(asked: &Asked) -> String {
    let by = asked.by.as_deref().unwrap_or("the server");
    let operator = asked.operator.as_ref().map(|name| format!(", who says to be {name}")).unwrap_or_default();
    format!("by {by}{operator}, {}", asked.time)
}
