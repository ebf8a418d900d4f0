//! What people decide: states of detections, suppressions, saved searches; and who of them has signed in. In a database of its own (`DIR/state/triage.db`, SQLCipher): it
//! is not derived from the record. What was decided of a detection is kept as long as the hot store has its day. Each change is an `admin`
//! event of the record, too. Recording never waits for any of it: a database that cannot be read is set aside.

mod database;
mod erasure;
mod error;
mod patch;
mod people;
mod searches;
mod suppressions;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use event::Timestamp;
use keys::Keyring;
use rusqlite::{Connection, params};
use sanitize::Sanitizer;
use store::{DetectionRecord, Marked, Marks, State};

use crate::data_dir::DataDir;

use self::error::LOST;
pub(crate) use self::error::{Lost, TriageError};
pub(crate) use self::patch::{TriageChange, TriagePatch, Verdict};
use self::patch::{at_most, needed};
pub(crate) use self::people::KnownPerson;
pub(crate) use self::searches::{NewSearch, SavedSearch, SearchView};
pub(crate) use self::suppressions::{NewSuppression, Suppression};

/// Longest name, in bytes: of an assignee, an owner, a search, a rule.
const NAME_BYTES_MAX: usize = 256;

/// Longest reason of a suppression, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// Changes of one detection that are kept; beyond them the oldest go. The record has them all.
const CHANGES_MAX: i64 = 1_000;

/// Detections of which it is kept what was decided, some 200 bytes of memory each; beyond them those go that were changed the longest ago.
const MARKS_MAX: usize = 200_000;

/// How many are let go of at once beyond that, so that not each change costs a look at all of them.
const MARKS_LET_GO: usize = 1_000;

/// What people have decided.
pub(crate) struct Triage {
    database: Mutex<Connection>,
    standing: RwLock<Standing>,
    state_dir: PathBuf,
    /// Why nothing can be kept, where that is so: then it is empty.
    unusable: Option<String>,
    /// What the start found, where that is not what the last run left.
    lost: Option<Lost>,
}

/// What lists need of it, in memory: lists look at thousands of detections.
#[derive(Debug, Default)]
struct Standing {
    marks: HashMap<String, Marked>,
    /// Those of a rule.
    suppressions: HashMap<String, Vec<Arc<Suppression>>>,
}

impl Triage {
    /// Opens the database of a data directory, and makes it where there is none. One that cannot be read is set aside, and where none can
    /// be had nothing is kept: only where the keyring fails, or there is no memory, this does.
    pub(crate) fn open_or_without(data: &DataDir, keyring: &Keyring) -> Result<Self, TriageError> {
        let error = match Self::open(data, keyring) {
            Err(error) if !matches!(error, TriageError::Keys(_)) => error,
            done => return done,
        };
        let mut lost = Lost { why: error.to_string(), lies: None };
        let mut trouble = lost.why.clone();
        if database::is_unreadable(&error) {
            match database::set_aside(data) {
                Ok(lies) => {
                    tracing::error!(%error, lies = %lies.display(), "{LOST}; it is set aside, and the server begins without any");
                    lost.lies = Some(lies);
                    match Self::open(data, keyring) {
                        Ok(empty) => return Ok(Self { lost: Some(lost), ..empty }),
                        Err(error) => trouble = error.to_string(),
                    }
                }
                Err(error) => trouble = format!("{trouble}; and it cannot be set aside: {error}"),
            }
        }
        tracing::error!(
            error = trouble,
            "{LOST}, nor can anything be decided until the server is started again without this error"
        );
        Ok(Self { unusable: Some(trouble), lost: Some(lost), ..Self::of(database::in_memory()?, data)? })
    }

    /// Opens the database of a data directory, and makes it where there is none.
    pub(crate) fn open(data: &DataDir, keyring: &Keyring) -> Result<Self, TriageError> {
        Self::of(database::open(data, keyring)?, data)
    }

    fn of(database: Connection, data: &DataDir) -> Result<Self, TriageError> {
        let standing = RwLock::new(Standing::read(&database)?);
        // An erasure will have to read all of it.
        database.query_row("SELECT count(*) FROM changes", [], |_| Ok(()))?;
        let state_dir = data.path().join("state");
        Ok(Self { database: Mutex::new(database), standing, state_dir, unusable: None, lost: None })
    }

    /// What the start did not find.
    pub(crate) fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// Looks whether a change is possible, before it is recorded, and sanitises what it says.
    pub(crate) fn check(&self, patch: TriagePatch, sanitizer: &Sanitizer) -> Result<TriagePatch, TriageError> {
        drop(self.writable()?);
        let clean = |text: String| sanitizer.text(&text).text.to_string();
        patch.check()?;
        Ok(TriagePatch { assignee: patch.assignee.map(clean), note: patch.note.map(clean), ..patch })
    }

    /// Changes detections, which are there. Durable when it returns.
    pub(crate) fn change(&self, ids: &[String], patch: &TriagePatch, by: &str, by_name: Option<&str>) -> Result<(), TriageError> {
        let time = Timestamp::now().rfc3339();
        let mut database = self.writable()?;
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
            transaction
                .prepare_cached(
                    "DELETE FROM changes WHERE id IN
                     (SELECT id FROM changes WHERE detection_id = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
                )?
                .execute(params![id, CHANGES_MAX])?;
            changed.push((id.clone(), mark));
        }
        transaction.commit()?;
        self.standing.write().unwrap_or_else(PoisonError::into_inner).marks.extend(changed);
        self.let_go(database, MARKS_MAX)
    }

    /// Lets go of what was decided of the detections that were changed the longest ago, where there are more than `max`.
    fn let_go(&self, mut database: MutexGuard<'_, Connection>, max: usize) -> Result<(), TriageError> {
        let oldest: Vec<String> = {
            let standing = self.standing();
            if standing.marks.len() <= max {
                return Ok(());
            }
            let mut by_change: Vec<(&Option<String>, &String)> =
                standing.marks.iter().map(|(id, mark)| (&mark.changed, id)).collect();
            by_change.sort_unstable();
            let over = by_change.len() - max + MARKS_LET_GO.min(max / 2);
            by_change.into_iter().take(over).map(|(_, id)| id.clone()).collect()
        };
        self.remove(&mut database, &oldest)
    }

    /// Lets go of what was decided before a time: its detections were recorded before that, whatever time they are of, and the hot store has
    /// them no more. Gives of how many. In the record it stays.
    pub(crate) fn forget_before(&self, time: Timestamp) -> Result<usize, TriageError> {
        let before = time.rfc3339();
        let old: Vec<String> = {
            let standing = self.standing();
            let marks = standing.marks.iter();
            let old = marks.filter(|(_, mark)| mark.changed.as_ref().is_none_or(|changed| *changed < before));
            old.map(|(id, _)| id.clone()).collect()
        };
        if !old.is_empty() {
            let mut database = self.writable()?;
            self.remove(&mut database, &old)?;
        }
        Ok(old.len())
    }

    fn remove(&self, database: &mut Connection, ids: &[String]) -> Result<(), TriageError> {
        let transaction = database.transaction()?;
        for id in ids {
            transaction.prepare_cached("DELETE FROM marks WHERE detection_id = ?1")?.execute([id])?;
            transaction.prepare_cached("DELETE FROM changes WHERE detection_id = ?1")?.execute([id])?;
        }
        transaction.commit()?;
        let mut standing = self.standing.write().unwrap_or_else(PoisonError::into_inner);
        ids.iter().for_each(|id| drop(standing.marks.remove(id)));
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

    /// What lists need, as the database has it.
    fn take_from(&self, database: &Connection) -> Result<(), TriageError> {
        let read = Standing::read(database)?;
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// The database, where what is written to it stays.
    fn writable(&self) -> Result<MutexGuard<'_, Connection>, TriageError> {
        match &self.unusable {
            Some(why) => Err(TriageError::Unusable(why.clone())),
            None => Ok(self.database()),
        }
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        // A transaction that was not committed is rolled back when it is dropped.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> RwLockReadGuard<'_, Standing> {
        self.standing.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn read(database: &Connection) -> Result<Self, TriageError> {
        Ok(Self { marks: read_marks(database)?, suppressions: suppressions::read(database)? })
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
    use event::EventId;

    use super::*;

    pub(super) fn keyring(dir: &std::path::Path) -> Keyring {
        let root = dir.join("root.key");
        if !root.exists() {
            keys::create_root_key(&root).unwrap();
        }
        Keyring::open(&dir.join("data/keys"), keys::read_root_key(&root).unwrap()).unwrap()
    }

    pub(super) fn sanitizer() -> Sanitizer {
        Sanitizer::new(sanitize::TokenKey::new([7; 32], "v26"))
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_stops_nobody() {
        type Spoil<'f> = &'f dyn Fn(&std::path::Path);
        let spoils: [(&str, Spoil<'_>); 4] = [
            ("overwritten", &|path| std::fs::write(path, [7; 8_192]).unwrap()),
            ("cut", &|path| std::fs::write(path, &std::fs::read(path).unwrap()[..4_096 + 7]).unwrap()),
            ("a directory", &|path| {
                std::fs::remove_file(path).unwrap();
                std::fs::create_dir(path).unwrap();
            }),
            ("a newer one", &|_| ()),
        ];
        for (what, spoil) in spoils {
            let dir = tempfile::tempdir().unwrap();
            let data = DataDir::create(&dir.path().join("data")).unwrap();
            let keyring = keyring(dir.path());
            let closed = TriagePatch { state: Some(State::Closed), reason: Some(Verdict::Test), ..TriagePatch::default() };
            let triage = Triage::open_or_without(&data, &keyring).unwrap();
            assert_eq!(triage.lost(), None, "{what}");
            triage.change(&["d1".to_owned()], &closed, "k", None).unwrap();
            if what == "a newer one" {
                triage.database().pragma_update(None, "user_version", 99).unwrap();
            }
            drop(triage);
            spoil(&data.state("triage.db"));
            assert!(Triage::open(&data, &keyring).is_err(), "{what}");
            let triage = Triage::open_or_without(&data, &keyring).unwrap();
            let lost = triage.lost().unwrap().clone();
            assert_eq!(triage.of("d1").state, State::Open, "{what}");
            let Some(lies) = lost.lies else {
                // Where it cannot be moved, or the version that wrote it can read it, nothing is kept, and that is said.
                assert!(matches!(what, "a directory" | "a newer one"), "{what}");
                let error = triage.check(closed.clone(), &sanitizer()).unwrap_err();
                assert!(matches!(error, TriageError::Unusable(_)), "{error}");
                assert!(matches!(triage.erase(&|_| false, &std::collections::HashSet::new()), Err(TriageError::Unusable(_))));
                if what == "a newer one" {
                    assert!(lost.why.contains("schema 99, this program knows 2"), "{lost:?}");
                    drop(triage);
                    database::set_version(&data, &keyring, 2);
                    assert_eq!(Triage::open(&data, &keyring).unwrap().of("d1").state, State::Closed, "nothing of it went");
                }
                continue;
            };
            assert!(lies.exists() && lies.to_string_lossy().contains("triage.db.unreadable-"), "{what}: {lies:?}");
            triage.change(&["d1".to_owned()], &closed, "k", None).unwrap();
            drop(triage);
            let triage = Triage::open_or_without(&data, &keyring).unwrap();
            assert_eq!((triage.lost(), triage.of("d1").state), (None, State::Closed), "{what}");
        }
    }

    #[test]
    fn what_is_kept_of_detections_is_bounded_and_goes_with_their_day() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let triage = Triage::open(&data, &keyring(dir.path())).unwrap();
        let note = TriagePatch { note: Some("x".to_owned()), ..TriagePatch::default() };
        // Whoever sent what it rests on said that it will happen in 200 years.
        let old = EventId::derived(Timestamp::from_unix_ns(8_000_000_000_000_000_000), &[1; 32]).to_string();
        let new = EventId::random().to_string();
        for id in [&old, &new] {
            triage.change(std::slice::from_ref(id), &note, "k", None).unwrap();
        }
        // It was decided only now.
        assert_eq!(triage.forget_before(Timestamp::from_unix_ns(2_000_000_000)).unwrap(), 0);
        let later = Timestamp::from_unix_ns(Timestamp::now().unix_ns() + 1_000_000_000);
        triage.standing.write().unwrap().marks.get_mut(&new).unwrap().changed = Some(later.rfc3339());
        assert_eq!(triage.forget_before(Timestamp::now()).unwrap(), 1);
        assert_eq!((triage.history(&old).unwrap().len(), triage.history(&new).unwrap().len()), (0, 1));
        let ids: Vec<String> = (0..6).map(|id| format!("d{id}")).collect();
        for id in &ids {
            triage.change(std::slice::from_ref(id), &note, "k", None).unwrap();
        }
        triage.let_go(triage.database(), 4).unwrap();
        let left = |triage: &Triage| triage.standing().marks.len();
        assert_eq!((left(&triage), triage.history("d0").unwrap().len(), triage.history("d5").unwrap().len()), (2, 0, 1));
        triage
            .database()
            .execute_batch(&format!(
                "INSERT INTO changes(detection_id, change) SELECT 'd5', change FROM changes, \
                 (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {CHANGES_MAX}) SELECT value FROM n) \
                 WHERE detection_id = 'd5'"
            ))
            .unwrap();
        triage.change(&["d5".to_owned()], &note, "k", None).unwrap();
        let kept: i64 =
            triage.database().query_row("SELECT count(*) FROM changes WHERE detection_id = 'd5'", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, CHANGES_MAX);
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
}
