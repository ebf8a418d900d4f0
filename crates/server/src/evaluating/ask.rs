//! Asks a model the items of a set: several at once, again where it is busy, never more often than was allowed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evaluate::{Answer, Api, Item, Message, Parameters, Run, Set, Trial, judge};
use event::Timestamp;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

use crate::intel::{Guarded, refused};
use crate::outbound::read_url;

/// Longest answer of an endpoint, in bytes: a few hundred KB of text with its wrapping.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a question is asked again that was not answered.
const RETRIES_MAX: u32 = 4;
/// How long is waited before the first of them; each waits twice as long as the one before.
const RETRY: Duration = Duration::from_millis(500);
/// The longest that is waited, whatever the endpoint asks for (`Retry-After`).
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Questions that are refused for good before anything was answered: more would be refused as well.
const REFUSED_MAX: u32 = 3;
/// Longest message of an endpoint that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// An endpoint, and how it is asked.
pub struct Target {
    api: Api,
    url: Uri,
    parameters: Parameters,
    headers: Vec<(HeaderName, HeaderValue)>,
    client: Client<HttpsConnector<HttpConnector<Guarded>>, Full<Bytes>>,
    timeout: Duration,
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// How often each item is asked.
    pub repeat: u32,
    /// Questions that are under way at once.
    pub concurrency: usize,
    /// Most requests, those to a judge and those that are sent again included.
    pub calls_max: u64,
}

/// Why an endpoint cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Its address.
    #[error("{url:?} {what}")]
    Url {
        /// The address, without a query.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The key holds what no header can.
    #[error("the key has characters that no header takes")]
    Key,
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Why a set is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It would take more requests than are allowed.
    #[error(
        "{needed} requests are needed, and {max} are allowed; allow more (max calls), repeat less, or take a part of the set"
    )]
    Calls {
        /// Requests without any that is sent again.
        needed: u64,
        /// The limit.
        max: u64,
    },
    /// Items ask for a judge, and there is none.
    #[error("the set has items with a judge, and no judge is named")]
    Judge,
}

impl Target {
    /// An endpoint. `key` is sent as the interface has it, and is in no message.
    ///
    /// # Errors
    /// When the address is none that a model is at, or would send the key and the prompts in the clear.
    pub fn new(api: Api, url: &str, parameters: Parameters, key: Option<&str>, timeout: Duration) -> Result<Self, TargetError> {
        let shown = url.split(['?', '#']).next().unwrap_or_default();
        let shown: String = without_userinfo(shown).chars().take(200).collect();
        let wrong = |what: &str| TargetError::Url { url: shown.clone(), what: what.to_owned() };
        let uri = read_url(url).map_err(wrong)?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("has a user or a password in it, which would not be sent; name a key"));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let literal = host.parse::<IpAddr>().ok();
        let is_local = host == "localhost" || literal.is_some_and(|address| address.is_loopback());
        if let Some(what) = literal.and_then(|address| refused(address, is_local)) {
            return Err(wrong(&format!("is {what}")));
        }
        if uri.scheme_str() == Some("http") && !is_local {
            return Err(wrong(
                "is http:// beyond this machine: prompts and the key would cross the network in the clear; use https://",
            ));
        }
        let mut headers = Vec::new();
        for (name, value) in api.headers(key) {
            let mut value = HeaderValue::try_from(value).map_err(|_| TargetError::Key)?;
            value.set_sensitive(name != "content-type" && name != "anthropic-version");
            headers.push((HeaderName::from_static(name), value));
        }
        let client = client(&uri, is_local).map_err(TargetError::Tls)?;
        Ok(Self { api, url: uri, parameters, headers, client, timeout })
    }

    /// The host, as events and reports name it.
    #[must_use]
    pub fn host(&self) -> String {
        self.url.authority().map(ToString::to_string).unwrap_or_default()
    }

    /// The model that is asked for.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.parameters.model
    }

    /// Asks once.
    async fn ask_once(&self, body: &Bytes) -> Result<Answer, Failure> {
        let mut request = Request::builder().method(Method::POST).uri(&self.url);
        request = request.header(header::USER_AGENT, concat!("watchkeeper/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.clone())).map_err(|error| Failure::for_good(error.to_string()))?;
        let exchange = async {
            let response =
                self.client.request(request).await.map_err(|error| Failure::passing(event::with_causes(&error), None))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Failure::passing(format!("the answer cannot be read: {error}"), None))?.to_bytes();
            if head.status.is_success() {
                return self.api.answer(&body).map_err(|error| Failure::of_answer(error.to_string()));
            }
            let after = head.headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
            Err(Failure::of_status(head.status, &body, after.map(Duration::from_secs)))
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(Failure::passing("no answer in time".to_owned(), None)))
    }
}

fn client(url: &Uri, is_local: bool) -> Result<Client<HttpsConnector<HttpConnector<Guarded>>, Full<Bytes>>, String> {
    let mut http = HttpConnector::new_with_resolver(Guarded { is_local });
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let mut roots = RootCertStore::empty();
    // Without TLS the system is not asked for authorities that it may not have.
    if url.scheme_str() == Some("https") {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// A URL for a message: whatever could be a user and a password in it is left out.
fn without_userinfo(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://{}", &url[..scheme], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

/// Why there is no answer.
struct Failure {
    what: String,
    /// Whether it may be answered when it is asked again, and not before when.
    again: Option<Option<Duration>>,
    /// Whether every question would be refused like this.
    refuses_all: bool,
}

impl Failure {
    fn passing(what: String, after: Option<Duration>) -> Self {
        Self { what, again: Some(after), refuses_all: false }
    }

    fn for_good(what: String) -> Self {
        Self { what, again: None, refuses_all: true }
    }

    fn of_answer(what: String) -> Self {
        Self { what, again: None, refuses_all: false }
    }

    fn of_status(status: StatusCode, body: &[u8], after: Option<Duration>) -> Self {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let said = body["error"]["message"].as_str().or_else(|| body["message"].as_str()).unwrap_or_default();
        let said: String = said.chars().filter(|letter| !letter.is_control()).take(MESSAGE_CHARS_MAX).collect();
        let what = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
        match status.as_u16() {
            408 | 409 | 425 | 429 | 500..=599 => Self::passing(what, after),
            400 | 401 | 402 | 403 | 404 | 405 | 415 | 422 => Self::for_good(what),
            // A redirect could lead the key somewhere else.
            300..=399 => Self::for_good(format!("{what}: redirects are not followed, give the address that is meant")),
            _ => Self::of_answer(what),
        }
    }
}

/// What all questions of a run share.
struct Shared<'a> {
    target: &'a Target,
    judge: Option<&'a Target>,
    calls_left: AtomicU64,
    /// Questions that were refused for good, as long as nothing was answered.
    refused: AtomicU32,
    is_answered: AtomicBool,
}

/// Runs a set. `told` hears of each answer: how many there are, and of how many.
///
/// What could not be asked or graded is in the run, with the reason: only what cannot work at all is an error.
///
/// # Errors
/// [`AskError`], before anything is asked.
pub async fn run(
    set: &Set,
    target: &Target,
    judge: Option<&Target>,
    asking: &Asking,
    told: &(dyn Fn(u64, u64) + Sync),
) -> Result<Run, AskError> {
    let repeat = u64::from(asking.repeat.max(1));
    let judged = set.items.iter().filter(|item| item.grader.judge().is_some()).count() as u64;
    if judged > 0 && judge.is_none() {
        return Err(AskError::Judge);
    }
    let all = set.items.len() as u64 * repeat;
    let needed = all + judged * repeat;
    if needed > asking.calls_max {
        return Err(AskError::Calls { needed, max: asking.calls_max });
    }
    let began = Instant::now();
    let mut run = Run::of(set, target.api, &target.host(), &target.parameters, Timestamp::now().unix_ns());
    let shared = &Shared {
        target,
        judge,
        calls_left: AtomicU64::new(asking.calls_max),
        refused: AtomicU32::new(0),
        is_answered: AtomicBool::new(false),
    };
    // All items once, and then again: what changes in the meantime changes for all of them.
    let questions = (0..repeat).flat_map(|_| set.items.iter().enumerate());
    let mut trials = futures_util::stream::iter(questions)
        .map(|(place, item)| async move { (place, shared.trial(item).await) })
        .buffer_unordered(asking.concurrency.max(1));
    let mut done = 0;
    while let Some((place, trial)) = trials.next().await {
        if let Some(item) = run.items.get_mut(place) {
            item.trials.push(trial);
        }
        done += 1;
        told(done, all);
    }
    drop(trials);
    run.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(run)
}

impl Shared<'_> {
    async fn trial(&self, item: &Item) -> Trial {
        let asked = match self.ask(self.target, &item.messages).await {
            Ok(asked) => asked,
            Err(what) => return Trial::failed(what),
        };
        let (answer, latency) = asked;
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        let Some(rubric) = item.grader.judge() else {
            return Trial::of(&answer, item.grader.grade(&answer.text, answer.is_refused), None, latency_ms);
        };
        let Some(judge) = self.judge else { return Trial::failed("no judge is named".to_owned()) };
        let question = judge::question(&item.messages, &answer.text, rubric);
        let said = self.ask(judge, &question).await.map(|(said, _)| {
            let name = said.model.unwrap_or_else(|| judge.model().to_owned());
            (name, judge::score(&said.text))
        });
        match said {
            Ok((name, Some(score))) => Trial::of(&answer, item.grader.judged(score), Some(name), latency_ms),
            Ok((name, None)) => {
                let error = Some("the judge gave no score between 0 and 1".to_owned());
                Trial { error, ..Trial::of(&answer, None, Some(name), latency_ms) }
            }
            Err(what) => Trial { error: Some(format!("judge: {what}")), ..Trial::of(&answer, None, None, latency_ms) },
        }
    }

    /// Asks, again where that may help. The answer, and how long it took without what went before.
    async fn ask(&self, target: &Target, messages: &[Message]) -> Result<(Answer, Duration), String> {
        let body = Bytes::from(target.api.request(messages, &target.parameters).to_string());
        let mut wait = RETRY;
        for attempt in 0..=RETRIES_MAX {
            if self.refused.load(Ordering::Relaxed) >= REFUSED_MAX && !self.is_answered.load(Ordering::Relaxed) {
                return Err("not asked: the endpoint refused the first questions for good".to_owned());
            }
            let take = |left: u64| left.checked_sub(1);
            if self.calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                return Err("not asked: as many requests were sent as are allowed (max calls)".to_owned());
            }
            let began = Instant::now();
            let failure = match target.ask_once(&body).await {
                Ok(answer) => {
                    self.is_answered.store(true, Ordering::Relaxed);
                    return Ok((answer, began.elapsed()));
                }
                Err(failure) => failure,
            };
            if failure.refuses_all {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            match failure.again {
                Some(after) if attempt < RETRIES_MAX => {
                    tokio::time::sleep(after.unwrap_or(wait).min(RETRY_MAX)).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
                _ => return Err(failure.what),
            }
        }
        Err("no answer".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, key: Option<&str>) -> Result<Target, TargetError> {
        let parameters = Parameters { model: "m".to_owned(), temperature: Some(0.0), max_tokens: 16, more: Default::default() };
        Target::new(Api::OpenaiChat, url, parameters, key, Duration::from_secs(1))
    }

    #[test]
    fn what_is_no_endpoint_is_refused_and_no_key_is_told() {
        for (url, named) in [
            ("nonsense", "must begin with"),
            ("ftp://models.example/v1", "must begin with"),
            ("http://models.example/v1", "in the clear"),
            ("https://user:secret-word@models.example/v1", "user or a password"),
            ("http://169.254.169.254/latest", "link-local"),
            ("http://[fd00:ec2::254]/x", "link-local"),
        ] {
            let error = target(url, Some("secret-key")).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(named), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(target("https://models.example/v1", Some("a\nb")).err(), Some(TargetError::Key));
        assert_eq!(target("http://127.0.0.1:8000/v1/chat/completions", None).unwrap().host(), "127.0.0.1:8000");
    }

    #[tokio::test]
    async fn what_would_cost_too_much_is_not_begun() {
        let set = Set::read("s", r#"{"id":"a","prompt":"x","grader":{"type":"judge","rubric":"y"}}"#).unwrap();
        let target = target("http://127.0.0.1:9/", None).unwrap();
        let asking = Asking { repeat: 3, concurrency: 1, calls_max: 5 };
        assert_eq!(run(&set, &target, None, &asking, &|_, _| {}).await.unwrap_err(), AskError::Judge);
        assert_eq!(
            run(&set, &target, Some(&target), &asking, &|_, _| {}).await.unwrap_err(),
            AskError::Calls { needed: 6, max: 5 }
        );
    }

    #[test]
    fn what_may_pass_is_asked_again_and_what_will_not_is_not() {
        for (status, again, refuses_all) in [
            (429, true, false),
            (503, true, false),
            (401, false, true),
            (404, false, true),
            (302, false, true),
            (418, false, false),
        ] {
            let failure = Failure::of_status(StatusCode::from_u16(status).unwrap(), br#"{"error":{"message":"no\nmore"}}"#, None);
            assert_eq!((failure.again.is_some(), failure.refuses_all), (again, refuses_all), "{status}");
            assert!(failure.what.contains("nomore"));
        }
    }
}
