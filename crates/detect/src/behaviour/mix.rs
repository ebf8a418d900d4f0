//! In which proportions an agent uses its tools.

use serde::{Deserialize, Serialize};

use super::facts::Item;

/// Most tools that are told apart; the rest are one.
const TOOLS_MAX: usize = 24;
/// Uses of a day before its proportions say something.
const USES_MIN: u32 = 40;
/// Days before anything is said.
const DAYS_MIN: u16 = 10;
/// How fast what is usual follows.
const FOLLOW: f32 = 1.0 / 15.0;
/// Deviations above what is usual that are borne, and the least divergence that is told.
const DEVIATIONS: f32 = 6.0;
/// See [`DEVIATIONS`].
const DIVERGENCE_MIN: f32 = 0.12;
/// The least deviation that is believed.
const DEVIATION_MIN: f32 = 0.01;

/// The proportions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mix {
    tools: Vec<Share>,
    uses: u32,
    days: u16,
    mean: f32,
    deviation: f32,
    flagged: bool,
    flagged_days: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Share {
    tool: u32,
    today: u32,
    usual: f32,
}

/// A day unlike others: how far off, how far off days usually are, and on how many days that rests.
pub(crate) struct Unlike {
    pub(crate) observed: f64,
    pub(crate) expected: f64,
    pub(crate) days: u32,
}

impl Mix {
    /// Counts a use, and says whether today is unlike other days by now.
    pub(crate) fn add(&mut self, tool: &Item) -> Option<Unlike> {
        self.uses += 1;
        match self.tools.iter_mut().find(|share| share.tool == tool.hash) {
            Some(share) => share.today += 1,
            None => {
                if self.tools.len() == TOOLS_MAX {
                    let least = (0..TOOLS_MAX).min_by(|a, b| self.tools[*a].usual.total_cmp(&self.tools[*b].usual));
                    self.tools.remove(least.unwrap_or(0));
                }
                self.tools.push(Share { tool: tool.hash, today: 1, usual: 0.0 });
            }
        }
        // Each doubling is looked at, and not each use.
        if self.days < DAYS_MIN
            || self.uses < USES_MIN
            || !(self.uses / USES_MIN).is_power_of_two()
            || !self.uses.is_multiple_of(USES_MIN)
        {
            return None;
        }
        let divergence = self.divergence();
        if divergence < DIVERGENCE_MIN.max(self.mean + DEVIATIONS * self.deviation.max(DEVIATION_MIN)) {
            return None;
        }
        self.flagged = true;
        Some(Unlike { observed: f64::from(divergence), expected: f64::from(self.mean), days: u32::from(self.days) })
    }

    /// The day is over.
    pub(crate) fn close(&mut self) {
        if self.uses >= USES_MIN {
            self.flagged_days = if self.flagged { self.flagged_days + 1 } else { 0 };
            if !self.flagged || self.flagged_days > 5 {
                let divergence = self.divergence();
                self.days = self.days.saturating_add(1);
                if self.days > 1 {
                    let weight = FOLLOW.max(1.0 / f32::from(self.days - 1));
                    let off = divergence - self.mean;
                    self.mean += weight * off;
                    self.deviation += weight * (off.abs() * 1.25 - self.deviation);
                }
                let weight = FOLLOW.max(1.0 / f32::from(self.days));
                for share in &mut self.tools {
                    share.usual += weight * (share.today as f32 / self.uses as f32 - share.usual);
                }
            }
        }
        self.tools.iter_mut().for_each(|share| share.today = 0);
        self.tools.retain(|share| share.usual > 1e-3);
        self.uses = 0;
        self.flagged = false;
    }

    /// Jensen-Shannon divergence of today's proportions from the usual ones, in bits.
    fn divergence(&self) -> f32 {
        let usual: f32 = self.tools.iter().map(|share| share.usual).sum::<f32>().max(1e-6);
        let towards = |p: f32, q: f32| if p > 0.0 { p * (2.0 * p / (p + q)).log2() } else { 0.0 };
        let terms = self.tools.iter().map(|share| {
            let (p, q) = (share.today as f32 / self.uses.max(1) as f32, share.usual / usual);
            f32::midpoint(towards(p, q), towards(q, p))
        });
        terms.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mix: &mut Mix, uses: u32, tool: impl Fn(u32) -> u32) -> bool {
        let told = (0..uses).filter_map(|index| mix.add(&Item { hash: tool(index), name: String::new() })).count();
        mix.close();
        told > 0
    }

    #[test]
    fn other_proportions_are_told() {
        let mut mix = Mix::default();
        for day in 0..30 {
            assert!(!run(&mut mix, 100 + day % 7, |index| if index % 10 < 7 { 1 } else { 2 + index % 3 }), "{day}");
        }
        assert!(run(&mut mix, 100, |index| if index % 10 < 7 { 4 } else { 1 }));
        assert!(!run(&mut mix, 100, |index| if index % 10 < 7 { 1 } else { 2 + index % 3 }));
    }
}
