//! The contract of the API as OpenAPI 3.1, made from the handlers. `docs/reference/openapi.json` is this; clients are generated from it.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::console::types::{ErrorBody, ErrorMessage};
use super::console::{
    detections, entities, events, integrity, live, overview, rules as in_force, searches, session, suppressions, usage,
};
use super::{administration, lifecycle, oidc, people, read, rules, sign_in};

/// How a request is refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it is read by the macro alone")]
pub(crate) enum Refused {
    /// It is not done, and the message says why: 400 (the message names the field), 401 (no key, none that is valid, or the sign-in is over),
    /// 403 (the role does not allow it, or the request comes from another site), 404 (there is nothing of that id), 409 (it does not fit what
    /// is there), 429 (too many at once), 503 (something does not work now). `Retry-After` says when to ask again, where that is known.
    #[response(status = "default")]
    Refused(ErrorBody),
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Watchkeeper", description = "The HTTP API of the console and for programs. `docs/reference/api.md` says more.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        sign_in::sign_in, sign_in::sign_out, oidc::providers, oidc::start, oidc::callback, session::session, overview::overview, overview::pulse, live::live, events::events, events::event, events::sessions,
        read::trace, read::search, read::query, searches::schema, searches::list, searches::create, searches::remove,
        detections::detections, detections::groups, detections::detection, detections::similar, detections::triage, detections::triage_one,
        suppressions::list, suppressions::create, suppressions::end, entities::entities, entities::entity, usage::models, usage::tokens,
        rules::coverage, rules::explain, in_force::rules, in_force::rule, integrity::integrity, integrity::log_file, read::status,
        administration::list_keys, administration::create_key, administration::revoke_key, people::list, people::end_sessions, lifecycle::list_holds, lifecycle::place_hold,
        lifecycle::release_hold, lifecycle::retention, lifecycle::evidence,
    ),
    components(schemas(ErrorBody, ErrorMessage)),
    modifiers(&Keys),
    security(("key" = []), ("bearer" = []), ("session" = [])),
)]
struct Document;

/// How callers show who they are.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-watchkeeper-key")));
        components.add_security_scheme("key", key);
        components.add_security_scheme("bearer", SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("wk_session"))));
    }
}

/// The document, as JSON.
pub(crate) fn document() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_contract_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap();
        assert!(published == document(), "docs/reference/openapi.json is stale; run `cargo xtask docs`");
    }
}
