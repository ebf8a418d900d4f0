//! The archive as this server has it: where it lies, its keys, its pin.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::{Archive, ArchiveError, Item, KeyStoreError, Pin, Purpose, Segment, SegmentKey, SegmentKeys, Span, View};
use event::{ContentId, Event, KeyId, Kind, attr};
use journal::{Record, Seq};
use keys::{DataKeys, Keyring, KeysError, Secret};
use ledger::{LogKey, StoredBody, StoredContent, StoredRecord, VerifierKey};

use super::place::{self, Place};
use crate::data_dir::DataDir;
use crate::log_keys::{LogKeyError, key_chain, sealed_size};
use crate::standing::ArchiveStanding;

/// Directory of the archive of evidence in the data directory.
pub(crate) const ARCHIVE_DIR: &str = "archive";

/// The archive of evidence.
pub(crate) const EVIDENCE: Which = Which {
    dir: ARCHIVE_DIR,
    pinned: "archive pin",
    pin: "archive.pin",
    purpose: Purpose::Evidence,
    keys: keys::Purpose::Segment,
};

/// The forensic archive.
pub(crate) const FORENSIC: Which = Which {
    dir: "forensic",
    pinned: "forensic pin",
    pin: "forensic.pin",
    purpose: Purpose::Forensic,
    keys: keys::Purpose::Forensic,
};

/// One of the archives that a data directory can have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Which {
    /// Its directory in the data directory.
    pub(crate) dir: &'static str,
    /// Its pin in the keyring: the archive must not be older than this.
    pinned: &'static str,
    /// A copy of the pin, with the keys, for those who verify without the root key.
    pub(crate) pin: &'static str,
    purpose: Purpose,
    keys: keys::Purpose,
}

/// Longest pin: a number and a digest.
const PIN_BYTES_MAX: u64 = 4 * 1024;

/// Keys of segments in the keyring.
pub(crate) struct KeyringSegmentKeys(pub(crate) DataKeys);

/// The archive, open for writing.
pub(crate) struct Cold {
    archive: Mutex<Archive>,
    keyring: Arc<Keyring>,
    which: Which,
    pin_copy: PathBuf,
    /// How far it is: whoever only asks that does not wait for a change.
    standing: Mutex<ArchiveStanding>,
    write_once: bool,
}

/// Records of an archived span.
pub(crate) struct ArchivedSpan {
    /// In order.
    pub(crate) records: Vec<StoredRecord>,
    /// Texts to which they refer and that none of them brings: the record that brought one was dropped with its class.
    pub(crate) contents: HashMap<ContentId, StoredContent>,
    /// The record behind the span.
    pub(crate) end: Seq,
}

/// One step along the records.
#[derive(Debug)]
pub(crate) enum Step {
    /// The next record, as it may be read.
    Record(Record),
    /// There is nothing before this place any more: what was there was dropped at the end of its retention.
    Skip(Seq),
}

/// Why the archive does not open, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    /// The archive.
    #[error("archive: {0}")]
    Archive(#[from] ArchiveError),
    /// The place of its objects.
    #[error("archive: {0}")]
    Objects(#[from] archive::ObjectError),
    /// Where its objects lie.
    #[error("archive: {path}: {what}")]
    Place {
        /// The file that says it.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The configuration names another place than the one where the objects are.
    #[error(
        "archive.url is {configured}, and the objects of this archive lie in {known}: copy all of them there first, or put the \
         configuration back"
    )]
    Moved {
        /// Where they are.
        known: String,
        /// Where they should be.
        configured: String,
    },
    /// Nobody goes to a bucket because a directory says so.
    #[error(
        "the objects of this archive lie in {0}; name the server's configuration with --config FILE, with the same [archive] and [s3]"
    )]
    Remote(String),
    /// Its pin.
    #[error("{path}: {what}")]
    Pin {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Its pin is none.
    #[error(
        "{path}: {what}; it is not what a server wrote: find out who changed it, compare the archive with a copy, and then remove it"
    )]
    BadPin {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The log's key.
    #[error(transparent)]
    LogKey(#[from] ledger::KeyError),
    /// The log's public keys.
    #[error(transparent)]
    LogKeys(#[from] Box<LogKeyError>),
}

impl Cold {
    /// Opens the archive of a data directory, and ends what a crash interrupted. Its objects lie where they did; or at `place`,
    /// where that is configured.
    pub(crate) fn open(
        which: Which,
        data: &DataDir,
        keyring: &Arc<Keyring>,
        log_key: &LogKey,
        place: Option<&Place>,
    ) -> Result<Self, ColdError> {
        let dir = data.path().join(which.dir);
        let view = |objects| {
            let pin = read_pins(which, data, Some(keyring))?.pop();
            Ok(View::open(&dir, which.purpose, objects, None, &current_keys(data)?, pin.as_ref())?)
        };
        let place = place::settled(&dir, place, view)?;
        let objects = place.open(&dir)?;
        let keys = Arc::new(KeyringSegmentKeys(DataKeys::new(keyring.clone(), which.keys)));
        // The archive signs its manifests with the log's key.
        let key = Arc::new(LogKey::from_text(&log_key.to_text())?);
        let earlier = current_keys(data)?;
        let pinned = read_pins(which, data, Some(keyring))?.pop();
        let mut archive = Archive::open(&dir, which.purpose, objects, keys, key, &earlier, pinned.as_ref())?;
        archive.hold_what_is_held()?;
        let opened = archive.view().pin();
        let standing = Mutex::new(ArchiveStanding::of(archive.view().manifest()));
        let (keyring, pin_copy) = (keyring.clone(), data.key(which.pin));
        let cold = Self { archive: Mutex::new(archive), keyring, which, pin_copy, standing, write_once: place.write_once };
        // Opening may have signed the manifest anew.
        if opened.generation > pinned.map_or(0, |pinned| pinned.generation) {
            cold.write_pin(&opened)?;
        }
        Ok(cold)
    }

    /// Whether its objects are locked for the least days of their class.
    pub(crate) fn is_write_once(&self) -> bool {
        self.write_once
    }

    /// The record after the last one that is archived.
    pub(crate) fn end(&self) -> Seq {
        Seq(self.lock().view().manifest().end())
    }

    /// Goes on with other keys of the log. When this fails, the next change of the archive signs it anew.
    pub(crate) fn sign_with(&self, log_key: &LogKey) -> Result<(), ColdError> {
        self.lock().use_key(Arc::new(LogKey::from_text(&log_key.to_text())?));
        self.settle()
    }

    /// Ends what an error interrupted, and signs the manifest anew where other keys than the newest did.
    pub(crate) fn settle(&self) -> Result<(), ColdError> {
        let settled = self.lock().is_settled();
        if settled { Ok(()) } else { self.change(|_| Ok(())) }
    }

    /// Changes the archive, and pins what it is then.
    pub(crate) fn change<T, E: From<ColdError>>(&self, change: impl FnOnce(&mut Archive) -> Result<T, E>) -> Result<T, E> {
        let mut archive = self.lock();
        let changed = archive.resume().map_err(|error| ColdError::from(error).into()).and_then(|()| change(&mut archive));
        let now = archive.view().pin();
        if now.generation > 0 {
            self.write_pin(&now)?;
        }
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = ArchiveStanding::of(archive.view().manifest());
        changed
    }

    fn write_pin(&self, pin: &Pin) -> Result<(), ColdError> {
        let error = |what: String| ColdError::Pin { path: self.pin_copy.clone(), what };
        let pin = serde_json::to_vec(pin).map_err(|source| error(source.to_string()))?;
        self.keyring.put_named(self.which.pinned, &pin)?;
        files::write_atomic(&self.pin_copy, &pin, 0o600).map_err(|source| error(source.to_string()))
    }

    /// How far it is.
    pub(crate) fn standing(&self) -> ArchiveStanding {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the archive. Nobody changes it meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Archive> {
        // An archive that stopped in the middle of a change refuses the next one by itself.
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segments that are there.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        self.lock().view().manifest().segments().cloned().collect()
    }

    /// The records of a segment, and the contents to which its events refer.
    pub(crate) fn whole(&self, span: &Span) -> Result<(Vec<StoredRecord>, Vec<StoredContent>), ColdError> {
        Ok(self.lock().view().whole(span)?)
    }

    /// The records of a segment.
    pub(crate) fn segment(&self, span: &Span) -> Result<Vec<StoredRecord>, ColdError> {
        Ok(self.lock().view().segment(span)?)
    }

    /// The records from `at` to the end of the span that holds it. `None` when `at` is not archived.
    pub(crate) fn span(&self, at: Seq) -> Result<Option<ArchivedSpan>, ColdError> {
        let archive = self.lock();
        let manifest = archive.view().manifest();
        if at.0 >= manifest.end() {
            return Ok(None);
        }
        let live = manifest.segments().map(|segment| (segment.first, segment.end));
        let mut spans = live.chain(manifest.dropped().map(|dropped| (dropped.first, dropped.end)));
        let Some((_, end)) = spans.find(|(first, end)| (*first..*end).contains(&at.0)) else { return Ok(None) };
        let mut records = Vec::new();
        for item in archive.view().reader(at.0) {
            match item? {
                Item::Record(record) if record.seq.0 >= end => break,
                Item::Record(record) => records.push(*record),
                Item::Dropped(dropped) if dropped.first >= end => break,
                Item::Dropped(_) => {}
            }
        }
        let of_span = |first: u64, its_end: u64| its_end == end && first <= at.0;
        let mut contents = HashMap::new();
        if manifest.dropped().any(|dropped| of_span(dropped.first, dropped.end)) {
            for segment in manifest.segments().filter(|segment| of_span(segment.first, segment.end)) {
                contents.extend(archive.view().contents(&segment.span())?.into_iter().map(|content| (content.id(), content)));
            }
            for content in records.iter().flat_map(StoredRecord::brought) {
                contents.remove(&content);
            }
        }
        Ok(Some(ArchivedSpan { records, contents, end: Seq(end) }))
    }
}

/// The archive of a data directory for reading, with the keys of its segments or without; while a server writes it or not. `None`
/// where there is none. Its objects lie at `place`, and their locks are looked at, too; without it they lie where the directory
/// says, if that is on this machine, and locks are left to whoever knows the configuration: copies have none.
///
/// # Errors
/// When there is one and its manifest is not what this log's keys signed, or older than the one pinned.
pub fn archive_of(data: &DataDir, keyring: Option<&Arc<Keyring>>, place: Option<&Place>) -> Result<Option<View>, ColdError> {
    view_of(EVIDENCE, data, keyring, place)
}

/// As [`archive_of`], of the forensic archive.
///
/// # Errors
/// As there.
pub fn forensic_of(data: &DataDir, keyring: Option<&Arc<Keyring>>, place: Option<&Place>) -> Result<Option<View>, ColdError> {
    view_of(FORENSIC, data, keyring, place)
}

fn view_of(
    which: Which,
    data: &DataDir,
    keyring: Option<&Arc<Keyring>>,
    place: Option<&Place>,
) -> Result<Option<View>, ColdError> {
    let dir = data.path().join(which.dir);
    let pins = read_pins(which, data, keyring)?;
    if pins.is_empty() && !dir.join("manifest").exists() {
        return Ok(None);
    }
    let objects = match place {
        Some(place) => place.read(&dir, true)?,
        None => match place::written(&dir)? {
            place if place.is_remote() => return Err(ColdError::Remote(place.to_string())),
            place => place.read(&dir, false)?,
        },
    };
    let keys = keyring.map(|keyring| {
        let keys = KeyringSegmentKeys(DataKeys::new(keyring.clone(), which.keys));
        Arc::new(keys) as Arc<dyn SegmentKeys>
    });
    let mut log_keys = current_keys(data)?;
    loop {
        let open = |pin| View::open(&dir, which.purpose, objects.clone(), keys.clone(), &log_keys, pin);
        // Each pin must be in its history, the copy too.
        let copy = pins[..pins.len().saturating_sub(1)].iter().try_for_each(|pin| open(Some(pin)).map(drop));
        let opened = copy.and_then(|()| open(pins.last()));
        // A server that rotates the log's keys meanwhile signs the manifest with ones that were not there yet.
        let now = current_keys(data)?;
        if opened.is_ok() || now == log_keys {
            return Ok(Some(opened?));
        }
        log_keys = now;
    }
}

/// The keys of the log that are believed now, as far as the ledger is there: a retired one is not.
fn current_keys(data: &DataDir) -> Result<Vec<VerifierKey>, ColdError> {
    let chain = key_chain(data).map_err(Box::new)?;
    let sealed = sealed_size(data);
    Ok(chain.map(|chain| chain.since(sealed).cloned().collect()).unwrap_or_default())
}

/// The records of a span as steps: what is gone is passed over, what was erased leaves what its leaf says.
pub(crate) fn steps(from: Seq, span: ArchivedSpan) -> Vec<Step> {
    let ArchivedSpan { records, mut contents, end } = span;
    let mut steps = Vec::with_capacity(records.len() + 1);
    let mut next = from;
    for record in records {
        if record.seq > next {
            steps.push(Step::Skip(record.seq));
        }
        next = Seq(record.seq.0 + 1);
        let mut record = readable(&record);
        // The first that refers to a text brings it, as far as readers can tell.
        for piece in record.event().ok().filter(|_| !contents.is_empty()).iter().flat_map(|event| &event.pieces) {
            record.contents.extend(contents.remove(&piece.content.id).and_then(|content| content.for_reading()));
        }
        steps.push(Step::Record(record));
    }
    if next < end {
        steps.push(Step::Skip(end));
    }
    steps
}

/// A record as it may be read. In the place of an event that was erased stands what its leaf says; contents of others that its record
/// brought stay.
fn readable(stored: &StoredRecord) -> Record {
    if let Some(record) = stored.for_reading() {
        return record;
    }
    let (time, observed, kind) = match &stored.body {
        StoredBody::Redacted(record) => (record.time, record.observed, record.kind),
        StoredBody::Whole(_) => Default::default(),
    };
    let kind = Kind::ALL.into_iter().find(|known| known.code() == kind);
    store::Erased { seq: stored.seq, time, observed, kind }.as_record(stored.contents_for_reading())
}

/// The pins, the furthest last: as the keyring has it, and its copy where that differs. A crash leaves the copy behind, a keyring
/// that was brought back alone leaves it ahead.
fn read_pins(which: Which, data: &DataDir, keyring: Option<&Arc<Keyring>>) -> Result<Vec<Pin>, ColdError> {
    let path = data.key(which.pin);
    let bad = |what: String| ColdError::BadPin { path: path.clone(), what };
    let parse = |bytes: &[u8]| serde_json::from_slice::<Pin>(bytes).map_err(|source| bad(source.to_string()));
    let kept = keyring.map(|keyring| keyring.named(which.pinned)).transpose()?.flatten();
    let copy = files::read_at_most(&path, PIN_BYTES_MAX);
    let copy = copy.map_err(|source| match source.kind() {
        // Something else lies in its place, and no waiting changes that.
        std::io::ErrorKind::FileTooLarge => bad(source.to_string()),
        _ => ColdError::Pin { path: path.clone(), what: source.to_string() },
    })?;
    let pins = [copy.as_deref(), kept.as_deref().map(Vec::as_slice)].into_iter().flatten();
    let mut pins = pins.map(parse).collect::<Result<Vec<_>, _>>()?;
    pins.sort_by_key(|pin| pin.generation);
    pins.dedup();
    Ok(pins)
}

impl ColdError {
    /// Whether it may pass by itself.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            // A root key in a service that does not answer, or does not for now.
            Self::Archive(ArchiveError::Keys(KeyStoreError(source))) => {
                matches!(source.downcast_ref(), Some(KeysError::Root { .. }))
            }
            Self::Archive(error) => error.may_pass(),
            Self::Objects(error) => matches!(error, archive::ObjectError::Failed { .. }),
            Self::Pin { .. } => true,
            Self::Keys(error) => error.is_disk_full(),
            _ => false,
        }
    }
}

impl SegmentKeys for KeyringSegmentKeys {
    fn create(&self) -> Result<(KeyId, SegmentKey), KeyStoreError> {
        let (id, secret) = self.0.create().map_err(wrap)?;
        Ok((id, segment_key(&secret)))
    }

    fn get(&self, id: KeyId) -> Result<Option<SegmentKey>, KeyStoreError> {
        Ok(self.0.get(id).map_err(wrap)?.as_ref().map(segment_key))
    }

    fn destroy(&self, ids: &[KeyId]) -> Result<(), KeyStoreError> {
        self.0.destroy(ids).map_err(wrap)
    }

    fn tag(&self, bytes: &[u8]) -> Result<[u8; 32], KeyStoreError> {
        Ok(self.0.authenticator("archive").map_err(wrap)?.tag(bytes))
    }
}

fn segment_key(secret: &Secret) -> SegmentKey {
    SegmentKey::new(*secret.expose())
}

fn wrap(error: KeysError) -> KeyStoreError {
    KeyStoreError(Box::new(error))
}

/// An event in which the program says what it did with the record.
pub(crate) fn lifecycle_event(name: &str, action: &str, object: &str) -> Event<String> {
    let mut event = crate::node::internal(Kind::Admin, name);
    event.set(attr::EVENT_ACTION, action);
    event.set(attr::ADMIN_OBJECT, object);
    event
}
