//! Policies: what becomes of a call by what is in it. The first that fits a call decides; without one a call is only recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::{Attributes, Event, EventId, Finding, Kind, Phase, Piece, Status, Value, attr};

use super::OnRecordFailure;
use super::decode::list;
use super::guard::{Guard, Judgement};
use super::judging::{Bench, Judged, Subject, Wanted};
pub use crate::pattern::fits;
use crate::{Raw, RawEvent};

/// The name of the guardrail in records.
const COMPONENT: &str = "watchkeeper.gateway";

/// Findings that a record of a decision names. The event of the call has them all.
const REASONS_MAX: usize = 4;

/// What is done about something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Action {
    /// Nothing: it is recorded with what inspection says of it, and costs the call no time.
    #[default]
    Observe,
    /// It is judged before it goes on, and the decision is recorded.
    Flag,
    /// Sensitive values are replaced before it goes on.
    Redact,
    /// It does not go on.
    Block,
}

/// What becomes of a call that cannot be judged in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGuardFailure {
    /// It is refused.
    #[default]
    Closed,
    /// It goes on, and the record says so.
    Open,
}

/// A policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// `gen_ai.guardrail.security.policy.id`
    pub id: String,
    /// The APIs that it is for (`openai.chat`, `anthropic.*`); all of them when empty. Calls that are passed on unread are `http`.
    pub routes: Vec<String>,
    /// The models that it is for (`gpt-4o*`); all of them when empty.
    pub models: Vec<String>,
    /// The principals of virtual keys that it is for; everybody when empty. What a caller only says of itself does not count.
    pub principals: Vec<String>,
    /// What is done about an attack in a request.
    pub attacks: Action,
    /// What is done about sensitive values in a request.
    pub sensitive: Action,
    /// What is done about sensitive values, and attacks, in an answer.
    pub answers: Action,
    /// The least score that counts as an attack.
    pub score_min: f32,
    /// How long judging may take.
    pub budget: Duration,
    /// What becomes of a call that cannot be judged.
    pub on_guard_failure: OnGuardFailure,
    /// What becomes of a call that cannot be recorded, where it is not as for all.
    pub on_record_failure: Option<OnRecordFailure>,
}

/// A decision, and what it rests on.
pub(super) struct Decision {
    pub(super) ruling: Ruling,
    /// Texts that no piece has and that are evidence of something.
    pub(super) beside: Vec<Piece<Raw>>,
    /// The body without what is sensitive in it, and how much that was; `None` when it cannot be rewritten.
    pub(super) rewritten: Option<(Bytes, usize)>,
}

/// A decision on a request or an answer.
#[derive(Debug, Clone)]
pub(super) struct Ruling {
    policy: Arc<Policy>,
    pub(super) action: Action,
    judgement: Judgement,
    /// Why nothing could be judged.
    failure: Option<&'static str>,
    latency: Duration,
    redactions: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            id: String::new(),
            routes: Vec::new(),
            models: Vec::new(),
            principals: Vec::new(),
            attacks: Action::Observe,
            sensitive: Action::Observe,
            answers: Action::Observe,
            score_min: event::Verdict::DENY_SCORE_MIN,
            budget: Duration::from_millis(250),
            on_guard_failure: OnGuardFailure::Closed,
            on_record_failure: None,
        }
    }
}

impl Policy {
    /// Whether it is for such a call.
    pub(super) fn is_for(&self, route: &str, models: &[&str], principal: Option<&str>) -> bool {
        let any = |patterns: &[String], name: &str| patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, name));
        let is_named = |name: &str| self.principals.iter().any(|pattern| fits(pattern, name));
        // A call that names no model (a stored answer that is fetched) must be no way past the policy of its model.
        let model_fits = models.is_empty() || models.iter().any(|model| any(&self.models, model));
        // What is not read is meant only where it is named.
        let route_fits =
            if route == "http" { self.routes.iter().any(|pattern| pattern == "http") } else { any(&self.routes, route) };
        route_fits && model_fits && (self.principals.is_empty() || principal.is_some_and(is_named))
    }

    /// Whether a request has to be judged before it goes on.
    pub(super) fn judges_requests(&self) -> bool {
        self.attacks > Action::Observe || self.sensitive > Action::Observe
    }

    /// Decides on a request or an answer.
    async fn judge(
        self: &Arc<Self>,
        bench: &Bench,
        guard: &Arc<dyn Guard>,
        subject: Subject,
        attacks: Action,
        sensitive: Action,
    ) -> Decision {
        let started = Instant::now();
        let wanted = Wanted { sensitive: sensitive > Action::Observe, score_min: self.score_min };
        let judging = bench.judge(Arc::clone(guard), subject, wanted);
        let (judged, failure) = match tokio::time::timeout(self.budget, judging).await {
            Ok(Some(judged)) if judged.judgement.unscanned_bytes > 0 => (judged, Some("guardrail_incomplete")),
            Ok(Some(judged)) => (judged, None),
            Ok(None) => (Judged::default(), Some("guardrail_failed")),
            Err(_) => (Judged::default(), Some("guardrail_timeout")),
        };
        let Judged { judgement, beside, rewritten } = judged;
        let mut decided = Action::Observe;
        if judgement.score >= self.score_min {
            decided = decided.max(attacks);
        }
        if judgement.sensitive_values > 0 {
            decided = decided.max(sensitive);
        }
        let is_closed = failure.is_some() && self.on_guard_failure == OnGuardFailure::Closed;
        let action = if is_closed { Action::Block } else { decided };
        // What is found suffices for a refusal, whatever else could not be judged.
        let failure = failure.filter(|_| decided < Action::Block);
        let ruling = Ruling { policy: Arc::clone(self), action, judgement, failure, latency: started.elapsed(), redactions: 0 };
        Decision { ruling, beside, rewritten }
    }

    /// Decides on a request.
    pub(super) async fn judge_request(self: &Arc<Self>, bench: &Bench, guard: &Arc<dyn Guard>, subject: Subject) -> Decision {
        self.judge(bench, guard, subject, self.attacks, self.sensitive).await
    }

    /// Decides on an answer in one piece.
    pub(super) async fn judge_answer(self: &Arc<Self>, bench: &Bench, guard: &Arc<dyn Guard>, subject: Subject) -> Decision {
        // An attack in an answer cannot be redacted away: it is flagged.
        let attacks = if self.answers == Action::Redact { Action::Flag } else { self.answers };
        self.judge(bench, guard, subject, attacks, self.answers).await
    }

    /// A decision that was made on a stream as it passed.
    pub(super) fn ruled(
        self: &Arc<Self>,
        action: Action,
        judgement: Judgement,
        failure: Option<&'static str>,
        latency: Duration,
        redactions: usize,
    ) -> Ruling {
        Ruling { policy: Arc::clone(self), action, judgement, failure, latency, redactions }
    }

    /// A call that cannot be judged at all. `None`: it goes on.
    pub(super) fn unjudged(self: &Arc<Self>, failure: &'static str) -> Ruling {
        let action = match self.on_guard_failure {
            OnGuardFailure::Closed => Action::Block,
            OnGuardFailure::Open => Action::Observe,
        };
        Ruling {
            policy: Arc::clone(self),
            action,
            judgement: Judgement::default(),
            failure: Some(failure),
            latency: Duration::ZERO,
            redactions: 0,
        }
    }
}

impl Ruling {
    /// Whether there is anything to record beside the call itself.
    pub(super) fn is_notable(&self) -> bool {
        self.action > Action::Observe || self.failure.is_some()
    }

    /// Why it was decided so, in words.
    pub(super) fn reason(&self) -> String {
        if let Some(failure) = self.failure {
            return format!("{failure}: {}", self.explained(failure));
        }
        let mut reasons: Vec<String> = Vec::new();
        if self.judgement.score >= self.policy.score_min {
            let of = |finding: &Finding| format!("{} ({}, {:.2})", finding.risk.as_str(), finding.rule.as_str(), finding.score);
            reasons.extend(self.judgement.findings.iter().take(REASONS_MAX).map(of));
        }
        if self.judgement.sensitive_values > 0 {
            let kinds: Vec<_> = self.judgement.sensitive.iter().map(String::as_str).collect();
            reasons.push(format!("{} sensitive values: {}", self.judgement.sensitive_values, kinds.join(", ")));
        }
        reasons.join("; ")
    }

    fn explained(&self, failure: &str) -> String {
        match failure {
            "guardrail_timeout" => format!("judging took longer than {} ms (budget_ms)", self.policy.budget.as_millis()),
            "guardrail_incomplete" => "some of what it says is beyond a limit, and was not judged".to_owned(),
            "guardrail_unsupported" => {
                "it cannot be judged or rewritten: it is signed, encoded, a form, too large, or written in a way that is not read"
                    .to_owned()
            }
            "guardrail_missing" => "this gateway has nobody who judges".to_owned(),
            _ => "judging failed; the log of the server says why".to_owned(),
        }
    }

    /// The kind of error that a caller is told.
    pub(super) fn refusal(&self) -> &'static str {
        self.failure.unwrap_or("guardrail_blocked")
    }

    /// Whether the refusal is the guardrail's own failure.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// So many values were replaced.
    pub(super) fn note_redactions(&mut self, count: usize) {
        self.redactions += count;
        if count > 0 {
            self.action = self.action.max(Action::Redact);
        }
    }

    /// Bytes of text that were scanned, and that were not.
    pub(super) fn coverage(&self) -> (u64, u64) {
        (self.judgement.scanned_bytes, self.judgement.unscanned_bytes)
    }

    /// As a decision on what has gone already: nothing can be kept back any more.
    pub(super) fn afterwards(self) -> Self {
        Self { action: self.action.min(Action::Flag), ..self }
    }

    /// Adds what was found in the whole of an answer whose sensitive values were masked as it passed.
    pub(super) fn add(&mut self, whole: Self) {
        if self.action == Action::Block {
            return;
        }
        if whole.judgement.score >= self.policy.score_min {
            self.action = self.action.max(Action::Flag);
        }
        self.judgement.score = whole.judgement.score;
        self.judgement.findings = whole.judgement.findings;
        self.failure = whole.failure;
    }

    /// Adds a decision on what was said later.
    pub(super) fn merge(&mut self, later: Self) {
        self.action = self.action.max(later.action);
        self.judgement.add(later.judgement);
        self.failure = self.failure.or(later.failure);
        self.latency += later.latency;
        self.redactions += later.redactions;
    }

    /// The decision could not be carried out.
    pub(super) fn fail(&mut self, failure: &'static str) {
        *self = Self { latency: self.latency, ..self.policy.unjudged(failure) };
    }

    /// What the event of the call says of the decision.
    pub(super) fn describe(&self, attributes: &mut Attributes<Raw>) {
        let mut set = |key, value: Value<Raw>| {
            attributes.insert(key, value);
        };
        let verdict = match (self.failure, self.action) {
            (Some(_), _) => "audit",
            (None, Action::Block) => "deny",
            (None, Action::Redact) => "modify",
            (None, Action::Flag) => "warn",
            (None, Action::Observe) => "allow",
        };
        let action = match self.action {
            Action::Block => "block",
            Action::Redact => "modify",
            Action::Flag | Action::Observe => "allow",
        };
        set(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME, COMPONENT.into());
        set(attr::GEN_AI_GUARDRAIL_SECURITY_POLICY_ID, self.policy.id.as_str().into());
        set(attr::GEN_AI_GUARDRAIL_VERDICT_TYPE, verdict.into());
        set(attr::GEN_AI_GUARDRAIL_ACTION_TYPE, action.into());
        set(attr::GEN_AI_GUARDRAIL_SECURITY_RISK_SCORE, Value::double(f64::from(self.judgement.score)));
        let mut risks: Vec<String> = self.judgement.findings.iter().map(|finding| finding.risk.as_str().to_owned()).collect();
        if self.judgement.sensitive_values > 0 {
            risks.push(event::Risk::SensitiveInfoDisclosure.as_str().to_owned());
        }
        risks.sort_unstable();
        risks.dedup();
        if !risks.is_empty() {
            set(attr::GEN_AI_GUARDRAIL_SECURITY_RISK_CATEGORY, list(risks));
        }
        let reason = self.reason();
        if !reason.is_empty() {
            set(attr::GUARD_REASON, reason.as_str().into());
        }
        let on_failure = match self.policy.on_guard_failure {
            OnGuardFailure::Closed => "closed",
            OnGuardFailure::Open => "open",
        };
        set(attr::GUARD_ON_FAILURE, on_failure.into());
        set(attr::GUARD_LATENCY_US, Value::Int(i64::try_from(self.latency.as_micros()).unwrap_or(i64::MAX)));
        if self.redactions > 0 {
            set(attr::GUARD_REDACTIONS, Value::Int(i64::try_from(self.redactions).unwrap_or(i64::MAX)));
        }
    }

    /// The event of the decision, with the newest of the texts that it is about: also of what never reached the model.
    pub(super) fn event(&self, call: &RawEvent, pieces: &[Piece<Raw>]) -> RawEvent {
        let mut event: RawEvent = Event::new(Kind::Guardrail, "guardrail", call.source.clone());
        event.id = EventId::random();
        event.phase = Phase::Complete;
        event.identity = call.identity.clone();
        event.session = call.session.clone();
        event.trace = call.trace;
        event.status = if self.action == Action::Block { Status::Error } else { Status::Ok };
        for key in [attr::CALL_ID, attr::GEN_AI_REQUEST_MODEL, attr::GEN_AI_PROVIDER_NAME] {
            if let Some(value) = call.attributes.get(&key) {
                event.attributes.insert(key, value.clone());
            }
        }
        self.describe(&mut event.attributes);
        event.pieces = pieces
            .iter()
            .filter(|piece| !piece.meta.history && piece.meta.part != event::Part::ToolDefinition)
            .cloned()
            .collect();
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_fits_by_route_model_and_proven_principal() {
        let policy = Policy {
            routes: vec!["openai.*".to_owned()],
            models: vec!["gpt-4o*".to_owned()],
            principals: vec!["support".to_owned()],
            ..Policy::default()
        };
        assert!(policy.is_for("openai.chat", &["GPT-4o-mini"], Some("support")));
        assert!(!policy.is_for("anthropic.messages", &["gpt-4o"], Some("support")));
        assert!(!policy.is_for("openai.chat", &["gpt-3"], Some("support")));
        assert!(policy.is_for("openai.chat", &["gpt-3", "gpt-4o"], Some("support")), "one request of a batch suffices");
        assert!(policy.is_for("openai.responses", &[], Some("support")), "without a model");
        assert!(!policy.is_for("openai.chat", &["gpt-4o"], None));
        assert!(Policy::default().is_for("gemini.generate", &[], None));
        assert!(!Policy::default().is_for("http", &[], None));
    }
}
