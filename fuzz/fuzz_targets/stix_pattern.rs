//! STIX patterns: no text makes the parser panic or take long, and what it takes is judged without a panic, and the same each time.
#![no_main]

use intel::pattern::{Observation, Pattern};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let Ok(pattern) = Pattern::parse(text) else { return };
    let objects = vec![
        json!({"type": "url", "value": "http://a.example/"}),
        json!({"type": "file", "name": "a.exe", "size": 7, "hashes": {"MD5": "aa"}, "contains_refs": ["0"], "x_hex": "ffd8"}),
        json!({"type": "ipv4-addr", "value": "10.0.0.1"}),
    ];
    let seen = [Observation::at(0, objects.clone()), Observation::at(10_000_000, objects)];
    let verdict = pattern.matches(&seen);
    assert_eq!(verdict, pattern.matches(&seen));
    // A value that decides by itself decides: an object that has it makes the pattern match.
    for atom in pattern.atoms().atoms {
        if atom.path == "url:value" {
            let object = json!({"type": "url", "value": atom.value});
            assert_ne!(pattern.matches(&[Observation::at(0, vec![object])]), Ok(false), "{text}");
        }
    }
});
