//! A bounded memory of what came last.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Remembers the newest `max` keys. The hash is keyed at random, so that nobody can make keys collide.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    known: HashMap<K, V>,
    order: VecDeque<K>,
    max: usize,
}

impl<K: Copy + Eq + Hash, V: Copy> Recent<K, V> {
    pub(crate) fn new(max: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), max }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.known.get(key).copied()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.order.clear();
    }

    /// Remembers a key; false when it was known.
    pub(crate) fn insert(&mut self, key: K, value: V) -> bool {
        if self.max == 0 {
            return true;
        }
        if self.known.contains_key(&key) {
            return false;
        }
        if self.order.len() == self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(key, value);
        self.order.push_back(key);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_known_and_the_oldest_forgotten() {
        let mut recent = Recent::new(3);
        for key in 0..5 {
            assert!(recent.insert(key, key * 10));
            assert!(!recent.insert(key, 99), "known, and keeps its value");
        }
        let known: Vec<_> = (0..5).map(|key| recent.get(&key)).collect();
        assert_eq!(known, [None, None, Some(20), Some(30), Some(40)]);
        assert!(recent.insert(0, 1));
        assert_eq!(recent.get(&2), None);
    }

    #[test]
    fn a_memory_of_nothing_knows_nothing() {
        let mut recent = Recent::new(0);
        assert!(recent.insert(1, ()) && recent.insert(1, ()));
        assert_eq!(recent.get(&1), None);
    }
}
