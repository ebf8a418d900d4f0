//! How much an application does, hour by hour, against the hour of the week.

use serde::{Deserialize, Serialize};

use super::insight::{Insight, Name};
use crate::stats::{Season, Spot};

/// The probability with which an ordinary hour is extreme: one in seven weeks or so of hours for each direction.
const RISK: f64 = 1e-5;
/// Hours that a season rests on before anything is said: two weeks.
const SUPPORT_MIN: u32 = 336;
/// Hours of the first week, in which what is expected is a guess, and how far it is off no measure.
const WEEK: u32 = 168;
/// The least calls and tokens, in an hour, that are told.
const LEAST: [f64; 2] = [100.0, 500_000.0];
/// The least that is expected in an hour whose lack is told.
const DROP_LEAST: f64 = 100.0;
/// The least factor between what is and what is expected.
const FACTOR_MIN: f64 = 2.0;

/// The volume of an application.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Volume {
    seasons: [Season; 2],
    above: [Spot; 2],
    below: Spot,
    current: [f32; 2],
    flagged: [bool; 2],
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            seasons: Default::default(),
            above: [Spot::new(RISK), Spot::new(RISK)],
            below: Spot::new(RISK),
            current: [0.0; 2],
            flagged: [false; 2],
        }
    }
}

impl Volume {
    /// Counts calls and tokens in an hour that runs.
    pub(crate) fn add(&mut self, hour: u32, calls: f64, tokens: f64, out: &mut Vec<Insight>) {
        for (which, (value, name)) in
            [(calls, Name::ApplicationVolumeSpike), (tokens, Name::ApplicationTokenFlood)].into_iter().enumerate()
        {
            if value == 0.0 {
                continue;
            }
            self.current[which] += value as f32;
            let observed = f64::from(self.current[which]);
            if self.flagged[which] || observed < LEAST[which] || self.seasons[which].support() < SUPPORT_MIN {
                continue;
            }
            let (Some(expected), Some(extreme)) = (self.seasons[which].expected(hour), self.above[which].extreme()) else {
                continue;
            };
            let usual = f64::from(expected).exp() - 1.0;
            if (1.0 + observed).ln() > f64::from(expected) + extreme && observed > usual * FACTOR_MIN {
                self.flagged[which] = true;
                out.push(Insight::new(name, observed, usual, self.seasons[which].support(), 0.0));
            }
        }
    }

    /// The hour is over, and only a part of it was seen.
    pub(crate) fn discard(&mut self) {
        self.current = [0.0; 2];
        self.flagged = [false; 2];
    }

    /// The hour is over.
    pub(crate) fn close(&mut self, hour: u32, out: &mut Vec<Insight>) {
        for which in 0..2 {
            let value = (1.0 + f64::from(self.current[which])).ln();
            let expected = self.seasons[which].expected(hour).filter(|_| self.seasons[which].support() >= WEEK).map(f64::from);
            if let Some(expected) = expected {
                self.above[which].add(value - expected);
                if which == 0 && self.below.add(expected - value) && self.seasons[0].support() >= SUPPORT_MIN {
                    let (usual, observed) = (expected.exp() - 1.0, f64::from(self.current[0]));
                    if usual >= DROP_LEAST && usual > observed * FACTOR_MIN {
                        out.push(Insight::new(Name::ApplicationVolumeDrop, observed, usual, self.seasons[0].support(), 0.0));
                    }
                }
            }
            if !self.flagged[which] {
                self.seasons[which].learn(hour, value as f32);
            }
        }
        self.current = [0.0; 2];
        self.flagged = [false; 2];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week(volume: &mut Volume, first: u32, weeks: u32, calls: impl Fn(u32) -> f64) -> Vec<(u32, Name)> {
        let mut said = Vec::new();
        for hour in first..first + weeks * 168 {
            let mut out = Vec::new();
            volume.add(hour, calls(hour), 0.0, &mut out);
            volume.close(hour, &mut out);
            said.extend(out.into_iter().map(|insight| (hour, insight.name)));
        }
        said
    }

    #[test]
    fn the_hour_of_the_week_is_expected_and_what_exceeds_it_is_told() {
        // 300 by day and 20 by night, a third at weekends, and a little noise.
        let usual = |hour: u32| {
            let base = if (8..18).contains(&(hour % 24)) { 300.0 } else { 20.0 };
            let weekend = if crate::stats::hour_of_week(hour) >= 120 { 3.0 } else { 1.0 };
            (base / weekend * (0.9 + f64::from(hour * 7_919 % 100) / 500.0)).round()
        };
        let mut volume = Volume::default();
        let start = 20_780 * 24;
        assert_eq!(week(&mut volume, start, 8, usual), []);
        let night = start + 8 * 168 + 3;
        let said = week(&mut volume, start + 8 * 168, 1, |hour| if hour == night { 290.0 } else { usual(hour) });
        assert_eq!(said, [(night, Name::ApplicationVolumeSpike)]);
        let noon = start + 9 * 168 + 12;
        let said = week(&mut volume, start + 9 * 168, 1, |hour| if hour == noon { 0.0 } else { usual(hour) });
        assert_eq!(said, [(noon, Name::ApplicationVolumeDrop)]);
    }
}
