//! What the routes of the console take and give. Field names are part of the contract: `docs/reference/openapi.json`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{
    Bucket, DetectionEvidence, DetectionRow, EntityDetail, EntityKind, EntityRow, EventRow, ModelRow, SessionRow, Severities,
    State, Totals, UsageBy, UsageRow,
};
use utoipa::{IntoParams, ToSchema};

use crate::Progress;
use crate::access::Role;
use crate::standing::{ArchiveStanding, Failure, Reached};
use crate::triage::{SearchView, Suppression, TriageChange, Verdict};

/// An error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong.
    pub(crate) error: ErrorMessage,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorMessage {
    /// In words, with the remedy.
    pub(crate) message: String,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) enum Permission {
    /// Send events, score texts.
    #[serde(rename = "events.send")]
    Send,
    /// Read the record without contents.
    #[serde(rename = "record.read")]
    ReadRecord,
    /// Read contents. Every use is recorded.
    #[serde(rename = "content.read")]
    ReadContent,
    /// Triage detections, suppress, save searches for others.
    #[serde(rename = "triage")]
    Triage,
    /// Administer.
    #[serde(rename = "administer")]
    Administer,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionInfo {
    /// What the record calls whoever asks: the key's id; `oidc:` and the subject of a person; `local` or `uid:` and a number for commands on
    /// the server's own machine.
    pub(crate) key_id: String,
    /// The key's name, or the person's.
    pub(crate) key_name: Option<String>,
    /// The person, where one signed in by OpenID Connect and not with a key.
    pub(crate) person: Option<PersonInfo>,
    /// The role.
    pub(crate) role: Role,
    /// What that may do.
    pub(crate) permissions: Vec<Permission>,
    /// Names the sign-in in the record; none where the request came with a key.
    pub(crate) session: Option<String>,
    /// When the sign-in ends at the latest (RFC 3339).
    pub(crate) expires: Option<String>,
    /// After how many seconds without a request it ends. `GET /api/session` and live updates do not count as requests.
    pub(crate) idle_timeout_s: Option<u64>,
    /// When it ends if nothing is asked until then (RFC 3339).
    pub(crate) idle_expires: Option<String>,
    /// When the key ends (RFC 3339).
    pub(crate) key_expires: Option<String>,
    /// Version of the server.
    pub(crate) version: &'static str,
}

/// A person who signed in by OpenID Connect.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonInfo {
    /// Names them at the provider (`sub`).
    pub(crate) subject: String,
    /// What they are called there.
    pub(crate) name: Option<String>,
    /// Their address there.
    pub(crate) email: Option<String>,
    /// The provider (`iss`).
    pub(crate) provider: String,
}

/// A sign-in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The key: `wk_...`.
    pub(crate) key: String,
}

/// Span of time.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpanQuery {
    /// From this time on (RFC 3339); default: 24 hours before `until`.
    pub(crate) since: Option<String>,
    /// Before this time (RFC 3339); default: now.
    pub(crate) until: Option<String>,
    /// Seconds of a bucket; default: what gives about 60 of them. It is rounded up to whole minutes (models and tokens: 5 minutes).
    pub(crate) bucket: Option<u64>,
}

/// Span of time, and by what.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokensQuery {
    /// By what usage is told apart.
    #[param(inline)]
    pub(crate) by: UsageBy,
    /// From this time on (RFC 3339); default: 24 hours before `until`.
    pub(crate) since: Option<String>,
    /// Before this time (RFC 3339); default: now.
    pub(crate) until: Option<String>,
    /// Seconds of a bucket; default: what gives about 60 of them.
    pub(crate) bucket: Option<u64>,
    /// Most rows, those with the most tokens; default 20, at most 200. What the others used is in `others`.
    pub(crate) limit: Option<usize>,
}

/// What happened, what needs somebody, and whether the record is whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// From this time on (RFC 3339).
    pub(crate) since: String,
    /// Before this time.
    pub(crate) until: String,
    /// Seconds of a bucket.
    pub(crate) bucket_s: u64,
    /// What happened, over time; every bucket is there.
    pub(crate) buckets: Vec<Bucket>,
    /// In all.
    pub(crate) totals: Totals,
    /// Detections that are open and not suppressed, whenever they were.
    pub(crate) open: Severities,
    /// Those that somebody looks at.
    pub(crate) acknowledged: Severities,
    /// The newest open ones that are high or critical; at most 10.
    pub(crate) grave: Vec<DetectionRow>,
    /// Entities with the highest risk, as they were some seconds ago at the most; at most 10.
    pub(crate) entities: Vec<EntityRow>,
    /// Whether there are older detections, or more entities, than could be looked at in time: then `open`, `acknowledged` and what counts
    /// entities are too low.
    pub(crate) truncated: bool,
    /// The record.
    pub(crate) record: RecordState,
}

/// What needs somebody, and whether the record is whole: for whoever asks again and again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pulse {
    /// Detections that are open and not suppressed, whenever they were.
    pub(crate) open: Severities,
    /// Whether there are older detections than could be looked at in time: then `open` is too low.
    pub(crate) truncated: bool,
    /// The record.
    pub(crate) record: RecordState,
}

/// Whether the record is whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordState {
    /// How far recording, sealing, indexing and detection are.
    pub(crate) progress: Progress,
    /// Why nothing is recorded any more, if that is so.
    pub(crate) stopped: Option<String>,
    /// The newest checkpoint.
    pub(crate) checkpoint: Option<Reached>,
    /// The newest checkpoint that witnesses countersigned.
    pub(crate) witnessed: Option<Reached>,
    /// How many cosignatures that one has.
    pub(crate) cosignatures: usize,
    /// The newest checkpoint that a time-stamping authority stamped.
    pub(crate) time_stamped: Option<Reached>,
    /// Known holes in the record, in the hot store.
    pub(crate) gaps: u64,
    /// The newest of them.
    pub(crate) last_gap: Option<Gap>,
    /// Services of others that do not answer.
    pub(crate) failing: Vec<Failure>,
}

/// A known hole in the record.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gap {
    /// Its place in the journal.
    pub(crate) seq: u64,
    /// When it was recorded (RFC 3339).
    pub(crate) received: String,
    /// Name of the event.
    pub(crate) name: String,
    /// Why something is missing.
    pub(crate) reason: Option<String>,
}

/// What is sent live, as the data of server-sent events. `rows`: [`LiveRows`]; `detections`: [`LiveDetections`]; `progress`: [`Progress`];
/// `dropped`: [`LiveDropped`]; `reset`: [`LiveReset`]. Ids are places in the journal: whoever comes again with `Last-Event-ID` goes on behind it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes the stream; its parts are what is sent")]
pub(crate) enum Live {
    /// Of the event `rows`.
    Rows(LiveRows),
    /// Of the event `detections`.
    Detections(LiveDetections),
    /// Of the event `progress`.
    Progress(Progress),
    /// Of the event `dropped`.
    Dropped(LiveDropped),
    /// Of the event `reset`.
    Reset(LiveReset),
}

/// New events, in the order of the journal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveRows {
    /// The events.
    pub(crate) rows: Vec<EventRow>,
}

/// New detections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveDetections {
    /// The detections.
    pub(crate) rows: Vec<DetectionRow>,
}

/// Events that were passed over, because they came faster than they were taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveDropped {
    /// How many records; the lists have them.
    pub(crate) count: u64,
    /// It goes on behind this place in the journal.
    pub(crate) seq: u64,
}

/// The place from which was asked for events lies behind the newest one: it is of another record, or the store is being built anew.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveReset {
    /// The place that was asked for.
    pub(crate) asked: u64,
    /// It goes on behind this place in the journal; none: from the first record on.
    pub(crate) seq: Option<u64>,
}

/// Which events are sent live.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveQuery {
    /// Begin behind this place in the journal; default: now. `Last-Event-ID` goes before it.
    pub(crate) after: Option<u64>,
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
    /// With this status.
    pub(crate) status: Option<String>,
    /// With this category among its risks.
    pub(crate) risk: Option<String>,
}

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
    /// Whose id has this in it.
    pub(crate) q: Option<String>,
    /// Most rows; default 100, at most 500.
    pub(crate) limit: Option<usize>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Which detections.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetectionsQuery {
    /// In these states, with commas between them: `open,acknowledged`; default: all.
    pub(crate) state: Option<String>,
    /// At least so bad.
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
    /// With this grade: `seen`, `acted_on` or `reached`.
    pub(crate) grade: Option<String>,
    /// At which this person looks; empty: at which nobody does.
    pub(crate) assignee: Option<String>,
    /// With this `correlation`.
    pub(crate) correlation: Option<String>,
    /// From this time on (RFC 3339).
    pub(crate) since: Option<String>,
    /// Before this time.
    pub(crate) until: Option<String>,
    /// With this in the title, the rule's id or the names of those involved.
    pub(crate) q: Option<String>,
    /// Whether those that are suppressed are shown, too; default: no.
    pub(crate) suppressed: Option<bool>,
    /// Of groups alone: by what they are put together; default: `correlation`.
    #[param(inline)]
    pub(crate) by: Option<GroupBy>,
    /// Most rows; default 100, at most 500.
    pub(crate) limit: Option<usize>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
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
    /// The oldest (RFC 3339).
    pub(crate) first: String,
    /// The newest.
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
    /// The groups; at most 500.
    pub(crate) rows: Vec<DetectionGroup>,
    /// How many detections were put together.
    pub(crate) detections: u64,
    /// Whether there are older detections, or more groups, than were looked at.
    pub(crate) truncated: bool,
}

/// An entry of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FrameworkEntry {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
}

/// What frameworks call it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Frameworks {
    /// Techniques of MITRE ATLAS.
    pub(crate) atlas: Vec<FrameworkEntry>,
    /// Tactics of those techniques.
    pub(crate) tactics: Vec<FrameworkEntry>,
    /// OWASP Top 10 for LLM Applications 2025.
    pub(crate) owasp_llm: Vec<FrameworkEntry>,
    /// OWASP Top 10 for Agentic Applications 2026.
    pub(crate) owasp_agentic: Vec<FrameworkEntry>,
    /// NIST AI RMF and AI 600-1.
    pub(crate) nist: Vec<FrameworkEntry>,
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

/// Which entities.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntitiesQuery {
    /// What they are; default: all.
    #[serde(rename = "type")]
    #[param(rename = "type", inline)]
    pub(crate) kind: Option<EntityKind>,
    /// With this in the name.
    pub(crate) q: Option<String>,
    /// Most rows; default 100, at most 500.
    pub(crate) limit: Option<usize>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

/// An entity with its detections and sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entity {
    /// What is known of it.
    #[serde(flatten)]
    pub(crate) detail: EntityDetail,
    /// Its newest detections, at most 50.
    pub(crate) detection_rows: Vec<DetectionRow>,
    /// Its newest sessions, at most 50; of users, agents and applications: those that are found in time.
    pub(crate) session_rows: Vec<SessionRow>,
}

/// A model with what was detected of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    /// How it does.
    #[serde(flatten)]
    pub(crate) row: ModelRow,
    /// Detections that it has drifted or was exchanged, newest first.
    pub(crate) drift: Vec<DetectionRow>,
}

/// Models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Models {
    /// From this time on (RFC 3339).
    pub(crate) since: String,
    /// Before this time.
    pub(crate) until: String,
    /// Seconds of a bucket.
    pub(crate) bucket_s: u64,
    /// The models, those with the most calls first; at most 100.
    pub(crate) rows: Vec<Model>,
    /// Whether there are older evaluations or detections of drift than could be looked at in time: then some are missing.
    pub(crate) truncated: bool,
}

/// Tokens and cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// By what it is told apart.
    pub(crate) by: UsageBy,
    /// From this time on (RFC 3339).
    pub(crate) since: String,
    /// Before this time.
    pub(crate) until: String,
    /// Seconds of a bucket.
    pub(crate) bucket_s: u64,
    /// Who used how much, the most first.
    pub(crate) rows: Vec<UsageRow>,
    /// What all others used together, where there are others.
    pub(crate) others: Option<UsageRow>,
    /// In all.
    pub(crate) total: UsageRow,
}

/// How the record can be verified, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Integrity {
    /// How far recording, sealing, indexing and detection are.
    pub(crate) progress: Progress,
    /// The newest checkpoint, with its signatures.
    pub(crate) checkpoint: Option<CheckpointInfo>,
    /// The newest checkpoint that witnesses countersigned.
    pub(crate) witnessed: Option<CheckpointInfo>,
    /// Every pair of the log's keys.
    pub(crate) keys: Vec<LogKeyRow>,
    /// What went wrong last with each witness.
    pub(crate) witness_failures: Vec<Failure>,
    /// The newest checkpoint with a time stamp (RFC 3161).
    pub(crate) time_stamped: Option<Reached>,
    /// What went wrong last with each authority.
    pub(crate) time_stamp_failures: Vec<Failure>,
    /// The newest checkpoint that is published.
    pub(crate) published: Option<Reached>,
    /// Records that are sealed and not published yet.
    pub(crate) unpublished: Option<u64>,
    /// What went wrong last with the place where it is published.
    pub(crate) publish_failures: Vec<Failure>,
    /// Entries before this one are gone where retention let them go.
    pub(crate) minimum_index: u64,
    /// How many gaps the hot store has.
    pub(crate) gap_count: u64,
    /// The newest of them, at most 100.
    pub(crate) gaps: Vec<GapRow>,
    /// The newest heartbeat (RFC 3339).
    pub(crate) heartbeat: Option<String>,
    /// The archive.
    pub(crate) archive: ArchiveStanding,
}

/// A checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckpointInfo {
    /// The signed note (C2SP tlog-checkpoint).
    pub(crate) note: String,
    /// The log's name.
    pub(crate) origin: String,
    /// Records that it covers.
    pub(crate) size: u64,
    /// The root's hash (base64).
    pub(crate) root: String,
    /// Who signed it: names of the keys.
    pub(crate) signers: Vec<String>,
    /// When it was written (RFC 3339), by the file system's clock.
    pub(crate) at: Option<String>,
    /// How long ago that is, in seconds.
    pub(crate) age_s: Option<u64>,
}

/// A pair of the log's keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogKeyRow {
    /// Counted from 0, the pair that names the log.
    pub(crate) generation: u64,
    /// The smallest checkpoint that it signs, in records.
    pub(crate) from: u64,
    /// The largest that it signs; none for the newest.
    pub(crate) last: Option<u64>,
    /// `signs`, `overlap` or `retired`.
    pub(crate) state: String,
    /// The verifier keys (C2SP signed-note): Ed25519 and ML-DSA-44.
    pub(crate) vkeys: Vec<String>,
}

/// A gap with what it tells.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapRow {
    /// Its place in the journal.
    pub(crate) seq: u64,
    /// The event.
    pub(crate) event_id: String,
    /// When, by the source's clock (RFC 3339).
    pub(crate) time: String,
    /// Name of the event.
    pub(crate) name: String,
    /// Why something is missing.
    pub(crate) reason: Option<String>,
    /// How much is missing.
    pub(crate) count: Option<i64>,
}

/// A rule in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RuleRow {
    /// Its id.
    pub(crate) id: String,
    /// Its title.
    pub(crate) title: String,
    /// `rule`, `correlation` or `filter`.
    pub(crate) kind: String,
    /// The file.
    pub(crate) file: String,
    /// The line where it begins, from 1.
    pub(crate) line: usize,
    /// Whether it came with the program.
    pub(crate) is_builtin: bool,
    /// Sigma's `level`.
    pub(crate) level: String,
    /// Sigma's `status`.
    pub(crate) status: Option<String>,
    /// What it looks for, and why.
    pub(crate) description: Option<String>,
    /// The category of its log source.
    pub(crate) category: Option<String>,
    /// ATLAS techniques.
    pub(crate) techniques: Vec<String>,
    /// When it fires and nothing is wrong.
    pub(crate) falsepositives: Vec<String>,
    /// Name of its runbook.
    pub(crate) runbook: Option<String>,
    /// How sure it is, 0 to 1.
    pub(crate) confidence: f32,
    /// SHA-256 of its text, hexadecimal.
    pub(crate) digest: String,
    /// Detections of the last 30 days.
    pub(crate) hits_30d: u64,
}

/// The rules in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Rules {
    /// The rules.
    pub(crate) rows: Vec<RuleRow>,
    /// What a rule has room for that has no budget of its own.
    pub(crate) budget: RuleBudget,
    /// Digest of all of them.
    pub(crate) digest: String,
    /// Problems, most of which leave a rule out.
    pub(crate) problems: Vec<String>,
    /// Which rules took the place of others, and which are disabled.
    pub(crate) notes: Vec<String>,
    /// Whether not all detections could be counted in time: then `hits_30d` is too low.
    pub(crate) truncated: bool,
}

/// What budgets of alerts have room for, in an hour.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RuleBudget {
    /// Of one rule, without the first of each entity.
    pub(crate) per_hour: u32,
    /// Of one rule about one entity.
    pub(crate) per_entity_hour: u32,
    /// The first of one rule about one entity, which are told of whatever its rule has spent.
    pub(crate) per_entity_first: u32,
}

/// A rule with its text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RuleDetail {
    /// The row.
    #[serde(flatten)]
    pub(crate) row: RuleRow,
    /// Its file's text (YAML).
    pub(crate) text: Option<String>,
    /// Its runbook (Markdown).
    pub(crate) runbook_text: Option<String>,
    /// What frameworks call its first technique.
    pub(crate) frameworks: Frameworks,
    /// Whether not all detections could be counted in time: then `hits_30d` is too low.
    pub(crate) truncated: bool,
}

/// A search that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SavedSearch)]
pub(crate) struct SearchRow {
    /// Its id.
    pub(crate) id: String,
    /// What it is called.
    pub(crate) name: String,
    /// The view of the console that it is of.
    pub(crate) view: SearchView,
    /// Its parameters, as the view has them.
    #[schema(value_type = Object)]
    pub(crate) query: serde_json::Value,
    /// Whether others see it.
    pub(crate) shared: bool,
    /// Who made it: the key's id.
    pub(crate) owner: String,
    /// The key's name.
    pub(crate) owner_name: Option<String>,
    /// When it was made (RFC 3339).
    pub(crate) created: String,
    /// Whether the caller may remove it.
    pub(crate) is_own: bool,
}

/// Saved searches.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SavedSearches {
    /// The caller's own, and those of others that are shared.
    pub(crate) rows: Vec<SearchRow>,
}

/// What SQL can be asked of.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct QuerySchema {
    /// The views.
    pub(crate) views: Vec<ViewInfo>,
}

/// A view.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ViewInfo {
    /// Its name.
    pub(crate) name: &'static str,
    /// The requirement that it fills.
    pub(crate) requirement: Option<&'static str>,
    /// What a row is.
    pub(crate) about: &'static str,
    /// Its columns.
    pub(crate) columns: Vec<ColumnInfo>,
}

/// A column.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ColumnInfo {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) meaning: &'static str,
}
