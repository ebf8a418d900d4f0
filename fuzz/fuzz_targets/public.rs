//! Public logs: no files that somebody serves make the verifier panic, and none that are not signed are taken.
#![no_main]

use std::collections::HashMap;

use ledger::public::{PlaceError, PublicFiles, parse_index};
use ledger::{Trust, verify_published};
use libfuzzer_sys::fuzz_target;

struct Served(HashMap<String, Vec<u8>>);

impl PublicFiles for Served {
    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, PlaceError> {
        Ok(self.0.get(name).map(|bytes| bytes[..bytes.len().min(bytes_max + 1)].to_vec()))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_index(bytes);
    // Name, NUL, bytes, NUL.
    let mut served = Served(HashMap::new());
    let mut parts = bytes.split(|byte| *byte == 0);
    while let (Some(name), Some(file)) = (parts.next(), parts.next()) {
        served.0.insert(String::from_utf8_lossy(name).into_owned(), file.to_vec());
    }
    if let Ok(report) = verify_published(&served, &Trust::default(), None) {
        assert!(report.fault.is_some());
    }
});
