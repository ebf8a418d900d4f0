//! What behaviour said about an entity.

use rusqlite::OptionalExtension as _;

use super::detections::{DetectionEvidence, evidence};
use super::entities::{EntityInsight, EntityKind, TIME_MAX, column};
use super::merge::Clock;
use crate::attached::Attached;
use crate::error::QueryError;
use crate::text::iso;

/// Detections whose evidence is looked through for insights.
const INSIGHT_DETECTIONS_MAX: usize = 100;

/// Where evidence names a statement of behaviour.
const INSIGHT: &str = "watchkeeper.insight.";

/// What behaviour said about it, from the evidence of its newest detections; and whether there was time for those.
pub(super) fn insights(attached: &Attached, kind: EntityKind, name: &str) -> Result<(Vec<EntityInsight>, bool), QueryError> {
    let mut found = Vec::new();
    let mut looked = 0;
    let mut clock = Clock::start(TIME_MAX);
    let mut is_whole = true;
    'all: for schema in &attached.schemas {
        let sql = format!(
            "SELECT d.{} IS ?1, d.seq, d.id, d.time_ns, d.rule FROM {schema}.detections d ORDER BY d.time_ns DESC",
            column(kind)
        );
        let mut statement = attached.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([name])?;
        while let Some(row) = rows.next()? {
            if clock.is_over() {
                is_whole = false;
                break 'all;
            }
            if !row.get::<_, bool>(0)? {
                continue;
            }
            looked += 1;
            let (seq, id, time_ns): (i64, String, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let sql = format!("SELECT attributes FROM {schema}.events WHERE seq = ?1");
            let attributes: Option<String> =
                attached.connection.prepare_cached(&sql)?.query_row([seq], |row| row.get(0)).optional()?;
            for insight in told(&evidence(&attributes.unwrap_or_default()).evidence) {
                found.push((
                    time_ns,
                    EntityInsight { detection_id: id.clone(), time: iso(time_ns), rule: row.get(4)?, ..insight },
                ));
            }
            if looked >= INSIGHT_DETECTIONS_MAX {
                break 'all;
            }
        }
    }
    found.sort_by_key(|(time_ns, _)| std::cmp::Reverse(*time_ns));
    Ok((found.into_iter().map(|(_, insight)| insight).collect(), is_whole))
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
