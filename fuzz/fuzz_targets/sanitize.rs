//! The sanitiser: no text makes it panic, and what it has cleaned it leaves alone, also with actions and types of the operator's
//! own.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sanitize::{Policy, PolicySpec, Sanitizer, TokenKey};

const POLICY: &str = r#"{
    "actions": {"EMAIL": "keep", "PHONE": "mask", "secrets": "drop"},
    "types": [
        {"name": "EMPLOYEE_ID", "pattern": "E-\\d{6}", "positive": ["E-123456"]},
        {"name": "ANY", "pattern": "[a-z0-9:]{4,40}", "keywords": ["any"], "action": "mask", "positive": ["any1"]}
    ]
}"#;

static SANITIZERS: LazyLock<Vec<Sanitizer>> = LazyLock::new(|| {
    let spec: PolicySpec = serde_json::from_str(POLICY).expect("the policy is JSON");
    let sanitizer = || Sanitizer::new(TokenKey::new([7; 32], "v26"));
    vec![sanitizer(), sanitizer().with_policy(Policy::new(&spec).expect("the policy is good"))]
});

fuzz_target!(|text: &str| {
    for sanitizer in SANITIZERS.iter() {
        let cleaned = sanitizer.text(text);
        assert_eq!(sanitizer.text(&cleaned.text).text, cleaned.text);
        let _ = sanitizer.json(text);
    }
});
