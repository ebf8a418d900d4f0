//! What the sanitiser has cleaned shows no secret in any view of inspection, whatever it was written in; and inspection would show it, if
//! it were there.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use event::Channel;
use sanitize::{Sanitizer, TokenKey};
use watchkeeper_inspect::Inspector;

/// Values that the sanitiser removes, each with a part that no token has.
const SECRETS: [&str; 3] = ["ghp_16C7e42F292c6912E7710c838347Ae178B4a", "AKIAIOSFODNN7EXAMPLE", "planted.person@planted.example"];

/// Signatures that match them, in any view.
const RULES: &str = r"
signatures:
  - id: planted.secret
    title: A planted value
    risk: credential_exposure
    technique: AML.T0055
    channels: {tool: 1}
    mention: 1
    patterns:
      - {atoms: [[ghp_16c7]], regex: 'ghp_16c7'}
      - {atoms: [[akiaiosf]], regex: 'akiaiosf'}
      - {atoms: [[planted.person]], regex: 'planted\.person'}
    examples:
      positive: [{channel: tool, text: akiaiosfodnn}]
      negative: [{channel: tool, text: akia}]
";

type Way = (&'static str, fn(&str) -> String);

fn each(text: &str, format: fn(u8) -> String) -> String {
    text.bytes().map(format).collect()
}

fn shifted(text: &str, by: u32) -> String {
    text.chars().filter_map(|character| char::from_u32(character as u32 + by)).collect()
}

/// What the sanitiser promises to see through.
const WAYS: [Way; 14] = [
    ("as it stands", |text| text.to_owned()),
    ("base64", |text| STANDARD.encode(text)),
    ("base64 of a sentence", |text| STANDARD.encode(format!("The value is {text} and no other."))),
    ("base64 for URLs", |text| URL_SAFE_NO_PAD.encode(format!("The value is {text} and no other."))),
    ("folded base64", |text| {
        let encoded = STANDARD.encode(format!("The value that is planted here is {text} and there is no other one to find."));
        encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join("\n")
    }),
    ("base64 of UTF-16", |text| STANDARD.encode(text.bytes().flat_map(|byte| [byte, 0]).collect::<Vec<u8>>())),
    ("hex", |text| each(text, |byte| format!("{byte:02x}"))),
    ("percent", |text| each(text, |byte| format!("%{byte:02X}"))),
    ("entities", |text| each(text, |byte| format!("&#{byte};"))),
    ("unicode escapes", |text| each(text, |byte| format!("\\u{byte:04x}"))),
    ("byte escapes", |text| each(text, |byte| format!("\\x{byte:02x}"))),
    ("full width", |text| shifted(text, 0xfee0)),
    ("zero width", |text| text.chars().map(|character| format!("{character}\u{200b}")).collect()),
    ("tags", |text| shifted(text, 0xe0000)),
];

#[test]
fn what_is_sanitised_shows_no_secret_in_any_view() {
    let inspector = Inspector::from_sources(&[("planted.yaml".to_owned(), RULES.to_owned())]).unwrap();
    let sanitizer = Sanitizer::new(TokenKey::new([7; 32], "v26"));
    let shows = |text: &str| !inspector.inspect(text, Channel::Tool, None).findings.is_empty();
    let mut leaks = Vec::new();
    for secret in SECRETS {
        for (name, write) in WAYS {
            let text = format!("Look: {} .", write(secret));
            assert!(shows(&text), "{secret} {name}: inspection does not show it, so that nothing is tested");
            if shows(&sanitizer.text(&text).text) {
                leaks.push(format!("{secret} in {name}"));
            }
        }
        // Of two over one another those that turn bytes into letters, each within each.
        for (inner, write_inner) in &WAYS[1..11] {
            for (outer, write_outer) in &WAYS[1..11] {
                let text = format!("Look: {} .", write_outer(&write_inner(secret)));
                if shows(&sanitizer.text(&text).text) {
                    leaks.push(format!("{secret} in {inner} in {outer}"));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
