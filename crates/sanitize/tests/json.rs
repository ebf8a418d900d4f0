//! JSON stays JSON, and nothing hides in its escapes, keys and numbers.

use watchkeeper_sanitize::{Sanitizer, TokenKey};

fn sanitizer() -> Sanitizer {
    Sanitizer::new(TokenKey::new([7; 32], "v26"))
}

#[test]
fn keys_strings_and_numbers_are_sanitised_in_place() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (r#"{"to": "ann@example.com"}"#, &["ann@"], &["EMAIL"]),
        (r#"{"to": "ann\u0040example.com", "x": "\"q\""}"#, &["ann"], &["EMAIL"]),
        (r#"{"ann@example.com": 1}"#, &["ann@"], &["EMAIL"]),
        (r#"{"card": 4111111111111111, "n": 12}"#, &["4111"], &["CREDIT_CARD"]),
        (r#"{"phone": 2125550143, "id": 2125550144}"#, &["2125550143"], &["PHONE"]),
        (r#"{"phones": ["2125550143", "2125550144"]}"#, &["21255501"], &["PHONE", "PHONE"]),
        (r#"{"ssn": "536221234"}"#, &["536221234"], &["US_SSN"]),
        (r#"{"cvv": "123", "n": "123 x"}"#, &["\"123\""], &["CVV"]),
        (r#"{"cvv": 123}"#, &["123"], &["CVV"]),
        (r#"{"password": "correct horse battery"}"#, &["horse"], &["PASSWORD"]),
        (r#"{"db": {"clientSecret": "a8f5f167f44f4964"}}"#, &["a8f5"], &["SECRET"]),
        (r#"{"args": "{\"to\": \"ann@example.com\", \"password\": \"hunter2\"}"}"#, &["ann@", "hunter2"], &["EMAIL", "PASSWORD"]),
        (r#"[1, "2024-01-02T03:04:05Z", null, true, 1.5e3, {"a": []}]"#, &[], &[]),
        (r#"{"type":"object","properties":{"password":{"type":"string","description":"The password of the user"}}}"#, &[], &[]),
        (r#""ann@example.com""#, &["ann@"], &["EMAIL"]),
    ];
    let sanitizer = sanitizer();
    for (raw, gone, kinds) in cases {
        let cleaned = sanitizer.json(raw);
        let found: Vec<&str> = cleaned.replacements.iter().map(|one| one.kind.as_str()).collect();
        assert_eq!(&found, kinds, "{raw} gave {}", cleaned.text);
        for secret in *gone {
            assert!(!cleaned.text.contains(secret), "{raw} gave {}", cleaned.text);
        }
        assert!(serde_json::from_str::<serde_json::Value>(&cleaned.text).is_ok(), "{raw} gave {}", cleaned.text);
        assert_eq!(sanitizer.json(&cleaned.text).text, cleaned.text);
        if kinds.is_empty() {
            assert_eq!(&*cleaned.text, *raw);
        }
    }
}

#[test]
fn spans_are_code_points_of_the_input() {
    let raw = r#"{"é": "\u00e9 ann\u0040example.com é"}"#;
    let cleaned = sanitizer().json(raw);
    let one = &cleaned.replacements[0];
    let span: String = raw.chars().skip(one.start as usize).take((one.end - one.start) as usize).collect();
    assert_eq!(span, r"ann\u0040example.com");
}

#[test]
fn what_is_no_json_is_text() {
    let sanitizer = sanitizer();
    for raw in ["{\"to\": \"ann@example.com\"", "ann@example.com", "[ann@example.com]"] {
        assert!(!sanitizer.json(raw).text.contains("ann@"), "{raw}");
    }
}

/// What may be anything is read as the recorder reads the content of an event.
#[test]
fn what_looks_like_json_is_walked_and_what_does_not_is_text() {
    use event::{Direction, Part, PieceMeta, Role};

    let sanitizer = sanitizer();
    let meta = PieceMeta::new(Direction::Input, Role::User, Part::Text);
    for raw in [r#"{"card": 4111111111111111}"#, "[{\"cvv\": 123}]", "ann@example.com", "{ann@example.com", "4111 1111 1111 1111"]
    {
        assert_eq!(sanitizer.any(raw), sanitizer.content(&meta, raw), "{raw}");
    }
    let cleaned = sanitizer.any(r#"{"cvv": 123}"#);
    assert!(serde_json::from_str::<serde_json::Value>(&cleaned.text).is_ok(), "{}", cleaned.text);
    assert_eq!(sanitizer.any("ann@example.com"), sanitizer.text("ann@example.com"));
}

#[test]
fn depth_is_no_danger() {
    let sanitizer = sanitizer();
    let deep = format!("{}\"ann@example.com\"{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!sanitizer.json(&deep).text.contains("ann@"));
}

#[test]
fn a_name_beside_the_value_is_its_key() {
    let sanitizer = sanitizer();
    for (raw, gone) in [
        (r#"[{"name": "DB_PASSWORD", "value": "hunter2hunter2"}]"#, "hunter2"),
        (r#"[{"value": "hunter2hunter2", "type": "x", "name": "DB_PASSWORD"}]"#, "hunter2"),
        (r#"{"key": "db_password", "name": "the main one", "value": "hunter2hunter2"}"#, "hunter2"),
        (r#"{"headers": [{"name": "X-Api-Key", "value": "q8Zr4Wm1Xv7Ts2Lk9Pd3"}]}"#, "q8Zr"),
        (r#"{"field": "cvv", "value": 737}"#, "737"),
        (r#"{"value": "536221234 ann@example.com", "name": "ssn"}"#, "536221234"),
    ] {
        let cleaned = sanitizer.json(raw);
        assert!(!cleaned.text.contains(gone) && !cleaned.text.contains("ann@"), "{raw} gave {}", cleaned.text);
        assert!(serde_json::from_str::<serde_json::Value>(&cleaned.text).is_ok(), "{raw} gave {}", cleaned.text);
        assert_eq!(sanitizer.json(&cleaned.text).text, cleaned.text);
    }
    for raw in [
        r#"[{"name": "mode", "value": "q8Zr4Wm1Xv7Ts2Lk9Pd3"}, {"value": "q8Zr4Wm1Xv7Ts2Lk9Pd3", "name": "mode"}]"#,
        r#"{"name": "password", "value": "required"}"#,
        r#"{"a": {"name": "password"}, "value": "q8Zr4Wm1Xv7Ts2Lk9Pd3"}"#,
    ] {
        assert_eq!(&*sanitizer.json(raw).text, raw);
    }
}

#[test]
fn hostile_texts_take_time_in_proportion() {
    const BYTES: usize = 4 * 1024 * 1024;
    let sanitizer = sanitizer();
    let key = "k".repeat(BYTES / 2);
    let nested = "[".repeat(500) + &"]".repeat(500);
    for (what, text) in [
        ("bytes that are no UTF-8", "%80".repeat(BYTES / 3)),
        ("characters that are cut", "%F0%9F%98".repeat(BYTES / 9)),
        ("a long key of lists", format!("{{\"{key}\": [{}[]]}}", "[],".repeat(BYTES / 6))),
        ("a long key of strings", format!("{{\"{key}\": [{}\"a\"]}}", "\"a\",".repeat(BYTES / 8))),
        ("a long key of nested lists", format!("{{\"{key}\": [{}[]]}}", (nested + ",").repeat(BYTES / 2002))),
        ("controls", "\u{1b}[".repeat(BYTES / 2)),
        ("names beside values", "name: a, value: ".repeat(BYTES / 16)),
    ] {
        let started = std::time::Instant::now();
        let cleaned = sanitizer.json(&text);
        assert_eq!(cleaned.replacements, [], "{what}");
        // It takes a second or less where nothing else runs; what looks at text again for each of its bytes takes minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "{what}: {:?}", started.elapsed());
    }
}
