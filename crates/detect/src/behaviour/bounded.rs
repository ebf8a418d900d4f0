//! Maps that hold at most so many entries and let go of the one that was used least recently.

use std::hash::Hash;

use lru::LruCache;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Such a map. Stored, it is its bound and its entries, the one used least recently first.
#[derive(Debug)]
pub(crate) struct Bounded<K: Hash + Eq, V> {
    // Unbounded as far as `lru` goes: a bounded one takes all its memory at once.
    entries: LruCache<K, V>,
    most: usize,
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: LruCache::unbounded(), most }
    }

    /// The entry of `key`, made when there is none.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V
    where
        K: Clone,
    {
        if !self.entries.contains(&key) {
            while self.entries.len() >= self.most.max(1) {
                self.entries.pop_lru();
            }
        }
        self.entries.get_or_insert_mut(key, make)
    }

    /// Makes room for the entry of `key`, where there is none and the map is full: gives what goes.
    pub(crate) fn make_room(&mut self, key: &K) -> Option<(K, V)> {
        if self.entries.len() < self.most.max(1) || self.entries.contains(key) { None } else { self.entries.pop_lru() }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// The entry, which is not used by it.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.entries.peek(key)
    }

    /// The entry that goes next, which is not used by it.
    pub(crate) fn peek_oldest(&self) -> Option<(&K, &V)> {
        self.entries.peek_lru()
    }

    /// Lets go of the entry that was used least recently.
    pub(crate) fn pop_oldest(&mut self) -> Option<(K, V)> {
        self.entries.pop_lru()
    }

    /// Sets an entry; gives the value that it had.
    pub(crate) fn put(&mut self, key: K, value: V) -> Option<V> {
        let before = self.entries.put(key, value);
        while self.entries.len() > self.most {
            self.entries.pop_lru();
        }
        before
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.pop(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every entry, the one used most recently first; none of them is used by it.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut()
    }
}

impl<K: Hash + Eq + Serialize, V: Serialize> Serialize for Bounded<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Entries<'a, K: Hash + Eq, V>(&'a LruCache<K, V>);
        impl<K: Hash + Eq + Serialize, V: Serialize> Serialize for Entries<'_, K, V> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter().rev())
            }
        }
        (self.most, Entries(&self.entries)).serialize(serializer)
    }
}

impl<'de, K: Hash + Eq + Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Bounded<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (most, entries) = <(usize, Vec<(K, V)>)>::deserialize(deserializer)?;
        let mut map = Self::new(most);
        for (key, value) in entries {
            map.put(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_and_a_stored_map_goes_on_alike() {
        let mut map: Bounded<u64, u32> = Bounded::new(3);
        for key in [1, 2, 3, 1, 4] {
            *map.entry(key, || 0) += 1;
        }
        let mut again: Bounded<u64, u32> = postcard::from_bytes(&postcard::to_extend(&map, Vec::new()).unwrap()).unwrap();
        for map in [&mut map, &mut again] {
            assert_eq!((map.len(), map.get(&2).copied(), map.get(&1).copied()), (3, None, Some(2)));
            map.put(5, 0);
            let order: Vec<u64> = map.iter_mut().map(|(key, _)| *key).collect();
            assert_eq!(order, [5, 1, 4]);
        }
    }
}
