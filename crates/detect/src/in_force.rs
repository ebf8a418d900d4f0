//! From which record on each rule is in force.
//!
//! Detection reads its epoch anew when it begins anew, and what it finds there is told already: but not by a rule that came later. What
//! such a rule finds in records that came before it was told to nobody. So it spends no budget, silences nothing and is no risk.

use std::collections::BTreeMap;

use journal::Seq;
use serde::{Deserialize, Serialize};

use crate::carried;
use crate::rules::RuleSet;

/// The records from which on rules are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce(BTreeMap<u64, u64>);

impl InForce {
    /// The rules of a set, which are in force now: those that were in force before as long as they were, others from `from` on. Where
    /// nothing is known of before, all are taken to have been there from the beginning.
    #[must_use]
    pub fn of(rules: &RuleSet, before: Option<&Self>, from: Seq) -> Self {
        let since = |key: &u64| before.map_or(0, |before| before.0.get(key).copied().unwrap_or(from.0));
        Self(carried::keys_of(rules).into_iter().map(|key| (key, since(&key))).collect())
    }

    /// The ids of the rules that are not in force from the beginning, each with the record from which on it is.
    pub(crate) fn later(&self, rules: &RuleSet) -> impl Iterator<Item = (String, Seq)> {
        let keys = carried::keys_of(rules).into_iter();
        let all = keys.zip(rules.rules()).map(|(key, rule)| (rule.id.clone(), Seq(self.0.get(&key).copied().unwrap_or(0))));
        all.filter(|(_, since)| since.0 > 0).collect::<Vec<_>>().into_iter()
    }
}
