//! Which events, sessions and texts are asked for.

use serde::Deserialize;
use utoipa::IntoParams;

/// Which events.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// From this time on, by the source's clock (RFC 3339).
    pub(crate) since: Option<String>,
    /// Before this time.
    pub(crate) until: Option<String>,
    /// Of this kind.
    pub(crate) kind: Option<String>,
    /// Of this user.
    pub(crate) user: Option<String>,
    /// Of this agent.
    pub(crate) agent: Option<String>,
    /// Of this application.
    pub(crate) application: Option<String>,
    /// Of this model.
    pub(crate) model: Option<String>,
    /// Of this tool.
    pub(crate) tool: Option<String>,
    /// Of this session.
    pub(crate) session: Option<String>,
    /// Of this trace.
    pub(crate) trace: Option<String>,
    /// With this status: `unset`, `ok` or `error`.
    pub(crate) status: Option<String>,
    /// With this category among its risks.
    pub(crate) risk: Option<String>,
    /// With a score of inspection of at least that, 0 to 1.
    pub(crate) score: Option<f64>,
    /// `false`: without what Watchkeeper records of its own administration.
    pub(crate) own: Option<bool>,
    /// Most rows; default 100, at most 500.
    pub(crate) limit: Option<usize>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Which sessions.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionsQuery {
    /// With an event from this time on (RFC 3339).
    pub(crate) since: Option<String>,
    /// Begun before this time.
    pub(crate) until: Option<String>,
    /// Of this user.
    pub(crate) user: Option<String>,
    /// Of this application.
    pub(crate) application: Option<String>,
    /// In which this agent took part.
    pub(crate) agent: Option<String>,
    /// With a detection at least so bad.
    pub(crate) severity: Option<String>,
    /// Whose id has this in its first 256 characters.
    pub(crate) q: Option<String>,
    /// `false`: without those in which nothing but the server's own administration happened.
    pub(crate) own: Option<bool>,
    /// Most rows; default 100, at most 500.
    pub(crate) limit: Option<usize>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

/// How a detection or a trace is read.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadQuery {
    /// Whether contents are wanted. Reading them needs the permission, and is recorded. Default for a trace: where the caller may; for a
    /// detection: no.
    pub(crate) texts: Option<bool>,
    /// Why they are read; it is recorded.
    pub(crate) reason: Option<String>,
}
