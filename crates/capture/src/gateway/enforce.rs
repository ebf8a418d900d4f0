//! What a policy says is done: requests and answers in one piece are judged, redacted or withheld here; streams in [`super::mask`].

use std::sync::Arc;

use bytes::Bytes;
use event::{Attributes, Direction, Kind, Piece, attr, limits};
use http::StatusCode;
use http::request::Parts;

use super::answer::Failure;
use super::call::Call;
use super::decode::{ModelRequest, ModelResponse, add};
use super::judging::{Form, Subject, left_out};
use super::keys::Grant;
use super::policy::{Action, Decision, Ruling};
use super::target::{Provider, Target};
use super::upstream::Signature;
use crate::Raw;
use crate::budget::Share;

/// What a caller is told of a call that does not go on.
pub(super) fn refusal(ruling: &Ruling) -> Failure {
    let message = format!("the policy does not let this pass: {}", ruling.reason());
    let status = if ruling.has_failed() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
    Failure::new(status, ruling.refusal(), message)
}

/// Judges a request before it goes on, and gives the body that may: as it came, or redacted. `Err`: it does not go on.
pub(super) async fn request(
    call: &mut Call,
    request: &mut ModelRequest,
    target: &Target,
    parts: &Parts,
    body: Bytes,
    held: &Arc<Share>,
) -> Result<Bytes, Failure> {
    if let Some(grant) = &call.grant {
        allowed(grant, call.api.is_some_and(|api| api.kind == Kind::ModelCall), target, request)?;
    }
    call.choose_policy(&request.models());
    call.note_instructions(&request.pieces);
    let Some(policy) = call.policy.clone().filter(|policy| policy.judges_requests()) else { return Ok(body) };
    let Some(guard) = call.shared.guard.clone() else { return carried_out(call, policy.unjudged("guardrail_missing"), body) };
    let form = target.asked.boundary.clone().map_or(Form::Json, Form::Multipart);
    // What is signed cannot be changed, and a form is not rewritten.
    let is_signed = target.provider == Provider::Bedrock && Signature::of(&parts.headers).is_some();
    let is_fixed = is_signed || form != Form::Json;
    let subject = Subject {
        direction: Direction::Input,
        pieces: request.pieces.clone(),
        body: body.clone(),
        form,
        left_out: left_out(&request.attributes),
        held: Some(Arc::clone(held)),
    };
    let Decision { mut ruling, beside, rewritten } = policy.judge_request(&call.shared.bench, &guard, subject).await;
    add_evidence(&mut request.pieces, &mut request.attributes, beside);
    let mut kept = body;
    if ruling.action == Action::Redact {
        match rewritten.filter(|(_, count)| *count > 0 && !is_fixed) {
            Some((redacted, count)) => {
                ruling.note_redactions(count);
                kept = redacted;
            }
            None => ruling.fail("guardrail_unsupported"),
        }
    }
    carried_out(call, ruling, kept)
}

/// Records what was found beside the pieces. Where there are too many, the oldest give way, as they do when a body is read.
fn add_evidence(pieces: &mut Vec<Piece<Raw>>, attributes: &mut Attributes<Raw>, beside: Vec<Piece<Raw>>) {
    let over = (pieces.len() + beside.len()).saturating_sub(limits::PIECES_MAX).min(pieces.len());
    pieces.drain(..over);
    pieces.extend(beside);
    add(attributes, attr::ITEMS_DROPPED, over);
}

/// Whether a key may ask for the models of a request.
fn allowed(grant: &Grant, is_model_call: bool, target: &Target, request: &ModelRequest) -> Result<(), Failure> {
    let models = request.models();
    for model in &models {
        grant.allows(model)?;
    }
    if models.is_empty() && is_model_call && !target.asked.is_of_object {
        grant.allows("")?;
    }
    match &request.other_model {
        Some(other) if grant.names_models() => {
            let message = format!(
                "the path names the model {:?} and the body {other:?}; name one, so that it is known what this key asks for",
                request.model.as_deref().unwrap_or_default()
            );
            Err(Failure::new(StatusCode::BAD_REQUEST, "model_ambiguous", message))
        }
        _ => Ok(()),
    }
}

/// Keeps the decision for the record, and gives the body where it may go.
fn carried_out(call: &mut Call, ruling: Ruling, body: Bytes) -> Result<Bytes, Failure> {
    let failure = (ruling.action == Action::Block).then(|| refusal(&ruling));
    call.ruling = Some(ruling);
    failure.map_or(Ok(body), Err)
}

/// An answer that cannot be masked though its policy asks for it. `Some`: it must not go on.
pub(super) fn unmaskable(call: &mut Call) -> Option<Failure> {
    let policy = call.policy.clone().filter(|policy| policy.answers > Action::Flag)?;
    carried_out(call, policy.unjudged("guardrail_unsupported"), Bytes::new()).err()
}

/// Whether the policy asks for answers that it can change or withhold.
pub(super) fn changes_answers(call: &Call) -> bool {
    call.policy.as_ref().is_some_and(|policy| policy.answers > Action::Flag)
}

/// Judges an answer before it goes to the client, and gives what may. `Err`: it does not go.
pub(super) async fn answer(
    call: &mut Call,
    answer: &mut ModelResponse,
    body: Bytes,
    form: Form,
    held: &Arc<Share>,
) -> Result<Bytes, Failure> {
    let policy = call.policy.clone().filter(|policy| policy.answers > Action::Observe && !body.is_empty());
    let Some(policy) = policy else { return Ok(body) };
    let Some(guard) = call.answer_guard() else { return carried_out(call, policy.unjudged("guardrail_missing"), body) };
    let subject = Subject {
        direction: Direction::Output,
        pieces: answer.pieces.clone(),
        body: body.clone(),
        form,
        left_out: left_out(&answer.attributes),
        held: Some(Arc::clone(held)),
    };
    let Decision { mut ruling, beside, rewritten } = policy.judge_answer(&call.shared.bench, &guard, subject).await;
    add_evidence(&mut answer.pieces, &mut answer.attributes, beside);
    call.outcome.coverage = Some(ruling.coverage());
    let mut kept = body;
    if policy.answers > Action::Flag && ruling.action != Action::Block {
        match rewritten {
            Some((redacted, count)) => {
                ruling.note_redactions(count);
                kept = redacted;
            }
            // What cannot be read cannot be known to be clean.
            None => ruling.fail("guardrail_unsupported"),
        }
    }
    carried_out(call, ruling, kept)
}
