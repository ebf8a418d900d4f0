//! Sealing values beside their records: for two officers to open together, and only as long as their subject has a key.
//!
//! ```text
//! values ── keys::Officers ──> envelope ── AES-256-GCM under a key of the subject, bound to the event's id ──> an attribute of
//! the event
//! ```
//!
//! This program has recipients and no private half of anything: it cannot open an envelope. Destroying the subject's key, as an
//! erasure does, makes what is around the envelope random bytes, in every copy of the record.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::{Attributes, ContentId, EventId, SubjectId, Value, attr};
use keys::{Envelope, Officers, Secret, Subject};
use sanitize::{Clean, Recoverable, Sealed, Sealer};
use serde::{Deserialize, Serialize};

/// What tells a subject's key for this use from its others.
const USE: &[u8] = b"watchkeeper recovery 1";

/// Most envelopes of one event: each is up to some 100 KiB, and a record has 64 MiB at the most. A conversation that is longer
/// than this was recorded in parts before, with each call that made it grow.
const ENVELOPES_MAX: usize = 64;

/// A value that was sealed, as the officers get it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// What stands for it in the record.
    pub token: String,
    /// The value as it was written.
    pub value: String,
}

/// Seals for officers.
#[derive(Debug)]
pub(crate) struct OfficersSealer(pub(crate) Officers);

impl Sealer for OfficersSealer {
    fn seal(&self, values: &[Recoverable<'_>]) -> Option<Arc<[u8]>> {
        let list: Vec<_> = values.iter().map(|one| serde_json::json!({ "token": one.token, "value": one.value })).collect();
        let sealed = serde_json::to_vec(&list).map_err(|error| error.to_string()).and_then(|json| {
            let envelope = self.0.seal(&json).map_err(|error| error.to_string())?;
            serde_json::to_vec(&envelope).map_err(|error| error.to_string())
        });
        match sealed {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                tracing::error!(error, "values could not be sealed; they are counted in their record");
                None
            }
        }
    }
}

/// What was sealed of a text of an event.
#[derive(Clone, Copy)]
pub(crate) struct OfText<'s> {
    /// Whose key it is wrapped under.
    pub(crate) subject: &'s Subject,
    /// The text; `None` for the event's own fields.
    pub(crate) content: Option<ContentId>,
    pub(crate) sealed: &'s Sealed,
}

/// What an event has of what was sealed of its texts, each under the key of its subject, and how many values are in none. What was sealed of
/// a text that is there twice is there, and counts, once.
pub(crate) fn attached<'s>(event: EventId, texts: impl Iterator<Item = OfText<'s>>) -> Attributes<Clean> {
    let mut known: HashSet<(SubjectId, Option<ContentId>, Option<&[u8]>)> = HashSet::new();
    let mut wrapped = Vec::new();
    let mut left_out = 0_i64;
    for OfText { subject, content, sealed } in texts {
        let is_nothing = sealed.bytes.is_none() && sealed.left_out == 0;
        if is_nothing || !known.insert((subject.id, content, sealed.bytes.as_deref())) {
            continue;
        }
        left_out = left_out.saturating_add(sealed.left_out.into());
        let Some(bytes) = &sealed.bytes else { continue };
        let is_room = wrapped.len() < ENVELOPES_MAX;
        match is_room.then(|| keys::encrypt(&key(subject), &bound_to(event), bytes)) {
            Some(Ok(bytes)) => wrapped.push(Value::Text(Clean::ciphertext(&bytes))),
            _ => left_out = left_out.saturating_add(sealed.values.into()),
        }
    }
    let mut attributes = Attributes::new();
    if !wrapped.is_empty() {
        attributes.insert(attr::RECOVERY_SEALED, Value::List(wrapped));
    }
    if left_out > 0 {
        attributes.insert(attr::RECOVERY_LEFT_OUT, Value::Int(left_out));
    }
    attributes
}

/// Unwraps an envelope; `None` when the subject is another one, or somebody new since an erasure.
pub(crate) fn unwrap(subject: &Subject, event: EventId, wrapped: &str) -> Option<Envelope> {
    let bytes = keys::decrypt(&key(subject), &bound_to(event), &STANDARD.decode(wrapped).ok()?)?;
    serde_json::from_slice(&bytes).ok()
}

fn key(subject: &Subject) -> Secret {
    let mut key = [0; 32];
    key.copy_from_slice(hmac::sign(&subject.key, USE).as_ref());
    Secret::new(key)
}

fn bound_to(event: EventId) -> Vec<u8> {
    event.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use keys::Keyring;

    use super::*;

    #[test]
    fn without_the_subjects_key_it_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root.key");
        keys::create_root_key(&root).unwrap();
        let keyring = Keyring::open(&dir.path().join("keys"), keys::read_root_key(&root).unwrap()).unwrap();
        let names: Vec<String> = (0..2).map(|_| keys::RootKey::id(&keys::AgeRootKey::generate().0)).collect();
        let sealer = OfficersSealer(Officers::parse(&names).unwrap());
        let bytes = sealer.seal(&[Recoverable { token: "<EMAIL:v26:x>", value: "ann@example.com" }]);
        let sealed = Sealed { bytes, values: 1, left_out: 2 };
        let (ann, event) = (keyring.subject(&[1; 32]).unwrap(), EventId::random());
        let text = OfText { subject: &ann, content: ContentId::from_bytes([1; 32]), sealed: &sealed };
        let attributes = attached(event, [text, text].into_iter());
        assert_eq!(attributes.get(&attr::RECOVERY_LEFT_OUT), Some(&Value::Int(2)), "of a text that is there twice");
        let Some(Value::List(list)) = attributes.get(&attr::RECOVERY_SEALED) else { panic!("{attributes:?}") };
        let [Value::Text(wrapped)] = list.as_slice() else { panic!("{list:?}") };
        let envelope = unwrap(&ann, event, wrapped).unwrap();
        assert_eq!(envelope.to.len(), 2);
        assert!(unwrap(&ann, EventId::random(), wrapped).is_none(), "it is bound to its event");
        assert!(unwrap(&keyring.subject(&[2; 32]).unwrap(), event, wrapped).is_none());
        keyring.destroy_subject(&[1; 32]).unwrap();
        assert!(
            unwrap(&keyring.subject(&[1; 32]).unwrap(), event, wrapped).is_none(),
            "whoever comes by the name is somebody new"
        );
        assert!(attached(event, std::iter::empty()).is_empty());
    }

    #[test]
    fn values_are_counted_and_not_envelopes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root.key");
        keys::create_root_key(&root).unwrap();
        let keyring = Keyring::open(&dir.path().join("keys"), keys::read_root_key(&root).unwrap()).unwrap();
        let ann = keyring.subject(&[1; 32]).unwrap();
        let over = u8::try_from(ENVELOPES_MAX).unwrap() + 2;
        let sealed: Vec<Sealed> = (0..over).map(|n| Sealed { bytes: Some([n; 8].into()), values: 5, left_out: 0 }).collect();
        let failed = Sealed { bytes: None, values: 0, left_out: 3 };
        let of = |content: u8, sealed| OfText { subject: &ann, content: ContentId::from_bytes([content; 32]), sealed };
        let texts = (1_u8..).zip(&sealed).map(|(n, sealed)| of(n, sealed));
        let texts = texts.chain([of(200, &failed), of(201, &failed), of(201, &failed)]);
        let attributes = attached(EventId::random(), texts);
        let Some(Value::List(list)) = attributes.get(&attr::RECOVERY_SEALED) else { panic!("{attributes:?}") };
        assert_eq!(list.len(), ENVELOPES_MAX);
        assert_eq!(attributes.get(&attr::RECOVERY_LEFT_OUT), Some(&Value::Int(2 * 5 + 2 * 3)));
    }
}
