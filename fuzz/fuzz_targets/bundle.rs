//! Evidence bundles: no archive makes the reader or the verifier panic, and none that is not signed is taken.
#![no_main]

use evidence::{Bag, Overall, Trust, verify_bag};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bag) = Bag::from_tar_gz(bytes) {
        assert_eq!(verify_bag(&bag, &Trust::default()).overall, Overall::Tampered);
    }
    // Compression hides most of the reader from a fuzzer, so the files are also given as they are: name, NUL, bytes, NUL.
    let mut bag = Bag::default();
    let mut parts = bytes.split(|byte| *byte == 0);
    while let (Some(name), Some(file)) = (parts.next(), parts.next()) {
        let _ = bag.put(&String::from_utf8_lossy(name), file.to_vec());
    }
    if bag.close().is_ok() {
        assert_eq!(verify_bag(&bag, &Trust::default()).overall, Overall::Tampered);
    }
    if let Ok(shown) = ledger::Disclosure::parse(bytes) {
        let _ = shown.verify([3; 16], &ledger::Erasures::default());
    }
});
