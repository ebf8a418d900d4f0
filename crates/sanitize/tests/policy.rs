//! Actions by type, and types of the operator.

#![allow(clippy::unwrap_used, reason = "what a test relies on and does not find ends the test")]

use proptest::prelude::*;
use watchkeeper_sanitize::{Policy, PolicySpec, Sanitizer, TokenKey};

const BADGE: &str =
    r#"{"name": "EMPLOYEE_ID", "pattern": "E-\\d{6}", "positive": ["badge E-123456."], "negative": ["E-12", "THE-123456"]}"#;

fn spec(json: &str) -> PolicySpec {
    serde_json::from_str(json).unwrap()
}

fn sanitizer(json: &str) -> Sanitizer {
    Sanitizer::new(TokenKey::new([7; 32], "v26")).with_policy(Policy::new(&spec(json)).unwrap())
}

fn types(types: &str) -> String {
    format!(r#"{{"types": [{types}]}}"#)
}

/// The kinds, and what is left of the text with `~` for each thing in angle brackets.
fn clean(sanitizer: &Sanitizer, raw: &str) -> (Vec<String>, String) {
    let cleaned = sanitizer.text(raw);
    let kinds = cleaned.replacements.iter().map(|one| format!("{} {}", one.kind, one.action.as_str())).collect();
    assert_eq!(sanitizer.text(&cleaned.text).text, cleaned.text);
    let mut left = String::new();
    for part in cleaned.text.split('<') {
        left.push_str(part.split_once('>').map_or(part, |(_, rest)| rest));
        left.push('~');
    }
    left.pop();
    (kinds, left)
}

#[test]
fn each_action_does_what_it_says() {
    let raw = "mail ann@example.com, call +44 20 7946 0958, card 4111 1111 1111 1111 cvv 123, from 203.0.113.9";
    let sanitizer = sanitizer(
        r#"{"actions": {"EMAIL": "drop", "PHONE": "mask", "CREDIT_CARD": "mask", "IP_ADDRESS": "keep", "secrets": "drop", "personal": "encrypt"}}"#,
    );
    let text = sanitizer.text(raw).text;
    assert!(text.contains("mail <EMAIL:dropped>,"), "{text}");
    assert!(text.contains(":+44-0958>") && text.contains(":visa-1111>"), "{text}");
    assert!(text.contains("<CVV:dropped>") && text.ends_with("from 203.0.113.9"), "{text}");
    let kinds = clean(&sanitizer, "key sk-proj-aB3dE5gH7jK9mN1pQ3sT and DE89370400440532013000").0;
    assert_eq!(kinds, ["OPENAI_KEY drop", "IBAN encrypt"]);
    assert!(sanitizer.text("sk-proj-aB3dE5gH7jK9mN1pQ3sT").text.contains("<SECRET:OPENAI_KEY:dropped>"));
    // What says who it was stays joinable.
    assert!(sanitizer.name("ann@example.com").starts_with("<EMAIL:v26:"));
}

#[test]
fn what_is_kept_hides_nothing_that_is_not() {
    let sanitizer = sanitizer(r#"{"actions": {"PHONE": "keep", "EMAIL": "keep"}}"#);
    assert_eq!(clean(&sanitizer, "phone 4111 1111 1111 1111").0, ["CREDIT_CARD token"]);
    assert_eq!(clean(&sanitizer, "call +44 20 7946 0958").0, [""; 0]);
}

#[test]
fn wrong_actions_are_refused_with_the_field_and_the_remedy() {
    for (json, words) in [
        (r#"{"actions": {"EMIAL": "mask"}}"#, ["sanitize.actions.EMIAL", "sanitiser.md"]),
        (r#"{"actions": {"CVV": "token"}}"#, ["sanitize.actions.CVV", "always dropped"]),
        (r#"{"actions": {"PASSWORD": "keep"}}"#, ["sanitize.actions.PASSWORD", "never kept"]),
        (r#"{"actions": {"CREDIT_CARD": "keep"}}"#, ["sanitize.actions.CREDIT_CARD", "never kept"]),
        (r#"{"actions": {"CREDENTIAL": "drop"}}"#, ["sanitize.actions.CREDENTIAL", "always a token"]),
        (r#"{"actions": {"personal": "keep"}}"#, ["sanitize.actions.personal", "name each type"]),
    ] {
        let error = Policy::new(&spec(json)).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let error = serde_json::from_str::<PolicySpec>(r#"{"actions": {"EMAIL": "hide"}}"#).unwrap_err().to_string();
    assert!(error.contains("hide") && error.contains("mask"), "{error}");
}

#[test]
fn wrong_types_are_refused_with_the_field_and_the_remedy() {
    let many = vec![BADGE; 65].join(",");
    for (json, words) in [
        (r#"{"name": "badge", "pattern": "E-\\d{6}", "positive": ["E-123456"]}"#, ["badge", "name:"]),
        (r#"{"name": "EMAIL", "pattern": "E-\\d{6}", "positive": ["E-123456"]}"#, ["EMAIL", "choose another"]),
        (r#"{"name": "B1", "pattern": "E-(\\d{6}", "positive": ["E-123456"]}"#, ["B1", "pattern:"]),
        (r#"{"name": "B1", "pattern": "E-\\d+", "positive": ["E-123456"]}"#, ["B1", "{1,20}"]),
        (r#"{"name": "B1", "pattern": "\\d{1,8}", "positive": ["E-123456"]}"#, ["B1", "pattern:"]),
        (r#"{"name": "B1", "pattern": "E-\\d{6}"}"#, ["B1", "positive:"]),
        (r#"{"name": "B1", "pattern": "E-\\d{6}", "positive": ["E-123456", "E-12"]}"#, ["B1", "example 2"]),
        (r#"{"name": "B1", "pattern": "E-\\d{6}", "positive": ["E-123456"], "negative": ["E-654321"]}"#, ["B1", "narrower"]),
        (r#"{"name": "B1", "pattern": "E-\\d{6}", "positive": ["E-123456"], "action": "keep"}"#, ["B1", "leave the type out"]),
        (r#"{"name": "B1", "pattern": "E-\\d{6}", "positive": ["E-123456"], "context": [""]}"#, ["B1", "context:"]),
        (r#"{"name": "B1", "pattern": "E \\d{6}", "positive": ["E 123456"]}"#, ["B1", "positive:"]),
        (&format!("{BADGE},{BADGE}"), ["EMPLOYEE_ID", "choose another"]),
        (&many, ["sanitize.types", "64"]),
    ] {
        let error = Policy::new(&spec(&types(json))).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn a_type_of_the_operator_is_found_in_every_reading() {
    let sanitizer = sanitizer(&types(BADGE));
    let one = ["EMPLOYEE_ID token"];
    for raw in ["E-123456", "by E%2D123456.", "RS0xMjM0NTYgaXMgbXkgYmFkZ2U", "\u{ff25}-123456", r#"{"id": "E-123456"}"#] {
        assert_eq!(clean(&sanitizer, raw).0, one, "{raw}");
    }
    assert_eq!(sanitizer.json(r#"{"id": "E\u002d123456"}"#).replacements.len(), 1);
    for raw in ["THE-123456", "E-1234567", "E-12345", "E-123456x"] {
        assert!(clean(&sanitizer, raw).0.is_empty(), "{raw}");
    }
    let id = |raw: &str| sanitizer.text(raw).text.as_str().get(..40).unwrap().to_owned();
    assert_eq!(id("E-123456"), id("E%2D123456"));
}

#[test]
fn context_keywords_and_checksums_are_asked_for() {
    let sanitizer = sanitizer(&types(
        r#"{"name": "MEMBER", "pattern": "\\d{9}", "context": ["member"], "positive": ["Member no. 123456789"], "negative": ["order 123456789"]},
           {"name": "POLICY_NO", "pattern": "P\\d{7}", "keywords": ["insurance"], "positive": ["P1234567 (Insurance)"], "negative": ["P1234567"]},
           {"name": "TILL", "pattern": "T-\\d{8}", "validator": "luhn", "positive": ["T-79927398"], "negative": ["T-79927399"]},
           {"name": "LEI", "pattern": "[0-9A-Z]{18}\\d{2}", "validator": "mod97", "positive": ["5493001KJTIIGC8Y1R12"], "negative": ["5493001KJTIIGC8Y1R13"]}"#,
    ));
    assert_eq!(clean(&sanitizer, "member 123456789").0, ["MEMBER token"]);
    assert_eq!(sanitizer.json(r#"{"member_no": 123456789}"#).replacements.len(), 1);
}

#[test]
fn a_type_of_the_operator_hides_no_secret_and_no_verification_value() {
    let sanitizer = sanitizer(&types(r#"{"name": "ANY", "pattern": "[!-~]{3,64}", "action": "mask", "positive": ["abcdefgh"]}"#));
    let text = sanitizer.text("key sk-proj-aB3dE5gH7jK9mN1pQ3sT cvv 123 end").text;
    assert!(text.contains("<SECRET:OPENAI_KEY:v26:") && text.contains("<CVV:dropped>"), "{text}");
    // A part of something longer is not taken out of it.
    let sanitizer = self::sanitizer(&types(BADGE));
    assert_eq!(clean(&sanitizer, "E-123456@example.com").0, ["EMAIL token"]);
}

#[test]
fn the_digest_names_the_policy() {
    let digest = |json: &str| Policy::new(&spec(json)).unwrap().digest().map(str::to_owned);
    assert_eq!(digest("{}"), None);
    let (one, two) = (digest(r#"{"actions": {"EMAIL": "mask"}}"#).unwrap(), digest(&types(BADGE)).unwrap());
    assert!(one.len() == 32 && one != two);
    assert_eq!(digest(r#"{"actions": {"EMAIL": "mask"}}"#), Some(one));
}

/// A sealer that writes down what it is given.
#[derive(Debug)]
struct Plain;

impl watchkeeper_sanitize::Sealer for Plain {
    fn seal(&self, values: &[watchkeeper_sanitize::Recoverable<'_>]) -> Option<std::sync::Arc<[u8]>> {
        let lines: String = values.iter().map(|one| format!("{} {}\n", one.token, one.value)).collect();
        Some(lines.into_bytes().into())
    }
}

#[test]
fn what_is_sealed_is_what_is_encrypted_and_never_a_verification_value() {
    use event::{Direction, Part, PieceMeta, Role};
    let sanitizer = sanitizer(r#"{"actions": {"EMAIL": "encrypt", "PHONE": "drop"}}"#).with_sealer(std::sync::Arc::new(Plain));
    let meta = PieceMeta::new(Direction::Input, Role::User, Part::Text);
    let sealed = |raw: &str| {
        let (cleaned, sealed) = sanitizer.content_sealed(&meta, raw);
        assert_eq!((sealed.left_out, &cleaned), (0, &sanitizer.content(&meta, raw)));
        sealed.bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap_or_default()
    };
    let lines = sealed("Ann@Example.com, ann@example.com and +44 20 7946 0958, cvv 123");
    assert!(lines.starts_with("<EMAIL:v26:") && lines.ends_with("@example.com> Ann@Example.com\n"), "{lines}");
    assert_eq!(lines.lines().count(), 1, "one value is sealed once, as it was written first");
    assert_eq!(sealed("nothing here"), "");
    // base64 of `ann@example.com, cvv 123`: the run is not kept, because of what stands beside the address in it.
    let lines = sealed("see YW5uQGV4YW1wbGUuY29tLCBjdnYgMTIz there");
    assert!(lines.ends_with("@example.com> ann@example.com\n") && !lines.contains("YW5u"), "{lines}");
    let many: String = (0..5_000).map(|n| format!("a{n}@example.com ")).collect();
    assert!(sanitizer.content_sealed(&meta, &many).1.left_out > 0);
}

fn fragments() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "E-",
        "123456",
        "E-123456",
        "E-123456 ",
        "badge ",
        "ann@example.com",
        "@",
        ".",
        " ",
        "-",
        "<EMPLOYEE_ID:dropped>",
        "<",
        ">",
        "<EMPLOYEE_ID:v26:",
        "<EMAIL:dropped>",
        "<SECRET:OPENAI_KEY:dropped>",
        ":dropped>",
        "+44 20 7946 0958",
        "4111111111111111",
        "cvv ",
        "123",
        "%2D",
        "RS0xMjM0NTYgaXMgbXkgYmFkZ2U",
        "\\u002d",
        "é",
        "\u{200b}",
        "member ",
        "123456789",
        "\"",
        ":",
        "{",
        "}",
        "sk-proj-aB3dE5gH7jK9mN1pQ3sT",
        "password=",
        "hunter2!",
        "203.0.113.9",
        "A",
        "z9",
        "DE89370400440532013000",
    ]);
    prop::collection::vec(parts, 0..20).prop_map(|parts| parts.concat())
}

fn policies() -> &'static [Sanitizer] {
    static POLICIES: std::sync::LazyLock<Vec<Sanitizer>> = std::sync::LazyLock::new(every_action);
    &POLICIES
}

fn every_action() -> Vec<Sanitizer> {
    let member = r#"{"name": "MEMBER", "pattern": "\\d{9}", "context": ["member"], "positive": ["member 123456789"]}"#;
    let any = r#"{"name": "ANY", "pattern": "[A-Za-z0-9:_-]{4,40}", "keywords": ["z9"], "action": "ACTION", "positive": ["abcdef z9"]}"#;
    let mut all = Vec::new();
    for action in ["token", "mask", "drop", "encrypt"] {
        let custom = format!("{BADGE},{member},{}", any.replace("ACTION", action));
        for actions in [
            format!(r#""secrets": "{action}", "personal": "{action}", "custom": "{action}""#),
            format!(r#""EMAIL": "keep", "PHONE": "keep", "IP_ADDRESS": "keep", "IBAN": "{action}""#),
        ] {
            all.push(sanitizer(&format!(r#"{{"actions": {{{actions}}}, "types": [{custom}]}}"#)));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn sanitising_clean_text_changes_nothing_under_any_policy(raw in fragments()) {
        for sanitizer in policies() {
            let cleaned = sanitizer.text(&raw);
            let again = sanitizer.text(&cleaned.text);
            prop_assert_eq!(&again.text, &cleaned.text, "{:?}", sanitizer.policy());
            prop_assert!(again.replacements.is_empty());
            let json = serde_json::json!({ &raw: [&raw, 123_456_789] }).to_string();
            let cleaned = sanitizer.json(&json);
            prop_assert_eq!(&sanitizer.json(&cleaned.text).text, &cleaned.text);
        }
    }

    #[test]
    fn a_value_of_the_operator_among_anything_is_gone(before in fragments(), after in fragments()) {
        let raw = format!("{before} E-987321 {after}");
        for sanitizer in policies() {
            prop_assert!(!sanitizer.text(&raw).text.contains("E-987321"));
        }
    }
}
