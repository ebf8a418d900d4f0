//! RFC 3161 answers: no bytes make the reader or the verification panic, and none of them verifies.
#![no_main]

use std::sync::LazyLock;

use ledger::{TsaRoots, claimed_time, verify_timestamp};
use libfuzzer_sys::fuzz_target;

/// A root whose key nobody has any more, made for this with OpenSSL.
static ROOTS: LazyLock<TsaRoots> = LazyLock::new(|| TsaRoots::from_pem(include_bytes!("../seeds/timestamp-root.pem")).unwrap());

const TEXT: &[u8] = b"text\n";

fuzz_target!(|bytes: &[u8]| {
    let claimed = claimed_time(bytes, TEXT);
    if let Ok(stamped) = verify_timestamp(bytes, TEXT, &ROOTS) {
        assert_eq!(Ok(stamped.time), claimed);
    }
    let _ = TsaRoots::from_pem(bytes);
});
