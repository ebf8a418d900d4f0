//! Sigma as others read it: verdicts of matching, filters and correlations on generated events beside those of `rsigma`, whose matcher we
//! use and whose correlations and filters we do not.

#![expect(clippy::unwrap_used, reason = "tests may fail")]

mod generated;
mod hostile;
mod sets;

use std::collections::BTreeSet;

use rsigma_eval::{CorrelationConfig, CorrelationEngine, JsonEvent};
use rsigma_parser::parse_sigma_yaml;
use watchkeeper_detect::{RuleSet, Runner};

use crate::generated::{Random, event, rules};

/// A verdict: the event's index, the rule's title.
type Verdicts = BTreeSet<(usize, String)>;

fn ours(yaml: &str, events: &[serde_json::Value]) -> Verdicts {
    let set = RuleSet::of_files(vec![("r.yml".into(), yaml.to_owned())]).unwrap();
    assert_eq!(set.problems(), [], "{yaml}");
    let mut runner = Runner::new(set);
    let told = events
        .iter()
        .enumerate()
        .flat_map(|(index, event)| runner.next(event).into_iter().map(move |found| (index, found.title)));
    told.collect()
}

fn theirs(yaml: &str, events: &[serde_json::Value]) -> Verdicts {
    let collection = parse_sigma_yaml(yaml).unwrap();
    let mut engine = CorrelationEngine::new(CorrelationConfig::default());
    engine.add_collection(&collection).unwrap();
    // What only correlations without `generate` speak for is silent with us; there it is told whatever they say.
    let referred = |generate: bool| -> BTreeSet<&String> {
        collection.correlations.iter().filter(|one| one.generate == generate).flat_map(|one| &one.rules).collect()
    };
    let (with, without) = (referred(true), referred(false));
    let names = collection.rules.iter().map(|rule| (&rule.name, &rule.title));
    let names = names.chain(collection.correlations.iter().map(|rule| (&rule.name, &rule.title)));
    let is_silent = |name: &String| without.contains(name) && !with.contains(name);
    let silent: BTreeSet<&String> =
        names.filter(|(name, _)| name.as_ref().is_some_and(is_silent)).map(|(_, title)| title).collect();
    let mut all = Verdicts::new();
    for (index, value) in events.iter().enumerate() {
        let found = engine.process_event_at(&JsonEvent::borrow(value), value["@timestamp"].as_i64().unwrap());
        // Events that say nothing of what is grouped by are not one group with us.
        let of_nobody = |one: &rsigma_eval::EvaluationResult| {
            let grouped =
                collection.correlations.iter().any(|rule| rule.title == one.header.rule_title && !rule.group_by.is_empty());
            grouped && one.as_correlation().is_some_and(|body| body.group_key.is_empty())
        };
        let told = found
            .into_iter()
            .filter(|one| !of_nobody(one))
            .map(|one| one.header.rule_title)
            .filter(|title| !silent.contains(title));
        all.extend(told.map(|title| (index, title)));
    }
    all
}

/// Rules and events are made from seeds; each seed that differs is printed with what differs.
#[test]
fn verdicts_are_those_of_rsigma() {
    let mut compared = 0;
    for seed in 0..150_u64 {
        let mut random = Random::new(seed);
        let yaml = rules(&mut random);
        let mut time_s = 1_000_000;
        let events: Vec<serde_json::Value> = (0..200)
            .map(|_| {
                time_s += i64::try_from(random.below(12)).unwrap();
                event(&mut random, time_s)
            })
            .collect();
        let (ours, theirs) = (ours(&yaml, &events), theirs(&yaml, &events));
        let only_ours: Vec<_> = ours.difference(&theirs).take(5).collect();
        let only_theirs: Vec<_> = theirs.difference(&ours).take(5).collect();
        assert!(
            only_ours.is_empty() && only_theirs.is_empty(),
            "seed {seed}: only ours {only_ours:?}, only theirs {only_theirs:?}\n{yaml}"
        );
        compared += theirs.len();
    }
    assert!(compared > 10_000, "{compared}: the generated events set off too little to compare");
}
