//! The APIs that are read: one table of where they are found, and one entry each of how they are read.

use event::Kind;
use http::Method;

use super::decode::{DecodeError, ModelRequest, ModelResponse, Progress};
use super::shape::Shape;
use super::target::Provider;
use super::{anthropic, bedrock, gemini, openai};

/// What is known of a request beside its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model that the path names: a deployment of Azure, a model of Gemini or Bedrock.
    pub model: Option<String>,
    /// Whether the path asks for a stream.
    pub streams: bool,
    /// The boundary of a multipart body.
    pub boundary: Option<String>,
    /// Whether it is about an object that is named by its id (a stored response, a file, a batch): the call names no model, and the
    /// object may be another caller's.
    pub is_of_object: bool,
}

/// Reads a request's body.
pub(super) type RequestReader = fn(&Asked, &[u8]) -> Result<ModelRequest, DecodeError>;

/// Reads the body of an answer in one piece, an error included.
pub(super) type AnswerReader = fn(&[u8]) -> Result<ModelResponse, DecodeError>;

/// Puts the events of a streamed answer together. Memory is bounded by the limits of an event.
pub trait StreamDecode: Send + Sync + std::fmt::Debug {
    /// Reads one event: its name, where its framing gives one, and its data.
    fn event(&mut self, name: &[u8], data: &[u8]) -> Progress;

    /// Whether an event is the final one, without reading it.
    fn is_last(&self, name: &[u8], data: &[u8]) -> bool;

    /// Whether the model said that it has finished, though the stream's end marker may be missing.
    fn has_finished(&self) -> bool;

    /// Everything that came so far, as one response.
    fn take(&mut self) -> ModelResponse;
}

/// An API that is read.
#[derive(Debug)]
pub(super) struct Api {
    /// The dialect of its records; policies name it so.
    pub(super) name: &'static str,
    /// `gen_ai.operation.name`
    pub(super) operation: &'static str,
    /// What a request is.
    pub(super) kind: Kind,
    /// What its outcome is: a moderation decides.
    pub(super) answer_kind: Kind,
    pub(super) reader: Reader,
    /// How a stream of it is put together; without it a stream passes unread.
    pub(super) stream: Option<fn() -> Box<dyn StreamDecode>>,
    /// Where the pieces of texts stand in an event of a stream; a stream of an API without them cannot be masked.
    pub(super) deltas: &'static [&'static str],
    /// Whether it is spoken over a WebSocket.
    pub(super) is_socket: bool,
}

/// How bodies are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reader {
    /// By a table of paths.
    Shape(&'static Shape),
    /// By functions, where a conversation has to be walked.
    Functions(RequestReader, AnswerReader),
}

impl Api {
    const fn model_call(name: &'static str, operation: &'static str, reader: Reader) -> Self {
        Self {
            name,
            operation,
            kind: Kind::ModelCall,
            answer_kind: Kind::ModelCall,
            reader,
            stream: None,
            deltas: &[],
            is_socket: false,
        }
    }

    const fn streamed(self, stream: fn() -> Box<dyn StreamDecode>, deltas: &'static [&'static str]) -> Self {
        Self { stream: Some(stream), deltas, ..self }
    }

    const fn over_socket(self) -> Self {
        Self { is_socket: true, ..self }
    }

    const fn of_kind(self, kind: Kind, answer_kind: Kind) -> Self {
        Self { kind, answer_kind, ..self }
    }

    /// Reads a request's body.
    pub(super) fn read_request(&self, asked: &Asked, body: &[u8]) -> Result<ModelRequest, DecodeError> {
        let mut request = match self.reader {
            Reader::Shape(shape) => shape.request(asked, body),
            Reader::Functions(read, _) => read(asked, body),
        }?;
        // What the path names counts: the provider goes by it.
        if let Some(model) = &asked.model {
            let plain = |name: &str| name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
            let named = request.model.replace(model.clone());
            request.other_model = named.filter(|named| !named.is_empty() && plain(named) != plain(model));
        }
        request.stream |= asked.streams;
        Ok(request)
    }

    /// Reads an answer in one piece.
    pub(super) fn read_answer(&self, body: &[u8]) -> Result<ModelResponse, DecodeError> {
        match self.reader {
            Reader::Shape(shape) => shape.answer(body),
            Reader::Functions(_, read) => read(body),
        }
    }
}

/// Where an API is found: its path from the end, so that what stands before (`/v1`, a proxy's prefix) does not matter. `*` stands
/// for what names the model or the object, within one segment.
#[derive(Debug)]
pub(super) struct Route {
    provider: Provider,
    method: Method,
    path: &'static str,
    /// Whether the path itself says that the answer is a stream.
    streams: bool,
    /// Whether it is about an object that is named by its id.
    is_of_object: bool,
    api: &'static Api,
}

const fn route(provider: Provider, method: Method, path: &'static str, api: &'static Api) -> Route {
    Route { provider, method, path, streams: false, is_of_object: false, api }
}

const fn streaming(provider: Provider, path: &'static str, api: &'static Api) -> Route {
    Route { provider, method: Method::POST, path, streams: true, is_of_object: false, api }
}

const fn of_object(provider: Provider, method: Method, path: &'static str, api: &'static Api) -> Route {
    Route { provider, method, path, streams: false, is_of_object: true, api }
}

/// The names of the APIs that are read, each once: policies and keys name them so.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = ROUTES.iter().map(|route| route.api.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The API at a path of segments, and what the path says.
pub(super) fn find(provider: Provider, method: &Method, segments: &[&str]) -> Option<(&'static Api, Asked)> {
    ROUTES.iter().find_map(|route| {
        if route.provider != provider.speaks() || route.method != *method {
            return None;
        }
        let named = matched(route.path, segments)?;
        // What stands for `*` elsewhere is the id of an object.
        let model = named.filter(|_| provider == Provider::Gemini);
        let model = model.or_else(|| deployment(segments)).or_else(|| bedrock_model(provider, segments));
        Some((route.api, Asked { model, streams: route.streams, boundary: None, is_of_object: route.is_of_object }))
    })
}

/// What stands for `*`, when the last segments are those of the pattern.
#[allow(clippy::option_option)]
fn matched(pattern: &str, segments: &[&str]) -> Option<Option<String>> {
    let count = pattern.split('/').count();
    let from = segments.len().checked_sub(count)?;
    let mut named = None;
    for (wanted, segment) in pattern.split('/').zip(&segments[from..]) {
        match wanted.split_once('*') {
            None if segment.eq_ignore_ascii_case(wanted) => {}
            None => return None,
            Some((before, after)) => {
                let middle = segment.len().checked_sub(before.len() + after.len())?;
                let (start, rest) = segment.split_at_checked(before.len())?;
                let (name, end) = rest.split_at_checked(middle)?;
                if name.is_empty() || !start.eq_ignore_ascii_case(before) || !end.eq_ignore_ascii_case(after) {
                    return None;
                }
                named = Some(name.to_owned());
            }
        }
    }
    Some(named)
}

/// The deployment in a path of Azure: `openai/deployments/NAME/...`.
fn deployment(segments: &[&str]) -> Option<String> {
    let at = segments.iter().position(|segment| segment.eq_ignore_ascii_case("deployments"))?;
    segments.get(at + 1).map(|name| (*name).to_owned())
}

/// The model in a path of Bedrock, `model/NAME/ACTION`: a name, or an ARN, which may have slashes.
fn bedrock_model(provider: Provider, segments: &[&str]) -> Option<String> {
    let (_, rest) =
        segments.split_first().filter(|(first, _)| provider == Provider::Bedrock && first.eq_ignore_ascii_case("model"))?;
    let (_, name) = rest.split_last()?;
    (!name.is_empty()).then(|| name.join("/"))
}

/// A request without a body.
fn no_request(_: &Asked, _: &[u8]) -> Result<ModelRequest, DecodeError> {
    Ok(ModelRequest::default())
}

/// Where chat completions, and completions of the older kind, have pieces of texts.
const CHAT_DELTAS: &[&str] = &[
    "choices[].delta.content",
    // Of those who write a list of parts.
    "choices[].delta.content[].text",
    "choices[].delta.content[].thinking[].text",
    "choices[].delta.audio.transcript",
    "choices[].delta.reasoning_details[].text",
    "choices[].delta.reasoning_details[].summary",
    "choices[].delta.refusal",
    "choices[].delta.reasoning_content",
    "choices[].delta.reasoning",
    "choices[].delta.tool_calls[].function.arguments",
    "choices[].delta.tool_calls[].custom.input",
    "choices[].delta.function_call.arguments",
    "choices[].text",
];

static CHAT: Api =
    Api::model_call("openai.chat", "chat", Reader::Functions(|_, body| openai::decode_request(body), openai::decode_response))
        .streamed(|| Box::<openai::StreamDecoder>::default(), CHAT_DELTAS);
static COMPLETIONS: Api = Api::model_call("openai.completions", "text_completion", Reader::Shape(&openai::others::COMPLETIONS))
    .streamed(|| Box::<openai::StreamDecoder>::default(), CHAT_DELTAS);
static RESPONSES: Api = Api::model_call(
    "openai.responses",
    "chat",
    Reader::Functions(|_, body| openai::responses::decode_request(body), openai::responses::decode_response),
)
.streamed(|| Box::<openai::responses::StreamDecoder>::default(), &["delta"]);
/// A connection of the realtime API.
static REALTIME: Api =
    Api::model_call("openai.realtime", "chat", Reader::Functions(no_request, openai::responses::decode_response))
        .of_kind(Kind::ExternalCall, Kind::ExternalCall)
        .over_socket();
/// A response on it.
pub(super) static REALTIME_RESPONSE: Api =
    Api::model_call("openai.realtime", "chat", Reader::Functions(no_request, openai::responses::decode_response));
static EMBEDDINGS: Api = Api::model_call("openai.embeddings", "embeddings", Reader::Shape(&openai::others::EMBEDDINGS));
static MODERATIONS: Api = Api::model_call(
    "openai.moderations",
    "moderation",
    Reader::Functions(|asked, body| openai::others::MODERATIONS.request(asked, body), openai::others::decode_moderation),
)
.of_kind(Kind::ModelCall, Kind::Guardrail);
static IMAGES: Api = Api::model_call("openai.images", "generate_content", Reader::Shape(&openai::others::IMAGES));
static SPEECH: Api = Api::model_call("openai.speech", "generate_content", Reader::Shape(&openai::others::SPEECH));
static TRANSCRIPTIONS: Api =
    Api::model_call("openai.transcriptions", "generate_content", Reader::Shape(&openai::others::TRANSCRIPTIONS))
        .streamed(|| Box::<openai::others::TranscriptStream>::default(), &["delta"]);
static FILES: Api = Api::model_call(
    "openai.files",
    "upload",
    Reader::Functions(openai::batch::decode_upload, |body| openai::others::FILES.answer(body)),
)
.of_kind(Kind::ExternalCall, Kind::ExternalCall);
static FILE_CONTENT: Api =
    Api::model_call("openai.files", "download", Reader::Functions(no_request, openai::batch::decode_output))
        .of_kind(Kind::ExternalCall, Kind::ExternalCall);
static BATCHES: Api = Api::model_call("openai.batches", "batch", Reader::Shape(&openai::others::BATCHES))
    .of_kind(Kind::ExternalCall, Kind::ExternalCall);
static MESSAGES: Api = Api::model_call(
    "anthropic.messages",
    "chat",
    Reader::Functions(|_, body| anthropic::decode_request(body), anthropic::decode_response),
)
.streamed(|| Box::<anthropic::StreamDecoder>::default(), &["delta.text", "delta.thinking", "delta.partial_json"]);
static COUNT_TOKENS: Api = Api::model_call(
    "anthropic.count_tokens",
    "count_tokens",
    Reader::Functions(|_, body| anthropic::decode_request(body), |body| anthropic::batch::COUNT.answer(body)),
);
static MESSAGE_BATCHES: Api = Api::model_call(
    "anthropic.batches",
    "chat",
    Reader::Functions(|_, body| anthropic::batch::decode_request(body), |body| anthropic::batch::STATE.answer(body)),
);
static BATCH_RESULTS: Api =
    Api::model_call("anthropic.batches", "chat", Reader::Functions(no_request, anthropic::batch::decode_results));
static GENERATE: Api = Api::model_call(
    "gemini.generate",
    "generate_content",
    Reader::Functions(|_, body| gemini::decode_request(body), gemini::decode_response),
)
.streamed(|| Box::<gemini::StreamDecoder>::default(), &["candidates[].content.parts[].text"]);
static GEMINI_COUNT: Api = Api::model_call(
    "gemini.count_tokens",
    "count_tokens",
    Reader::Functions(|_, body| gemini::decode_count(body), |body| gemini::COUNT.answer(body)),
);
static GEMINI_EMBED: Api = Api::model_call("gemini.embed", "embeddings", Reader::Shape(&gemini::EMBED));
static CONVERSE: Api = Api::model_call(
    "bedrock.converse",
    "chat",
    Reader::Functions(|_, body| bedrock::decode_request(body), bedrock::decode_response),
)
.streamed(|| Box::<bedrock::StreamDecoder>::default(), &["delta.text", "delta.toolUse.input", "delta.reasoningContent.text"]);
static INVOKE: Api = Api::model_call(
    "bedrock.invoke",
    "chat",
    Reader::Functions(bedrock::invoke::decode_request, bedrock::invoke::decode_response),
)
.streamed(|| Box::<bedrock::invoke::StreamDecoder>::default(), &[]);

/// Where each API is found. The first that fits counts, so longer paths stand before shorter ones.
static ROUTES: &[Route] = &[
    route(Provider::OpenAi, Method::POST, "chat/completions", &CHAT),
    route(Provider::OpenAi, Method::POST, "completions", &COMPLETIONS),
    route(Provider::OpenAi, Method::POST, "responses", &RESPONSES),
    of_object(Provider::OpenAi, Method::GET, "responses/*", &RESPONSES),
    of_object(Provider::OpenAi, Method::POST, "responses/*/cancel", &RESPONSES),
    route(Provider::OpenAi, Method::POST, "responses/input_tokens", &RESPONSES),
    route(Provider::OpenAi, Method::POST, "responses/compact", &RESPONSES),
    route(Provider::OpenAi, Method::GET, "realtime", &REALTIME),
    route(Provider::OpenAi, Method::POST, "embeddings", &EMBEDDINGS),
    route(Provider::OpenAi, Method::POST, "moderations", &MODERATIONS),
    route(Provider::OpenAi, Method::POST, "images/generations", &IMAGES),
    route(Provider::OpenAi, Method::POST, "images/edits", &IMAGES),
    route(Provider::OpenAi, Method::POST, "images/variations", &IMAGES),
    route(Provider::OpenAi, Method::POST, "audio/speech", &SPEECH),
    route(Provider::OpenAi, Method::POST, "audio/transcriptions", &TRANSCRIPTIONS),
    route(Provider::OpenAi, Method::POST, "audio/translations", &TRANSCRIPTIONS),
    route(Provider::OpenAi, Method::POST, "files", &FILES),
    of_object(Provider::OpenAi, Method::GET, "files/*/content", &FILE_CONTENT),
    // Its requests stand in a file that it names.
    of_object(Provider::OpenAi, Method::POST, "batches", &BATCHES),
    of_object(Provider::OpenAi, Method::GET, "batches/*", &BATCHES),
    route(Provider::Anthropic, Method::POST, "messages", &MESSAGES),
    route(Provider::Anthropic, Method::POST, "messages/count_tokens", &COUNT_TOKENS),
    route(Provider::Anthropic, Method::POST, "messages/batches", &MESSAGE_BATCHES),
    of_object(Provider::Anthropic, Method::GET, "messages/batches/*/results", &BATCH_RESULTS),
    // Anthropic's own OpenAI-compatible endpoint.
    route(Provider::Anthropic, Method::POST, "chat/completions", &CHAT),
    route(Provider::Gemini, Method::POST, "*:generateContent", &GENERATE),
    streaming(Provider::Gemini, "*:streamGenerateContent", &GENERATE),
    route(Provider::Gemini, Method::POST, "*:countTokens", &GEMINI_COUNT),
    route(Provider::Gemini, Method::POST, "*:embedContent", &GEMINI_EMBED),
    route(Provider::Gemini, Method::POST, "*:batchEmbedContents", &GEMINI_EMBED),
    // Gemini's own OpenAI-compatible endpoints.
    route(Provider::Gemini, Method::POST, "openai/chat/completions", &CHAT),
    route(Provider::Gemini, Method::POST, "openai/embeddings", &EMBEDDINGS),
    route(Provider::Bedrock, Method::POST, "converse", &CONVERSE),
    streaming(Provider::Bedrock, "converse-stream", &CONVERSE),
    route(Provider::Bedrock, Method::POST, "invoke", &INVOKE),
    streaming(Provider::Bedrock, "invoke-with-response-stream", &INVOKE),
    // Bedrock's OpenAI-compatible endpoint.
    route(Provider::Bedrock, Method::POST, "openai/v1/chat/completions", &CHAT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_from_the_end_and_give_the_model() {
        let at = |provider, path: &str| {
            let segments: Vec<&str> = path.split('/').collect();
            find(provider, &Method::POST, &segments).map(|(api, asked)| (api.name, asked.model, asked.streams))
        };
        let model = |name: &str| Some(name.to_owned());
        let cases = [
            (Provider::OpenAi, "v1/chat/completions", Some(("openai.chat", None, false))),
            (Provider::OpenAi, "v1/Completions", Some(("openai.completions", None, false))),
            (Provider::Azure, "openai/deployments/Prod/chat/completions", Some(("openai.chat", model("Prod"), false))),
            (Provider::Gemini, "v1beta/models/g-2:generateContent", Some(("gemini.generate", model("g-2"), false))),
            (Provider::Gemini, "v1beta/models/g-2:STREAMgenerateContent", Some(("gemini.generate", model("g-2"), true))),
            (Provider::Gemini, "v1beta/models/:generateContent", None),
            (Provider::Bedrock, "model/a.b-v1:0/converse-stream", Some(("bedrock.converse", model("a.b-v1:0"), true))),
            (
                Provider::Bedrock,
                "model/arn:aws:bedrock:x/a/b/invoke",
                Some(("bedrock.invoke", model("arn:aws:bedrock:x/a/b"), false)),
            ),
            (Provider::Anthropic, "v1/messages/batches", Some(("anthropic.batches", None, false))),
            (Provider::Anthropic, "v1/models", None),
            (Provider::OpenAi, "completions", Some(("openai.completions", None, false))),
            (Provider::Anthropic, "v1/chat/completions", Some(("openai.chat", None, false))),
            (Provider::OpenAi, "v1/responses/resp_1/cancel", Some(("openai.responses", None, false))),
        ];
        for (provider, path, expected) in cases {
            assert_eq!(at(provider, path), expected, "{path}");
        }
    }

    #[test]
    fn an_id_is_no_model() {
        for (provider, path) in [
            (Provider::OpenAi, "v1/responses/resp_1"),
            (Provider::OpenAi, "v1/files/file_1/content"),
            (Provider::OpenAi, "v1/batches/batch_1"),
            (Provider::Anthropic, "v1/messages/batches/msgbatch_1/results"),
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            let (_, asked) = find(provider, &Method::GET, &segments).unwrap();
            assert_eq!((asked.model, asked.is_of_object), (None, true), "{path}");
        }
        assert!(names().contains(&"openai.chat") && names().is_sorted());
    }

    #[test]
    fn the_model_of_the_path_counts_and_another_in_the_body_is_known() {
        let asked = Asked { model: Some("prod".to_owned()), ..Asked::default() };
        for (body, other) in [
            (r#"{"messages":[]}"#, None),
            (r#"{"model":"Prod","messages":[]}"#, None),
            (r#"{"model":"models/prod","messages":[]}"#, None),
            (r#"{"model":"o3","messages":[]}"#, Some("o3".to_owned())),
        ] {
            let request = CHAT.read_request(&asked, body.as_bytes()).unwrap();
            assert_eq!((request.model.as_deref(), request.other_model), (Some("prod"), other), "{body}");
        }
    }
}
