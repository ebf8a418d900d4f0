//! Asks a model the items of a set: several at once, again where it is busy, never more often and never for longer than was allowed.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evaluate::{Answer, Api, ErrorClass, Item, Message, Parameters, Run, Set, Trial, judge};
use event::Timestamp;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use sanitize::Sanitizer;

use super::foreign::Foreign;
use crate::outbound::{Guarded, HttpClient, Trust, client, is_this_machine, read_url};

/// Longest answer of an endpoint, in bytes: a few hundred KB of text with its wrapping.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How often a question is asked again that was not answered.
const RETRIES_MAX: u32 = 4;
/// How long is waited before the first of them; each waits twice as long as the one before.
const RETRY: Duration = Duration::from_millis(500);
/// The longest that is waited, whatever the endpoint asks for (`Retry-After`).
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Questions that are refused for good before anything was answered: more would be refused as well.
const REFUSED_MAX: u32 = 3;

/// An endpoint, and how it is asked.
pub struct Target {
    api: Api,
    url: Uri,
    parameters: Parameters,
    headers: Vec<(HeaderName, HeaderValue)>,
    client: HttpClient<Full<Bytes>>,
    timeout: Duration,
    /// The key, to be taken out of what the endpoint says.
    key: Option<Secret>,
}

/// A key, which is overwritten when nobody needs it any more.
struct Secret(zeroize::Zeroizing<String>);

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// How often each item is asked.
    pub repeat: u32,
    /// Questions that are under way at once.
    pub concurrency: usize,
    /// Most requests, those to a judge and those that are sent again included.
    pub calls_max: u64,
    /// How long all of it may take.
    pub deadline: Duration,
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
        let guard = Guarded::of(&uri).map_err(|what| wrong(&what))?;
        if uri.scheme_str() == Some("http") && !is_this_machine(&uri) {
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
        let trust = Trust::for_urls(std::iter::once(&uri), Vec::new()).map_err(TargetError::Tls)?;
        let client = client(guard, trust).map_err(TargetError::Tls)?;
        let key = key.map(|key| Secret(key.to_owned().into()));
        Ok(Self { api, url: uri, parameters, headers, client, timeout, key })
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

    /// What is made of its words.
    fn foreign<'a>(&'a self, sanitizer: &'a Sanitizer) -> Foreign<'a> {
        Foreign::new(sanitizer, self.key.as_ref().map(|key| key.0.as_str()))
    }

    /// Asks once.
    async fn ask_once(&self, body: &Bytes, sanitizer: &Sanitizer) -> Result<Answer, Failure> {
        let mut request = Request::builder().method(Method::POST).uri(&self.url);
        request = request.header(header::USER_AGENT, concat!("watchkeeper/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request =
            request.body(Full::new(body.clone())).map_err(|error| Failure::for_good(ErrorClass::NOT_ASKED, error.to_string()))?;
        let exchange = async {
            let unreachable = |what: String| Failure::passing(ErrorClass::UNREACHABLE, what, None);
            let response = self.client.request(request).await.map_err(|error| unreachable(event::with_causes(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| unreachable(format!("the answer cannot be read: {error}")))?.to_bytes();
            if head.status.is_success() {
                let answer = self.api.answer(&body);
                let answer = answer.map_err(|error| Failure::of_answer(ErrorClass::UNREADABLE, error.to_string()))?;
                return Ok(self.foreign(sanitizer).answer(answer));
            }
            let after = head.headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
            Err(Failure::of_status(head.status, &body, after.map(Duration::from_secs), &self.foreign(sanitizer)))
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(Failure::passing(ErrorClass::TIMEOUT, "no answer in time".to_owned(), None)))
    }
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
    /// The same in words of ours.
    class: ErrorClass,
    /// Whether it may be answered when it is asked again, and not before when.
    again: Option<Option<Duration>>,
    /// Whether every question would be refused like this.
    refuses_all: bool,
}

impl Failure {
    fn passing(class: ErrorClass, what: String, after: Option<Duration>) -> Self {
        Self { what, class, again: Some(after), refuses_all: false }
    }

    fn for_good(class: ErrorClass, what: String) -> Self {
        Self { what, class, again: None, refuses_all: true }
    }

    fn of_answer(class: ErrorClass, what: String) -> Self {
        Self { what, class, again: None, refuses_all: false }
    }

    fn of_status(status: StatusCode, body: &[u8], after: Option<Duration>, foreign: &Foreign<'_>) -> Self {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let said = body["error"]["message"].as_str().or_else(|| body["message"].as_str()).unwrap_or_default();
        let said = foreign.message(said);
        let what = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
        let class = ErrorClass::status(status.as_u16());
        match status.as_u16() {
            408 | 409 | 425 | 429 | 500..=599 => Self::passing(class, what, after),
            400 | 401 | 402 | 403 | 404 | 405 | 415 | 422 => Self::for_good(class, what),
            // A redirect could lead the key somewhere else.
            300..=399 => Self::for_good(class, format!("{what}: redirects are not followed, give the address that is meant")),
            _ => Self::of_answer(class, what),
        }
    }
}

/// What all questions of a run share.
struct Shared<'a> {
    target: &'a Target,
    judge: Option<&'a Target>,
    sanitizer: &'a Sanitizer,
    calls_left: AtomicU64,
    /// Questions that were refused for good, as long as nothing was answered.
    refused: AtomicU32,
    is_answered: AtomicBool,
}

/// Runs a set. `told` hears of each answer: how many there are, and of how many. What endpoints say of failures is kept as `sanitizer`
/// leaves it.
///
/// What could not be asked or graded is in the run, with the reason: only what cannot work at all is an error. When the deadline is
/// there, whatever is not answered is missing ([`Run::missing`]).
///
/// # Errors
/// [`AskError`], before anything is asked.
pub async fn run(
    set: &Set,
    target: &Target,
    judge: Option<&Target>,
    asking: &Asking,
    sanitizer: &Sanitizer,
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
    let until = tokio::time::Instant::now() + asking.deadline;
    let mut run = Run::of(set, target.api, &target.host(), &target.parameters, Timestamp::now().unix_ns());
    let shared = &Shared {
        target,
        judge,
        sanitizer,
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
    // A deadline that passes takes with it what is under way.
    while let Ok(Some((place, trial))) = tokio::time::timeout_at(until, trials.next()).await {
        if let Some(item) = run.items.get_mut(place) {
            item.trials.push(trial);
        }
        done += 1;
        told(done, all);
    }
    drop(trials);
    run.close(usize::try_from(repeat).unwrap_or(usize::MAX));
    run.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(run)
}

impl Shared<'_> {
    async fn trial(&self, item: &Item) -> Trial {
        let asked = match self.ask(self.target, &item.messages).await {
            Ok(asked) => asked,
            Err((class, what)) => return Trial::failed(class, what),
        };
        let (answer, latency) = asked;
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        let Some(rubric) = item.grader.judge() else {
            return Trial::of(&answer, item.grader.grade(&answer.text, answer.is_refused), None, latency_ms);
        };
        let Some(judge) = self.judge else {
            return Trial::failed(ErrorClass::NOT_ASKED.of_judge(), "no judge is named".to_owned());
        };
        let question = judge::question(&item.messages, &answer.text, rubric);
        let said = self.ask(judge, &question).await.map(|(said, _)| {
            let name = said.model.unwrap_or_else(|| judge.model().to_owned());
            (name, judge::score(&said.text))
        });
        match said {
            Ok((name, Some(score))) => Trial::of(&answer, item.grader.judged(score), Some(name), latency_ms),
            Ok((name, None)) => {
                let error = Some("the judge gave no score between 0 and 1".to_owned());
                let error_class = Some(ErrorClass::NO_SCORE);
                Trial { error, error_class, ..Trial::of(&answer, None, Some(name), latency_ms) }
            }
            Err((class, what)) => Trial {
                error: Some(format!("judge: {what}")),
                error_class: Some(class.of_judge()),
                ..Trial::of(&answer, None, None, latency_ms)
            },
        }
    }

    /// Asks, again where that may help. The answer, and how long it took without what went before.
    async fn ask(&self, target: &Target, messages: &[Message]) -> Result<(Answer, Duration), (ErrorClass, String)> {
        let body = Bytes::from(target.api.request(messages, &target.parameters).to_string());
        let mut wait = RETRY;
        for attempt in 0..=RETRIES_MAX {
            if self.refused.load(Ordering::Relaxed) >= REFUSED_MAX && !self.is_answered.load(Ordering::Relaxed) {
                return Err((ErrorClass::NOT_ASKED, "not asked: the endpoint refused the first questions for good".to_owned()));
            }
            let take = |left: u64| left.checked_sub(1);
            if self.calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                let what = "not asked: as many requests were sent as are allowed (max calls)";
                return Err((ErrorClass::NOT_ASKED, what.to_owned()));
            }
            let began = Instant::now();
            let failure = match target.ask_once(&body, self.sanitizer).await {
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
                _ => return Err((failure.class, failure.what)),
            }
        }
        Err((ErrorClass::NOT_ASKED, "no answer".to_owned()))
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
        let asking = Asking { repeat: 3, concurrency: 1, calls_max: 5, deadline: Duration::from_secs(9) };
        let sanitizer = crate::ephemeral_sanitizer(&Default::default()).unwrap();
        assert_eq!(run(&set, &target, None, &asking, &sanitizer, &|_, _| {}).await.unwrap_err(), AskError::Judge);
        assert_eq!(
            run(&set, &target, Some(&target), &asking, &sanitizer, &|_, _| {}).await.unwrap_err(),
            AskError::Calls { needed: 6, max: 5 }
        );
    }

    /// An endpoint that takes connections, and answers the first question alone.
    async fn tarpit() -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if held.is_empty() {
                    let mut asked = [0; 4096];
                    drop(stream.read(&mut asked).await);
                    let body = r#"{"model":"m-1","choices":[{"message":{"content":"y"},"finish_reason":"stop"}]}"#;
                    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                    drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
                    drop(stream.flush().await);
                }
                held.push(stream);
            }
        });
        url
    }

    #[tokio::test]
    async fn a_run_ends_at_its_deadline_with_what_is_missing() {
        let row = |id: u32| format!(r#"{{"id":"i{id}","prompt":"x","grader":{{"type":"exact","value":"y"}}}}"#);
        let set = Set::read("s", &(0..6).map(row).collect::<Vec<_>>().join("\n")).unwrap();
        let parameters = Parameters { model: "m".to_owned(), temperature: Some(0.0), max_tokens: 16, more: Default::default() };
        // No call ends by itself before the run's time is over.
        let target = Target::new(Api::OpenaiChat, &tarpit().await, parameters, None, Duration::from_secs(600)).unwrap();
        let asking = Asking { repeat: 2, concurrency: 2, calls_max: 100, deadline: Duration::from_millis(700) };
        let sanitizer = crate::ephemeral_sanitizer(&Default::default()).unwrap();
        let run = run(&set, &target, None, &asking, &sanitizer, &|_, _| {}).await.unwrap();
        assert_eq!(run.missing, 11);
        assert!(run.items.iter().all(|item| item.trials.len() == 2));
        assert_eq!(run.items.iter().filter(|item| item.score() == Some(1.0)).count(), 1);
        assert!(run.duration_ms >= 700);
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
            let sanitizer = crate::ephemeral_sanitizer(&Default::default()).unwrap();
            let foreign = Foreign::new(&sanitizer, Some("key-of-this-test"));
            let body = br#"{"error":{"message":"no\nmore for key-of-this-test"}}"#;
            let failure = Failure::of_status(StatusCode::from_u16(status).unwrap(), body, None, &foreign);
            assert_eq!((failure.again.is_some(), failure.refuses_all), (again, refuses_all), "{status}");
            assert!(failure.what.contains("no more for <KEY>"), "{}", failure.what);
            assert_eq!(failure.class.name(), status.to_string());
            assert!(!failure.class.to_string().contains("more"), "{}", failure.class);
        }
    }
}
