//! JSON-RPC 2.0 messages, as MCP uses them: read one level at a time, so that what a message carries stays the bytes that it was.
//!
//! A message that two readers may understand in two ways (a key given twice, or `Method` beside `method`, which some
//! libraries take for the same) is [`Unreadable::Ambiguous`]: what is judged here must be what the other side does.

use serde_json::value::RawValue;

use crate::gateway::json::{self, Object};

/// Most messages in one batch (MCP 2025-03-26). Later versions have no batches.
pub(super) const BATCH_MAX: usize = 256;

/// Longest id of a request, in bytes. SDKs count, or send a UUID.
const ID_BYTES_MAX: usize = 1_024;

/// Longest name of a method, in bytes.
const METHOD_BYTES_MAX: usize = 256;

/// Beyond it not every whole number is a double (2^53), and an id in digits is only itself.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The members of a message. Any other spelling of them is ambiguous.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// One message.
pub(super) enum Message<'a> {
    /// Asks for an answer.
    Request { id: Id, method: String, params: Params<'a> },
    /// Tells something. An id of `null` asks for no answer in JSON-RPC, and is not allowed in MCP; some libraries answer to it.
    Notification { method: String, params: Params<'a>, has_null_id: bool },
    /// Answers. An error that belongs to no request has no id.
    Response { id: Option<Id>, outcome: Outcome<'a> },
}

/// What a request or notification is about.
#[derive(Clone, Copy)]
pub(super) struct Params<'a>(pub(super) Option<&'a RawValue>);

/// An answer.
pub(super) enum Outcome<'a> {
    Result(&'a RawValue),
    Error { code: Option<i64>, message: String, data: Option<&'a RawValue> },
}

/// The id of a request. A number and the text of its digits are two ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Id {
    Text(String),
    Number(String),
}

/// Why a message is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the message is not JSON")]
    NotJson,
    #[error("the message is no JSON-RPC message")]
    NoMessage,
    #[error("the message can be understood in two ways: a key stands in it twice, or in another spelling")]
    Ambiguous,
    #[error("the batch has more than {BATCH_MAX} messages")]
    BatchTooLong,
}

/// What came in one frame: a message, or a batch of them.
pub(super) struct Frame<'a> {
    pub(super) is_batch: bool,
    pub(super) messages: Vec<Result<Message<'a>, Unreadable>>,
}

impl Unreadable {
    /// As the record has it.
    pub(super) fn anomaly(self) -> &'static str {
        match self {
            Self::NotJson | Self::NoMessage => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::BatchTooLong => "batch_too_long",
        }
    }
}

impl Id {
    /// Reads an id. What is neither text nor number, or too long, is none.
    pub(super) fn of(raw: &RawValue) -> Option<Self> {
        let id = match json::text(raw) {
            Some(text) => Self::Text(text),
            None => match raw.get().as_bytes().first()? {
                b'-' | b'0'..=b'9' => Self::Number(number(raw)),
                _ => return None,
            },
        };
        (id.text().len() <= ID_BYTES_MAX).then_some(id)
    }

    /// As the record has it.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }

    /// As JSON has it.
    pub(super) fn json(&self) -> String {
        match self {
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::Number(number) => number.clone(),
        }
    }
}

/// A number as it is written most simply: to many libraries 1 and 1.0 are one id.
fn number(raw: &RawValue) -> String {
    if let Some(whole) = json::int(raw) {
        return whole.to_string();
    }
    match json::number(raw) {
        Some(number) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => format!("{number:.0}"),
        _ => raw.get().to_owned(),
    }
}

impl<'a> Params<'a> {
    /// The members, when they can be read without doubt.
    pub(super) fn object(self) -> Option<Object<'a>> {
        self.0.and_then(Object::of)
    }

    /// Whether there are members that cannot be read.
    pub(super) fn is_unreadable(self) -> bool {
        self.0.is_some() && self.object().is_none()
    }

    pub(super) fn text(self, key: &str) -> Option<String> {
        self.object()?.text(key)
    }

    /// The bag beside the parameters.
    pub(super) fn meta(self) -> Option<Object<'a>> {
        self.object()?.object("_meta")
    }
}

/// Reads what came in one frame.
pub(super) fn read(bytes: &[u8]) -> Frame<'_> {
    let one = |message| Frame { is_batch: false, messages: vec![message] };
    let Ok(text) = std::str::from_utf8(bytes) else { return one(Err(Unreadable::NotJson)) };
    let text = text.trim();
    if !text.starts_with('[') {
        return one(message(text));
    }
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else { return one(Err(Unreadable::NotJson)) };
    match json::items(raw) {
        Some(items) if items.len() > BATCH_MAX => one(Err(Unreadable::BatchTooLong)),
        Some(items) if !items.is_empty() => {
            Frame { is_batch: true, messages: items.into_iter().map(|item| message(item.get())).collect() }
        }
        _ => one(Err(Unreadable::NoMessage)),
    }
}

/// The ids of the requests in one frame.
pub(super) fn asked(bytes: &[u8]) -> Vec<Id> {
    let ids = read(bytes).messages.into_iter().filter_map(|message| match message {
        Ok(Message::Request { id, .. }) => Some(id),
        _ => None,
    });
    ids.collect()
}

fn message(text: &str) -> Result<Message<'_>, Unreadable> {
    if !text.starts_with('{') {
        return Err(match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => Unreadable::NoMessage,
            Err(_) => Unreadable::NotJson,
        });
    }
    let members =
        Object::parse(text).map_err(|error| if error.is_data() { Unreadable::Ambiguous } else { Unreadable::NotJson })?;
    if is_ambiguous(&members, &MEMBERS) {
        return Err(Unreadable::Ambiguous);
    }
    let id = members.get("id").map(|raw| Id::of(raw).ok_or(Unreadable::NoMessage)).transpose()?;
    let (result, error) = (members.get("result"), members.get("error"));
    if let Some(method) = members.get("method") {
        let method = json::text(method).filter(|method| method.len() <= METHOD_BYTES_MAX).ok_or(Unreadable::NoMessage)?;
        if result.is_some() || error.is_some() {
            return Err(Unreadable::Ambiguous);
        }
        let params = Params(members.get("params"));
        return Ok(match id {
            Some(id) => Message::Request { id, method, params },
            None => {
                let has_null_id = members.entries().any(|(key, _)| key == "id");
                Message::Notification { method, params, has_null_id }
            }
        });
    }
    match (result, error) {
        (Some(_), Some(_)) => Err(Unreadable::Ambiguous),
        (Some(result), None) => Ok(Message::Response { id, outcome: Outcome::Result(result) }),
        (None, Some(error)) => {
            let Some(error) = Object::of(error) else { return Err(Unreadable::Ambiguous) };
            let outcome = Outcome::Error {
                code: error.int("code"),
                message: error.text("message").unwrap_or_default(),
                data: error.get("data"),
            };
            Ok(Message::Response { id, outcome })
        }
        // `"result": null` reads as absent; as an answer it is one all the same.
        (None, None) => match members.entries().find(|(key, _)| *key == "result") {
            Some((_, result)) => Ok(Message::Response { id, outcome: Outcome::Result(result) }),
            None => Err(Unreadable::NoMessage),
        },
    }
}

/// Whether an object has a key that differs from one of `names` only in the case of its letters.
pub(super) fn is_ambiguous(object: &Object<'_>, names: &[&str]) -> bool {
    object.entries().any(|(key, _)| names.iter().any(|name| *name != key && name.eq_ignore_ascii_case(key)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(text: &str) -> String {
        let frame = read(text.as_bytes());
        let kinds: Vec<_> = frame
            .messages
            .iter()
            .map(|message| match message {
                Ok(Message::Request { id, method, .. }) => format!("request {} {method}", id.json()),
                Ok(Message::Notification { method, has_null_id, .. }) => {
                    format!("notification {method}{}", if *has_null_id { " null" } else { "" })
                }
                Ok(Message::Response { id, outcome: Outcome::Result(_) }) => {
                    format!("result {}", id.as_ref().map_or_else(|| "-".to_owned(), Id::json))
                }
                Ok(Message::Response { id, outcome: Outcome::Error { code, message, .. } }) => {
                    format!("error {} {code:?} {message}", id.as_ref().map_or_else(|| "-".to_owned(), Id::json))
                }
                Err(error) => error.anomaly().to_owned(),
            })
            .collect();
        format!("{}{}", if frame.is_batch { "batch: " } else { "" }, kinds.join(", "))
    }

    #[test]
    fn messages_are_told_apart() {
        let cases = [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "request 1 ping"),
            (r#" {"id":"1","method":"tools/call","params":{}} "#, "request \"1\" tools/call"),
            (r#"{"method":"notifications/x"}"#, "notification notifications/x"),
            (r#"{"id":null,"method":"x"}"#, "notification x null"),
            (r#"{"id":7,"result":{}}"#, "result 7"),
            (r#"{"id":7,"result":null}"#, "result 7"),
            (r#"{"id":7,"error":{"code":-32601,"message":"no"}}"#, "error 7 Some(-32601) no"),
            (r#"{"error":{"code":-1,"message":"no"}}"#, "error - Some(-1) no"),
            (r#"{"id":1.5,"result":0}"#, "result 1.5"),
            (r#"{"id":1.0,"result":0}"#, "result 1"),
            (r#"{"id":-2e0,"method":"x"}"#, "request -2 x"),
            (r#"{"id":1e300,"result":0}"#, "result 1e300"),
            (r#"[{"id":1,"method":"a"},{"method":"b"},3]"#, "batch: request 1 a, notification b, malformed"),
        ];
        for (text, expected) in cases {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn what_two_readers_may_understand_differently_is_not_read() {
        for text in [
            r#"{"id":1,"method":"ping","method":"tools/call"}"#,
            r#"{"id":1,"method":"ping","Method":"tools/call"}"#,
            r#"{"id":1,"method":"ping","m\u0065thod":"tools/call"}"#,
            r#"{"id":1,"ID":2,"method":"ping"}"#,
            r#"{"id":1,"method":"ping","result":{}}"#,
            r#"{"id":1,"result":{},"error":{"code":1,"message":""}}"#,
        ] {
            assert_eq!(kind(text), "ambiguous", "{text}");
        }
    }

    #[test]
    fn what_is_no_message_says_so() {
        let long = format!(r#"{{"id":"{}","method":"x"}}"#, "a".repeat(ID_BYTES_MAX + 1));
        for text in [
            "",
            "{",
            "[]",
            "[1",
            "3",
            "\"x\"",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":true,"method":"x"}"#,
            r#"{"id":{},"result":1}"#,
            &long,
        ] {
            assert_eq!(kind(text), "malformed", "{text}");
        }
        assert_eq!(kind(&format!("[{}]", vec!["1"; BATCH_MAX + 1].join(","))), "batch_too_long");
        assert!(matches!(read(b"\xff\xfe").messages[..], [Err(Unreadable::NotJson)]));
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!(r#"{{"id":1,"method":"x","params":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(kind(&deep), "request 1 x");
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(kind(&deep), "batch: malformed");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), text in r#"[\[\]{}",:a-z0-9 \\]{0,60}"#) {
            drop(read(&bytes));
            drop(read(text.as_bytes()));
        }
    }
}
