//! The other side: where it is, what is sent there, and the connections to it.

use std::collections::HashMap;

use axum::body::Body;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, Request, Response, Uri, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::target::{Provider, Target};
use super::{Config, GatewayError, header as own_header};
use crate::outbound::{Client, client, without_userinfo};

/// Headers that belong to one connection (RFC 9110, section 7.6.1; `http2-settings`: RFC 7540, section 3.2.1) or are between a client
/// and its proxy. They never go on.
const OF_CONNECTION: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
];

/// Headers that the gateway sets anew.
const SET_ANEW: [HeaderName; 4] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::EXPECT,
    // So that the answer can be read: asked for without encoding.
    header::ACCEPT_ENCODING,
];

/// What the name of a query parameter contains, in lower case, when its value may be a secret.
const SECRET_NAMES: [&str; 14] = [
    "key",
    "token",
    "secret",
    "signature",
    "sig",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "credential",
    "auth",
    "code",
    "sess",
    "jwt",
];

/// Names that are too short to be looked for everywhere: with what a word of the name ends when its value may be a secret.
const SECRET_ENDINGS: [&str; 4] = ["sid", "pin", "otp", "pass"];

/// Longest value or bare parameter of a query that is recorded, in characters. Longer ones are signatures, signed
/// policies and the like far more often than anything that somebody has to read.
const PARAMETER_CHARS_MAX: usize = 64;

/// Longest segment of a path, in characters, that is recorded when it mixes letters and digits. Names of models and
/// deployments are shorter, most keys are longer.
const SEGMENT_CHARS_MAX: usize = 32;

/// What stands in the record for what was left out.
const REDACTED: &str = "REDACTED";

/// The other side.
pub(super) struct Upstream {
    client: Client,
    bases: HashMap<Provider, Base>,
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Path before `/v1`, without a slash at its end.
    path: String,
}

impl Upstream {
    pub(super) fn new(config: &Config) -> Result<Self, GatewayError> {
        let mut bases = HashMap::new();
        for provider in Provider::ALL {
            if let Some(url) = config.upstreams.of(provider) {
                bases.insert(provider, Base::parse(provider.field(), url)?);
            }
        }
        // No TLS upstream: do not ask the system for authorities that it may not have.
        let needs_tls = bases.values().any(|base| base.scheme == Scheme::HTTPS);
        let client = client(needs_tls, config.limits.upstream_connect).map_err(GatewayError::Roots)?;
        Ok(Self { client, bases })
    }

    /// Where a provider is; `None` when the configuration names none.
    pub(super) fn base(&self, provider: Provider) -> Option<&Base> {
        self.bases.get(&provider)
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        self.client.request(request).await
    }
}

impl Base {
    fn parse(field: &'static str, url: &str) -> Result<Self, GatewayError> {
        let error = |problem| GatewayError::Base { field, url: without_userinfo(url), problem };
        let uri: Uri = url.parse().map_err(|_| error("is not a URL"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or_else(|| error("has no scheme"))?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(error("is neither http nor https"));
        }
        let authority = parts.authority.ok_or_else(|| error("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(error("holds a credential; keys come with each request"));
        }
        let path = parts.path_and_query.as_ref();
        if path.is_some_and(|path| path.query().is_some()) {
            return Err(error("has a query"));
        }
        let path = path.map_or("", |path| path.path()).trim_end_matches('/');
        // Clients are told to put `/v1` into their own base; here it would stand twice.
        let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
        Ok(Self { scheme, authority, path })
    }

    /// The URL of a path below.
    pub(super) fn url(&self, target: &Target) -> Result<Uri, http::Error> {
        let path = &target.path_and_query;
        let path = if self.path.is_empty() { path.clone() } else { format!("{}{path}", self.path) };
        Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path).build()
    }

    /// The URL of a path below, as it may be recorded: without what may be a secret.
    pub(super) fn recorded_url(&self, target: &Target) -> String {
        format!("{}://{}{}{}", self.scheme, self.authority, self.path, recorded_path_and_query(&target.path_and_query))
    }

    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.scheme == Scheme::HTTPS { 443 } else { 80 })
    }
}

/// A path and its query as they may be recorded: without what may be a secret.
pub(crate) fn recorded_path_and_query(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut recorded = recorded_path(path);
    let mut separator = '?';
    // Some servers take `;` for `&`.
    for parameter in query.into_iter().flat_map(|query| query.split_inclusive(['&', ';'])) {
        recorded.push(separator);
        let next = parameter.chars().next_back().filter(|end| matches!(end, '&' | ';'));
        push_parameter(&mut recorded, parameter.strip_suffix(['&', ';']).unwrap_or(parameter));
        separator = next.unwrap_or('&');
    }
    recorded
}

/// A path as it may be recorded: without segments that look like keys (`/bot12:TOKEN/`), and parameters of a segment (`;sid=...`, RFC
/// 3986, section 3.3) as those of a query are.
pub(crate) fn recorded_path(path: &str) -> String {
    let mut recorded = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            recorded.push('/');
        }
        let mut parts = segment.split(';');
        let name = parts.next().unwrap_or_default();
        recorded.push_str(if is_token(&unescaped(name)) { REDACTED } else { name });
        for parameter in parts {
            recorded.push(';');
            push_parameter(&mut recorded, parameter);
        }
    }
    recorded
}

fn push_parameter(url: &mut String, parameter: &str) {
    let (name, value) = match parameter.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (parameter, None),
    };
    let plain_name = unescaped(name).to_lowercase();
    let ends = |word: &str| SECRET_ENDINGS.iter().any(|secret| word.trim_end_matches(char::is_numeric).ends_with(secret));
    let is_secret = SECRET_NAMES.iter().any(|secret| plain_name.contains(secret))
        || plain_name.split(|character: char| !character.is_alphanumeric()).any(ends);
    // A key may stand alone, where a name is expected.
    let is_name_shown = plain_name.chars().count() <= PARAMETER_CHARS_MAX && !is_token(&plain_name);
    url.push_str(if is_name_shown { name } else { REDACTED });
    let Some(value) = value else { return };
    url.push('=');
    let plain = unescaped(value);
    // What holds parameters itself (a URL to come back to) may hold secret ones.
    let is_shown = !is_secret && plain.chars().count() <= PARAMETER_CHARS_MAX && !plain.contains('=');
    url.push_str(if is_shown || value.is_empty() { value } else { REDACTED });
}

fn is_token(segment: &str) -> bool {
    let is_mixed = || segment.chars().any(|character| character.is_ascii_digit()) && segment.chars().any(char::is_alphabetic);
    segment.contains(':') || (segment.chars().count() > SEGMENT_CHARS_MAX && is_mixed())
}

/// Unescaped twice, for what was escaped twice.
fn unescaped(text: &str) -> String {
    let once = percent_decode_str(text).decode_utf8_lossy();
    percent_decode_str(&once).decode_utf8_lossy().into_owned()
}

/// The headers of a request that go on, and those of an answer that come back.
pub(crate) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    passing(headers, |_| false)
}

/// As [`forwarded`], for a request that AWS's signature covers: what is signed goes on as it came, our own headers included, for AWS
/// refuses a request without it. Never what belongs to the connection, and `host` only where it is that of the upstream: whoever
/// writes a signature down chooses what it names.
pub(super) fn forwarded_signed(headers: &HeaderMap, signature: &Signature, host: &str) -> HeaderMap {
    let names_upstream = headers.get(header::HOST).and_then(|value| value.to_str().ok()?.parse::<Authority>().ok());
    let names_upstream = names_upstream.is_some_and(|named| named.host().eq_ignore_ascii_case(host));
    // They say what comes how on this connection.
    let frames = [header::CONTENT_LENGTH, header::EXPECT];
    passing(headers, |name| {
        signature.headers.iter().any(|signed| signed == name.as_str())
            && if *name == header::HOST { names_upstream } else { !of_connection(name) && !frames.contains(name) }
    })
}

fn passing(headers: &HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let named = named_by_connection(headers);
    let mut forwarded = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let stays = SET_ANEW.contains(name)
            || of_connection(name)
            || name.as_str().starts_with(own_header::PREFIX)
            || named.contains(name);
        if !stays || is_kept(name) {
            forwarded.append(name.clone(), value.clone());
        }
    }
    forwarded
}

/// Whether a header belongs to one connection.
pub(crate) fn of_connection(name: &HeaderName) -> bool {
    OF_CONNECTION.contains(&name.as_str())
}

/// Headers that belong to this connection because `Connection` names them.
pub(crate) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    let names = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    names.filter_map(|name| name.trim().to_ascii_lowercase().parse().ok()).collect()
}

/// How AWS signs requests (SigV4).
const SIGNATURE_ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature of AWS says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    /// The access key's id, which is no secret.
    pub(super) access_key: String,
    /// The headers that it covers, in lower case.
    headers: Vec<String>,
}

impl Signature {
    /// Reads `AWS4-HMAC-SHA256 Credential=ID/DATE/REGION/SERVICE/aws4_request, SignedHeaders=host;x-amz-date, Signature=...`; `None` when
    /// the request has no signature of exactly that form.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next()?.to_str().ok().filter(|_| values.next().is_none())?;
        let (algorithm, fields) = value.split_once(' ')?;
        let mut fields = fields.split(',').map(|field| field.trim().split_once('='));
        let mut field = |name: &str| fields.next().flatten().filter(|(field, _)| *field == name).map(|(_, value)| value);
        let (credential, signed, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
        let (access_key, scope) = credential.split_once('/')?;
        let is_whole = algorithm == SIGNATURE_ALGORITHM
            && !access_key.is_empty()
            && scope.split('/').count() == 4
            && scope.ends_with("/aws4_request")
            && signature.len() == 64
            && signature.bytes().all(|byte| byte.is_ascii_hexdigit())
            && fields.next().is_none();
        let headers = signed.split(';').map(|name| name.parse::<HeaderName>().ok().map(|name| name.as_str().to_owned()));
        let headers = headers.collect::<Option<Vec<_>>>().filter(|_| is_whole)?;
        Some(Self { access_key: access_key.to_owned(), headers })
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::Asked;
    use super::*;

    fn target(path: &str) -> Target {
        Target { provider: Provider::OpenAi, path_and_query: path.to_owned(), api: None, asked: Asked::default() }
    }

    #[test]
    fn bases_are_joined_with_paths_and_secrets_leave_the_record() {
        let cases = [
            ("https://api.example.com", "/v1/x?a=1", "https://api.example.com/v1/x?a=1"),
            ("http://127.0.0.1:9/", "/v1/x", "http://127.0.0.1:9/v1/x"),
            ("http://h/proxy/v1", "/v1/x", "http://h/proxy/v1/x"),
            ("http://h", "/v1/x?KEY=abc&b=2&token=t", "http://h/v1/x?KEY=REDACTED&b=2&token=REDACTED"),
        ];
        for (base, path, recorded) in cases {
            let base = Base::parse("openai_base", base).unwrap();
            assert_eq!(base.recorded_url(&target(path)), recorded);
            if !recorded.contains("REDACTED") {
                assert_eq!(base.url(&target(path)).unwrap().to_string(), recorded);
            }
        }
    }

    #[test]
    fn what_may_be_a_secret_leaves_the_record() {
        let long = "a".repeat(PARAMETER_CHARS_MAX + 1);
        let mixed = "a1".repeat(SEGMENT_CHARS_MAX);
        let deployment = "d".repeat(SEGMENT_CHARS_MAX + 1);
        let cases = [
            ("/v1/x?%6bey=abc".to_owned(), "/v1/x?%6bey=REDACTED".to_owned()),
            ("/v1/x?%256bey=abc".to_owned(), "/v1/x?%256bey=REDACTED".to_owned()),
            ("/v1/x?key[]=abc&KEY=".to_owned(), "/v1/x?key[]=REDACTED&KEY=".to_owned()),
            ("/v1/x?X-Amz-Signature=ab&limit=5".to_owned(), "/v1/x?X-Amz-Signature=REDACTED&limit=5".to_owned()),
            ("/v1/x?a=1;sig=abc;b".to_owned(), "/v1/x?a=1;sig=REDACTED;b".to_owned()),
            ("/v1/x?to=http%3A%2F%2Fh%3Fkey%3Dabc".to_owned(), "/v1/x?to=REDACTED".to_owned()),
            (format!("/v1/x?after={long}&order=asc"), "/v1/x?after=REDACTED&order=asc".to_owned()),
            (format!("/v1/x?{mixed}"), "/v1/x?REDACTED".to_owned()),
            (
                "/v1/x?session=a&PHPSESSID=b&connect.sid=c&jwt=d&pin2=e&otp=f&pass=g".to_owned(),
                "/v1/x?session=REDACTED&PHPSESSID=REDACTED&connect.sid=REDACTED&jwt=REDACTED&pin2=REDACTED&otp=REDACTED&pass=REDACTED"
                    .to_owned(),
            ),
            ("/v1/x?side=buy&shipping=1&inside=2".to_owned(), "/v1/x?side=buy&shipping=1&inside=2".to_owned()),
            ("/reset;sid=abc;v=1/x;b".to_owned(), "/reset;sid=REDACTED;v=1/x;b".to_owned()),
            ("/bot123:TOKEN/send?a=1".to_owned(), "/REDACTED/send?a=1".to_owned()),
            ("/bot123%3aTOKEN/send".to_owned(), "/REDACTED/send".to_owned()),
            (format!("/hooks/{mixed}/"), "/hooks/REDACTED/".to_owned()),
            (format!("/deployments/{deployment}/x"), format!("/deployments/{deployment}/x")),
        ];
        let base = Base::parse("openai_base", "http://h").unwrap();
        for (path, recorded) in cases {
            assert_eq!(base.recorded_url(&target(&path)), format!("http://h{recorded}"));
            // What goes upstream is what came.
            assert_eq!(base.url(&target(&path)).unwrap().to_string(), format!("http://h{path}"));
        }
    }

    #[test]
    fn bases_that_cannot_be_used_are_named() {
        for (url, problem) in [
            ("api.example.com/x y", "is not a URL"),
            ("/v1", "has no scheme"),
            ("ftp://h", "is neither http nor https"),
            ("http://u:p@h", "holds a credential; keys come with each request"),
            ("http://h/?a=1", "has a query"),
        ] {
            let error = Base::parse("openai_base", url).unwrap_err().to_string();
            assert!(error.contains(problem) && error.starts_with("openai_base") && !error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn headers_of_the_connection_and_our_own_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("accept-encoding", "gzip"),
            ("x-watchkeeper-user", "u"),
            ("authorization", "Bearer k"),
            ("traceparent", "t"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let mut names: Vec<_> = forwarded(&headers).keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["authorization", "traceparent"]);
    }

    /// A signature over the headers.
    fn signed(headers: &str) -> HeaderMap {
        let value = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20261121/eu-central-1/bedrock/aws4_request, SignedHeaders={headers}, Signature={}",
            "0a".repeat(32)
        );
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn what_is_signed_goes_on_and_nothing_of_the_connection_or_of_another_host() {
        let mut headers =
            signed("connection;content-length;expect;host;te;transfer-encoding;upgrade;x-amz-date;x-watchkeeper-user");
        let host = "bedrock-runtime.eu-central-1.amazonaws.com";
        for (name, value) in [
            ("host", host),
            ("connection", "x-amz-date, upgrade"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("x-amz-date", "20261121T000000Z"),
            ("x-watchkeeper-user", "u"),
            ("x-watchkeeper-agent", "not signed"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let signature = Signature::of(&headers).unwrap();
        assert_eq!(signature.access_key, "AKID");
        let names = |host: &str| {
            let mut names: Vec<_> = forwarded_signed(&headers, &signature, host).keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(host), ["authorization", "host", "x-amz-date", "x-watchkeeper-user"]);
        assert_eq!(names("127.0.0.1"), ["authorization", "x-amz-date", "x-watchkeeper-user"]);
        // Without a provider that checks it, a signature means nothing.
        assert_eq!(forwarded(&headers).keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["authorization"]);
    }

    #[test]
    fn only_a_whole_signature_is_one() {
        let whole = signed("host;x-amz-date");
        let value = whole["authorization"].to_str().unwrap().to_owned();
        assert!(Signature::of(&whole).is_some());
        for wrong in [
            value.replace("AWS4-HMAC-SHA256", "AWS4-"),
            value.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256x"),
            value.replace("/aws4_request", ""),
            value.replace("SignedHeaders=host;x-amz-date, ", ""),
            value.replace("x-amz-date", "x amz"),
            value.replace("Signature=0a", "Signature="),
            format!("{value}, Signature=ab"),
            format!("Bearer {value}"),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, wrong.parse().unwrap())]);
            assert_eq!(Signature::of(&headers), None, "{wrong}");
        }
    }
}
