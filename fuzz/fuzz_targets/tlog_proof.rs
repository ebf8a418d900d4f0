//! Proofs that stand alone, and policies: no bytes make a parser or a verification panic; proofs are written back byte for byte.
#![no_main]

use ledger::{Policy, TlogProof, VerifierKey};
use libfuzzer_sys::fuzz_target;

const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fuzz_target!(|bytes: &[u8]| {
    let known = Policy::of_log([KEY.parse::<VerifierKey>().unwrap()]);
    let read = Policy::parse(bytes);
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.encode().as_bytes(), bytes);
        let _ = proof.verify(&[7; 32], &known);
        let _ = known.check_witnesses(proof.checkpoint());
    }
    if let Ok(policy) = read {
        assert!(policy.needs_witnesses() || policy.witnesses().len() <= 1024);
    }
});
