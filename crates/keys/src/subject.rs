//! Subjects: whose texts are whose, by keyed hashes of names and never by names.

use std::fmt;

use aws_lc_rs::hmac;
use event::SubjectId;

/// A subject as the keyring has it: a random id, and the key that gives its contents their ids.
#[derive(Clone)]
pub struct Subject {
    /// Stands in records.
    pub id: SubjectId,
    /// HMAC-SHA-256. Destroying it makes every id of the subject's contents meaningless.
    pub key: hmac::Key,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({})", self.id)
    }
}
