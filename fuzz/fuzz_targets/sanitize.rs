//! The sanitiser: no text makes it panic, and what it has cleaned it leaves alone.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sanitize::{Sanitizer, TokenKey};

static SANITIZER: LazyLock<Sanitizer> = LazyLock::new(|| Sanitizer::new(TokenKey::new([7; 32], "v26")));

fuzz_target!(|text: &str| {
    let cleaned = SANITIZER.text(text);
    assert_eq!(SANITIZER.text(&cleaned.text).text, cleaned.text);
    let _ = SANITIZER.json(text);
});
