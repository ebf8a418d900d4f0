//! The rules in force.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use detect::{AlertBudget, RuleInfo, RuleSet, Uncompiled};
use event::TechniqueId;
use event::taxonomy::{atlas, framework_entries};

use super::span::now_ns;
use super::types::{FrameworkEntry, Frameworks, RuleBudget, RuleDetail, RuleRow, Rules};
use crate::http_api::openapi::Refused;
use crate::http_api::{Api, ApiError};

/// Days of which hits are told, in nanoseconds.
const HITS_NS: i64 = 30 * 86_400 * 1_000_000_000;

/// Longest file of rules that is shown, as they are loaded.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The rules in force as lists show them, for as long as they are in force.
#[derive(Default)]
pub(in crate::http_api) struct Shown(Mutex<Option<Arc<InForce>>>);

/// Rules of one digest.
struct InForce {
    digest: String,
    rows: Vec<RuleRow>,
    budget: AlertBudget,
    problems: Vec<String>,
    notes: Vec<String>,
}

/// The rules in force.
#[utoipa::path(
    get,
    path = "/api/rules",
    operation_id = "rules",
    tag = "rules",
    responses((status = 200, body = Rules), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn rules(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let in_force = api.rules_in_force().await?;
    let (hits, is_whole) = hits(&api).await?;
    let row = |row: &RuleRow| RuleRow { hits_30d: hits.get(&row.id).copied().unwrap_or(0), ..row.clone() };
    let AlertBudget { per_hour, per_entity_hour, per_entity_first } = in_force.budget;
    let rules = Rules {
        rows: in_force.rows.iter().map(row).collect(),
        budget: RuleBudget { per_hour, per_entity_hour, per_entity_first },
        digest: in_force.digest.clone(),
        problems: in_force.problems.clone(),
        notes: in_force.notes.clone(),
        truncated: !is_whole,
    };
    Ok(Json(rules).into_response())
}

/// A rule with its text and its runbook.
#[utoipa::path(
    get,
    path = "/api/rules/in-force/{id}",
    operation_id = "rule",
    tag = "rules",
    params(("id" = String, Path, description = "the rule")),
    responses((status = 200, body = RuleDetail), Refused),
    description = "Role: auditor.",
)]
pub(super) async fn rule(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let missing =
        || ApiError::new(StatusCode::NOT_FOUND, "no rule of that id is in force; `GET /api/rules` lists those that are");
    let row = api.rule_shown(&id).await?.ok_or_else(missing)?;
    let (hits, is_whole) = hits(&api).await?;
    let row = RuleRow { hits_30d: hits.get(&row.id).copied().unwrap_or(0), ..row };
    let file = PathBuf::from(&row.file);
    let text = tokio::task::spawn_blocking(move || text_of(&file)).await.map_err(ApiError::stopped)?;
    let runbook_text = row.runbook.as_deref().and_then(detect::runbook).map(str::to_owned);
    let frameworks = frameworks(&row.techniques);
    Ok(Json(RuleDetail { row, text, runbook_text, frameworks, truncated: !is_whole }).into_response())
}

impl Api {
    /// The rules in force.
    async fn rules_in_force(&self) -> Result<Arc<InForce>, ApiError> {
        let digest = self.node.rules().digest;
        let known = self.rules_shown.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.digest == digest) {
            return Ok(known);
        }
        let node = self.node.clone();
        let read = tokio::task::spawn_blocking(move || match node.consumers().rules_in_force() {
            Some(rules) => Ok(InForce::of(&rules, digest)),
            None => RuleSet::builtin().map(|rules| InForce::of(&rules.into_uncompiled(), digest)),
        });
        let read = Arc::new(read.await.map_err(ApiError::stopped)?.map_err(ApiError::stopped)?);
        *self.rules_shown.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
        Ok(read)
    }

    /// A rule in force, without its hits.
    pub(super) async fn rule_shown(&self, id: &str) -> Result<Option<RuleRow>, ApiError> {
        Ok(self.rules_in_force().await?.rows.iter().find(|row| row.id == id).cloned())
    }

    /// Ids of the rules in force whose file has such a name (without directory and ending).
    pub(super) async fn rule_ids(&self, is_asked: impl Fn(&str) -> bool) -> Result<BTreeSet<String>, ApiError> {
        let in_force = self.rules_in_force().await?;
        let is_of = |row: &&RuleRow| FilePath::new(&row.file).file_stem().and_then(|name| name.to_str()).is_some_and(&is_asked);
        Ok(in_force.rows.iter().filter(is_of).map(|row| row.id.clone()).collect())
    }
}

impl InForce {
    fn of(rules: &Uncompiled, digest: String) -> Self {
        Self {
            digest,
            rows: rules.rules().map(row).collect(),
            budget: rules.budget(),
            problems: rules.problems().iter().map(ToString::to_string).collect(),
            notes: rules.notes().to_vec(),
        }
    }
}

fn row(info: &RuleInfo) -> RuleRow {
    RuleRow {
        id: info.id.clone(),
        title: info.title.clone(),
        kind: info.kind,
        file: info.file.display().to_string(),
        line: info.line,
        is_builtin: detect::builtin_rule_text(&info.file).is_some(),
        level: info.severity.as_str().to_owned(),
        status: info.status.clone(),
        description: info.description.clone(),
        category: info.category.clone(),
        techniques: info.techniques.iter().map(|technique| technique.as_str().to_owned()).collect(),
        falsepositives: info.falsepositives.clone(),
        runbook: info.runbook.clone(),
        confidence: info.confidence,
        digest: info.digest.clone(),
        hits_30d: 0,
    }
}

/// The text of a rule's file, as it lies on the disk now.
fn text_of(file: &FilePath) -> Option<String> {
    if let Some(text) = detect::builtin_rule_text(file) {
        return Some(text.to_owned());
    }
    let bytes = files::read_at_most(file, FILE_BYTES_MAX).ok().flatten()?;
    String::from_utf8(bytes).ok()
}

/// Detections of the last 30 days, by rule; and whether all of them were counted.
async fn hits(api: &Api) -> Result<(HashMap<String, u64>, bool), ApiError> {
    api.read(|reader| reader.detections_by_rule(now_ns().saturating_sub(HITS_NS))).await
}

/// What frameworks call techniques.
pub(super) fn frameworks(techniques: &[String]) -> Frameworks {
    let entries = |ids: BTreeSet<String>| -> Vec<FrameworkEntry> {
        let named = |id: String| FrameworkEntry { name: framework_entries().get(&id).cloned().unwrap_or_default(), id };
        ids.into_iter().map(named).collect()
    };
    let (mut atlas_entries, mut tactics) = (Vec::new(), BTreeSet::new());
    let (mut owasp_llm, mut owasp_agentic, mut nist) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for id in techniques.iter().filter_map(|id| id.parse::<TechniqueId>().ok()) {
        let technique = id.technique();
        atlas_entries.push(FrameworkEntry { id: technique.id.clone(), name: technique.name.clone() });
        tactics.extend(technique.tactics.iter().cloned());
        let crosswalk = id.crosswalk();
        owasp_llm.extend(crosswalk.owasp_llm);
        owasp_agentic.extend(crosswalk.owasp_agentic);
        nist.extend(crosswalk.nist);
    }
    // In the order of the matrix.
    let tactics = atlas().tactics.iter().filter(|tactic| tactics.contains(&tactic.id));
    Frameworks {
        atlas: atlas_entries,
        tactics: tactics.map(|tactic| FrameworkEntry { id: tactic.id.clone(), name: tactic.name.clone() }).collect(),
        owasp_llm: entries(owasp_llm),
        owasp_agentic: entries(owasp_agentic),
        nist: entries(nist),
    }
}
