//! Threat intelligence that was met, and the risk of entities.

use super::{View, WHEN, WHERE, WHO, column};

pub(super) const ENTITY_RISK: View = View {
    name: "entity_risk",
    requirement: "C15",
    about: "One row for each user, agent, application, tool, session and credential that detections name, with the risk to which these \
            add up: severity (1, 5, 15, 40, 80) times confidence, halved each day, at no time more than 60 of one rule and 70 of one \
            technique. Detections count from when they were recorded, by Watchkeeper's clock. It is as of the newest detection of the row: it \
            halves for each day since `last_seen`. What alert budgets suppressed is not in it. From 80 on, with two techniques behind it, and that counted, \
            the rule `risk-threshold` speaks.",
    columns: &[&[
        column("entity_kind", "x.value ->> '$[0]'", "`user`, `agent`, `application`, `tool`, `session` or `credential`"),
        column("entity", "x.value ->> '$[1]'", "which"),
        column(
            "risk",
            "CASE e.attributes ->> '$.\"watchkeeper.detection.severity\"' {risk.weights} END * \
             coalesce(e.attributes ->> '$.\"watchkeeper.detection.confidence\"', 0.5)",
            "the risk when it was detected last",
        ),
        column("techniques", "e.attributes ->> '$.\"watchkeeper.detection.technique\"'", "MITRE ATLAS techniques behind it"),
        column("rules", "e.attributes ->> '$.\"watchkeeper.detection.rule\"'", "how many rules are behind it"),
        column("detections", "1", "number of detections"),
        column(
            "crossings",
            "e.attributes ->> '$.\"watchkeeper.detection.rule\"' = 'risk-threshold'",
            "how often the threshold was crossed, by anybody involved",
        ),
        column("first_seen", "e.observed_ns", "when the first detection was recorded"),
        column("last_seen", "e.observed_ns", "when the newest detection was recorded"),
    ]],
    from: "{p}.events e, json_each(json_array(json_array('user', e.user_id), json_array('agent', e.agent), \
           json_array('application', e.application), json_array('tool', e.tool_name), json_array('session', e.session_id), \
           json_array('credential', e.credential))) x WHERE e.kind = 'detection' AND x.value ->> '$[1]' <> '' \
           AND e.attributes ->> '$.\"watchkeeper.detection.rule\"' <> 'alert-budget'",
    // What a rule has added is capped each time that it adds (`event::risk::added`), and decays from there: of all detections of the rule,
    // the least of the cap at that time and what came after it, or of what all of them add.
    merge: Some(
        "SELECT entity_kind, entity, round(sum(min({risk.technique_max}, risk)), 1) AS risk, group_concat(CASE WHEN detections > 0 THEN technique END) AS techniques, \
         sum(rules) AS rules, sum(detections) AS detections, sum(crossings) AS crossings, iso_time(min(first_ns)) AS first_seen, \
         iso_time(max(last_ns)) AS last_seen FROM (SELECT entity_kind, entity, technique, sum(risk) AS risk, \
         count(*) - max(crossings > 0) AS rules, sum(detections) AS detections, sum(crossings) AS crossings, min(first_ns) AS first_ns, \
         max(last_ns) AS last_ns FROM (SELECT entity_kind, entity, technique, min(sum(adds), min(capped)) AS risk, \
         sum(1 - crossings) AS detections, sum(crossings) AS crossings, min(first_seen) AS first_ns, max(last_seen) AS last_ns \
         FROM (SELECT *, {risk.rule_max} * kept + coalesce(sum(adds) OVER (PARTITION BY entity_kind, entity, rules, technique \
         ORDER BY last_seen DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0.0) AS capped \
         FROM (SELECT *, (1 - crossings) * risk * kept AS adds FROM (SELECT *, substr(techniques, 1, 9) AS technique, \
         exp(-0.6931471805599453 * (max(last_seen) OVER (PARTITION BY entity_kind, entity) - last_seen) / {risk.half_life_ns}) AS kept \
         FROM {rows}))) GROUP BY entity_kind, entity, rules, technique) GROUP BY entity_kind, entity, technique) \
         GROUP BY entity_kind, entity",
    ),
};

/// A property of a hit.
macro_rules! of_hit {
    ($name:literal) => {
        concat!("h.value ->> '$.", $name, "'")
    };
}

pub(super) const INTEL_HITS: View = View {
    name: "intel_hits",
    requirement: "C14",
    about: "One row for each indicator of threat intelligence that a value of an event matched, at each time that it came.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column("indicator", of_hit!("id"), "the indicator, as STIX writes it"),
            column("indicator_kind", of_hit!("kind"), "what it names: `domain`, `url`, `ip`, `hash`, `prompt` ..."),
            column("value", of_hit!("value"), "its value, sanitised as everything is"),
            column(
                "seen",
                of_hit!("seen"),
                "what was seen, where that is something else (a name below a domain, an address of a network)",
            ),
            column("source", of_hit!("source"), "the feed"),
            column("confidence", of_hit!("confidence"), "how sure the feed is, 0 to 100"),
            column("tlp", of_hit!("tlp"), "with whom it may be shared"),
            column("label", of_hit!("label"), "what it is of"),
            column(
                "place",
                of_hit!("place"),
                "where the value stood: `client`, `destination`, `arguments`, `user`, `answer`, `tool` ...",
            ),
            column(
                "indicator_set",
                "e.attributes ->> '$.\"watchkeeper.intel.set\"'",
                "digest of the indicators that were in force",
            ),
        ],
    ],
    from: "{p}.events e, json_each(e.attributes, '$.\"watchkeeper.intel.hits\"') h",
    merge: None,
};

pub(super) const INTEL_SIGHTINGS: View = View {
    name: "intel_sightings",
    requirement: "C14",
    about: "One row for each indicator that was met: how often, since when.",
    columns: &[&[
        column("indicator", of_hit!("id"), "the indicator, as STIX writes it"),
        column("indicator_kind", of_hit!("kind"), "what it names"),
        column("value", of_hit!("value"), "its value"),
        column("source", of_hit!("source"), "the feed"),
        column("sightings", "1", "events that had it"),
        column("users", "e.user_id", "number of users in whose events it was"),
        column("first_seen", "e.time_ns", "first event"),
        column("last_seen", "e.time_ns", "newest event"),
    ]],
    from: "{p}.events e, json_each(e.attributes, '$.\"watchkeeper.intel.hits\"') h",
    merge: Some(
        "SELECT indicator, indicator_kind, value, source, sum(sightings) AS sightings, count(DISTINCT users) AS users, \
         iso_time(min(first_seen)) AS first_seen, iso_time(max(last_seen)) AS last_seen FROM {rows} \
         GROUP BY indicator, indicator_kind, value, source",
    ),
};
