//! The writer: records of the journal into rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use event::{ContentId, ContentRef, EventId, Key, Kind, RecordedEvent, Source, SourcePath, Timestamp, attr};
use journal::{ContentEntry, Record, Seq};
use keys::DataKeys;
use lru::LruCache;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use sanitize::Clean;

use crate::actions::{self, Texts};
use crate::aggregates::{self, Aggregates};
use crate::days::Days;
use crate::erased::Erased;
use crate::error::StoreError;
use crate::partition::{FILES, Partition, Way, content_key, day_of, key_of, list};
use crate::rebuild;
use crate::rollups;
use crate::row::{EventRow, part_code, role_code, round};
use crate::schema::{EVENT_COLUMNS, INPUT, OUTPUT};

/// Directory of the store in the data directory.
pub(crate) const STORE_DIR: &str = "store";

/// Recorders stamp and append side by side, so at midnight the days come mixed. An event of the day before that comes
/// up to so long after midnight goes into the new day's file: without it, every such event would change files twice.
const MIDNIGHT_SLACK_NS: u64 = 10 * 60 * 1_000_000_000;

/// Tool results that are known to be in their rows (8 bytes each), so that histories cost no look-ups.
const SETTLED_MAX: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// Older partitions that are kept open for their contents. At midnight running conversations still name yesterday's.
const OLDER_OPEN_MAX: usize = 4;

/// The one writer of the store.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    keys: DataKeys,
    /// Whether its days are those of the keyring's list; the days of one that is built beside it are not.
    is_listed: bool,
    missing: BTreeMap<String, Seq>,
    next: Option<i64>,
    current: Option<Partition>,
    previous: Option<Partition>,
    older: Vec<(String, Connection)>,
    aggregates: Aggregates,
    settled: LruCache<i64, ()>,
    /// Held while the writer lives; the system releases it, however the process ends.
    _lock: File,
}

impl Store {
    /// Opens the store in a data directory for writing, making it where there is none.
    ///
    /// Each partition has a key of its own. Those of partitions that are gone are destroyed.
    pub fn open(dir: &Path, keys: &DataKeys) -> Result<Self, StoreError> {
        let store = Self::open_in(dir.join(STORE_DIR), keys, true)?;
        rebuild::abandon(dir)?;
        rebuild::destroy_unused(&store.dir, keys)?;
        Ok(store)
    }

    /// Opens the store whose partitions lie in `dir`, and with `is_listed` must be those of the keyring's list.
    pub(crate) fn open_in(dir: PathBuf, keys: &DataKeys, is_listed: bool) -> Result<Self, StoreError> {
        files::make_private_dir(&dir).map_err(StoreError::directory(&dir))?;
        let lock = File::create(dir.join("writer.lock")).map_err(StoreError::directory(&dir))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::Locked { path: dir }),
            Err(std::fs::TryLockError::Error(error)) => return Err(StoreError::directory(&dir)(error)),
        }
        rebuild::settle(&dir, keys)?;
        let _files = FILES.read().unwrap_or_else(PoisonError::into_inner);
        if is_listed && list(&dir)?.is_empty() {
            // Somebody removed all of it: it is filled from the start, as a new one is.
            Days::change(keys, Days::clear)?;
        }
        let listed = if is_listed { Days::read(keys)? } else { Days::default() };
        let mut missing: BTreeMap<String, Seq> = listed.iter().map(|(day, next)| (day.to_owned(), Seq(next))).collect();
        // Every partition knows up to where it has indexed; commits are in order, so the highest cursor is the store's.
        let mut newest: Option<(i64, Partition)> = None;
        for (day, path) in list(&dir)? {
            let opened = match listed.get(&day) {
                Some(next) => Partition::open_listed(&dir, &day, next, keys),
                None => Partition::open(&dir, &day, keys).map(Some),
            };
            let partition = match opened {
                // It is missed until it is built, whatever comes between.
                Err(StoreError::Older { next, .. }) if is_listed => {
                    let next = listed.get(&day).unwrap_or_default().max(next);
                    Days::change(keys, |days| days.set(&day, next))?;
                    missing.insert(day.clone(), Seq(next));
                    None
                }
                opened => opened?,
            };
            let Some(partition) = partition else {
                rebuild::remove_partition(&path)?;
                continue;
            };
            missing.remove(&day);
            let next = partition.next()?;
            if is_listed && listed.get(&day).is_none() {
                Days::change(keys, |days| days.set(&day, next.unsigned_abs()))?;
            }
            if newest.as_ref().is_none_or(|(highest, _)| next >= *highest) {
                newest = Some((next, partition));
            }
        }
        let mut store = Self {
            dir,
            keys: keys.clone(),
            is_listed,
            missing,
            next: None,
            current: None,
            previous: None,
            older: Vec::new(),
            aggregates: Aggregates::default(),
            settled: LruCache::new(SETTLED_MAX),
            _lock: lock,
        };
        if let Some((next, partition)) = newest {
            store.next = Some(next);
            store.enter(partition)?;
        }
        Ok(store)
    }

    /// Removes every partition and opens an empty store, to be filled again from the journal.
    pub fn rebuild(dir: &Path, keys: &DataKeys) -> Result<Self, StoreError> {
        rebuild::remove_all(&dir.join(STORE_DIR), keys)?;
        Self::open(dir, keys)
    }

    /// The days that were there and are not, are older copies of themselves or of an older version of the program: to be built again from the records before that one
    /// ([`Rebuild::mend`](crate::Rebuild::mend)). What they had behind it comes again by itself.
    #[must_use]
    pub fn missing(&self) -> &BTreeMap<String, Seq> {
        &self.missing
    }

    /// Whether the file of each day is there that must be.
    pub fn is_there(&self) -> Result<bool, StoreError> {
        let listed = Days::read(&self.keys)?;
        Ok(listed.iter().all(|(day, _)| self.dir.join(format!("{day}.db")).exists()))
    }

    /// Closes it, and opens what lies there now.
    pub fn reopen(self) -> Result<Self, StoreError> {
        let (dir, keys) = (self.dir.clone(), self.keys.clone());
        self.close()?;
        Self::open_in(dir, &keys, true)
    }

    /// The record that is due: everything before it is indexed.
    #[must_use]
    pub fn next(&self) -> Seq {
        Seq(self.next.map_or(0, i64::unsigned_abs))
    }

    /// Indexes records, which follow each other and what was indexed before. Those that were indexed already are
    /// passed over. The records of one day go in one transaction, cursor included.
    pub fn index(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let due = self.next();
        let mut rest = &records[records.iter().take_while(|record| record.seq < due).count()..];
        while let Some(first) = rest.first() {
            // An empty store may begin anywhere: the start of a journal can have been retired.
            if self.next.is_some() && first.seq != self.next() {
                return Err(StoreError::Order { got: first.seq, due: self.next() });
            }
            let event = decode(first);
            let day = self.day(&event);
            self.switch(&day)?;
            match self.run(&day, first, event, &rest[1..]) {
                Ok(count) => rest = &rest[count..],
                Err(error) => {
                    self.roll_back();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Passes over records that are not there any more: `to` is the one that is due then. Kept with the next ones that are
    /// indexed.
    pub fn skip(&mut self, to: Seq) {
        if to > self.next() {
            self.next = Some(crate::row::integer(to.0));
        }
    }

    /// Puts what was indexed on disk, where it survives a power cut, too. Without it a power cut may take the newest
    /// batches, and they are indexed again.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.current.as_ref().map_or(Ok(()), Partition::sync)
    }

    /// Where the partitions lie.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts everything into the partitions' own files and closes them.
    pub(crate) fn close(mut self) -> Result<(), StoreError> {
        self.older.clear();
        for partition in self.previous.take().into_iter().chain(self.current.take()) {
            partition.close()?;
        }
        Ok(())
    }

    /// The partition for an event.
    fn day(&self, event: &RecordedEvent<Clean>) -> String {
        let observed = event.observed.unix_ns();
        let day = day_of(observed);
        match &self.current {
            Some(current) if day < current.day && day_of(observed.saturating_add(MIDNIGHT_SLACK_NS)) == current.day => {
                current.day.clone()
            }
            _ => day,
        }
    }

    fn switch(&mut self, day: &str) -> Result<(), StoreError> {
        if self.current.as_ref().is_some_and(|current| current.day == day) {
            return Ok(());
        }
        // At most one partition has commits that are not on disk.
        let left = match self.current.take() {
            Some(left) => {
                let stands = (left.day.clone(), left.next()?.unsigned_abs());
                left.leave()?;
                Some(stands)
            }
            None => None,
        };
        if self.is_listed {
            Days::change(&self.keys, |days| {
                left.iter().for_each(|(day, next)| days.set(day, *next));
                days.enter(day);
            })?;
        }
        self.previous = None;
        self.older.retain(|(open, _)| open != day);
        let _files = FILES.read().unwrap_or_else(PoisonError::into_inner);
        let way = if self.is_listed { Way::Live } else { Way::Aside };
        let partition = Partition::open_for(&self.dir, day, &self.keys, way)?;
        self.enter(partition)
    }

    fn enter(&mut self, partition: Partition) -> Result<(), StoreError> {
        let before = list(&self.dir)?.into_keys().rfind(|day| *day < partition.day);
        self.previous = before.map(|day| Partition::open(&self.dir, &day, &self.keys)).transpose()?;
        if let Some(previous) = &self.previous {
            // Its commits come between those of the current one.
            previous.connection.pragma_update(None, "synchronous", "full").map_err(StoreError::partition(&previous.path))?;
        }
        self.current = Some(partition);
        Ok(())
    }

    /// Indexes the first record and those after it that are of the same day. Gives how many they were.
    fn run(&mut self, day: &str, first: &Record, event: RecordedEvent<Clean>, rest: &[Record]) -> Result<usize, StoreError> {
        if let Some(current) = &self.current {
            current.begin()?;
        }
        self.record(first, &event)?;
        let mut due = first.seq.0 + 1;
        let mut count = 1;
        for record in rest {
            let event = decode(record);
            if self.day(&event) != day {
                break;
            }
            if record.seq.0 != due {
                return Err(StoreError::Order { got: record.seq, due: Seq(due) });
            }
            self.record(record, &event)?;
            due += 1;
            count += 1;
        }
        let next = crate::row::integer(due);
        if let Some(current) = &self.current {
            let error = StoreError::partition(&current.path);
            self.aggregates.flush(&current.connection).and_then(|()| current.set_next(next)).map_err(error)?;
            current.commit()?;
        }
        self.next = Some(next);
        Ok(count)
    }

    fn record(&mut self, record: &Record, event: &RecordedEvent<Clean>) -> Result<(), StoreError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        let outcome = self.record_in(&mut current, record, event);
        let outcome = outcome.map_err(|error| match error {
            Failure::Sqlite(source) => StoreError::Partition { path: current.path.clone(), source },
            Failure::Store(error) => error,
        });
        self.current = Some(current);
        outcome
    }

    fn record_in(&mut self, current: &mut Partition, record: &Record, event: &RecordedEvent<Clean>) -> Result<(), Failure> {
        let row = EventRow::new(record.seq, event);
        for content in &record.contents {
            if current.content(&content.id)?.is_none() {
                current.add_content(&content.id, content.subject.as_bytes(), row.seq, &content.text)?;
                self.aggregates.add_content(&content.text);
            }
        }
        if let Some(erased) = Erased::of(record.seq, event) {
            return Ok(erased.insert(&current.connection)?);
        }
        let inserted = {
            let mut statement = current.connection.prepare_cached(insert_event())?;
            row.insert(&mut statement)?
        };
        if !inserted {
            return Ok(());
        }
        let mut numbers = Vec::with_capacity(event.pieces.len());
        for piece in &event.pieces {
            numbers.push(self.content(current, row.seq, &piece.content)?);
        }
        insert_pieces(&current.connection, &row, &numbers)?;
        self.aggregates.add(&row, &numbers);
        aggregates::note_prompt(&current.connection, &row)?;
        rollups::note_detection(&current.connection, &row)?;
        if actions::concerns(&row) {
            let texts = Brought(record.contents.iter().map(|content| (content.id, content)).collect());
            actions::record(current, self.previous.as_mut(), &row, &texts, &mut self.settled)?;
        }
        Ok(())
    }

    /// The number of a content in the current partition; it is brought over from an older one where that has it.
    /// 0 where nobody has it: the text was dropped with its partition, or erased.
    fn content(&mut self, current: &mut Partition, seq: i64, content: &ContentRef) -> Result<i64, Failure> {
        if let Some(number) = current.content(&content.id)? {
            return Ok(number);
        }
        if let Some(text) = self.older_text(&current.day, &content.id)? {
            self.aggregates.add_content(&text);
            return Ok(current.add_content(&content.id, content.subject.as_bytes(), seq, &text)?);
        }
        tracing::warn!(content = %content.id, "an event refers to a content that neither a record nor a partition has");
        Ok(0)
    }

    fn older_text(&mut self, current: &str, id: &ContentId) -> Result<Option<String>, StoreError> {
        let _files = FILES.read().unwrap_or_else(PoisonError::into_inner);
        for (day, path) in list(&self.dir)?.into_iter().rev().filter(|(day, _)| day != current) {
            let error = StoreError::partition(&path);
            let position = self.older.iter().position(|(open, _)| *open == day);
            let (day, connection) = match position {
                Some(position) => self.older.remove(position),
                None => {
                    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                    // One that holds nothing yet has no text either.
                    let Some(key) = key_of(&path, &self.keys)? else { continue };
                    let connection = Connection::open_with_flags(&path, flags)
                        .and_then(|connection| keys::unlock(&connection, &key).map(|()| connection));
                    (day, connection.map_err(StoreError::partition(&path))?)
                }
            };
            let text = read_text(&connection, id).map_err(error);
            self.older.insert(0, (day, connection));
            self.older.truncate(OLDER_OPEN_MAX);
            if let Some(text) = text? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn roll_back(&mut self) {
        self.aggregates.clear();
        self.settled.clear();
        if self.current.as_mut().is_some_and(|current| !current.roll_back()) {
            self.current = None;
        }
    }
}

/// What a record's own contents are.
struct Brought<'r>(HashMap<ContentId, &'r ContentEntry>);

impl Texts for Brought<'_> {
    fn text(&self, content: &ContentRef) -> Option<Cow<'_, str>> {
        self.0.get(&content.id).map(|entry| Cow::Borrowed(entry.text.as_str()))
    }
}

enum Failure {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The event of a record. One that cannot be read makes no other wait: a gap stands for it.
fn decode(record: &Record) -> RecordedEvent<Clean> {
    record.event().unwrap_or_else(|error| {
        tracing::error!(seq = record.seq.0, %error, "a record of the journal holds no event that this program knows");
        let source = Source::new(SourcePath::Internal, Key::of("watchkeeper"));
        let mut gap = RecordedEvent::new(Kind::Gap, Clean::literal("undecodable record"), source);
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&record.seq.0.to_be_bytes());
        gap.id = EventId::derived(Timestamp::default(), &digest);
        gap.attributes.insert(attr::GAP_REASON, event::Value::Text(Clean::literal("undecodable_record")));
        gap.set(attr::GAP_COUNT, 1);
        gap
    })
}

fn read_text(connection: &Connection, id: &ContentId) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT data FROM contents WHERE content_key = ?1 AND content_id = ?2")?
        .query_row(params![content_key(id), &id.as_bytes()[..]], |row| {
            Ok(crate::text::unpack(row.get_ref(0)?)?.map(Cow::into_owned))
        })
        .optional()
        .map(Option::flatten)
}

fn insert_event() -> &'static str {
    static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let names: Vec<&str> = EVENT_COLUMNS.iter().filter_map(|column| column.split(' ').next()).collect();
        let marks: Vec<String> = (1..=names.len()).map(|n| format!("?{n}")).collect();
        format!("INSERT OR IGNORE INTO events({}) VALUES ({})", names.join(", "), marks.join(", "))
    });
    &SQL
}

fn insert_pieces(connection: &Connection, row: &EventRow<'_>, numbers: &[i64]) -> rusqlite::Result<()> {
    let mut pieces = connection.prepare_cached(
        "INSERT INTO pieces(seq, ord, direction, role, part, message, history, name, call_id, score, failed, content)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let mut findings = connection.prepare_cached(
        "INSERT INTO findings(seq, ord, n, risk, technique, rule, score, start, \"end\", view)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (ord, (piece, number)) in row.event.pieces.iter().zip(numbers).enumerate() {
        let ord = crate::row::integer(ord as u64);
        let meta = &piece.meta;
        pieces.execute(params![
            row.seq,
            ord,
            if meta.direction == event::Direction::Input { INPUT } else { OUTPUT },
            role_code(meta.role),
            part_code(meta.part),
            meta.message,
            meta.history,
            meta.name.as_deref().map(crate::cut::text),
            meta.call_id.as_deref().map(crate::cut::text),
            meta.score,
            meta.failed,
            number,
        ])?;
        for (n, finding) in piece.findings.iter().enumerate() {
            findings.execute(params![
                row.seq,
                ord,
                crate::row::integer(n as u64),
                finding.risk.as_str(),
                finding.technique.map(event::TechniqueId::as_str),
                finding.rule.as_str(),
                round(finding.score),
                finding.start,
                finding.end,
                finding.view,
            ])?;
        }
    }
    Ok(())
}
