//! Whether a user writes about something else than usual: how many of a day's words they have not used before.

use serde::{Deserialize, Serialize};

/// Bits of a table of words. A user's words of one generation are some hundreds.
const BITS: usize = 4_096;
/// Words in a table after which a new one begins; the one before is kept beside it.
const GENERATION_WORDS: u32 = 1_400;
/// Days before anything is said.
const DAYS_MIN: u16 = 12;
/// Fewest different words of a day of which anything is said.
const WORDS_MIN: u32 = 40;
/// How fast the usual share of new words follows.
const FOLLOW: f32 = 1.0 / 20.0;
/// Deviations above what is usual that are borne, and the least share that is told.
const DEVIATIONS: f32 = 5.0;
/// See [`DEVIATIONS`].
const SHARE_MIN: f32 = 0.35;
/// The least deviation that is believed.
const DEVIATION_MIN: f32 = 0.05;

/// A set of words: one bit for each, so that some words pass for known ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Table {
    bits: Vec<u64>,
    words: u32,
}

impl Table {
    fn has(&self, word: u32) -> bool {
        let (at, bit) = place(word);
        self.bits.get(at).is_some_and(|bits| bits >> bit & 1 == 1)
    }

    /// Whether it was not there.
    fn add(&mut self, word: u32) -> bool {
        if self.bits.is_empty() {
            self.bits = vec![0; BITS / 64];
        }
        let (at, bit) = place(word);
        let is_new = self.bits[at] >> bit & 1 == 0;
        self.bits[at] |= 1 << bit;
        self.words += u32::from(is_new);
        is_new
    }

    fn add_all(&mut self, other: &Self) {
        if self.bits.is_empty() {
            self.bits = vec![0; BITS / 64];
        }
        for (mine, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *mine |= theirs;
        }
        self.words = self.bits.iter().map(|bits| bits.count_ones()).sum();
    }
}

fn place(word: u32) -> (usize, u32) {
    let bit = word as usize % BITS;
    (bit / 64, (bit % 64) as u32)
}

/// The words of a user, or of everybody who uses an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Words {
    now: Table,
    before: Table,
    today: Table,
    /// Of today's words those that are new, and those that are new here and known to others.
    new: u32,
    shared: u32,
    days: u16,
    mean: f32,
    deviation: f32,
    flagged: bool,
    flagged_days: u8,
}

/// A day with words that are not the user's.
pub(crate) struct Strange {
    pub(crate) observed: f64,
    pub(crate) expected: f64,
    pub(crate) days: u32,
    pub(crate) peers: f64,
}

impl Words {
    /// Adds words of today, and says whether today's are strange by now.
    pub(crate) fn add(&mut self, words: &[u32], peers: &mut Self) -> Option<Strange> {
        for word in words {
            if self.today.add(*word) {
                let is_new = !self.now.has(*word) && !self.before.has(*word);
                self.new += u32::from(is_new);
                self.shared += u32::from(is_new && (peers.now.has(*word) || peers.before.has(*word)));
            }
        }
        let share = self.share();
        let usual = self.mean + DEVIATIONS * self.deviation.max(DEVIATION_MIN);
        if self.days < DAYS_MIN || self.today.words < WORDS_MIN || share < SHARE_MIN || share < usual {
            return None;
        }
        self.flagged = true;
        let peers = if self.new == 0 { 0.0 } else { f64::from(self.shared) / f64::from(self.new) };
        Some(Strange { observed: f64::from(share), expected: f64::from(self.mean), days: u32::from(self.days), peers })
    }

    /// The day is over.
    pub(crate) fn close(&mut self, peers: &mut Self) {
        if self.today.words == 0 {
            return;
        }
        // After some such days in a row the subject is the user's.
        self.flagged_days = if self.flagged { self.flagged_days + 1 } else { 0 };
        if !self.flagged || self.flagged_days > 3 {
            let share = self.share();
            if self.today.words >= WORDS_MIN / 2 {
                self.days = self.days.saturating_add(1);
                let weight = FOLLOW.max(1.0 / f32::from(self.days));
                // The first days are all new; they are no measure of the later ones.
                if self.days == DAYS_MIN / 3 {
                    (self.mean, self.deviation) = (share, 0.0);
                }
                let off = share - self.mean;
                self.mean += weight * off;
                self.deviation += weight * (off.abs() * 1.25 - self.deviation);
            }
            self.learn();
            peers.now.add_all(&self.today);
            peers.renew();
        }
        self.today = Table::default();
        (self.new, self.shared, self.flagged) = (0, 0, false);
    }

    fn share(&self) -> f32 {
        if self.today.words == 0 { 0.0 } else { self.new as f32 / self.today.words as f32 }
    }

    fn learn(&mut self) {
        let today = std::mem::take(&mut self.today);
        self.now.add_all(&today);
        self.today = today;
        self.renew();
    }

    fn renew(&mut self) {
        if self.now.words > GENERATION_WORDS {
            self.before = std::mem::take(&mut self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extraction::mixed;

    /// Sixty words a day out of the 200 of a subject.
    fn day(subject: u64, day: u64) -> Vec<u32> {
        (0..60).map(|index| mixed(subject * 1_000 + mixed(day * 60 + index) % 200) as u32).collect()
    }

    #[test]
    fn another_subject_is_told_and_the_usual_one_is_not() {
        let (mut words, mut peers) = (Words::default(), Words::default());
        for index in 0..40 {
            assert!(words.add(&day(1, index), &mut peers).is_none(), "{index}");
            words.close(&mut peers);
        }
        let strange = words.add(&day(2, 40), &mut peers).unwrap();
        assert!(strange.observed > 0.6 && strange.expected < 0.3, "{} {}", strange.observed, strange.expected);
        assert!(strange.peers < 0.2);
        words.close(&mut peers);
        assert!(words.add(&day(1, 41), &mut peers).is_none());
    }

    #[test]
    fn few_words_and_few_days_say_nothing() {
        let (mut words, mut peers) = (Words::default(), Words::default());
        for index in 0..u64::from(DAYS_MIN) - 1 {
            assert!(words.add(&day(index, index), &mut peers).is_none(), "{index}");
            words.close(&mut peers);
        }
    }
}
