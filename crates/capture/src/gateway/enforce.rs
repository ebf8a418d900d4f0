//! What a policy says is done: requests and answers in one piece are judged, redacted or withheld here; streams in [`super::mask`].

use std::sync::Arc;

use bytes::Bytes;
use event::Kind;
use http::StatusCode;
use http::request::Parts;

use super::answer::Failure;
use super::call::Call;
use super::decode::{ModelRequest, ModelResponse};
use super::guard::{Guard, edited, is_opaque};
use super::policy::{Action, Ruling};
use super::target::{Provider, Target};
use super::upstream::Signature;

/// What a caller is told of a call that does not go on.
pub(super) fn refusal(ruling: &Ruling) -> Failure {
    let message = format!("the policy does not let this pass: {}", ruling.reason());
    let status = if ruling.has_failed() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
    Failure::new(status, ruling.refusal(), message)
}

/// Judges a request before it goes on, and gives the body that may: as it came, or redacted. `Err`: it does not go on.
pub(super) async fn request(
    call: &mut Call,
    request: &ModelRequest,
    target: &Target,
    parts: &Parts,
    body: Bytes,
) -> Result<Bytes, Failure> {
    let model = request.model.as_deref().unwrap_or_default();
    if let Some(grant) = &call.grant
        && call.api.is_some_and(|api| api.kind == Kind::ModelCall)
    {
        grant.allows(model)?;
    }
    call.choose_policy(model);
    let Some(policy) = call.policy.clone().filter(|policy| policy.judges_requests()) else { return Ok(body) };
    let mut ruling = match &call.shared.guard {
        Some(guard) => policy.judge_request(guard, &request.pieces).await,
        None => policy.unjudged("guardrail_missing"),
    };
    let mut kept = body.clone();
    if ruling.action == Action::Redact {
        // What is signed cannot be changed, and a form is not rewritten.
        let is_signed = target.provider == Provider::Bedrock && Signature::of(&parts.headers).is_some();
        let is_fixed = is_signed || target.asked.boundary.is_some();
        match redacted(call.shared.guard.clone().filter(|_| !is_fixed), body).await {
            Some((redacted, count)) => {
                ruling.note_redactions(count);
                kept = redacted;
            }
            None => ruling.fail("guardrail_unsupported"),
        }
    }
    let failure = (ruling.action == Action::Block).then(|| refusal(&ruling));
    call.ruling = Some(ruling);
    failure.map_or(Ok(kept), Err)
}

/// A JSON body without what is sensitive in it, and how much that was; `None` when it cannot be rewritten.
async fn redacted(guard: Option<Arc<dyn Guard>>, body: Bytes) -> Option<(Bytes, usize)> {
    let guard = guard?;
    tokio::task::spawn_blocking(move || {
        let text = std::str::from_utf8(&body).ok()?;
        let edits = guard.json_edits(text, &is_opaque)?;
        Some((Bytes::from(edited(text, &edits)), edits.len()))
    })
    .await
    .ok()?
}

/// An answer that cannot be masked though its policy asks for it. `Some`: it must not go on.
pub(super) fn unmaskable(call: &mut Call) -> Option<Failure> {
    let policy = call.policy.clone().filter(|policy| policy.answers > Action::Flag)?;
    let ruling = policy.unjudged("guardrail_unsupported");
    let failure = (ruling.action == Action::Block).then(|| refusal(&ruling));
    call.ruling = Some(ruling);
    failure
}

/// Judges an answer before it goes to the client, and gives what may. `Err`: it does not go.
pub(super) async fn answer(call: &mut Call, answer: &ModelResponse, body: Bytes) -> Result<Bytes, Failure> {
    let Some(policy) = call.policy.clone().filter(|policy| policy.answers > Action::Observe) else { return Ok(body) };
    let mut ruling = match &call.shared.guard {
        Some(guard) => policy.judge_answer(guard, &answer.pieces).await,
        None => policy.unjudged("guardrail_missing"),
    };
    call.outcome.coverage = Some(ruling.coverage());
    let mut kept = body.clone();
    // What is said beside the texts that are read is redacted, too.
    if policy.answers == Action::Redact && ruling.action != Action::Block {
        match redacted(call.shared.guard.clone(), body).await {
            Some((redacted, count)) => {
                ruling.note_redactions(count);
                kept = redacted;
            }
            None if ruling.action < Action::Redact => {}
            None => ruling.fail("guardrail_unsupported"),
        }
    }
    let failure = (ruling.action == Action::Block).then(|| refusal(&ruling));
    call.ruling = Some(ruling);
    failure.map_or(Ok(kept), Err)
}
