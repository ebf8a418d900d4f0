//! The causal graph: which text led to which call, what the call carried, where it went.
//!
//! It is read from the evidence of recorded detections, which are events themselves: so it is there as soon as they are, a rebuilt
//! store has the same one, and what erasure takes from a detection it takes from here.

use super::{View, column};

/// The evidence of a detection.
macro_rules! evidence {
    () => {
        "'$.\"watchkeeper.detection.evidence\"'"
    };
}

/// A field of the step `a` or `b`. Whoever else sends a detection may send any evidence: what is no list of objects has none.
macro_rules! of {
    ($step:literal, $field:literal) => {
        concat!("(e.attributes ->> (", evidence!(), " || '[' || ", $step, ".key || '].", $field, "'))")
    };
}

/// All values of the evidence of one kind, one on each line. A detection has at most 64 pieces of evidence; what somebody else says is one
/// may have more, and must not keep readers waiting.
macro_rules! all {
    ($what:literal) => {
        concat!(
            "(SELECT group_concat(",
            of!("s", "value"),
            ", char(10)) FROM json_each(e.attributes, ",
            evidence!(),
            ") s WHERE s.key < 64 AND ",
            of!("s", "what"),
            " = '",
            $what,
            "')"
        )
    };
}

pub(crate) const FLOW_EDGES: View = View {
    name: "flow_edges",
    requirement: "B2",
    about: "One row for each edge of the causal graph that content flow draws, from the evidence of its detections. `told`: the text at \
            its beginning asked for the call or the answer at its end. `kept`: the call wrote the text down; `recalled`: it came back \
            from there. `carried`: the call holds words of that untrusted text. `went_to`: where the call went, which is no event.",
    columns: &[&[
        column("time", "e.time", "when the call or the answer happened"),
        column("time_ns", "e.time_ns", "the same, in nanoseconds since 1970"),
        column("detection_id", "e.id", "the detection whose evidence it is"),
        column("rule", "e.attributes ->> '$.\"watchkeeper.detection.rule\"'", "rule that fired"),
        column(
            "grade",
            "e.attributes ->> '$.\"watchkeeper.detection.grade\"'",
            "how far it got: `seen`, `acted_on` or `reached`",
        ),
        column("confidence", "e.attributes ->> '$.\"watchkeeper.detection.confidence\"'", "how sure, 0 to 1"),
        column(
            "edge",
            concat!(
                "CASE WHEN ",
                of!("b", "what"),
                " = 'destination' THEN 'went_to' WHEN ",
                of!("a", "what"),
                " = 'data' THEN 'carried' WHEN ",
                of!("b", "what"),
                " IN ('call', 'answer') THEN 'told' ELSE ",
                of!("b", "what"),
                " END"
            ),
            "`told`, `kept`, `recalled`, `carried` or `went_to`",
        ),
        column("from_event", of!("a", "event"), "the event at its beginning"),
        column("from_seq", of!("a", "seq"), "that event's place in the journal"),
        column("from_content", of!("a", "content"), "the text there"),
        column("from_channel", of!("a", "channel"), "where that text entered"),
        column("from_start", of!("a", "start"), "first code point of what counts in that text"),
        column("from_end", of!("a", "end"), "one past its last code point"),
        column("from_value", of!("a", "value"), "what it says, or the beginning of it"),
        column("to_event", of!("b", "event"), "the event at its end; NULL for a destination"),
        column("to_seq", of!("b", "seq"), "that event's place in the journal"),
        column("to_content", of!("b", "content"), "the text there: a call's arguments, an answer"),
        column(
            "tool",
            concat!(
                "CASE WHEN ",
                of!("b", "what"),
                " IN ('call', 'kept') THEN ",
                of!("b", "field"),
                " WHEN ",
                of!("b", "what"),
                " = 'destination' THEN ",
                of!("a", "field"),
                " END"
            ),
            "tool of the call",
        ),
        column(
            "destination",
            concat!("CASE WHEN ", of!("b", "what"), " = 'destination' THEN ", of!("b", "value"), " END"),
            "where the call went",
        ),
        column(
            "destination_kind",
            concat!("CASE WHEN ", of!("b", "what"), " = 'destination' THEN ", of!("b", "field"), " END"),
            "what that is: `host`, `email`, `account` ...",
        ),
        column(
            "first_seen",
            concat!("CASE WHEN ", of!("b", "what"), " = 'destination' THEN ", of!("b", "pattern"), " IS NOT NULL END"),
            "1 where the agent had never used the destination before",
        ),
        column(
            "shared_value",
            concat!(
                "CASE WHEN ",
                of!("a", "what"),
                " = 'data' THEN ",
                of!("a", "value"),
                " WHEN ",
                of!("b", "what"),
                " IN ('call', 'answer') THEN ",
                all!("shared_value"),
                " END"
            ),
            "what both have, one on each line",
        ),
        column(
            "ground",
            concat!(
                "CASE WHEN ",
                of!("b", "what"),
                " = 'call' AND ",
                of!("a", "what"),
                " <> 'data' THEN ",
                all!("ground"),
                " END"
            ),
            "why the call is taken to follow the text: `address`, `assembled`, `value`, `unasked`, `elsewhere`, `instructed`",
        ),
        column("session_id", "e.session_id", "session or conversation"),
        column("trace_id", "e.trace_id", "W3C trace"),
        column("user_id", "e.user_id", "end user"),
        column("application", "e.application", "application or service"),
        column("agent", "e.agent", "agent that acted"),
    ]],
    from: concat!(
        "{p}.events e, json_each(e.attributes, ",
        evidence!(),
        ") a, json_each(e.attributes, ",
        evidence!(),
        ") b WHERE e.kind = 'detection' AND a.key < 64 AND b.key < 64 AND CASE WHEN typeof(a.key) <> 'integer' OR typeof(b.key) <> 'integer' \
         THEN 0 WHEN ",
        of!("a", "what"),
        " IN ('source', 'kept', 'recalled') THEN b.key = a.key + 1 AND ",
        of!("b", "what"),
        " IN ('kept', 'recalled', 'call', 'answer') WHEN ",
        of!("a", "what"),
        " = 'data' THEN ",
        of!("b", "what"),
        " IN ('call', 'answer') WHEN ",
        of!("a", "what"),
        " = 'call' THEN ",
        of!("b", "what"),
        " = 'destination' ELSE 0 END"
    ),
    merge: None,
};
