//! What a provider's claims say of somebody: who they are, and which role they have.

use serde_json::{Map, Value};

use crate::asker::Person;

/// Longest subject, in bytes (OpenID Connect Core, 2).
const SUBJECT_BYTES_MAX: usize = 255;

/// Longest name or address of a person, in characters.
const NAME_CHARS_MAX: usize = 256;

/// Most values of a claim that are looked at.
const VALUES_MAX: usize = 10_000;

/// The person of whom the claims are. `None` without a subject that can be one: 1 to 255 bytes of printable ASCII.
pub(super) fn person(issuer: &str, claims: &Map<String, Value>) -> Option<Person> {
    let subject = claims.get("sub")?.as_str()?;
    let is_subject =
        (1..=SUBJECT_BYTES_MAX).contains(&subject.len()) && subject.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_subject {
        return None;
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).and_then(shown);
    Some(Person {
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        name: text("name").or_else(|| text("preferred_username")),
        email: text("email").filter(|_| claims.get("email_verified") != Some(&Value::Bool(false))),
    })
}

/// A text for people's eyes.
fn shown(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|char| !char.is_control()).take(NAME_CHARS_MAX).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The values that may give a role; `None` where the claims do not have them. An address is anybody's until the provider has verified it.
pub(super) fn giving<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<Vec<&'c str>> {
    let found = claim(claims, name)?;
    if name == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        Some(Vec::new())
    } else {
        Some(values(found))
    }
}

/// The claim of that name; where there is none, what the name's dots lead to.
fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(whole) = claims.get(name) {
        return Some(whole);
    }
    let (first, rest) = name.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, part| value.get(part))
}

/// The texts of a claim: one, or a list of them.
fn values(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().take(VALUES_MAX).filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_along_its_dots() {
        let claims = map(json!({
            "groups": ["a", 1, "b"], "https://x.example/roles": "c", "realm_access": { "roles": ["d"] }, "a.b": "e", "a": { "b": "f" },
        }));
        let of = |name: &str| claim(&claims, name).map(values).unwrap_or_default();
        assert_eq!(of("groups"), ["a", "b"]);
        assert_eq!(of("https://x.example/roles"), ["c"]);
        assert_eq!(of("realm_access.roles"), ["d"]);
        assert_eq!(of("a.b"), ["e"]);
        assert_eq!((of("realm_access"), of("none"), of("groups.x")), (vec![], vec![], vec![]));
    }

    #[test]
    fn an_address_gives_a_role_when_it_is_verified() {
        for (verified, gives) in [(json!(true), true), (json!(false), false), (json!("true"), false), (json!(null), false)] {
            let claims = map(json!({ "email": "ann@example.com", "email_verified": verified, "hd": "example.com" }));
            assert_eq!(giving(&claims, "email").unwrap().contains(&"ann@example.com"), gives, "{verified}");
            assert_eq!(giving(&claims, "hd").unwrap(), ["example.com"]);
            assert_eq!(giving(&claims, "groups"), None);
        }
    }

    #[test]
    fn a_person_has_a_subject_that_can_be_one() {
        let of = |claims: Value| person("https://p.example", &map(claims));
        let ann = of(json!({ "sub": "1", "name": " An\u{0}n\n", "email": "a@b.example" })).unwrap();
        assert_eq!((ann.name.as_deref(), ann.email.as_deref()), (Some("Ann"), Some("a@b.example")));
        let bob =
            of(json!({ "sub": "1", "name": "", "preferred_username": "bob", "email": "x@y", "email_verified": false })).unwrap();
        assert_eq!((bob.name.as_deref(), bob.email), (Some("bob"), None));
        for sub in [json!(""), json!(1), json!(null), json!("a\nb"), json!("ä"), json!("x".repeat(256))] {
            assert!(of(json!({ "sub": sub })).is_none(), "{sub}");
        }
    }
}
