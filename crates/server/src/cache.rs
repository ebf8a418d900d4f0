//! What is known of a text already: agent traffic repeats the whole conversation with every call, so each distinct text is
//! sanitised and inspected once.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use event::{Channel, Finding, Part, SubjectId};
use journal::ContentEntry;
use lru::LruCache;
use sanitize::{Clean, Counts, Sealed};

use crate::second_opinion::Opinion;

/// Most bytes of clean text and findings that the cache holds.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an entry takes beside its text: the report, the commitment, its place in the list and in the table.
const ENTRY_OVERHEAD: usize = 600;

/// Most entries that the cache holds: bounds the overhead when texts are tiny.
const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// A text after sanitising and inspection.
pub(crate) struct Processed {
    pub(crate) text: Clean,
    pub(crate) counts: Counts,
    pub(crate) report: inspect::Report,
    /// Its values that can be recovered.
    pub(crate) sealed: Sealed,
    /// What kind of answer it is, where it is one.
    pub(crate) output: inspect::Output,
    /// What somebody else says of it, where a decision waited for that.
    pub(crate) opinion: OnceLock<Opinion>,
    /// Whether somebody else is being asked about it for the record, or has answered.
    pub(crate) is_asked_about: AtomicBool,
    /// The commitment for the subject that brought it first: nearly always the only one.
    commitment: OnceLock<ContentEntry>,
}

/// Names a raw text in memory: SHA-256 over the way it is treated and the text. Never written anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey([u8; 32]);

/// Processed texts, the most recently used.
pub(crate) struct Cache {
    inner: Mutex<Inner>,
}

struct Inner {
    entries: LruCache<CacheKey, Arc<Processed>>,
    bytes: usize,
}

impl CacheKey {
    /// A text is treated by where it came from, by what it is, and by the inspector with this digest.
    pub(crate) fn of(inspector: &[u8; 32], channel: Channel, part: Part, raw: &str) -> Self {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(inspector);
        context.update(&[channel as u8, part as u8]);
        context.update(raw.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Self(key)
    }
}

impl Processed {
    pub(crate) fn new(text: Clean, counts: Counts, report: inspect::Report, sealed: Sealed, output: inspect::Output) -> Self {
        let (opinion, is_asked_about) = (OnceLock::new(), AtomicBool::new(false));
        Self { text, counts, report, sealed, output, opinion, is_asked_about, commitment: OnceLock::new() }
    }

    /// What it takes in memory; the text is there twice, once as the content that is recorded.
    fn weight(&self) -> usize {
        2 * self.text.len()
            + self.sealed.bytes.as_ref().map_or(0, |bytes| bytes.len())
            + self.report.findings.len() * size_of::<Finding>()
            + ENTRY_OVERHEAD
    }

    /// The text as a content of the subject.
    pub(crate) fn commit(&self, subject: SubjectId, key: &aws_lc_rs::hmac::Key) -> ContentEntry {
        let entry = self.commitment.get_or_init(|| ContentEntry::commit(subject, key, self.text.clone()));
        if entry.subject == subject { entry.clone() } else { ContentEntry::commit(subject, key, self.text.clone()) }
    }
}

impl Cache {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new(Inner { entries: LruCache::new(ENTRIES_MAX), bytes: 0 }) }
    }

    pub(crate) fn clear(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.entries.clear();
        inner.bytes = 0;
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Arc<Processed>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).entries.get(key).cloned()
    }

    pub(crate) fn put(&self, key: CacheKey, processed: Arc<Processed>) {
        // A text that would push out a good part of the others is not worth keeping.
        if processed.weight() > BYTES_MAX / 16 {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.bytes += processed.weight();
        if let Some((_, old)) = inner.entries.push(key, processed) {
            inner.bytes = inner.bytes.saturating_sub(old.weight());
        }
        while inner.bytes > BYTES_MAX {
            let Some((_, old)) = inner.entries.pop_lru() else { break };
            inner.bytes = inner.bytes.saturating_sub(old.weight());
        }
    }
}
