//! The writer of an archive.
//!
//! Order of a change, so that a process that ends anywhere leaves what the next one can go on from:
//! 1. the new key, durable in the keyring;
//! 2. `pending`: which keys and objects are about to come and to go, durable;
//! 3. the new objects, put, read back and compared;
//! 4. the manifest's next generation, durable in its place: from here on the change is made;
//! 5. the copy of that generation beside the objects;
//! 6. the old keys destroyed, the old objects deleted where no lock holds them;
//! 7. `pending` removed.
//!
//! Whoever opens the archive after a crash finds in `pending` what to undo (before 4) or to end (after it).

mod recovery;

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::{ContentId, ContentRef, KeyId, Timestamp};
use ledger::{LeafError, LogKey, StoredBody, StoredContent, StoredRecord, VerifierKey};

pub use self::recovery::restore_manifest;
use crate::fs::{self, Steps};
use crate::manifest::{Change, Dropped, Keeps, MANIFEST_BYTES_MAX, Object, Pin, Purpose, Segment, WHY_BYTES_MAX};
use crate::objects::{Digest, ObjectName, Objects};
use crate::segment::{SegmentObjects, SegmentWriter};
use crate::view::View;
use crate::{ArchiveError, Class, SegmentError, SegmentKeys, Span};

pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const PENDING: &str = "pending";
const LOCK: &str = "lock";

/// How long a lock is waited for: its holder may be just ending, and a process that is being started has the descriptors of
/// its parent for an instant.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Most classes of one span: each is a segment of its own, gathered in memory with the others.
const CLASSES_MAX: usize = 64;

/// An archive, open for writing. One process at a time may have it so.
pub struct Archive {
    view: View,
    key: Arc<LogKey>,
    steps: Steps,
    /// Set while a change is under way, and for good by an error in its middle.
    stopped: bool,
    _lock: File,
}

/// How a span is sealed.
pub struct Sealing<'a> {
    /// Finds contents that events of the span refer to and that no record of the span brought before; a journal file that
    /// is sealed whole needs none. `None`: the content is not to be had any more.
    pub contents: &'a dyn Fn(&ContentRef) -> Result<Option<StoredContent>, SegmentError>,
    /// Until when objects of a class are locked, on storage that is write-once.
    pub lock_until: &'a dyn Fn(&Class) -> Option<Timestamp>,
    /// What a class says of its records.
    pub keeps: &'a dyn Fn(&Class) -> Option<Keeps>,
    /// The root of the ledger's tree over the records before the span's end.
    pub root: Option<[u8; 32]>,
    /// When.
    pub now: Timestamp,
}

/// What a segment that was written anew is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// How many of its records were changed.
    pub records_changed: u64,
    /// How many of the contents that lie in it were changed.
    pub contents_changed: u64,
    /// The key that was destroyed.
    pub destroyed: KeyId,
    /// Objects that are still there because a lock holds them; nothing opens them.
    pub locked: Vec<Digest>,
}

/// What a segment holds, given to be changed.
#[derive(Debug)]
pub enum Kept<'a> {
    /// A content that events refer to.
    Content(&'a mut StoredContent),
    /// A record, with the contents that it brings.
    Record(&'a mut StoredRecord),
}

/// A segment that is encoded and encrypted and not yet put.
struct Sealed {
    span: Span,
    key: KeyId,
    events: Bytes,
    contents: Bytes,
    objects: SegmentObjects,
}

/// What the manifest says of a segment beside what it holds.
struct Stamp {
    locked_until: Option<Timestamp>,
    root: Option<Digest>,
    sealed_at: Timestamp,
    rewritten_at: Option<Timestamp>,
    keeps: Option<Keeps>,
}

impl Archive {
    /// Opens the archive whose manifest lies in `dir`, made where there is none, and ends what a crash interrupted. A manifest that
    /// another key than the newest of `key` signed is signed anew.
    ///
    /// `earlier` are keys of the log from before its rotations, oldest first, with which the newest generation may still be signed.
    /// `pin` is the state that was seen last ([`View::pin`]), kept elsewhere: an older one is refused.
    pub fn open(
        dir: &Path,
        purpose: Purpose,
        objects: Arc<dyn Objects>,
        keys: Arc<dyn SegmentKeys>,
        key: Arc<LogKey>,
        earlier: &[VerifierKey],
        pin: Option<&Pin>,
    ) -> Result<Self, ArchiveError> {
        Self::open_with(dir, purpose, objects, keys, key, earlier, pin, Steps::default())
    }

    #[expect(clippy::too_many_arguments, reason = "the tests' version of `open`")]
    pub(crate) fn open_with(
        dir: &Path,
        purpose: Purpose,
        objects: Arc<dyn Objects>,
        keys: Arc<dyn SegmentKeys>,
        key: Arc<LogKey>,
        earlier: &[VerifierKey],
        pin: Option<&Pin>,
        steps: Steps,
    ) -> Result<Self, ArchiveError> {
        std::fs::create_dir_all(dir).map_err(at(dir))?;
        let path = dir.join(LOCK);
        let lock = File::create(&path).map_err(at(&path))?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => std::thread::sleep(LOCK_WAIT / 40),
                Err(TryLockError::WouldBlock) => return Err(ArchiveError::Locked(path)),
                // Not every file system knows locks.
                Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => return Err(at(&path)(error)),
                _ => break,
            }
        }
        let mut log_keys = earlier.to_vec();
        log_keys.extend(key.verifiers().into_iter().filter(|key| !earlier.contains(key)));
        let view = View::open(dir, purpose, objects, Some(keys), &log_keys, pin)?;
        let mut archive = Self { view, key, steps, stopped: false, _lock: lock };
        archive.recover()?;
        archive.sign_anew()?;
        Ok(archive)
    }

    /// Goes on with other keys of the log: the newest pair of `key` signs from here on. [`Archive::resume`] signs the manifest as it is,
    /// so that nobody has to believe a key that is retired.
    pub fn use_key(&mut self, key: Arc<LogKey>) {
        let known = &mut self.view.log_keys;
        known.extend(key.verifiers().into_iter().filter(|key| !known.contains(key)).collect::<Vec<_>>());
        self.key = key;
    }

    /// Whether [`Archive::resume`] has nothing to do.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.stopped && self.view.manifest.signer().is_none_or(|signer| *signer == self.key.verifier())
    }

    fn sign_anew(&mut self) -> Result<(), ArchiveError> {
        if self.is_settled() {
            return Ok(());
        }
        let key = self.key.verifier();
        self.change(|archive| archive.commit(&[Change::Signer { key: key.to_string() }]))
    }

    /// The archive for reading.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Archives the records of `[first, end)`, given in order with their classes: one segment for each class. An archive
    /// of evidence goes on where it ended and takes every record of the span; a forensic one takes those it is given.
    ///
    /// When this returns, the segments are durable and were read back.
    pub fn seal<E: std::fmt::Display>(
        &mut self,
        first: u64,
        end: u64,
        records: impl IntoIterator<Item = Result<(Class, StoredRecord), E>>,
        how: &Sealing<'_>,
    ) -> Result<Vec<Segment>, ArchiveError> {
        let mut writers: BTreeMap<Class, SegmentWriter> = BTreeMap::new();
        let mut brought: HashMap<ContentId, StoredContent> = HashMap::new();
        for item in records {
            let (class, record) = item.map_err(|error| ArchiveError::Source(error.to_string()))?;
            let is_new = !writers.contains_key(&class);
            let span = Span { first, end, class: class.clone() };
            if is_new && writers.len() == CLASSES_MAX {
                return Err(ArchiveError::Refused { first, end, what: format!("it has more than {CLASSES_MAX} classes") });
            }
            let writer = match writers.entry(class) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(SegmentWriter::new(span)?),
            };
            // Segments are whole in themselves: what a record of one class brought, those of others may refer to.
            writer.push(&record, &|wanted: &ContentRef| match brought.get(&wanted.id) {
                Some(content) => Ok(Some(content.clone())),
                None => (how.contents)(wanted),
            })?;
            brought.extend(contents_of(record).into_iter().map(|content| (content.id(), content)));
        }
        drop(brought);
        let records: u64 = writers.values().map(SegmentWriter::records).sum();
        let wanted = end.saturating_sub(first);
        if self.view.manifest.purpose() == Purpose::Evidence && (first != self.view.manifest.end() || records != wanted) {
            let what = format!("it has {records} of {wanted} records, and the archive ends at {}", self.view.manifest.end());
            return Err(ArchiveError::Refused { first, end, what });
        }
        if records == 0 {
            return Err(ArchiveError::Refused { first, end, what: "there are no records".to_owned() });
        }
        let mut sealed = Vec::new();
        for (class, writer) in writers {
            sealed.push(self.encrypt(Span { first, end, class }, writer.finish()?)?);
        }
        self.change(|archive| {
            archive.announce(&sealed, None)?;
            let mut segments = Vec::new();
            for sealed in &sealed {
                let stamp = Stamp {
                    locked_until: (how.lock_until)(&sealed.span.class),
                    root: how.root.map(Digest),
                    sealed_at: how.now,
                    rewritten_at: None,
                    keeps: (how.keeps)(&sealed.span.class),
                };
                segments.push(archive.put(sealed, stamp, how.now)?);
            }
            let changes: Vec<Change> = segments.iter().cloned().map(Change::Segment).collect();
            archive.commit(&changes)?;
            archive.forget_pending()?;
            Ok(segments)
        })
    }

    /// Writes a segment anew after `change` had each of its contents and then each of its records, and said whether it
    /// changed them; then destroys the old key and deletes the old objects where no lock holds them. Nothing is written,
    /// and `None` returned, when nothing was changed.
    ///
    /// A legal hold on the segment passes to what is written anew. Whoever calls changes nothing that the hold is for: a hold
    /// covers records, and others lie beside them.
    ///
    /// The contents are those that its events refer to, whoever brought them: a text that a record of another segment
    /// brought lies here, too, and is erased by whoever erases it there.
    pub fn rewrite(
        &mut self,
        span: &Span,
        why: &str,
        now: Timestamp,
        mut change: impl FnMut(Kept<'_>) -> Result<bool, LeafError>,
    ) -> Result<Option<Rewritten>, ArchiveError> {
        let (old, held) = self.segment_to_change(span, why)?;
        let refused = |source| ArchiveError::Leaf { span: span.clone(), source };
        let mut reader = self.view.read(&old)?;
        let (mut records_changed, mut contents_changed) = (0, 0);
        let mut contents = HashMap::new();
        for content in reader.contents() {
            let mut content = content.clone();
            contents_changed += u64::from(change(Kept::Content(&mut content)).map_err(refused)?);
            contents.entry(content.id()).or_insert(content);
        }
        let mut writer = SegmentWriter::new(span.clone())?;
        for record in &mut reader {
            let mut record = record?;
            records_changed += u64::from(change(Kept::Record(&mut record)).map_err(refused)?);
            writer.push(&record, &|wanted: &ContentRef| Ok(contents.get(&wanted.id).cloned()))?;
        }
        if records_changed == 0 && contents_changed == 0 {
            return Ok(None);
        }
        let sealed = self.encrypt(span.clone(), writer.finish()?)?;
        self.change(|archive| {
            archive.announce(std::slice::from_ref(&sealed), Some((&old, held)))?;
            // Records grow no younger by being written anew.
            let stamp = Stamp {
                locked_until: old.events.locked_until,
                root: old.root,
                sealed_at: old.sealed_at,
                rewritten_at: Some(now),
                keeps: old.keeps,
            };
            let segment = archive.put(&sealed, stamp, now)?;
            if held {
                archive.hold_objects(&segment, true)?;
            }
            archive.commit(&[Change::Replaced { was: old.events.digest, why: why.to_owned(), segment }])?;
            let locked = archive.let_go(&old, held, now)?;
            archive.forget_pending()?;
            Ok(Some(Rewritten { records_changed, contents_changed, destroyed: old.key, locked }))
        })
    }

    /// Drops a segment: its key is destroyed, its objects deleted where no lock holds them. Returns the objects that are
    /// still there; nothing opens them.
    pub fn drop_segment(&mut self, span: &Span, why: &str, now: Timestamp) -> Result<Vec<Digest>, ArchiveError> {
        let (old, held) = self.segment_to_change(span, why)?;
        if held {
            return Err(ArchiveError::Held(span.clone()));
        }
        let dropped = Dropped {
            first: old.first,
            end: old.end,
            class: old.class.clone(),
            records: old.records,
            at: now,
            why: why.to_owned(),
        };
        self.change(|archive| {
            archive.announce(&[], Some((&old, false)))?;
            archive.commit(&[Change::Dropped(dropped)])?;
            let locked = archive.let_go(&old, false, now)?;
            archive.forget_pending()?;
            Ok(locked)
        })
    }

    /// Sets or lifts a legal hold on a segment: while it is set, the segment is not dropped, and what is written
    /// anew in its place is held, too.
    pub fn hold(&mut self, span: &Span, on: bool, why: &str, now: Timestamp) -> Result<(), ArchiveError> {
        let (segment, _) = self.segment_to_change(span, why)?;
        self.change(|archive| {
            archive.hold_objects(&segment, on)?;
            let Span { first, end, class } = span.clone();
            archive.commit(&[Change::Hold { first, end, class, on, at: now, why: why.to_owned() }])
        })
    }

    /// Deletes objects of segments that were replaced or dropped and whose locks have ended. Returns how many.
    pub fn sweep(&mut self, now: Timestamp) -> Result<usize, ArchiveError> {
        let mut swept = 0;
        let there = self.view.list()?;
        for object in self.view.manifest.gone.iter().flat_map(|segment| [&segment.events, &segment.contents]) {
            let name = ObjectName::Segment(object.digest);
            let is_locked = object.locked_until.is_some_and(|until| until > now);
            if !is_locked && there.binary_search(&name.to_string()).is_ok() {
                swept += usize::from(self.view.objects.delete(&name, object.version.as_deref())?);
            }
        }
        Ok(swept)
    }

    /// Goes on after an error in the middle of a change: reads back what is on disk, and ends or undoes that change. And signs the
    /// manifest anew where other keys than the newest did. Does nothing where there is nothing to do.
    pub fn resume(&mut self) -> Result<(), ArchiveError> {
        if self.stopped {
            if let Some(newer) = self.view.newer()? {
                self.view = newer;
            }
            self.recover()?;
            self.stopped = false;
        }
        self.sign_anew()
    }

    /// Has the place keep the holds that the manifest knows, where it did not: they may be older than its being write-once.
    pub fn hold_what_is_held(&mut self) -> Result<(), ArchiveError> {
        if !self.view.objects.is_write_once() {
            return Ok(());
        }
        for live in self.view.manifest.live.values().filter(|live| live.held) {
            let events = &live.segment.events;
            if !self.view.objects.protection(&ObjectName::Segment(events.digest), events.version.as_deref())?.held {
                self.hold_objects(&live.segment, true)?;
            }
        }
        Ok(())
    }

    /// The segment, and whether it is under a legal hold.
    fn segment_to_change(&self, span: &Span, why: &str) -> Result<(Segment, bool), ArchiveError> {
        check_why(span, why)?;
        let live = self.view.manifest.live.get(span).ok_or_else(|| ArchiveError::NoSegment(span.clone()))?;
        Ok((live.segment.clone(), live.held))
    }

    fn hold_objects(&self, segment: &Segment, on: bool) -> Result<(), ArchiveError> {
        for object in [&segment.events, &segment.contents] {
            self.view.objects.hold(&ObjectName::Segment(object.digest), object.version.as_deref(), on)?;
        }
        Ok(())
    }

    /// Makes a key and encrypts.
    fn encrypt(&self, span: Span, mut objects: SegmentObjects) -> Result<Sealed, ArchiveError> {
        let (key, secret) = self.view.keys()?.create()?;
        let events = secret.seal(&std::mem::take(&mut objects.events))?.into();
        let contents = secret.seal(&std::mem::take(&mut objects.contents))?.into();
        Ok(Sealed { span, key, events, contents, objects })
    }

    fn put(&self, sealed: &Sealed, stamp: Stamp, now: Timestamp) -> Result<Segment, ArchiveError> {
        // No storage takes a lock whose time is over.
        let locked_until = stamp.locked_until.filter(|until| *until > now);
        let put = |bytes: &Bytes| {
            let digest = Digest::of(bytes);
            let name = ObjectName::Segment(digest);
            let version = self.view.objects.put(&name, bytes, locked_until)?.version;
            // A store that says yes and keeps something else is found out while the journal still has the records.
            let read_back = self.view.objects.get(&name, version.as_deref(), bytes.len() as u64)?;
            if read_back.as_ref() != Some(bytes) {
                return Err(ArchiveError::ReadBack(name.to_string()));
            }
            Ok(Object { digest, bytes: bytes.len() as u64, version, locked_until })
        };
        let (Span { first, end, class }, summary) = (sealed.span.clone(), sealed.objects.summary);
        Ok(Segment {
            first,
            end,
            class,
            records: summary.records,
            missing_contents: summary.missing_contents,
            from: summary.times.map(|(from, _)| from),
            to: summary.times.map(|(_, to)| to),
            events: put(&sealed.events)?,
            contents: put(&sealed.contents)?,
            key: sealed.key,
            root: stamp.root,
            sealed_at: stamp.sealed_at,
            rewritten_at: stamp.rewritten_at,
            keeps: stamp.keeps,
        })
    }

    /// Makes a change: durable here, then copied beside the objects.
    fn commit(&mut self, changes: &[Change]) -> Result<(), ArchiveError> {
        let (next, note) = self.view.manifest.next(changes, &self.key)?;
        let path = self.view.dir.join(MANIFEST);
        let mut bytes = fs::read(&path, MANIFEST_BYTES_MAX).map_err(at(&path))?.unwrap_or_default();
        bytes.extend_from_slice(note.as_bytes());
        bytes.push(b'\n');
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(at(&path)(io::ErrorKind::FileTooLarge.into()));
        }
        fs::replace(&path, &bytes, &self.steps).map_err(at(&path))?;
        self.view.manifest = next;
        let name = ObjectName::Manifest(self.view.manifest.pin().generation);
        self.view.objects.put(&name, &note.into_bytes().into(), None)?;
        Ok(())
    }

    /// Destroys the key of a segment that is no more, and deletes its objects; those that a lock holds are returned.
    fn let_go(&self, old: &Segment, held: bool, now: Timestamp) -> Result<Vec<Digest>, ArchiveError> {
        self.view.keys()?.destroy(&[old.key])?;
        if held {
            self.hold_objects(old, false)?;
        }
        let mut locked = Vec::new();
        for object in [&old.events, &old.contents] {
            let is_locked = object.locked_until.is_some_and(|until| until > now);
            if is_locked || !self.view.objects.delete(&ObjectName::Segment(object.digest), object.version.as_deref())? {
                locked.push(object.digest);
            }
        }
        Ok(locked)
    }

    /// Runs a change; an error in its middle stops the archive until it is opened anew.
    fn change<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T, ArchiveError>) -> Result<T, ArchiveError> {
        if self.stopped {
            return Err(ArchiveError::Stopped);
        }
        self.stopped = true;
        let done = change(self)?;
        self.stopped = false;
        Ok(done)
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("view", &self.view).finish_non_exhaustive()
    }
}

fn contents_of(record: StoredRecord) -> Vec<StoredContent> {
    match record.body {
        StoredBody::Whole(whole) => whole.contents.into_iter().map(StoredContent::Whole).collect(),
        StoredBody::Redacted(redacted) => redacted.contents,
    }
}

fn check_why(span: &Span, why: &str) -> Result<(), ArchiveError> {
    if why.is_empty() || why.len() > WHY_BYTES_MAX {
        let what = format!("the reason of a change must have 1 to {WHY_BYTES_MAX} bytes");
        return Err(ArchiveError::Refused { first: span.first, end: span.end, what });
    }
    Ok(())
}

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> ArchiveError {
    let path: PathBuf = path.to_owned();
    move |source| ArchiveError::File { path: path.clone(), source }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
pub(crate) mod tests;
