//! Who is signed in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use event::Timestamp;

use super::types::{Permission, PersonInfo, SessionInfo};
use crate::access::Access;
use crate::asker::{Person, Who};
use crate::http_api::openapi::Refused;
use crate::http_api::sign_in::{Counts, IDLE_TIMEOUT};
use crate::http_api::{Api, ApiError, Caller};

/// Who is signed in, and what they may do.
#[utoipa::path(
    get,
    path = "/api/session",
    operation_id = "session",
    tag = "session",
    responses((status = 200, body = SessionInfo), Refused),
    description = "Role: any.",
)]
pub(super) async fn session(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed_in = caller.asker.session.is_some().then(|| api.sessions.of(request.headers(), Counts::Not)).flatten();
    let left = signed_in.map(|signed_in| (signed_in.left, signed_in.idle_left));
    Ok(Json(SessionInfo::of(&api, &caller, left)).into_response())
}

impl SessionInfo {
    /// Who somebody is; `left` is how long the sign-in lasts yet, at the most and if nothing is asked.
    pub(in crate::http_api) fn of(api: &Api, caller: &Caller, left: Option<(Duration, Duration)>) -> Self {
        let permissions = [
            (Access::Send, Permission::Send),
            (Access::ReadRecord, Permission::ReadRecord),
            (Access::ReadContent, Permission::ReadContent),
            (Access::Triage, Permission::Triage),
            (Access::Administer, Permission::Administer),
        ];
        let allowed = permissions.into_iter().filter(|(access, _)| caller.role.allows(*access));
        Self {
            key_id: caller.asker.id(),
            key_name: caller.asker.name().map(str::to_owned),
            person: match &caller.asker.who {
                Who::Person(Person { subject, issuer, name, email }) => Some(PersonInfo {
                    subject: subject.clone(),
                    name: name.clone(),
                    email: email.clone(),
                    provider: issuer.clone(),
                }),
                _ => None,
            },
            role: caller.role,
            permissions: allowed.map(|(_, permission)| permission).collect(),
            session: caller.asker.session.clone(),
            expires: left.map(|(left, _)| from_now(left)),
            idle_timeout_s: left.map(|_| IDLE_TIMEOUT.as_secs()),
            idle_expires: left.map(|(_, idle)| from_now(idle)),
            key_expires: api.key_by_id(&caller.asker.id()).and_then(|key| key.expires()),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

fn from_now(left: Duration) -> String {
    let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
    store::iso_time(Timestamp::from_unix_ns(Timestamp::now().unix_ns().saturating_add(left)))
}
