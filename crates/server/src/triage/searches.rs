//! Searches that people keep, for themselves or for all.

use event::Timestamp;
use rusqlite::{Connection, params};
use sanitize::Sanitizer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{NAME_BYTES_MAX, Triage, TriageError, at_most, needed};
use crate::secrets;

/// Searches that are kept, of all people together.
const SEARCHES_MAX: usize = 10_000;

/// Longest parameters of a search, as JSON.
const QUERY_BYTES_MAX: usize = 16 * 1024;

/// Deepest parameters of a search that are looked through.
const DEPTH_MAX: usize = 32;

/// A view of the console that searches are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SearchView {
    /// Events by filters.
    Events,
    /// What was said.
    Text,
    /// SQL.
    Sql,
    /// Detections.
    Detections,
    /// Sessions.
    Sessions,
}

/// A search that is to be kept.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SavedSearchRequest)]
pub(crate) struct NewSearch {
    /// What it is called.
    pub(crate) name: String,
    /// The view of the console that it is of.
    pub(crate) view: SearchView,
    /// Its parameters; at most 16 KiB of JSON.
    #[schema(value_type = Object)]
    pub(crate) query: serde_json::Value,
    /// Whether others see it.
    #[serde(default)]
    pub(crate) shared: bool,
}

/// A search that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedSearch {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) view: SearchView,
    pub(crate) query: serde_json::Value,
    pub(crate) shared: bool,
    pub(crate) owner: String,
    pub(crate) owner_name: Option<String>,
    pub(crate) created: String,
}

impl NewSearch {
    /// The search as it is kept, if it can be. What is searched for may be what must not be kept.
    pub(crate) fn check(self, owner: &str, owner_name: Option<&str>, sanitizer: &Sanitizer) -> Result<SavedSearch, TriageError> {
        let Self { name, view, query, shared } = self;
        needed("name", &name, NAME_BYTES_MAX)?;
        let query = query.to_string();
        at_most("query", &query, QUERY_BYTES_MAX)?;
        let name = sanitizer.text(&name).text.to_string();
        let query = serde_json::from_str(sanitizer.text(&query).text.as_str()).map_err(|_| {
            let message = "query: it has a secret or personal data in it, which is not kept; leave that out of the search";
            TriageError::Refused(message.to_owned())
        })?;
        let id = format!("search_{}", event::hex::encode(&secrets::random::<6>().map_err(TriageError::Random)?));
        let (owner, owner_name) = (owner.to_owned(), owner_name.map(str::to_owned));
        Ok(SavedSearch { id, name, view, query, shared, owner, owner_name, created: Timestamp::now().rfc3339() })
    }
}

impl Triage {
    /// The searches of somebody, and those that others share; by name.
    pub(crate) fn searches(&self, owner: &str) -> Result<Vec<SavedSearch>, TriageError> {
        let mut searches = self.all_searches()?;
        searches.retain(|search| search.shared || search.owner == owner);
        searches.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
        Ok(searches)
    }

    /// A search, whoever made it.
    pub(crate) fn search_by_id(&self, id: &str) -> Result<SavedSearch, TriageError> {
        let unknown = || TriageError::Unknown { what: "saved search", id: id.chars().take(80).collect() };
        self.all_searches()?.into_iter().find(|search| search.id == id).ok_or_else(unknown)
    }

    fn all_searches(&self) -> Result<Vec<SavedSearch>, TriageError> {
        let database = self.database();
        let mut statement = database.prepare_cached("SELECT search FROM searches")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut searches = Vec::new();
        for search in rows {
            match serde_json::from_str(&search?) {
                Ok(search) => searches.push(search),
                Err(error) => tracing::warn!(%error, "a saved search is of no view that this program knows"),
            }
        }
        Ok(searches)
    }

    /// Whether one more has room.
    pub(crate) fn has_room_for_search(&self) -> Result<(), TriageError> {
        has_room(&*self.writable()?)
    }

    /// Keeps a search. Durable when it returns.
    pub(crate) fn add_search(&self, search: &SavedSearch) -> Result<(), TriageError> {
        let database = self.writable()?;
        has_room(&database)?;
        let json = serde_json::to_string(search)?;
        database.prepare_cached("INSERT INTO searches(id, search) VALUES (?1, ?2)")?.execute(params![search.id, json])?;
        Ok(())
    }

    /// Removes a search.
    pub(crate) fn remove_search(&self, id: &str) -> Result<(), TriageError> {
        self.writable()?.prepare_cached("DELETE FROM searches WHERE id = ?1")?.execute([id])?;
        Ok(())
    }
}

fn has_room(database: &Connection) -> Result<(), TriageError> {
    let count: usize =
        database.query_row("SELECT count(*) FROM searches", [], |row| row.get::<_, i64>(0))?.try_into().unwrap_or(0);
    if count < SEARCHES_MAX {
        return Ok(());
    }
    Err(TriageError::TooMany { what: "saved searches", max: SEARCHES_MAX, remedy: "remove those that are not used" })
}

/// Every text of a search as it is kept; none where it is deeper than anybody's.
pub(super) fn texts_of(search: &str) -> Option<Vec<String>> {
    fn gather(value: serde_json::Value, depth: usize, texts: &mut Vec<String>) -> bool {
        use serde_json::Value::{Array, Object, String};
        match value {
            _ if depth == 0 => return false,
            String(text) => texts.push(text),
            Array(values) => return values.into_iter().all(|value| gather(value, depth - 1, texts)),
            Object(fields) => {
                return fields.into_iter().all(|(name, value)| {
                    texts.push(name);
                    gather(value, depth - 1, texts)
                });
            }
            other => texts.push(other.to_string()),
        }
        true
    }
    let mut texts = Vec::new();
    gather(serde_json::from_str(search).ok()?, DEPTH_MAX, &mut texts).then_some(texts)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{keyring, sanitizer};
    use super::*;
    use crate::data_dir::DataDir;

    #[test]
    fn everybody_sees_their_own_searches_and_those_that_are_shared() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        let triage = Triage::open(&data, &keyring(dir.path())).unwrap();
        let add = |name: &str, owner: &str, shared| {
            let new =
                NewSearch { name: name.to_owned(), view: SearchView::Events, query: serde_json::json!({ "q": name }), shared };
            triage.add_search(&new.check(owner, None, &sanitizer()).unwrap()).unwrap();
        };
        add("b", "ann", false);
        add("a", "bob", true);
        add("c", "bob", false);
        let names = |owner: &str| triage.searches(owner).unwrap().into_iter().map(|search| search.name).collect::<Vec<_>>();
        assert_eq!(
            (names("ann"), names("bob"), names("cy")),
            (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned(), "c".to_owned()], vec!["a".to_owned()])
        );
        let own = triage.searches("ann").unwrap().remove(1);
        triage.remove_search(&own.id).unwrap();
        assert_eq!(names("ann"), ["a"]);
        assert!(matches!(triage.search_by_id(&own.id), Err(TriageError::Unknown { .. })));
        let long =
            NewSearch { name: "x".to_owned(), view: SearchView::Sql, query: "x".repeat(QUERY_BYTES_MAX).into(), shared: false };
        assert!(long.check("ann", None, &sanitizer()).is_err());
        let json =
            serde_json::json!({ "name": "the AKIAIOSFODNN7EXAMPLE", "view": "text", "query": { "q": ["AKIAIOSFODNN7EXAMPLE"] } });
        let new: NewSearch = serde_json::from_value(json).unwrap();
        let kept = format!("{:?}", new.check("ann", None, &sanitizer()).unwrap());
        assert!(!kept.contains("AKIAIOSFODNN7EXAMPLE"), "{kept}");
        assert!(
            serde_json::from_value::<NewSearch>(serde_json::json!({ "name": "x", "view": "AKIAIOSFODNN7EXAMPLE", "query": {} }))
                .is_err()
        );
    }
}
