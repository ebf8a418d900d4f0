//! A TLS client's first bytes in pieces, as the egress proxy reads them.
#![no_main]

use capture::egress::{Hello, Named};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how long the pieces are.
    let Some((size, bytes)) = bytes.split_first() else { return };
    let mut hello = Hello::default();
    let mut held = 0;
    for piece in bytes.chunks(usize::from(*size) + 1) {
        held += piece.len();
        match hello.push(piece) {
            // No more than this is held.
            Named::Unknown => assert!(held < 32 * 1024),
            Named::As(name) => return assert!(!name.is_empty()),
            Named::Not | Named::Unreadable => return,
        }
    }
    assert!(!matches!(hello.push(&[]), Named::Unknown | Named::As(_)));
});
