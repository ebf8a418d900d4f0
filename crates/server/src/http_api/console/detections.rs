//! Detections and what people make of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use event::{Event, Key, Kind, Value, attr};
use store::{
    DetectionFilter, DetectionRow, Grade, Marks as _, PAGE_BYTES_MAX, QueryError, Severities, Severity, Shorten as _,
    without_values,
};

use super::events::PAGE_ROWS;
use super::types::{
    DetectionDetail, DetectionGroup, DetectionGroups, DetectionsQuery, GroupBy, GroupsQuery, ReadQuery, SimilarDetection,
    SimilarDetections, TriageAnswer, TriageRequest,
};
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError, Body, Caller, Query};
use crate::node::internal;
use crate::triage::{TriagePatch, state_name};

/// Detections that are put together for one answer.
const GROUPED_MAX: u64 = 100_000;

/// Groups that are told, and names in each.
const GROUPS_MAX: usize = 500;
/// See [`GROUPS_MAX`].
const NAMES_MAX: usize = 16;

/// Detections that are compared with one for those that are like it, and those that are told.
const COMPARED_MAX: usize = 20_000;
/// See [`COMPARED_MAX`].
const SIMILAR_MAX: usize = 50;

/// Detections that can be changed at once.
const TRIAGED_MAX: usize = 1_000;

/// Where an event has the ids of the detections that were changed at once, where they are several.
const TRIAGED: Key = Key::of("watchkeeper.triage.detections");

/// Detections, those that were recorded last first.
#[utoipa::path(
    get,
    path = "/api/detections",
    operation_id = "detections",
    tag = "detections",
    params(DetectionsQuery),
    responses((status = 200, body = store::Page<store::DetectionRow>), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn detections(State(api): State<Arc<Api>>, Query(query): Query<DetectionsQuery>) -> Result<Response, ApiError> {
    let (limit, cursor) = (query.limit.unwrap_or(PAGE_ROWS), query.cursor.clone());
    let (filter, triage) = (query.filter()?, api.triage.clone());
    Ok(Json(api.read(move |reader| reader.detections(&filter, &*triage, limit, cursor.as_deref())).await?).into_response())
}

/// Detections put together by incident or by rule; the filters are those of the list.
#[utoipa::path(
    get,
    path = "/api/detections/groups",
    operation_id = "groups",
    tag = "detections",
    params(GroupsQuery),
    responses((status = 200, body = DetectionGroups), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn groups(State(api): State<Arc<Api>>, Query(query): Query<GroupsQuery>) -> Result<Response, ApiError> {
    let by = query.by.unwrap_or(GroupBy::Correlation);
    let (filter, triage) = (query.filter()?, api.triage.clone());
    let grouped = api.read(move |reader| {
        let mut groups = Groups { by, places: HashMap::new(), rows: Vec::new(), detections: 0 };
        let mut is_whole = reader.each_detection(&filter, &*triage, &mut |row| {
            groups.add(row);
            groups.detections < GROUPED_MAX
        })?;
        // The newest detection of each came first.
        let fits = groups.fits();
        is_whole &= groups.rows.len() <= fits;
        groups.rows.truncate(fits);
        Ok::<_, QueryError>(DetectionGroups { rows: groups.rows, detections: groups.detections, truncated: !is_whole })
    });
    Ok(Json(grouped.await?).into_response())
}

/// A detection with all that is known of it.
#[utoipa::path(
    get,
    path = "/api/detections/{id}",
    operation_id = "detection",
    tag = "detections",
    params(("id" = String, Path, description = "the detection"), ReadQuery),
    responses((status = 200, body = DetectionDetail), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn detection(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<ReadQuery>,
) -> Result<Response, ApiError> {
    let texts = query.texts.unwrap_or(false);
    if texts {
        api.note_reveal(&caller, "detection", &id, query.reason.as_deref()).await?;
    }
    let triage = api.triage.clone();
    let (row, store::Shown { evidence, events, rule_digest, mut techniques, runbook }) =
        api.read(move |reader| Ok((reader.detection(&id, &*triage)?, reader.detection_evidence(&id)?))).await?;
    let rule_now = match &row.detection.rule {
        Some(rule) => api.rule_shown(rule).await?,
        None => None,
    };
    let runbook = runbook.as_deref().and_then(detect::runbook).map(str::to_owned);
    if techniques.is_empty() {
        techniques.extend(row.detection.technique.clone());
    }
    // What people did is read behind a lock that is held while it is written to the disk.
    let (triage, one) = (api.triage.clone(), row.detection.detection_id.clone());
    let history = tokio::task::spawn_blocking(move || triage.history(&one)).await.map_err(ApiError::stopped)??;
    let detail = DetectionDetail {
        evidence: if texts { evidence } else { without_values(evidence) },
        withheld: !texts,
        events,
        rule_digest,
        rule_now,
        runbook,
        frameworks: super::rules::frameworks(&techniques),
        history,
        suppression: row.suppressed_by.as_ref().and_then(|id| api.triage.suppression_by_id(id)),
        row,
    };
    Ok(Json(detail).into_response())
}

/// Detections that have something in common with it.
#[utoipa::path(
    get,
    path = "/api/detections/{id}/similar",
    operation_id = "similar",
    tag = "detections",
    params(("id" = String, Path, description = "the detection")),
    responses((status = 200, body = SimilarDetections), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn similar(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let triage = api.triage.clone();
    let similar = api.read(move |reader| {
        // As the others that it is compared with.
        let one = reader.detection(&id, &*triage)?.shortened();
        let filter = DetectionFilter { with_suppressed: true, ..DetectionFilter::default() };
        let (mut found, mut compared) = (Vec::new(), 0);
        let is_whole = reader.each_detection(&filter, &*triage, &mut |row| {
            compared += 1;
            let shared = shared(&one, &row);
            if !shared.is_empty() && row.detection.detection_id != one.detection.detection_id {
                found.push(SimilarDetection { row, shared });
            }
            compared < COMPARED_MAX
        })?;
        // Sorting is stable: of those that have as much in common the newest comes first.
        found.sort_by_key(|similar| std::cmp::Reverse(similar.shared.iter().map(|name| weight(name)).sum::<u32>()));
        found.truncate(SIMILAR_MAX);
        Ok::<_, QueryError>(SimilarDetections { rows: found, truncated: !is_whole })
    });
    Ok(Json(similar.await?).into_response())
}

/// Changes the state of detections, who looks at them, or says something of them.
#[utoipa::path(
    post,
    path = "/api/detections/triage",
    operation_id = "triage",
    tag = "detections",
    request_body = TriageRequest,
    responses((status = 200, body = TriageAnswer), Refused),
    description = "Role: analyst.",
)]
pub(super) async fn triage(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, ApiError> {
    let TriageRequest { ids, state, assignee, reason, note } = body.json()?;
    let rows = triaged(&api, &caller, ids, TriagePatch { state, assignee, reason, note }).await?;
    Ok(Json(TriageAnswer { rows }).into_response())
}

/// The same of one.
#[utoipa::path(
    patch,
    path = "/api/detections/{id}",
    operation_id = "triage_one",
    tag = "detections",
    params(("id" = String, Path, description = "the detection")),
    request_body = TriagePatch,
    responses((status = 200, body = store::DetectionRow), Refused),
    description = "Role: analyst.",
)]
pub(super) async fn triage_one(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let rows = triaged(&api, &caller, vec![id], body.json()?).await?;
    let row = rows.into_iter().next().ok_or_else(|| ApiError::stopped("the detection is gone"))?;
    Ok(Json(row).into_response())
}

/// Changes detections: looks whether they are there, records what changes, and then lets it hold.
async fn triaged(api: &Arc<Api>, caller: &Caller, ids: Vec<String>, patch: TriagePatch) -> Result<Vec<DetectionRow>, ApiError> {
    if ids.is_empty() || ids.len() > TRIAGED_MAX {
        return Err(ApiError::bad_request(format!("ids: 1 to {TRIAGED_MAX} are needed")));
    }
    let (checking, checked_by) = (api.triage.clone(), api.node.clone());
    let checked = tokio::task::spawn_blocking(move || checking.check(patch, checked_by.pipeline().sanitizer())).await;
    let patch = checked.map_err(ApiError::stopped)??;
    let marks = api.triage.clone();
    let before = {
        let ids: BTreeSet<String> = ids.into_iter().map(|id| id.trim().to_ascii_lowercase()).collect();
        api.read(move |reader| ids.iter().map(|id| reader.detection(id, &*marks)).collect::<Result<Vec<_>, _>>()).await?
    };
    if !api.record(vec![triage_event(caller, &before, &patch)]).await {
        return Err(ApiError::stopped("what changes is recorded first, and the record cannot be written"));
    }
    let ids: Vec<String> = before.iter().map(|row| row.detection.detection_id.clone()).collect();
    let (triage, asker) = (api.triage.clone(), caller.asker.clone());
    let changed = tokio::task::spawn_blocking(move || triage.change(&ids, &patch, &asker.id(), asker.name())).await;
    changed.map_err(ApiError::stopped)??;
    let now = |row: DetectionRow| {
        let marked = api.triage.of(&row.detection.detection_id);
        DetectionRow { state: marked.state, assignee: marked.assignee, changed: marked.changed, ..row }
    };
    Ok(before.into_iter().map(now).collect())
}

/// That somebody changed detections: what they were, and what they are since then. One event, however many they are: what is said of all of them
/// stands in the record once.
fn triage_event(caller: &Caller, rows: &[DetectionRow], patch: &TriagePatch) -> Event<String> {
    let mut event = internal(Kind::Admin, "detection.triage");
    caller.asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, "update");
    event.set(attr::EVENT_OUTCOME, "success");
    let ids = rows.iter().map(|row| row.detection.detection_id.as_str());
    let before = if let [row] = rows {
        event.set(attr::ADMIN_OBJECT, format!("detection {}", row.detection.detection_id).as_str());
        serde_json::json!({ "state": row.state, "assignee": row.assignee })
    } else {
        event.set(attr::ADMIN_OBJECT, format!("{} detections", rows.len()).as_str());
        event.set(TRIAGED, Value::List(ids.map(Value::from).collect()));
        let mut alike: BTreeMap<(&str, Option<&str>), Vec<&str>> = BTreeMap::new();
        for row in rows {
            let was = (state_name(row.state), row.assignee.as_deref());
            alike.entry(was).or_default().push(&row.detection.detection_id);
        }
        let group = |((state, assignee), detections): ((&str, Option<&str>), Vec<&str>)| serde_json::json!({ "state": state, "assignee": assignee, "detections": detections });
        alike.into_iter().map(group).collect()
    };
    event.set(attr::ADMIN_BEFORE, before.to_string().as_str());
    event.set(attr::ADMIN_AFTER, serde_json::to_string(patch).unwrap_or_default().as_str());
    event
}

/// Detections, put together.
struct Groups {
    by: GroupBy,
    places: HashMap<String, usize>,
    rows: Vec<DetectionGroup>,
    detections: u64,
}

impl Groups {
    /// How many of them are told: so many, and so many bytes.
    fn fits(&mut self) -> usize {
        let mut bytes = 0;
        let over = self.rows.iter_mut().take(GROUPS_MAX).position(|group| {
            let names = [&group.rules, &group.techniques, &group.users].into_iter().flatten().map(String::len);
            bytes += names.sum::<usize>() + group.lead.weight();
            bytes > PAGE_BYTES_MAX
        });
        over.unwrap_or(GROUPS_MAX)
    }

    /// Adds a detection that was recorded before all that came before it here.
    fn add(&mut self, row: DetectionRow) {
        self.detections += 1;
        let detection = &row.detection;
        let key = match self.by {
            GroupBy::Correlation => detection.correlation.clone(),
            GroupBy::Rule => detection.rule.clone().unwrap_or_default(),
        };
        let place = *self.places.entry(key.clone()).or_insert_with(|| {
            self.rows.push(DetectionGroup {
                by: self.by,
                key,
                lead: row.clone(),
                count: 0,
                open: 0,
                severities: Severities::default(),
                severity: detection.severity.clone(),
                grade: None,
                first: detection.observed.clone(),
                last: detection.observed.clone(),
                rules: Vec::new(),
                techniques: Vec::new(),
                users: Vec::new(),
            });
            self.rows.len() - 1
        });
        let group = &mut self.rows[place];
        group.count += 1;
        group.open += u64::from(row.state == store::State::Open);
        group.severities.add(&detection.severity);
        group.first.clone_from(&detection.observed);
        if far(detection.grade.as_deref()) > far(group.grade.as_deref()) {
            group.grade.clone_from(&detection.grade);
        }
        for (names, name) in [
            (&mut group.rules, &detection.rule),
            (&mut group.techniques, &detection.technique),
            (&mut group.users, &detection.user_id),
        ] {
            if let Some(name) = name
                && names.len() < NAMES_MAX
                && !names.contains(name)
            {
                names.push(name.clone());
            }
        }
        if grave(&row) > grave(&group.lead) {
            group.severity.clone_from(&row.detection.severity);
            group.lead = row;
        }
    }
}

/// How bad a detection is, as a number.
fn grave(row: &DetectionRow) -> usize {
    Severity::WORDS.iter().position(|name| *name == row.detection.severity).unwrap_or(0)
}

/// How far an injection got, as a number.
fn far(grade: Option<&str>) -> Option<usize> {
    Grade::WORDS.iter().position(|name| Some(*name) == grade)
}

/// What two detections have in common.
fn shared(one: &DetectionRow, other: &DetectionRow) -> Vec<String> {
    let (one, other) = (&one.detection, &other.detection);
    let pairs = [
        ("rule", &one.rule, &other.rule),
        ("technique", &one.technique, &other.technique),
        ("session", &one.session_id, &other.session_id),
        ("user", &one.user_id, &other.user_id),
        ("agent", &one.agent, &other.agent),
        ("application", &one.application, &other.application),
        ("tool", &one.tool, &other.tool),
    ];
    let names: Vec<&str> =
        pairs.into_iter().filter(|(_, one, other)| one.is_some() && one == other).map(|(name, ..)| name).collect();
    // Everything of one application has that in common.
    let says_something = names.iter().any(|name| weight(name) > 1);
    if says_something { names.into_iter().map(str::to_owned).collect() } else { Vec::new() }
}

/// How much it says that two detections have it in common.
fn weight(name: &str) -> u32 {
    match name {
        "rule" => 8,
        "session" => 6,
        "user" => 4,
        "technique" => 3,
        "tool" => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use store::{DetectionRecord, State};

    use super::*;

    fn row(id: u64, rule: &str, severity: &str, user: &str, session: Option<&str>) -> DetectionRow {
        let detection = DetectionRecord {
            detection_id: id.to_string(),
            seq: id,
            // Their source says that all happened at once.
            time: "2026-01-01T00:00:00.000000Z".to_owned(),
            observed: format!("2026-01-01T00:00:{id:02}.000000Z"),
            late_s: None,
            rule: Some(rule.to_owned()),
            title: String::new(),
            technique: None,
            technique_name: None,
            severity: severity.to_owned(),
            confidence: None,
            grade: None,
            session_id: session.map(str::to_owned),
            trace_id: None,
            user_id: Some(user.to_owned()),
            application: Some("app".to_owned()),
            agent: None,
            tool: None,
            correlation: session.map_or_else(|| format!("user:{user}"), |session| format!("session:{session}")),
        };
        DetectionRow { detection, state: State::Open, assignee: None, changed: None, suppressed_by: None }
    }

    #[test]
    fn detections_of_one_incident_come_together_and_the_worst_leads() {
        let mut groups = Groups { by: GroupBy::Correlation, places: HashMap::new(), rows: Vec::new(), detections: 0 };
        for one in [
            row(9, "a", "low", "u1", Some("s1")),
            row(8, "b", "critical", "u2", None),
            row(7, "c", "high", "u1", Some("s1")),
            row(6, "c", "high", "u3", Some("s1")),
        ] {
            groups.add(one);
        }
        let of: Vec<_> = groups.rows.iter().map(|group| (group.key.as_str(), group.count, group.lead.detection.seq)).collect();
        assert_eq!(of, [("session:s1", 3, 7), ("user:u2", 1, 8)]);
        let group = &groups.rows[0];
        assert_eq!((group.rules.len(), group.users.len(), group.severities.high, group.open), (2, 2, 2, 3));
        assert!(group.first < group.last);
    }

    /// The worst of an incident need not be the one in which an injection got the furthest.
    #[test]
    fn an_incident_has_the_highest_severity_and_the_highest_grade_of_all_in_it() {
        let mut groups = Groups { by: GroupBy::Correlation, places: HashMap::new(), rows: Vec::new(), detections: 0 };
        for (id, severity, grade) in
            [(5, "medium", Some("seen")), (4, "low", Some("reached")), (3, "high", None), (2, "low", Some("acted_on"))]
        {
            let mut one = row(id, "a", severity, "u1", Some("s1"));
            one.detection.grade = grade.map(str::to_owned);
            groups.add(one);
        }
        groups.add(row(1, "a", "low", "u2", None));
        let of: Vec<_> = groups.rows.iter().map(|group| (group.severity.as_str(), group.grade.as_deref())).collect();
        assert_eq!(of, [("high", Some("reached")), ("low", None)]);
        assert_eq!(groups.rows[0].lead.detection.grade, None);
    }

    #[test]
    fn groups_of_long_names_end_where_the_answer_has_become_long() {
        let mut groups = Groups { by: GroupBy::Correlation, places: HashMap::new(), rows: Vec::new(), detections: 0 };
        for id in 0..1_000 {
            groups.add(row(id, "a", "low", &format!("{id}{}", "x".repeat(16 * 1_024)), None));
        }
        let fits = groups.fits();
        assert!((80..100).contains(&fits), "{fits}");
        assert!(serde_json::to_string(&groups.rows[..fits]).unwrap().len() < 6 * 1_024 * 1_024);
    }

    #[test]
    fn what_is_said_of_many_detections_stands_in_the_record_once() {
        let who = crate::asker::Who::Key { id: "key_1".to_owned(), name: "laptop".to_owned() };
        let caller = Caller::of_tests(who, crate::access::Role::Analyst);
        let note = "the same campaign as yesterday ".repeat(200);
        let patch = TriagePatch { state: Some(State::Acknowledged), note: Some(note.clone()), ..TriagePatch::default() };
        let mut rows: Vec<DetectionRow> = (0..TRIAGED_MAX as u64).map(|n| row(n, "a", "low", "u1", None)).collect();
        rows[7].assignee = Some("ann".to_owned());
        let told = serde_json::to_string(&triage_event(&caller, &rows, &patch)).unwrap();
        assert_eq!(told.matches(note.trim()).count(), 1);
        assert!(told.len() < 64 * 1024, "{}", told.len());
        let event = triage_event(&caller, &rows, &patch);
        let text = |key| event.attributes.get(&key).and_then(Value::as_text).cloned().unwrap_or_default();
        assert_eq!(text(attr::ADMIN_OBJECT), "1000 detections");
        let before: serde_json::Value = serde_json::from_str(&text(attr::ADMIN_BEFORE)).unwrap();
        assert_eq!(
            (before.as_array().unwrap().len(), &before[1]["assignee"], &before[1]["detections"]),
            (2, &"ann".into(), &serde_json::json!(["7"]))
        );
        assert!(matches!(event.attributes.get(&TRIAGED), Some(Value::List(ids)) if ids.len() == TRIAGED_MAX));
        // Of one it is as it always was.
        let event = triage_event(&caller, &rows[7..8], &patch);
        let text = |key| event.attributes.get(&key).and_then(Value::as_text).cloned().unwrap_or_default();
        assert_eq!(
            (text(attr::ADMIN_OBJECT), text(attr::ADMIN_BEFORE)),
            ("detection 7".to_owned(), r#"{"assignee":"ann","state":"open"}"#.to_owned())
        );
        assert!(!event.attributes.contains_key(&TRIAGED));
    }

    #[test]
    fn what_is_only_of_the_same_application_is_not_similar() {
        let one = row(1, "a", "low", "u1", Some("s1"));
        assert_eq!(shared(&one, &row(2, "b", "low", "u2", None)), Vec::<String>::new());
        assert_eq!(shared(&one, &row(2, "a", "low", "u2", Some("s1"))), ["rule", "session", "application"]);
    }
}
