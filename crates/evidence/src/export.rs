//! Making a bundle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use event::{ContentId, Timestamp};
use ledger::proof::{TileReader, inclusion};
use ledger::{
    Checkpoint, Disclosure, ErasedItems, KeyChain, KeyChainError, LeafError, LogKey, Selection, SignedNote, StoredContent,
    StoredRecord, TlogProof, Tombstone, TombstoneError,
};

use crate::bag::{Bag, BagError};
use crate::page;
use crate::stamps::{self, StampError};
use crate::statement::{self, Predicate, StatementError};

pub(crate) const STATEMENT: &str = "data/statement.dsse.json";
pub(crate) const CHECKPOINT: &str = "data/checkpoint";
pub(crate) const KEYS: &str = "data/keys";
pub(crate) const VKEY: &str = "data/vkey";
pub(crate) const POLICY: &str = "data/policy";
pub(crate) const INDEX: &str = "data/index.html";
pub(crate) const CERTIFICATE: &str = "data/certificate.md";
pub(crate) const RECORDS: &str = "data/records/";
pub(crate) const CUSTODY: &str = "data/custody/";
pub(crate) const TOMBSTONES: &str = "data/tombstones/";

/// How often the ledger is read anew when a checkpoint is published while the proofs are made.
const ATTEMPTS: usize = 5;

/// Largest file of a ledger that is read whole.
const LEDGER_FILE_BYTES_MAX: u64 = 8 << 20;

/// A bundle to be made. Time stamps of the log's checkpoints (RFC 3161) are taken from the ledger: for each record the first one
/// over it.
pub struct Export<'a> {
    /// The data directory, in which `ledger/` lies.
    pub data_dir: &'a Path,
    /// The log's key, which signs the statement.
    pub key: &'a LogKey,
    /// The records, each at most once, all of them sealed.
    pub records: &'a [StoredRecord],
    /// What is shown of them.
    pub show: Selection<'a>,
    /// What is shown of the records of custody.
    pub show_custody: Selection<'a>,
    /// A content that a record refers to and another one brought; `None` when it is not to be had.
    pub contents: &'a dyn Fn(ContentId) -> Option<StoredContent>,
    /// Records of custody: who read, held and exported what.
    pub custody: &'a [StoredRecord],
    /// The records of erasures, with their lists. Of the lists, only what these records miss is shown.
    pub tombstones: &'a [(StoredRecord, ErasedItems)],
    /// The checkpoint with cosignatures, where there is one; without it the one that the ledger publishes.
    pub checkpoint: Option<&'a [u8]>,
    /// The policy under which the checkpoint is witnessed (C2SP tlog-policy), where there is one.
    pub policy: Option<&'a [u8]>,
    /// What the statement says.
    pub about: About,
}

/// What the statement of a bundle says beside what follows from the records.
#[derive(Debug, Clone)]
pub struct About {
    /// Who takes it out.
    pub exported_by: String,
    /// Who they say they are, which nobody has checked.
    pub operator: Option<String>,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// How the records were chosen.
    pub chosen: Chosen,
    /// What was asked to be withheld, in the words of who asked.
    pub withheld: Vec<String>,
    /// Whether witnesses cosigned the checkpoint; `None` when the log has none.
    pub witnessed: Option<bool>,
    /// How many records the choice has in the log. With fewer in the bundle it is not complete, and says so.
    pub records_selected: u64,
    /// How many records of the log the choice could not look at, because it looks only at the newest ones. With any the bundle is
    /// not complete, and says so.
    pub not_searched: u64,
    /// How many records of the log were dropped at the end of their retention before: nobody can look at them.
    pub dropped: u64,
}

/// How the records of a bundle were chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// All of a session.
    Session(String),
    /// All that a detection rests on.
    Incident(String),
    /// What a query gave.
    Query(String),
    /// One by one.
    Records,
}

/// What was put into a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many records.
    pub records: usize,
    /// The size of the tree that the proofs are for.
    pub tree_size: u64,
    /// How many files.
    pub files: usize,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The container.
    #[error("bundle: {0}")]
    Bag(#[from] BagError),
    /// The ledger.
    #[error("{path}: {source}")]
    Ledger {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The ledger's keys or checkpoint.
    #[error("ledger: {0}")]
    Keys(#[from] KeyChainError),
    /// A record.
    #[error("record {seq}: {source}")]
    Record {
        /// Which.
        seq: u64,
        /// What is wrong with it.
        source: LeafError,
    },
    /// A record is not sealed.
    #[error("record {seq} is not under the checkpoint of {size} records yet; try again when it is sealed")]
    NotSealed {
        /// Which.
        seq: u64,
        /// The size of the newest checkpoint.
        size: u64,
    },
    /// A record twice.
    #[error("record {0} was given twice")]
    Twice(u64),
    /// A proof.
    #[error("record {seq}: no proof could be made: {what}")]
    Proof {
        /// Which.
        seq: u64,
        /// Why.
        what: String,
    },
    /// A tombstone.
    #[error("tombstone {seq}: {source}")]
    Tombstone {
        /// Its record.
        seq: u64,
        /// What is wrong with it.
        source: TombstoneError,
    },
    /// A time stamp.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// The statement.
    #[error("statement {0}")]
    Statement(#[from] StatementError),
    /// JSON.
    #[error("disclosure: {0}")]
    Json(#[from] serde_json::Error),
}

/// The published state of a ledger.
struct Published {
    vkey: Vec<u8>,
    keys: Option<Vec<u8>>,
    chain: KeyChain,
    note: SignedNote,
    note_bytes: Vec<u8>,
    checkpoint: Checkpoint,
    tiles: TileReader,
}

impl Export<'_> {
    /// Writes the bundle as a new directory.
    pub fn write_dir(&self, dir: &Path) -> Result<Summary, ExportError> {
        let (bag, summary) = self.bag()?;
        bag.write_dir(dir)?;
        Ok(summary)
    }

    /// Writes the bundle as a new `.tar.gz`, in which it lies below a directory of that name.
    pub fn write_tar_gz(&self, path: &Path, directory: &str) -> Result<Summary, ExportError> {
        let (bag, summary) = self.bag()?;
        bag.write_tar_gz(path, directory)?;
        Ok(summary)
    }

    /// The files of the bundle.
    pub fn bag(&self) -> Result<(Bag, Summary), ExportError> {
        let mut attempt = 1;
        loop {
            match self.attempt() {
                // Tiles of the size that was current a moment ago are removed when the next checkpoint is published.
                Err(ExportError::Proof { .. }) if attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }

    fn attempt(&self) -> Result<(Bag, Summary), ExportError> {
        let published = Published::read(self.data_dir, self.checkpoint)?;
        let log_id = published.chain.first().log_id();
        let mut bag = Bag::default();
        let mut shown = BTreeMap::new();
        for record in self.records {
            let mut disclosure = disclose(record, log_id, &self.show)?;
            for id in disclosure.elsewhere() {
                if let Some(content) = (self.contents)(id) {
                    disclosure.add_content(&content, &self.show);
                }
            }
            published.put(&mut bag, RECORDS, &disclosure, record.seq.0)?;
            if shown.insert(record.seq.0, disclosure).is_some() {
                return Err(ExportError::Twice(record.seq.0));
            }
        }
        let mut custody = BTreeMap::new();
        for record in self.custody {
            let disclosure = disclose(record, log_id, &self.show_custody)?;
            published.put(&mut bag, CUSTODY, &disclosure, record.seq.0)?;
            custody.insert(record.seq.0, disclosure);
        }
        let tombstones = self.put_tombstones(&mut bag, &published, log_id, &shown)?;
        self.put_log(&mut bag, &published)?;
        let predicate = self.predicate(&published, &shown, tombstones);
        bag.put(INDEX, page::index(&predicate, &shown, &custody).into())?;
        bag.put(CERTIFICATE, page::certificate(&predicate).into())?;
        bag.declare(&page::bag_info(&predicate))?;
        let envelope = statement::sign(&bag, predicate, self.key)?;
        bag.put(STATEMENT, envelope)?;
        bag.close()?;
        let summary = Summary { records: shown.len(), tree_size: published.checkpoint.size, files: bag.files().count() };
        Ok((bag, summary))
    }

    /// Those tombstones that say why something is missing, each with the items that do.
    fn put_tombstones(
        &self,
        bag: &mut Bag,
        published: &Published,
        log_id: [u8; 16],
        shown: &BTreeMap<u64, Disclosure>,
    ) -> Result<u64, ExportError> {
        let mut count = 0;
        for (record, list) in self.tombstones {
            let seq = record.seq.0;
            let failed = |source| ExportError::Tombstone { seq, source };
            let members = list.prove_for(shown.values());
            if members.is_empty() {
                continue;
            }
            let disclosure = disclose(record, log_id, &Selection::all())?;
            let verified = disclosure.verify(log_id, &ledger::Erasures::default());
            let verified = verified.map_err(|error| ExportError::Proof { seq, what: error.to_string() })?;
            let tombstone = Tombstone::of(&disclosure, &verified).map_err(failed)?;
            if list.tombstone(&tombstone.request).map_err(failed)? != tombstone {
                return Err(failed(TombstoneError::OtherList));
            }
            published.put(bag, TOMBSTONES, &disclosure, seq)?;
            let mut lines = Vec::new();
            for member in &members {
                serde_json::to_writer(&mut lines, member)?;
                lines.push(b'\n');
            }
            bag.put(&format!("{TOMBSTONES}{seq}.members.jsonl"), lines)?;
            count += 1;
        }
        Ok(count)
    }

    fn put_log(&self, bag: &mut Bag, published: &Published) -> Result<(), ExportError> {
        bag.put(VKEY, published.vkey.clone())?;
        if let Some(keys) = &published.keys {
            bag.put(KEYS, keys.clone())?;
        }
        bag.put(CHECKPOINT, published.note_bytes.clone())?;
        if let Some(policy) = self.policy {
            bag.put(POLICY, policy.to_vec())?;
        }
        let Published { chain, checkpoint, tiles, .. } = published;
        let records = self.records.iter().map(|record| record.seq.0);
        Ok(stamps::put(bag, self.data_dir, chain, checkpoint, tiles, records)?)
    }

    fn predicate(&self, published: &Published, shown: &BTreeMap<u64, Disclosure>, tombstones: u64) -> Predicate {
        let (selection, selected) = match &self.about.chosen {
            Chosen::Session(id) => ("session", id.as_str()),
            Chosen::Incident(id) => ("incident", id.as_str()),
            Chosen::Query(query) => ("query", query.as_str()),
            Chosen::Records => ("records", ""),
        };
        Predicate {
            software: format!("watchkeeper {}", env!("CARGO_PKG_VERSION")),
            exported_by: self.about.exported_by.clone(),
            operator_asserted: self.about.operator.clone(),
            exported_at: page::rfc3339(self.about.at),
            reason: self.about.reason.clone(),
            withheld: self.about.withheld.clone(),
            witnessed: self.about.witnessed,
            selection: selection.to_owned(),
            selected: selected.to_owned(),
            origin: published.chain.origin().to_owned(),
            log_id: event::hex::encode(&published.chain.first().log_id()),
            tree_size: published.checkpoint.size,
            records_selected: self.about.records_selected,
            not_searched: self.about.not_searched,
            dropped: self.about.dropped,
            records: shown.len() as u64,
            first: shown.keys().next().copied(),
            last: shown.keys().next_back().copied(),
            custody: self.custody.len() as u64,
            tombstones,
        }
    }
}

impl Published {
    fn read(data_dir: &Path, cosigned: Option<&[u8]>) -> Result<Self, ExportError> {
        let ledger = data_dir.join("ledger");
        let file = |name: &str| {
            let path = ledger.join(name);
            match files::read_at_most(&path, LEDGER_FILE_BYTES_MAX) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(ExportError::Ledger { path, source: std::io::ErrorKind::NotFound.into() }),
                Err(source) => Err(ExportError::Ledger { path, source }),
            }
        };
        let vkey = file("vkey")?;
        let keys = match file("keys") {
            Err(ExportError::Ledger { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        let chain = KeyChain::parse(&vkey, keys.as_deref())?;
        let note_bytes = match cosigned {
            Some(note) => note.to_vec(),
            None => file("checkpoint")?,
        };
        let checkpoint = chain.open(&note_bytes)?;
        let note = SignedNote::parse(&note_bytes).map_err(|error| KeyChainError::Checkpoint(error.into()))?;
        let tiles = TileReader::new(data_dir, checkpoint.size);
        Ok(Self { vkey, keys, chain, note, note_bytes, checkpoint, tiles })
    }

    /// A record: what is shown of it, its leaf, and the proof that this is in the log.
    fn put(&self, bag: &mut Bag, below: &str, shown: &Disclosure, seq: u64) -> Result<(), ExportError> {
        let size = self.checkpoint.size;
        if seq >= size {
            return Err(ExportError::NotSealed { seq, size });
        }
        let failed = |error: &dyn std::fmt::Display| ExportError::Proof { seq, what: error.to_string() };
        let path = inclusion(&self.tiles, seq, size).map_err(|error| failed(&error))?;
        let leaf = ledger::leaf_hash(shown.leaf_bytes());
        ledger::proof::verify_inclusion(&leaf, seq, size, &path, &self.checkpoint.root).map_err(|error| failed(&error))?;
        let proof = TlogProof::new(None, seq, path, self.note.clone()).map_err(|error| failed(&error))?;
        bag.put(&format!("{below}{seq}.json"), shown.to_json()?)?;
        bag.put(&format!("{below}{seq}.leaf"), shown.leaf_bytes().to_vec())?;
        bag.put(&format!("{below}{seq}.tlog-proof"), proof.encode().into())?;
        Ok(())
    }
}

fn disclose(record: &StoredRecord, log_id: [u8; 16], show: &Selection<'_>) -> Result<Disclosure, ExportError> {
    Disclosure::of(record, log_id, show).map_err(|source| ExportError::Record { seq: record.seq.0, source })
}
