//! Requests to a witness and its answers: no bytes make it panic, and what is taken is written back byte for byte.
#![no_main]

use ledger::SignedNote;
use ledger::witness::{AddCheckpoint, Answer, read_answer};
use libfuzzer_sys::fuzz_target;

const NOTE: &str = "log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} log AAAAAAAB\n";
const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.encode().as_bytes(), bytes);
    }
    let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
    let key = KEY.parse().unwrap();
    for status in [200, 409, 422, 500] {
        let answer = read_answer(status, bytes, &note, std::slice::from_ref(&key));
        assert!(!matches!(answer, Answer::Cosigned(_)), "nobody has the key");
    }
});
