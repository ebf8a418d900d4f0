//! What is spoken with models: requests of messages, and what is read of answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::set::Message;

/// Longest answer that is graded, in bytes; what is longer counts as cut.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Longest name (of a model, a fingerprint, an id, a reason) that is kept of an answer, in bytes: they are a stranger's words.
const NAME_BYTES_MAX: usize = 256;

/// The interface of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// OpenAI's chat completions, and everything that speaks it (vLLM, Ollama, llama.cpp, gateways).
    OpenaiChat,
    /// OpenAI's responses.
    OpenaiResponses,
    /// Anthropic's messages.
    Anthropic,
}

/// How answers are asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// The model that is asked for.
    pub model: String,
    /// Sampling temperature; none is sent where a model takes none.
    pub temperature: Option<f64>,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// Further members of the request, as the provider names them; `null` takes one out that would be sent.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub more: Map<String, Json>,
}

/// An answer, as far as it is looked at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// What was said.
    pub text: String,
    /// Whether the provider says that the model refused.
    pub is_refused: bool,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// The provider's name for what stands behind it (`system_fingerprint`).
    pub fingerprint: Option<String>,
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// Tokens read, those from a cache included.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Why the model stopped, in the provider's word.
    pub finish_reason: Option<String>,
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not of the interface.
    #[error("the answer is not that of the API {0}; see to --api and to the endpoint's path")]
    Form(&'static str),
    /// It has no text, and does not say that the model refused.
    #[error("the answer has no text")]
    Empty,
}

impl Api {
    /// The name that the command line and the configuration use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai-chat",
            Self::OpenaiResponses => "openai-responses",
            Self::Anthropic => "anthropic",
        }
    }

    /// The headers with which a request goes out: those of the key, which must not be logged, and those of the interface.
    #[must_use]
    pub fn headers(self, key: Option<&str>) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        match self {
            Self::Anthropic => {
                headers.push(("anthropic-version", "2023-06-01".to_owned()));
                headers.extend(key.map(|key| ("x-api-key", key.to_owned())));
            }
            Self::OpenaiChat | Self::OpenaiResponses => headers.extend(key.map(|key| ("authorization", format!("Bearer {key}")))),
        }
        headers
    }

    /// The body of a request.
    #[must_use]
    pub fn request(self, messages: &[Message], parameters: &Parameters) -> Json {
        let all = |messages: &mut dyn Iterator<Item = &Message>| -> Json {
            messages.map(|message| json!({ "role": message.role, "content": message.content })).collect()
        };
        let mut body = match self {
            Self::OpenaiChat => {
                json!({ "model": parameters.model, "messages": all(&mut messages.iter()), "max_tokens": parameters.max_tokens })
            }
            Self::OpenaiResponses => json!({
                "model": parameters.model,
                "input": all(&mut messages.iter()),
                "max_output_tokens": parameters.max_tokens,
                "store": false,
            }),
            Self::Anthropic => {
                let system: Vec<&str> =
                    messages.iter().filter(|message| message.role == "system").map(|message| message.content.as_str()).collect();
                let mut others = messages.iter().filter(|message| message.role != "system");
                let mut body =
                    json!({ "model": parameters.model, "messages": all(&mut others), "max_tokens": parameters.max_tokens });
                if !system.is_empty() {
                    body["system"] = Json::from(system.join("\n\n"));
                }
                body
            }
        };
        if let Some(members) = body.as_object_mut() {
            if let Some(temperature) = parameters.temperature {
                members.insert("temperature".to_owned(), Json::from(temperature));
            }
            for (name, value) in &parameters.more {
                if value.is_null() {
                    members.remove(name);
                } else {
                    members.insert(name.clone(), value.clone());
                }
            }
        }
        body
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// When it is not of this interface, or has no text.
    pub fn answer(self, body: &[u8]) -> Result<Answer, AnswerError> {
        let form = || AnswerError::Form(self.as_str());
        let body: Json = serde_json::from_slice(body).map_err(|_| form())?;
        let usage = &body["usage"];
        let mut answer = Answer {
            model: name(&body["model"]),
            fingerprint: name(&body["system_fingerprint"]),
            id: name(&body["id"]),
            ..Answer::default()
        };
        match self {
            Self::OpenaiChat => {
                let choice = body["choices"].get(0).ok_or_else(form)?;
                let message = &choice["message"];
                answer.text = text(&message["content"]);
                if let Some(refusal) = message["refusal"].as_str().filter(|refusal| !refusal.is_empty()) {
                    answer.is_refused = true;
                    add(&mut answer.text, refusal);
                }
                answer.finish_reason = name(&choice["finish_reason"]);
                answer.is_refused |= choice["finish_reason"] == "content_filter";
                answer.input_tokens = usage["prompt_tokens"].as_u64();
                answer.output_tokens = usage["completion_tokens"].as_u64();
            }
            Self::OpenaiResponses => {
                let output = body["output"].as_array().ok_or_else(form)?;
                for part in output.iter().filter(|item| item["type"] == "message").flat_map(parts) {
                    answer.is_refused |= part["type"] == "refusal";
                    add(&mut answer.text, part["text"].as_str().or_else(|| part["refusal"].as_str()).unwrap_or_default());
                }
                let reason = &body["incomplete_details"]["reason"];
                answer.is_refused |= reason == "content_filter";
                answer.finish_reason = name(reason).or_else(|| name(&body["status"]));
                answer.input_tokens = usage["input_tokens"].as_u64();
                answer.output_tokens = usage["output_tokens"].as_u64();
            }
            Self::Anthropic => {
                if !body["content"].is_array() {
                    return Err(form());
                }
                for part in parts(&body).filter(|part| part["type"] == "text") {
                    add(&mut answer.text, part["text"].as_str().unwrap_or_default());
                }
                answer.is_refused = body["stop_reason"] == "refusal";
                answer.finish_reason = name(&body["stop_reason"]);
                let of_cache = ["cache_read_input_tokens", "cache_creation_input_tokens"];
                let cached: u64 = of_cache.iter().filter_map(|key| usage[*key].as_u64()).fold(0, u64::saturating_add);
                answer.input_tokens = usage["input_tokens"].as_u64().map(|tokens| tokens.saturating_add(cached));
                answer.output_tokens = usage["output_tokens"].as_u64();
            }
        }
        if answer.text.is_empty() && !answer.is_refused {
            return Err(AnswerError::Empty);
        }
        Ok(answer)
    }
}

fn parts(message: &Json) -> impl Iterator<Item = &Json> {
    message["content"].as_array().into_iter().flatten()
}

/// The content of a chat message: a text, or a list of parts with texts.
fn text(content: &Json) -> String {
    let mut text = String::new();
    match content {
        Json::String(one) => add(&mut text, one),
        Json::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).for_each(|part| add(&mut text, part)),
        _ => {}
    }
    text
}

fn add(text: &mut String, more: &str) {
    text.push_str(head(more, ANSWER_BYTES_MAX.saturating_sub(text.len())));
}

fn name(value: &Json) -> Option<String> {
    value.as_str().filter(|name| !name.is_empty()).map(|name| head(name, NAME_BYTES_MAX).to_owned())
}

fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        Parameters { model: "m".to_owned(), temperature: Some(0.0), max_tokens: 64, more: Map::new() }
    }

    fn messages() -> Vec<Message> {
        [("system", "Be brief."), ("user", "2+2?")]
            .map(|(role, content)| Message { role: role.into(), content: content.into() })
            .into()
    }

    #[test]
    fn requests_are_those_of_each_interface() {
        let chat = Api::OpenaiChat.request(&messages(), &parameters());
        assert_eq!((chat["messages"][0]["role"].as_str(), chat["max_tokens"].as_u64()), (Some("system"), Some(64)));
        assert_eq!(chat["temperature"], 0.0);
        let responses = Api::OpenaiResponses.request(&messages(), &parameters());
        assert_eq!(
            (responses["input"][1]["content"].as_str(), responses["max_output_tokens"].as_u64()),
            (Some("2+2?"), Some(64))
        );
        let anthropic = Api::Anthropic.request(&messages(), &parameters());
        assert_eq!((anthropic["system"].as_str(), anthropic["messages"].as_array().map(Vec::len)), (Some("Be brief."), Some(1)));
        let mut other = Parameters { temperature: None, ..parameters() };
        other.more = serde_json::from_str(r#"{"max_tokens":null,"max_completion_tokens":9}"#).unwrap();
        let chat = Api::OpenaiChat.request(&messages(), &other);
        assert_eq!(
            (chat.get("temperature"), chat.get("max_tokens"), chat["max_completion_tokens"].as_u64()),
            (None, None, Some(9))
        );
        assert!(Api::Anthropic.headers(Some("k")).contains(&("x-api-key", "k".to_owned())));
        assert!(Api::OpenaiChat.headers(Some("k")).contains(&("authorization", "Bearer k".to_owned())));
    }

    #[test]
    fn answers_are_read() {
        let chat = r#"{"id":"c1","model":"m-2026","system_fingerprint":"fp_1","choices":[{"message":{"role":"assistant","content":"4"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":1}}"#;
        let answer = Api::OpenaiChat.answer(chat.as_bytes()).unwrap();
        assert_eq!(
            (answer.text.as_str(), answer.model.as_deref(), answer.fingerprint.as_deref()),
            ("4", Some("m-2026"), Some("fp_1"))
        );
        assert_eq!(
            (answer.input_tokens, answer.output_tokens, answer.finish_reason.as_deref()),
            (Some(7), Some(1), Some("stop"))
        );
        let refused = r#"{"choices":[{"message":{"content":null,"refusal":"I can't."},"finish_reason":"stop"}]}"#;
        assert!(Api::OpenaiChat.answer(refused.as_bytes()).unwrap().is_refused);
        let responses = r#"{"id":"r","model":"m","status":"completed","output":[{"type":"reasoning"},{"type":"message","content":[{"type":"output_text","text":"4"}]}],"usage":{"input_tokens":7,"output_tokens":1}}"#;
        assert_eq!(Api::OpenaiResponses.answer(responses.as_bytes()).unwrap().text, "4");
        let anthropic = r#"{"id":"a","model":"m","content":[{"type":"thinking","thinking":"x"},{"type":"text","text":"4"}],"stop_reason":"end_turn","usage":{"input_tokens":7,"cache_read_input_tokens":3,"output_tokens":1}}"#;
        let answer = Api::Anthropic.answer(anthropic.as_bytes()).unwrap();
        assert_eq!((answer.text.as_str(), answer.input_tokens), ("4", Some(10)));
    }

    #[test]
    fn hostile_answers_are_bounded_or_refused() {
        for body in ["", "nonsense", "[]", "{}", r#"{"choices":[]}"#, r#"{"content":"x"}"#, r#"{"output":{}}"#] {
            for api in [Api::OpenaiChat, Api::OpenaiResponses, Api::Anthropic] {
                assert!(api.answer(body.as_bytes()).is_err(), "{api:?} {body}");
            }
        }
        let long = "ä".repeat(ANSWER_BYTES_MAX);
        let body = json!({ "model": long, "choices": [{ "message": { "content": long } }] }).to_string();
        let answer = Api::OpenaiChat.answer(body.as_bytes()).unwrap();
        assert!(answer.text.len() <= ANSWER_BYTES_MAX && answer.model.unwrap().len() <= NAME_BYTES_MAX);
    }
}
