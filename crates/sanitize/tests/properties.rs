//! What must hold for every text.

use proptest::prelude::*;
use watchkeeper_sanitize::{Cleaned, Sanitizer, TokenKey};

fn sanitizer() -> Sanitizer {
    Sanitizer::new(TokenKey::new([7; 32], "v26"))
}

/// Texts made of what the finders look for, whole and in pieces, so that boundaries meet in every way.
fn fragments() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "ann@example.com",
        "@",
        "a",
        "example.com",
        ".",
        "-",
        " ",
        "+44 20 7946 0958",
        "4111111111111111",
        "4111 ",
        "1111 ",
        "536-22-1234",
        "203.0.113.9",
        "2001:db8::1:2:3",
        ":",
        "::",
        "DE89370400440532013000",
        "password",
        "=",
        "\"",
        "'",
        "hunter2!",
        "password: ",
        "api_key=",
        "sk-proj-",
        "aB3dE5gH7jK9mN1pQ3sT",
        "eyJhbGciOiJIUzI1NiJ9",
        ".eyJzdWIiOiIxIn0.",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "https://",
        "user:",
        "<",
        ">",
        "<EMAIL:v26:",
        "<CVV:dropped>",
        "cvv ",
        "123",
        "%40",
        "\\u0040",
        "\\n",
        "\\",
        "YW5uQGV4YW1wbGUuY29t",
        "616e6e406578616d706c652e636f6d",
        "é",
        "＠",
        "\u{200b}",
        "\u{1b}[0m",
        "\u{301}",
        "\0",
        "name: ",
        "value: ",
        "\"name\": \"",
        "\"value\": \"",
        "\", ",
        "\"\"\"",
        "\\\\\\\"",
        "\\\"",
        ": |\n  ",
        "[\"",
        "&#64",
        "\\100",
        "phone ",
        "2125550143",
        "0",
        "1",
        "212-555-0143",
        "Authorization: Bearer ",
        "Basic YW5uOmh1bnRlcjIh",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\n",
        "SSN ",
        "&#64;",
        " dot ",
        " at ",
        "(",
        ")",
        "/",
        "AKIAQ3ZT5VW7YJ9BC1EF",
        "ext. ",
        "x22",
        "SK",
        "0123456789abcdef",
        "943 476 5919",
        "NHS number ",
        "CPF ",
        "529.982.247-25",
        "12345678Z",
        "131052-308T",
        "AB 12 34 56 C",
        "RSSMRA85T10A562S",
        "VAT DE",
        "136695976",
        "1EG4-TE5-MK73",
        "A123456(3)",
        "name: ",
        "full_name",
        "Ann ",
        "Smith",
        "Dr. ",
        "Dear ",
        "born ",
        "12 March 1980",
        "12/03/1980",
        "12 ",
        "Main Street",
        ", Springfield, IL 62704",
        "Hauptstraße 12",
        ", 10115 Berlin",
        "Calle Mayor 12",
        "passport ",
        "X1234567",
        "account number: ",
        "20-00-00",
        "00:1A:2B:3C:4D:5E",
        "00-1A-2B-3C-4D-5E",
        "1HGCM82633A004352",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "51.5074, -0.1278",
        "diagnosis E11.9",
        "exp 12/26",
        "SWIFT DEUTDEFF500",
        "Cookie: session_id=abc123def456ghi7; ",
        "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
        "dapi0123456789abcdef0123456789abcdef",
        "latitude",
        "王小明",
        "姓名：",
    ]);
    prop::collection::vec(parts, 0..24).prop_map(|parts| parts.concat())
}

fn holds(sanitizer: &Sanitizer, raw: &str, clean: impl Fn(&Sanitizer, &str) -> Cleaned) -> Result<(), TestCaseError> {
    let cleaned = clean(sanitizer, raw);
    let again = clean(sanitizer, &cleaned.text);
    prop_assert_eq!(&again.text, &cleaned.text, "first {:?}", raw);
    prop_assert!(again.replacements.is_empty());
    let points = raw.chars().count();
    let mut from = 0;
    for one in &cleaned.replacements {
        prop_assert!(from <= one.start as usize && one.start < one.end && one.end as usize <= points);
        from = one.end as usize;
    }
    // what lies outside the replacements is untouched
    let kept: String = {
        let chars: Vec<char> = raw.chars().collect();
        let mut at = 0;
        let mut kept = String::new();
        for one in &cleaned.replacements {
            kept.extend(&chars[at..one.start as usize]);
            at = one.end as usize;
        }
        kept.extend(&chars[at..]);
        kept
    };
    prop_assert!(cleaned.replacements.is_empty() == (&*cleaned.text == raw && kept == raw));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn sanitising_clean_text_changes_nothing(raw in fragments()) {
        holds(&sanitizer(), &raw, Sanitizer::text)?;
    }

    /// Between the values so much text that what was found in one place is far from the next.
    #[test]
    fn sanitising_long_clean_text_changes_nothing(
        parts in prop::collection::vec((fragments(), 0_usize..6), 2..6),
        between in prop::sample::select(vec![
            "the words between them are of no value, and there are so many of them that nothing reaches over them; ",
            "id,name,email,phone\nsome,words,in,columns\n",
            "\"password\": \"a text in quotes goes on and on and ",
            "one more line\n",
        ]),
    ) {
        let raw: String = parts.iter().map(|(part, times)| format!("{part} {}", between.repeat(*times))).collect();
        holds(&sanitizer(), &raw, Sanitizer::text)?;
    }

    #[test]
    fn sanitising_clean_json_changes_nothing(key in fragments(), value in fragments(), number in any::<i64>()) {
        let raw = serde_json::json!({ key: [value, number] }).to_string();
        let sanitizer = sanitizer();
        holds(&sanitizer, &raw, Sanitizer::json)?;
        prop_assert!(serde_json::from_str::<serde_json::Value>(&sanitizer.json(&raw).text).is_ok());
    }

    #[test]
    fn a_number_under_a_name_stays_valid(
        name in prop::sample::select(vec!["account_number", "lat", "cpf", "phone", "mrn", "dob", "passport"]),
        number in any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()),
        whole in any::<u64>(),
    ) {
        let raw = serde_json::json!({ name: [number, whole] }).to_string();
        let sanitizer = sanitizer();
        holds(&sanitizer, &raw, Sanitizer::json)?;
        prop_assert!(serde_json::from_str::<serde_json::Value>(&sanitizer.json(&raw).text).is_ok());
    }

    #[test]
    fn names_beside_values_stay_valid(
        members in prop::collection::vec(
            (
                prop::sample::select(vec!["name", "value", "key", "password", "x"]),
                prop::sample::select(vec![
                    r#""DB_PASSWORD""#, r#""hunter2hunter2""#, r#""ann@example.com 536221234""#, r#""ssn""#, "536221234", "737", r#""cvv""#,
                    r#"["ssn", "hunter2hunter2"]"#, r#"{"name": "cvv", "value": 737}"#, r#""mode""#, "null",
                ]),
            ),
            0..6,
        ),
    ) {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        let raw = format!("[{{{}}}]", members.join(", "));
        let sanitizer = sanitizer();
        holds(&sanitizer, &raw, Sanitizer::json)?;
        holds(&sanitizer, &raw, Sanitizer::text)?;
        prop_assert!(serde_json::from_str::<serde_json::Value>(&sanitizer.json(&raw).text).is_ok());
    }

    #[test]
    fn any_text_at_all(raw in any::<String>()) {
        holds(&sanitizer(), &raw, Sanitizer::text)?;
        holds(&sanitizer(), &raw, Sanitizer::json)?;
    }

    #[test]
    fn an_address_among_anything_is_gone(before in fragments(), after in fragments()) {
        let raw = format!("{before} zoe.planted@example.net {after}");
        prop_assert!(!sanitizer().text(&raw).text.contains("zoe.planted"));
    }
}
