//! Shifts of a measure of many calls (latency, share of errors, length of answers): means of blocks, against the mean and the
//! spread of the blocks before, less what the time of day does to them.

use serde::{Deserialize, Serialize};

use super::page_hinkley::PageHinkley;
use super::{hour_of_week, taken_f32};

/// Calls that a block has at least, where it ends with the hour.
const BLOCK_MIN: u16 = 32;
/// Calls with which a block ends before the hour does: so that a busy model is judged within minutes.
const BLOCK_MAX: u16 = 256;
/// Blocks from which the level is learnt before anything is said.
const LEARN: u32 = 24;
/// How fast the level follows later.
const FOLLOW: f32 = 1.0 / 60.0;
/// Deviations beyond which a block is not learnt from.
const ODD: f32 = 3.0;
/// Most deviations that a block counts for.
const STEP_MAX: f32 = 6.0;
/// Page-Hinkley over deviations: a shift is borne up to one deviation, and told when the sum is so many.
const BORNE: f64 = 1.0;
/// See [`BORNE`].
const ALARM: f64 = 12.0;
/// The least deviation that is believed where no caller asks for more: a level that never moved has none.
const FLOOR: f32 = 1e-6;
/// The sum forgets, so that what piled up last month does not speak today.
const KEPT: f64 = 0.98;

/// Days on which an hour was seen before blocks in it are judged: what is usual then is not known before.
const HOUR_DAYS_MIN: u8 = 2;
/// How fast an hour follows, from day to day: slower than a shift is told, so that none is taken for the time of day.
const HOUR_FOLLOW: f32 = 0.125;

/// By how much the hours of a day are above or below the level, on working days and at weekends. Who asks for what, and how busy a provider is, depends on the time of day: a
/// level for all hours is off twice a day, and a night that a few programs have to themselves is no shift.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Hours {
    off: [[f32; 24]; 2],
    days: [[u8; 24]; 2],
    /// The hour that runs, and what came in it so far.
    now: u32,
    sum: f32,
    blocks: u16,
    is_odd: bool,
}

/// The level of a measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    calls: u16,
    sum: f32,
    hour: u32,
    since: u32,
    blocks: u32,
    mean: f32,
    deviation: f32,
    /// The last blocks, without regard to whether they are odd.
    recent: f32,
    hours: Hours,
    test: PageHinkley,
}

/// A shift that was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shifted {
    /// Where the measure is now.
    pub observed: f32,
    /// Where it was.
    pub expected: f32,
    /// Blocks that this rests on.
    pub support: u32,
    /// Whether it went up.
    pub up: bool,
}

impl Default for Shift {
    fn default() -> Self {
        // Values are deviations from a level that is known, so the test needs no values of its own to begin.
        let test = PageHinkley::new(1, BORNE, ALARM, KEPT);
        Self {
            calls: 0,
            sum: 0.0,
            hour: 0,
            since: 0,
            blocks: 0,
            mean: 0.0,
            deviation: 0.0,
            recent: 0.0,
            hours: Hours::default(),
            test,
        }
    }
}

impl Shift {
    /// Adds the measure of a call in the hour `hour` (since 1970). `floor` is the least deviation that is believed, and nothing
    /// is said in the first `hours_min` hours. What is no number is passed over.
    pub fn add(&mut self, value: f32, hour: u32, floor: f32, hours_min: u32) -> Option<Shifted> {
        let value = taken_f32(value)?;
        if self.since == 0 {
            self.since = hour.max(1);
        }
        let ends = (hour != self.hour && self.calls >= BLOCK_MIN) || self.calls >= BLOCK_MAX;
        let told = if ends { self.close(floor, hour.saturating_sub(self.since) >= hours_min) } else { None };
        self.hour = hour;
        self.calls += 1;
        self.sum += value;
        told
    }

    fn close(&mut self, floor: f32, may_speak: bool) -> Option<Shifted> {
        let whole = self.sum / f32::from(self.calls.max(1));
        (self.calls, self.sum) = (0, 0.0);
        let (off, days) = self.hours.turn_to(self.hour);
        let block = whole - off;
        self.recent = if self.blocks == 0 { block } else { self.recent + (block - self.recent) / 2.0 };
        if self.blocks < LEARN || !may_speak {
            self.blocks += 1;
            let weight = (1.0 / self.blocks as f32).max(FOLLOW);
            self.learn(block, weight);
            self.hours.add(whole - self.mean, false);
            return None;
        }
        if days < HOUR_DAYS_MIN {
            self.hours.add(whole - self.mean, false);
            return None;
        }
        let scale = (self.deviation * 1.25).max(floor.min(f32::MAX)).max(FLOOR);
        let off = ((block - self.mean) / scale).clamp(-STEP_MAX, STEP_MAX);
        if let Some(up) = self.test.add(f64::from(off)) {
            let shifted = Shifted { observed: self.recent, expected: self.mean, support: self.blocks, up };
            // What it is now is the level from now on, learnt anew: that is told once. The time of day does to it what it did.
            let hours = Hours { blocks: 0, sum: 0.0, ..std::mem::take(&mut self.hours) };
            *self = Self { hour: self.hour, since: self.since, hours, ..Self::default() };
            return Some(shifted);
        }
        self.hours.add(whole - self.mean, off.abs() >= ODD);
        if off.abs() < ODD {
            self.blocks = self.blocks.saturating_add(1);
            self.learn(block, FOLLOW);
        }
        None
    }

    fn learn(&mut self, block: f32, weight: f32) {
        let off = block - self.mean;
        self.mean += weight * off;
        if self.blocks > 1 {
            self.deviation += weight * (off.abs() - self.deviation);
        }
    }
}

impl Hours {
    /// Turns to an hour: by how much it is off, and on how many days it was seen. What came in the one before is learnt when it is over, and
    /// not while it runs.
    fn turn_to(&mut self, hour: u32) -> (f32, u8) {
        if hour != self.now {
            if self.blocks > 0 && !self.is_odd {
                let (kind, before) = place(self.now);
                let (off, days) = (&mut self.off[kind][before], &mut self.days[kind][before]);
                let weight = (1.0 / (f32::from(*days) + 1.0)).max(HOUR_FOLLOW);
                *off += weight * (self.sum / f32::from(self.blocks) - *off);
                *days = days.saturating_add(1);
            }
            (self.now, self.sum, self.blocks, self.is_odd) = (hour, 0.0, 0, false);
        }
        let (kind, of_day) = place(hour);
        (self.off[kind][of_day], self.days[kind][of_day])
    }

    /// A block in the hour that runs, less the level.
    fn add(&mut self, off: f32, is_odd: bool) {
        self.sum += off;
        self.blocks = self.blocks.saturating_add(1);
        self.is_odd |= is_odd;
    }
}

/// The kind of day (0 working, 1 weekend) and the hour of the day.
fn place(hour: u32) -> (usize, usize) {
    let of_week = hour_of_week(hour) as usize;
    (usize::from(of_week >= 120), of_week % 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first shift that is told, of those that have moved by `least` or more.
    fn run(least: f32, level: impl Fn(u32) -> f32) -> Option<(u32, Shifted)> {
        let mut shift = Shift::default();
        (0..40 * 24).find_map(|hour| {
            let values = (0..50_u32).map(|call| level(hour) + ((hour * 50 + call) * 7 % 13) as f32 / 13.0 - 0.5);
            let told = values.filter_map(|value| shift.add(value, hour + 1, 0.05, 72));
            told.filter(|shifted| (shifted.observed - shifted.expected).abs() >= least).last().map(|shifted| (hour, shifted))
        })
    }

    #[test]
    fn a_shift_is_told_within_hours_and_a_daily_wave_is_not() {
        let wave = |hour: u32| 6.0 + 0.2 * (f64::from(hour % 24) / 24.0 * std::f64::consts::TAU).sin() as f32;
        assert_eq!(run(0.0, wave), None);
        let (hour, shifted) = run(0.0, |hour| wave(hour) + if hour >= 600 { 1.0 } else { 0.0 }).unwrap();
        assert!((600..612).contains(&hour) && shifted.up && shifted.observed > shifted.expected, "{hour} {shifted:?}");
    }

    #[test]
    fn nights_and_weekends_of_other_work_are_no_shift_and_hide_none() {
        // By day and in the week people ask; the rest is a program's, whose answers are others.
        let work = |hour: u32| {
            let is_day = (8..18).contains(&(hour % 24)) && hour_of_week(hour) < 120;
            if is_day { 0.2 } else { 0.8 }
        };
        // A noise of its own for each day, as days have.
        let day = |hour: u32| ((f64::from(hour / 24) * 0.618_033_988_75).fract() - 0.5) as f32 * 0.08;
        assert_eq!(run(0.08, |hour| work(hour) + day(hour)), None);
        let (hour, shifted) = run(0.08, |hour| work(hour) + day(hour) + if hour >= 700 { 0.15 } else { 0.0 }).unwrap();
        assert!((700..760).contains(&hour) && shifted.up, "{hour} {shifted:?}");
    }
}
