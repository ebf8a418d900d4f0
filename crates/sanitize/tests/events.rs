//! Planted values in every place of an event where text can stand.

use std::collections::BTreeMap;

use event::{Client, Direction, Event, Key, Kind, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath, Value};
use watchkeeper_sanitize::{Clean, Sanitizer, TokenKey};

fn sanitizer() -> Sanitizer {
    Sanitizer::new(TokenKey::new([7; 32], "v26"))
}

fn run(prefix: &str, len: usize) -> String {
    let run: String = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kM7nP9rS1uV3xY5zA7cD9fG1iL3o".chars().cycle().take(len).collect();
    format!("{prefix}{run}")
}

/// Text that holds a value, and the value.
fn planted() -> Vec<(String, String)> {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let plain = |value: String| (value.clone(), value);
    let within = |before: &str, value: String| (format!("{before}{value}"), value);
    let dashes = "-----";
    vec![
        plain("ann.planted@example.com".into()),
        plain("+44 20 7946 0958".into()),
        plain("(212) 555-0143".into()),
        within("phone ", "2125550199".into()),
        plain("4111111111111111".into()),
        plain("5555 5555 5555 4444".into()),
        plain("DE89370400440532013000".into()),
        plain("536-22-1234".into()),
        plain("203.0.113.77".into()),
        plain("2001:db8::8a2e:370:7334".into()),
        plain(run("sk-proj-", 48)),
        plain(run("sk-ant-api03-", 48)),
        plain("AKIAQ3ZT5VW7YJ9BC1EF".into()),
        within("aws_secret_access_key=", run("w", 39)),
        plain(run("ghp_", 36)),
        plain(run("github_pat_", 82)),
        plain(run("glpat-", 20)),
        plain(run("xoxb-123456789012-", 24)),
        plain(run("sk_live_", 24)),
        plain(run("AIza", 35)),
        within("AccountKey=", run("z", 85)),
        plain(format!("{}.{}", run("SG.", 22), run("", 43))),
        plain(format!("SK{}", "0123456789abcdef".repeat(2))),
        plain(run("npm_", 36)),
        plain(run("pypi-", 60)),
        plain(run("hf_", 34)),
        plain(format!("{}.{}.{}", encode(r#"{"alg":"HS256"}"#), encode(r#"{"sub":"planted"}"#), run("", 43))),
        plain(format!("{dashes}BEGIN PRIVATE KEY{dashes}\n{}\n{dashes}END PRIVATE KEY{dashes}", run("", 64))),
        within("postgres://app:", "pl4nted-pw@db.internal/x".into()),
        within("password=", "Pl4nted!pw".into()),
        within("Authorization: Bearer ", run("", 40)),
        within("client_secret: ", "a8f5f167f44f4964e6c998dee827110c".into()),
    ]
}

/// An event with the text in every place.
fn event_with(text: &str) -> Event<String> {
    let text = text.to_owned();
    let mut event = Event::new(Kind::ModelCall, text.clone(), Source::new(SourcePath::Api, Key::of("test")));
    event.source.scope = Some(text.clone());
    event.source.scope_version = Some(text.clone());
    event.session = Some(text.clone());
    event.turn = Some(text.clone());
    let principal =
        || Principal { id: text.clone(), name: Some(text.clone()), version: Some(text.clone()), proof: event::Proof::Asserted };
    event.identity.user = Some(principal());
    event.identity.application = Some(principal());
    event.identity.agent = Some(principal());
    event.identity.delegation = vec![principal(), principal()];
    event.identity.credential = Some(principal());
    event.identity.client = Some(Client { address: Some(text.clone()), user_agent: Some(text.clone()) });
    let nested = Value::Map(BTreeMap::from([
        (text.clone(), Value::Text(text.clone())),
        (
            "list".to_owned(),
            Value::List(vec![Value::Text(text.clone()), Value::Map(BTreeMap::from([(text.clone(), Value::Bool(true))]))]),
        ),
        ("json".to_owned(), Value::Text(serde_json::json!({ text.clone(): [text.clone()] }).to_string())),
    ]));
    event.set(Key::of("error.type"), Value::Text(text.clone()));
    event.set(Key::of("x.nested"), nested.clone());
    event.unmapped.insert(text.clone(), nested.clone());
    event.unmapped.insert("plain".to_owned(), nested);
    for part in [
        Part::Text,
        Part::Reasoning,
        Part::ToolCall,
        Part::ToolResult,
        Part::Document,
        Part::Query,
        Part::ToolDefinition,
        Part::Media,
        Part::Command,
        Part::Body,
    ] {
        for content in [text.clone(), serde_json::json!({ "a": text, text.clone(): [1, text] }).to_string()] {
            let mut meta = PieceMeta::new(Direction::Input, Role::User, part);
            meta.name = Some(text.clone());
            meta.call_id = Some(text.clone());
            event.pieces.push(Piece::new(meta, content));
        }
    }
    event
}

#[test]
fn nothing_planted_comes_through_anywhere() {
    let sanitizer = sanitizer();
    let planted = planted();
    assert!(planted.len() >= 30);
    for (text, value) in planted {
        let clean = sanitizer.event(event_with(&text));
        let json = serde_json::to_string(&clean).unwrap();
        let escaped = serde_json::to_string(&value).unwrap();
        let escaped = escaped.trim_matches('"');
        let secret = value.strip_suffix("@db.internal/x").unwrap_or(escaped);
        assert!(!json.contains(secret), "{value} came through: {json}");
        assert!(clean.sanitized.values().sum::<u32>() >= 40, "{value}: {:?}", clean.sanitized);
        // equal keys must not swallow one another
        assert_eq!(clean.unmapped.len(), 2);
        // what is clean stays as it is
        let again = sanitizer.event::<Clean>(Event { sanitized: BTreeMap::new(), ..clean.clone() });
        assert_eq!(Event { sanitized: BTreeMap::new(), ..again }, Event { sanitized: BTreeMap::new(), ..clean }, "{value}");
    }
}

#[test]
fn keys_give_context_to_their_values() {
    let sanitizer = sanitizer();
    let mut event: Event<String> = Event::new(Kind::ToolCall, "x", Source::new(SourcePath::Api, Key::of("test")));
    event.set(Key::of("user.phone"), Value::Text("2125550143".to_owned()));
    event.set(Key::of("card.number"), Value::Int(4_111_111_111_111_111));
    event.set(Key::of("gen_ai.usage.input_tokens"), Value::Int(123_456));
    event.set(Key::of("start_ns"), Value::Int(1_700_000_000_000_000_000));
    event.unmapped.insert("db.password".to_owned(), Value::Text("hunter".to_owned()));
    let clean = sanitizer.event(event);
    let counts: Vec<(&str, u32)> = clean.sanitized.iter().map(|(kind, count)| (&**kind, *count)).collect();
    assert_eq!(counts, [("CREDIT_CARD", 1), ("PASSWORD", 1), ("PHONE", 1)]);
    assert_eq!(clean.attribute("gen_ai.usage.input_tokens"), Some(&Value::Int(123_456)));
    assert_eq!(clean.attribute("start_ns"), Some(&Value::Int(1_700_000_000_000_000_000)));
}

#[test]
fn contents_go_through_the_callers_cache_and_their_counts_add_up() {
    let sanitizer = sanitizer();
    let mut event: Event<String> = Event::new(Kind::ModelCall, "ann@example.com", Source::new(SourcePath::Api, Key::of("test")));
    for _ in 0..3 {
        event.pieces.push(Piece::new(PieceMeta::new(Direction::Input, Role::User, Part::Text), "bob@example.com".to_owned()));
    }
    let mut asked = 0;
    let clean = sanitizer.event_with(event, &mut |meta, raw| {
        asked += 1;
        let cleaned = sanitizer.content(meta, raw);
        let counts = cleaned.counts();
        (cleaned.text, counts)
    });
    assert_eq!(asked, 3);
    assert_eq!(clean.sanitized.get("EMAIL"), Some(&4));
}

#[test]
fn a_credential_is_one_token_whatever_it_looks_like() {
    let sanitizer = sanitizer();
    let token = sanitizer.credential("Bearer anything at all");
    assert!(token.starts_with("<CREDENTIAL:v26:") && token.ends_with('>'));
    assert_eq!(sanitizer.credential(&token), token);
    assert_eq!(sanitizer.credential("anything at all"), token);
    assert_eq!(sanitizer.text(&token).text, token);
    assert_ne!(sanitizer.credential("<CREDENTIAL:v26:anything>").as_str(), "<CREDENTIAL:v26:anything>");
}
