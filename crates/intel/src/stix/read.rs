//! Indicators of a bundle.

use std::collections::HashMap;

use serde_json::Value as Json;
use uuid::Uuid;

use super::{kind_of, marking};
use crate::feed::{FeedError, Options, base, time_s};
use crate::fingerprint::Fingerprint;
use crate::indicator::{Indicator, Kind, Reading, Tlp};
use crate::pattern::Pattern;

/// Reads a bundle, an envelope of TAXII, or one indicator.
pub(crate) fn read(text: &str, options: &Options) -> Result<Reading, FeedError> {
    let wrong = |reason: &str| FeedError::Json { format: "bundle of STIX 2.1", reason: reason.to_owned() };
    let value: Json = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let mut reading = Reading::default();
    let objects: Vec<&Json> = match (value.get("objects"), value.get("type").and_then(Json::as_str)) {
        (Some(Json::Array(objects)), _) => objects.iter().collect(),
        (_, Some("indicator")) => vec![&value],
        // A page without anything new has no objects.
        (None, Some("bundle")) => Vec::new(),
        (None, None)
            if value.is_object() && (value.get("more").is_some() || value.as_object().is_some_and(serde_json::Map::is_empty)) =>
        {
            Vec::new()
        }
        _ => return Err(wrong("\"objects\" is no list")),
    };
    let markings: HashMap<&str, Tlp> = objects
        .iter()
        .filter(|object| text_of(object, "type") == Some("marking-definition"))
        .filter_map(|object| Some((text_of(object, "id")?, marking::of_definition(object)?)))
        .collect();
    for object in objects {
        if text_of(object, "type") == Some("indicator") {
            take(&mut reading, object, &markings, options);
        }
    }
    Ok(reading)
}

fn text_of<'a>(object: &'a Json, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Json::as_str)
}

fn take(reading: &mut Reading, object: &Json, markings: &HashMap<&str, Tlp>, options: &Options) {
    let full_id = text_of(object, "id").unwrap_or_default();
    let id = full_id.strip_prefix("indicator--").and_then(|id| id.parse::<Uuid>().ok());
    let Some(id) = id.filter(|id| !id.is_nil()) else {
        return reading.problems.note("an indicator without an id", full_id);
    };
    if object.get("revoked") == Some(&Json::Bool(true)) {
        return reading.revoked.push(id);
    }
    if let Some(kind) = text_of(object, "pattern_type").filter(|kind| *kind != "stix") {
        return reading.problems.note(&format!("a pattern that is not of STIX: {kind}"), full_id);
    }
    let Some(pattern) = text_of(object, "pattern") else {
        return reading.problems.note("an indicator without a pattern", full_id);
    };
    let pattern = match Pattern::parse(pattern) {
        Ok(pattern) => pattern,
        Err(error) => return reading.problems.note("a pattern that cannot be read", &format!("{full_id}: {error}")),
    };
    // What cannot be read of a time must not make an indicator hold for ever.
    let mut times = [None; 2];
    for (slot, name) in times.iter_mut().zip(["valid_from", "valid_until"]) {
        match (text_of(object, name), object.get(name)) {
            (Some(text), _) => match time_s(text) {
                Some(time) => *slot = Some(time),
                None => return reading.problems.note(&format!("{name} is no time"), full_id),
            },
            (None, Some(_)) => return reading.problems.note(&format!("{name} is no time"), full_id),
            (None, None) => {}
        }
    }
    let refs = object.get("object_marking_refs").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    let marked = refs.filter_map(|id| marking::of_id(id).or_else(|| markings.get(id).copied())).max();
    let confidence = object.get("confidence").and_then(Json::as_u64).map(|one| u8::try_from(one.min(100)).unwrap_or(100));
    let base = Indicator {
        id,
        confidence: confidence.unwrap_or(options.confidence),
        tlp: marked.unwrap_or(options.tlp),
        valid_from: times[0],
        valid_until: times[1],
        label: text_of(object, "name").and_then(Indicator::label_of),
        modified: text_of(object, "modified").and_then(time_s).unwrap_or(0),
        ..base(options)
    };
    let atoms = pattern.atoms();
    for reason in atoms.left_out {
        reading.problems.note(&format!("a pattern that {reason}"), full_id);
    }
    for atom in atoms.atoms {
        match kind_of(&atom.path) {
            Some(Kind::Prompt) if !atom.value.starts_with("sha256:") => take_prompt(reading, &base, &atom.value),
            // A destination can be a name, too.
            Some(Kind::Ip) if atom.path.starts_with("network-traffic:") && crate::normalize(Kind::Ip, &atom.value).is_none() => {
                reading.take(&base, Kind::Domain, &atom.value);
            }
            Some(kind) => reading.take(&base, kind, &atom.value),
            None => reading.problems.note(&format!("a pattern over {}, which traffic does not have", atom.path), full_id),
        }
    }
}

/// Both fingerprints of a prompt that is given as text, or its digest without a prefix.
fn take_prompt(reading: &mut Reading, base: &Indicator, value: &str) {
    if let Some(digest) = crate::normal::hash(value).filter(|digest| digest.len() == 64) {
        return reading.take(base, Kind::Prompt, &format!("sha256:{digest}"));
    }
    match Fingerprint::of(value) {
        Some(Fingerprint { exact, near }) => {
            reading.take(base, Kind::Prompt, &exact);
            if let Some(near) = near {
                reading.take(base, Kind::NearPrompt, &near);
            }
        }
        None => reading.problems.note("a prompt of fewer than six words", &base.stix_id()),
    }
}
