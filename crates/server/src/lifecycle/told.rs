//! What the record tells of what is not in it any more, or never was: erasures, ends of retention, gaps, and changes of the policy, each
//! with who asked for it; and what is still readable although a tombstone says that it is gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use archive::{Dropped, Purpose};
use event::{ContentId, Key, Kind, RecordedEvent, SourcePath, Value, attr};
use ledger::{ErasedItem, ErasedItems, StoredRecord};
use sanitize::Clean;
use serde::Serialize;

use super::archiver::{DROP_EVENT, DROPPED_CLASS, DROPPED_END, DROPPED_FIRST, Stretch};
use super::kept_policy::{NEW, OLD, POLICY_EVENT};
use super::plan::content_of;
use super::search::REQUEST;
use crate::asker::OPERATOR;

/// Most of each kind that are listed: the others are counted. A year of hourly ends of retention, and more.
const LISTED_MAX: usize = 10_000;

/// Where an event has its kind, which stands behind its id: no more of it is looked at before that is known.
const KIND_WITHIN: usize = 128;

/// The program's events that tell of such things, as their JSON begins.
const KINDS: [&[u8]; 2] = [b"\"kind\":\"admin\"", b"\"kind\":\"gap\""];

/// Some of a kind, and how many there are more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed<T> {
    /// The first of them.
    pub list: Vec<T>,
    /// How many more there are.
    pub more: u64,
}

/// Who asked, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The record that tells of it.
    pub record: u64,
    /// When it was received (RFC 3339).
    pub time: String,
    /// Who asked; none where nobody did, as when the time of a class was over.
    pub by: Option<String>,
    /// The name that they gave for themselves, which nobody has checked.
    pub operator: Option<String>,
}

/// An erasure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ErasureTold {
    /// The request's id.
    pub request: String,
    /// Who asked, and when; none where the record has no such event.
    pub asked: Option<Asked>,
    /// What the request is known by elsewhere.
    pub reference: Option<String>,
    /// The record that is its line: what came behind it stays.
    pub begun: Option<u64>,
    /// The tombstone.
    pub tombstone: Option<Asked>,
    /// How many things went.
    pub items: u64,
    /// Whether it has ended and found nothing to erase.
    pub nothing: bool,
    /// What stays, and by which hold or class.
    pub refused: Vec<String>,
}

/// Records that were dropped at the end of their retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DropTold {
    /// `evidence` or `forensic`.
    pub archive: Purpose,
    /// Which records, and their class.
    #[serde(flatten)]
    pub span: Stretch,
    /// How many.
    pub records: u64,
    /// When, by the archive's signed manifest (RFC 3339).
    pub at: String,
    /// Why, by the manifest.
    pub why: String,
    /// What the record says of it; none where it says nothing.
    pub told: Option<Asked>,
}

/// A gap in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapTold {
    /// The record that tells of it.
    pub record: u64,
    /// When it was received (RFC 3339).
    pub time: String,
    /// Why there is one.
    pub reason: String,
    /// What more is known: how many events, how many bytes, from when to when.
    pub known: BTreeMap<String, String>,
}

/// A change of the retention policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyTold {
    /// Who made it, and when.
    pub asked: Asked,
    /// What the policy said and does not say any more.
    pub old: Vec<String>,
    /// What it says since then.
    pub new: Vec<String>,
}

/// Something that a tombstone calls erased, and that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readable {
    /// The erasure's request.
    pub request: String,
    /// The record in which it is.
    pub record: u64,
    /// What it is, in the words of the list of what was erased.
    pub path: String,
}

/// What the record tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Every erasure that was asked for.
    pub erasures: Listed<ErasureTold>,
    /// Every end of a retention.
    pub drops: Listed<DropTold>,
    /// Every gap.
    pub gaps: Listed<GapTold>,
    /// Every change of the retention policy.
    pub policies: Listed<PolicyTold>,
    /// What is still readable and should not be.
    pub readable: Listed<Readable>,
}

/// Collects it, record by record.
#[derive(Default)]
pub(crate) struct Listener {
    told: Told,
    erasures: BTreeMap<String, ErasureTold>,
    drops: HashMap<(u64, u64, String), Asked>,
    lists: Lists,
    /// The requests whose list is that of a tombstone.
    believed: BTreeSet<String>,
}

/// The lists of what was erased, by what stands in them.
#[derive(Default)]
struct Lists {
    requests: Vec<String>,
    /// Events and fields, by their record.
    of_records: HashMap<u64, Vec<(usize, ErasedItem)>>,
    /// Texts and tokens, by their text.
    of_contents: HashMap<ContentId, Vec<(usize, ErasedItem)>>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { list: Vec::new(), more: 0 }
    }
}

impl<T> Listed<T> {
    fn push(&mut self, one: T) {
        if self.list.len() < LISTED_MAX { self.list.push(one) } else { self.more += 1 }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.list.len() as u64 + self.more
    }
}

impl Listener {
    /// Takes the list of an erasure, so that what is looked at from now on is compared with it.
    pub(crate) fn expect_gone(&mut self, request: &str, list: &ErasedItems) {
        let number = self.lists.requests.len();
        self.lists.requests.push(request.to_owned());
        for item in list.items() {
            let entry = (number, item.clone());
            match content_of(&item.path) {
                Some(content) => self.lists.of_contents.entry(content).or_default().push(entry),
                None => self.lists.of_records.entry(item.leaf).or_default().push(entry),
            }
        }
    }

    /// Says that the list of an erasure is the one that its tombstone commits to.
    pub(crate) fn believe(&mut self, request: String) {
        self.believed.insert(request);
    }

    /// Looks at a record.
    pub(crate) fn look(&mut self, stored: &StoredRecord) {
        let Self { lists, told, erasures, .. } = self;
        // Behind its line an erasure takes nothing: the same text may be said there once more.
        let is_before =
            |request: &str| erasures.get(request).and_then(|erasure| erasure.begun).is_none_or(|begun| stored.seq.0 < begun);
        let of_record = lists.of_records.get(&stored.seq.0).into_iter().flatten();
        let brought = (!lists.of_contents.is_empty()).then(|| stored.brought()).into_iter().flatten();
        let of_contents = brought.flat_map(|content| lists.of_contents.get(&content).into_iter().flatten());
        for (number, item) in of_record.chain(of_contents).filter(|(_, item)| !item.is_gone_from(stored)) {
            if let Some(request) = lists.requests.get(*number).filter(|request| is_before(request)) {
                let (request, path) = (request.clone(), item.path.clone());
                told.readable.push(Readable { request, record: stored.seq.0, path });
            }
        }
        if let Some(event) = own_event(stored) {
            self.hear(stored.seq.0, &event);
        }
    }

    /// Whether an event tells of such things, and what.
    fn hear(&mut self, record: u64, event: &RecordedEvent<Clean>) {
        if event.kind == Kind::Gap {
            self.told.gaps.push(gap(record, event));
            return;
        }
        let asked = || asked(record, event);
        let object = text(event, &attr::ADMIN_OBJECT).unwrap_or_default();
        match event.name.as_str() {
            "erasure.requested" => {
                let reference = text(event, &Key::of(super::REFERENCE));
                if let Some(erasure) = self.erasure(&object) {
                    (erasure.asked, erasure.reference) = (Some(asked()), reference);
                }
            }
            "erasure.begun" => {
                if let Some(erasure) = self.erasure(&object) {
                    erasure.begun = Some(record);
                }
            }
            "erasure.refused" => {
                let (request, why) = object.split_once(": ").unwrap_or((&object, ""));
                if let Some(erasure) = self.erasure(request) {
                    erasure.refused.push(why.to_owned());
                }
            }
            "erasure.nothing" => {
                if let Some(erasure) = self.erasure(&object) {
                    erasure.nothing = true;
                }
            }
            ledger::TOMBSTONE_EVENT => {
                let request = text(event, &Key::of(REQUEST)).unwrap_or_default();
                let items = number(event, &Key::of("watchkeeper.erasure.items"));
                if let Some(erasure) = self.erasure(&request) {
                    (erasure.tombstone, erasure.items) = (Some(asked()), items);
                }
            }
            DROP_EVENT if self.drops.len() < LISTED_MAX => {
                let [first, end] = [DROPPED_FIRST, DROPPED_END].map(|key| number(event, &Key::of(key)));
                let class = text(event, &Key::of(DROPPED_CLASS)).unwrap_or_default();
                self.drops.insert((first, end, class), asked());
            }
            POLICY_EVENT => {
                let [old, new] = [OLD, NEW].map(|key| list(event, &Key::of(key)));
                self.told.policies.push(PolicyTold { asked: asked(), old, new });
            }
            _ => {}
        }
    }

    fn erasure(&mut self, request: &str) -> Option<&mut ErasureTold> {
        if self.erasures.len() >= LISTED_MAX && !self.erasures.contains_key(request) {
            self.told.erasures.more += 1;
            return None;
        }
        let erasure = self.erasures.entry(request.to_owned()).or_default();
        erasure.request = request.to_owned();
        Some(erasure)
    }

    /// What was told, with what the manifests of the archives say.
    pub(crate) fn end(self, dropped: Vec<(Purpose, Dropped)>) -> Told {
        let Self { mut told, erasures, mut drops, believed, .. } = self;
        told.readable.list.retain(|readable| believed.contains(&readable.request));
        told.erasures.list = erasures.into_values().collect();
        let begun = |erasure: &ErasureTold| erasure.asked.as_ref().or(erasure.tombstone.as_ref()).map(|asked| asked.record);
        told.erasures.list.sort_by_key(begun);
        for (archive, Dropped { first, end, class, records, at, why }) in dropped {
            let span = Stretch { first, end, class: class.as_str().to_owned() };
            let asked = drops.remove(&(span.first, span.end, span.class.clone()));
            told.drops.push(DropTold { archive, span, records, at: at.rfc3339(), why, told: asked });
        }
        told
    }
}

/// The event, if the program itself tells in it of its work or of a gap.
fn own_event(stored: &StoredRecord) -> Option<RecordedEvent<Clean>> {
    let record = stored.as_whole()?;
    let begin = record.event_json.get(..KIND_WITHIN).unwrap_or(&record.event_json);
    if !KINDS.iter().any(|kind| begin.windows(kind.len()).any(|window| window == *kind)) {
        return None;
    }
    record.event().ok().filter(|event| event.source.path == SourcePath::Internal)
}

fn asked(record: u64, event: &RecordedEvent<Clean>) -> Asked {
    let by = event.identity.user.as_ref().map(|user| match &user.name {
        Some(name) => format!("{} ({})", name.as_str(), user.id.as_str()),
        None => user.id.as_str().to_owned(),
    });
    Asked { record, time: event.observed.rfc3339(), by, operator: text(event, &Key::of(OPERATOR)) }
}

fn gap(record: u64, event: &RecordedEvent<Clean>) -> GapTold {
    let reason = text(event, &attr::GAP_REASON).unwrap_or_else(|| event.name.as_str().to_owned());
    let known = event.attributes.iter().filter(|(key, _)| **key != attr::GAP_REASON).filter_map(|(key, value)| {
        let name = key.as_str().strip_prefix("watchkeeper.gap.")?.to_owned();
        let value = match value {
            Value::Text(text) => text.as_str().to_owned(),
            Value::Int(number) => number.to_string(),
            _ => return None,
        };
        Some((name, value))
    });
    GapTold { record, time: event.observed.rfc3339(), reason, known: known.collect() }
}

fn text(event: &RecordedEvent<Clean>, key: &Key) -> Option<String> {
    match event.attributes.get(key) {
        Some(Value::Text(text)) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn number(event: &RecordedEvent<Clean>, key: &Key) -> u64 {
    match event.attributes.get(key) {
        Some(Value::Int(number)) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    }
}

fn list(event: &RecordedEvent<Clean>, key: &Key) -> Vec<String> {
    let Some(Value::List(values)) = event.attributes.get(key) else { return Vec::new() };
    let texts = values.iter().filter_map(|value| match value {
        Value::Text(text) => Some(text.as_str().to_owned()),
        _ => None,
    });
    texts.collect()
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
