//! `agent_actions`: one row per tool call, whoever tells of it, in whatever order, and nothing hidden.

use event::{Direction, Kind, Part, Phase, Principal, Role, Source, SourcePath, Status, Trace, attr};

use crate::fixture::{Ev, With, call, check, event, gateway, index_all, known, old_call, piece, result, said};

const ROWS: &str = "SELECT call_id, tool, parameters, result, status, result_joined_by FROM agent_actions ORDER BY seq, time";

fn turn(seconds: u64, pieces: Vec<event::Piece<String>>) -> Ev {
    known(Kind::ModelCall, seconds).with(|event| event.pieces = pieces)
}

fn span(seconds: u64, id: &str, tool: &str, arguments: &str, outcome: &str) -> Ev {
    known(Kind::ToolCall, seconds).with(|event| {
        if !id.is_empty() {
            event.set(attr::GEN_AI_TOOL_CALL_ID, id);
        }
        event.set(attr::GEN_AI_TOOL_NAME, tool);
        event.duration_ns = Some(2_000_000);
        event.status = Status::Ok;
        event.pieces = vec![
            piece(Direction::Input, Role::Assistant, Part::ToolCall, arguments),
            piece(Direction::Output, Role::Tool, Part::ToolResult, outcome),
        ];
    })
}

#[test]
fn a_call_and_its_result_of_a_later_turn_are_one_row() {
    let store = index_all([
        turn(0, vec![said("q"), call("c1", "read", r#"{"f":1}"#), call("c2", "list", "{}")]),
        turn(
            1,
            vec![old_call("c1", "read", r#"{"f":1}"#), old_call("c2", "list", "{}"), result("c1", "one"), {
                let mut failed = result("c2", "boom");
                failed.meta.name = Some("list_files".to_owned());
                failed.meta.failed = Some(true);
                failed
            }],
        ),
        // history repeats calls and results
        turn(2, vec![old_call("c1", "read", r#"{"f":1}"#), crate::fixture::old(result("c1", "one")), said("thanks")]),
    ]);
    check(&store, ROWS, &[r#"c1|read|{"f":1}|one|ok|session"#, "c2|list|{}|boom|error|session"]);
    check(
        &store,
        "SELECT session_id, user_id, agent, agent_version, model, arguments = parameters, seen_in_output, seen_running, seen_result \
         FROM agent_actions WHERE call_id = 'c1'",
        &["s1|ada|buyer|2|gpt-x|1|1|0|1"],
    );
}

#[test]
fn spans_hooks_and_outputs_fill_one_row_in_any_order() {
    let output = || turn(0, vec![said("q"), call("c1", "read", r#"{"a":1,"b":2}"#)]);
    // the same arguments, written otherwise
    let ran = || span(1, "c1", "read", r#"{ "b": 2, "a": 1 }"#, "one");
    let back = || turn(2, vec![result("c1", "one, as the model saw it")]);
    let decided = || {
        known(Kind::Guardrail, 1).with(|event| {
            event.set(attr::GEN_AI_TOOL_CALL_ID, "c1");
            event.set(attr::GEN_AI_TOOL_NAME, "read");
            event.set(attr::APPROVAL_STATUS, "approved");
            event.set(attr::APPROVAL_SOURCE, "user");
        })
    };
    let orders: [Vec<Ev>; 4] = [
        vec![output(), decided(), ran(), back()],
        vec![back(), ran(), decided(), output()],
        vec![ran(), output(), back(), decided()],
        vec![decided(), back(), output(), ran()],
    ];
    for order in orders {
        let store = index_all(order);
        check(
            &store,
            "SELECT time, tool, status, approval_status, approval_source, duration_ms, seen_in_output + seen_running + seen_result \
             FROM agent_actions",
            &["2025-11-20T12:00:00.000000Z|read|ok|approved|user|2|3"],
        );
        check(&store, "SELECT result LIKE 'one%' FROM agent_actions", &["1"]);
    }
}

#[test]
fn a_span_without_an_id_joins_the_call_with_its_arguments() {
    for reverse in [false, true] {
        let mut events = vec![turn(0, vec![call("c1", "read", r#"{"f":1}"#)]), span(1, "", "read", r#"{"f": 1}"#, "one")];
        if reverse {
            events.reverse();
        }
        check(
            &index_all(events),
            ROWS,
            &[r#"c1|read|{"f":1}|one|ok|event"#]
                .map(|row| if reverse { row.replace(r#"{"f":1}"#, r#"{"f": 1}"#) } else { row.to_owned() })
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
    }
    // other arguments are another call
    let store = index_all([turn(0, vec![call("c1", "read", r#"{"f":1}"#)]), span(1, "", "read", r#"{"f":2}"#, "two")]);
    check(&store, "SELECT count(*) FROM agent_actions", &["2"]);
}

#[test]
fn an_id_that_is_used_again_hides_nothing() {
    let store = index_all([
        turn(0, vec![call("c1", "read", r#"{"f":"notes"}"#)]),
        turn(1, vec![result("c1", "notes"), call("c1", "read", r#"{"f":"secrets"}"#)]),
        turn(2, vec![result("c1", "secret things"), call("c1", "delete", r#"{"f":"secrets"}"#)]),
        // the very same call once more
        turn(3, vec![result("c1", "gone"), call("c1", "delete", r#"{"f":"secrets"}"#)]),
        turn(4, vec![result("c1", "nothing there")]),
        // twice in one answer
        turn(5, vec![call("c9", "pay", "{}"), call("c9", "pay", "{}")]),
    ]);
    check(
        &store,
        ROWS,
        &[
            r#"c1|read|{"f":"notes"}|notes|ok|session"#,
            r#"c1|read|{"f":"secrets"}|secret things|ok|session"#,
            r#"c1|delete|{"f":"secrets"}|gone|ok|session"#,
            r#"c1|delete|{"f":"secrets"}|nothing there|ok|session"#,
            "c9|pay|{}|-|requested|-",
            "c9|pay|{}|-|requested|-",
        ],
    );
}

#[test]
fn the_same_id_in_another_session_is_another_call() {
    let other = |event: &mut Ev| {
        event.session = Some("s2".to_owned());
        event.trace = None;
    };
    let store = index_all([
        turn(0, vec![call("call_0", "read", "{}")]),
        turn(1, vec![call("call_0", "read", "{}")]).with(other),
        turn(2, vec![result("call_0", "second")]).with(other),
        turn(3, vec![result("call_0", "first")]),
    ]);
    check(&store, "SELECT session_id, result FROM agent_actions ORDER BY time", &["s1|first", "s2|second"]);
}

#[test]
fn another_application_cannot_plant_or_hide_a_result() {
    const BY: &str = "SELECT application, user_id, tool, result, error FROM agent_actions ORDER BY time";
    let planted = || turn(1, vec![result("c1", "planted")]);
    let real = || turn(2, vec![result("c1", "real")]);
    let store = index_all([
        turn(0, vec![call("c1", "read", "{}")]),
        planted().with(|event| event.identity.application = Some(Principal::asserted("evil"))),
        real(),
    ]);
    check(&store, BY, &["shop|ada|read|real|-", "evil|ada|-|planted|-"]);
    // nor another user of the application
    let store = index_all([
        turn(0, vec![call("c1", "read", "{}")]),
        planted().with(|event| event.identity.user = Some(Principal::asserted("eve"))),
        real(),
    ]);
    check(&store, BY, &["shop|ada|read|real|-", "shop|eve|-|planted|-"]);
    // where nobody says which user it is, both results stand, each once
    let store = index_all([
        turn(0, vec![call("c1", "read", "{}")]),
        planted().with(|event| event.identity.user = None),
        real(),
        turn(3, vec![result("c1", "real"), result("c1", "planted")]),
        // a call that uses the id again is none of the conflict
        turn(4, vec![call("c1", "write", "{}")]),
    ]);
    check(&store, BY, &["shop|ada|read|planted|-", "shop|ada|-|real|conflicting result", "shop|ada|write|-|-"]);
}

#[test]
fn two_instrumentations_of_one_call_make_one_row() {
    let first = turn(0, vec![call("c1", "read", "{}")]).with(|event| event.duration_ns = Some(1_000_000_000));
    let second = turn(0, vec![call("c1", "read", "{}")]).with(|event| {
        event.source = Source::new(SourcePath::OtlpHttp, event::Key::of("openinference"));
        event.duration_ns = Some(1_000_000_000);
    });
    check(&index_all([first, second]), "SELECT count(*) FROM agent_actions", &["1"]);
}

#[test]
fn the_gateway_joins_calls_without_a_session() {
    let store = index_all([
        gateway(Phase::Request, 0, "x1").with(|event| event.pieces = vec![said("q")]),
        gateway(Phase::Response, 1, "x1").with(|event| event.pieces = vec![call("call_abc", "read", "{}")]),
        gateway(Phase::Request, 2, "x2")
            .with(|event| event.pieces = vec![old_call("call_abc", "read", "{}"), result("call_abc", "one")]),
        // another application that uses the id
        gateway(Phase::Response, 3, "x3").with(|event| {
            event.identity.application = Some(Principal::asserted("other"));
            event.pieces = vec![call("call_abc", "read", "{}")];
        }),
    ]);
    check(
        &store,
        "SELECT application, user_id, result, status, result_joined_by FROM agent_actions ORDER BY time",
        &["shop|ada|one|ok|application", "other|ada|-|requested|-"],
    );
}

#[test]
fn calls_without_ids_have_a_row_for_each_part_and_take_results_in_order() {
    let store = index_all([
        turn(0, vec![call("", "read", r#"{"f":1}"#), call("", "read", r#"{"f":2}"#)]),
        turn(1, vec![named("read", "one"), named("read", "two")]),
        // history of calls without ids makes nothing new
        turn(2, vec![old_call("", "read", r#"{"f":1}"#), crate::fixture::old(named("read", "one")), said("thanks")]),
    ]);
    check(&store, ROWS, &[r#"-|read|{"f":1}|one|ok|session"#, r#"-|read|{"f":2}|two|ok|session"#]);
}

fn named(tool: &str, text: &str) -> event::Piece<String> {
    let mut piece = result("", text);
    piece.meta.name = Some(tool.to_owned());
    piece
}

#[test]
fn phases_of_a_tool_call_are_joined_by_their_exchange() {
    let phase = |phase: Phase, seconds: u64, exchange: &str| {
        event(Kind::ToolCall, seconds).with(|event| {
            event.phase = phase;
            event.trace = Some(Trace {
                trace_id: "0af7651916cd43dd8448eb211c80319d".parse().unwrap(),
                span_id: None,
                parent_span_id: None,
            });
            event.set(attr::CALL_ID, exchange);
            event.set(attr::GEN_AI_TOOL_NAME, "read");
        })
    };
    let ask = |seconds, exchange| {
        phase(Phase::Request, seconds, exchange)
            .with(|event| event.pieces = vec![piece(Direction::Input, Role::Assistant, Part::ToolCall, "{}")])
    };
    let end = |seconds, exchange, text: &str| {
        phase(Phase::Response, seconds, exchange).with(|event| {
            event.status = Status::Ok;
            event.pieces = vec![piece(Direction::Output, Role::Tool, Part::ToolResult, text)];
        })
    };
    let store = index_all([ask(0, "m1"), ask(1, "m2"), end(2, "m2", "two"), end(3, "m1", "one")]);
    check(&store, "SELECT result, status FROM agent_actions ORDER BY time", &["one|ok", "two|ok"]);
}

#[test]
fn a_denied_call_says_so_and_a_lone_result_is_kept() {
    let store = index_all([
        turn(0, vec![call("c1", "rm", "{}")]),
        known(Kind::ToolCall, 1).with(|event| {
            event.set(attr::GEN_AI_TOOL_CALL_ID, "c1");
            event.set(attr::GEN_AI_TOOL_NAME, "rm");
            event.set(attr::APPROVAL_STATUS, "denied");
        }),
        // its call was made before anyone listened
        turn(2, vec![result("c0", "something")]),
    ]);
    check(
        &store,
        "SELECT call_id, tool, status, result FROM agent_actions ORDER BY time",
        &["c1|rm|denied|-", "c0|-|ok|something"],
    );
}

#[test]
fn a_result_after_midnight_finds_its_call() {
    const MIDNIGHT: u64 = 12 * 3_600;
    let store = index_all([
        turn(MIDNIGHT - 1, vec![call("c1", "read", "{}")]),
        turn(MIDNIGHT + 1, vec![old_call("c1", "read", "{}"), result("c1", "late")]),
    ]);
    assert_eq!(store.reader.counts().unwrap().partitions, 2);
    check(&store, ROWS, &["c1|read|{}|late|ok|session"]);
}
