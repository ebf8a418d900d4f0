//! Message batches: many requests in one body, many answers in one file of lines; and the counting of tokens.

use event::{Direction, Part, PieceMeta, Role, attr};
use serde_json::value::RawValue;

use super::super::decode::{DecodeError, ModelRequest, ModelResponse, Pieces, add_left_out, body_object};
use super::super::json::Object;
use super::super::openai::batch::add_usage;
use super::super::shape::{Shape, Side};

/// `POST /v1/messages/count_tokens`
pub(in super::super) static COUNT: Shape = Shape {
    asks: Side::NONE,
    answers: Side { handled: &["type"], counts: &[("input_tokens", attr::GEN_AI_USAGE_INPUT_TOKENS)], ..Side::NONE },
};

/// What the answer to a new batch tells of it.
pub(in super::super) static STATE: Shape =
    Shape { asks: Side::NONE, answers: Side { fields: &[("id", attr::GEN_AI_RESPONSE_ID)], handled: &["type"], ..Side::NONE } };

/// Reads `{"requests": [{"custom_id", "params"}]}`.
pub(in super::super) fn decode_request(body: &[u8]) -> Result<ModelRequest, DecodeError> {
    let object = body_object(body)?;
    let mut request = ModelRequest::default();
    let mut pieces = Pieces::default();
    for raw in object.items("requests") {
        let params = Object::of(raw).and_then(|one| one.get("params"));
        let one = params.and_then(|params| super::decode_request(params.get().as_bytes()).ok());
        if one.is_none() {
            pieces.push_unread(Direction::Input, Role::User, 0, raw);
        }
        request.add_batched(one, &mut pieces);
    }
    request.pieces = pieces.finish(&mut request.attributes);
    Ok(request)
}

/// Reads lines of `{"custom_id", "result": {"type", "message"}}`.
pub(in super::super) fn decode_results(body: &[u8]) -> Result<ModelResponse, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::NotUtf8 { offset: error.valid_up_to() })?;
    let mut response = ModelResponse::default();
    let mut pieces = Pieces::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let object = Object::parse(line).ok();
        // An error of the API is one object, not a line of results.
        if let Some(error) =
            object.as_ref().filter(|object| object.get("custom_id").is_none()).and_then(|object| object.get("error"))
        {
            response.error = Some(super::read_error(error, &mut pieces));
            continue;
        }
        let result = object.and_then(|object| object.object("result"));
        let message = result.as_ref().and_then(|result| result.get("message")).map(RawValue::get);
        match message.and_then(|message| super::decode_response(message.as_bytes()).ok()) {
            Some(one) => {
                add_usage(&mut response.attributes, &one.attributes);
                add_left_out(&mut response.attributes, &one.attributes);
                for piece in one.pieces {
                    pieces.push(piece.meta, piece.content.expose().to_owned());
                }
            }
            None => pieces.push(PieceMeta::new(Direction::Output, Role::Assistant, Part::Body), line.to_owned()),
        }
    }
    response.pieces = pieces.finish(&mut response.attributes);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use event::Value;

    use super::super::super::openai::batch::texts;
    use super::*;

    #[test]
    fn every_request_and_every_result_of_a_batch_is_read() {
        let request = decode_request(
            br#"{"requests":[{"custom_id":"a","params":{"model":"c","max_tokens":1,"messages":[{"role":"user","content":"one"}]}},
                {"custom_id":"b","params":{"model":"c","max_tokens":1,"messages":[{"role":"user","content":"two"}]}},7]}"#,
        )
        .unwrap();
        assert_eq!((request.model.as_deref(), texts(&request.pieces)), (Some("c"), vec!["one", "two", "7"]));
        assert_eq!(request.models(), ["c", ""], "one of them cannot be read");
        let results = concat!(
            r#"{"custom_id":"a","result":{"type":"succeeded","message":{"model":"c1","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":2,"output_tokens":1}}}}"#,
            "\n",
            r#"{"custom_id":"b","result":{"type":"expired"}}"#,
            "\n"
        );
        let response = decode_results(results.as_bytes()).unwrap();
        assert_eq!(texts(&response.pieces), ["hi", r#"{"custom_id":"b","result":{"type":"expired"}}"#]);
        assert_eq!(response.attributes[&attr::GEN_AI_USAGE_INPUT_TOKENS], Value::Int(2));
        assert_eq!(COUNT.answer(br#"{"input_tokens":14}"#).unwrap().attributes[&attr::GEN_AI_USAGE_INPUT_TOKENS], Value::Int(14));
    }
}
