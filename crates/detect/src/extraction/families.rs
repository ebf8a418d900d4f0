//! Templates of an application, over all of its accounts: what no account shows alone.

use serde::{Deserialize, Serialize};

use super::Seen;
use crate::behaviour::{Bounded, Insight, Name};
use crate::stats::Distinct;

/// Most templates that are remembered, over all applications: those that were filled most recently.
const FAMILIES_MAX: usize = 65_536;
/// Fillings of a template before its accounts are told apart.
const SKETCHED_FROM: u32 = 8;
/// Days after which a template is the application's own, if several fill it.
const OWN_DAYS: u32 = 7;
/// Accounts that make a template everybody's.
const COMMON_ACCOUNTS: f64 = 3.0;
/// Different fillings in a day, and accounts, of a sweep.
const FILLINGS_MIN: f64 = 200.0;
/// See [`FILLINGS_MIN`].
const ACCOUNTS_MIN: f64 = 5.0;
/// Days for which an application is known before a template is new in it.
const KNOWN_DAYS_MIN: u32 = 7;

/// The templates, by application and template.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Families(Bounded<(u64, u64), Family>);

#[derive(Debug, Serialize, Deserialize)]
struct Family {
    first_day: u32,
    day: u32,
    today: u32,
    told: bool,
    sketches: Option<Box<Sketches>>,
}

/// Who fills it, ever; and today how.
#[derive(Debug, Serialize, Deserialize)]
struct Sketches {
    accounts: Distinct,
    accounts_today: Distinct,
    fillings_today: Distinct,
    /// The account with the most fillings today, as far as it held its place (Boyer and Moore 1981).
    busiest: u64,
    busiest_count: u32,
}

impl Families {
    pub(crate) fn new() -> Self {
        Self(Bounded::new(FAMILIES_MAX))
    }

    /// Whether a template is the application's own: several have filled it for days.
    pub(crate) fn is_common(&mut self, scope: u64, template: u64, day: u32) -> bool {
        self.0.get(&(scope, template)).is_some_and(|family| {
            let accounts = family.sketches.as_ref().map_or(0.0, |sketches| sketches.accounts.count());
            day.saturating_sub(family.first_day) >= OWN_DAYS && accounts >= COMMON_ACCOUNTS
        })
    }

    /// Counts a filling. `known_for`: days for which the application is known.
    pub(crate) fn observe(&mut self, seen: &Seen<'_>, template: u64, filling: u64, known_for: u32) -> Option<Insight> {
        let day = seen.day;
        let family =
            self.0.entry((seen.scope, template), || Family { first_day: day, day, today: 0, told: false, sketches: None });
        if family.day != day {
            (family.day, family.today, family.told) = (day, 0, false);
            if let Some(sketches) = &mut family.sketches {
                (sketches.busiest, sketches.busiest_count) = (0, 0);
                (sketches.accounts_today, sketches.fillings_today) = (Distinct::new()?, Distinct::new()?);
            }
        }
        family.today = family.today.saturating_add(1);
        if family.sketches.is_none() && family.today >= SKETCHED_FROM {
            family.sketches = Sketches::new().map(Box::new);
        }
        let sketches = family.sketches.as_mut()?;
        sketches.add(seen.account, filling);
        if family.told
            || known_for < KNOWN_DAYS_MIN
            || day.saturating_sub(family.first_day) >= OWN_DAYS
            || f64::from(family.today) < FILLINGS_MIN
        {
            return None;
        }
        let (accounts, fillings) = (sketches.accounts_today.count(), sketches.fillings_today.count());
        if accounts < ACCOUNTS_MIN || fillings < FILLINGS_MIN {
            return None;
        }
        family.told = true;
        let busiest = f64::from(sketches.busiest_count);
        Some(Insight::new(Name::ApplicationTemplateSweep, fillings, accounts, known_for, busiest))
    }
}

impl Sketches {
    fn new() -> Option<Self> {
        let (accounts, accounts_today, fillings_today) = (Distinct::new()?, Distinct::new()?, Distinct::new()?);
        Some(Self { accounts, accounts_today, fillings_today, busiest: 0, busiest_count: 0 })
    }

    fn add(&mut self, account: u64, filling: u64) {
        self.accounts.add(account);
        self.accounts_today.add(account);
        self.fillings_today.add(filling);
        if self.busiest == account {
            self.busiest_count += 1;
        } else if self.busiest_count == 0 {
            (self.busiest, self.busiest_count) = (account, 1);
        } else {
            self.busiest_count -= 1;
        }
    }
}
