//! What a change of the archive is about to do, written down before it: what the next process ends or undoes.

use event::KeyId;
use serde::{Deserialize, Serialize};

use crate::manifest::Segment;
use crate::objects::Digest;

/// What is about to change.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) come: Vec<PendingSegment>,
    pub(crate) go: Vec<PendingSegment>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PendingSegment {
    pub(crate) key: KeyId,
    pub(crate) objects: Vec<PendingObject>,
    /// Whether its objects are under a legal hold, which must be lifted before they can be deleted.
    #[serde(default)]
    pub(crate) held: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PendingObject {
    pub(crate) digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

impl PendingSegment {
    pub(crate) fn of(segment: &Segment, held: bool) -> Self {
        let objects = [&segment.events, &segment.contents]
            .map(|object| PendingObject { digest: object.digest, version: object.version.clone() })
            .to_vec();
        Self { key: segment.key, objects, held }
    }
}
