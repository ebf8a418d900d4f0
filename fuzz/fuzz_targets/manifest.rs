//! Manifests of the archive, and identities of keys: no bytes make the parsers panic, and nothing unsigned passes.
#![no_main]

use std::sync::LazyLock;

use archive::{Manifest, ObjectName, Purpose};
use ledger::{LogKey, VerifierKey};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<LogKey> = LazyLock::new(|| LogKey::generate("fuzz.example/log").unwrap());
static VERIFIERS: LazyLock<Vec<VerifierKey>> = LazyLock::new(|| KEY.verifiers());

fuzz_target!(|input: &[u8]| {
    if let Ok(manifest) = Manifest::open(input, Purpose::Evidence, &VERIFIERS) {
        assert_eq!((manifest.pin().generation, input.len()), (0, 0));
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = (ObjectName::parse(text), archive::parse_identity(text));
    // As a text that the log itself would sign: behind the signature.
    if let Ok(note) = KEY.sign(text) {
        let file = format!("{}\n", note.encode());
        if let Ok(manifest) = Manifest::open(file.as_bytes(), Purpose::Evidence, &VERIFIERS) {
            assert_eq!(manifest.pin().generation, 1);
            assert!(manifest.segments().all(|segment| segment.end <= manifest.end()));
        }
    }
});
