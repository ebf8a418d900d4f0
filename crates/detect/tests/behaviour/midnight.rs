//! What goes on over midnight (UTC) is not counted in halves.

use watchkeeper_detect::behaviour::Behaviour;

use crate::company::{DAY_S, FIRST_DAY, Happening};

/// Of whom nothing is known is told at so many fillings of one template in a day.
const TOLD_AT: i64 = 250;

/// Somebody who fills one template.
struct Sweep {
    behaviour: Behaviour,
    number: u64,
    told: Vec<String>,
}

impl Sweep {
    fn new() -> Self {
        Self { behaviour: Behaviour::new(), number: 0, told: Vec::new() }
    }

    /// So many fillings, of which the first is at that second of the first day.
    fn fill(&mut self, count: i64, from_s: i64, every_s: i64) {
        for index in 0..count {
            let word = |place: u64| format!("word{}", self.number * 7 + place);
            let happening = Happening {
                time_s: i64::from(FIRST_DAY) * DAY_S + from_s + index * every_s,
                application: "assistant".to_owned(),
                user: Some("somebody".to_owned()),
                model: Some("model-1".to_owned()),
                prompt: Some(format!("Give the opposite of these words only: {} {} {}", word(0), word(1), word(2))),
                ..Happening::default()
            };
            let (event, text) = happening.event(self.number);
            self.number += 1;
            let said = self.behaviour.observe(&event, &mut |_| text.clone());
            self.told.extend(said.into_iter().map(|insight| insight.name.as_str().to_owned()));
        }
    }

    fn is_told(&self) -> bool {
        self.told.iter().any(|name| name == "account_template_sweep")
    }
}

#[test]
fn a_sweep_is_told_wherever_midnight_splits_it() {
    const COUNT: i64 = 320;
    const EVERY_S: i64 = 6;
    let whole_s = COUNT * EVERY_S;
    for tenth in 0..=10 {
        let mut sweep = Sweep::new();
        sweep.fill(COUNT, DAY_S - whole_s * tenth / 10, EVERY_S);
        assert!(sweep.is_told(), "{tenth} tenths before midnight: {:?}", sweep.told);
    }
}

#[test]
fn a_sweep_over_midnight_is_told_over_a_restart() {
    let mut sweep = Sweep::new();
    sweep.fill(TOLD_AT / 2, DAY_S - TOLD_AT / 2 * 6, 6);
    sweep.behaviour = Behaviour::from_bytes(&sweep.behaviour.to_bytes().unwrap()).unwrap();
    sweep.fill(TOLD_AT / 2 - 1, DAY_S, 6);
    assert!(!sweep.is_told(), "one is missing");
    sweep.fill(1, DAY_S + TOLD_AT / 2 * 6, 6);
    assert!(sweep.is_told());
}

#[test]
fn two_days_work_with_a_pause_between_is_not_a_sweep() {
    // By day and on the day after; and up to midnight, and on after a short night.
    for (until_s, pause_s) in [(17 * 3_600, 16 * 3_600), (DAY_S - 60, 31 * 60)] {
        let mut sweep = Sweep::new();
        let count = TOLD_AT - 1;
        sweep.fill(count, until_s - (count - 1) * 20, 20);
        sweep.fill(count, until_s + pause_s, 20);
        assert!(!sweep.is_told(), "{:?}", sweep.told);
    }
}

#[test]
fn a_machine_that_never_pauses_is_not_told_when_one_of_its_days_is_half_as_long_again() {
    const EVERY_S: i64 = 600;
    const DAYS: i64 = 30;
    let mut sweep = Sweep::new();
    let from_s = 15 * 3_600;
    sweep.fill((DAYS * DAY_S - from_s) / EVERY_S, from_s, EVERY_S);
    // It is off for half an hour after midnight, so that the day behind it begins then and ends at noon of the next one.
    let again_s = DAYS * DAY_S + 40 * 60;
    sweep.fill(4 * DAY_S / EVERY_S, again_s, EVERY_S);
    assert_eq!(sweep.told, Vec::<String>::new());
    // But it is when it sends eight times as much: more than twice and a half of the longest day that is known.
    sweep.fill(DAY_S * 8 / EVERY_S, again_s + 4 * DAY_S, EVERY_S / 8);
    assert!(sweep.is_told(), "{:?}", sweep.told);
}
