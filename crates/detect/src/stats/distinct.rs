//! How many different things there were: a HyperLogLog of Apache DataSketches.

use datasketches::hash::value::raw_bytes;
use datasketches::hll::{HllSketch, HllType};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Registers, as a power of two: 64, for an error of 13 % in less than 200 bytes.
const LOG_REGISTERS: u8 = 6;

/// A set of which only the size is known, nearly; of a handful exactly.
#[derive(Debug, Clone)]
pub struct Distinct(HllSketch);

impl Distinct {
    /// The empty set. `None` never comes with the sizes that this is built with.
    #[must_use]
    pub fn new() -> Option<Self> {
        HllSketch::new(LOG_REGISTERS, HllType::Hll8).ok().map(Self)
    }

    /// Adds what has this hash.
    pub fn add(&mut self, hash: u64) {
        self.0.update(raw_bytes::from_slice(&hash.to_le_bytes()));
    }

    /// About how many there are.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.0.estimate()
    }
}

impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        HllSketch::deserialize(&bytes).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_near_and_goes_on_after_a_store() {
        let mut distinct = Distinct::new().unwrap();
        (0..5).chain(0..5).for_each(|value| distinct.add(value));
        assert!((distinct.count() - 5.0).abs() < 0.1, "{}", distinct.count());
        (0..10_000).for_each(|value| distinct.add(value * 7_919));
        assert!((7_000.0..13_500.0).contains(&distinct.count()), "{}", distinct.count());
        let mut again: Distinct = postcard::from_bytes(&postcard::to_extend(&distinct, Vec::new()).unwrap()).unwrap();
        for value in 0..20_000 {
            again.add(value);
            distinct.add(value);
        }
        assert_eq!(again.count(), distinct.count());
    }
}
