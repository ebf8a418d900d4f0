//! TAXII 2.1: what a client asks for next, and what the answers mean. Whoever talks to the server does the rest.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::feed::FeedError;

/// What answers are asked for, and are.
pub const MEDIA_TYPE: &str = "application/taxii+json;version=2.1";
/// The answer's header with when the last object of a page was added.
pub const ADDED_LAST: &str = "x-taxii-date-added-last";
/// Objects of a page that are asked for; servers give fewer where they like.
pub const PAGE: usize = 1_000;
/// Most pages of one pull. At 1,000 objects each that is more indicators than are kept.
pub const PAGES_MAX: usize = 10_000;

/// What of a path and of a value in a query stands for itself.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a server has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// What it is called.
    #[serde(default)]
    pub title: String,
    /// The API root for who names none.
    #[serde(default)]
    pub default: Option<String>,
    /// All of them.
    #[serde(default)]
    pub api_roots: Vec<String>,
}

/// The collections of an API root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Collections {
    /// Each of them.
    #[serde(default)]
    pub collections: Vec<Collection>,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Collection {
    /// Its id.
    pub id: String,
    /// What it is called.
    #[serde(default)]
    pub title: String,
    /// Its other name.
    #[serde(default)]
    pub alias: Option<String>,
    /// Whether its objects may be read.
    #[serde(default)]
    pub can_read: bool,
}

/// The head of a page of objects; the objects are read as STIX.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// Whether there are more.
    #[serde(default)]
    pub more: bool,
    /// What asks for them.
    #[serde(default)]
    pub next: Option<String>,
}

/// How far a collection was read: kept, so that the next pull goes on from there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Objects that were added until then are known.
    pub added_after: Option<String>,
    /// Within a pull: what asks for the next page.
    #[serde(skip)]
    pub next: Option<String>,
}

/// Reads an answer.
///
/// # Errors
/// [`FeedError::Json`].
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FeedError> {
    serde_json::from_slice(bytes).map_err(|error| FeedError::Json { format: "answer of TAXII", reason: error.to_string() })
}

impl Collections {
    /// The collection of an id, an alias or a title; where none is named, the only one that may be read.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<&Collection> {
        match name {
            Some(name) => self
                .collections
                .iter()
                .find(|one| one.id == name || one.alias.as_deref() == Some(name))
                .or_else(|| self.collections.iter().find(|one| one.title == name)),
            None => {
                let mut readable = self.collections.iter().filter(|one| one.can_read);
                readable.next().filter(|_| readable.next().is_none())
            }
        }
    }
}

impl Place {
    /// The path and query, below the API root, of the next page.
    #[must_use]
    pub fn request(&self, collection: &str) -> String {
        let of = |text: &str| utf8_percent_encode(text, KEPT).to_string();
        let mut path = format!("collections/{}/objects/?limit={PAGE}", of(collection));
        if let Some(added_after) = &self.added_after {
            path.push_str("&added_after=");
            path.push_str(&of(added_after));
        }
        if let Some(next) = &self.next {
            path.push_str("&next=");
            path.push_str(&of(next));
        }
        path
    }

    /// Goes on behind a page. `added_last` is the header of that name. Whether there is another page.
    ///
    /// Within a pull the query stays as it is and `next` goes on, as the standard wants it; when it ends, the time of the last object is
    /// where the next pull begins. A server without `next` is asked from that time on.
    pub fn advance(&mut self, page: &Page, added_last: Option<&str>, newest: &mut Option<String>) -> bool {
        if let Some(added_last) = added_last.filter(|time| !time.is_empty()) {
            *newest = Some(added_last.to_owned());
        }
        match (&page.next, page.more) {
            (Some(next), true) => {
                self.next = Some(next.clone());
                true
            }
            (None, true) if newest.is_some() && *newest != self.added_after => {
                self.added_after.clone_from(newest);
                true
            }
            _ => {
                self.next = None;
                if newest.is_some() {
                    self.added_after = newest.take();
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(more: bool, next: Option<&str>) -> Page {
        Page { more, next: next.map(str::to_owned) }
    }

    #[test]
    fn pages_follow_each_other_and_the_next_pull_begins_behind_the_last() {
        let (mut place, mut newest) = (Place::default(), None);
        assert_eq!(place.request("a b"), "collections/a%20b/objects/?limit=1000");
        assert!(place.advance(&page(true, Some("7&x")), Some("t1"), &mut newest));
        assert_eq!(place.request("c"), "collections/c/objects/?limit=1000&next=7%26x");
        assert!(!place.advance(&page(false, None), Some("2026-01-31T12:00:00.000001Z"), &mut newest));
        assert_eq!(place.request("c"), "collections/c/objects/?limit=1000&added_after=2026-01-31T12%3A00%3A00.000001Z");
        // Nothing new: the place stays.
        let before = place.clone();
        assert!(!place.advance(&page(false, None), None, &mut None));
        assert_eq!(place, before);
    }

    #[test]
    fn a_server_without_next_is_asked_by_time_and_not_for_ever() {
        let (mut place, mut newest) = (Place::default(), None);
        assert!(place.advance(&page(true, None), Some("t1"), &mut newest));
        assert!(!place.advance(&page(true, None), Some("t1"), &mut newest));
        assert!(!Place::default().advance(&page(true, None), None, &mut None));
    }

    #[test]
    fn a_collection_is_found_by_what_it_is_called() {
        let text =
            br#"{"collections":[{"id":"1","title":"A","alias":"x","can_read":true},{"id":"2","title":"B","can_read":false}]}"#;
        let all: Collections = read(text).unwrap();
        for (name, id) in [(None, Some("1")), (Some("B"), Some("2")), (Some("x"), Some("1")), (Some("C"), None)] {
            assert_eq!(all.find(name).map(|one| one.id.as_str()), id, "{name:?}");
        }
    }
}
