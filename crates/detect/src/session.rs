//! Which conversation an event belongs to.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use event::{Direction, RecordedEvent, Role, TraceId};
use lru::LruCache;
use sanitize::Clean;

/// Most traces whose conversation is remembered. A trace is one turn; its spans come within seconds or minutes.
const TRACES_REMEMBERED_MAX: usize = 65_536;

/// Finds the conversation of an event: its session id; else, for a call that repeats the conversation, the first text
/// that the user said in it; else its trace; else who is involved.
pub(crate) struct Sessions {
    by_trace: LruCache<TraceId, u64>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { by_trace: LruCache::new(NonZeroUsize::new(TRACES_REMEMBERED_MAX).unwrap_or(NonZeroUsize::MIN)) }
    }

    /// The conversation, as a hash. The same event in the same place of the journal has the same one.
    pub(crate) fn of(&mut self, event: &RecordedEvent<Clean>) -> u64 {
        let trace = event.trace.map(|trace| trace.trace_id);
        if let Some(session) = &event.session {
            return self.remember(trace, hash(&("session", session.as_str())));
        }
        if let Some(known) = trace.and_then(|trace| self.by_trace.get(&trace)) {
            return *known;
        }
        let root = event
            .pieces
            .iter()
            .find(|piece| piece.meta.direction == Direction::Input && piece.meta.role == Role::User)
            .map(|piece| hash(&("root", piece.content.id)));
        let key = root.unwrap_or_else(|| match trace {
            Some(trace) => hash(&("trace", trace)),
            None => {
                let id = |principal: &Option<event::Principal<Clean>>| principal.as_ref().map(|one| one.id.to_string());
                hash(&("identity", id(&event.identity.user), id(&event.identity.application), id(&event.identity.agent)))
            }
        });
        self.remember(trace, key)
    }

    fn remember(&mut self, trace: Option<TraceId>, key: u64) -> u64 {
        if let Some(trace) = trace {
            self.by_trace.put(trace, key);
        }
        key
    }
}

/// A hash that is the same in every run (`DefaultHasher::new` has fixed keys).
pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
