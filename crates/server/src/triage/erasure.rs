//! Erasure of a person from what people decided.

use std::collections::{BTreeSet, HashSet};

use event::EventId;
use rusqlite::{Transaction, params};

use super::{Suppression, Triage, TriageChange, TriageError, database, searches, suppressions};

/// Stands where a name stood that is needed.
const ERASED: &str = "<erased>";

/// Whether a text names the person.
type IsNamed<'f> = &'f dyn Fn(&str) -> bool;

impl Triage {
    /// What else a person is called, of whom `is_named` knows one name: where they signed in, and where they decided something. Whoever looks at
    /// a detection stands there by the name of the sign-in, and notes have that, too.
    pub(crate) fn called(&self, is_named: IsNamed<'_>) -> Result<BTreeSet<String>, TriageError> {
        let mut database = self.writable()?;
        let transaction = database.transaction()?;
        let mut names = BTreeSet::new();
        for [subject, name, email] in texts::<3>(&transaction, "SELECT subject, name, email FROM people")? {
            if is_person(is_named, [&subject, &name, &email]) {
                names.extend([subject, name, email].into_iter().flatten());
            }
        }
        let mut statement = transaction.prepare("SELECT change FROM changes")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let change: TriageChange = serde_json::from_str(&row.get::<_, String>(0)?)?;
            if is_named(&change.by) {
                names.extend(change.by_name.filter(|name| name != ERASED));
            }
        }
        Ok(names)
    }

    /// Takes a person out of what people decided: suppressions that are about them and searches for them or of them go, notes that name them
    /// lose their text, nobody is named where they were, and what was decided of detections that are `gone` goes with those. Files that could not
    /// be read and were set aside go, too: nobody can say whom they name. Gives how much went; done again it finds nothing. What went is
    /// overwritten in the file and in its log, also that of a time before that ended here.
    pub(crate) fn erase(&self, is_named: IsNamed<'_>, gone: &HashSet<EventId>) -> Result<u64, TriageError> {
        let mut database = self.writable()?;
        let transaction = database.transaction()?;
        let went = people(&transaction, is_named)?
            + suppressed(&transaction, is_named)?
            + searched(&transaction, is_named)?
            + changes(&transaction, is_named, gone)?
            + marks(&transaction, is_named, gone)?;
        transaction.commit()?;
        // Pages that were freed are overwritten, but the log has what they were. Also where nothing went: the time before may have ended here.
        database.execute_batch("VACUUM")?;
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.take_from(&database)?;
        let files = database::remove_set_aside(&self.state_dir).map_err(TriageError::SetAside)?;
        if files > 0 {
            tracing::warn!(files, "what people decided before state/triage.db became unreadable is removed by an erasure");
        }
        Ok(went)
    }
}

/// The rows of a table that are texts.
fn texts<const N: usize>(transaction: &Transaction<'_>, sql: &str) -> Result<Vec<[Option<String>; N]>, TriageError> {
    let mut statement = transaction.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut texts = [const { None }; N];
        for (place, text) in texts.iter_mut().enumerate() {
            *text = row.get(place)?;
        }
        all.push(texts);
    }
    Ok(all)
}

fn people(transaction: &Transaction<'_>, is_named: IsNamed<'_>) -> Result<u64, TriageError> {
    let mut went = 0;
    for person in texts::<4>(transaction, "SELECT issuer, subject, name, email FROM people")? {
        let [_, subject, name, email] = &person;
        if is_person(is_named, [subject, name, email]) {
            transaction.execute("DELETE FROM people WHERE issuer = ?1 AND subject = ?2", params![person[0], person[1]])?;
            went += 1;
        }
    }
    Ok(went)
}

/// Whether somebody who signs in is the person: by their subject, as the record has it or as their provider does, their name or their address.
fn is_person(is_named: IsNamed<'_>, [subject, name, email]: [&Option<String>; 3]) -> bool {
    let recorded = subject.as_ref().map(|subject| format!("oidc:{subject}"));
    [subject, &recorded, name, email].into_iter().flatten().any(|text| is_named(text))
}

fn suppressed(transaction: &Transaction<'_>, is_named: IsNamed<'_>) -> Result<u64, TriageError> {
    let mut went = 0;
    for suppression in suppressions::read(transaction)?.into_values().flatten() {
        let is_about = suppression.entity.as_ref().is_some_and(|entity| is_named(&entity.name));
        if is_about {
            transaction.execute("DELETE FROM suppressions WHERE id = ?1", [&*suppression.id])?;
            went += 1;
            continue;
        }
        let mut left = Suppression::clone(&suppression);
        for text in [&mut left.reason, &mut left.owner, &mut left.created_by] {
            if is_named(text) {
                ERASED.clone_into(text);
            }
        }
        if left != *suppression {
            transaction.execute(
                "UPDATE suppressions SET suppression = ?2 WHERE id = ?1",
                params![&*left.id, serde_json::to_string(&left)?],
            )?;
            went += 1;
        }
    }
    Ok(went)
}

fn searched(transaction: &Transaction<'_>, is_named: IsNamed<'_>) -> Result<u64, TriageError> {
    let mut went = 0;
    for [id, search] in texts::<2>(transaction, "SELECT id, search FROM searches")? {
        let names = |json: &str| match searches::texts_of(json) {
            Some(texts) => texts.iter().any(|text| is_named(text)),
            None => is_named(json),
        };
        if search.as_deref().is_some_and(names) {
            transaction.execute("DELETE FROM searches WHERE id = ?1", [id])?;
            went += 1;
        }
    }
    Ok(went)
}

fn changes(transaction: &Transaction<'_>, is_named: IsNamed<'_>, gone: &HashSet<EventId>) -> Result<u64, TriageError> {
    let mut went = 0;
    let mut statement = transaction.prepare("SELECT id, detection_id, change FROM changes")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, detection, change) = (row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?);
        if is_gone(&detection, gone) {
            transaction.prepare_cached("DELETE FROM changes WHERE id = ?1")?.execute([id])?;
            went += 1;
            continue;
        }
        let known: TriageChange = serde_json::from_str(&change)?;
        let mut left = known.clone();
        if is_named(&left.by) {
            ERASED.clone_into(&mut left.by);
            left.by_name = left.by_name.map(|_| ERASED.to_owned());
        }
        for text in [&mut left.by_name, &mut left.note, &mut left.assignee] {
            if text.as_deref().is_some_and(is_named) {
                *text = Some(ERASED.to_owned());
            }
        }
        if left != known {
            let left = serde_json::to_string(&left)?;
            transaction.prepare_cached("UPDATE changes SET change = ?2 WHERE id = ?1")?.execute(params![id, left])?;
            went += 1;
        }
    }
    Ok(went)
}

fn marks(transaction: &Transaction<'_>, is_named: IsNamed<'_>, gone: &HashSet<EventId>) -> Result<u64, TriageError> {
    let mut went = 0;
    for [detection, assignee] in texts::<2>(transaction, "SELECT detection_id, assignee FROM marks")? {
        if detection.as_deref().is_some_and(|detection| is_gone(detection, gone)) {
            transaction.prepare_cached("DELETE FROM marks WHERE detection_id = ?1")?.execute([detection])?;
            went += 1;
        } else if assignee.as_deref().is_some_and(is_named) {
            transaction.prepare_cached("UPDATE marks SET assignee = NULL WHERE detection_id = ?1")?.execute([detection])?;
            went += 1;
        }
    }
    Ok(went)
}

fn is_gone(detection: &str, gone: &HashSet<EventId>) -> bool {
    detection.parse().is_ok_and(|id: EventId| gone.contains(&id))
}

#[cfg(test)]
mod tests {
    use store::Marks as _;

    use super::super::suppressions::SuppressedEntity;
    use super::super::tests::{keyring, sanitizer};
    use super::super::{KnownPerson, NewSearch, NewSuppression, TriagePatch};
    use super::*;
    use crate::access::Role;
    use crate::asker::Person;
    use crate::data_dir::DataDir;
    use crate::triage::suppressions::SuppressedKind;

    #[test]
    fn a_person_goes_from_everything_that_was_decided_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = keyring(dir.path());
        let triage = Triage::open(&data, &keyring).unwrap();
        let (gone, stays) = (EventId::random(), EventId::random());
        for (name, id) in [("jo-4711", "k1"), ("al-4711", "k2")] {
            let patch = |note: &str| TriagePatch {
                assignee: Some(name.to_owned()),
                note: Some(format!("{note} {name}")),
                ..TriagePatch::default()
            };
            triage.change(&[format!("d-{name}")], &patch("it was"), id, Some(name)).unwrap();
            triage.change(&[gone.to_string(), stays.to_string()], &patch("x"), &format!("oidc:{name}"), None).unwrap();
            for (kind, entity) in [(SuppressedKind::User, name), (SuppressedKind::Tool, "t")] {
                let new = NewSuppression {
                    rule: "r".to_owned(),
                    entity: Some(SuppressedEntity { kind, name: entity.to_owned() }),
                    reason: format!("as {name} says"),
                    owner: name.to_owned(),
                    expires: store::iso_time(event::Timestamp::from_unix_ns(
                        event::Timestamp::now().unix_ns() + 3_600_000_000_000,
                    )),
                };
                triage.put_suppression(new.check("k", &sanitizer()).unwrap()).unwrap();
            }
            let new: NewSearch = serde_json::from_value(serde_json::json!({
                "name": "mine", "view": "events", "query": { "user": name }, "shared": true
            }))
            .unwrap();
            triage.add_search(&new.check("k", None, &sanitizer()).unwrap()).unwrap();
            let called = format!("{} Doe", &name[..2]);
            let (email, issuer) = (format!("{}@example.com", &name[..2]), "https://p.example".to_owned());
            let person = Person { subject: name.to_owned(), issuer, name: Some(called.clone()), email: Some(email.clone()) };
            triage.note_person(&person, Role::Analyst, "2026-01-01T00:00:00Z").unwrap();
            // Where only the name of the sign-in stands.
            let patch = |note: &str| TriagePatch {
                assignee: Some(called.clone()),
                note: Some(note.to_owned()),
                ..TriagePatch::default()
            };
            let said = patch(&format!("as {called} wrote from {email}"));
            triage.change(&[format!("e-{}", &name[..2])], &said, "key_7", Some("a program")).unwrap();
            triage.change(&["f".to_owned()], &patch("no name"), &format!("oidc:{name}"), Some(&called)).unwrap();
        }
        std::fs::write(data.state("triage.db.unreadable-1"), "jo-4711").unwrap();
        let also = triage.called(&|text| text.contains("jo-4711")).unwrap();
        assert_eq!(also.iter().map(String::as_str).collect::<Vec<_>>(), ["jo Doe", "jo-4711", "jo@example.com"]);
        let is_named = |text: &str| text.contains("jo-4711") || also.iter().any(|name| text.contains(name.as_str()));
        let erase = |triage: &Triage| triage.erase(&is_named, &HashSet::from([gone])).unwrap();
        assert!(erase(&triage) > 5);
        // A time that ended before the log was emptied is made good by the next, which finds nothing more.
        triage.database().execute_batch("BEGIN; CREATE TABLE x (y); DROP TABLE x; COMMIT").unwrap();
        let log = data.state("triage.db-wal");
        assert!(std::fs::metadata(&log).unwrap().len() > 0);
        assert_eq!(erase(&triage), 0);
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
        let secure: i64 = triage.database().pragma_query_value(None, "secure_delete", |row| row.get(0)).unwrap();
        assert_eq!(secure, 1);
        for triage in [triage, Triage::open(&data, &keyring).unwrap()] {
            assert!(!data.state("triage.db.unreadable-1").exists());
            let all = format!(
                "{:?} {:?} {:?} {:?} {:?} {:?}",
                triage.people().unwrap(),
                triage.suppressions(),
                triage.searches("k").unwrap(),
                triage.standing(),
                triage.history("d-jo-4711").unwrap(),
                triage.history(&stays.to_string()).unwrap(),
            );
            let all = format!("{all} {:?} {:?}", triage.history("e-jo").unwrap(), triage.history("f").unwrap());
            let named = all.replace("\"d-jo-4711\"", "");
            assert!(!named.contains("jo-4711") && !named.contains("jo Doe") && !named.contains("jo@"), "{named}");
            assert!(named.contains("al Doe") && named.contains("al@example.com"), "{named}");
            assert_eq!(
                triage.people().unwrap().iter().map(|KnownPerson { subject, .. }| subject.as_str()).collect::<Vec<_>>(),
                ["al-4711"]
            );
            assert_eq!((triage.suppressions().len(), triage.searches("k").unwrap().len()), (3, 1));
            assert_eq!(triage.history(&gone.to_string()).unwrap(), []);
            assert_eq!(triage.of(&stays.to_string()).assignee.as_deref(), Some("al-4711"));
            let history = triage.history(&stays.to_string()).unwrap();
            assert_eq!((history[0].by.as_str(), history[1].by.as_str()), (ERASED, "oidc:al-4711"));
        }
    }
}
