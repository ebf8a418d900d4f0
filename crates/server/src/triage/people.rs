//! People who have signed in by OpenID Connect.

use rusqlite::params;

use super::{Triage, TriageError};
use crate::access::Role;
use crate::asker::Person;

/// People who are remembered; beyond them those who signed in the longest ago are forgotten. The record has their sign-ins.
const PEOPLE_MAX: i64 = 10_000;

pub(super) const TABLE: &str = "
-- who has signed in by OpenID Connect
CREATE TABLE people (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  name TEXT,
  email TEXT,
  role TEXT NOT NULL,
  first_signed_in TEXT NOT NULL,
  last_signed_in TEXT NOT NULL,
  PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
CREATE INDEX people_last ON people(last_signed_in);
";

/// Somebody who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownPerson {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) name: Option<String>,
    pub(crate) email: Option<String>,
    /// That of the last sign-in.
    pub(crate) role: Role,
    /// RFC 3339.
    pub(crate) first_signed_in: String,
    /// RFC 3339.
    pub(crate) last_signed_in: String,
}

impl Triage {
    /// Remembers that somebody signs in at `time` (RFC 3339). Durable when it returns.
    pub(crate) fn note_person(&self, person: &Person, role: Role, time: &str) -> Result<(), TriageError> {
        let Person { subject, issuer, name, email } = person;
        let mut database = self.writable()?;
        let transaction = database.transaction()?;
        transaction
            .prepare_cached(
                "INSERT INTO people(issuer, subject, name, email, role, first_signed_in, last_signed_in)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
                 ON CONFLICT(issuer, subject) DO UPDATE
                 SET name = ?3, email = ?4, role = ?5, last_signed_in = ?6",
            )?
            .execute(params![issuer, subject, name, email, role.as_str(), time])?;
        transaction
            .prepare_cached(
                "DELETE FROM people WHERE (issuer, subject) IN
                 (SELECT issuer, subject FROM people ORDER BY last_signed_in DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([PEOPLE_MAX])?;
        transaction.commit()?;
        Ok(())
    }

    /// Those who have signed in, the last ones first.
    pub(crate) fn people(&self) -> Result<Vec<KnownPerson>, TriageError> {
        let database = self.database();
        let mut statement = database.prepare_cached(
            "SELECT issuer, subject, name, email, role, first_signed_in, last_signed_in FROM people
             ORDER BY last_signed_in DESC, issuer, subject",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(KnownPerson {
                issuer: row.get(0)?,
                subject: row.get(1)?,
                name: row.get(2)?,
                email: row.get(3)?,
                // What is no role is none that allows anything.
                role: row.get_ref(4)?.as_str().unwrap_or_default().parse().unwrap_or(Role::Sensor),
                first_signed_in: row.get(5)?,
                last_signed_in: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::keyring;
    use super::*;
    use crate::data_dir::DataDir;

    fn person(subject: &str, name: &str) -> Person {
        Person { subject: subject.to_owned(), issuer: "https://p.example".to_owned(), name: Some(name.to_owned()), email: None }
    }

    #[test]
    fn a_person_is_remembered_as_they_were_last() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let triage = Triage::open(&data, &keyring(dir.path())).unwrap();
        triage.note_person(&person("1", "Ann"), Role::Admin, "2026-01-01T00:00:00Z").unwrap();
        triage.note_person(&person("2", "Bob"), Role::Auditor, "2026-01-02T00:00:00Z").unwrap();
        triage.note_person(&person("1", "Ann Lee"), Role::Analyst, "2026-01-03T00:00:00Z").unwrap();
        drop(triage);
        let triage = Triage::open(&data, &keyring(dir.path())).unwrap();
        let people = triage.people().unwrap();
        assert_eq!(people.len(), 2);
        assert_eq!((people[0].name.as_deref(), people[0].role), (Some("Ann Lee"), Role::Analyst));
        assert_eq!(
            (people[0].first_signed_in.as_str(), people[0].last_signed_in.as_str()),
            ("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z")
        );
        assert_eq!(people[1].subject, "2");
    }

    #[test]
    fn those_who_signed_in_the_longest_ago_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let triage = Triage::open(&data, &keyring(dir.path())).unwrap();
        triage
            .database()
            .execute_batch(&format!(
                "INSERT INTO people SELECT 'i', value, NULL, NULL, 'auditor', 'x', printf('2026-01-01T%06d', value)
                 FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {PEOPLE_MAX}) SELECT value FROM n)"
            ))
            .unwrap();
        triage.note_person(&person("new", "New"), Role::Admin, "2026-02-01T00:00:00Z").unwrap();
        let people = triage.people().unwrap();
        assert_eq!(i64::try_from(people.len()).unwrap(), PEOPLE_MAX);
        assert_eq!((people[0].subject.as_str(), people.iter().any(|person| person.subject == "1")), ("new", false));
    }

    #[test]
    fn a_database_from_before_there_were_people_is_taken_on() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let keyring = keyring(dir.path());
        Triage::open(&data, &keyring).unwrap().database().execute_batch("DROP TABLE people; PRAGMA user_version = 1").unwrap();
        let triage = Triage::open(&data, &keyring).unwrap();
        triage.note_person(&person("1", "Ann"), Role::Admin, "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(triage.people().unwrap().len(), 1);
    }
}
