//! What people decide: states of detections, suppressions, saved searches; and who of them has signed in. In a database of its own (`DIR/state/triage.db`, SQLCipher): it
//! is not derived from the record and outlives the hot store's days. Each change is an `admin` event of the record, too.

mod database;
mod people;
mod searches;
mod suppressions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use event::Timestamp;
use keys::{Keyring, KeysError};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use store::{DetectionRecord, Marked, Marks, State};
use utoipa::ToSchema;

use crate::data_dir::DataDir;

pub(crate) use self::people::KnownPerson;
pub(crate) use self::searches::{NewSearch, SavedSearch};
pub(crate) use self::suppressions::{NewSuppression, SuppressedEntity, Suppression};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 8 * 1024;

/// Longest name, in bytes: of an assignee, an owner, a search, a rule.
const NAME_BYTES_MAX: usize = 256;

/// Longest reason of a suppression, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// Changes of one detection that are kept.
const CHANGES_MAX: i64 = 1_000;

/// Why a detection is closed. The names are OCSF's (`verdict_id` of a finding).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It was what the rule says.
    TruePositive,
    /// It was not.
    FalsePositive,
    /// It was, and it is allowed.
    Benign,
    /// Somebody tried it out.
    Test,
    /// Another detection tells of the same.
    Duplicate,
    /// Nothing more can be said.
    InsufficientData,
    /// Something else; the note says what.
    Other,
}

/// What changes of a detection. What is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriagePatch {
    /// The state.
    #[serde(default)]
    pub(crate) state: Option<State>,
    /// Who looks at it; empty: nobody.
    #[serde(default)]
    pub(crate) assignee: Option<String>,
    /// Why it is closed; needed for that.
    #[serde(default)]
    pub(crate) reason: Option<Verdict>,
    /// What is to be said; sanitised as everything is.
    #[serde(default)]
    pub(crate) note: Option<String>,
}

/// What somebody did with a detection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TriageChange {
    /// When (RFC 3339).
    pub(crate) time: String,
    /// Who: the key's id.
    pub(crate) by: String,
    /// The key's name.
    pub(crate) by_name: Option<String>,
    /// The state since then, where that was said.
    pub(crate) state: Option<State>,
    /// Who looks at it since then, where that was said; empty: nobody.
    pub(crate) assignee: Option<String>,
    /// Why it was closed.
    pub(crate) reason: Option<Verdict>,
    /// What was said.
    pub(crate) note: Option<String>,
}

/// Why nothing is decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TriageError {
    /// What is asked for is not possible.
    #[error("{0}")]
    Refused(String),
    /// There is nothing of that id.
    #[error("no {what} has the id {id:?}")]
    Unknown {
        /// What it would be.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// There are too many.
    #[error("there are {max} {what} already; {remedy}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
        /// What helps.
        remedy: &'static str,
    },
    /// The database cannot be read or written.
    #[error("state/triage.db: {0}")]
    Database(#[from] rusqlite::Error),
    /// It was written by another version.
    #[error("state/triage.db has schema {found}, this program knows {known}; use the version of the program that wrote it")]
    Schema {
        /// Its version.
        found: i64,
        /// That of this program.
        known: i64,
    },
    /// Its key cannot be had.
    #[error("the key of state/triage.db: {0}")]
    Keys(#[from] KeysError),
    /// What it holds is not what this program wrote.
    #[error("state/triage.db: {0}")]
    Form(#[from] serde_json::Error),
    /// The system gives no random numbers.
    #[error("random generator: {0}")]
    Random(std::io::Error),
}

/// What people have decided.
pub(crate) struct Triage {
    database: Mutex<Connection>,
    standing: RwLock<Standing>,
}

/// What lists need of it, in memory: lists look at thousands of detections.
#[derive(Debug, Default)]
struct Standing {
    marks: HashMap<String, Marked>,
    /// Those of a rule.
    suppressions: HashMap<String, Vec<Arc<Suppression>>>,
}

impl Triage {
    /// Opens the database of a data directory, and makes it where there is none.
    pub(crate) fn open(data: &DataDir, keyring: &Keyring) -> Result<Self, TriageError> {
        let database = database::open(data, keyring)?;
        let standing = Standing { marks: read_marks(&database)?, suppressions: suppressions::read(&database)? };
        Ok(Self { database: Mutex::new(database), standing: RwLock::new(standing) })
    }

    /// Looks whether a change is possible, before it is recorded.
    pub(crate) fn check(patch: &TriagePatch) -> Result<(), TriageError> {
        let TriagePatch { state, assignee, reason, note } = patch;
        let refuse = |message: &str| Err(TriageError::Refused(message.to_owned()));
        if state.is_none() && assignee.is_none() && note.is_none() {
            return refuse("nothing changes: name a state, an assignee or a note");
        }
        if *state == Some(State::Closed) && reason.is_none() {
            return refuse(
                "reason: closing needs one of true_positive, false_positive, benign, test, duplicate, insufficient_data, other",
            );
        }
        if *state != Some(State::Closed) && reason.is_some() {
            return refuse("reason: it goes with the state closed alone");
        }
        if *reason == Some(Verdict::Other) && note.as_ref().is_none_or(|note| note.trim().is_empty()) {
            return refuse("note: the reason `other` needs one");
        }
        at_most("assignee", assignee.as_deref().unwrap_or_default(), NAME_BYTES_MAX)?;
        at_most("note", note.as_deref().unwrap_or_default(), NOTE_BYTES_MAX)
    }

    /// Changes detections, which are there. Durable when it returns.
    pub(crate) fn change(&self, ids: &[String], patch: &TriagePatch, by: &str, by_name: Option<&str>) -> Result<(), TriageError> {
        let time = Timestamp::now().rfc3339();
        let mut database = self.database();
        let transaction = database.transaction()?;
        let mut changed = Vec::with_capacity(ids.len());
        for id in ids {
            let mut mark = self.standing().marks.get(id).cloned().unwrap_or_default();
            mark.state = patch.state.unwrap_or(mark.state);
            if let Some(assignee) = &patch.assignee {
                mark.assignee = Some(assignee.clone()).filter(|assignee| !assignee.is_empty());
            }
            mark.changed = Some(time.clone());
            transaction
                .prepare_cached("INSERT OR REPLACE INTO marks(detection_id, state, assignee, changed) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![id, state_name(mark.state), mark.assignee, time])?;
            let change = TriageChange {
                time: time.clone(),
                by: by.to_owned(),
                by_name: by_name.map(str::to_owned),
                state: patch.state,
                assignee: patch.assignee.clone(),
                reason: patch.reason,
                note: patch.note.clone(),
            };
            transaction
                .prepare_cached("INSERT INTO changes(detection_id, change) VALUES (?1, ?2)")?
                .execute(params![id, serde_json::to_string(&change)?])?;
            changed.push((id.clone(), mark));
        }
        transaction.commit()?;
        self.standing.write().unwrap_or_else(PoisonError::into_inner).marks.extend(changed);
        Ok(())
    }

    /// What people did with a detection, oldest first.
    pub(crate) fn history(&self, id: &str) -> Result<Vec<TriageChange>, TriageError> {
        let database = self.database();
        let mut statement =
            database.prepare_cached("SELECT change FROM changes WHERE detection_id = ?1 ORDER BY id DESC LIMIT ?2")?;
        let rows = statement.query_map(params![id, CHANGES_MAX], |row| row.get::<_, String>(0))?;
        let mut changes = Vec::new();
        for change in rows {
            changes.push(serde_json::from_str(&change?)?);
        }
        changes.reverse();
        Ok(changes)
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        // A transaction that was not committed is rolled back when it is dropped.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> RwLockReadGuard<'_, Standing> {
        self.standing.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marks for Triage {
    fn of(&self, detection_id: &str) -> Marked {
        self.standing().marks.get(detection_id).cloned().unwrap_or_default()
    }

    fn suppression(&self, detection: &DetectionRecord) -> Option<Arc<str>> {
        let standing = self.standing();
        let of_rule = standing.suppressions.get(detection.rule.as_deref()?)?;
        of_rule.iter().find(|suppression| suppression.covers(detection)).map(|suppression| suppression.id.clone())
    }
}

/// Refuses a text that is too long.
fn at_most(what: &str, text: &str, bytes_max: usize) -> Result<(), TriageError> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    Err(TriageError::Refused(format!("{what}: {} bytes, at most {bytes_max} can be", text.len())))
}

/// Refuses a text that is empty or too long.
fn needed(what: &str, text: &str, bytes_max: usize) -> Result<(), TriageError> {
    if text.trim().is_empty() {
        return Err(TriageError::Refused(format!("{what}: it must not be empty")));
    }
    at_most(what, text, bytes_max)
}

fn read_marks(database: &Connection) -> Result<HashMap<String, Marked>, TriageError> {
    let mut statement = database.prepare("SELECT detection_id, state, assignee, changed FROM marks")?;
    let rows = statement.query_map([], |row| {
        let state = match row.get_ref(1)?.as_str().unwrap_or_default() {
            "closed" => State::Closed,
            "acknowledged" => State::Acknowledged,
            _ => State::Open,
        };
        Ok((row.get(0)?, Marked { state, assignee: row.get(2)?, changed: row.get(3)? }))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The name of a state, as JSON and the table have it.
pub(crate) const fn state_name(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Acknowledged => "acknowledged",
        State::Closed => "closed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn keyring(dir: &std::path::Path) -> Keyring {
        let root = dir.join("root.key");
        if !root.exists() {
            keys::create_root_key(&root).unwrap();
        }
        Keyring::open(&dir.join("data/keys"), keys::read_root_key(&root).unwrap()).unwrap()
    }

    #[test]
    fn what_was_decided_is_there_after_a_restart_and_nobody_reads_it_without_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let note = "the clerk of the archive knows of it";
        {
            let keyring = keyring(dir.path());
            let triage = Triage::open(&data, &keyring).unwrap();
            let ids = ["d1".to_owned(), "d2".to_owned()];
            let patch = TriagePatch {
                state: Some(State::Acknowledged),
                assignee: Some("ann".to_owned()),
                note: Some(note.to_owned()),
                ..TriagePatch::default()
            };
            triage.change(&ids, &patch, "key_1", Some("laptop")).unwrap();
            let patch = TriagePatch { state: Some(State::Closed), reason: Some(Verdict::Benign), ..TriagePatch::default() };
            triage.change(&ids[..1], &patch, "key_2", None).unwrap();
        }
        let keyring = keyring(dir.path());
        let triage = Triage::open(&data, &keyring).unwrap();
        assert_eq!(
            (triage.of("d1").state, triage.of("d2").state, triage.of("d3").state),
            (State::Closed, State::Acknowledged, State::Open)
        );
        assert_eq!(triage.of("d1").assignee.as_deref(), Some("ann"));
        let history = triage.history("d1").unwrap();
        assert_eq!(history.len(), 2);
        assert_eq!((history[0].by.as_str(), history[0].note.as_deref()), ("key_1", Some(note)));
        assert_eq!((history[1].reason, history[1].assignee.as_deref()), (Some(Verdict::Benign), None));
        for file in std::fs::read_dir(data.path().join("state")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(note.len()).any(|window| window == note.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_possible_is_refused_with_the_field() {
        let patch = |json: &str| serde_json::from_str::<TriagePatch>(json).unwrap();
        for (json, field) in [
            ("{}", "nothing changes"),
            (r#"{"state":"closed"}"#, "reason"),
            (r#"{"state":"open","reason":"benign"}"#, "reason"),
            (r#"{"state":"closed","reason":"other","note":" "}"#, "note"),
        ] {
            let error = Triage::check(&patch(json)).unwrap_err().to_string();
            assert!(error.starts_with(field), "{json}: {error}");
        }
        let long = TriagePatch { note: Some("x".repeat(NOTE_BYTES_MAX + 1)), ..TriagePatch::default() };
        assert!(Triage::check(&long).unwrap_err().to_string().starts_with("note"));
        for json in [r#"{"state":"open"}"#, r#"{"assignee":""}"#, r#"{"note":"x"}"#, r#"{"state":"closed","reason":"test"}"#] {
            Triage::check(&patch(json)).unwrap();
        }
        assert!(serde_json::from_str::<TriagePatch>(r#"{"stat":"open"}"#).is_err());
    }
}
