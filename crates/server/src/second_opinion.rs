//! A second opinion on texts, asked of a model over HTTP on a thread of its own: of texts that inspection is not sure about.
//!
//! The answer is an event of its own that names the event of the text, so that what detection sees depends on the journal alone. Who
//! reports events never waits and never fails because of it; only a decision of the gateway waits, where the configuration asks for
//! that, and no longer than the time that it sets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::{Channel, Event, EventId, Finding, Identity, Kind, Phase, Risk, RuleId, Status, Timestamp, Trace, Value, attr};
use http::{HeaderValue, Method, Request, Uri, header};
use sanitize::Clean;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::cache::Processed;
use crate::config::{Config, ConfigError, OpinionKind, OpinionMode, SecondOpinionConfig};
use crate::node::internal;
use crate::outbound::Outbound;
use crate::pipeline::Pipeline;

/// The name of the events. Nothing that comes from outside bears one that begins like it.
const EVENT_NAME: &str = "recorder.second_opinion";

/// Questions that may wait. A text is held once, here and in the record's cache.
const QUEUE_MAX: usize = 1_024;

/// Questions that are asked at once.
const ASKED_AT_ONCE_MAX: usize = 4;

/// Longest text that is sent, in bytes: models of this kind read a few thousand tokens. Of longer ones the first and the last half.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// How long a model that did not answer is left alone.
const REST: Duration = Duration::from_secs(10);

/// Most categories that are kept of an answer, and the longest of them in bytes: they are somebody else's words.
const CATEGORIES_MAX: usize = 32;
const CATEGORY_BYTES_MAX: usize = 64;

/// Most tokens of an answer of Llama Guard: one word and a line of categories.
const ANSWER_TOKENS_MAX: u32 = 64;

/// What became of questions since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OpinionCounts {
    /// Texts on which there was an answer.
    pub answered: u64,
    /// Answers that called a text harmful.
    pub flagged: u64,
    /// Questions without a usable answer.
    pub failed: u64,
    /// Texts that were not asked about: too many waited, or the model is left alone after a failure.
    pub skipped: u64,
}

/// What the model said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Opinion {
    pub(crate) is_flagged: bool,
    /// 0 to 1; of a model that gives none, 1 for what it flags.
    pub(crate) score: f32,
    pub(crate) categories: Vec<String>,
}

/// Why there is no opinion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error("timeout")]
    Timeout,
    #[error("connection")]
    Connection(String),
    #[error("{0}")]
    Status(u16),
    #[error("unreadable_answer")]
    Unreadable,
    #[error("unavailable")]
    Resting,
}

/// What came of a question.
#[derive(Debug, Clone)]
struct Outcome {
    opinion: Result<Opinion, Failure>,
    latency: Duration,
}

/// Asks for second opinions. The pipeline has it.
pub(crate) struct SecondOpinion {
    settings: SecondOpinionConfig,
    /// Who is asked, as the log names it: a query could hold a key.
    host: String,
    questions: mpsc::Sender<Question>,
    counters: Counters,
    /// Until when the model is left alone.
    rests_until: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Counters {
    answered: AtomicU64,
    flagged: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
}

struct Question {
    text: Arc<Processed>,
    channel: Channel,
    purpose: Purpose,
}

enum Purpose {
    /// A decision waits.
    Decide(SyncSender<Outcome>),
    /// The answer is recorded; it may be known already.
    Record(Box<Cause>, Option<Opinion>),
}

/// The event that a text is of.
struct Cause {
    id: EventId,
    piece: usize,
    time: Timestamp,
    session: Option<String>,
    trace: Option<Trace>,
    identity: Identity<String>,
}

/// The thread that asks.
pub(crate) struct Asking {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl SecondOpinion {
    /// Starts the thread and tells the pipeline, if the configuration names somebody to ask.
    pub(crate) fn start(pipeline: &Arc<Pipeline>, config: &Config) -> Result<Option<Asking>, ConfigError> {
        let Some(settings) = &config.inspect.second_opinion else { return Ok(None) };
        let refuse = |field, what: String| ConfigError::SecondOpinion { field, what };
        let url = settings.address()?;
        let key = settings.secret()?.map(|key| HeaderValue::try_from(format!("Bearer {}", key.trim())));
        let mut key = key.transpose().map_err(|_| refuse("api_key", "has characters that no header takes".to_owned()))?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        let outbound = Outbound::new(std::iter::once(&url)).map_err(|what| refuse("url", what))?;
        let (questions, asked) = mpsc::channel(QUEUE_MAX);
        let opinions = Arc::new(Self {
            settings: settings.clone(),
            host: url.authority().map(ToString::to_string).unwrap_or_default(),
            questions,
            counters: Counters::default(),
            rests_until: Mutex::new(None),
        });
        let model = Arc::new(Model { outbound, url, key, settings: settings.clone() });
        let io = |error: std::io::Error| refuse("url", error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let (stop, stopped) = watch::channel(false);
        let work = Work { pipeline: pipeline.clone(), opinions: opinions.clone(), model };
        let run = move || runtime.block_on(work.run(asked, stopped));
        let thread = std::thread::Builder::new().name("second-opinion".to_owned()).spawn(run).map_err(io)?;
        pipeline.ask_for_opinions(opinions);
        Ok(Some(Asking { stop, thread }))
    }

    /// What became of questions since the start.
    pub(crate) fn counts(&self) -> OpinionCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { answered, flagged, failed, skipped } = &self.counters;
        OpinionCounts { answered: of(answered), flagged: of(flagged), failed: of(failed), skipped: of(skipped) }
    }

    /// Asks about the texts of an event that is on its way to the record. Each text once, as long as it is known by heart, and again where
    /// there was no answer.
    pub(crate) fn consider(&self, event: &Event<Clean>, processed: &[Arc<Processed>]) {
        for (nth, (piece, processed)) in event.pieces.iter().zip(processed).enumerate() {
            let channel = piece.meta.channel();
            if !self.wants(channel, processed.report.score) || processed.is_asked_about.swap(true, Ordering::Relaxed) {
                continue;
            }
            let text = |text: &Clean| text.as_str().to_owned();
            let cause = Cause {
                id: event.id,
                piece: nth,
                time: event.time,
                session: event.session.as_ref().map(text),
                trace: event.trace,
                identity: event.identity.clone().map(&mut |clean: Clean| text(&clean)),
            };
            let purpose = Purpose::Record(Box::new(cause), processed.opinion.get().cloned());
            if !self.put(Question { text: processed.clone(), channel, purpose }) {
                processed.is_asked_about.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Asks about texts that a decision is to be made on, and waits. The opinions on those that were asked about, in their order:
    /// `None` where there was no answer in time. Nothing where decisions do not wait. Only from a thread that may wait.
    pub(crate) fn decide(&self, texts: &[(Channel, Arc<Processed>)]) -> Vec<(usize, Option<Opinion>)> {
        if !self.is_inline() {
            return Vec::new();
        }
        let deadline = Instant::now() + self.settings.timeout();
        let mut waiting: Vec<(usize, Option<Receiver<Outcome>>)> = Vec::new();
        for (nth, (channel, processed)) in texts.iter().enumerate() {
            if !self.wants(*channel, processed.report.score) {
                continue;
            }
            let is_known = processed.opinion.get().is_some();
            let ask = || {
                let (answer, answers) = sync_channel(1);
                let question = Question { text: processed.clone(), channel: *channel, purpose: Purpose::Decide(answer) };
                self.put(question).then_some(answers)
            };
            waiting.push((nth, if is_known { None } else { ask() }));
        }
        let answered = |(nth, answers): (usize, Option<Receiver<Outcome>>)| {
            let processed = &texts[nth].1;
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(Ok(Outcome { opinion: Ok(opinion), .. })) = answers.map(|answers| answers.recv_timeout(left)) {
                drop(processed.opinion.set(opinion)); // another call may have brought it meanwhile
            }
            (nth, processed.opinion.get().cloned())
        };
        waiting.into_iter().map(answered).collect()
    }

    /// Whether decisions wait for opinions.
    pub(crate) fn is_inline(&self) -> bool {
        self.settings.mode == OpinionMode::Inline
    }

    /// A finding for what an opinion says of a text.
    pub(crate) fn finding(&self, opinion: &Opinion, text: &str) -> Finding {
        Finding {
            risk: risk(&opinion.categories),
            technique: None,
            rule: RuleId::new(match self.settings.kind {
                OpinionKind::OpenaiModeration => "second_opinion.openai_moderation",
                OpinionKind::LlamaGuard => "second_opinion.llama_guard",
            }),
            score: opinion.score,
            start: 0,
            end: u32::try_from(text.chars().count()).unwrap_or(u32::MAX),
            view: None,
        }
    }

    fn wants(&self, channel: Channel, score: f32) -> bool {
        self.settings.channels.contains(&channel) && (self.settings.min_score..=self.settings.max_score).contains(&score)
    }

    fn put(&self, question: Question) -> bool {
        let is_taken = self.questions.try_send(question).is_ok();
        if !is_taken {
            self.counters.skipped.fetch_add(1, Ordering::Relaxed);
        }
        is_taken
    }

    fn rests(&self) -> bool {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    fn note(&self, outcome: &Outcome) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match &outcome.opinion {
            Ok(opinion) => {
                add(&self.counters.answered);
                if opinion.is_flagged {
                    add(&self.counters.flagged);
                }
            }
            Err(Failure::Resting) => {
                add(&self.counters.skipped);
            }
            Err(failure) => {
                add(&self.counters.failed);
                let cause = if let Failure::Connection(cause) = failure { cause } else { "" };
                tracing::warn!(host = self.host, %failure, cause, "no second opinion; asked again in {REST:?}");
                *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
            }
        }
    }
}

impl Asking {
    /// Ends after the questions that are under way; what waits is not asked.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        // A panic has been printed by the thread itself.
        drop(self.thread.join());
    }
}

#[derive(Clone)]
struct Work {
    pipeline: Arc<Pipeline>,
    opinions: Arc<SecondOpinion>,
    model: Arc<Model>,
}

impl Work {
    async fn run(self, mut asked: mpsc::Receiver<Question>, mut stop: watch::Receiver<bool>) {
        let mut under_way = JoinSet::new();
        let stopping = stop.clone();
        loop {
            let is_free = under_way.len() < ASKED_AT_ONCE_MAX;
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = under_way.join_next() => {}
                question = asked.recv(), if is_free => match question {
                    Some(question) => {
                        under_way.spawn(self.clone().answer(question, stopping.clone()));
                    }
                    None => break,
                },
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn answer(self, question: Question, stop: watch::Receiver<bool>) {
        let Question { text: processed, channel, purpose } = question;
        let text = &processed.text;
        let (cause, known) = match purpose {
            Purpose::Decide(answer) => {
                let outcome = self.ask(text, channel).await;
                drop(answer.try_send(outcome)); // the decision may have been made without it
                return;
            }
            Purpose::Record(cause, known) => (cause, known),
        };
        let outcome = match known {
            Some(opinion) => Outcome { opinion: Ok(opinion), latency: Duration::ZERO },
            None => self.ask(text, channel).await,
        };
        if outcome.opinion.is_err() {
            processed.is_asked_about.store(false, Ordering::Relaxed);
        }
        // While the model is left alone, events that say so would be as many as texts; they are counted.
        if outcome.opinion == Err(Failure::Resting) {
            return;
        }
        let event = self.event(&cause, &outcome, cut(text).1);
        let pipeline = self.pipeline;
        let recorded = tokio::task::spawn_blocking(move || pipeline.record_blocking(vec![event], &|| *stop.borrow())).await;
        if !matches!(recorded, Ok(Ok(_))) {
            tracing::warn!("a second opinion was not recorded");
        }
    }

    async fn ask(&self, text: &str, channel: Channel) -> Outcome {
        let started = Instant::now();
        let opinion = if self.opinions.rests() { Err(Failure::Resting) } else { self.model.judge(text, channel).await };
        let outcome = Outcome { opinion, latency: started.elapsed() };
        self.opinions.note(&outcome);
        outcome
    }

    /// The event of an answer, or of none. Its id rests on what it is about, so that it is the same however often it is recorded.
    fn event(&self, cause: &Cause, outcome: &Outcome, bytes_cut: usize) -> Event<String> {
        let mut event = internal(Kind::Guardrail, EVENT_NAME);
        let of = format!("{EVENT_NAME}\n{}\n{}", cause.id, cause.piece);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of.as_bytes());
        if let Ok(digest) = digest.as_ref().try_into() {
            event.id = EventId::derived(cause.time, digest);
        }
        event.phase = Phase::Complete;
        event.session.clone_from(&cause.session);
        event.trace = cause.trace;
        event.identity = cause.identity.clone();
        let whole = |number: u128| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        event.set(attr::CAUSE_EVENT_ID, cause.id.to_string().as_str());
        let settings = &self.opinions.settings;
        event.set(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME, settings.model.as_str());
        event.set(attr::GUARD_LATENCY_US, whole(outcome.latency.as_micros()));
        if bytes_cut > 0 {
            event.set(attr::CONTENT_BYTES_CUT, whole(bytes_cut as u128));
        }
        match &outcome.opinion {
            Ok(opinion) => {
                event.status = Status::Ok;
                event.set(attr::GEN_AI_GUARDRAIL_VERDICT_TYPE, if opinion.is_flagged { "deny" } else { "allow" });
                event.set(attr::GEN_AI_GUARDRAIL_SECURITY_RISK_SCORE, Value::double(f64::from(opinion.score)));
                if !opinion.categories.is_empty() {
                    let categories = opinion.categories.iter().cloned().map(Value::Text).collect();
                    event.set(attr::GEN_AI_GUARDRAIL_SECURITY_RISK_CATEGORY, Value::List(categories));
                }
            }
            Err(failure) => {
                event.status = Status::Error;
                event.set(attr::GEN_AI_GUARDRAIL_VERDICT_TYPE, "audit");
                event.set(attr::ERROR_TYPE, failure.to_string().as_str());
            }
        }
        event
    }
}

/// The model that is asked.
struct Model {
    outbound: Outbound,
    url: Uri,
    key: Option<HeaderValue>,
    settings: SecondOpinionConfig,
}

impl Model {
    async fn judge(&self, text: &str, channel: Channel) -> Result<Opinion, Failure> {
        let body = self.question(&cut(text).0, channel);
        let mut request = Request::builder().method(Method::POST).uri(&self.url).header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, key);
        }
        let request = request.body(Bytes::from(body)).map_err(|error| Failure::Connection(error.to_string()))?;
        let exchange = tokio::time::timeout(self.settings.timeout(), self.outbound.send(request)).await;
        let (status, answer) = exchange.map_err(|_| Failure::Timeout)?.map_err(Failure::Connection)?;
        // Redirects are not followed: texts go where the configuration says.
        if status != 200 {
            return Err(Failure::Status(status));
        }
        read_answer(self.settings.kind, &answer).ok_or(Failure::Unreadable)
    }

    fn question(&self, text: &str, channel: Channel) -> String {
        let model = &self.settings.model;
        match self.settings.kind {
            OpinionKind::OpenaiModeration => json!({ "model": model, "input": text }),
            OpinionKind::LlamaGuard => {
                // It judges the last message, of either side; what tools and documents bring is put before the model as the user's.
                let role = if channel == Channel::Assistant { "assistant" } else { "user" };
                let messages = [json!({ "role": role, "content": text })];
                json!({ "model": model, "messages": messages, "temperature": 0, "max_tokens": ANSWER_TOKENS_MAX })
            }
        }
        .to_string()
    }
}

/// The text as it is sent, and the bytes that are left out in its middle.
fn cut(text: &str) -> (std::borrow::Cow<'_, str>, usize) {
    if text.len() <= TEXT_BYTES_MAX {
        return (text.into(), 0);
    }
    let head = text.floor_char_boundary(TEXT_BYTES_MAX / 2);
    let tail = text.ceil_char_boundary(text.len() - TEXT_BYTES_MAX / 2);
    (format!("{}\n…\n{}", &text[..head], &text[tail..]).into(), tail - head)
}

#[derive(Deserialize)]
struct Moderation {
    results: Vec<ModerationResult>,
}

#[derive(Deserialize)]
struct ModerationResult {
    flagged: bool,
    #[serde(default)]
    categories: std::collections::BTreeMap<String, Option<bool>>,
    #[serde(default)]
    category_scores: std::collections::BTreeMap<String, Option<f32>>,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

/// What an answer says; `None` if it is no answer of that kind.
fn read_answer(kind: OpinionKind, answer: &[u8]) -> Option<Opinion> {
    match kind {
        OpinionKind::OpenaiModeration => {
            let result = serde_json::from_slice::<Moderation>(answer).ok()?.results.into_iter().next()?;
            let highest =
                result.category_scores.values().flatten().copied().filter(|score| score.is_finite()).fold(0.0, f32::max);
            let categories = result.categories.into_iter().filter(|(_, is_meant)| *is_meant == Some(true)).map(|(name, _)| name);
            let score = if result.flagged && result.category_scores.is_empty() { 1.0 } else { highest.clamp(0.0, 1.0) };
            Some(Opinion { is_flagged: result.flagged, score, categories: bounded(categories) })
        }
        OpinionKind::LlamaGuard => {
            let choice = serde_json::from_slice::<Completion>(answer).ok()?.choices.into_iter().next()?;
            let mut lines = choice.message.content.trim().lines().map(str::trim);
            let is_flagged = match lines.next()?.to_ascii_lowercase().as_str() {
                "safe" => false,
                "unsafe" => true,
                _ => return None,
            };
            let categories = lines.next().unwrap_or_default().split(',').map(|name| name.trim().to_owned());
            let score = if is_flagged { 1.0 } else { 0.0 };
            Some(Opinion { is_flagged, score, categories: bounded(categories.filter(|name| !name.is_empty())) })
        }
    }
}

/// What categories are evidence of. Those of OpenAI and of Llama Guard are of a content policy; other models that answer as these do know attacks,
/// too.
fn risk(categories: &[String]) -> Risk {
    let is_any = |word: &str| categories.iter().any(|category| category.to_ascii_lowercase().contains(word));
    if is_any("injection") {
        Risk::PromptInjection
    } else if is_any("jailbreak") {
        Risk::Jailbreak
    } else {
        Risk::ContentPolicy
    }
}

fn bounded(categories: impl Iterator<Item = String>) -> Vec<String> {
    let cut = |mut name: String| {
        name.truncate(name.floor_char_boundary(CATEGORY_BYTES_MAX));
        name
    };
    categories.take(CATEGORIES_MAX).map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_their_makers_write_them() {
        let moderation = |json: &str| read_answer(OpinionKind::OpenaiModeration, json.as_bytes());
        let answer = r#"{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":true,"categories":{"violence":true,"hate":false,
            "illicit":null},"category_scores":{"violence":0.93,"hate":0.1}}]}"#;
        assert_eq!(moderation(answer), Some(Opinion { is_flagged: true, score: 0.93, categories: vec!["violence".to_owned()] }));
        let guard = |content: &str| {
            read_answer(
                OpinionKind::LlamaGuard,
                json!({ "choices": [{ "message": { "content": content } }] }).to_string().as_bytes(),
            )
        };
        assert_eq!(guard("\n\nsafe"), Some(Opinion { is_flagged: false, score: 0.0, categories: Vec::new() }));
        let unsafe_answer = Opinion { is_flagged: true, score: 1.0, categories: vec!["S1".to_owned(), "S9".to_owned()] };
        assert_eq!(guard("unsafe\nS1, S9"), Some(unsafe_answer));
        assert_eq!((guard("I think it is safe."), guard("")), (None, None));
        for wrong in ["", "{}", "[]", r#"{"results":[]}"#, r#"{"error":{"message":"no"}}"#, "<html>"] {
            assert_eq!((moderation(wrong), read_answer(OpinionKind::LlamaGuard, wrong.as_bytes())), (None, None), "{wrong}");
        }
    }

    #[test]
    fn what_a_content_policy_forbids_is_no_jailbreak() {
        let of = |categories: &[&str]| risk(&categories.iter().map(|&category| category.to_owned()).collect::<Vec<_>>());
        for policy in [&["violence", "hate/threatening"][..], &["S1", "S9"], &[]] {
            assert_eq!(of(policy), Risk::ContentPolicy, "{policy:?}");
        }
        assert_eq!(of(&["Jailbreak"]), Risk::Jailbreak);
        assert_eq!(of(&["jailbreak", "prompt_injection"]), Risk::PromptInjection);
    }

    #[test]
    fn long_texts_are_cut_in_the_middle_and_it_is_said() {
        assert_eq!(cut("short"), ("short".into(), 0));
        let long = format!("start{}end", "é".repeat(TEXT_BYTES_MAX));
        let (sent, bytes_cut) = cut(&long);
        assert!(sent.starts_with("start") && sent.ends_with("end") && sent.len() <= TEXT_BYTES_MAX + 8);
        assert_eq!(sent.len() - "\n…\n".len() + bytes_cut, long.len());
    }
}
