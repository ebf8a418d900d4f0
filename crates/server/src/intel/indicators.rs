//! The indicators of one feed: by id, of each the newest version, and no more of them than memory has room for.

use std::collections::{BTreeMap, HashMap, HashSet};

use intel::{INDICATORS_MAX, Indicator};
use uuid::Uuid;

/// Most bytes that the indicators of one feed take: four million of the usual length, fewer where their texts are long.
const BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Bytes that an indicator takes beside its texts, with what the memory's book-keeping takes.
const INDICATOR_BYTES: usize = size_of::<Indicator>() + 64;

/// The indicators of one feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Indicators {
    /// Of one id there can be several, of one version: a pattern, or an attribute of two values, names more than one thing.
    by_id: BTreeMap<Uuid, Vec<Indicator>>,
    count: usize,
    bytes: usize,
}

/// A feed has more than there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has more than {INDICATORS_MAX} indicators, or more than {} MiB of them: choose a smaller collection or a lower tlp_max, or leave the \
     feed out",
    BYTES_MAX / 1024 / 1024
)]
pub(crate) struct TooMuch;

impl Indicators {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Each of them, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Indicator> {
        self.by_id.values().flatten()
    }

    /// Puts indicators beside what is there: a version replaces an older one of its id, and itself. The work goes by what is added, not by
    /// what is there.
    ///
    /// # Errors
    /// When there is no room for all of them. Then some are there, and some are not.
    pub(crate) fn add(&mut self, indicators: impl IntoIterator<Item = Indicator>) -> Result<(), TooMuch> {
        self.add_within(indicators, INDICATORS_MAX, BYTES_MAX)
    }

    fn add_within(
        &mut self,
        indicators: impl IntoIterator<Item = Indicator>,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<(), TooMuch> {
        // The ids of which what is there was looked at.
        let mut met: HashSet<Uuid> = HashSet::new();
        for one in indicators {
            let known = self.by_id.get(&one.id).and_then(|same| same.first()).map(|known| known.modified);
            if known.is_some_and(|known| known > one.modified) {
                continue;
            }
            if met.insert(one.id) || known.is_some_and(|known| known < one.modified) {
                self.remove(one.id);
            }
            self.count += 1;
            self.bytes = self.bytes.saturating_add(bytes(&one));
            self.by_id.entry(one.id).or_default().push(one);
            if self.count > count_max || self.bytes > bytes_max {
                return Err(TooMuch);
            }
        }
        Ok(())
    }

    /// Removes those of an id.
    pub(crate) fn remove(&mut self, id: Uuid) {
        for one in self.by_id.remove(&id).unwrap_or_default() {
            self.count -= 1;
            self.bytes = self.bytes.saturating_sub(bytes(&one));
        }
    }

    /// Keeps those of which `keep` is true.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Indicator) -> bool) {
        let (mut count, mut all) = (0, 0_usize);
        self.by_id.retain(|_, same| {
            same.retain(&keep);
            count += same.len();
            all = all.saturating_add(same.iter().map(bytes).sum());
            !same.is_empty()
        });
        (self.count, self.bytes) = (count, all);
    }

    /// The ids of the indicators of some sources.
    pub(crate) fn ids_of<'a>(&self, sources: impl IntoIterator<Item = &'a str>) -> HashMap<&'a str, HashSet<Uuid>> {
        let mut ids: HashMap<&str, HashSet<Uuid>> = sources.into_iter().map(|source| (source, HashSet::new())).collect();
        if ids.is_empty() {
            return ids;
        }
        for one in self.iter() {
            if let Some(of_source) = ids.get_mut(one.source.as_str()) {
                of_source.insert(one.id);
            }
        }
        ids
    }

    /// Removes those of an id that are of a source.
    pub(crate) fn remove_of(&mut self, id: Uuid, source: &str) {
        if self.by_id.get(&id).is_some_and(|same| same.iter().all(|one| one.source == source)) {
            self.remove(id);
        }
    }
}

impl IntoIterator for Indicators {
    type Item = Indicator;
    type IntoIter = std::iter::Flatten<std::collections::btree_map::IntoValues<Uuid, Vec<Indicator>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_id.into_values().flatten()
    }
}

fn bytes(one: &Indicator) -> usize {
    INDICATOR_BYTES + one.value.len() + one.source.len() + one.label.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use intel::{Kind, Tlp};

    use super::*;

    fn indicator(id: u128, value: &str, modified: i64) -> Indicator {
        Indicator {
            id: Uuid::from_u128(id),
            kind: Kind::Domain,
            value: value.to_owned(),
            source: "s".to_owned(),
            confidence: 50,
            tlp: Tlp::Red,
            valid_from: None,
            valid_until: None,
            label: None,
            modified,
        }
    }

    fn values(indicators: &Indicators) -> Vec<&str> {
        indicators.iter().map(|one| one.value.as_str()).collect()
    }

    /// What is counted is what is there.
    fn check(indicators: &Indicators) {
        assert_eq!(indicators.count, indicators.iter().count());
        assert_eq!(indicators.bytes, indicators.iter().map(bytes).sum::<usize>());
    }

    #[test]
    fn of_each_id_the_newest_version_is_there() {
        let mut all = Indicators::default();
        all.add([indicator(1, "a", 5), indicator(1, "b", 5), indicator(2, "c", 5)]).unwrap();
        assert_eq!(values(&all), ["a", "b", "c"]);
        // One of the same version replaces, an older one does not; within one reading, too, in whatever order.
        all.add([indicator(1, "old", 4), indicator(2, "d", 5), indicator(2, "e", 5)]).unwrap();
        assert_eq!(values(&all), ["a", "b", "d", "e"]);
        all.add([indicator(3, "x", 1), indicator(3, "z", 3), indicator(3, "y", 2), indicator(1, "f", 6)]).unwrap();
        assert_eq!(values(&all), ["f", "d", "e", "z"]);
        check(&all);
        all.retain(|one| one.value != "d");
        all.remove(Uuid::from_u128(3));
        assert_eq!(values(&all), ["f", "e"]);
        check(&all);
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let mut all = Indicators::default();
        let many = |from: u128, count: u128| (from..from + count).map(|id| indicator(id, "evil.example", 5)).collect::<Vec<_>>();
        all.add_within(many(0, 10), 10, usize::MAX).unwrap();
        all.add_within(many(0, 10), 10, usize::MAX).unwrap();
        assert_eq!(all.add_within(many(10, 1), 10, usize::MAX), Err(TooMuch));
        check(&all);
        let mut all = Indicators::default();
        let room = 10 * bytes(&indicator(0, "evil.example", 5));
        all.add_within(many(0, 10), usize::MAX, room).unwrap();
        assert_eq!(all.clone().add_within(many(10, 1), usize::MAX, room), Err(TooMuch));
        all.remove(Uuid::from_u128(3));
        all.add_within(many(10, 1), usize::MAX, room).unwrap();
        assert!(TooMuch.to_string().contains("4000000") && TooMuch.to_string().contains("1024 MiB"), "{TooMuch}");
    }

    #[test]
    fn what_a_source_has_is_found_by_its_name() {
        let of = |id: u128, source: &str| Indicator { source: source.to_owned(), ..indicator(id, "v", 1) };
        let mut all = Indicators::default();
        all.add([of(1, "a"), of(2, "b"), of(3, "a"), of(4, "c")]).unwrap();
        let ids = all.ids_of(["a", "none"]);
        assert_eq!(ids["a"], HashSet::from([1, 3].map(Uuid::from_u128)));
        assert!(ids["none"].is_empty() && ids.len() == 2);
        all.remove_of(Uuid::from_u128(1), "a");
        all.remove_of(Uuid::from_u128(4), "a");
        assert_eq!(all.len(), 3);
        check(&all);
    }
}
