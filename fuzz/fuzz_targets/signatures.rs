//! Signature files: no bytes make the loader panic, an error names its file, and what loads inspects without a panic.
#![no_main]

use event::Channel;
use inspect::Inspector;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|yaml: &str| {
    let sources = [("fuzz.yaml".to_owned(), yaml.to_owned())];
    let problems = Inspector::check(&sources);
    match Inspector::from_sources(&sources) {
        Ok(inspector) => {
            assert!(problems.is_empty(), "{problems:?}");
            let _ = inspector.inspect(yaml, Channel::Tool, None);
        }
        Err(_) => assert!(!problems.is_empty()),
    }
});
