//! What evidence shows to whoever may not read contents: measures. A value that only looks like a number may be one that somebody said.

use super::detections::DetectionEvidence;

/// Fields of rules that measure and count, and hold nothing that was said.
const MEASURES: [&str; 33] = [
    "event.duration_ms",
    "gen_ai.evaluation.score.value",
    "gen_ai.request.choice.count",
    "gen_ai.request.max_tokens",
    "gen_ai.request.temperature",
    "gen_ai.request.top_k",
    "gen_ai.request.top_p",
    "gen_ai.response.time_to_first_chunk",
    "http.request.body.size",
    "http.response.body.size",
    "http.response.status_code",
    "watchkeeper.content.bytes_cut",
    "watchkeeper.conversation.persona.signs",
    "watchkeeper.conversation.persona.turns",
    "watchkeeper.conversation.pressure",
    "watchkeeper.conversation.rephrased",
    "watchkeeper.detection.confidence",
    "watchkeeper.evaluation.failed",
    "watchkeeper.evaluation.items",
    "watchkeeper.evaluation.least_change",
    "watchkeeper.evaluation.p",
    "watchkeeper.evaluation.score_before",
    "watchkeeper.flow.destination.new_share",
    "watchkeeper.leak.prompt.chars",
    "watchkeeper.leak.prompt.share",
    "watchkeeper.request.logprobs",
    "watchkeeper.request.top_logprobs",
    "watchkeeper.response.financial_rows",
    "watchkeeper.response.logprob.mean",
    "watchkeeper.retrieval.score",
    "watchkeeper.score",
    "watchkeeper.turn.rephrased",
    "watchkeeper.unmapped.count",
];

/// Beginnings of names below which there are measures and counts alone.
const MEASURES_BELOW: [&str; 5] =
    ["gen_ai.usage.", "watchkeeper.gap.", "watchkeeper.intel.confidence", "watchkeeper.sanitized.", "watchkeeper.score."];

/// What is measured of a statement about behaviour. What is new (`what`) is a name.
const OF_INSIGHTS: [&str; 4] = [".observed", ".expected", ".support", ".peers"];

/// Evidence without what it quotes: of its values those of measures stay, as far as they are numbers.
#[must_use]
pub fn without_values(evidence: Vec<DetectionEvidence>) -> Vec<DetectionEvidence> {
    let shown = |one: &DetectionEvidence| {
        let is_measure = one.field.as_deref().is_some_and(is_measure);
        one.value.clone().filter(|value| is_measure && value.trim_matches('"').parse::<f64>().is_ok())
    };
    evidence.into_iter().map(|one| DetectionEvidence { value: shown(&one), ..one }).collect()
}

fn is_measure(field: &str) -> bool {
    MEASURES.contains(&field)
        || MEASURES_BELOW.iter().any(|beginning| field.starts_with(beginning))
        || (field.starts_with("watchkeeper.insight.") && OF_INSIGHTS.iter().any(|end| field.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_not_shown_because_it_is_a_number() {
        for (field, value, is_shown) in [
            ("watchkeeper.score.tool", "0.93", true),
            ("watchkeeper.insight.user_volume_spike.observed", "120", true),
            ("gen_ai.usage.input_tokens", "\"12000\"", true),
            ("watchkeeper.insight.user_new_place.what", "49", false),
            ("watchkeeper.score.tool", "a text", false),
            ("watchkeeper.text.user", "4711", false),
            ("gen_ai.tool.call.arguments", "4539578763621486", false),
            ("session.id", "17", false),
            ("user.id", "4711", false),
            ("unmapped.pin", "1234", false),
            ("gen_ai.usages", "1", false),
        ] {
            let of = |field: Option<&str>| DetectionEvidence {
                what: "match".to_owned(),
                field: field.map(str::to_owned),
                value: Some(value.to_owned()),
                ..DetectionEvidence::default()
            };
            let found = without_values(vec![of(Some(field)), of(None)]);
            assert_eq!((found[0].value.is_some(), &found[1].value), (is_shown, &None), "{field} {value}");
        }
        assert!(MEASURES.is_sorted() && MEASURES_BELOW.is_sorted());
    }
}
