//! Attacks by the inference API: what the prompts of an account, and of all accounts of an application, are together.
//!
//! Extraction and training of a proxy model go through a space of inputs: one template with ever new fillings, or very many
//! prompts that are all different. Membership inference asks for one text in many near copies, and reads the scores. Inversion
//! builds a text up, prompt by prompt. Each leaves its own trace in a day's prompts, whatever they say.

mod account;
mod day;
mod families;
mod prompt;

use serde::{Deserialize, Serialize};

use crate::behaviour::{Bounded, Insight};
use account::{Account, Habits};
use families::Families;
pub(crate) use prompt::Prompt;
#[cfg(test)]
pub(crate) use prompt::mixed;

/// Most accounts that are remembered: two kilobytes each, three for those that are busy.
const ACCOUNTS_MAX: usize = 65_536;
/// Most applications of which it is known what is usual for accounts.
const SCOPES_MAX: usize = 4_096;

/// What an event says here.
pub(crate) struct Seen<'a> {
    /// Whose prompts they are, and in which application.
    pub(crate) account: u64,
    pub(crate) scope: u64,
    /// How many times more than a person's are told of an account of whom nothing is known; nothing, where it is a whole program.
    pub(crate) programs: Option<f64>,
    /// Seconds since 1970: the event's own time, by which an account's days end.
    pub(crate) time_s: i64,
    /// Days since 1970 by the application's clock: for what is counted over all of its accounts.
    pub(crate) day: u32,
    /// What was asked.
    pub(crate) prompt: Option<&'a Prompt>,
    /// Whether it was answered with log-probabilities.
    pub(crate) scored: bool,
    /// Whether it says what was answered.
    pub(crate) answers: bool,
}

/// The accounts and the templates.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Extraction {
    accounts: Bounded<u64, Account>,
    habits: Bounded<u64, Habits>,
    families: Families,
}

impl Extraction {
    pub(crate) fn new() -> Self {
        Self { accounts: Bounded::new(ACCOUNTS_MAX), habits: Bounded::new(SCOPES_MAX), families: Families::new() }
    }

    /// Looks at a call of a model.
    pub(crate) fn observe(&mut self, seen: &Seen<'_>, out: &mut Vec<Insight>) {
        let habits = self.habits.entry(seen.scope, || Habits::new(seen.day));
        let account = self.accounts.entry(seen.account, Account::default);
        account.turn_to(seen.time_s, habits);
        let is_new = seen.prompt.is_none_or(|prompt| account.is_new(prompt));
        let known_for = seen.day.saturating_sub(habits.since);
        let mut is_common = |template| self.families.is_common(seen.scope, template, seen.day);
        account.observe(seen, is_new, habits, &mut is_common, out);
        if let (Some(prompt), true) = (seen.prompt, is_new) {
            for template in prompt.templates() {
                out.extend(self.families.observe(seen, template, prompt.text, known_for));
            }
        }
    }
}
