//! Recovering sealed values: asked for, approved by two officers, opened. Each step is an event of the record before anything is
//! given.
//!
//! A request has the officers' shares of the keys, encrypted for them, and nothing of the values: these stay in the record, where
//! an erasure reaches them. So an old request opens nothing of somebody who was erased since.

use std::collections::HashMap;

use capture::RecordError;
use event::{Event, EventId, Key, RecordedEvent, Timestamp, Value, attr};
use journal::Seq;
use keys::{Envelope, ForOfficer, KeysError, RecoveryError, Shares, Subject};
use ledger::{StoredContent, StoredRecord};
use sanitize::Clean;
use serde::{Deserialize, Serialize};

use super::export::{EvidenceError, TEXT_BYTES_MAX};
use super::lifecycle_event;
use super::search::quoted;
use crate::asker::Asker;
use crate::node::Node;
use crate::recovery::{Recovered, unwrap};

/// What a request says it is.
const REQUEST_FORMAT: &str = "wkrecovery/1";
/// What a share says it is.
const SHARE_FORMAT: &str = "wkshare/1";
/// The use of the tag by which a request is known to be one that was recorded.
const TAG_USE: &str = "recovery request";

/// Where events have the request.
const REQUEST: &str = "watchkeeper.recovery.request";
/// Where they have why.
const REASON: &str = "watchkeeper.recovery.reason";
/// Where they have the officers.
const OFFICERS: &str = "watchkeeper.recovery.officers";
/// Where they have how many values were opened.
const VALUES: &str = "watchkeeper.recovery.values";

/// What is left of a record: its event, and every text in which a token can stand.
struct Left {
    event: RecordedEvent<Clean>,
    texts: Vec<String>,
}

/// What officers are asked to approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    format: String,
    /// Its id.
    pub request: String,
    /// The id of the event whose values are asked for.
    pub record: String,
    /// Why.
    pub reason: String,
    /// Who asks, as the server knows them.
    pub by: String,
    /// When (RFC 3339).
    pub at: String,
    /// The shares, encrypted for the officers, of each thing that is sealed in the record.
    pub sealed: Vec<SealedShares>,
    /// Proves to the server that it made the request.
    tag: String,
}

/// The shares of one envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedShares {
    /// Names the envelope.
    pub envelope: String,
    /// For whom.
    pub to: Vec<ForOfficer>,
}

/// What an officer gives who approves: of no use without another officer's, and without the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    format: String,
    /// The request that is approved.
    pub request: String,
    /// The officer's recipient.
    pub officer: String,
    /// Her shares of each envelope.
    pub shares: Vec<EnvelopeShares>,
}

/// An officer's shares of one envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeShares {
    /// Names the envelope.
    pub envelope: String,
    /// With whom, and the share.
    pub with: Shares,
}

/// Why nothing is recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A text is empty or too long.
    #[error("{0} must have 1 to {TEXT_BYTES_MAX} bytes")]
    Text(&'static str),
    /// There is no such record.
    #[error("no record has the id {0:?}; `watchkeeper query \"SELECT event_id FROM events\"` shows those that there are")]
    NoRecord(String),
    /// Nothing is sealed in it.
    #[error("nothing is sealed in record {0}: no value of a type with the action \"encrypt\" was in it")]
    NothingSealed(String),
    /// It cannot be opened by anybody any more.
    #[error("what is sealed in record {0} cannot be opened by anybody any more: whose it was has been erased")]
    Erased(String),
    /// The request is not one of this record.
    #[error("the request was not made by this server, or was changed; ask anew with `watchkeeper recover request`")]
    Request,
    /// A share is of another request.
    #[error("the share of {officer} approves {approved}, and not {request}; have this request approved")]
    OtherRequest {
        /// The officer.
        officer: String,
        /// What she approved.
        approved: String,
        /// What is asked for.
        request: String,
    },
    /// A file is none of ours.
    #[error("{0} has the format {1:?}, which this version does not read")]
    Format(&'static str, String),
    /// Sealing and opening.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Records.
    #[error(transparent)]
    Read(#[from] EvidenceError),
    /// It could not be recorded, so nothing was given.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It does not serialise.
    #[error("request: {0}")]
    Json(#[from] serde_json::Error),
}

impl Request {
    /// What an officer gives to approve it.
    ///
    /// # Errors
    /// [`RecoverError::Format`], and what the shares say.
    pub fn approve(&self, officer: &keys::Officer) -> Result<Share, RecoverError> {
        self.check_format()?;
        let open =
            |sealed: &SealedShares| Ok(EnvelopeShares { envelope: sealed.envelope.clone(), with: officer.shares(&sealed.to)? });
        let shares = self.sealed.iter().map(open).collect::<Result<_, RecoveryError>>()?;
        Ok(Share { format: SHARE_FORMAT.to_owned(), request: self.request.clone(), officer: officer.name().to_owned(), shares })
    }

    fn check_format(&self) -> Result<(), RecoverError> {
        if self.format == REQUEST_FORMAT { Ok(()) } else { Err(RecoverError::Format("the request", self.format.clone())) }
    }

    /// What its tag is of: everything else.
    fn told(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Self { tag: String::new(), ..self.clone() })
    }
}

impl Node {
    /// Asks for the sealed values of a record. The request is recorded when this returns; officers approve it with
    /// [`Request::approve`].
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn request_recovery(&self, asker: &Asker, record: &str, reason: &str) -> Result<Request, RecoverError> {
        for (name, text) in [("record", record), ("reason", reason)] {
            if text.is_empty() || text.len() > TEXT_BYTES_MAX {
                return Err(RecoverError::Text(name));
            }
        }
        let Left { event, .. } = self.left_of(record)?;
        let sealed = self.sealed_in(&event)?;
        let shares = sealed.into_iter().map(|envelope| SealedShares { envelope: envelope.id(), to: envelope.to });
        let mut request = Request {
            format: REQUEST_FORMAT.to_owned(),
            request: format!("recovery-{}", EventId::random()),
            record: event.id.to_string(),
            reason: reason.to_owned(),
            by: asker.to_string(),
            at: Timestamp::now().rfc3339(),
            sealed: shares.collect(),
            tag: String::new(),
        };
        request.tag = event::hex::encode(&self.keyring().authenticator(TAG_USE)?.tag(&request.told()?));
        let mut told = recovery_event("recovery.request", asker, &request);
        let officers = request.sealed.iter().flat_map(|sealed| &sealed.to).map(|one| one.officer.as_str());
        told.set(Key::of(OFFICERS), join(officers).as_str());
        self.pipeline().record_blocking(vec![told], &|| true)?;
        Ok(request)
    }

    /// Opens the sealed values of a record with the approvals of two officers. That they approved and that it was opened is
    /// recorded when this returns; that it was tried is, too.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn open_recovery(&self, asker: &Asker, request: &Request, shares: &[Share; 2]) -> Result<Vec<Recovered>, RecoverError> {
        request.check_format()?;
        let tag = event::hex::decode(&request.tag).unwrap_or_default();
        if !self.keyring().authenticator(TAG_USE)?.is_tag(&request.told()?, &tag) {
            return Err(RecoverError::Request);
        }
        let opened = self.open_sealed(request, shares);
        let mut told = Vec::new();
        if opened.is_ok() {
            for share in shares {
                let mut approved = recovery_event("recovery.approve", asker, request);
                approved.set(Key::of(OFFICERS), share.officer.as_str());
                approved.set(attr::EVENT_OUTCOME, "success");
                told.push(approved);
            }
        }
        let mut open = recovery_event("recovery.open", asker, request);
        open.set(Key::of(OFFICERS), join(shares.iter().map(|share| share.officer.as_str())).as_str());
        open.set(attr::EVENT_OUTCOME, if opened.is_ok() { "success" } else { "failure" });
        if let Ok(values) = &opened {
            open.set(Key::of(VALUES), i64::try_from(values.len()).unwrap_or(i64::MAX));
        }
        told.push(open);
        self.pipeline().record_blocking(told, &|| true)?;
        opened
    }

    fn open_sealed(&self, request: &Request, shares: &[Share; 2]) -> Result<Vec<Recovered>, RecoverError> {
        for share in shares {
            if share.format != SHARE_FORMAT {
                return Err(RecoverError::Format("the share", share.format.clone()));
            }
            if share.request != request.request {
                let (officer, approved) = (share.officer.clone(), share.request.clone());
                return Err(RecoverError::OtherRequest { officer, approved, request: request.request.clone() });
            }
        }
        let left = self.left_of(&request.record)?;
        let mut values = Vec::new();
        for envelope in self.sealed_in(&left.event)? {
            let id = envelope.id();
            let of = |share: &Share| {
                let found = share.shares.iter().find(|shares| shares.envelope == id).map(|shares| shares.with.clone());
                found.ok_or_else(|| RecoveryError::NoShare(share.officer.clone()))
            };
            let [one, two] = shares;
            let opened = envelope.open((&one.officer, &of(one)?), (&two.officer, &of(two)?))?;
            let opened: Vec<Recovered> = serde_json::from_slice(&opened)?;
            // A value of somebody whose tokens were erased from this record is not given, either.
            values.extend(opened.into_iter().filter(|one| left.texts.iter().any(|text| text.contains(&one.token))));
        }
        values.sort_by(|a, b| a.token.cmp(&b.token));
        values.dedup();
        Ok(values)
    }

    /// What is left of the event with that id.
    fn left_of(&self, record: &str) -> Result<Left, RecoverError> {
        let unknown = || RecoverError::NoRecord(record.to_owned());
        let mut seq = self.seqs(&format!("SELECT seq FROM events WHERE event_id = {}", quoted(record)))?.pop_first();
        if seq.is_none() {
            self.read_unindexed(&self.unindexed()?, |at, event| {
                if event.id.to_string() == record {
                    seq = Some(at);
                }
            })?;
        }
        let seq = Seq(seq.ok_or_else(unknown)?);
        let (records, contents, _) = self.spine().stretch(seq, seq).map_err(EvidenceError::from)?;
        let found = records.iter().find(|stored| stored.seq == seq).and_then(StoredRecord::for_reading).ok_or_else(unknown)?;
        let event = found.event().map_err(|_| unknown())?;
        let brought = records.iter().flat_map(StoredRecord::contents_for_reading);
        let all: HashMap<_, _> = brought
            .chain(contents.iter().filter_map(StoredContent::for_reading))
            .map(|content| (content.id, content.text))
            .collect();
        let mut texts = vec![String::from_utf8_lossy(&found.event_json).into_owned()];
        texts.extend(event.pieces.iter().filter_map(|piece| all.get(&piece.content.id)).map(|text| text.as_str().to_owned()));
        Ok(Left { event, texts })
    }

    /// What is sealed in an event, for the officers.
    fn sealed_in(&self, event: &RecordedEvent<Clean>) -> Result<Vec<Envelope>, RecoverError> {
        let id = event.id.to_string();
        let Some(Value::List(wrapped)) = event.attributes.get(&attr::RECOVERY_SEALED) else {
            return Err(RecoverError::NothingSealed(id));
        };
        let subjects = self.pipeline().subjects_of_event(event)?;
        let mut sealed = Vec::new();
        for one in wrapped {
            let Value::Text(text) = one else { continue };
            let opened = subjects.iter().find_map(|subject: &Subject| unwrap(subject, event.id, text));
            // Where one of them was erased, what was theirs stays shut, and the rest does not.
            sealed.extend(opened);
        }
        if sealed.is_empty() { Err(RecoverError::Erased(id)) } else { Ok(sealed) }
    }
}

fn recovery_event(name: &str, asker: &Asker, request: &Request) -> Event<String> {
    let action = name.rsplit('.').next().unwrap_or(name);
    let mut event = lifecycle_event(name, action, &format!("sealed values of {}", request.record));
    asker.sign(&mut event);
    event.set(Key::of(REQUEST), request.request.as_str());
    event.set(Key::of(REASON), request.reason.as_str());
    event
}

/// Names, each once, in one text.
fn join<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: std::collections::BTreeSet<&str> = names.collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
