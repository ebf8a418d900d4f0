//! A day's prompts of one account.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Seen;
use super::day::Day;
use super::prompt::Prompt;
use crate::behaviour::{Insight, Name, Period, Rate};
use crate::stats::{Distinct, Quantiles};

/// Prompts that are compared with the next one.
const RECENT_MAX: usize = 32;
/// Templates that are counted at once, by the space-saving algorithm (Metwally et al. 2005): one that makes more than a twelfth of
/// the prompts is among them.
const TEMPLATES_MAX: usize = 12;
/// Texts whose near copies are counted at once, likewise.
const PROBED_MAX: usize = 6;
/// Bits of the fingerprint by which near copies differ at the most.
const NEAR_BITS: u32 = 10;
/// Words by which a prompt must go on, and not be merely near.
const CONTINUES_WORDS_MAX: usize = 60;

/// What is counted in a day.
#[derive(Debug, Clone, Copy)]
enum Measure {
    Template,
    Different,
    Probes,
    Chain,
    Scored,
}

const MEASURES: [Measure; 5] = [Measure::Template, Measure::Different, Measure::Probes, Measure::Chain, Measure::Scored];

impl Measure {
    /// The least count of a day that is told when it is unusual; and the one that is told of somebody of whom nothing is known, and
    /// of whose peers nothing is known.
    const fn least(self) -> (f64, f64) {
        match self {
            Self::Template => (80.0, 250.0),
            Self::Different => (250.0, 800.0),
            Self::Probes => (15.0, 40.0),
            Self::Chain => (12.0, 20.0),
            Self::Scored => (50.0, 200.0),
        }
    }
}

/// What is usual for the accounts of an application.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Habits {
    /// The first day.
    pub(crate) since: u32,
    days: [Quantiles; MEASURES.len()],
}

impl Habits {
    pub(crate) fn new(day: u32) -> Self {
        Self { since: day, days: Default::default() }
    }
}

/// An account.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The day that runs, and how many there were with it.
    day: Day,
    days: u16,
    prompts: u32,
    answers: u32,
    rates: [Rate; MEASURES.len()],
    recent: VecDeque<Recent>,
    templates: Vec<Template>,
    probed: Vec<Probed>,
    texts: Option<Box<Distinct>>,
    words: Option<Box<Distinct>>,
    /// The prompt that came last: an agent repeats it with each step.
    last: u64,
    /// Which measures were told of today.
    told: [bool; MEASURES.len()],
}

/// A prompt that came shortly before.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Recent {
    text: u64,
    beginning: u64,
    words: u16,
    /// How many prompts before it each continue the one before.
    depth: u16,
}

/// A template and how often it was filled.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Template {
    hash: u64,
    count: u32,
}

/// A text and its near copies.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Probed {
    print: u64,
    copies: u32,
    scored: u32,
}

impl Account {
    /// Begins another day, if the one that runs is over at `time_s` (seconds since 1970).
    pub(crate) fn turn_to(&mut self, time_s: i64, habits: &mut Habits) {
        // A key is used by applications with clocks of their own: what one tells of days that are over counts today.
        if !self.day.turn_to(time_s) {
            return;
        }
        if self.days > 0 {
            for (index, rate) in self.rates.iter_mut().enumerate() {
                rate.close(Period::Day, &mut habits.days[index]);
            }
        }
        let rates = std::mem::take(&mut self.rates);
        // Chains go on from day to day; counts do not.
        let recent = std::mem::take(&mut self.recent);
        *self = Self { day: self.day, days: self.days.saturating_add(1), rates, recent, last: self.last, ..Self::default() };
    }

    /// Whether a prompt is another one than those just before.
    pub(crate) fn is_new(&mut self, prompt: &Prompt) -> bool {
        std::mem::replace(&mut self.last, prompt.text) != prompt.text && !self.recent.iter().any(|one| one.text == prompt.text)
    }

    pub(crate) fn observe(
        &mut self,
        seen: &Seen<'_>,
        is_new: bool,
        habits: &Habits,
        is_common: &mut dyn FnMut(u64) -> bool,
        out: &mut Vec<Insight>,
    ) {
        self.answers += u32::from(seen.answers);
        if seen.scored {
            self.rates[Measure::Scored as usize].add(1.0);
        }
        if let (Some(prompt), true) = (seen.prompt, is_new) {
            self.add_prompt(prompt, seen.scored, is_common);
        } else if let Some(prompt) = seen.prompt.filter(|_| seen.scored) {
            // The same text again, with scores: the answer of a call whose request was counted.
            self.add_score(prompt);
        }
        for measure in MEASURES {
            self.tell(measure, seen, habits, out);
        }
    }

    fn add_prompt(&mut self, prompt: &Prompt, scored: bool, is_common: &mut dyn FnMut(u64) -> bool) {
        self.prompts += 1;
        for template in prompt.templates() {
            let filled = count(&mut self.templates, template);
            // What everybody fills is the application's own.
            if f64::from(filled) > self.rates[Measure::Template as usize].current() && !is_common(template) {
                self.rates[Measure::Template as usize].set(f64::from(filled));
            }
        }
        add_to(&mut self.texts, std::iter::once(prompt.text));
        add_to(&mut self.words, prompt.subject.iter().map(|word| u64::from(*word)));
        let different = size(self.texts.as_deref());
        self.rates[Measure::Different as usize].set(different);
        self.probe(prompt, scored);
        self.chain(prompt);
    }

    /// Counts a near copy.
    fn probe(&mut self, prompt: &Prompt, scored: bool) {
        let Some(print) = prompt.fingerprint else { return };
        let near = self.probed.iter_mut().find(|one| (one.print ^ print).count_ones() <= NEAR_BITS);
        let probed = match near {
            Some(probed) => {
                probed.copies += 1;
                probed
            }
            None => {
                if self.probed.len() == PROBED_MAX {
                    let least = (0..PROBED_MAX).min_by_key(|index| self.probed[*index].copies).unwrap_or(0);
                    self.probed.swap_remove(least);
                }
                self.probed.push(Probed { print, copies: 0, scored: 0 });
                let last = self.probed.len() - 1;
                &mut self.probed[last]
            }
        };
        probed.scored += u32::from(scored);
        // Copies that are read without scores say less each: four for one.
        let weighed = f64::from(probed.scored.min(probed.copies)) + f64::from(probed.copies.saturating_sub(probed.scored)) / 4.0;
        if weighed > self.rates[Measure::Probes as usize].current() {
            self.rates[Measure::Probes as usize].set(weighed);
        }
    }

    fn add_score(&mut self, prompt: &Prompt) {
        let Some(print) = prompt.fingerprint else { return };
        if let Some(probed) = self.probed.iter_mut().find(|one| (one.print ^ print).count_ones() <= NEAR_BITS) {
            probed.scored += 1;
        }
    }

    /// Looks whether the prompt continues one that came shortly before.
    fn chain(&mut self, prompt: &Prompt) {
        let words = prompt.words.len();
        let continued = self.recent.iter().filter(|one| {
            let shorter = usize::from(one.words);
            shorter >= 3
                && shorter < words
                && words - shorter <= CONTINUES_WORDS_MAX
                && prompt.beginning(shorter) == Some(one.beginning)
        });
        let depth = continued.map(|one| one.depth + 1).max().unwrap_or(0);
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        let beginning = prompt.beginning(words).unwrap_or_default();
        let words = u16::try_from(words).unwrap_or(u16::MAX);
        self.recent.push_back(Recent { text: prompt.text, beginning, words, depth });
        if f64::from(depth) > self.rates[Measure::Chain as usize].current() {
            self.rates[Measure::Chain as usize].set(f64::from(depth));
        }
    }

    fn tell(&mut self, measure: Measure, seen: &Seen<'_>, habits: &Habits, out: &mut Vec<Insight>) {
        let index = measure as usize;
        let rate = &mut self.rates[index];
        let (least, unknown) = measure.least();
        let observed = rate.current();
        if self.told[index] || observed < least {
            return;
        }
        let learns = self.days <= crate::behaviour::LEARN_DAYS;
        let usual = rate.usual();
        let beyond = rate.check(Period::Day, least, learns, &habits.days[index], self.day.number());
        let has_support = (!learns && usual > 0.0) || habits.days[index].support() >= Period::Day.peers_min();
        // Structure speaks for itself where nothing is known, if there is very much of it; a whole program may well be a batch job.
        let is_plain = !has_support && seen.programs.is_some_and(|times| observed >= unknown * times);
        if beyond.is_none() && !is_plain {
            return;
        }
        let share = observed / f64::from(self.prompts.max(1));
        let words = size(self.words.as_deref());
        let of_template = self.rates[Measure::Template as usize].current() / f64::from(self.prompts.max(1));
        let scored = self.rates[Measure::Scored as usize].current();
        let (name, peers) = match measure {
            Measure::Template if share < 0.4 => return,
            Measure::Template => (Name::AccountTemplateSweep, share),
            // Prompts of one template are told of as such.
            Measure::Different if of_template >= 0.4 || words < observed * 2.0 => return,
            Measure::Different => (Name::AccountCoverageSweep, words),
            Measure::Probes => {
                let most = self.probed.iter().max_by_key(|one| one.copies);
                (Name::AccountMembershipProbe, most.map_or(0.0, |one| f64::from(one.scored)))
            }
            Measure::Chain => (Name::AccountInversionChain, scored),
            Measure::Scored => (Name::AccountLogprobHarvest, scored / f64::from(self.answers.max(1))),
        };
        self.told[index] = true;
        let (expected, support) = match beyond {
            Some(beyond) if !learns && usual > 0.0 => (usual, beyond.support),
            Some(beyond) => (beyond.peers, beyond.support),
            None => (least, 0),
        };
        out.push(Insight::new(name, observed, expected, support, peers));
    }
}

/// Counts by space saving: the least is replaced, and its count goes on.
fn count(templates: &mut Vec<Template>, hash: u64) -> u32 {
    if let Some(known) = templates.iter_mut().find(|one| one.hash == hash) {
        known.count += 1;
        return known.count;
    }
    if templates.len() < TEMPLATES_MAX {
        templates.push(Template { hash, count: 1 });
        return 1;
    }
    let Some(least) = templates.iter_mut().min_by_key(|one| one.count) else { return 1 };
    *least = Template { hash, count: least.count + 1 };
    // The count of another one is in it, so it is no measure yet.
    1
}

fn add_to(distinct: &mut Option<Box<Distinct>>, hashes: impl Iterator<Item = u64>) {
    if distinct.is_none() {
        *distinct = Distinct::new().map(Box::new);
    }
    if let Some(distinct) = distinct {
        hashes.for_each(|hash| distinct.add(hash));
    }
}

fn size(distinct: Option<&Distinct>) -> f64 {
    distinct.map_or(0.0, Distinct::count)
}
