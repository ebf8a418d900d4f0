//! Tests without assumptions: permutations within items, the exact test of McNemar, Holm's correction, and what a set can show at all.

/// Permutations of a test: the least p value is one of 20,000, which is below 0.01 corrected for a hundred categories.
const PERMUTATIONS: u32 = 19_999;
/// Where permutations begin: a fixed seed, so that a comparison that is made again says the same.
const SEED: u64 = 0x5761_7463_686b_6565;

/// Values of one item of two samples that may be of one distribution.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) before: Vec<f64>,
    pub(crate) after: Vec<f64>,
}

/// What a test says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    /// Mean over items of the change of the item's mean.
    pub(crate) change: f64,
    /// The probability of such a change, or a larger one, either way, where nothing has changed.
    pub(crate) p: f64,
}

/// Whether the means of pairs have changed: the exact test of McNemar where each item has one answer before and one after that
/// pass or fail; otherwise a test by permutation of the answers within each item.
pub(crate) fn means(pairs: &[Pair]) -> Option<Outcome> {
    let pairs: Vec<&Pair> = pairs.iter().filter(|pair| !pair.before.is_empty() && !pair.after.is_empty()).collect();
    if pairs.is_empty() {
        return None;
    }
    let count = pairs.len() as f64;
    let change = pairs.iter().map(|pair| mean(&pair.after) - mean(&pair.before)).sum::<f64>() / count;
    // Items whose answers are all worth the same say nothing either way.
    let telling: Vec<&&Pair> = pairs.iter().filter(|pair| varies(pair)).collect();
    let is_binary = |values: &[f64]| values.len() == 1 && values.iter().all(|value| *value == 0.0 || *value == 1.0);
    if telling.iter().all(|pair| is_binary(&pair.before) && is_binary(&pair.after)) {
        let better = telling.iter().filter(|pair| pair.after[0] > pair.before[0]).count();
        return Some(Outcome { change, p: mcnemar(better as u64, (telling.len() - better) as u64) });
    }
    let mut pools: Vec<(Vec<f64>, usize)> =
        telling.iter().map(|pair| ([pair.before.as_slice(), &pair.after].concat(), pair.before.len())).collect();
    let observed: f64 = telling.iter().map(|pair| mean(&pair.after) - mean(&pair.before)).sum();
    let mut random = Random(SEED);
    let mut as_large = 0_u32;
    for _ in 0..PERMUTATIONS {
        let sum: f64 = pools
            .iter_mut()
            .map(|(pool, before)| {
                random.shuffle_head(pool, *before);
                let (before, after) = pool.split_at(*before);
                mean(after) - mean(before)
            })
            .sum();
        as_large += u32::from(sum.abs() >= observed.abs() - 1e-9);
    }
    Some(Outcome { change, p: f64::from(as_large + 1) / f64::from(PERMUTATIONS + 1) })
}

/// Likenesses of the answers to one item, pair by pair: those before first.
#[derive(Debug, Clone)]
pub(crate) struct Likenesses {
    pub(crate) before: usize,
    /// Row by row, as many as answers in each.
    pub(crate) matrix: Vec<Vec<f64>>,
}

/// What is said of answers that are less like those before than those are like each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Strangeness {
    /// Mean likeness of answers of one side, and of answers of both sides.
    pub(crate) within: f64,
    pub(crate) between: f64,
    pub(crate) p: f64,
}

/// Whether answers after are unlike those before: likeness within each side less likeness between sides (the energy statistic of
/// Székely and Rizzo with one less likeness as distance), by permutation of the answers within each item, one way.
/// `None` where nothing can be said: no item has two answers on one side.
pub(crate) fn strangeness(items: &[Likenesses]) -> Option<Strangeness> {
    let usable = |item: &&Likenesses| {
        let after = item.matrix.len() - item.before;
        item.before > 0 && after > 0 && item.matrix.len() > 2
    };
    let items: Vec<&Likenesses> = items.iter().filter(usable).collect();
    if items.is_empty() {
        return None;
    }
    let count = items.len() as f64;
    let places: Vec<Vec<usize>> = items.iter().map(|item| (0..item.matrix.len()).collect()).collect();
    let sides: Vec<(f64, f64)> = items.iter().zip(&places).map(|(item, order)| item.sides(order)).collect();
    let (within, between) =
        (sides.iter().map(|side| side.0).sum::<f64>() / count, sides.iter().map(|side| side.1).sum::<f64>() / count);
    let telling: Vec<(usize, Vec<usize>)> = (0..items.len())
        .filter(|index| items[*index].matrix.iter().flatten().any(|like| (like - items[*index].matrix[0][0]).abs() > 1e-12))
        .map(|index| (index, places[index].clone()))
        .collect();
    let observed: f64 = telling.iter().map(|(index, _)| sides[*index].0 - sides[*index].1).sum();
    let mut orders = telling;
    let mut random = Random(SEED);
    let mut as_large = 0_u32;
    for _ in 0..PERMUTATIONS {
        let sum: f64 = orders
            .iter_mut()
            .map(|(index, order)| {
                let item = items[*index];
                random.shuffle_head(order, item.before);
                let (within, between) = item.sides(order);
                within - between
            })
            .sum();
        as_large += u32::from(sum >= observed - 1e-9);
    }
    Some(Strangeness { within, between, p: f64::from(as_large + 1) / f64::from(PERMUTATIONS + 1) })
}

impl Likenesses {
    /// Mean likeness within the sides, and between them, where `order` says who is before.
    fn sides(&self, order: &[usize]) -> (f64, f64) {
        let (mut within, mut between) = ((0.0, 0_u32), (0.0, 0_u32));
        for (place, a) in order.iter().enumerate() {
            for (other, b) in order.iter().enumerate().skip(place + 1) {
                let sum = if (place < self.before) == (other < self.before) { &mut within } else { &mut between };
                sum.0 += self.matrix[*a][*b];
                sum.1 += 1;
            }
        }
        (within.0 / f64::from(within.1.max(1)), between.0 / f64::from(between.1.max(1)))
    }
}

/// The exact test of McNemar (1947), two-sided: of items that changed, as many should have become better as worse.
pub(crate) fn mcnemar(better: u64, worse: u64) -> f64 {
    let (count, least) = (better + worse, better.min(worse));
    if count == 0 {
        return 1.0;
    }
    (2.0 * binomial_tail(count, least)).min(1.0)
}

/// The probability of at most `most` heads of `count` fair coins.
fn binomial_tail(count: u64, most: u64) -> f64 {
    let mut log = -(count as f64) * std::f64::consts::LN_2;
    let mut sum = log.exp();
    for heads in 1..=most {
        log += ((count - heads + 1) as f64).ln() - (heads as f64).ln();
        sum += log.exp();
    }
    sum.min(1.0)
}

/// Holm's correction (1979): p values that hold for all tests together.
pub(crate) fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut corrected = vec![1.0; values.len()];
    let mut least = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max(values[index] * (values.len() - rank) as f64).min(1.0);
        corrected[index] = least;
    }
    corrected
}

/// The least change of the share of items that pass which a set of so many items shows in four of five cases at the level `alpha`, where
/// a share `noise` of items comes out otherwise from one run to the next by itself. By the exact test on one answer an item, so it is
/// too large rather than too small where there are several. `None`: not even a change of every item.
pub(crate) fn least_change(items: usize, noise: f64, alpha: f64) -> Option<f64> {
    let power = |change: f64| power(items, noise, change, alpha);
    if items == 0 || power(1.0) < POWER {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        if power(middle) >= POWER { high = middle } else { low = middle }
    }
    Some(high)
}

const POWER: f64 = 0.8;

/// Most items for which the power is summed up exactly; with more it hardly depends on their number but by the root, which is used.
const EXACT_MAX: usize = 400;

fn power(items: usize, noise: f64, change: f64, alpha: f64) -> f64 {
    // Half of the noise is for the better, half for the worse; what changes is for the worse.
    let quiet = (1.0 - change).max(0.0);
    let (worse, better) = (change + quiet * noise / 2.0, quiet * noise / 2.0);
    let share = (worse + better).min(1.0);
    if items > EXACT_MAX {
        // Normal approximation of the difference of discordant items.
        let count = items as f64;
        let spread = (count * share).sqrt().max(1e-9);
        let deviation = (count * (share - (worse - better).powi(2))).max(1e-9).sqrt();
        let limit = normal_quantile(1.0 - alpha / 2.0) * spread;
        return 1.0 - normal((limit - count * (worse - better)) / deviation);
    }
    let mut all = 0.0;
    for changed in 1..=items as u64 {
        let of_changed = binomial(items as u64, changed, share);
        if of_changed < 1e-12 {
            continue;
        }
        let worse_of = worse / share;
        let rejected: f64 = (0..=changed)
            .filter(|worse| mcnemar(changed - worse, *worse) <= alpha)
            .map(|worse| binomial(changed, worse, worse_of))
            .sum();
        all += of_changed * rejected;
    }
    all
}

fn binomial(count: u64, heads: u64, share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        let sure = if share <= 0.0 { 0 } else { count };
        return if heads == sure { 1.0 } else { 0.0 };
    }
    let ways: f64 = (1..=heads).map(|index| ((count - heads + index) as f64 / index as f64).ln()).sum();
    (ways + heads as f64 * share.ln() + (count - heads) as f64 * (1.0 - share).ln()).exp()
}

/// The normal distribution (Abramowitz and Stegun 7.1.26, within 1.5e-7).
fn normal(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let erf = 1.0 - poly * (-x * x).exp();
    if z >= 0.0 { f64::midpoint(1.0, erf) } else { f64::midpoint(1.0, -erf) }
}

fn normal_quantile(q: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 10.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal(middle) < q { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn varies(pair: &Pair) -> bool {
    let first = pair.before[0];
    pair.before.iter().chain(&pair.after).any(|value| (value - first).abs() > 1e-12)
}

/// SplitMix64 (Steele, Lea, Flood 2014): good enough to shuffle with, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Puts `head` elements, drawn at random, in front.
    fn shuffle_head<T>(&mut self, values: &mut [T], head: usize) {
        for place in 0..head.min(values.len()) {
            let other = place + self.below(values.len() - place);
            values.swap(place, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_is_the_binomial_test() {
        // Values of scipy.stats.binomtest(k, n, 0.5).pvalue.
        for (better, worse, expected) in
            [(0, 0, 1.0), (0, 5, 0.0625), (1, 9, 0.021_484_375), (5, 5, 1.0), (2, 12, 0.012_939_453_125), (0, 10, 0.001_953_125)]
        {
            assert!((mcnemar(better, worse) - expected).abs() < 1e-12, "{better} {worse}: {}", mcnemar(better, worse));
        }
        assert!(mcnemar(40_000, 10_000) < 1e-100);
    }

    #[test]
    fn holm_corrects_as_published() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn means_that_changed_are_told_and_noise_is_not() {
        let pairs = |after: &dyn Fn(usize) -> f64| -> Vec<Pair> {
            (0..60)
                .map(|index| Pair { before: vec![1.0, 1.0, (index % 2) as f64], after: vec![1.0, after(index), 1.0] })
                .collect()
        };
        assert!(means(&pairs(&|index| (index % 2) as f64)).unwrap().p > 0.5);
        let worse = means(&pairs(&|_| -1.0)).unwrap();
        assert!(worse.p < 0.001 && worse.change < -0.3, "{worse:?}");
        assert_eq!(means(&[]), None);
    }

    #[test]
    fn p_values_are_even_where_nothing_has_changed() {
        // 300 comparisons of two samples of one distribution: no more than what chance allows falls below 0.05.
        let mut random = Random(7);
        let mut below = 0;
        for _ in 0..300 {
            let pairs: Vec<Pair> = (0..12)
                .map(|_| {
                    let mut draw = |count| (0..count).map(|_| (random.below(100) as f64) / 100.0).collect::<Vec<f64>>();
                    Pair { before: draw(2), after: draw(2) }
                })
                .collect();
            below += u32::from(small(&pairs) <= 0.05);
        }
        assert!((3..=30).contains(&below), "{below}");
    }

    /// The test with few permutations, so that hundreds of it are quick.
    fn small(pairs: &[Pair]) -> f64 {
        let observed: f64 = pairs.iter().map(|pair| mean(&pair.after) - mean(&pair.before)).sum();
        let mut pools: Vec<Vec<f64>> = pairs.iter().map(|pair| [pair.before.as_slice(), &pair.after].concat()).collect();
        let mut random = Random(SEED);
        let as_large = (0..199).filter(|_| {
            let sum: f64 = pools
                .iter_mut()
                .map(|pool| {
                    random.shuffle_head(pool, 2);
                    mean(&pool[2..]) - mean(&pool[..2])
                })
                .sum();
            sum.abs() >= observed.abs() - 1e-9
        });
        (as_large.count() + 1) as f64 / 200.0
    }

    #[test]
    fn strange_answers_are_told_and_varied_ones_are_not() {
        let items = |like: &dyn Fn(usize, usize) -> f64| -> Vec<Likenesses> {
            let row = |a: usize| (0..6).map(|b| if a == b { 1.0 } else { like(a.min(b), a.max(b)) }).collect();
            (0..20).map(|_| Likenesses { before: 3, matrix: (0..6).map(row).collect() }).collect()
        };
        let same = strangeness(&items(&|a, b| 0.5 + ((a * 7 + b * 3) % 5) as f64 / 20.0)).unwrap();
        assert!(same.p > 0.01, "{same:?}");
        let other = strangeness(&items(&|a, b| if (a < 3) == (b < 3) { 0.9 } else { 0.2 })).unwrap();
        assert!(other.p < 0.001 && other.within > 0.85 && other.between < 0.25, "{other:?}");
        assert_eq!(strangeness(&[Likenesses { before: 1, matrix: vec![vec![1.0, 0.1], vec![0.1, 1.0]] }]), None);
    }

    #[test]
    fn a_small_set_shows_little() {
        assert_eq!(least_change(5, 0.0, 0.01), None);
        let (few, many) = (least_change(30, 0.02, 0.01).unwrap(), least_change(300, 0.02, 0.01).unwrap());
        assert!((0.25..0.5).contains(&few) && (0.02..0.1).contains(&many), "{few} {many}");
        // Both ways of reckoning agree where they meet.
        let (exact, rough) = (least_change(EXACT_MAX, 0.05, 0.01).unwrap(), least_change(EXACT_MAX + 1, 0.05, 0.01).unwrap());
        assert!((exact - rough).abs() < 0.02, "{exact} {rough}");
        assert!((normal(1.96) - 0.975).abs() < 1e-4 && (normal_quantile(0.995) - 2.5758).abs() < 1e-3);
    }
}
