//! Policies: no bytes make the parser panic, and what it takes decides about a note without a panic.
#![no_main]

use ledger::{Policy, SignedNote};
use libfuzzer_sys::fuzz_target;

const NOTE: &str = "log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} log AAAAAAAB\n";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(policy) = Policy::parse(bytes) {
        let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
        assert!(policy.check(&note).is_err(), "nobody signed it");
        assert!(policy.check_witnesses(&note).is_err() || !policy.needs_witnesses());
    }
});
