//! Adds a `traceparent` to a request that has none, where the operator asked for it. Every other byte stays.

use std::borrow::Cow;

use event::{SpanId, TraceId};

use crate::gateway::json::Object;

/// A message with a trace context. `None`: it has one, is no single request, or cannot be read.
pub(super) fn traced(message: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(message).ok()?;
    let members = Object::parse(text.trim()).ok()?;
    members.get("method").and(members.get("id"))?;
    let (trace_id, span_id) = fresh()?;
    let entry = format!("\"traceparent\":\"00-{trace_id}-{span_id}-01\"");
    let (at, entry): (usize, Cow<'_, str>) = match members.get("params") {
        None => {
            // `"params": null` is there; a second one would be ambiguous.
            if members.entries().any(|(key, _)| key == "params") {
                return None;
            }
            (offset(text, text.trim())?, format!("\"params\":{{\"_meta\":{{{entry}}}}}").into())
        }
        Some(params) => {
            let object = Object::of(params)?;
            match object.get("_meta") {
                None if object.entries().any(|(key, _)| key == "_meta") => return None,
                None => (offset(text, params.get())?, format!("\"_meta\":{{{entry}}}").into()),
                Some(meta) if Object::of(meta)?.get("traceparent").is_some() => return None,
                Some(meta) => (offset(text, meta.get())?, entry.into()),
            }
        }
    };
    // Behind the brace; the comma only where something follows.
    let (before, behind) = (&text[..=at], &text[at + 1..]);
    let comma = if behind.trim_start().starts_with('}') { "" } else { "," };
    Some(format!("{before}{entry}{comma}{behind}").into_bytes())
}

fn fresh() -> Option<(TraceId, SpanId)> {
    // Random bits of version 7 identifiers are enough for a name that nobody has to guess.
    let (one, two) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let mut span = [0; 8];
    span.copy_from_slice(&two.as_bytes()[8..]);
    Some((TraceId::from_bytes(*one.as_bytes())?, SpanId::from_bytes(span)?))
}

/// Where a part of a text begins in it: the offset of an object's brace.
fn offset(text: &str, part: &str) -> Option<usize> {
    let at = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    (text.as_bytes().get(at) == Some(&b'{')).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_is_added_and_nothing_else_changes() {
        for (message, begins) in [
            (r#"{"id":1,"method":"x"}"#, r#"{"params":{"_meta":{"traceparent":"00-"#),
            (r#"{"id":1,"method":"x","params":{}}"#, r#"{"id":1,"method":"x","params":{"_meta":{"traceparent":"00-"#),
            (r#" {"params" : { "a":1},"id":1,"method":"x"}"#, r#" {"params" : {"_meta":{"traceparent":"00-"#),
            (r#"{"id":1,"method":"x","params":{"_meta":{ }}}"#, r#"{"id":1,"method":"x","params":{"_meta":{"traceparent":"00-"#),
            (
                r#"{"id":1,"method":"x","params":{"_meta":{"p":2}}}"#,
                r#"{"id":1,"method":"x","params":{"_meta":{"traceparent":"00-"#,
            ),
        ] {
            let told = String::from_utf8(traced(message.as_bytes()).unwrap()).unwrap();
            assert!(told.starts_with(begins), "{told}");
            let value: serde_json::Value = serde_json::from_str(&told).unwrap();
            let added = value["params"]["_meta"]["traceparent"].as_str().unwrap();
            assert_eq!(added.len(), 55);
            let entry = format!("\"traceparent\":\"{added}\"");
            let without = told.replace(&format!("\"params\":{{\"_meta\":{{{entry}}}}},"), "");
            let without = without.replace(&format!("\"_meta\":{{{entry}}},"), "").replace(&format!("\"_meta\":{{{entry}}}"), "");
            assert_eq!(without.replace(&format!("{entry},"), "").replace(&entry, ""), message);
        }
    }

    #[test]
    fn what_has_one_or_is_no_request_stays() {
        for message in [
            r#"{"id":1,"method":"x","params":{"_meta":{"traceparent":"00-a"}}}"#,
            r#"{"method":"x"}"#,
            r#"{"id":1,"result":{}}"#,
            r#"{"id":1,"method":"x","params":[1]}"#,
            r#"{"id":1,"method":"x","params":null}"#,
            r#"{"id":1,"method":"x","params":{"_meta":null}}"#,
            r#"{"id":1,"method":"x","method":"y"}"#,
            "[]",
            "",
        ] {
            assert!(traced(message.as_bytes()).is_none(), "{message}");
        }
    }
}
