//! What behaviour said about an entity.

use rusqlite::OptionalExtension as _;
use rusqlite::types::Value;

use super::detections::{COLUMNS, DetectionEvidence, PASSES, evidence, place, read};
use super::entities::{EntityInsight, EntityKind, TIME_MAX, column};
use super::merge::{Arm, Looked, each};
use crate::attached::Attached;
use crate::error::QueryError;

/// Detections whose evidence is looked through for insights.
const INSIGHT_DETECTIONS_MAX: usize = 100;

/// Where evidence names a statement of behaviour.
const INSIGHT: &str = "watchkeeper.insight.";

/// What behaviour said about it, from the evidence of its newest detections; and whether there was time for those.
pub(super) fn insights(attached: &Attached, kind: EntityKind, name: &str) -> Result<(Vec<EntityInsight>, bool), QueryError> {
    let mut newest = Vec::new();
    // Whose they are is a column and no condition: rows that SQLite passes over by itself are looked at without the clock.
    let arms = attached.schemas.iter().map(|schema| Arm {
        sql: format!(
            "SELECT {COLUMNS}, d.{} IS ?1, '{schema}' FROM {schema}.detections d INDEXED BY detections_observed \
             ORDER BY d.observed_ns DESC, d.seq DESC",
            column(kind)
        ),
        values: vec![Value::Text(name.to_owned())],
    });
    let rest = each(
        &attached.connection,
        arms,
        TIME_MAX,
        &mut |row| {
            let is_asked = row.get(PASSES)?;
            let taken = if is_asked { Looked::Taken((row.get::<_, String>(PASSES + 1)?, read(row)?)) } else { Looked::Passed };
            Ok((place(row)?, taken))
        },
        &mut |detection| {
            newest.push(detection);
            newest.len() < INSIGHT_DETECTIONS_MAX
        },
    )?;
    let is_whole = rest.is_none() || newest.len() >= INSIGHT_DETECTIONS_MAX;
    let mut found = Vec::new();
    for (schema, detection) in newest {
        let sql = format!("SELECT attributes FROM {schema}.events WHERE seq = ?1");
        let seq = crate::row::integer(detection.seq);
        let attributes: Option<String> =
            attached.connection.prepare_cached(&sql)?.query_row([seq], |row| row.get(0)).optional()?;
        let (detection_id, time, rule) = (detection.detection_id, detection.observed, detection.rule);
        found.extend(told(&evidence(&attributes.unwrap_or_default()).evidence).into_iter().map(|insight| EntityInsight {
            detection_id: detection_id.clone(),
            time: time.clone(),
            rule: rule.clone(),
            ..insight
        }));
    }
    Ok((found, is_whole))
}

/// The statements of behaviour that evidence names, with their measures.
fn told(evidence: &[DetectionEvidence]) -> Vec<EntityInsight> {
    let mut insights: Vec<EntityInsight> = Vec::new();
    for (name, value) in
        evidence.iter().filter_map(|one| Some((one.field.as_deref()?.strip_prefix(INSIGHT)?, one.value.as_deref())))
    {
        let (name, measure) = name.split_once('.').unwrap_or((name, ""));
        let place = insights.iter().position(|insight| insight.insight == name).unwrap_or_else(|| {
            insights.push(EntityInsight {
                detection_id: String::new(),
                time: String::new(),
                rule: None,
                insight: name.to_owned(),
                observed: None,
                expected: None,
                support: None,
                peers: None,
                what: None,
            });
            insights.len() - 1
        });
        let insight = &mut insights[place];
        let number = value.and_then(|value| value.trim_matches('"').parse::<f64>().ok());
        match measure {
            "observed" => insight.observed = number,
            "expected" => insight.expected = number,
            "support" => insight.support = number,
            "peers" => insight.peers = number,
            "what" => insight.what = value.map(str::to_owned),
            _ => {}
        }
    }
    insights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_behaviour_said_is_read_out_of_evidence() {
        let of = |field: &str, value: &str| DetectionEvidence {
            field: Some(field.to_owned()),
            value: Some(value.to_owned()),
            ..DetectionEvidence::default()
        };
        let shown = [
            of("watchkeeper.insight.user_volume_spike", "true"),
            of("watchkeeper.insight.user_volume_spike.observed", "120"),
            of("watchkeeper.insight.user_volume_spike.expected", "4.5"),
            of("user.id", "x"),
        ];
        let told = told(&shown);
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].insight.as_str(), told[0].observed, told[0].expected, told[0].peers),
            ("user_volume_spike", Some(120.0), Some(4.5), None)
        );
    }
}
