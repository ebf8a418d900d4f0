//! Batches of OpenAI: the file of requests that is uploaded, and the file of answers that is fetched. A call must not escape the
//! record because it is made by file.

use event::{Attributes, Direction, Part, PieceMeta, Role, Value};

use super::super::api::Asked;
use super::super::decode::{DecodeError, ModelRequest, ModelResponse, Pieces};
use super::super::json::Object;
use super::super::multipart;
use crate::Raw;

/// The purpose that a file of requests is uploaded for.
const BATCH: &str = "batch";

/// Reads an upload: what the form says, and each request where the file is a batch. Of other files, where they are text or not, only
/// name, type and size.
pub(in super::super) fn decode_upload(asked: &Asked, body: &[u8]) -> Result<ModelRequest, DecodeError> {
    let mut request = ModelRequest::default();
    let mut pieces = Pieces::default();
    let Some(boundary) = &asked.boundary else {
        // Not a form: only that it was there can be told.
        super::super::decode::add(&mut request.attributes, event::attr::CONTENT_BYTES_CUT, body.len());
        return Ok(request);
    };
    let fields = multipart::fields(body, boundary)?;
    let is_batch = fields.iter().any(|field| field.name == "purpose" && field.body == BATCH.as_bytes());
    for field in &fields {
        if field.file.is_none() {
            let text = String::from_utf8_lossy(&field.body[..field.body.len().min(4_096)]).into_owned();
            request.unmapped.insert(Raw::from(field.name.as_str()), Value::from(text.as_str()));
            continue;
        }
        let meta =
            PieceMeta { name: field.file.as_deref().map(Raw::from), ..PieceMeta::new(Direction::Input, Role::User, Part::Media) };
        pieces.push(meta, multipart::file_reference(field));
        if is_batch {
            requests(&String::from_utf8_lossy(field.body), &mut request, &mut pieces);
        } else {
            super::super::decode::add(&mut request.attributes, event::attr::CONTENT_BYTES_CUT, field.body.len());
        }
    }
    let counted = std::mem::take(&mut pieces);
    request.pieces.extend(counted.finish(&mut request.attributes));
    Ok(request)
}

/// Each line is `{"custom_id", "method", "url", "body"}`.
fn requests(lines: &str, request: &mut ModelRequest, pieces: &mut Pieces) {
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let object = Object::parse(line).ok();
        let body = object.as_ref().and_then(|object| object.get("body"));
        let read = body.and_then(|body| {
            let url = object.as_ref().and_then(|object| object.text("url")).unwrap_or_default();
            let body = body.get().as_bytes();
            match url.as_str() {
                url if url.ends_with("/responses") => super::responses::decode_request(body).ok(),
                url if url.ends_with("/embeddings") => super::others::EMBEDDINGS.request(&Asked::default(), body).ok(),
                url if url.ends_with("/chat/completions") => super::decode_request(body).ok(),
                _ => super::others::COMPLETIONS.request(&Asked::default(), body).ok(),
            }
        });
        if read.is_none() {
            pieces.note_unmapped();
            pieces.push(PieceMeta::new(Direction::Input, Role::User, Part::Body), line.to_owned());
        }
        request.add_batched(read, pieces);
    }
}

/// Reads the content of a file, when it is what came of a batch: lines of `{"custom_id", "response": {"body"}}`. Another file is only
/// measured.
pub(in super::super) fn decode_output(body: &[u8]) -> Result<ModelResponse, DecodeError> {
    let mut response = ModelResponse::default();
    let mut pieces = Pieces::default();
    let text = std::str::from_utf8(body).unwrap_or_default();
    let first = text.lines().next().and_then(|line| Object::parse(line).ok());
    if let Some(object) = &first
        && object.get("custom_id").is_none()
        && let Some(error) = object.get("error")
    {
        response.error = Some(super::read_error(error, &mut pieces));
    } else if first.is_some_and(|object| object.get("custom_id").is_some() && object.get("response").is_some()) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let answer =
                Object::parse(line).ok().and_then(|object| object.object("response")).and_then(|answer| answer.get("body"));
            let read = answer.and_then(|answer| {
                let is_response = Object::of(answer).is_some_and(|object| object.text("object").as_deref() == Some("response"));
                let read = if is_response { super::responses::decode_response } else { super::decode_response };
                read(answer.get().as_bytes()).ok()
            });
            match read {
                Some(one) => {
                    add_usage(&mut response.attributes, &one.attributes);
                    super::super::decode::add_left_out(&mut response.attributes, &one.attributes);
                    for piece in one.pieces {
                        pieces.push(piece.meta, piece.content.expose().to_owned());
                    }
                }
                None => {
                    pieces.note_unmapped();
                    pieces.push(PieceMeta::new(Direction::Output, Role::Assistant, Part::Body), line.to_owned());
                }
            }
        }
    } else {
        super::super::decode::add(&mut response.attributes, event::attr::CONTENT_BYTES_CUT, body.len());
    }
    response.pieces = pieces.finish(&mut response.attributes);
    Ok(response)
}

/// Adds up the tokens of the answers of a batch.
pub(in super::super) fn add_usage(all: &mut Attributes<Raw>, one: &Attributes<Raw>) {
    for key in [event::attr::GEN_AI_USAGE_INPUT_TOKENS, event::attr::GEN_AI_USAGE_OUTPUT_TOKENS] {
        if let Some(count) = one.get(&key).and_then(Value::as_int) {
            super::super::decode::add(all, key, usize::try_from(count).unwrap_or(0));
        }
    }
    for key in [event::attr::GEN_AI_RESPONSE_MODEL] {
        if let Some(value) = one.get(&key) {
            all.insert(key, value.clone());
        }
    }
}

/// The JSON of one line, for the tests of both providers.
#[cfg(test)]
pub(in super::super) fn texts(pieces: &[event::Piece<Raw>]) -> Vec<&str> {
    pieces.iter().map(|piece| piece.content.expose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_of_a_batch_are_read_from_its_file() {
        let line =
            |url: &str, body: &str| format!("{{\"custom_id\":\"1\",\"method\":\"POST\",\"url\":\"{url}\",\"body\":{body}}}\n");
        let file = line("/v1/chat/completions", r#"{"model":"m","messages":[{"role":"user","content":"one"}]}"#)
            + &line("/v1/responses", r#"{"model":"m","input":"two"}"#)
            + "broken\n";
        let form = |purpose: &str| {
            format!(
                "--B\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
                 --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.jsonl\"\r\n\r\n{file}\r\n--B--\r\n"
            )
        };
        let asked = Asked { boundary: Some("B".to_owned()), ..Asked::default() };
        let request = decode_upload(&asked, form("batch").as_bytes()).unwrap();
        let size = format!("file b.jsonl, application/octet-stream, {} bytes", file.len());
        assert_eq!(texts(&request.pieces), [size.as_str(), "one", "two", "broken"]);
        assert_eq!((request.model.as_deref(), request.models()), (Some("m"), vec!["m", ""]));
        let other = decode_upload(&asked, form("assistants").as_bytes()).unwrap();
        assert_eq!(texts(&other.pieces), [size.as_str()]);
        assert_eq!(other.attributes[&event::attr::CONTENT_BYTES_CUT], Value::Int(i64::try_from(file.len()).unwrap()));
    }

    #[test]
    fn the_answers_of_a_batch_are_read_and_other_files_are_measured() {
        let line = |text: &str| {
            format!(
                r#"{{"id":"x","custom_id":"1","response":{{"status_code":200,"body":{{"model":"m1","choices":[{{"index":0,"finish_reason":"stop","message":{{"role":"assistant","content":"{text}"}}}}],"usage":{{"prompt_tokens":2,"completion_tokens":3}}}}}}}}"#
            ) + "\n"
        };
        let response = decode_output((line("one") + &line("two")).as_bytes()).unwrap();
        assert_eq!(texts(&response.pieces), ["one", "two"]);
        assert_eq!(response.attributes[&event::attr::GEN_AI_USAGE_INPUT_TOKENS], Value::Int(4));
        let other = decode_output(b"\x00\x01 some picture").unwrap();
        assert_eq!((other.pieces.len(), &other.attributes[&event::attr::CONTENT_BYTES_CUT]), (0, &Value::Int(15)));
        let error = decode_output(br#"{"error":{"message":"No such File object","type":"invalid_request_error"}}"#).unwrap();
        assert_eq!(error.error.as_deref(), Some("invalid_request_error"));
    }
}
