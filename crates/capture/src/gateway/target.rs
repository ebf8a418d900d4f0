//! Where a request goes: which provider, which path there, and whether it is a call that we read.

use std::borrow::Cow;

use event::Key;
use http::request::Parts;
use percent_encoding::{percent_decode, percent_decode_str};

use super::api::{self, Api, Asked};
use super::{multipart, realtime};

/// Whose API it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// OpenAI, and the many servers that speak like it.
    OpenAi,
    /// Azure OpenAI: OpenAI's API below a resource of one's own, by deployments.
    Azure,
    /// Anthropic.
    Anthropic,
    /// Gemini, and Vertex AI.
    Gemini,
    /// Amazon Bedrock.
    Bedrock,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) provider: Provider,
    /// Path and query at the upstream.
    pub(super) path_and_query: String,
    /// The API, when it is one that is read.
    pub(super) api: Option<&'static Api>,
    /// What the path and the head say.
    pub(super) asked: Asked,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::OpenAi, Self::Azure, Self::Anthropic, Self::Gemini, Self::Bedrock];

    /// `gen_ai.provider.name`, in OpenTelemetry's words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure.ai.openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gcp.gemini",
            Self::Bedrock => "aws.bedrock",
        }
    }

    /// The field of the configuration, and the prefix of paths.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
        }
    }

    /// Whose API it speaks.
    pub(super) const fn speaks(self) -> Self {
        match self {
            Self::Azure => Self::OpenAi,
            other => other,
        }
    }
}

/// The ends of paths, in lower case, that only Gemini has.
const GEMINI_ACTIONS: [&str; 7] = [
    ":generatecontent",
    ":streamgeneratecontent",
    ":counttokens",
    ":embedcontent",
    ":batchembedcontents",
    ":batchgeneratecontent",
    ":predict",
];

impl Target {
    /// Reads the path. How it is written decides nothing: a call must not escape reading because of a double slash
    /// or an escaped letter that the upstream undoes. `has_azure`: whether there is an upstream of Azure.
    pub(super) fn of(parts: &Parts, has_azure: bool) -> Self {
        let whole = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let prefix = Provider::ALL.into_iter().find_map(|provider| {
            let prefix = format!("/{}", provider.field());
            strip(whole, &prefix).map(|rest| (provider, rest))
        });
        let (prefix, path_and_query) = match prefix {
            // Clients of Azure write `/openai/deployments/NAME/...?api-version=` below their resource.
            Some((Provider::OpenAi, rest)) if has_azure && is_azure(parts, rest) => (Some(Provider::Azure), whole),
            Some((provider, rest)) => (Some(provider), rest),
            None => (None, whole),
        };
        let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
        let plain = normalized(path);
        let segments: Vec<&str> = plain.split('/').collect();
        let provider = prefix.unwrap_or_else(|| by_shape(parts, &segments));
        let (api, mut asked) = match api::find(provider, &parts.method, &segments) {
            // Without an upgrade there is no conversation to read.
            Some((api, _)) if api.is_socket && !realtime::is_upgrade(&parts.headers) => (None, Asked::default()),
            Some((api, asked)) => (Some(api), asked),
            None => (None, Asked::default()),
        };
        let content_type = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        asked.boundary = content_type.and_then(multipart::boundary);
        Self { provider, path_and_query: path_and_query.to_owned(), api, asked }
    }

    /// The dialect of its records.
    pub(super) fn dialect(&self) -> Key {
        Key::of(self.api.map_or("http", |api| api.name))
    }
}

fn is_azure(parts: &Parts, rest: &str) -> bool {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    normalized(path).to_ascii_lowercase().starts_with("deployments/")
        || query.split('&').map(str::to_ascii_lowercase).any(|parameter| {
            // Connections of the realtime API name their deployment so.
            parameter.starts_with("api-version=") || parameter.starts_with("deployment=")
        })
        || parts.headers.contains_key("api-key")
}

/// The provider of a path that names none.
fn by_shape(parts: &Parts, segments: &[&str]) -> Provider {
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let at = |index: usize| lower.get(index).map_or("", String::as_str);
    let last = lower.last().map_or("", String::as_str);
    if at(0) == "model" {
        Provider::Bedrock
    } else if matches!(at(0), "v1beta" | "v1alpha" | "upload")
        || GEMINI_ACTIONS.iter().any(|action| last.ends_with(action))
        || parts.headers.contains_key("x-goog-api-key")
    {
        Provider::Gemini
    } else if (at(0) == "v1" && at(1) == "messages") || parts.headers.contains_key("anthropic-version") {
        Provider::Anthropic
    } else {
        Provider::OpenAi
    }
}

/// What follows a whole first segment.
fn strip<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.starts_with('/'))
}

/// How often a path may be escaped over and over before it is read: a chain of proxies undoes one level each.
const ESCAPES_MAX: usize = 4;

/// Whether a server may read a segment of the path as `.` or `..`, and so leave the prefix of its upstream base.
pub(super) fn has_dot_segments(path: &str) -> bool {
    let mut path = Cow::Borrowed(path.as_bytes());
    for _ in 0..ESCAPES_MAX {
        let is_dots = |segment: &[u8]| {
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            name == b"." || name == b".."
        };
        if path.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots) {
            return true;
        }
        let decoded: Vec<u8> = percent_decode(&path).collect();
        if *decoded == *path {
            return false;
        }
        path = Cow::Owned(decoded);
    }
    // Escaped more often than anybody does in good faith.
    true
}

/// A path as any server may come to understand it: unescaped, without empty and dot segments. Its case decides nothing.
fn normalized(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default().trim() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, header: Option<&str>) -> Target {
        let mut request = http::Request::post(path);
        if let Some(name) = header {
            request = request.header(name, "x");
        }
        Target::of(&request.body(()).unwrap().into_parts().0, false)
    }

    #[test]
    fn paths_lead_to_their_provider() {
        use Provider::{Anthropic, Bedrock, Gemini, OpenAi};
        let cases = [
            ("/v1/chat/completions", None, OpenAi, "/v1/chat/completions", Some("openai.chat")),
            ("/openai/v1/chat/completions?x=1", None, OpenAi, "/v1/chat/completions?x=1", Some("openai.chat")),
            ("/openai/deployments/d/chat/completions", None, OpenAi, "/deployments/d/chat/completions", Some("openai.chat")),
            ("/v1/messages", None, Anthropic, "/v1/messages", Some("anthropic.messages")),
            ("/v1/messages?beta=true", None, Anthropic, "/v1/messages?beta=true", Some("anthropic.messages")),
            ("/anthropic/v1/messages", None, Anthropic, "/v1/messages", Some("anthropic.messages")),
            ("/v1/messages/count_tokens", None, Anthropic, "/v1/messages/count_tokens", Some("anthropic.count_tokens")),
            ("/v1/models", None, OpenAi, "/v1/models", None),
            ("/v1/models", Some("anthropic-version"), Anthropic, "/v1/models", None),
            ("/v1/threads/t/messages", None, OpenAi, "/v1/threads/t/messages", None),
            ("/v1/embeddings", None, OpenAi, "/v1/embeddings", Some("openai.embeddings")),
            ("/v1/responses", None, OpenAi, "/v1/responses", Some("openai.responses")),
            ("/v1/models/g:generateContent", None, Gemini, "/v1/models/g:generateContent", Some("gemini.generate")),
            (
                "/v1beta/models/g:streamGenerateContent?alt=sse",
                None,
                Gemini,
                "/v1beta/models/g:streamGenerateContent?alt=sse",
                Some("gemini.generate"),
            ),
            ("/gemini/v1beta/models", None, Gemini, "/v1beta/models", None),
            ("/model/a.b-v1%3A0/converse", None, Bedrock, "/model/a.b-v1%3A0/converse", Some("bedrock.converse")),
            ("/bedrock/model/m/invoke", None, Bedrock, "/model/m/invoke", Some("bedrock.invoke")),
            // The same call, written so that a reader that compares texts does not see it.
            ("/v1//chat/completions/", None, OpenAi, "/v1//chat/completions/", Some("openai.chat")),
            ("/v1/%63hat%2Fcompletions", None, OpenAi, "/v1/%63hat%2Fcompletions", Some("openai.chat")),
            ("/v1/x/../Chat/./completions", None, OpenAi, "/v1/x/../Chat/./completions", Some("openai.chat")),
            ("/v1/%6dessages", None, Anthropic, "/v1/%6dessages", Some("anthropic.messages")),
        ];
        for (path, header, provider, upstream, api) in cases {
            let target = target(path, header);
            let found = (target.provider, target.path_and_query.as_str(), target.api.map(|api| api.name));
            assert_eq!(found, (provider, upstream, api), "{path}");
        }
    }

    #[test]
    fn azure_is_known_by_its_deployments_where_it_is_configured() {
        let of = |path: &str, has_azure| {
            let parts = http::Request::post(path).body(()).unwrap().into_parts().0;
            let target = Target::of(&parts, has_azure);
            (target.provider, target.path_and_query, target.asked.model)
        };
        let path = "/openai/deployments/prod/chat/completions?api-version=2024-10-21";
        let model = Some("prod".to_owned());
        assert_eq!(of(path, true), (Provider::Azure, path.to_owned(), model.clone()));
        assert_eq!(of(path, false), (Provider::OpenAi, path["/openai".len()..].to_owned(), model.clone()));
        assert_eq!(of(&format!("/azure{path}"), false), (Provider::Azure, path.to_owned(), model));
        assert_eq!(of("/openai/v1/chat/completions", true).0, Provider::OpenAi);
    }

    #[test]
    fn dot_segments_are_seen_however_they_are_written() {
        for path in [
            "/v1/../../admin",
            "/v1/%2e%2e/%2e%2e/x",
            "/v1/%2E./x",
            "/v1/.%2e",
            "/v1/..%2fx",
            "/v1/x%5C..%5Cy",
            "/v1/..;a=1/x",
            "/v1/%252e%252e/x",
            "/v1/./x",
            "/openai/../x",
            "/..",
        ] {
            assert!(has_dot_segments(path), "{path}");
        }
        for path in [
            "/",
            "/v1/chat/completions",
            "/v1/files/a..b",
            "/v1/...",
            "/v1/.well-known",
            "/v1/models/gpt-4.1",
            "/v1/50%25",
            "/v1/%",
        ] {
            assert!(!has_dot_segments(path), "{path}");
        }
    }
}
