//! Detections, and what people make of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{DetectionEvidence, DetectionFilter, DetectionRow, Grade, Severities, Severity, State};
use utoipa::{IntoParams, ToSchema};

use super::{Frameworks, RuleRow};
use crate::http_api::ApiError;
use crate::http_api::console::span::time_ns;
use crate::triage::{Suppression, TriageChange, Verdict};

/// What is asked for of detections, with what one route asks for beside that: a parameter that a route does not know is refused.
macro_rules! query {
    ($(#[$meta:meta])* $name:ident { $($(#[$own:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, Deserialize, IntoParams)]
        #[into_params(parameter_in = Query)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// In these states, with commas between them: `open,acknowledged`; default: all.
            pub(crate) state: Option<String>,
            /// At least so bad.
            #[param(value_type = Option<Severity>, inline)]
            pub(crate) severity: Option<String>,
            /// Of this rule.
            pub(crate) rule: Option<String>,
            /// Of this ATLAS technique, or one below it.
            pub(crate) technique: Option<String>,
            /// Of this user.
            pub(crate) user: Option<String>,
            /// Of this session.
            pub(crate) session: Option<String>,
            /// Of this application.
            pub(crate) application: Option<String>,
            /// Of this agent.
            pub(crate) agent: Option<String>,
            /// Of this tool.
            pub(crate) tool: Option<String>,
            /// Of this model.
            pub(crate) model: Option<String>,
            /// With this grade.
            #[param(value_type = Option<Grade>, inline)]
            pub(crate) grade: Option<String>,
            /// At which this person looks; empty: at which nobody does.
            pub(crate) assignee: Option<String>,
            /// With this `correlation`.
            pub(crate) correlation: Option<String>,
            /// Recorded from this time on, by Watchkeeper's clock (RFC 3339).
            pub(crate) since: Option<String>,
            /// Recorded before this time.
            pub(crate) until: Option<String>,
            /// With this in the title, the rule's id or the names of those involved.
            pub(crate) q: Option<String>,
            /// Whether those that are suppressed are shown, too; default: no.
            pub(crate) suppressed: Option<bool>,
            $($(#[$own])* pub(crate) $field: $type,)*
        }

        impl $name {
            /// As the store filters.
            pub(crate) fn filter(self) -> Result<DetectionFilter, ApiError> {
                let state = |state: &str| match state {
                    "open" => Ok(State::Open),
                    "acknowledged" => Ok(State::Acknowledged),
                    "closed" => Ok(State::Closed),
                    _ => Err(ApiError::bad_request(format!("state: {state:?} is none of open, acknowledged, closed"))),
                };
                let states = self.state.iter().flat_map(|states| states.split(',')).filter(|state| !state.is_empty());
                let grade = self.grade.as_deref();
                if let Some(grade) = grade.filter(|grade| !Grade::known(grade)) {
                    let words = Grade::WORDS.join(", ");
                    return Err(ApiError::bad_request(format!("grade: {grade:.40?} is none of {words}")));
                }
                Ok(DetectionFilter {
                    since_ns: time_ns("since", self.since.as_deref())?,
                    until_ns: time_ns("until", self.until.as_deref())?,
                    states: states.map(state).collect::<Result<_, _>>()?,
                    severity: self.severity,
                    rule: self.rule,
                    technique: self.technique,
                    user: self.user,
                    session: self.session,
                    application: self.application,
                    agent: self.agent,
                    tool: self.tool,
                    model: self.model,
                    grade: self.grade,
                    assignee: self.assignee,
                    correlation: self.correlation,
                    q: self.q,
                    with_suppressed: self.suppressed.unwrap_or(false),
                })
            }
        }
    };
}

query! {
    /// Which detections.
    DetectionsQuery {
        /// Most rows; default 100, at most 500.
        limit: Option<usize>,
        /// `next` of the page before.
        cursor: Option<String>,
    }
}

query! {
    /// Which detections are put together. All groups come in one answer.
    GroupsQuery {
        /// By what they are put together; default: `correlation`.
        #[param(inline)]
        by: Option<GroupBy>,
    }
}

/// By what detections are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    /// What belongs to one incident: of one session, or else of one trace, user, agent or application.
    Correlation,
    /// Of one rule.
    Rule,
}

/// Detections that belong together.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DetectionGroup {
    /// By what they are put together.
    pub(crate) by: GroupBy,
    /// What they have in common: the value of `correlation` or of `rule`.
    pub(crate) key: String,
    /// The newest of the worst of them.
    pub(crate) lead: DetectionRow,
    /// How many there are.
    pub(crate) count: u64,
    /// How many of them are open.
    pub(crate) open: u64,
    /// Of each severity.
    pub(crate) severities: Severities,
    /// The highest severity among them.
    #[schema(value_type = Severity)]
    pub(crate) severity: String,
    /// The highest grade among them: how far an injection got. Not always that of `lead`.
    #[schema(value_type = Option<Grade>)]
    pub(crate) grade: Option<String>,
    /// When the first one was recorded, by Watchkeeper's clock (RFC 3339).
    pub(crate) first: String,
    /// When the last one was.
    pub(crate) last: String,
    /// Rules, at most 16.
    pub(crate) rules: Vec<String>,
    /// Techniques.
    pub(crate) techniques: Vec<String>,
    /// Users, at most 16.
    pub(crate) users: Vec<String>,
}

/// Groups, those with the newest detection first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DetectionGroups {
    /// The groups; at most 500, and about 4 MiB.
    pub(crate) rows: Vec<DetectionGroup>,
    /// How many detections were put together.
    pub(crate) detections: u64,
    /// Whether there are older detections, or more groups, than were looked at.
    pub(crate) truncated: bool,
}

/// A detection with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectionDetail {
    /// The row.
    #[serde(flatten)]
    pub(crate) row: DetectionRow,
    /// What shows it. Values are there only for who may read contents, and asked for them.
    pub(crate) evidence: Vec<DetectionEvidence>,
    /// Whether values of the evidence are left out.
    pub(crate) withheld: bool,
    /// Ids of the events that it rests on.
    pub(crate) events: Vec<String>,
    /// Digest of the rule's text, as it was.
    pub(crate) rule_digest: Option<String>,
    /// The rule as it is now, where it is in force.
    pub(crate) rule_now: Option<RuleRow>,
    /// What to do (Markdown).
    pub(crate) runbook: Option<String>,
    /// What frameworks call it.
    pub(crate) frameworks: Frameworks,
    /// What people did with it, oldest first.
    pub(crate) history: Vec<TriageChange>,
    /// The suppression that covers it.
    #[schema(value_type = Option<Suppression>)]
    pub(crate) suppression: Option<Arc<Suppression>>,
}

/// A detection that is like another.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SimilarDetection {
    /// The row.
    #[serde(flatten)]
    pub(crate) row: DetectionRow,
    /// What both have: `rule`, `technique`, `session`, `user`, `agent`, `application`, `tool`.
    pub(crate) shared: Vec<String>,
}

/// Detections that are like another, those with the most in common first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SimilarDetections {
    /// At most 50.
    pub(crate) rows: Vec<SimilarDetection>,
    /// Whether there are older detections than were compared with it.
    pub(crate) truncated: bool,
}

/// What changes of detections.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriageRequest {
    /// The detections; at most 1,000.
    pub(crate) ids: Vec<String>,
    /// The state.
    #[serde(default)]
    pub(crate) state: Option<State>,
    /// Who looks at them; empty: nobody.
    #[serde(default)]
    pub(crate) assignee: Option<String>,
    /// Why they are closed; needed for that.
    #[serde(default)]
    pub(crate) reason: Option<Verdict>,
    /// What is to be said; sanitised as everything is.
    #[serde(default)]
    pub(crate) note: Option<String>,
}

/// What became of a triage.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TriageAnswer {
    /// The detections as they are now.
    pub(crate) rows: Vec<DetectionRow>,
}

/// A suppression, and what became of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SuppressionRow {
    /// The suppression.
    #[serde(flatten)]
    #[schema(value_type = Suppression)]
    pub(crate) suppression: Arc<Suppression>,
    /// Whether it is over.
    pub(crate) is_over: bool,
    /// How many detections it has covered, of those in the hot store.
    pub(crate) detections: u64,
}

/// Suppressions, the newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Suppressions {
    /// The suppressions.
    pub(crate) rows: Vec<SuppressionRow>,
    /// Whether there are older detections than could be looked at in time: then what is said to be covered is too low.
    pub(crate) truncated: bool,
}
