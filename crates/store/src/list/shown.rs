//! Which attributes of an event are shown to whoever may not read contents.

/// Names of attributes that name or measure, and hold nothing that was said. Each by itself: beside most of them stand some that hold texts
/// (`gen_ai.agent.description`, `gen_ai.request.stop_sequences`).
const SHOWN: [&str; 44] = [
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.request.temperature",
    "gen_ai.request.top_p",
    "gen_ai.request.top_k",
    "gen_ai.request.max_tokens",
    "gen_ai.request.seed",
    "gen_ai.request.choice.count",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.presence_penalty",
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.conversation.id",
    "gen_ai.agent.id",
    "gen_ai.agent.name",
    "gen_ai.agent.version",
    "gen_ai.data_source.id",
    "gen_ai.tool.name",
    "gen_ai.tool.type",
    "gen_ai.tool.call.id",
    "gen_ai.evaluation.name",
    "gen_ai.evaluation.score.value",
    "gen_ai.evaluation.score.label",
    "mcp.method.name",
    "mcp.session.id",
    "mcp.server.name",
    "mcp.server.version",
    "mcp.protocol.version",
    "network.transport",
    "network.peer.address",
    "network.peer.port",
    "server.address",
    "server.port",
    "http.request.method",
    "http.response.status_code",
    "http.request.body.size",
    "http.response.body.size",
    "db.system.name",
    "event.action",
    "event.outcome",
];

/// Beginnings of names below which there are measures and verdicts alone.
const SHOWN_BELOW: [&str; 2] = ["gen_ai.usage.", "gen_ai.guardrail."];

/// Ours that name, measure, or say why the program or its operators did something. What is not here may hold a text: whoever sends events may
/// give them attributes with any name.
const OURS_SHOWN: [&str; 151] = [
    "watchkeeper.admin.object",
    "watchkeeper.answer.scanned_bytes",
    "watchkeeper.answer.unscanned_bytes",
    "watchkeeper.approval.source",
    "watchkeeper.approval.status",
    "watchkeeper.auth.method",
    "watchkeeper.call.id",
    "watchkeeper.cause.event_id",
    "watchkeeper.chunk_events.dropped",
    "watchkeeper.columns.bytes_cut",
    "watchkeeper.connection.call_id",
    "watchkeeper.content.bytes_cut",
    "watchkeeper.db.derived",
    "watchkeeper.detection.confidence",
    "watchkeeper.detection.events",
    "watchkeeper.detection.grade",
    "watchkeeper.detection.nist",
    "watchkeeper.detection.owasp",
    "watchkeeper.detection.rule",
    "watchkeeper.detection.rule_digest",
    "watchkeeper.detection.runbook",
    "watchkeeper.detection.severity",
    "watchkeeper.detection.suppressed.count",
    "watchkeeper.detection.suppressed.entities",
    "watchkeeper.detection.suppressed.from",
    "watchkeeper.detection.suppressed.limit",
    "watchkeeper.detection.suppressed.rule",
    "watchkeeper.detection.suppressed.scope",
    "watchkeeper.detection.technique",
    "watchkeeper.detection.techniques",
    "watchkeeper.detection.title",
    "watchkeeper.drill",
    "watchkeeper.duplicates.dropped",
    "watchkeeper.egress.key",
    "watchkeeper.egress.mode",
    "watchkeeper.erased.kind",
    "watchkeeper.erasure.items",
    "watchkeeper.erasure.reference",
    "watchkeeper.erasure.request",
    "watchkeeper.erasure.root",
    "watchkeeper.evaluation.baseline",
    "watchkeeper.evaluation.baseline_state",
    "watchkeeper.evaluation.category",
    "watchkeeper.evaluation.changed_categories",
    "watchkeeper.evaluation.changes",
    "watchkeeper.evaluation.failed",
    "watchkeeper.evaluation.item",
    "watchkeeper.evaluation.items",
    "watchkeeper.evaluation.least_change",
    "watchkeeper.evaluation.outcome",
    "watchkeeper.evaluation.p",
    "watchkeeper.evaluation.run",
    "watchkeeper.evaluation.score_before",
    "watchkeeper.evaluation.set",
    "watchkeeper.evaluation.set_digest",
    "watchkeeper.evaluation.verdict",
    "watchkeeper.events.unrecorded",
    "watchkeeper.evidence.reason",
    "watchkeeper.evidence.records",
    "watchkeeper.evidence.withheld",
    "watchkeeper.gap.bytes",
    "watchkeeper.gap.calls",
    "watchkeeper.gap.correlation_events",
    "watchkeeper.gap.correlation_groups",
    "watchkeeper.gap.count",
    "watchkeeper.gap.detections",
    "watchkeeper.gap.evidence_bytes",
    "watchkeeper.gap.flow_bytes",
    "watchkeeper.gap.flow_forgotten",
    "watchkeeper.gap.from",
    "watchkeeper.gap.from_ns",
    "watchkeeper.gap.implausible",
    "watchkeeper.gap.late",
    "watchkeeper.gap.reason",
    "watchkeeper.gap.to",
    "watchkeeper.gap.to_ns",
    "watchkeeper.gap.turn_values",
    "watchkeeper.gap.uncounted",
    "watchkeeper.gap.values",
    "watchkeeper.gateway.key",
    "watchkeeper.gateway.overhead_us",
    "watchkeeper.geo.database",
    "watchkeeper.guard.latency_us",
    "watchkeeper.guard.on_failure",
    "watchkeeper.guard.reason",
    "watchkeeper.guard.redactions",
    "watchkeeper.hold.application",
    "watchkeeper.hold.from",
    "watchkeeper.hold.reason",
    "watchkeeper.hold.session.hash",
    "watchkeeper.hold.to",
    "watchkeeper.hold.user.hash",
    "watchkeeper.intel.left_out",
    "watchkeeper.intel.set",
    "watchkeeper.items.dropped",
    "watchkeeper.join.missed",
    "watchkeeper.joined.records",
    "watchkeeper.joined.to",
    "watchkeeper.mcp.anomaly",
    "watchkeeper.mcp.counted",
    "watchkeeper.mcp.sender",
    "watchkeeper.mcp.server",
    "watchkeeper.mcp.tool.change",
    "watchkeeper.mcp.tool.hash",
    "watchkeeper.mcp.tool.hash_before",
    "watchkeeper.mcp.tool.paths",
    "watchkeeper.metric.count",
    "watchkeeper.metric.max",
    "watchkeeper.metric.min",
    "watchkeeper.metric.start_ns",
    "watchkeeper.metric.temporality",
    "watchkeeper.metric.type",
    "watchkeeper.metric.unit",
    "watchkeeper.metric.value",
    "watchkeeper.operator.asserted",
    "watchkeeper.read.reason",
    "watchkeeper.record.on_failure",
    "watchkeeper.recovery.left_out",
    "watchkeeper.recovery.officers",
    "watchkeeper.recovery.reason",
    "watchkeeper.recovery.request",
    "watchkeeper.recovery.values",
    "watchkeeper.request.logprobs",
    "watchkeeper.request.top_logprobs",
    "watchkeeper.response.category",
    "watchkeeper.response.financial_rows",
    "watchkeeper.response.logprob.mean",
    "watchkeeper.response.refused",
    "watchkeeper.retention.asked",
    "watchkeeper.retention.class",
    "watchkeeper.retention.clock",
    "watchkeeper.retention.clock.expected",
    "watchkeeper.retention.end",
    "watchkeeper.retention.first",
    "watchkeeper.retention.new",
    "watchkeeper.retention.old",
    "watchkeeper.retention.records",
    "watchkeeper.retrieval.score",
    "watchkeeper.rules.digest",
    "watchkeeper.rules.from",
    "watchkeeper.sanitizer.policy",
    "watchkeeper.stream.end",
    "watchkeeper.stream.malformed_events",
    "watchkeeper.time.source",
    "watchkeeper.tool.failed",
    "watchkeeper.triage.detections",
    "watchkeeper.unmapped.count",
    "watchkeeper.user.issuer",
    "watchkeeper.verdict",
    "watchkeeper.websocket.close_code",
    "watchkeeper.websocket.closed_by",
];

/// Longest value of an attribute that is shown: a name is shorter, and a text that somebody put there is not.
const VALUE_CHARS_MAX: usize = 256;

/// The attributes that name and measure, and the names of the others.
pub(crate) fn shown(
    attributes: serde_json::Map<String, serde_json::Value>,
) -> (serde_json::Map<String, serde_json::Value>, Vec<String>) {
    let mut withheld = Vec::new();
    let kept = attributes.into_iter().filter_map(|(name, value)| {
        if is_shown(&name, &value) {
            return Some((name, value));
        }
        withheld.push(name);
        None
    });
    let kept = kept.collect();
    (kept, withheld)
}

fn is_shown(name: &str, value: &serde_json::Value) -> bool {
    let is_short = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.chars().nth(VALUE_CHARS_MAX).is_none(),
        serde_json::Value::Object(_) | serde_json::Value::Array(_) => false,
        _ => true,
    };
    let is_plain = match value {
        serde_json::Value::Array(items) => items.iter().all(is_short),
        value => is_short(value),
    };
    let is_ours = || OURS_SHOWN.binary_search(&name).is_ok();
    let is_below = || SHOWN_BELOW.iter().any(|beginning| name.starts_with(beginning));
    is_plain && (SHOWN.contains(&name) || is_ours() || is_below())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_names_or_measures_is_shown_and_what_may_hold_texts_is_not() {
        for (name, value, is_theirs) in [
            ("gen_ai.request.model", json!("m"), true),
            ("gen_ai.usage.input_tokens", json!(3), true),
            ("gen_ai.response.finish_reasons", json!(["stop"]), true),
            ("gen_ai.agent.name", json!("x".repeat(257)), false),
            ("gen_ai.agent.description", json!("what it is told to be"), false),
            ("gen_ai.request.stop_sequences", json!(["a text"]), false),
            ("gen_ai.response.model", json!({ "deep": "text" }), false),
            ("http.response.body.text", json!("a text"), false),
            ("watchkeeper.verdict", json!("deny"), true),
            ("watchkeeper.gap.values", json!(3), true),
            ("watchkeeper.triage.detections", json!(["0190163d-8694-739b-aea5-966c26f8ad90"]), true),
            ("watchkeeper.admin.after", json!("a text"), false),
            ("watchkeeper.anything", json!("a text"), false),
            ("watchkeeper.detection.title.of.mine", json!("a text"), false),
        ] {
            assert_eq!(is_shown(name, &value), is_theirs, "{name}");
        }
    }

    /// Whoever gives an attribute a name says whether it is shown.
    #[test]
    fn each_name_of_ours_is_shown_or_withheld_on_purpose() {
        const WITHHELD: [&str; 7] = [
            "watchkeeper.admin.after",
            "watchkeeper.admin.before",
            "watchkeeper.detection.evidence",
            // A mean of others' answers in JSON, and an error in the words of whoever was asked.
            "watchkeeper.evaluation.comparison",
            "watchkeeper.evaluation.problem",
            // The value that an indicator names, and values for officers.
            "watchkeeper.intel.hits",
            "watchkeeper.recovery.sealed",
        ];
        let ours = event::attr::ALL.iter().map(event::Key::as_str).filter(|name| name.starts_with("watchkeeper."));
        for name in ours {
            assert!(OURS_SHOWN.contains(&name) != WITHHELD.contains(&name), "{name}: say whether it is shown");
        }
        assert!(OURS_SHOWN.is_sorted());
    }
}
