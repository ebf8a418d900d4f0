//! Search, trace, tail, contents; beside a writer.

use std::sync::atomic::{AtomicBool, Ordering};

use event::{Kind, Risk, SpanId, Trace, attr};
use journal::Seq;
use store::{QueryError, QueryLimits, Reader, Store};

use crate::fixture::{
    Ev, Journal, With, answer, call, data_keys, event, finding, index_all, indexed, known, old, old_call, result, rows, said,
};

#[test]
fn search_finds_words_beginnings_phrases_and_pieces_of_words() {
    let store = index_all([
        known(Kind::ModelCall, 0).with(|event| event.pieces = vec![said("Please transfer the MONEY to Zürich"), answer("done")]),
        known(Kind::ModelCall, 1)
            .with(|event| event.pieces = vec![old(said("Please transfer the MONEY to Zürich")), said("tag zzexfil-700077 here")]),
        known(Kind::ModelCall, 2)
            .with(|event| event.pieces = vec![said(&format!("{} money to transfer {}", "pad ".repeat(500), "pad ".repeat(500)))]),
    ]);
    for (text, seqs) in [
        ("money", &[2, 0][..]),
        ("transfer money", &[2, 0]),
        ("trans mon", &[2, 0]),
        ("\"transfer the money\"", &[0]),
        ("zurich", &[0]),
        ("exfil-7000", &[1]),
        ("xfil", &[1]),
        ("nowhere", &[]),
        ("!!", &[]),
    ] {
        let found: Vec<u64> = store.reader.search(text, 10).unwrap().iter().map(|hit| hit.seq.0).collect();
        assert_eq!(found, seqs, "{text}");
    }
    assert_eq!(store.reader.search("money", 1).unwrap().len(), 1);
    let hit = &store.reader.search("money", 10).unwrap()[0];
    assert!(
        hit.snippet.contains("money to transfer") && hit.snippet.starts_with('…') && hit.snippet.len() < 400,
        "{}",
        hit.snippet
    );
    assert_eq!(
        (hit.role.as_str(), hit.part.as_str(), hit.kind.as_str(), hit.session_id.as_deref()),
        ("user", "text", "model_call", Some("s1"))
    );
    let text = store.reader.content(&hit.content_id.parse().unwrap()).unwrap().unwrap();
    assert!(text.contains("money to transfer"));
    assert_eq!(store.reader.content(&"11".repeat(32).parse().unwrap()).unwrap(), None);
}

fn span(seconds: u64, id: u8, parent: Option<u8>) -> Ev {
    let span = |id: u8| SpanId::from_bytes([id; 8]).unwrap();
    known(Kind::AgentStep, seconds).with(|event| {
        event.name = format!("step {id}");
        event.trace = Some(Trace {
            trace_id: "0af7651916cd43dd8448eb211c80319c".parse().unwrap(),
            span_id: Some(span(id)),
            parent_span_id: parent.map(span),
        });
    })
}

#[test]
fn a_trace_is_a_tree_with_texts_actions_and_detections() {
    let mut journal = Journal::new();
    journal.push(span(5, 2, Some(1)));
    journal.push(span(0, 1, None));
    journal.push(span(3, 3, Some(1)).with(|event| {
        event.kind = Kind::ModelCall;
        event.pieces = vec![old(said("before")), said("look it up"), call("c1", "read", "{}")];
        event.pieces[1].findings = vec![finding(Risk::Jailbreak, 0.5, 0, 4)];
    }));
    journal.push(span(4, 4, Some(2)).with(|event| {
        event.kind = Kind::ModelCall;
        event.pieces = vec![old_call("c1", "read", "{}"), result("c1", "found")];
    }));
    // parents in a circle, and one that nobody has seen
    journal.push(span(6, 5, Some(6)));
    journal.push(span(7, 6, Some(5)));
    journal.push(span(8, 7, Some(99)));
    let detection = journal.push(known(Kind::Detection, 9).with(|event| {
        event.set(attr::DETECTION_RULE, "r1");
        event.set(attr::DETECTION_TECHNIQUE, "AML.T0051.001");
    }));
    let lone = journal.push(event(Kind::Admin, 10));
    let store = indexed(&journal);
    let view = store.reader.trace("0AF7651916CD43DD8448EB211C80319C").unwrap();
    let tree: Vec<(usize, &str)> = view.events.iter().map(|event| (event.depth, event.name.as_str())).collect();
    assert_eq!(tree, [(0, "step 1"), (1, "step 3"), (1, "step 2"), (2, "step 4"), (0, "step 7"), (0, "step 5"), (1, "step 6")]);
    let call = &view.events[1];
    assert_eq!((call.history, call.pieces.len(), call.pieces[0].text.as_deref()), (1, 2, Some("look it up")));
    assert_eq!(call.pieces[0].findings[0].risk, "jailbreak");
    assert_eq!(call.parent_event_id.as_deref(), Some(view.events[0].event_id.as_str()));
    assert_eq!((view.actions[0].arguments.as_deref(), view.actions[0].result.as_deref()), (Some("{}"), Some("found")));
    assert_eq!((view.detections[0].rule.as_deref(), view.detections[0].detection_id.as_str()), (Some("r1"), detection.as_str()));
    assert!(view.sessions.contains("s1") && view.users.contains("ada") && !view.truncated);
    for (id, kind, events) in [("s1", "session", 7), (view.events[3].event_id.as_str(), "event", 7), (lone.as_str(), "event", 1)]
    {
        let view = store.reader.trace(id).unwrap();
        assert_eq!((view.id_kind, view.events.len()), (kind, events), "{id}");
    }
    assert!(matches!(store.reader.trace("nothing"), Err(QueryError::NotFound(_))));
    serde_json::to_string(&view).unwrap();
}

#[test]
fn a_session_has_what_its_traces_bring_without_naming_it() {
    let query = |application: &str| {
        span(1, 2, Some(1)).with(|event| {
            event.kind = Kind::DataAccess;
            event.session = None;
            event.identity.application = Some(event::Principal::asserted(application));
        })
    };
    let other = span(2, 3, Some(1)).with(|event| event.session = Some("s2".to_owned()));
    let store = index_all([span(0, 1, None), query("shop"), query("stranger"), other]);
    let names = |id: &str| -> Vec<String> {
        store.reader.trace(id).unwrap().events.iter().map(|event| format!("{} {}", event.depth, event.kind)).collect()
    };
    assert_eq!(names("s1"), ["0 agent_step", "1 data_access"]);
    assert_eq!(names("0af7651916cd43dd8448eb211c80319c").len(), 4, "a trace has everything of it");
}

#[test]
fn a_chain_of_ten_thousand_spans_is_only_long() {
    let chain = (1..=3_000u32).map(|n| {
        let id = |n: u32| SpanId::from_bytes(u64::from(n).to_be_bytes());
        known(Kind::AgentStep, 0).with(|event| {
            event.trace = event.trace.map(|trace| Trace { span_id: id(n), parent_span_id: id(n - 1), ..trace });
        })
    });
    let view = index_all(chain).reader.trace("s1").unwrap();
    assert_eq!(view.events.last().unwrap().depth, 2_999);
}

#[test]
fn tail_follows_over_days() {
    let store = index_all(
        (0..10).map(|n| known(Kind::ModelCall, n * 40_000).with(|event| event.pieces = vec![said(&format!("line\n {n}"))])),
    );
    let seqs = |after: Option<u64>, limit| -> Vec<u64> {
        store.reader.tail(after.map(Seq), limit).unwrap().iter().map(|row| row.seq.0).collect()
    };
    assert_eq!(seqs(None, 3), [7, 8, 9]);
    assert_eq!(seqs(Some(0), 3), [1, 2, 3]);
    assert_eq!(seqs(Some(7), 100), [8, 9]);
    assert_eq!(store.reader.tail(Seq(9), 100).unwrap(), []);
    let row = &store.reader.tail(None, 1).unwrap()[0];
    assert_eq!((row.summary.as_str(), row.model.as_deref(), row.kind.as_str()), ("line 9", Some("gpt-x"), "model_call"));
}

#[test]
fn an_empty_store_answers() {
    let dir = tempfile::tempdir().unwrap();
    let keys = data_keys(dir.path());
    let reader = Reader::open(dir.path(), &keys).unwrap();
    assert_eq!(rows(&reader, "SELECT count(*) FROM prompts"), [["0"]]);
    assert!(reader.search("x", 10).unwrap().is_empty());
    assert!(reader.tail(None, 10).unwrap().is_empty());
    assert_eq!(reader.counts().unwrap().events, 0);
    // and sees the first partition when it is there
    let mut journal = Journal::new();
    journal.push(known(Kind::ModelCall, 0).with(|event| event.pieces = vec![said("hello")]));
    Store::open(dir.path(), &keys).unwrap().index(&journal.records).unwrap();
    assert_eq!(rows(&reader, "SELECT prompt FROM prompts"), [["hello"]]);
}

#[test]
fn readers_see_whole_batches_while_a_writer_writes() {
    const BATCH: usize = 20;
    let mut journal = Journal::new();
    journal.extend((0..600).map(|n| known(Kind::ModelCall, n).with(|event| event.pieces = vec![said(&format!("prompt {n}"))])));
    let dir = tempfile::tempdir().unwrap();
    let keys = data_keys(dir.path());
    let mut store = Store::open(dir.path(), &keys).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let reader = Reader::open(dir.path(), &keys).unwrap();
                    let mut last = 0;
                    while !done.load(Ordering::Acquire) {
                        let table = reader.sql("SELECT count(*), count(prompt) FROM prompts", &QueryLimits::default()).unwrap();
                        let store::Cell::Int(count) = table.rows[0][0] else { panic!("a count") };
                        assert_eq!(table.rows[0][0], table.rows[0][1]);
                        assert!(count >= last && count % BATCH as i64 == 0, "{last} {count}");
                        last = count;
                        reader.search("prompt", 5).unwrap();
                    }
                })
            })
            .collect();
        for batch in journal.records.chunks(BATCH) {
            store.index(batch).unwrap();
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert_eq!(rows(&Reader::open(dir.path(), &keys).unwrap(), "SELECT count(*) FROM prompts"), [["600"]]);
}

#[test]
fn more_partitions_than_sqlite_attaches_are_left_out_and_said() {
    let store = index_all((0..130).map(|day| event(Kind::ModelCall, day * 86_400)));
    let counts = store.reader.counts().unwrap();
    assert_eq!((counts.partitions + counts.partitions_left_out, counts.next), (130, Seq(130)));
    assert_eq!(counts.events, counts.partitions as u64);
    assert_eq!(store.rows("SELECT max(seq) FROM events"), [["129"]]);
}
