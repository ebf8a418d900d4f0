use proptest::prelude::*;

use super::*;
use crate::signing::SigningKey;

const TEXT: &str = "example.com/log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

/// A log and six witnesses, every second of them with ML-DSA-44.
struct Parties {
    log: SigningKey,
    witnesses: Vec<SigningKey>,
}

impl Parties {
    fn new() -> Self {
        let algorithm = |index: u8| if index.is_multiple_of(2) { Algorithm::Ed25519Cosignature } else { Algorithm::MlDsa44 };
        Self {
            log: key(Algorithm::Ed25519, "example.com/log", 1),
            witnesses: (0..6).map(|index| key(algorithm(index), &format!("witness.example/{index}"), 10 + index)).collect(),
        }
    }

    /// The policy of the specification's example.
    fn policy(&self) -> String {
        let mut policy = format!("log {}\n", self.log.verifier());
        for (name, witness) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().zip(&self.witnesses) {
            policy += &format!("witness {name} {}\n", witness.verifier());
        }
        policy
            + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
    }

    fn note(&self, witnesses: &[usize]) -> SignedNote {
        let by = witnesses.iter().map(|index| self.witnesses[*index].sign(TEXT, 1_700_000_000).unwrap());
        SignedNote::new(TEXT.to_owned(), vec![self.log.sign(TEXT, 0).unwrap()]).unwrap().with(by).unwrap()
    }
}

fn key(algorithm: Algorithm, name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(algorithm, name, zeroize::Zeroizing::new([seed; 32])).unwrap()
}

#[test]
fn the_example_of_the_specification_asks_for_two_of_x_and_one_of_y() {
    let parties = Parties::new();
    let policy = Policy::parse(parties.policy().as_bytes()).unwrap();
    for subset in 0..64_usize {
        let signers: Vec<usize> = (0..6).filter(|index| subset >> index & 1 == 1).collect();
        let expected = (subset & 0b111).count_ones() >= 2 && subset >> 3 != 0;
        let result = policy.check(&parties.note(&signers));
        assert_eq!(result.is_ok(), expected, "{signers:?}: {result:?}");
        if let Ok(witnessed) = result {
            assert_eq!(witnessed.witnesses.len(), signers.len());
            assert!(witnessed.witnesses.iter().all(|(_, time)| *time == 1_700_000_000));
            assert_eq!(witnessed.checkpoint.size, 7);
        }
    }
}

#[test]
fn a_wrong_signature_of_a_known_key_refuses_and_unknown_keys_do_not_count() {
    let parties = Parties::new();
    let policy = Policy::parse(parties.policy().as_bytes()).unwrap();
    let enough = parties.note(&[0, 1, 3]);
    assert!(policy.check(&enough).is_ok());
    let mut bad = parties.witnesses[2].sign(TEXT, 5).unwrap();
    bad.signature[20] ^= 1;
    assert!(matches!(policy.check(&enough.clone().with([bad]).unwrap()), Err(PolicyError::Note(NoteError::BadSignature(_)))));
    // The same name with another key, and the right key under another name, are unknown.
    let stranger = key(Algorithm::Ed25519Cosignature, "witness.example/2", 99).sign(TEXT, 5).unwrap();
    let renamed = key(Algorithm::Ed25519Cosignature, "witness.example/other", 12).sign(TEXT, 5).unwrap();
    let few = parties.note(&[0, 3]);
    assert!(matches!(policy.check(&few.with([stranger, renamed]).unwrap()), Err(PolicyError::Quorum { got: 2, .. })));
    // A witness that signs twice counts once.
    let twice = parties.witnesses[0].sign(TEXT, 6).unwrap();
    assert!(policy.check(&parties.note(&[0, 3]).with([twice]).unwrap()).is_err());
    // The log's key under a checkpoint of another origin.
    let text = TEXT.replace("log", "other");
    let other = SignedNote::new(text.clone(), vec![parties.log.sign(&text, 0).unwrap()]).unwrap();
    assert!(matches!(policy.check(&other), Err(PolicyError::UnknownLog(_))));
    let unsigned = SignedNote::new(TEXT.to_owned(), vec![parties.witnesses[0].sign(TEXT, 1).unwrap()]).unwrap();
    assert!(matches!(policy.check(&unsigned), Err(PolicyError::UnknownLog(_))));
    assert!(policy.check_witnesses(&parties.note(&[0, 1, 3])).is_ok());
}

#[test]
fn comments_white_space_and_urls_are_read() {
    let parties = Parties::new();
    let text = format!(
        "  # a policy\n\n\t \nlog\t{}   https://log.example/\nwitness \u{212a} {} https://w.example\nquorum \u{212a}\t\n",
        parties.log.verifier(),
        parties.witnesses[0].verifier()
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("https://w.example"));
    assert!(policy.needs_witnesses() && policy.check(&parties.note(&[0])).is_ok() && policy.check(&parties.note(&[1])).is_err());
    // Names are bytes: the Kelvin sign is not the letter K.
    assert!(Policy::parse(text.replace("quorum \u{212a}", "quorum K").as_bytes()).is_err());
    let none = Policy::parse(b"quorum none\n").unwrap();
    assert!(
        !none.needs_witnesses() && none.check(&parties.note(&[])).is_err() && none.check_witnesses(&parties.note(&[])).is_ok()
    );
}

#[test]
fn malformed_policies_are_refused_by_line() {
    let parties = Parties::new();
    let witness = |index: usize| parties.witnesses[index].verifier().to_string();
    let (a, b) = (format!("witness a {}\n", witness(0)), format!("witness b {}\n", witness(1)));
    let log = parties.log.verifier();
    let cases = [
        (String::new(), "end with a newline"),
        ("quorum none".to_owned(), "end with a newline"),
        ("\n".to_owned(), "no quorum line"),
        ("quorum none\nquorum none\n".to_owned(), "line 2: is a second quorum"),
        ("quorum a\n".to_owned(), "no line before defines"),
        (format!("quorum a\n{a}"), "line 1: refers to"),
        (format!("{a}group g 2 a\nquorum g\n"), "threshold from 1 to the 1"),
        (format!("{a}group g 0 a\nquorum g\n"), "threshold from 1"),
        (format!("{a}group g all\nquorum g\n"), "threshold from 1 to the 0"),
        (format!("{a}group g +1 a\nquorum g\n"), "a number in decimal"),
        (format!("{a}group g 01 a\nquorum g\n"), "a number in decimal"),
        (format!("{a}group g 18446744073709551617 a\nquorum g\n"), "a number in decimal"),
        (format!("{a}group g any g\nquorum g\n"), "refers to \"g\""),
        (format!("{a}group g 2 a a\nquorum g\n"), "a member a second time"),
        (format!("{a}{b}group g any a\ngroup h any a b\nquorum h\n"), "line 4: makes \"a\" a member a second time"),
        (format!("{a}witness a {}\nquorum a\n", witness(1)), "a second time"),
        (format!("{a}group a any a\nquorum a\n"), "a second time"),
        (format!("{a}witness c {}\nquorum a\n", witness(0)), "stands in a line before"),
        (format!("witness none {}\nquorum none\n", witness(0)), "defines `none`"),
        (format!("{a}group g any none\nquorum g\n"), "refers to \"none\""),
        (format!("log {log}\nlog {log}\nquorum none\n"), "stands in a line before"),
        (format!("log {}\nquorum none\n", witness(0)), "here it must be 0x01 or 0x06"),
        (format!("witness a {log}\nquorum a\n"), "here it must be 0x04 or 0x06"),
        ("log x\nquorum none\n".to_owned(), "a key that is none"),
        ("log\nquorum none\n".to_owned(), "too few words"),
        (format!("log {log} u v\nquorum none\n"), "too many"),
        ("quorum none\r\n".to_owned(), "control character"),
        ("quorum none\x7f\n".to_owned(), "control character"),
        ("Quorum none\n".to_owned(), "begins with"),
    ];
    for (text, expected) in cases {
        let error = Policy::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn thirty_two_of_each_and_groups_in_groups_are_taken() {
    let mut text = String::new();
    for index in 0..32 {
        text += &format!("log {}\n", key(Algorithm::Ed25519, &format!("log{index}"), index).verifier());
        text += &format!("witness w{index} {}\n", key(Algorithm::Ed25519Cosignature, "w", 100 + index).verifier());
        let inner = if index == 0 { String::new() } else { format!(" g{}", index - 1) };
        text += &format!("group g{index} any w{index}{inner}\n");
    }
    let policy = Policy::parse(format!("{text}quorum g31\n").as_bytes()).unwrap();
    let first = key(Algorithm::Ed25519Cosignature, "w", 100);
    let by_first = SignedNote::new(TEXT.to_owned(), vec![first.sign(TEXT, 1).unwrap()]).unwrap();
    assert!(policy.check_witnesses(&by_first).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in any::<Vec<u8>>(), text in "((log|witness|group|quorum|none|any|all|1|a|b|#)[ \t\n]){0,40}",
    ) {
        let _ = Policy::parse(&bytes);
        let _ = Policy::parse(text.as_bytes());
    }
}
