//! Which conversation an event belongs to.

use event::{Direction, Principal, RecordedEvent, Role, TraceId};
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use crate::behaviour::Bounded;
use crate::detection::sha256;

/// Most traces whose conversation is remembered. A trace is one turn; its spans come within seconds or minutes.
const TRACES_REMEMBERED_MAX: usize = 65_536;

/// Finds the conversation of an event: its session id; else, for a call that repeats the conversation, the first text
/// that the user said in it; else its trace; else who is involved.
///
/// Each application has conversations of its own: one that names the session or the trace of another must not be able to
/// say there what the user is taken to have said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sessions {
    /// By application and trace.
    by_trace: Bounded<(u64, TraceId), u64>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { by_trace: Bounded::new(TRACES_REMEMBERED_MAX) }
    }

    /// The conversation, as a hash. The same event in the same place of the journal has the same one.
    pub(crate) fn of(&mut self, event: &RecordedEvent<Clean>) -> u64 {
        let identity = &event.identity;
        let application = principal(identity.application.as_ref());
        let scope = application.to_le_bytes();
        let trace = event.trace.map(|trace| (application, trace.trace_id));
        if let Some(session) = &event.session {
            return self.remember(trace, hash(&[b"session", &scope, session.as_bytes()]));
        }
        if let Some(known) = trace.and_then(|trace| self.by_trace.get(&trace)) {
            return *known;
        }
        let root = event
            .pieces
            .iter()
            .find(|piece| piece.meta.direction == Direction::Input && piece.meta.role == Role::User)
            .map(|piece| hash(&[b"root", &scope, piece.content.id.as_bytes()]));
        let key = root.unwrap_or_else(|| match trace {
            Some((_, trace)) => hash(&[b"trace", &scope, trace.as_bytes()]),
            None => {
                let (user, agent) = (principal(identity.user.as_ref()), principal(identity.agent.as_ref()));
                hash(&[b"identity", &scope, &user.to_le_bytes(), &agent.to_le_bytes()])
            }
        });
        self.remember(trace, key)
    }

    fn remember(&mut self, trace: Option<(u64, TraceId)>, key: u64) -> u64 {
        if let Some(trace) = trace {
            self.by_trace.put(trace, key);
        }
        key
    }
}

/// Who it is, as a hash; nobody is not the one whose id is empty.
fn principal(principal: Option<&Principal<Clean>>) -> u64 {
    principal.map_or(0, |one| hash(&[b"principal", one.id.as_bytes()]))
}

/// The first 64 bits of the SHA-256 of parts, each preceded by its length. State and ids of detections rest on it: it is the
/// same in every release and on every machine, and nobody can choose a text that has the hash of another one, as they could
/// with a hash made for tables.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = sha256(parts);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        // SHA-256 of 01 00 00 00 00 00 00 00 61, by another program.
        assert_eq!(hash(&[b"a"]).to_le_bytes(), HASH_OF_A);
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }

    #[test]
    fn short_and_long_parts_are_hashed_alike() {
        for length in 230..270 {
            let part = vec![b'x'; length];
            let whole: Vec<u8> = [&7_u64.to_le_bytes(), &b"Sherman"[..], &(length as u64).to_le_bytes(), &part].concat();
            let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &whole);
            assert_eq!(sha256(&[b"Sherman", &part])[..], *expected.as_ref(), "{length}");
        }
    }

    const HASH_OF_A: [u8; 8] = [0xae, 0x61, 0x21, 0xc8, 0x8b, 0xa5, 0x55, 0xf6];
}
