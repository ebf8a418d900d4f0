//! Records of the journal: no bytes make the decoder panic, and what it accepts it writes back byte for byte.
#![no_main]

use journal::{Record, Seq};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::decode(Seq(0), bytes) {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(again, bytes);
        let _ = record.event();
    }
});
