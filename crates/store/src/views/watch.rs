//! What Watchkeeper itself says: detections, evaluations, responses, gaps.

use super::{OUTCOME, View, WHEN, WHERE, WHO, column};

pub(super) const DETECTIONS: View = View {
    name: "detections",
    requirement: "C15",
    about: "One row for each detection.",
    columns: &[&[
        column("time", "e.time", "when what was detected happened"),
        column("time_ns", "e.time_ns", "the same, in nanoseconds since 1970"),
        column("detection_id", "e.id", "the detection"),
        column("event_id", "e.id", "the same: a detection is an event"),
        column("seq", "e.seq", "its place in the journal"),
        column("rule", "e.attributes ->> '$.\"watchkeeper.detection.rule\"'", "rule that fired"),
        column("title", "coalesce(e.attributes ->> '$.\"watchkeeper.detection.title\"', e.name)", "the rule's title"),
        column("technique", "e.attributes ->> '$.\"watchkeeper.detection.technique\"'", "MITRE ATLAS technique"),
        column(
            "techniques",
            "coalesce(e.attributes ->> '$.\"watchkeeper.detection.techniques\"', \
             CASE WHEN e.attributes ->> '$.\"watchkeeper.detection.technique\"' IS NOT NULL \
             THEN json_array(e.attributes ->> '$.\"watchkeeper.detection.technique\"') END)",
            "every ATLAS technique that it is evidence of (JSON list)",
        ),
        column("technique_name", "technique_name(e.attributes ->> '$.\"watchkeeper.detection.technique\"')", "its name"),
        column(
            "severity",
            "e.attributes ->> '$.\"watchkeeper.detection.severity\"'",
            "`informational`, `low`, `medium`, `high` or `critical`",
        ),
        column("confidence", "e.attributes ->> '$.\"watchkeeper.detection.confidence\"'", "how sure, 0 to 1"),
        column(
            "grade",
            "e.attributes ->> '$.\"watchkeeper.detection.grade\"'",
            "of an injection: `seen`, `acted_on` or `reached`",
        ),
        column("session_id", "e.session_id", "session or conversation"),
        column("trace_id", "e.trace_id", "W3C trace"),
        column("user_id", "e.user_id", "end user"),
        column("application", "e.application", "application or service"),
        column("agent", "e.agent", "agent that acted"),
        column("evidence", "e.attributes ->> '$.\"watchkeeper.detection.evidence\"'", "values that show it (text or JSON)"),
        column(
            "events",
            "e.attributes ->> '$.\"watchkeeper.detection.events\"'",
            "ids of the events that it rests on (JSON list)",
        ),
        column("rule_digest", "e.attributes ->> '$.\"watchkeeper.detection.rule_digest\"'", "digest of the rule's text"),
        column(
            "owasp_llm",
            "CASE WHEN e.attributes ->> '$.\"watchkeeper.detection.owasp\"' IS NULL \
             THEN owasp_llm(e.attributes ->> '$.\"watchkeeper.detection.technique\"') \
             ELSE (SELECT group_concat(value, ', ') FROM json_each(e.attributes ->> '$.\"watchkeeper.detection.owasp\"') \
             WHERE value LIKE 'LLM%') END",
            "OWASP Top 10 for LLM Applications 2025",
        ),
        column(
            "owasp_agentic",
            "CASE WHEN e.attributes ->> '$.\"watchkeeper.detection.owasp\"' IS NULL \
             THEN owasp_agentic(e.attributes ->> '$.\"watchkeeper.detection.technique\"') \
             ELSE (SELECT group_concat(value, ', ') FROM json_each(e.attributes ->> '$.\"watchkeeper.detection.owasp\"') \
             WHERE value LIKE 'ASI%') END",
            "OWASP Top 10 for Agentic Applications 2026",
        ),
        column(
            "nist",
            "CASE WHEN e.attributes ->> '$.\"watchkeeper.detection.nist\"' IS NULL \
             THEN nist(e.attributes ->> '$.\"watchkeeper.detection.technique\"') \
             ELSE (SELECT group_concat(value, ', ') FROM json_each(e.attributes ->> '$.\"watchkeeper.detection.nist\"')) END",
            "NIST AI RMF and AI 600-1",
        ),
        column(
            "runbook",
            "e.attributes ->> '$.\"watchkeeper.detection.runbook\"'",
            "what to do: `watchkeeper rules runbook NAME` shows it",
        ),
    ]],
    from: "{p}.events e WHERE e.kind = 'detection'",
    merge: None,
};

pub(super) const SUPPRESSED_DETECTIONS: View = View {
    name: "suppressed_detections",
    requirement: "E1",
    about: "One row for each alert budget that was spent in an hour: what a rule, or a rule about one entity, would have told beyond it.",
    columns: &[&[
        column("time", "max(e.time)", "when the last of them that told a number happened"),
        column("rule", "e.attributes ->> '$.\"watchkeeper.detection.suppressed.rule\"'", "the rule"),
        column("title", "max(e.attributes ->> '$.\"watchkeeper.detection.title\"')", "what is told of it"),
        column("severity", "max(e.attributes ->> '$.\"watchkeeper.detection.severity\"')", "severity of the rule"),
        column(
            "scope",
            "e.attributes ->> '$.\"watchkeeper.detection.suppressed.scope\"'",
            "whose budget: `rule` or `entity`; `rule_grave` or `entity_grave`, the ceilings of what is grave",
        ),
        column("entity", "e.attributes ->> '$.\"watchkeeper.detection.suppressed.entity\"'", "the entity, of its budget"),
        column("from_time", "e.attributes ->> '$.\"watchkeeper.detection.suppressed.from\"'", "beginning of the hour"),
        column(
            "told",
            "max(e.attributes ->> '$.\"watchkeeper.detection.suppressed.limit\"')",
            "detections that the budget has room for",
        ),
        column(
            "suppressed",
            "max(e.attributes ->> '$.\"watchkeeper.detection.suppressed.count\"')",
            "detections that were not, as far as told: the number is told when it doubles and when the hour is over and the rule speaks again",
        ),
        column("told_by", "count(*)", "detections of `alert-budget` that told it"),
        column(
            "entities",
            "max(e.attributes ->> '$.\"watchkeeper.detection.suppressed.entities\"')",
            "entities that were kept silent about, of a rule's budget",
        ),
    ]],
    from: "{p}.events e WHERE e.kind = 'detection' AND e.attributes ->> '$.\"watchkeeper.detection.rule\"' = 'alert-budget' \
           GROUP BY 2, 5, 6, 7",
    merge: Some(
        "SELECT max(time) AS time, rule, max(title) AS title, max(severity) AS severity, scope, entity, from_time, max(told) AS told, \
         max(suppressed) AS suppressed, sum(told_by) AS told_by, max(entities) AS entities FROM {rows} GROUP BY rule, scope, entity, from_time",
    ),
};

pub(super) const EVALUATIONS: View = View {
    name: "evaluations",
    requirement: "C13",
    about: "One row for each result of an evaluation of a model: of Watchkeeper's own (`watchkeeper eval model`, `[[evaluate]]`) one for each \
            item of the set, and one for the run (`scope` is `run`), which has the outcome and the comparison with the baseline; and those that \
            instrumentations report.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column("model", "coalesce(e.response_model, e.request_model)", "the model that answered, or else the one asked for"),
            column("request_model", "e.request_model", "the model that was asked for"),
            column("endpoint", "e.server_address", "the host that was asked"),
            column(
                "scope",
                "CASE WHEN e.attributes ->> '$.\"watchkeeper.evaluation.outcome\"' IS NOT NULL THEN 'run' ELSE 'item' END",
                "`run` or `item`",
            ),
            column(
                "name",
                "coalesce(e.attributes ->> '$.\"gen_ai.evaluation.name\"', e.name)",
                "the evaluation, or what it measures",
            ),
            column("run", "e.attributes ->> '$.\"watchkeeper.evaluation.run\"'", "ties the rows of one run"),
            column("evaluation_set", "e.attributes ->> '$.\"watchkeeper.evaluation.set\"'", "the benchmark set"),
            column("item", "e.attributes ->> '$.\"watchkeeper.evaluation.item\"'", "the item of the set"),
            column("category", "e.attributes ->> '$.\"watchkeeper.evaluation.category\"'", "the item's category"),
            column(
                "score",
                "e.attributes ->> '$.\"gen_ai.evaluation.score.value\"'",
                "the score; of Watchkeeper's own 0 to 1, of a run the mean over items",
            ),
            column(
                "label",
                "e.attributes ->> '$.\"gen_ai.evaluation.score.label\"'",
                "the score in a word: `pass`, `fail`, `error` ...",
            ),
            column(
                "outcome",
                "e.attributes ->> '$.\"watchkeeper.evaluation.outcome\"'",
                "of a run: `not_compared`, `no_change`, `changed` or `failed`",
            ),
            column(
                "verdict",
                "e.attributes ->> '$.\"watchkeeper.evaluation.verdict\"'",
                "of a run: `no_change`, `drift`, `tampering_or_swap` (JSON list)",
            ),
            column(
                "changes",
                "e.attributes ->> '$.\"watchkeeper.evaluation.changes\"'",
                "of a run: `score`, `model_name`, `system_fingerprint`, `input_tokens`, `answers` (JSON list)",
            ),
            column(
                "score_before",
                "e.attributes ->> '$.\"watchkeeper.evaluation.score_before\"'",
                "of a run: the score of the baseline",
            ),
            column(
                "p",
                "e.attributes ->> '$.\"watchkeeper.evaluation.p\"'",
                "of a run: the probability of such a change of the score where there is none, corrected for all that is tested",
            ),
            column(
                "least_change",
                "e.attributes ->> '$.\"watchkeeper.evaluation.least_change\"'",
                "of a run: the least drop of the score that it would show in four of five cases",
            ),
            column("items", "e.attributes ->> '$.\"watchkeeper.evaluation.items\"'", "of a run: items with a score"),
            column("failed", "e.attributes ->> '$.\"watchkeeper.evaluation.failed\"'", "of a run: items without one"),
            column("baseline", "e.attributes ->> '$.\"watchkeeper.evaluation.baseline\"'", "of a run: SHA-256 of the baseline"),
            column(
                "baseline_state",
                "e.attributes ->> '$.\"watchkeeper.evaluation.baseline_state\"'",
                "of a run on schedule: how the file of the baseline was found: `accepted`, `first`, or `missing`, `changed`, `lost`",
            ),
            column(
                "problem",
                "e.attributes ->> '$.\"watchkeeper.evaluation.problem\"'",
                "of a run: why it failed, or what is missing of it",
            ),
            column("attributes", "e.attributes", "everything that is known of it (JSON)"),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'evaluation'",
    merge: None,
};

pub(super) const RESPONSE_ACTIONS: View = View {
    name: "response_actions",
    requirement: "E4",
    about: "One row for each thing that Watchkeeper did in response.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column("action", "coalesce(e.attributes ->> '$.\"event.action\"', e.name)", "what was done"),
            column("outcome", "e.attributes ->> '$.\"event.outcome\"'", "`success`, `failure` or `unknown`"),
            column("attributes", "e.attributes", "everything that is known of it (JSON)"),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'response_action'",
    merge: None,
};

pub(super) const GAPS: View = View {
    name: "gaps",
    requirement: "I4",
    about: "One row for each known hole in the record: drops, torn tails, silence, bytes that were not inspected.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column("reason", "coalesce(e.attributes ->> '$.\"watchkeeper.gap.reason\"', e.name)", "why something is missing"),
            column("count", "e.attributes ->> '$.\"watchkeeper.gap.count\"'", "how much is missing"),
            column("name", "e.name", "name of the event"),
            column("attributes", "e.attributes", "everything that is known of it (JSON)"),
        ],
    ],
    from: "{p}.events e WHERE e.kind = 'gap'",
    merge: None,
};

pub(super) const ERASED_RECORDS: View = View {
    name: "erased_records",
    requirement: "",
    about: "One row for each record whose event was erased: what its leaf in the ledger still says. It has no id, and stands in no other \
            view.",
    columns: &[&[
        column("time", "e.time", "when it began, by the source's clock"),
        column("time_ns", "e.time_ns", "the same, in nanoseconds since 1970"),
        column("seq", "e.seq", "its place in the journal, and of its leaf in the ledger"),
        column("observed", "iso_time(e.observed_ns)", "when Watchkeeper received it, by its own clock"),
        column("kind", "e.kind", "what kind of event it was"),
    ]],
    from: "{p}.erased e",
    merge: None,
};
