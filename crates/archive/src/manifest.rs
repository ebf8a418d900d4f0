//! The manifest: what the archive holds, as a chain of signed generations. Each tells what changed, and names the digest
//! of the one before it, so that the newest signature vouches for all of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use event::{KeyId, Timestamp};
use ledger::{LogKey, NoteError, SignedNote, VerifierKey};
use serde::{Deserialize, Serialize};

use crate::objects::Digest;
use crate::{Class, Span};

/// The first line of each generation. A space cannot stand in a log's name, so this is never taken for a checkpoint.
const HEADER: &str = "watchkeeper archive 1";

/// Largest manifest: a quarter of a million segments.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Longest reason of a change, in bytes.
pub(crate) const WHY_BYTES_MAX: usize = 1024;

/// Longest version of an object that a bucket may give, in bytes (S3's own limit).
const VERSION_BYTES_MAX: usize = 1024;

/// What an archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Every record of the journal, from 0 on without gaps.
    Evidence,
    /// Copies of chosen records, for an investigation.
    Forensic,
}

/// An object as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// SHA-256 of its bytes, which are encrypted.
    pub digest: Digest,
    /// How many bytes.
    pub bytes: u64,
    /// Its version, in a versioned bucket: another one of the same name is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Until when it is locked, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
}

/// A segment as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The span's first record.
    pub first: u64,
    /// One past its last.
    pub end: u64,
    /// The retention class of its records.
    pub class: Class,
    /// How many of the span's records are of the class.
    pub records: u64,
    /// References of its events to contents that were erased, or lost, before it was sealed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing_contents: u64,
    /// Earliest time of an event in it, by the source's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Latest time of an event in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The object with one row for each record.
    pub events: Object,
    /// The object with one row for each text.
    pub contents: Object,
    /// The key that opens both.
    pub key: KeyId,
    /// The root of the ledger's tree over the records before `end`, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// When its records were sealed, by our clock: no earlier than the last of them was received. What is written anew keeps it.
    pub sealed_at: Timestamp,
    /// When it was last written anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten_at: Option<Timestamp>,
    /// What its class said when it was sealed: a class that is weakened later does not weaken what was recorded under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<Keeps>,
}

/// What a retention class says of records, as it was when they were sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeps {
    /// Days before which nothing is dropped.
    pub min_days: u32,
    /// Days after which records are dropped; without it they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_days: Option<u32>,
    /// Whether a law asks for the records until `min_days` have passed, erasure or not.
    pub by_law: bool,
}

/// One change of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// A segment was written.
    Segment(Segment),
    /// A segment was written anew in the place of another one, whose key is destroyed.
    Replaced {
        /// The digest of the events object that was.
        was: Digest,
        /// Why.
        why: String,
        /// What is there now.
        segment: Segment,
    },
    /// The records of a class are gone from the span, key and all.
    Dropped(Dropped),
    /// A legal hold was set on a segment, or lifted.
    Hold {
        /// The span's first record.
        first: u64,
        /// One past its last.
        end: u64,
        /// The class.
        class: Class,
        /// Set or lifted.
        on: bool,
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// The log's keys were rotated: from here on this one signs.
    Signer {
        /// The Ed25519 key, as a verifier key.
        key: String,
    },
}

/// Records that were dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The span's first record.
    pub first: u64,
    /// One past its last.
    pub end: u64,
    /// The class.
    pub class: Class,
    /// How many.
    pub records: u64,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

/// Which state of the manifest somebody saw. Kept outside of the archive, it makes a roll-back visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The generation; 0 before the first.
    pub generation: u64,
    /// The SHA-256 of its note; zeros before the first.
    pub digest: Digest,
}

/// A segment that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) segment: Segment,
    pub(crate) held: bool,
}

/// The state that the generations lead to.
#[derive(Debug, Clone)]
pub struct Manifest {
    purpose: Purpose,
    pins: Vec<Pin>,
    pub(crate) live: BTreeMap<Span, Live>,
    pub(crate) dropped: BTreeMap<Span, Dropped>,
    /// Segments that were replaced or dropped: their keys are destroyed, their objects may still be locked.
    pub(crate) gone: Vec<Segment>,
    end: u64,
    /// The key that the newest generation was found to be signed by.
    signer: Option<VerifierKey>,
}

/// Why a manifest is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Form.
    #[error("manifest, generation {generation}: {what}")]
    Malformed {
        /// Which generation.
        generation: u64,
        /// What is wrong.
        what: String,
    },
    /// The signature of the newest generation.
    #[error("manifest, generation {generation}: {source}")]
    Note {
        /// Which generation.
        generation: u64,
        /// What is wrong.
        source: NoteError,
    },
    /// The signature of the newest generation, by a key that the log does not sign with any more.
    #[error("manifest, generation {0} is signed by a key that was retired: a generation before it is signed by a later key")]
    Retired(u64),
    /// A generation that does not follow the one before it.
    #[error("manifest, generation {0} does not name the digest of the one before it: one of them was changed")]
    Chain(u64),
    /// The archive is for something else.
    #[error("manifest is that of an archive for {found:?}, not for {expected:?}")]
    Purpose {
        /// As configured.
        expected: Purpose,
        /// As found.
        found: Purpose,
    },
    /// Somebody saw a later one.
    #[error("manifest is of generation {found}, and {pinned} was seen already: it was rolled back; restore the newer one")]
    RolledBack {
        /// The one that is there.
        found: u64,
        /// The one that was seen.
        pinned: u64,
    },
    /// Somebody saw another one of the same number.
    #[error("manifest, generation {0} is not the one that was seen before: there are two histories")]
    Forked(u64),
}

impl Segment {
    /// Its span and class.
    #[must_use]
    pub fn span(&self) -> Span {
        Span { first: self.first, end: self.end, class: self.class.clone() }
    }
}

impl Manifest {
    /// The manifest of an archive that holds nothing.
    pub(crate) fn empty(purpose: Purpose) -> Self {
        Self {
            purpose,
            pins: Vec::new(),
            live: BTreeMap::new(),
            dropped: BTreeMap::new(),
            gone: Vec::new(),
            end: 0,
            signer: None,
        }
    }

    /// Reads the generations, oldest first, an empty line behind each. The newest must be signed by one of the log's keys, which
    /// are given oldest first: the newest, or one that the manifest was last signed with before the log's keys were rotated. Once
    /// a later key has signed, an earlier one signs no more.
    pub fn open(bytes: &[u8], purpose: Purpose, keys: &[VerifierKey]) -> Result<Self, ManifestError> {
        let mut manifest = Self::empty(purpose);
        let mut newest = None;
        let mut latest = 0;
        for note in split(bytes) {
            let generation = manifest.pin().generation + 1;
            let note = note.ok_or_else(|| malformed(generation, "ends in its middle"))?;
            let parsed = SignedNote::parse(note).map_err(|source| ManifestError::Note { generation, source })?;
            manifest.append(parsed.text(), Digest::of(note))?;
            // The newest signature vouches for these by their digest.
            let by = keys.iter().rposition(|key| parsed.signatures().iter().any(|by| by.is_by(key)));
            latest = latest.max(by.unwrap_or(0));
            newest = Some((generation, parsed));
        }
        let Some((generation, note)) = newest else { return Ok(manifest) };
        let mut result = Err(NoteError::Unsigned("a key of the log".to_owned()));
        for (index, key) in keys.iter().enumerate().rev() {
            match note.verify(key) {
                Ok(()) if index < latest => return Err(ManifestError::Retired(generation)),
                Ok(()) => {
                    manifest.signer = Some(key.clone());
                    return Ok(manifest);
                }
                // A known key whose signature is wrong says more than one that did not sign.
                Err(error) if !matches!(error, NoteError::Unsigned(_)) => result = Err(error),
                Err(_) => {}
            }
        }
        result.map_err(|source| ManifestError::Note { generation, source })
    }

    /// What the archive is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The newest generation.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pins.last().copied().unwrap_or(Pin { generation: 0, digest: Digest([0; 32]) })
    }

    /// Whether the manifest is the one that was seen, or goes on from it.
    pub fn check(&self, seen: &Pin) -> Result<(), ManifestError> {
        let found = self.pin().generation;
        if seen.generation == 0 {
            return Ok(());
        }
        let index = usize::try_from(seen.generation - 1).unwrap_or(usize::MAX);
        match self.pins.get(index) {
            None => Err(ManifestError::RolledBack { found, pinned: seen.generation }),
            Some(pin) if pin.digest != seen.digest => Err(ManifestError::Forked(seen.generation)),
            Some(_) => Ok(()),
        }
    }

    /// One past the newest record that the archive holds or held.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The segments that are there, by their first record.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.live.values().map(|live| &live.segment)
    }

    /// The segment of a span and class.
    #[must_use]
    pub fn segment(&self, span: &Span) -> Option<&Segment> {
        self.live.get(span).map(|live| &live.segment)
    }

    /// Whether a segment is under a legal hold.
    #[must_use]
    pub fn is_held(&self, span: &Span) -> bool {
        self.live.get(span).is_some_and(|live| live.held)
    }

    /// Records that were dropped.
    pub fn dropped(&self) -> impl Iterator<Item = &Dropped> {
        self.dropped.values()
    }

    /// The key that signed the newest generation; none where there is no generation.
    #[must_use]
    pub fn signer(&self) -> Option<&VerifierKey> {
        self.signer.as_ref()
    }

    /// The next generation, signed, and the state behind it.
    pub(crate) fn next(&self, changes: &[Change], key: &LogKey) -> Result<(Self, String), ManifestError> {
        let generation = self.pin().generation + 1;
        let mut text =
            format!("{HEADER}\n{}\ngeneration {generation}\nprevious {}\n", purpose_name(self.purpose), self.pin().digest);
        for change in changes {
            let line = serde_json::to_string(change).map_err(|error| malformed(generation, error.to_string()))?;
            let _ = writeln!(text, "{line}");
        }
        let note = key.sign(&text).map_err(|source| ManifestError::Note { generation, source })?.encode();
        let mut next = self.clone();
        next.append(&text, Digest::of(note.as_bytes()))?;
        next.signer = Some(key.verifier());
        Ok((next, note))
    }

    fn append(&mut self, text: &str, digest: Digest) -> Result<(), ManifestError> {
        let generation = self.pin().generation + 1;
        let wrong = |what: &str| malformed(generation, what.to_owned());
        let mut lines = text.strip_suffix('\n').ok_or_else(|| wrong("has no line"))?.split('\n');
        let mut line = || lines.next().unwrap_or_default();
        if line() != HEADER {
            return Err(wrong("is of no version that this program reads"));
        }
        let found = match line() {
            "evidence" => Purpose::Evidence,
            "forensic" => Purpose::Forensic,
            _ => return Err(wrong("is for no purpose that this program knows")),
        };
        if found != self.purpose {
            return Err(ManifestError::Purpose { expected: self.purpose, found });
        }
        if line() != format!("generation {generation}") {
            return Err(wrong("has another number"));
        }
        if line() != format!("previous {}", self.pin().digest) {
            return Err(ManifestError::Chain(generation));
        }
        let mut changes = 0;
        for line in lines {
            let change: Change = serde_json::from_str(line).map_err(|error| malformed(generation, error.to_string()))?;
            if serde_json::to_string(&change).ok().as_deref() != Some(line) {
                return Err(wrong("has a change that is not in its one form"));
            }
            self.apply(change).map_err(|what| malformed(generation, what))?;
            changes += 1;
        }
        if changes == 0 {
            return Err(wrong("changes nothing"));
        }
        self.check_cover().map_err(|what| malformed(generation, what))?;
        self.pins.push(Pin { generation, digest });
        Ok(())
    }

    fn apply(&mut self, change: Change) -> Result<(), String> {
        match change {
            Change::Segment(segment) => {
                segment.check()?;
                let span = segment.span();
                if self.live.contains_key(&span) || self.dropped.contains_key(&span) {
                    return Err(format!("{span} is there already"));
                }
                self.check_new(&span)?;
                self.live.insert(span, Live { segment, held: false });
            }
            Change::Replaced { was, why, segment } => {
                check_why(&why)?;
                segment.check()?;
                let span = segment.span();
                let live = self.live.get_mut(&span).ok_or_else(|| format!("{span} is replaced and not there"))?;
                if live.segment.events.digest != was || live.segment.records != segment.records {
                    return Err(format!("{span} is replaced and is not what was there"));
                }
                self.gone.push(std::mem::replace(&mut live.segment, segment));
            }
            Change::Dropped(dropped) => {
                check_why(&dropped.why)?;
                let span = Span { first: dropped.first, end: dropped.end, class: dropped.class.clone() };
                match self.live.remove(&span) {
                    Some(live) if live.held => return Err(format!("{span} is dropped under a legal hold")),
                    Some(live) if live.segment.records == dropped.records => self.gone.push(live.segment),
                    _ => return Err(format!("{span} is dropped and is not what was there")),
                }
                self.dropped.insert(span, dropped);
            }
            Change::Hold { first, end, class, on, why, .. } => {
                check_why(&why)?;
                let span = Span { first, end, class };
                let live = self.live.get_mut(&span).ok_or_else(|| format!("{span} is held and not there"))?;
                live.held = on;
            }
            // Who signs is told by the signature of the newest generation; this says when it changed.
            Change::Signer { key } => {
                key.parse::<VerifierKey>().map_err(|error| format!("{key:?} is no key: {error}"))?;
            }
        }
        Ok(())
    }

    /// Whether a new segment fits beside those there are: in an archive of evidence, spans follow each other.
    fn check_new(&mut self, span: &Span) -> Result<(), String> {
        let is_of_newest =
            self.live.keys().next_back().is_some_and(|newest| (newest.first, newest.end) == (span.first, span.end));
        if self.purpose == Purpose::Evidence && span.first != self.end && !is_of_newest {
            return Err(format!("{span} does not begin at {}, where the archive ends", self.end));
        }
        self.end = self.end.max(span.end);
        Ok(())
    }

    /// In an archive of evidence, each record of `[0, end)` is in one segment or dropped: the segments of a span have all
    /// its records between them. Only the newest span can have changed its sum: others replace or drop like for like.
    fn check_cover(&self) -> Result<(), String> {
        if self.purpose == Purpose::Forensic {
            return Ok(());
        }
        let Some(newest) = self.live.keys().next_back().filter(|span| span.end == self.end) else { return Ok(()) };
        let (first, end) = (newest.first, newest.end);
        let is_of_it = |span: &&Span| (span.first, span.end) == (first, end);
        let live = self.live.iter().rev().map(|(span, live)| (span, live.segment.records)).take_while(|(span, _)| is_of_it(span));
        let dropped =
            self.dropped.iter().rev().map(|(span, dropped)| (span, dropped.records)).take_while(|(span, _)| is_of_it(span));
        let records: u64 = live.chain(dropped).map(|(_, records)| records).fold(0, u64::saturating_add);
        if records == end - first {
            Ok(())
        } else {
            Err(format!("the segments of {first} to {end} have {records} records, not {}", end - first))
        }
    }
}

impl Segment {
    fn check(&self) -> Result<(), String> {
        let versions = [&self.events.version, &self.contents.version];
        if self.first >= self.end || self.records > self.end - self.first || self.records == 0 {
            return Err(format!("{} has {} records", self.span(), self.records));
        }
        if versions.into_iter().flatten().any(|version| version.len() > VERSION_BYTES_MAX) {
            return Err(format!("{} has a version that no bucket gives", self.span()));
        }
        Ok(())
    }
}

/// The notes of a file: each ends with an empty line. `None` for one that does not end.
pub(crate) fn split(bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let empty_line = |from: usize| memchr::memmem::find(&rest[from..], b"\n\n").map(|at| from + at + 2);
        // The first empty line ends the text, the second one the signatures.
        let Some(end) = empty_line(0).and_then(empty_line) else {
            rest = &[];
            return Some(None);
        };
        let note = &rest[..end - 1];
        rest = &rest[end..];
        Some(Some(note))
    })
}

pub(crate) fn purpose_name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Evidence => "evidence",
        Purpose::Forensic => "forensic",
    }
}

fn check_why(why: &str) -> Result<(), String> {
    if why.is_empty() || why.len() > WHY_BYTES_MAX {
        return Err(format!("a reason must have 1 to {WHY_BYTES_MAX} bytes"));
    }
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn malformed(generation: u64, what: impl Into<String>) -> ManifestError {
    ManifestError::Malformed { generation, what: what.into() }
}
