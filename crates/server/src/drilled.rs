//! What the record says of drills that were played on it.

use std::collections::BTreeMap;

use detect::coverage::Drilled;
use event::TechniqueId;
use serde::{Deserialize, Serialize};
use store::Cell;

/// The event that says what came of a drill.
pub(crate) const DRILL_EVENT: &str = "drill.play";

/// What came of a drill, as the record has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlayedDrill {
    /// The technique that it plays.
    pub(crate) technique: TechniqueId,
    /// Whether it was told.
    pub(crate) verdict: DrillVerdict,
}

/// Whether a drill was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DrillVerdict {
    /// At the first step at which it can be seen, and nothing before.
    Caught,
    /// At a later step only.
    Late,
    /// Never.
    Missed,
    /// Something was told of a step before anything was wrong.
    Early,
}

/// Asks for the newest drill of each scenario and technique since a time; what others send under that name is none.
pub(crate) fn query(since: &str) -> String {
    format!(
        "SELECT scenario, told, max(time) FROM (SELECT attributes ->> '$.\"watchkeeper.admin.object\"' AS scenario, \
         attributes ->> '$.\"watchkeeper.admin.after\"' AS told, time FROM events \
         WHERE kind = 'admin' AND source = 'internal' AND name = '{DRILL_EVENT}' AND time >= '{since}') \
         WHERE json_valid(told) GROUP BY scenario, told ->> '$.technique'"
    )
}

/// Drills by their technique, of rows of [`query`].
pub(crate) fn by_technique(rows: Vec<Vec<Cell>>) -> BTreeMap<TechniqueId, Drilled> {
    let mut drilled: BTreeMap<TechniqueId, Drilled> = BTreeMap::new();
    for row in rows {
        let [_, Cell::Text(told), Cell::Text(time)] = row.as_slice() else { continue };
        // A newer version may have verdicts that this one does not know.
        let Ok(PlayedDrill { technique, verdict }) = serde_json::from_str(told) else { continue };
        let of = drilled.entry(technique).or_default();
        of.played += 1;
        of.caught += u64::from(verdict == DrillVerdict::Caught);
        of.last = of.last.clone().max(time.clone());
    }
    drilled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drills_are_counted_by_their_technique() {
        let row = |scenario: &str, after: &str, time: &str| {
            vec![Cell::Text(scenario.to_owned()), Cell::Text(after.to_owned()), Cell::Text(time.to_owned())]
        };
        let told = |verdict: &str| format!(r#"{{"technique":"AML.T0051.001","verdict":"{verdict}"}}"#);
        let drilled = by_technique(vec![
            row("a", &told("missed"), "2026-01-03T00:00:00Z"),
            row("b", &told("caught"), "2026-01-02T00:00:00Z"),
            row("c", "{}", "2026-01-01T00:00:00Z"),
            row("c", &told("of a newer version"), "2026-01-01T00:00:00Z"),
        ]);
        let technique: TechniqueId = "AML.T0051.001".parse().unwrap();
        let expected = Drilled { played: 2, caught: 1, last: "2026-01-03T00:00:00Z".to_owned() };
        assert_eq!(drilled, BTreeMap::from([(technique, expected)]));
    }
}
