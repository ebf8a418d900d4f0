//! Tombstones: what an erasure says that it took, so that "erased" can be told from "lost".
//!
//! A tombstone is a record like any other, an `admin` event named [`TOMBSTONE_EVENT`] that the program itself writes. Its
//! attributes hold the request's id, how many items are gone, and the root over the list of them, which lies in a file of
//! its own. `docs/reference/record-format.md` defines both.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, Read, Write};

use event::{ContentId, Key, Kind, SourcePath, Value};
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use crate::disclosure::{Disclosure, Verdict, Verified};
use crate::hex;
use crate::leaf::FieldType;
use crate::proof::{Nodes, inclusion, verify_inclusion};
use crate::stored::{EVENT_ITEM, StoredBody, StoredContent, StoredField, StoredRecord, StoredSpan};
use crate::tree::{CompactRange, Hash, leaf_hash, node_hash};

/// The name of the event that a tombstone is.
pub const TOMBSTONE_EVENT: &str = "erasure.done";
const REQUEST: &str = "watchkeeper.erasure.request";
const ITEMS: &str = "watchkeeper.erasure.items";
const ROOT: &str = "watchkeeper.erasure.root";

/// Longest id of a request: it is part of a file's name.
const REQUEST_BYTES_MAX: usize = 64;
/// Longest path of an item: pointers hold keys of attributes, which are bounded themselves.
const PATH_BYTES_MAX: usize = 1_024;
/// Longest line of a list: the path, each byte of it perhaps as six, and the rest of the line.
const LINE_BYTES_MAX: u64 = 8 * 1_024;
/// Most items of a list that is read: a hundred bytes each, in memory.
const ITEMS_MAX: usize = 20_000_000;

/// The leaf in the place of those that make no difference. No log is that long.
const ANY_LEAF: u64 = u64::MAX;

/// Why a list is not one, or does not belong to its tombstone.
#[derive(Debug, thiserror::Error)]
pub enum TombstoneError {
    /// The id would not do as a file's name.
    #[error("id of an erasure request must be 1 to {REQUEST_BYTES_MAX} letters, digits and hyphens, got {0:?}")]
    Request(String),
    /// A line is none.
    #[error("line {0} of the list of erased items is not {{\"leaf\":…,\"path\":…}} in canonical form, in ascending order")]
    Line(usize),
    /// It is larger than any that is written.
    #[error("the list of erased items has more than {ITEMS_MAX} items")]
    TooMany,
    /// The record is no tombstone.
    #[error("the record is no tombstone: {0}")]
    NoTombstone(&'static str),
    /// The list, or what is shown of it, is not that of the tombstone.
    #[error("the list of erased items is not the one that the tombstone commits to")]
    OtherList,
    /// It could not be read.
    #[error("list of erased items: {0}")]
    Io(#[from] io::Error),
}

/// One thing that is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasedItem {
    /// The index of the leaf of the record that it was in.
    pub leaf: u64,
    /// What it was, in the words of [`StoredRecord::redact`](crate::StoredRecord::redact).
    pub path: String,
}

/// The list of what one erasure took, in ascending order without repetitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasedItems(Vec<ErasedItem>);

/// What a tombstone says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The request's id.
    pub request: String,
    /// How many items are gone.
    pub items: u64,
    /// The root over them.
    pub root: Hash,
}

/// Shows that one item stands in the list of a tombstone, without the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The item.
    pub item: ErasedItem,
    /// Its place in the list.
    pub index: u64,
    /// The inclusion path to the tombstone's root.
    #[serde(with = "hex::list")]
    pub path: Vec<Hash>,
}

/// What proved tombstones cover.
#[derive(Debug, Clone, Default)]
pub struct Erasures {
    /// The leaf of the tombstone for each [`ErasedItem::place`].
    items: HashMap<(u64, String), u64>,
}

impl ErasedItems {
    /// The list of these items, in whatever order they come.
    #[must_use]
    pub fn new(mut items: Vec<ErasedItem>) -> Self {
        items.sort_unstable();
        items.dedup();
        Self(items)
    }

    /// The items.
    #[must_use]
    pub fn items(&self) -> &[ErasedItem] {
        &self.0
    }

    /// What the tombstone of that request says.
    pub fn tombstone(&self, request: &str) -> Result<Tombstone, TombstoneError> {
        if !is_request(request) {
            return Err(TombstoneError::Request(request.chars().take(REQUEST_BYTES_MAX).collect()));
        }
        let mut root = CompactRange::default();
        self.0.iter().for_each(|item| root.push(item.hash(), |_, _| ()));
        Ok(Tombstone { request: request.to_owned(), items: self.0.len() as u64, root: root.root() })
    }

    /// Writes the list: a line of JSON for each item.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        for item in &self.0 {
            serde_json::to_writer(&mut *to, item)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Reads a list. It has one right form.
    pub fn read(from: &mut impl BufRead) -> Result<Self, TombstoneError> {
        let mut items: Vec<ErasedItem> = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(Self(items));
            }
            let bad = TombstoneError::Line(items.len() + 1);
            let Some(item) = ErasedItem::parse(&line) else { return Err(bad) };
            if items.last().is_some_and(|last| *last >= item) {
                return Err(bad);
            }
            if items.len() == ITEMS_MAX {
                return Err(TombstoneError::TooMany);
            }
            items.push(item);
        }
    }

    /// Shows the items that say why something is missing in these disclosures, and no others.
    #[must_use]
    pub fn prove_for<'d>(&self, shown: impl IntoIterator<Item = &'d Disclosure>) -> Vec<Membership> {
        let mut missing = HashSet::new();
        for disclosure in shown {
            let Some(leaf) = disclosure.seq() else { continue };
            for what in disclosure.missing() {
                if what.starts_with("field/") {
                    missing.insert((leaf, EVENT_ITEM.to_owned()));
                    missing.insert((leaf, what));
                } else {
                    missing.insert((ANY_LEAF, what));
                }
            }
        }
        let chosen: Vec<usize> = (0..self.0.len()).filter(|&index| missing.contains(&self.0[index].place())).collect();
        if chosen.is_empty() {
            return Vec::new();
        }
        let tree = Subtrees::of(self.0.iter().map(ErasedItem::hash).collect());
        let prove = |index: usize| {
            let path = inclusion(&tree, index as u64, self.0.len() as u64).ok()?;
            Some(Membership { item: self.0[index].clone(), index: index as u64, path })
        };
        chosen.into_iter().filter_map(prove).collect()
    }
}

/// The perfect subtrees of a tree, by height, so that many proofs cost little.
struct Subtrees(Vec<Vec<Hash>>);

impl Subtrees {
    fn of(leaves: Vec<Hash>) -> Self {
        let mut heights = vec![leaves];
        while let Some(below) = heights.last().filter(|below| below.len() > 1) {
            let (pairs, _) = below.as_chunks::<2>();
            heights.push(pairs.iter().map(|[left, right]| node_hash(left, right)).collect());
        }
        Self(heights)
    }
}

impl Nodes for Subtrees {
    type Error = NoNode;

    fn node(&self, height: u32, index: u64) -> Result<Hash, NoNode> {
        let hashes = self.0.get(height as usize).ok_or(NoNode)?;
        usize::try_from(index).ok().and_then(|index| hashes.get(index)).copied().ok_or(NoNode)
    }
}

/// There is no such node in the tree.
#[derive(Debug)]
struct NoNode;

impl ErasedItem {
    /// `SHA-256(0x00 ‖ u64 leaf ‖ u32 len(path) ‖ path)`.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut entry = self.leaf.to_be_bytes().to_vec();
        entry.extend_from_slice(&u32::try_from(self.path.len()).unwrap_or(u32::MAX).to_be_bytes());
        entry.extend_from_slice(self.path.as_bytes());
        leaf_hash(&entry)
    }

    /// Whether it is not in the record that is at its leaf. A content that the record does not bring is not in it.
    #[must_use]
    pub fn is_gone_from(&self, stored: &StoredRecord) -> bool {
        let mut parts = self.path.splitn(4, '/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next()];
        if let [Some("content"), Some(id), _, span] = parts {
            return content_is_gone(stored, id, span.and_then(|span| span.parse().ok()));
        }
        let StoredBody::Redacted(record) = &stored.body else { return false };
        match parts {
            [Some(EVENT_ITEM), None, ..] => {
                !record.fields.iter().any(|field| matches!(field, StoredField::Open { kind: FieldType::Json, .. }))
            }
            [Some("field"), Some(index), ..] => {
                let field = index.parse::<usize>().ok().and_then(|index| record.fields.get(index));
                matches!(field, Some(StoredField::Gone { .. }))
            }
            _ => false,
        }
    }

    /// Which record and what of it: a content is the same wherever it is brought, and fields are known by their index.
    fn place(&self) -> (u64, String) {
        if self.path.starts_with("content/") {
            return (ANY_LEAF, self.path.clone());
        }
        let mut parts = self.path.splitn(3, '/');
        let what = match (parts.next(), parts.next()) {
            (Some("field"), Some(index)) => format!("field/{index}"),
            _ => self.path.clone(),
        };
        (self.leaf, what)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let json = line.strip_suffix(b"\n")?;
        let item: Self = serde_json::from_slice(json).ok()?;
        let fits = item.path.len() <= PATH_BYTES_MAX && serde_json::to_vec(&item).ok()? == json;
        fits.then_some(item)
    }
}

impl Tombstone {
    /// The attributes of the event, whose kind is `admin`, whose name is [`TOMBSTONE_EVENT`] and whose way in is
    /// [`SourcePath::Internal`].
    #[must_use]
    pub fn attributes(&self) -> Vec<(Key, Value<Clean>)> {
        vec![
            (Key::of(REQUEST), Value::Text(Clean::recorded(&self.request))),
            (Key::of(ITEMS), Value::Int(i64::try_from(self.items).unwrap_or(i64::MAX))),
            (Key::of(ROOT), Value::Text(Clean::recorded(&hex::encode(&self.root)))),
        ]
    }

    /// What a record that was shown, and found to be what its leaf holds, says as a tombstone. It must show its kind, name,
    /// source and the three attributes: anybody may send an event with such attributes, but only the program writes one
    /// whose way in is `internal`.
    pub fn of(shown: &Disclosure, verified: &Verified) -> Result<Self, TombstoneError> {
        let member = |path: &'static str| {
            let field = shown.open(path).filter(|field| verified.fields.get(field.index as usize) == Some(&Verdict::Disclosed));
            field.ok_or(TombstoneError::NoTombstone(path))
        };
        let text = |path| Ok::<_, TombstoneError>(serde_json::from_str::<String>(&member(path)?.value).unwrap_or_default());
        #[derive(Deserialize)]
        struct WayIn {
            path: SourcePath,
        }
        if verified.leaf.kind != Kind::Admin.code() || text("/name")? != TOMBSTONE_EVENT {
            return Err(TombstoneError::NoTombstone("it is another event"));
        }
        match serde_json::from_str(&member("/source")?.value) {
            Ok(WayIn { path: SourcePath::Internal }) => {}
            _ => return Err(TombstoneError::NoTombstone("it came in from outside")),
        }
        let request = text("/attributes/watchkeeper.erasure.request")?;
        let root = hex::decode_array(&text("/attributes/watchkeeper.erasure.root")?);
        let items = serde_json::from_str(&member("/attributes/watchkeeper.erasure.items")?.value);
        match (root, items) {
            (Some(root), Ok(items)) if is_request(&request) => Ok(Self { request, items, root }),
            _ => Err(TombstoneError::NoTombstone("its attributes are not those of one")),
        }
    }
}

impl Erasures {
    /// Takes the whole list of the tombstone at that leaf, which must have been proved to be in the log.
    pub fn add_list(&mut self, leaf: u64, tombstone: &Tombstone, list: &ErasedItems) -> Result<(), TombstoneError> {
        if list.tombstone(&tombstone.request)? != *tombstone {
            return Err(TombstoneError::OtherList);
        }
        list.0.iter().for_each(|item| self.insert(leaf, item));
        Ok(())
    }

    /// Takes one item of the list of the tombstone at that leaf.
    pub fn add(&mut self, leaf: u64, tombstone: &Tombstone, member: &Membership) -> Result<(), TombstoneError> {
        verify_inclusion(&member.item.hash(), member.index, tombstone.items, &member.path, &tombstone.root)
            .map_err(|_| TombstoneError::OtherList)?;
        self.insert(leaf, &member.item);
        Ok(())
    }

    /// Takes items of an erasure that has no tombstone yet, on the word of whoever calls.
    pub fn add_items(&mut self, items: &[ErasedItem]) {
        items.iter().for_each(|item| self.insert(u64::MAX, item));
    }

    /// The leaf of the tombstone that covers what is named: `event`, `field/<index>`, `content/<id>` or
    /// `content/<id>/span/<j>` of the record at `leaf`. Contents are covered whichever record brought them.
    #[must_use]
    pub fn covers(&self, leaf: u64, what: &str) -> Option<u64> {
        let leaf = if what.starts_with("content/") { ANY_LEAF } else { leaf };
        self.items.get(&(leaf, what.to_owned())).copied()
    }

    fn insert(&mut self, tombstone: u64, item: &ErasedItem) {
        // A record cannot tell that something goes that is not yet there.
        if item.leaf < tombstone {
            self.items.insert(item.place(), tombstone);
        }
    }
}

/// Whether a record does not bring a content, or not the token of it.
fn content_is_gone(stored: &StoredRecord, id: &str, span: Option<usize>) -> bool {
    let is_it = |other: &ContentId| other.to_string() == id;
    match &stored.body {
        StoredBody::Whole(record) => !record.contents.iter().any(|content| is_it(&content.id)),
        StoredBody::Redacted(record) => match (record.contents.iter().find(|content| is_it(&content.id())), span) {
            (None | Some(StoredContent::Gone { .. }), _) => true,
            (Some(StoredContent::Redacted { spans, .. }), Some(span)) => matches!(spans.get(span), Some(StoredSpan::Gone { .. })),
            (Some(_), _) => false,
        },
    }
}

fn is_request(id: &str) -> bool {
    (1..=REQUEST_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
#[path = "tombstone_tests.rs"]
mod tests;
