//! Signed notes, checkpoints and verifier keys: no bytes make a parser panic, and what is taken is written back byte for byte.
#![no_main]

use ledger::{Checkpoint, KeyChain, SignedNote, VerifierKey, history_form};
use libfuzzer_sys::fuzz_target;

const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n";

fuzz_target!(|bytes: &[u8]| {
    let key: VerifierKey = KEY.trim_end().parse().unwrap();
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.encode().as_bytes(), bytes);
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.text(), note.text());
        }
        let _ = note.verify(&key);
        let _ = history_form(bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string(), text);
        }
        if let Ok(checkpoint) = Checkpoint::parse(text) {
            assert_eq!(checkpoint.text(), text);
        }
        let _ = Checkpoint::parse_extended(text);
    }
    let _ = KeyChain::parse(bytes, None);
    let _ = KeyChain::parse(KEY.as_bytes(), Some(bytes));
});
