//! What rules have said already: of a tool call, and of a group of a correlation.
//!
//! A tool call is told of by the model's answer, by the tool's span, by the next request: one alarm of a rule is enough. A correlation
//! speaks once for each group and window. What silences a rule is what was *told*: what a spent budget or a bound kept from being told is
//! told when the next event shows it to somebody whose budget is not spent. It is counted, and adds to a risk, once.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::behaviour::Bounded;

/// Most calls and groups that are remembered.
const REMEMBERED_MAX: usize = 65_536;

/// A rule, by its place in the set, and the call or the group.
pub(crate) type What = (usize, u64);

/// What rules have said.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spoken(Bounded<What, Said>);

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Said {
    at_s: u64,
    how: How,
}

/// How far something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    /// It was seen, and nobody decided about it.
    Seen,
    /// It was kept from being told, and counted.
    Kept,
    /// It was told.
    Told,
}

impl Spoken {
    pub(crate) fn new() -> Self {
        Self(Bounded::new(REMEMBERED_MAX))
    }

    /// How far it was said within `span_s` seconds of `now_s`, before or after: sources may deliver late. From now on it was seen.
    pub(crate) fn see(&mut self, what: What, now_s: u64, span_s: u64) -> Option<How> {
        if let Some(said) = self.0.get(&what)
            && said.at_s.abs_diff(now_s) < span_s
        {
            return Some(said.how);
        }
        self.0.put(what, Said { at_s: now_s, how: How::Seen });
        None
    }

    /// Notes what was decided about something that was seen. What is told silences from now on, what is not is remembered as long as
    /// before.
    pub(crate) fn decide(&mut self, what: What, now_s: u64, is_told: bool) {
        let before_s = self.0.get(&what).map_or(now_s, |said| said.at_s);
        let said = match is_told {
            true => Said { at_s: now_s, how: How::Told },
            false => Said { at_s: before_s, how: How::Kept },
        };
        self.0.put(what, said);
    }

    /// Goes on with what an engine before this one knew. `place` gives the place of a rule by the one that it had, where it is the same;
    /// of other rules it knows what it has seen itself.
    pub(crate) fn go_on(&mut self, before: Self, rules_before: usize, place: impl Fn(usize) -> Option<usize>) {
        let known: HashSet<usize> = (0..rules_before).filter_map(&place).collect();
        let mut own = std::mem::replace(self, Self::new());
        while let Some(((rule, what), said)) = own.0.pop_oldest() {
            if !known.contains(&rule) {
                self.0.put((rule, what), said);
            }
        }
        let mut before = before;
        while let Some(((rule, what), said)) = before.0.pop_oldest() {
            if let Some(rule) = place(rule) {
                self.0.put((rule, what), said);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_silences_for_its_time_and_what_was_kept_does_not() {
        let mut spoken = Spoken::new();
        assert_eq!(spoken.see((1, 7), 100, 60), None);
        assert_eq!(spoken.see((1, 7), 110, 60), Some(How::Seen), "a bound left it out");
        spoken.decide((1, 7), 110, false);
        assert_eq!(spoken.see((1, 7), 120, 60), Some(How::Kept));
        spoken.decide((1, 7), 120, true);
        assert_eq!(spoken.see((1, 7), 179, 60), Some(How::Told));
        assert_eq!((spoken.see((1, 7), 61, 60), spoken.see((2, 7), 120, 60)), (Some(How::Told), None));
        assert_eq!(spoken.see((1, 7), 180, 60), None);
    }

    #[test]
    fn it_goes_on_for_rules_that_are_the_same() {
        let (mut before, mut own) = (Spoken::new(), Spoken::new());
        for rule in [0, 1] {
            before.see((rule, 7), 100, 60);
            before.decide((rule, 7), 100, true);
        }
        own.see((0, 7), 100, 60);
        own.see((2, 7), 100, 60);
        // The rule at 1 is at 0 now, that at 0 is no more, and that at 2 is new.
        own.go_on(before, 2, |place| (place == 1).then_some(0));
        assert_eq!((own.see((0, 7), 101, 60), own.see((2, 7), 101, 60)), (Some(How::Told), Some(How::Seen)));
        assert_eq!(own.see((1, 7), 101, 60), None);
    }
}
