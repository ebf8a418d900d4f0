//! MISP: the manifest of a feed, and events.

use std::collections::BTreeMap;

use serde::Deserialize;
use uuid::Uuid;

use super::{FeedError, Options, base, time_s};
use crate::indicator::{Indicator, Kind, Reading, Tlp};

/// Most attributes of one event; the largest of public feeds have some 100,000.
const ATTRIBUTES_MAX: usize = 500_000;

/// What a feed has: `manifest.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Manifest(pub BTreeMap<Uuid, ManifestEntry>);

/// An event of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ManifestEntry {
    /// When it was changed last, in seconds since 1970, as text or as a number.
    #[serde(default)]
    timestamp: Number,
    /// What it is about.
    #[serde(default)]
    pub info: String,
}

/// A number that MISP may write as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Number {
    #[default]
    None,
    Plain(i64),
    Text(String),
}

impl Number {
    fn get(&self) -> i64 {
        match self {
            Self::None => 0,
            Self::Plain(number) => *number,
            Self::Text(text) => text.parse().unwrap_or(0),
        }
    }
}

impl ManifestEntry {
    /// When it was changed last, in seconds since 1970.
    #[must_use]
    pub fn changed(&self) -> i64 {
        self.timestamp.get()
    }
}

impl Manifest {
    /// Reads `manifest.json`.
    ///
    /// # Errors
    /// [`FeedError::Json`].
    pub fn read(bytes: &[u8]) -> Result<Self, FeedError> {
        serde_json::from_slice(bytes)
            .map_err(|error| FeedError::Json { format: "manifest of a MISP feed", reason: error.to_string() })
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "Event")]
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    info: String,
    #[serde(default, rename = "Tag")]
    tags: Vec<Tag>,
    #[serde(default, rename = "Attribute")]
    attributes: Vec<Attribute>,
    #[serde(default, rename = "Object")]
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default, rename = "Attribute")]
    attributes: Vec<Attribute>,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
struct Tag {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Attribute {
    #[serde(default)]
    uuid: Option<Uuid>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    to_ids: bool,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    timestamp: Number,
    #[serde(default)]
    first_seen: Option<String>,
    #[serde(default)]
    last_seen: Option<String>,
    #[serde(default, rename = "Tag")]
    tags: Vec<Tag>,
}

/// What an attribute of a type names. A type of two values, as `domain|ip`, names two.
pub(crate) fn kinds_of(name: &str) -> Vec<Kind> {
    name.split('|').filter_map(kind_of).collect()
}

fn kind_of(name: &str) -> Option<Kind> {
    Some(match name {
        "domain" | "hostname" => Kind::Domain,
        "url" | "uri" | "link" => Kind::Url,
        "ip" | "ip-src" | "ip-dst" => Kind::Ip,
        "email" | "email-src" | "email-dst" | "email-reply-to" => Kind::Email,
        "md5" | "sha1" | "sha224" | "sha256" | "sha384" | "sha512" => Kind::Hash,
        "user-agent" => Kind::UserAgent,
        "x-prompt" | "ai-prompt" => Kind::Prompt,
        _ => return None,
    })
}

pub(super) fn read_event(text: &str, options: &Options) -> Result<Reading, FeedError> {
    let wrong = |error: serde_json::Error| FeedError::Json { format: "event of MISP", reason: error.to_string() };
    let Event { info, tags, attributes, objects } = serde_json::from_str::<File>(text).map_err(wrong)?.event;
    let tlp = tlp_of(&tags).unwrap_or(options.tlp);
    let mut reading = Reading::default();
    let (gone, objects): (Vec<Object>, Vec<Object>) = objects.into_iter().partition(|object| object.deleted);
    let deleted = gone.into_iter().flat_map(|object| object.attributes).map(|one| Attribute { deleted: true, ..one });
    let all = attributes.into_iter().chain(objects.into_iter().flat_map(|object| object.attributes)).chain(deleted);
    for (index, attribute) in all.enumerate() {
        if index == ATTRIBUTES_MAX {
            reading.problems.note("an event with more attributes than are read", &info);
            break;
        }
        if attribute.deleted {
            reading.revoked.extend(attribute.uuid);
            continue;
        }
        if !attribute.to_ids {
            reading.problems.note("not marked for detection (to_ids)", &attribute.kind);
            continue;
        }
        take(&mut reading, &attribute, &info, tlp, options);
    }
    Ok(reading)
}

fn take(reading: &mut Reading, attribute: &Attribute, info: &str, tlp: Tlp, options: &Options) {
    let base = Indicator {
        id: attribute.uuid.unwrap_or_default(),
        tlp: tlp_of(&attribute.tags).unwrap_or(tlp),
        valid_from: attribute.first_seen.as_deref().and_then(time_s),
        modified: attribute.timestamp.get().max(attribute.last_seen.as_deref().and_then(time_s).unwrap_or(0)),
        label: Indicator::label_of(info),
        ..base(options)
    };
    let values = attribute.value.split('|');
    let names = attribute.kind.split('|');
    let mut any = false;
    for (name, value) in names.zip(values) {
        // Of `ip-dst|port` and `filename|md5` the other part is no sign by itself.
        if let Some(kind) = kind_of(name) {
            any = true;
            reading.take(&base, kind, value);
        }
    }
    if !any {
        reading.problems.note(&format!("a type of MISP that is not matched: {}", attribute.kind), &attribute.value);
    }
}

fn tlp_of(tags: &[Tag]) -> Option<Tlp> {
    tags.iter().filter(|tag| tag.name.to_ascii_lowercase().starts_with("tlp:")).filter_map(|tag| Tlp::of_label(&tag.name)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by us in the documented form.
    const EVENT: &str = r#"{"Event":{"uuid":"5f7d1a3e-8c3b-4f0a-9b6d-0a1b2c3d4e5f","info":"Campaign","timestamp":"1769860800",
        "Tag":[{"name":"tlp:amber","colour":"x"},{"name":"type:osint"}],
        "Attribute":[
          {"uuid":"00000000-0000-4000-8000-000000000001","type":"ip-dst|port","value":"45.9.148.7|443","to_ids":true,"timestamp":"1769860801"},
          {"uuid":"00000000-0000-4000-8000-000000000002","type":"domain|ip","value":"evil.example|45.9.148.8","to_ids":true},
          {"uuid":"00000000-0000-4000-8000-000000000003","type":"url","value":"http://x.example/","to_ids":false},
          {"uuid":"00000000-0000-4000-8000-000000000004","type":"btc","value":"1x","to_ids":true},
          {"uuid":"00000000-0000-4000-8000-000000000005","type":"domain","value":"old.example","to_ids":true,"deleted":true},
          {"uuid":"00000000-0000-4000-8000-000000000006","type":"domain","value":"not a domain","to_ids":true}],
        "Object":[{"name":"file","Attribute":[
          {"uuid":"00000000-0000-4000-8000-000000000007","type":"filename|sha256","value":"a.exe|aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","to_ids":true,"Tag":[{"name":"tlp:red"}]}]}]}}"#;

    #[test]
    fn an_event_gives_what_is_marked_for_detection() {
        let reading = read_event(EVENT, &Options::default()).unwrap();
        let found: Vec<String> = reading
            .indicators
            .iter()
            .map(|one| format!("{} {} {:?} {}", one.kind, one.value, one.tlp, one.id.as_u128() & 0xff))
            .collect();
        let hash = "hash aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa Red 7";
        assert_eq!(found, ["ip 45.9.148.7 Amber 1", "domain evil.example Amber 2", "ip 45.9.148.8 Amber 2", hash]);
        assert_eq!(reading.revoked.len(), 1);
        let reasons: Vec<&str> = reading.problems.iter().map(|(reason, _)| reason).collect();
        assert_eq!(reasons, ["a type of MISP that is not matched: btc", "no domain", "not marked for detection (to_ids)"]);
    }

    #[test]
    fn a_manifest_tells_what_has_changed() {
        let text = r#"{"5f7d1a3e-8c3b-4f0a-9b6d-0a1b2c3d4e5f":{"info":"x","timestamp":"17","Orgc":{"name":"o"}},
            "5f7d1a3e-8c3b-4f0a-9b6d-0a1b2c3d4e60":{"info":"y","timestamp":18}}"#;
        let manifest = Manifest::read(text.as_bytes()).unwrap();
        assert_eq!(manifest.0.values().map(ManifestEntry::changed).collect::<Vec<_>>(), [17, 18]);
        assert!(Manifest::read(b"[]").is_err());
        // The names are parts of paths.
        assert!(Manifest::read(br#"{"../../etc/passwd":{"timestamp":1}}"#).is_err());
    }
}
