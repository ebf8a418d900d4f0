//! OpenAI's other APIs, as tables: completions, embeddings, moderations, pictures, sound, files, batches.

use event::{Direction, Key, Part, PieceMeta, Role, Value, attr};

use super::super::api::StreamDecode;
use super::super::decode::{DecodeError, MALFORMED_EVENTS, ModelResponse, Pieces, Progress, TOP_P, Text as Collected, add, list};
use super::super::json::{self, Object};
use super::super::shape::{Shape, Side, Text};
use super::{REQUEST_FIELDS, RESPONSE_FIELDS};

const fn user(path: &'static str) -> Text {
    Text { path, role: Role::User, part: Part::Text }
}

const fn media(path: &'static str) -> Text {
    Text { path, role: Role::User, part: Part::Media }
}

const fn said(path: &'static str, part: Part) -> Text {
    Text { path, role: Role::Assistant, part }
}

const FINISH: &[(&str, Key)] = &[("choices[].finish_reason", attr::GEN_AI_RESPONSE_FINISH_REASONS)];

/// Tokens, under the names of the older APIs and of the newer ones.
const USAGE: &[(&str, Key)] = &[
    ("usage.prompt_tokens", attr::GEN_AI_USAGE_INPUT_TOKENS),
    ("usage.input_tokens", attr::GEN_AI_USAGE_INPUT_TOKENS),
    ("usage.completion_tokens", attr::GEN_AI_USAGE_OUTPUT_TOKENS),
    ("usage.output_tokens", attr::GEN_AI_USAGE_OUTPUT_TOKENS),
];

/// `POST /v1/completions`
pub(in super::super) static COMPLETIONS: Shape = Shape {
    asks: Side {
        fields: REQUEST_FIELDS,
        handled: &["stream_options"],
        texts: &[user("prompt[]"), Text { path: "suffix", role: Role::User, part: Part::Body }],
        ..Side::NONE
    },
    answers: Side {
        fields: RESPONSE_FIELDS,
        handled: &["object", "created"],
        texts: &[said("choices[].text", Part::Text)],
        counts: USAGE,
        lists: FINISH,
    },
};

/// `POST /v1/embeddings`. Vectors are not recorded.
pub(in super::super) static EMBEDDINGS: Shape = Shape {
    asks: Side {
        fields: &[
            ("dimensions", Key::of("gen_ai.embeddings.dimension.count")),
            ("encoding_format", Key::of("gen_ai.request.encoding_formats")),
        ],
        texts: &[user("input[]")],
        ..Side::NONE
    },
    answers: Side { fields: RESPONSE_FIELDS, handled: &["object", "data"], counts: USAGE, ..Side::NONE },
};

/// `POST /v1/moderations`
pub(in super::super) static MODERATIONS: Shape = Shape {
    asks: Side { texts: &[user("input[].text"), user("input[]"), media("input[].image_url.url")], ..Side::NONE },
    answers: Side { fields: RESPONSE_FIELDS, handled: &["results"], ..Side::NONE },
};

/// `POST /v1/images/generations`, `edits`, `variations`
pub(in super::super) static IMAGES: Shape = Shape {
    asks: Side {
        fields: &[("n", Key::of("gen_ai.request.choice.count"))],
        texts: &[user("prompt"), media("image[]"), media("images[].image_url"), media("images[].file_id"), media("mask")],
        ..Side::NONE
    },
    answers: Side {
        fields: RESPONSE_FIELDS,
        handled: &["created", "data"],
        texts: &[
            said("data[].revised_prompt", Part::Text),
            said("data[].url", Part::Media),
            said("data[].b64_json", Part::Media),
        ],
        counts: USAGE,
        lists: &[],
    },
};

/// `POST /v1/audio/speech`. The answer is sound.
pub(in super::super) static SPEECH: Shape = Shape {
    asks: Side { texts: &[user("input"), Text { path: "instructions", role: Role::System, part: Part::Text }], ..Side::NONE },
    answers: Side::NONE,
};

/// `POST /v1/audio/transcriptions`, `translations`
pub(in super::super) static TRANSCRIPTIONS: Shape = Shape {
    asks: Side {
        fields: &[("temperature", attr::GEN_AI_REQUEST_TEMPERATURE), ("top_p", TOP_P)],
        texts: &[media("file"), user("prompt")],
        ..Side::NONE
    },
    answers: Side { handled: &["logprobs"], texts: &[said("text", Part::Text)], counts: USAGE, ..Side::NONE },
};

/// `POST /v1/files`: what the answer tells of the file.
pub(in super::super) static FILES: Shape =
    Shape { asks: Side::NONE, answers: Side { handled: &["object", "created_at"], ..Side::NONE } };

/// `POST /v1/batches`
pub(in super::super) static BATCHES: Shape = Shape {
    asks: Side::NONE,
    answers: Side {
        fields: &[("id", attr::GEN_AI_RESPONSE_ID)],
        handled: &["object", "created_at"],
        counts: USAGE,
        ..Side::NONE
    },
};

/// Reads the answer of a moderation: the decision, its categories and how sure it is.
pub(in super::super) fn decode_moderation(body: &[u8]) -> Result<ModelResponse, DecodeError> {
    let mut response = MODERATIONS.answer(body)?;
    let object = super::super::decode::body_object(body)?;
    let results: Vec<_> = object.items("results").into_iter().filter_map(Object::of).collect();
    let mut categories: Vec<String> = Vec::new();
    let mut score = 0.0_f64;
    let mut flagged = false;
    for result in &results {
        flagged |= result.get("flagged").and_then(json::boolean).unwrap_or(false);
        if let Some(named) = result.object("categories") {
            let hit = named.entries().filter(|(_, raw)| raw.get() == "true").map(|(name, _)| name.to_owned());
            categories.extend(hit.collect::<Vec<_>>());
        }
        if let Some(scores) = result.object("category_scores") {
            score = scores.entries().filter_map(|(_, raw)| json::number(raw)).fold(score, f64::max);
        }
    }
    if results.is_empty() {
        return Ok(response);
    }
    categories.sort_unstable();
    categories.dedup();
    let verdict = if flagged { "deny" } else { "allow" };
    let attributes = &mut response.attributes;
    attributes.insert(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME, "openai.moderations".into());
    attributes.insert(attr::GEN_AI_GUARDRAIL_VERDICT_TYPE, verdict.into());
    attributes.insert(attr::GEN_AI_GUARDRAIL_SECURITY_RISK_SCORE, Value::double(score));
    if !categories.is_empty() {
        attributes.insert(attr::GEN_AI_GUARDRAIL_SECURITY_RISK_CATEGORY, list(categories));
    }
    Ok(response)
}

/// The stream of a transcription: `transcript.text.delta`, then `transcript.text.done` with the whole.
#[derive(Debug, Default)]
pub(in super::super) struct TranscriptStream {
    text: Collected,
    response: Option<ModelResponse>,
    malformed: usize,
}

impl StreamDecode for TranscriptStream {
    fn event(&mut self, _name: &[u8], data: &[u8]) -> Progress {
        let object = std::str::from_utf8(data).ok().and_then(|text| Object::parse(text).ok());
        match object.as_ref().and_then(|object| object.text("type")).as_deref() {
            Some("transcript.text.delta") => {
                if let Some(delta) = object.and_then(|object| object.text("delta")) {
                    self.text.add(&delta);
                }
            }
            Some("transcript.text.done") => {
                self.response = TRANSCRIPTIONS.answer(data).ok();
                return Progress::Last;
            }
            Some(_) => {}
            None => self.malformed += 1,
        }
        Progress::More
    }

    fn is_last(&self, _name: &[u8], data: &[u8]) -> bool {
        memchr::memmem::find(data, b"\"transcript.text.done\"").is_some()
    }

    fn has_finished(&self) -> bool {
        self.response.is_some()
    }

    fn take(&mut self) -> ModelResponse {
        let this = std::mem::take(self);
        let mut response = this.response.unwrap_or_else(|| {
            let (mut response, mut text, mut pieces) = (ModelResponse::default(), this.text, Pieces::default());
            pieces.push_text(PieceMeta::new(Direction::Output, Role::Assistant, Part::Text), &mut text);
            response.pieces = pieces.finish(&mut response.attributes);
            response
        });
        add(&mut response.attributes, MALFORMED_EVENTS, this.malformed);
        response.malformed_events = this.malformed as u64;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::api::Asked;
    use super::*;
    use crate::Raw;

    fn texts(pieces: &[event::Piece<Raw>]) -> Vec<&str> {
        pieces.iter().map(|piece| piece.content.expose()).collect()
    }

    #[test]
    fn embeddings_keep_the_texts_and_not_the_vectors() {
        let asked = Asked::default();
        let request = EMBEDDINGS.request(&asked, br#"{"model":"e","input":["one","two"],"dimensions":8,"user":"u"}"#).unwrap();
        assert_eq!(
            (texts(&request.pieces), request.user.as_deref(), request.model.as_deref()),
            (vec!["one", "two"], Some("u"), Some("e"))
        );
        assert_eq!(request.attributes[&Key::of("gen_ai.embeddings.dimension.count")], Value::Int(8));
        let tokens = EMBEDDINGS.request(&asked, br#"{"model":"e","input":[[1,2],[3]]}"#).unwrap();
        assert_eq!(texts(&tokens.pieces), ["[1,2]", "[3]"]);
        let answer = EMBEDDINGS
            .answer(
                br#"{"object":"list","data":[{"embedding":[0.1]}],"model":"e-1","usage":{"prompt_tokens":4,"total_tokens":4}}"#,
            )
            .unwrap();
        assert_eq!(answer.attributes[&attr::GEN_AI_USAGE_INPUT_TOKENS], Value::Int(4));
        assert!(answer.pieces.is_empty() && answer.unmapped.is_empty(), "{:?}", answer.unmapped.len());
    }

    #[test]
    fn a_moderation_is_a_decision() {
        let request = MODERATIONS
            .request(
                &Asked::default(),
                br#"{"input":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}"#,
            )
            .unwrap();
        assert!(texts(&request.pieces).contains(&"hi") && texts(&request.pieces).contains(&"data:image/png, 2 characters"));
        let answer = decode_moderation(
            br#"{"id":"m","model":"mod-1","results":[{"flagged":true,"categories":{"violence":true,"hate":false},"category_scores":{"violence":0.9,"hate":0.1}}]}"#,
        )
        .unwrap();
        assert_eq!(answer.attributes[&attr::GEN_AI_GUARDRAIL_VERDICT_TYPE], Value::from("deny"));
        assert_eq!(answer.attributes[&attr::GEN_AI_GUARDRAIL_SECURITY_RISK_CATEGORY], list(["violence".to_owned()]));
        assert_eq!(answer.attributes[&attr::GEN_AI_GUARDRAIL_SECURITY_RISK_SCORE], Value::double(0.9));
    }

    #[test]
    fn pictures_are_named_and_never_kept() {
        let answer = IMAGES
            .answer(br#"{"created":1,"data":[{"b64_json":"AAAA","revised_prompt":"a cat"},{"url":"https://e.com/x"}]}"#)
            .unwrap();
        assert_eq!(texts(&answer.pieces), ["a cat", "https://e.com/x", "4 characters"]);
    }

    #[test]
    fn a_transcription_is_read_whole_or_in_deltas() {
        let answer =
            TRANSCRIPTIONS.answer(br#"{"text":"hello","usage":{"type":"tokens","input_tokens":3,"output_tokens":1}}"#).unwrap();
        assert_eq!(
            (texts(&answer.pieces), &answer.attributes[&attr::GEN_AI_USAGE_INPUT_TOKENS]),
            (vec!["hello"], &Value::Int(3))
        );
        let mut stream = TranscriptStream::default();
        stream.event(b"", br#"{"type":"transcript.text.delta","delta":"hel"}"#);
        assert_eq!(texts(&stream.take().pieces), ["hel"]);
        assert_eq!(stream.event(b"", br#"{"type":"transcript.text.done","text":"hello"}"#), Progress::Last);
        assert_eq!(texts(&stream.take().pieces), ["hello"]);
    }
}
