//! What the proxy itself says: JSON-RPC errors, and nothing else.

use serde_json::json;

use super::message::Id;

/// A request that the policy does not allow, or that cannot be recorded. Of the range that JSON-RPC and MCP leave to implementations.
pub(super) const REFUSED: i64 = -32_010;

/// JSON-RPC: the message is not one.
pub(super) const INVALID_REQUEST: i64 = -32_600;

/// How each of them begins.
const HEAD: &str = "{\"jsonrpc\":\"2.0\",\"id\":";

/// The id of nothing.
const NO_ID: &str = "null";

/// Errors for requests that do not go on: one message, or a batch when there are several. `None` when there is none.
pub(super) fn errors(ids: &[Id], code: i64, why: &str) -> Option<Vec<u8>> {
    let errors: Vec<String> = ids.iter().map(|id| error(&id.json(), code, why)).collect();
    match errors.len() {
        0 => None,
        1 => errors.into_iter().next().map(String::into_bytes),
        _ => Some(format!("[{}]", errors.join(",")).into_bytes()),
    }
}

/// An error that belongs to no request that could be read.
pub(super) fn unasked(code: i64, why: &str) -> Vec<u8> {
    error(NO_ID, code, why).into_bytes()
}

/// Whether an error of ours belongs to no request.
pub(super) fn is_unasked(error: &[u8]) -> bool {
    error.starts_with(format!("{HEAD}{NO_ID}").as_bytes())
}

fn error(id: &str, code: i64, why: &str) -> String {
    let error = json!({ "code": code, "message": format!("watchkeeper: {why}") });
    format!("{HEAD}{id},\"error\":{error}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_were() {
        let one = errors(&[Id::Text("a\"b".to_owned())], REFUSED, "no").unwrap();
        let one: serde_json::Value = serde_json::from_slice(&one).unwrap();
        assert_eq!((&one["id"], &one["error"]["code"]), (&"a\"b".into(), &REFUSED.into()));
        let two = errors(&[Id::Number("7".to_owned()), Id::Number("1.5".to_owned())], REFUSED, "no").unwrap();
        let two: serde_json::Value = serde_json::from_slice(&two).unwrap();
        assert_eq!((&two[0]["id"], &two[1]["id"]), (&7.into(), &1.5.into()));
        assert!(errors(&[], REFUSED, "no").is_none());
        assert!(
            is_unasked(&unasked(REFUSED, "no")) && !is_unasked(&errors(&[Id::Number("7".to_owned())], REFUSED, "no").unwrap())
        );
    }
}
