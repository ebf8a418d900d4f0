//! Where a request goes: which provider, which path there, and whether it is a call that we read.

use std::borrow::Cow;

use event::Key;
use http::request::Parts;
use percent_encoding::{percent_decode, percent_decode_str};

/// Whose API it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    OpenAi,
    Anthropic,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) provider: Provider,
    /// Path and query at the upstream.
    pub(super) path_and_query: String,
    /// Whether the body is a model call in a form that we read.
    pub(super) is_model_call: bool,
}

impl Provider {
    /// `gen_ai.provider.name`
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// The dialect that its calls are read with.
    pub(super) const fn dialect(self) -> Key {
        match self {
            Self::OpenAi => Key::of("openai.chat"),
            Self::Anthropic => Key::of("anthropic.messages"),
        }
    }
}

impl Target {
    /// Reads the path. How it is written decides nothing: a call must not escape reading because of a double slash
    /// or an escaped letter that the upstream undoes.
    pub(super) fn of(parts: &Parts) -> Self {
        let whole = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let (prefix, path_and_query) = if let Some(rest) = strip(whole, "/openai") {
            (Some(Provider::OpenAi), rest)
        } else if let Some(rest) = strip(whole, "/anthropic") {
            (Some(Provider::Anthropic), rest)
        } else {
            (None, whole)
        };
        let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
        let plain = normalized(path);
        let provider = prefix.unwrap_or_else(|| {
            let speaks_anthropic = plain.starts_with("v1/messages") || parts.headers.contains_key("anthropic-version");
            if speaks_anthropic { Provider::Anthropic } else { Provider::OpenAi }
        });
        let is_model_call = parts.method == http::Method::POST
            && match provider {
                Provider::OpenAi => plain == "chat/completions" || plain.ends_with("/chat/completions"),
                Provider::Anthropic => plain == "v1/messages" || plain.ends_with("/v1/messages"),
            };
        Self { provider, path_and_query: path_and_query.to_owned(), is_model_call }
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

/// A path as any server may come to understand it: unescaped, in lower case, without empty and dot segments.
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
    segments.join("/").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, header: Option<&str>) -> Target {
        let mut request = http::Request::post(path);
        if let Some(name) = header {
            request = request.header(name, "x");
        }
        Target::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn paths_lead_to_their_provider() {
        use Provider::{Anthropic, OpenAi};
        let cases = [
            ("/v1/chat/completions", None, OpenAi, "/v1/chat/completions", true),
            ("/openai/v1/chat/completions?x=1", None, OpenAi, "/v1/chat/completions?x=1", true),
            ("/openai/deployments/d/chat/completions", None, OpenAi, "/deployments/d/chat/completions", true),
            ("/v1/messages", None, Anthropic, "/v1/messages", true),
            ("/v1/messages?beta=true", None, Anthropic, "/v1/messages?beta=true", true),
            ("/anthropic/v1/messages", None, Anthropic, "/v1/messages", true),
            ("/v1/messages/count_tokens", None, Anthropic, "/v1/messages/count_tokens", false),
            ("/v1/models", None, OpenAi, "/v1/models", false),
            ("/v1/models", Some("anthropic-version"), Anthropic, "/v1/models", false),
            ("/v1/threads/t/messages", None, OpenAi, "/v1/threads/t/messages", false),
            ("/v1/embeddings", None, OpenAi, "/v1/embeddings", false),
            // The same call, written so that a reader that compares texts does not see it.
            ("/v1//chat/completions/", None, OpenAi, "/v1//chat/completions/", true),
            ("/v1/%63hat%2Fcompletions", None, OpenAi, "/v1/%63hat%2Fcompletions", true),
            ("/v1/x/../Chat/./completions", None, OpenAi, "/v1/x/../Chat/./completions", true),
            ("/v1/%6dessages", None, Anthropic, "/v1/%6dessages", true),
        ];
        for (path, header, provider, upstream, is_model_call) in cases {
            let expected = Target { provider, path_and_query: upstream.to_owned(), is_model_call };
            assert_eq!(target(path, header), expected, "{path}");
        }
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
