//! What a session has brought before. Chat traffic repeats the whole conversation with every call; a rule must not fire
//! again on what it has seen.
//!
//! Newness is decided here, by content id, and not by the `history` flag of a piece: whoever writes the request writes
//! the flag, too.

use event::ContentId;
use serde::{Deserialize, Serialize};

use crate::behaviour::Bounded;

/// Most contents that are remembered, over all sessions: about 100 bytes each, so 100 MB at worst. When a flood drives an
/// entry out, its session may be told of the same content twice; nothing is ever missed.
pub(crate) const CONTENTS_REMEMBERED_MAX: usize = 1_000_000;

/// The contents that sessions have brought.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Novelty(Bounded<Entry, ()>);

/// Session, content and use of the content.
type Entry = (u64, [u8; 16], u64);

fn entry(session: u64, content: &ContentId, role: u64) -> Entry {
    let mut id = [0; 16];
    id.copy_from_slice(&content.as_bytes()[..16]);
    (session, id, role)
}

impl Novelty {
    pub(crate) fn new(contents_max: usize) -> Self {
        Self(Bounded::new(contents_max))
    }

    /// Whether `content` is new to `session` in this `role` (a hash of what else tells uses apart). It is not, the next
    /// time.
    pub(crate) fn is_new(&mut self, session: u64, content: &ContentId, role: u64) -> bool {
        self.0.put(entry(session, content, role), ()).is_none()
    }

    /// Takes back that the session has brought it: it was not looked at.
    pub(crate) fn forget(&mut self, session: u64, content: &ContentId, role: u64) {
        self.0.remove(&entry(session, content, role));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(byte: u8) -> ContentId {
        ContentId::from_bytes([byte; 32]).unwrap()
    }

    #[test]
    fn new_once_per_session_and_role() {
        let mut novelty = Novelty::new(8);
        for (session, id, role, new) in
            [(1, 1, 0, true), (1, 1, 0, false), (1, 1, 9, true), (2, 1, 0, true), (1, 2, 0, true), (2, 1, 0, false)]
        {
            assert_eq!(novelty.is_new(session, &content(id), role), new, "{session} {id} {role}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut novelty = Novelty::new(16);
        for session in 0..1_000 {
            novelty.is_new(session, &content(1), 0);
        }
        assert_eq!(novelty.len(), 16);
    }
}
