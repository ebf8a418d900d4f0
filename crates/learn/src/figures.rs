//! Intervals of shares.

/// The 95 % interval of a share of which `hits` of `all` were seen, after Wilson (1927).
#[must_use]
pub fn wilson(hits: usize, all: usize) -> (f32, f32) {
    const Z: f64 = 1.96;
    if all == 0 {
        return (0.0, 1.0);
    }
    let (hits, all) = (hits as f64, all as f64);
    let share = hits / all;
    let middle = share + Z * Z / (2.0 * all);
    let half = Z * (share * (1.0 - share) / all + Z * Z / (4.0 * all * all)).sqrt();
    let scale = 1.0 + Z * Z / all;
    ((((middle - half) / scale) as f32).max(0.0), (((middle + half) / scale) as f32).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        let near = |(low, high): (f32, f32), of: (f32, f32)| {
            assert!((low - of.0).abs() < 5e-4 && (high - of.1).abs() < 5e-4, "{low} {high}")
        };
        near(wilson(5, 10), (0.2366, 0.7634));
        near(wilson(0, 20), (0.0, 0.1611));
        near(wilson(0, 0), (0.0, 1.0));
    }
}
