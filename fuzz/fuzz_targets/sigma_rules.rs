//! Sigma rules of anybody: no text makes the loader overflow, panic or take long; what loads matches, is explained, and is the same the
//! next time.
#![no_main]

use std::path::PathBuf;

use detect::{RuleSet, Runner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let files = || vec![(PathBuf::from("fuzz.yml"), text.to_owned())];
    let Ok(rules) = RuleSet::of_files(files()) else { return };
    assert_eq!(RuleSet::of_files(files()).unwrap().digest(), rules.digest());
    let ids: Vec<String> = rules.rules().map(|rule| rule.id.clone()).collect();
    let mut runner = Runner::new(rules);
    for second in 0..3 {
        let event = serde_json::json!({ "@timestamp": second, "a": text, "b": [1, 2, { "c": "x" }], "gen_ai.tool.name": "x" });
        runner.next(&event);
        for id in &ids {
            let told = runner.explain(id, &event).unwrap();
            // Whoever asked reads it again.
            serde_json::from_str::<detect::Explanation>(&serde_json::to_string(&told).unwrap()).unwrap();
        }
    }
});
