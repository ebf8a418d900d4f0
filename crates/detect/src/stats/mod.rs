//! Statistics over streams in bounded memory: quantiles, tails, slow and sudden shifts, seasons, distinct counts.
//!
//! Nothing here knows what is measured. All of it can be stored and read back, and the same values in the same order give
//! the same state. Whatever comes in, a state stays finite: what is no number, or infinite, is passed over, and what is larger than
//! any measure counts as the largest.

mod cusum;
mod distinct;
mod page_hinkley;
mod quantiles;
mod season;
mod shift;
mod spot;

pub use cusum::Cusum;
pub use distinct::Distinct;
pub use page_hinkley::PageHinkley;
pub use quantiles::Quantiles;
pub use season::{HOURS_OF_WEEK, Season, hour_of_week};
pub use shift::{Shift, Shifted};
pub use spot::{Gpd, Spot};

/// The largest value that is taken in, either way: far beyond all measures, and such that sums, squares and logarithms of it are finite in
/// 32 bits.
const VALUE_MAX: f64 = 1e12;

/// A value as it is taken in; `None` for what is no number, or infinite.
fn taken(value: f64) -> Option<f64> {
    value.is_finite().then(|| value.clamp(-VALUE_MAX, VALUE_MAX))
}

/// The same in 32 bits.
fn taken_f32(value: f32) -> Option<f32> {
    taken(f64::from(value)).map(|value| value as f32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Anything that a float can be, with what breaks arithmetic more often than chance has it, and ordinary values among it.
    fn anything() -> impl Strategy<Value = f64> {
        prop_oneof![
            2 => any::<f64>(),
            1 => any::<f32>().prop_map(f64::from),
            1 => proptest::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN, 1e306, f64::MIN_POSITIVE, 0.0]),
            4 => -10.0..10.0_f64,
        ]
    }

    /// Whether a state holds a number that is none: JSON has no way to write one. What is not known yet is `null`, too.
    fn nulls(state: &impl serde::Serialize) -> usize {
        fn count(value: &serde_json::Value) -> usize {
            match value {
                serde_json::Value::Null => 1,
                serde_json::Value::Array(values) => values.iter().map(count).sum(),
                serde_json::Value::Object(members) => members.values().map(count).sum(),
                _ => 0,
            }
        }
        count(&serde_json::to_value(state).unwrap())
    }

    proptest! {
        #[test]
        fn no_value_makes_a_state_that_is_not_finite(values in proptest::collection::vec(anything(), 1..600), floor in anything()) {
            let (mut shift, mut cusum, mut quantiles, mut season) =
                (Shift::default(), Cusum::default(), Quantiles::default(), Season::default());
            let mut page_hinkley = PageHinkley::new(1, 0.0, 12.0, 1.0);
            let mut spot = Spot::new(1e-5);
            let unknown = nulls(&season);
            for (index, value) in values.iter().enumerate() {
                let hour = index as u32 / 40 + 1;
                if let Some(shifted) = shift.add(*value as f32, hour, floor as f32, 0) {
                    prop_assert!(shifted.observed.is_finite() && shifted.expected.is_finite(), "{shifted:?}");
                }
                if let Some(ramp) = cusum.add(*value as f32, floor as f32) {
                    prop_assert!(ramp.observed.is_finite() && ramp.expected.is_finite(), "{ramp:?}");
                }
                quantiles.add(*value);
                season.learn(hour, *value as f32);
                page_hinkley.add(*value);
                spot.add(*value);
            }
            prop_assert_eq!(nulls(&shift) + nulls(&cusum) + nulls(&quantiles) + nulls(&page_hinkley), 0);
            prop_assert!(season.expected(1).is_none_or(f32::is_finite) && nulls(&season) <= unknown);
            prop_assert!(spot.extreme().is_none_or(f64::is_finite) && nulls(&spot) <= usize::from(spot.extreme().is_none()));
            for q in [0.0, 0.5, 1.0] {
                prop_assert!(quantiles.quantile(q).is_none_or(f64::is_finite));
            }
            prop_assert!([1e-5, 1e-300, 0.0].iter().all(|risk| quantiles.tail(*risk).is_none_or(f64::is_finite)));
            let excesses: Vec<f64> = values.iter().map(|value| value.abs()).filter(|value| *value > 0.0).collect();
            if let Some(fitted) = Gpd::fit(&excesses) {
                prop_assert!(fitted.shape.is_finite() && fitted.scale.is_finite(), "{fitted:?}");
            }
        }
    }

    #[test]
    fn nonsense_in_one_value_of_eight_hides_no_shift() {
        for nonsense in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut shift = Shift::default();
            let told: Vec<u32> = (1..400_u32)
                .flat_map(|hour| (0..64_u32).map(move |call| (hour, call)))
                .filter_map(|(hour, call)| {
                    let value = 5.0 + (call * 7 % 13) as f32 / 13.0 + if hour >= 200 { 1.0 } else { 0.0 };
                    shift.add(if call % 8 == 3 { nonsense } else { value }, hour, 0.05, 72).map(|_| hour)
                })
                .collect();
            assert!(told.len() == 1 && (200..212).contains(&told[0]), "{nonsense}: {told:?}");
        }
    }
}
