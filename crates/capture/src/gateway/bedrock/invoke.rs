//! `InvokeModel`: bodies are the model's own. Those of Anthropic and those that follow OpenAI are read as such, Nova's as Converse,
//! others by where models keep their texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::{Part, Role, attr};

use super::super::api::{Asked, StreamDecode};
use super::super::decode::{DecodeError, ModelRequest, ModelResponse, Progress, TOP_P, body_object};
use super::super::json::Object;
use super::super::shape::{Shape, Side, Text};
use super::super::{anthropic, openai};

const fn asked(path: &'static str, part: Part) -> Text {
    Text { path, role: Role::User, part }
}

const fn said(path: &'static str) -> Text {
    Text { path, role: Role::Assistant, part: Part::Text }
}

/// Where the models of Amazon (Titan), Meta, Mistral, Cohere, AI21 and Stability keep their texts.
static OTHERS: Shape = Shape {
    asks: Side {
        fields: &[
            ("temperature", attr::GEN_AI_REQUEST_TEMPERATURE),
            ("top_p", TOP_P),
            ("max_gen_len", attr::GEN_AI_REQUEST_MAX_TOKENS),
        ],
        texts: &[
            asked("inputText", Part::Text),
            asked("prompt", Part::Text),
            asked("message", Part::Text),
            asked("texts[]", Part::Text),
            asked("text_prompts[].text", Part::Text),
            asked("textToImageParams.text", Part::Text),
            asked("chat_history[].message", Part::Text),
            Text { path: "preamble", role: Role::System, part: Part::Text },
            Text { path: "documents[]", role: Role::Document, part: Part::Document },
            asked("inputImage", Part::Media),
        ],
        ..Side::NONE
    },
    answers: Side {
        fields: &[],
        handled: &["embedding", "embeddings", "embeddingsByType", "response_type"],
        texts: &[
            said("results[].outputText"),
            said("outputText"),
            said("generation"),
            said("outputs[].text"),
            said("generations[].text"),
            said("text"),
            said("completions[].data.text"),
            said("completion"),
            Text { path: "images[]", role: Role::Assistant, part: Part::Media },
        ],
        counts: &[
            ("inputTextTokenCount", attr::GEN_AI_USAGE_INPUT_TOKENS),
            ("prompt_token_count", attr::GEN_AI_USAGE_INPUT_TOKENS),
            ("amazon-bedrock-invocationMetrics.inputTokenCount", attr::GEN_AI_USAGE_INPUT_TOKENS),
            ("results[].tokenCount", attr::GEN_AI_USAGE_OUTPUT_TOKENS),
            ("generation_token_count", attr::GEN_AI_USAGE_OUTPUT_TOKENS),
            ("amazon-bedrock-invocationMetrics.outputTokenCount", attr::GEN_AI_USAGE_OUTPUT_TOKENS),
        ],
        lists: &[
            ("stop_reason", attr::GEN_AI_RESPONSE_FINISH_REASONS),
            ("results[].completionReason", attr::GEN_AI_RESPONSE_FINISH_REASONS),
        ],
    },
};

/// Whose form a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Anthropic,
    OpenAi,
    Converse,
    Other,
}

/// Reads the body of `invoke` and `invoke-with-response-stream`.
pub(in super::super) fn decode_request(asked: &Asked, body: &[u8]) -> Result<ModelRequest, DecodeError> {
    let object = body_object(body)?;
    let form = if object.get("anthropic_version").is_some() {
        Form::Anthropic
    } else if object.get("schemaVersion").is_some() || object.get("inferenceConfig").is_some() {
        Form::Converse
    } else if object.get("messages").is_some() {
        Form::OpenAi
    } else {
        Form::Other
    };
    match form {
        Form::Anthropic => anthropic::decode_request(body),
        Form::Converse => super::decode_request(body),
        Form::OpenAi => openai::decode_request(body),
        Form::Other => OTHERS.request(asked, body),
    }
}

/// Reads an answer in one piece.
pub(in super::super) fn decode_response(body: &[u8]) -> Result<ModelResponse, DecodeError> {
    let object = body_object(body)?;
    if object.text("type").as_deref() == Some("message") {
        anthropic::decode_response(body)
    } else if object.get("output").is_some() || object.get("message").is_some() {
        super::decode_response(body)
    } else if object.get("choices").is_some() {
        openai::decode_response(body)
    } else {
        OTHERS.answer(body)
    }
}

/// Puts the chunks of a streamed answer together: each is `{"bytes": base64}`, and in it an event of the model.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    /// Reads the model's events; what it is shows with the first chunk.
    inner: Option<Box<dyn StreamDecode>>,
    is_converse: bool,
}

/// Answers of the other models, one after the other.
#[derive(Debug, Default)]
struct Pieced {
    whole: ModelResponse,
}

impl StreamDecode for StreamDecoder {
    fn event(&mut self, name: &[u8], data: &[u8]) -> Progress {
        let object = std::str::from_utf8(data).ok().and_then(|text| Object::parse(text).ok());
        let bytes = object.and_then(|object| object.text("bytes")).and_then(|bytes| STANDARD.decode(bytes).ok());
        let Some(event) = bytes else {
            // An exception of the stream itself.
            return self.converse().event(name, data);
        };
        let Some(object) = std::str::from_utf8(&event).ok().and_then(|text| Object::parse(text).ok()) else {
            return self.converse().event(name, &event);
        };
        if self.inner.is_none() {
            self.is_converse = NOVA.iter().any(|name| object.get(name).is_some());
            self.inner = Some(if object.get("type").is_some() {
                Box::<anthropic::StreamDecoder>::default()
            } else if object.get("choices").is_some() {
                Box::<openai::StreamDecoder>::default()
            } else if self.is_converse {
                Box::<super::StreamDecoder>::default()
            } else {
                Box::<Pieced>::default()
            });
        }
        let is_converse = self.is_converse;
        let inner = self.converse();
        if !is_converse {
            return inner.event(&[], &event);
        }
        let part = object.entries().next().map(|(name, raw)| (name.to_owned(), raw));
        part.map_or(Progress::More, |(name, raw)| inner.event(name.as_bytes(), raw.get().as_bytes()))
    }

    fn is_last(&self, _name: &[u8], _data: &[u8]) -> bool {
        // What a chunk says can only be told by reading it; the end is that of the body.
        false
    }

    fn has_finished(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.has_finished())
    }

    fn take(&mut self) -> ModelResponse {
        self.inner.as_mut().map(|inner| inner.take()).unwrap_or_default()
    }
}

/// The names of the events of Nova, which speaks Converse.
const NOVA: &[&str] = &["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];

impl StreamDecoder {
    /// What reads; Converse while nothing is known, because its errors are those of Bedrock.
    fn converse(&mut self) -> &mut dyn StreamDecode {
        &mut **self.inner.get_or_insert_with(|| Box::<super::StreamDecoder>::default())
    }
}

impl Pieced {
    fn add(&mut self, event: &[u8]) {
        let Ok(one) = OTHERS.answer(event) else {
            self.whole.malformed_events += 1;
            return;
        };
        self.whole.attributes.extend(one.attributes);
        for piece in one.pieces {
            let has_room = self.whole.pieces.len() < event::limits::PIECES_MAX;
            match self.whole.pieces.last_mut() {
                Some(last) if last.meta.part == piece.meta.part && last.meta.part == Part::Text => {
                    let room = event::limits::CONTENT_BYTES_MAX.saturating_sub(last.content.expose().len());
                    let more = piece.content.expose();
                    let joined = format!("{}{}", last.content.expose(), &more[..more.floor_char_boundary(room.min(more.len()))]);
                    last.content = joined.into();
                }
                _ if has_room => self.whole.pieces.push(piece),
                _ => {}
            }
        }
    }
}

impl StreamDecode for Pieced {
    fn event(&mut self, _name: &[u8], data: &[u8]) -> Progress {
        self.add(data);
        Progress::More
    }

    fn is_last(&self, _name: &[u8], _data: &[u8]) -> bool {
        false
    }

    fn has_finished(&self) -> bool {
        self.whole.attributes.contains_key(&attr::GEN_AI_RESPONSE_FINISH_REASONS)
    }

    fn take(&mut self) -> ModelResponse {
        std::mem::take(&mut self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: &[event::Piece<crate::Raw>]) -> Vec<&str> {
        pieces.iter().map(|piece| piece.content.expose()).collect()
    }

    #[test]
    fn every_model_is_read_in_its_own_form() {
        let asked = Asked::default();
        for body in [
            r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user","content":"hello"}]}"#,
            r#"{"inputText":"hello","textGenerationConfig":{}}"#,
            r#"{"prompt":"hello","max_gen_len":5}"#,
            r#"{"messages":[{"role":"user","content":"hello"}]}"#,
            r#"{"schemaVersion":"messages-v1","messages":[{"role":"user","content":[{"text":"hello"}]}]}"#,
        ] {
            assert_eq!(texts(&decode_request(&asked, body.as_bytes()).unwrap().pieces), ["hello"], "{body}");
        }
        for body in [
            r#"{"type":"message","content":[{"type":"text","text":"hi"}]}"#,
            r#"{"results":[{"outputText":"hi","tokenCount":1,"completionReason":"FINISH"}],"inputTextTokenCount":3}"#,
            r#"{"generation":"hi","prompt_token_count":3,"generation_token_count":1,"stop_reason":"stop"}"#,
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn"}"#,
            r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}"#,
        ] {
            assert_eq!(texts(&decode_response(body.as_bytes()).unwrap().pieces), ["hi"], "{body}");
        }
    }

    #[test]
    fn streamed_chunks_are_unpacked() {
        let chunk = |event: &str| format!(r#"{{"bytes":"{}","p":"abc"}}"#, STANDARD.encode(event));
        let mut anthropic = StreamDecoder::default();
        for event in [
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"h"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"i"}}"#,
        ] {
            anthropic.event(b"chunk", chunk(event).as_bytes());
        }
        assert_eq!(anthropic.event(b"chunk", chunk(r#"{"type":"message_stop"}"#).as_bytes()), Progress::Last);
        assert_eq!(texts(&anthropic.take().pieces), ["hi"]);
        let mut llama = StreamDecoder::default();
        llama.event(b"chunk", chunk(r#"{"generation":"h","stop_reason":null}"#).as_bytes());
        assert!(!llama.has_finished());
        llama.event(b"chunk", chunk(r#"{"generation":"i","stop_reason":"stop"}"#).as_bytes());
        assert!(llama.has_finished());
        assert_eq!(texts(&llama.take().pieces), ["hi"]);
        let mut broken = StreamDecoder::default();
        broken.event(b"throttlingException", br#"{"message":"slow down"}"#);
        assert_eq!(broken.take().error.as_deref(), Some("throttlingException"));
    }
}
