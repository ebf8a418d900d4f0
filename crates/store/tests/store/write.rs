//! The writer: once, in order, from where it stopped.

use event::{Kind, Timestamp};
use journal::Seq;
use store::{Reader, Store, StoreError};

use crate::fixture::{Journal, NOON, With, answer, call, data_keys, event, indexed, known, old, old_call, result, rows, said};

fn conversation(turns: u64) -> Journal {
    let mut journal = Journal::new();
    for turn in 0..turns {
        journal.push(known(Kind::ModelCall, turn * 7_200).with(|event| {
            event.pieces = (0..turn).map(|n| old(said(&format!("question {n}")))).collect();
            event.pieces.push(said(&format!("question {turn}")));
            event.pieces.push(call(&format!("c{turn}"), "read", "{}"));
        }));
        journal.push(known(Kind::ModelCall, turn * 7_200 + 1).with(|event| {
            event.pieces = vec![old_call(&format!("c{turn}"), "read", "{}"), result(&format!("c{turn}"), "data"), answer("done")];
        }));
    }
    journal
}

/// Everything that a reader can see.
fn picture(reader: &Reader) -> Vec<Vec<Vec<String>>> {
    ["events", "pieces", "contents", "agent_actions", "user_sessions", "agents", "prompts", "responses"]
        .iter()
        .map(|view| {
            let mut found = rows(reader, &format!("SELECT * FROM {view}"));
            found.sort();
            found
        })
        .collect()
}

#[test]
fn records_that_come_again_change_nothing() {
    let journal = conversation(12);
    let mut once = indexed(&journal);
    let before = picture(&once.reader);
    assert_eq!(once.store.next(), Seq(24));
    once.store.index(&journal.records).unwrap();
    once.store.index(&journal.records[20..]).unwrap();
    assert_eq!(picture(&once.reader), before);
    drop(once.store);
    let mut again = Store::open(once.dir.path(), &once.keys).unwrap();
    assert_eq!(again.next(), Seq(24));
    again.index(&journal.records).unwrap();
    assert_eq!(picture(&once.reader), before);
}

#[test]
fn batches_of_any_size_and_restarts_between_them_give_the_same_store() {
    let journal = conversation(12);
    let expected = picture(&indexed(&journal).reader);
    for size in [1, 2, 3, 5, 7] {
        let dir = tempfile::tempdir().unwrap();
        let keys = data_keys(dir.path());
        for batch in journal.records.chunks(size) {
            let mut store = Store::open(dir.path(), &keys).unwrap();
            assert_eq!(store.next(), batch[0].seq);
            store.index(batch).unwrap();
        }
        assert_eq!(picture(&Reader::open(dir.path(), &keys).unwrap()), expected, "batches of {size}");
    }
}

#[test]
fn a_batch_that_fails_leaves_nothing_and_can_be_given_again() {
    let journal = conversation(6);
    let dir = tempfile::tempdir().unwrap();
    let keys = data_keys(dir.path());
    let mut store = Store::open(dir.path(), &keys).unwrap();
    store.index(&journal.records[..4]).unwrap();
    let reader = Reader::open(dir.path(), &keys).unwrap();
    let before = picture(&reader);
    let mut broken = journal.records[4..].to_vec();
    broken.remove(3);
    let error = store.index(&broken).unwrap_err();
    assert!(matches!(error, StoreError::Order { got: Seq(8), due: Seq(7) }), "{error}");
    assert_eq!((store.next(), picture(&reader)), (Seq(4), before));
    store.index(&journal.records[4..]).unwrap();
    assert_eq!(picture(&reader), picture(&indexed(&journal).reader));
}

#[test]
fn a_copy_taken_in_the_middle_goes_on_from_its_own_cursor() {
    // What SIGKILL leaves: the files as they are, without the writer's end.
    let journal = conversation(12);
    let dir = tempfile::tempdir().unwrap();
    let keys = data_keys(dir.path());
    let mut store = Store::open(dir.path(), &keys).unwrap();
    store.index(&journal.records[..9]).unwrap();
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("store")).unwrap();
    for entry in std::fs::read_dir(dir.path().join("store")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with("-shm") {
            std::fs::copy(&path, copy.path().join("store").join(path.file_name().unwrap())).unwrap();
        }
    }
    let mut copied = Store::open(copy.path(), &keys).unwrap();
    assert_eq!(copied.next(), Seq(9));
    copied.index(&journal.records[9..]).unwrap();
    assert_eq!(picture(&Reader::open(copy.path(), &keys).unwrap()), picture(&indexed(&journal).reader));
}

#[test]
fn partitions_follow_the_clock_of_the_receiver_not_the_one_claimed() {
    let mut journal = Journal::new();
    for claimed in [0, u64::MAX, 1, NOON * 1_000_000_000] {
        journal.push(event(Kind::ModelCall, 0).with(|event| event.time = Timestamp::from_unix_ns(claimed)));
    }
    let store = indexed(&journal);
    assert_eq!(store.reader.counts().unwrap().partitions, 1);
    assert_eq!(
        store.rows("SELECT min(time), max(time) FROM events"),
        [["1970-01-01T00:00:00.000000Z", "2262-04-11T23:47:16.854775Z"]]
    );
}

#[test]
fn events_that_straggle_over_midnight_do_not_change_files() {
    const MIDNIGHT: u64 = 12 * 3_600;
    let mut journal = Journal::new();
    journal.extend(
        [MIDNIGHT - 2, MIDNIGHT + 1, MIDNIGHT - 1, MIDNIGHT + 2, MIDNIGHT - 1].map(|seconds| event(Kind::ModelCall, seconds)),
    );
    let store = indexed(&journal);
    let counts = store.reader.counts().unwrap();
    assert_eq!((counts.partitions, counts.events), (2, 5));
    let first = store.dir.path().join("store/2025-11-20.db");
    assert!(first.exists());
    assert_eq!(
        unlocked(&first, &store.keys).query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).unwrap(),
        1
    );
}

/// A connection to a partition: any tool that has its key can open it.
fn unlocked(path: &std::path::Path, keys: &keys::DataKeys) -> rusqlite::Connection {
    let id = std::fs::read_to_string(path.with_extension("keyid")).unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    keys::unlock(&connection, &keys.get(id.trim().parse().unwrap()).unwrap().unwrap()).unwrap();
    connection
}

#[test]
fn a_partition_is_unreadable_without_its_key_and_its_copies_are_when_it_is_built_anew() {
    let mut journal = Journal::new();
    journal.push(known(Kind::ModelCall, 0).with(|event| event.pieces = vec![said("the harbour master's words")]));
    let store = indexed(&journal);
    let dir = store.dir.path().to_owned();
    for entry in std::fs::read_dir(dir.join("store")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for plain in ["harbour", "SQLite format 3", "contents_fts", "shop", "0af7651916cd43dd8448eb211c80319c"] {
            assert!(!bytes.windows(plain.len()).any(|window| window == plain.as_bytes()), "{plain}");
        }
    }
    drop(store.store);
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("store")).unwrap();
    for name in ["2025-11-20.db", "2025-11-20.db-wal", "2025-11-20.keyid"] {
        std::fs::copy(dir.join("store").join(name), copy.path().join("store").join(name)).unwrap();
    }
    assert_eq!(
        rows(&Reader::open(copy.path(), &store.keys).unwrap(), "SELECT prompt FROM prompts"),
        [["the harbour master's words"]]
    );
    let before = std::fs::read(dir.join("store/2025-11-20.keyid")).unwrap();
    // Whoever opens the store is its only writer, and removes what nobody builds any more.
    let before_it = Store::open(&dir, &store.keys).unwrap();
    let mut rebuild = store::Rebuild::begin(&dir, "2025-11-20", &store.keys).unwrap();
    rebuild.index(&journal.records).unwrap();
    let built = rebuild.finish(before_it).unwrap();
    assert!(!dir.join("store.rebuild").exists());
    assert_ne!(std::fs::read(dir.join("store/2025-11-20.keyid")).unwrap(), before);
    assert_eq!(rows(&Reader::open(&dir, &store.keys).unwrap(), "SELECT prompt FROM prompts"), [["the harbour master's words"]]);
    assert!(matches!(Reader::open(copy.path(), &store.keys), Err(StoreError::NoKey { .. })));
    // Another keyring has no key of it, and a wrong key opens nothing.
    let elsewhere = data_keys(copy.path());
    assert!(matches!(Reader::open(&dir, &elsewhere), Err(StoreError::NoKey { .. })));
    drop(built);
    std::fs::write(dir.join("store/2025-11-20.keyid"), format!("{}\n", store.keys.create().unwrap().0)).unwrap();
    assert!(matches!(Reader::open(&dir, &store.keys), Err(StoreError::Partition { .. })));
}

#[test]
fn an_old_partition_can_be_dropped() {
    let mut journal = Journal::new();
    journal.push(known(Kind::ModelCall, 0).with(|event| event.pieces = vec![said("yesterday's words")]));
    journal.push(known(Kind::ModelCall, 86_400).with(|event| event.pieces = vec![old(said("yesterday's words")), said("today")]));
    let store = indexed(&journal);
    drop(store.store);
    std::fs::remove_file(store.dir.path().join("store/2025-11-20.db")).unwrap();
    assert_eq!(rows(&store.reader, "SELECT text FROM pieces ORDER BY ord"), [["yesterday's words"], ["today"]]);
    assert_eq!(Store::open(store.dir.path(), &store.keys).unwrap().next(), Seq(2));
}

#[test]
fn an_event_that_uses_the_id_of_another_is_kept_and_one_sent_twice_is_not() {
    let mut journal = Journal::new();
    let first = known(Kind::ModelCall, 0).with(|event| event.pieces = vec![said("one")]);
    let again = first.clone().with(|event| event.observed = Timestamp::from_unix_ns((NOON + 60) * 1_000_000_000));
    let usurper = first.clone().with(|event| event.pieces = vec![said("two")]);
    journal.extend([first, again, usurper]);
    let store = indexed(&journal);
    assert_eq!(store.rows("SELECT prompt FROM prompts ORDER BY seq"), [["one"], ["two"]]);
    assert_eq!(store.store.next(), Seq(3));
}

#[test]
fn a_record_that_cannot_be_read_becomes_a_gap_and_stops_nobody() {
    let mut journal = Journal::new();
    journal.extend([event(Kind::ModelCall, 0), event(Kind::ModelCall, 1), event(Kind::ModelCall, 2)]);
    journal.records[1].event_json = b"{".to_vec();
    let store = indexed(&journal);
    assert_eq!(store.rows("SELECT kind, count(*) FROM events GROUP BY kind"), [["gap", "1"], ["model_call", "2"]]);
    assert_eq!(store.rows("SELECT reason FROM gaps"), [["undecodable_record"]]);
}

#[test]
fn a_content_that_nobody_has_is_a_null() {
    let mut journal = Journal::new();
    journal.push(known(Kind::ModelCall, 0).with(|event| event.pieces = vec![said("lost")]));
    journal.records[0].contents.clear();
    assert_eq!(indexed(&journal).rows("SELECT part, text FROM pieces"), [["text", "-"]]);
}

#[test]
fn there_is_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let keys = data_keys(dir.path());
    let store = Store::open(dir.path(), &keys).unwrap();
    assert!(matches!(Store::open(dir.path(), &keys), Err(StoreError::Locked { .. })));
    drop(store);
    Store::open(dir.path(), &keys).unwrap();
}

#[test]
fn a_store_can_be_built_again_and_a_strange_schema_is_refused() {
    let journal = conversation(3);
    let store = indexed(&journal);
    drop(store.store);
    let path = store.dir.path().join("store/2025-11-20.db");
    unlocked(&path, &store.keys).pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::open(store.dir.path(), &store.keys), Err(StoreError::Newer { found: 99, .. })));
    let mut again = Store::rebuild(store.dir.path(), &store.keys).unwrap();
    assert_eq!(again.next(), Seq(0));
    again.index(&journal.records).unwrap();
    assert_eq!(picture(&store.reader), picture(&indexed(&journal).reader));
}

/// Three days, two events on each, each with a text of its own.
fn three_days() -> Journal {
    let mut journal = Journal::new();
    for day in 0..3 {
        for nth in 0..2 {
            journal.push(known(Kind::ModelCall, day * 2 + nth).with(|event| {
                event.observed = Timestamp::from_unix_ns((NOON + day * 86_400 + nth) * 1_000_000_000);
                event.pieces = vec![said(&format!("day {day} text {nth}"))];
            }));
        }
    }
    journal
}

#[test]
fn days_that_are_built_anew_take_the_place_of_the_old_ones() {
    let mut journal = three_days();
    let indexed = indexed(&journal);
    let dir = indexed.dir.path().to_owned();
    let first_day = std::fs::read(dir.join("store/2025-11-20.db")).unwrap();
    // What the third record said is erased.
    journal.records[2].event_json = b"{".to_vec();
    journal.records[2].contents.clear();
    let mut rebuild = store::Rebuild::begin(&dir, "2025-11-21", &indexed.keys).unwrap();
    rebuild.index(&journal.records[1..]).unwrap();
    assert_eq!(indexed.rows("SELECT prompt FROM prompts WHERE prompt = 'day 1 text 0'"), [["day 1 text 0"]]);
    let store = rebuild.finish(indexed.store).unwrap();
    assert_eq!(store.next(), Seq(6));
    let reader = store::Reader::open(&dir, &indexed.keys).unwrap();
    let prompts = reader.sql("SELECT prompt FROM prompts ORDER BY seq", &store::QueryLimits::default()).unwrap();
    assert_eq!(prompts.rows.len(), 5);
    assert!(!format!("{prompts:?}").contains("day 1 text 0"));
    assert_eq!(std::fs::read(dir.join("store/2025-11-20.db")).unwrap(), first_day, "an earlier day is not touched");
    assert!(!dir.join("store.rebuild").exists());
    let keep = std::collections::BTreeSet::from(["2025-11-20".to_owned()]);
    let (none, all) = (std::collections::BTreeSet::new(), Seq(6));
    assert!(store::drop_before(&dir, "2025-11-21", all, &keep, &indexed.keys).unwrap().is_empty());
    assert!(store::drop_before(&dir, "2025-11-21", Seq(1), &none, &indexed.keys).unwrap().is_empty(), "not archived yet");
    assert_eq!(store::drop_before(&dir, "2025-11-21", all, &none, &indexed.keys).unwrap(), ["2025-11-20"]);
}

/// Everything in a partition but the segments of its word index, which depend on how the words were gathered.
fn dump(dir: &std::path::Path, day: &str, keys: &keys::DataKeys) -> Vec<String> {
    let connection = unlocked(&dir.join(format!("store/{day}.db")), keys);
    let text = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            Ok((0..columns)
                .map(|at| format!("{:?}", row.get_unwrap::<_, rusqlite::types::Value>(at)))
                .collect::<Vec<_>>()
                .join("|"))
        };
        statement.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let mut dump = text("PRAGMA journal_mode");
    dump.extend(text("PRAGMA integrity_check"));
    dump.extend(text("SELECT type, name, sql FROM sqlite_schema ORDER BY name"));
    dump.extend(text("SELECT * FROM contents_fts_config ORDER BY 1"));
    dump.extend(text("SELECT rowid FROM contents_fts WHERE contents_fts MATCH 'text' ORDER BY 1"));
    for table in
        ["events", "contents", "pieces", "findings", "actions", "sessions", "identities", "prompts_seen", "tallies", "meta"]
    {
        let mut rows = text(&format!("SELECT * FROM {table}"));
        rows.sort();
        dump.extend(rows);
    }
    dump
}

#[test]
fn a_day_that_is_built_aside_is_what_a_day_that_was_written_live_is() {
    let mut journal = three_days();
    // Across midnight: the call on one day, its result on the next, and back to the day before within the slack.
    const MIDNIGHT: u64 = 3 * 86_400 + 43_200;
    for (seconds, piece) in [
        (MIDNIGHT - 5, call("c1", "read_file", r#"{"path":"a text"}"#)),
        (MIDNIGHT + 5, result("c1", "what the text said")),
        (MIDNIGHT - 1, said("a late text")),
        (MIDNIGHT + 900, said("a text of the next day")),
        (MIDNIGHT - 700, said("a text of a clock that is behind")),
    ] {
        journal.push(known(Kind::ModelCall, seconds).with(|event| event.pieces = vec![piece.clone()]));
    }
    let live = indexed(&journal);
    drop((live.store, live.reader));
    let aside = tempfile::tempdir().unwrap();
    let keys = data_keys(aside.path());
    let empty = Store::open(aside.path(), &keys).unwrap();
    let mut rebuild = store::Rebuild::begin(aside.path(), "1970-01-01", &keys).unwrap();
    for records in journal.records.chunks(2) {
        rebuild.index(records).unwrap();
    }
    let store = rebuild.finish(empty).unwrap();
    assert_eq!(store.next().0, journal.records.len() as u64);
    drop(store);
    let days = store::days(live.dir.path()).unwrap();
    assert_eq!(store::days(aside.path()).unwrap(), days);
    assert!(days.len() >= 5, "{days:?}");
    for day in &days {
        let (live, aside) = (dump(live.dir.path(), day, &live.keys), dump(aside.path(), day, &keys));
        assert!(live.iter().any(|row| row.contains("events_trace")));
        assert_eq!(live, aside, "{day}");
    }
}

#[test]
fn a_swap_that_was_interrupted_leaves_a_store_that_is_filled_from_the_start() {
    let journal = three_days();
    let whole = indexed(&journal);
    let dir = whole.dir.path().to_owned();
    drop(whole.store);
    std::fs::write(dir.join("store/swapping"), "").unwrap();
    std::fs::remove_file(dir.join("store/2025-11-21.db")).unwrap();
    let mut again = Store::open(&dir, &whole.keys).unwrap();
    assert_eq!(again.next(), Seq(0));
    again.index(&journal.records).unwrap();
    assert_eq!(again.next(), Seq(6));
}

/// What queries see.
fn prompts(dir: &std::path::Path, keys: &keys::DataKeys) -> usize {
    let reader = Reader::open(dir, keys).unwrap();
    reader.sql("SELECT prompt FROM prompts", &store::QueryLimits::default()).unwrap().rows.len()
}

/// Builds what is missing, as its owner does, and gives it.
fn mend(store: Store, journal: &Journal, dir: &std::path::Path, keys: &keys::DataKeys) -> (Vec<String>, Store) {
    let missing = store.missing().clone();
    for (day, end) in &missing {
        let mut rebuild = store::Rebuild::begin(dir, day, keys).unwrap();
        let before = usize::try_from(end.0).unwrap();
        rebuild.index(&journal.records[..before]).unwrap();
        rebuild.mend(dir).unwrap();
    }
    let mut store = store.reopen().unwrap();
    store.index(&journal.records).unwrap();
    (missing.into_keys().collect(), store)
}

#[test]
fn days_that_were_removed_replaced_or_spoilt_are_missed_and_built_again() {
    let journal = three_days();
    let whole = indexed(&journal);
    let (dir, keys) = (whole.dir.path().to_owned(), whole.keys.clone());
    let mut store = whole.store;
    let path = |day: u64, suffix: &str| dir.join(format!("store/2025-11-2{day}.{suffix}"));
    let remove = |day| {
        for suffix in ["db", "db-wal", "db-shm", "keyid"] {
            drop(std::fs::remove_file(path(day, suffix)));
        }
    };
    type Spoil<'a> = &'a dyn Fn();
    let spoilt: [(&str, Spoil<'_>, &[&str]); 6] = [
        ("nothing", &|| (), &[]),
        ("removed", &|| remove(1), &["2025-11-21"]),
        ("all but the newest removed", &|| [0, 1].into_iter().for_each(remove), &["2025-11-20", "2025-11-21"]),
        ("the newest removed", &|| [1, 2].into_iter().for_each(remove), &["2025-11-21", "2025-11-22"]),
        ("without its key", &|| std::fs::remove_file(path(1, "keyid")).unwrap(), &["2025-11-21"]),
        ("overwritten", &|| std::fs::write(path(0, "db"), [7; 8_192]).unwrap(), &["2025-11-20"]),
    ];
    for (what, spoil, expected) in spoilt {
        drop(store);
        spoil();
        let opened = Store::open(&dir, &keys).unwrap();
        let (missed, mended) = mend(opened, &journal, &dir, &keys);
        assert_eq!(missed, expected, "{what}");
        assert_eq!((prompts(&dir, &keys), mended.next()), (6, Seq(6)), "{what}");
        store = mended;
        assert!(store.is_there().unwrap() && store.missing().is_empty(), "{what}");
    }
    // While it is open.
    remove(0);
    assert!(!store.is_there().unwrap());
    let (missed, store) = mend(store.reopen().unwrap(), &journal, &dir, &keys);
    assert_eq!((missed.as_slice(), prompts(&dir, &keys)), (["2025-11-20".to_owned()].as_slice(), 6));
    // What is taken out by right is not missed, nor is a store that was removed as a whole: that is filled from the start.
    drop(store);
    let none = std::collections::BTreeSet::new();
    assert_eq!(store::drop_before(&dir, "2025-11-21", Seq(6), &none, &keys).unwrap(), ["2025-11-20"]);
    assert!(Store::open(&dir, &keys).unwrap().missing().is_empty());
    std::fs::remove_dir_all(dir.join("store")).unwrap();
    let store = Store::open(&dir, &keys).unwrap();
    assert_eq!((store.missing().len(), store.next()), (0, Seq(0)));
}

#[test]
fn days_of_an_older_version_are_built_again_and_those_of_a_newer_one_are_refused() {
    let journal = three_days();
    let whole = indexed(&journal);
    let (dir, keys) = (whole.dir.path().to_owned(), whole.keys.clone());
    let now = dump(&dir, "2025-11-21", &keys);
    let path = |day: &str| dir.join(format!("store/{day}.db"));
    // As the program before this one left it: without a table, and with that version.
    let age = |day: &str, version: i64| {
        let connection = unlocked(&path(day), &keys);
        let old = if version < 6 { "DROP TABLE IF EXISTS detections;" } else { "" };
        connection.execute_batch(&format!("{old} PRAGMA user_version = {version};")).unwrap();
    };
    let days: Vec<String> = store::days(&dir).unwrap().into_iter().collect();
    drop((whole.store, whole.reader));
    for aged in [&days[1..2], &days[..1], &days[2..], &days[..]] {
        aged.iter().for_each(|day| age(day, 5));
        assert!(matches!(Reader::open(&dir, &keys), Err(store::StoreError::Older { found: 5, .. })));
        let mut opened = Store::open(&dir, &keys).unwrap();
        // A crash before they are built leaves them missed; where no day is left the store is filled from its start, as a new one is.
        if aged.len() < days.len() {
            let missed = opened.missing().clone();
            drop(opened);
            opened = Store::open(&dir, &keys).unwrap();
            assert_eq!(opened.missing(), &missed);
        }
        let (mended, store) = mend(opened, &journal, &dir, &keys);
        assert_eq!(mended, aged);
        assert_eq!((prompts(&dir, &keys), store.next()), (6, Seq(6)), "{aged:?}");
        assert!(store.is_there().unwrap() && store.missing().is_empty());
    }
    assert_eq!(dump(&dir, "2025-11-21", &keys), now);
    age(&days[1], 99);
    let error = Store::open(&dir, &keys).unwrap_err();
    assert!(
        matches!(error, store::StoreError::Newer { found: 99, .. }) && error.to_string().contains("newer program"),
        "{error}"
    );
    assert!(path(&days[1]).exists());
}

#[test]
fn an_older_copy_of_a_day_is_not_taken_for_the_day() {
    let journal = three_days();
    let indexed = indexed(&Journal::new());
    let (dir, keys, mut store) = (indexed.dir.path().to_owned(), indexed.keys, indexed.store);
    store.index(&journal.records[..3]).unwrap();
    drop(store);
    let day = dir.join("store/2025-11-21.db");
    let older = std::fs::read(&day).unwrap();
    let mut store = Store::open(&dir, &keys).unwrap();
    store.index(&journal.records).unwrap();
    drop(store);
    assert_eq!(prompts(&dir, &keys), 6);
    std::fs::write(&day, older).unwrap();
    for suffix in ["db-wal", "db-shm"] {
        drop(std::fs::remove_file(dir.join("store/2025-11-21").with_extension(suffix)));
    }
    let (missed, _store) = mend(Store::open(&dir, &keys).unwrap(), &journal, &dir, &keys);
    assert_eq!((missed, prompts(&dir, &keys)), (vec!["2025-11-21".to_owned()], 6));
}

#[test]
fn an_erased_record_stands_in_its_own_view_and_the_contents_that_it_brought_stay() {
    let mut journal = Journal::new();
    journal.push(known(Kind::ModelCall, 0).with(|event| event.pieces = vec![said("of somebody else")]));
    journal.push(known(Kind::ModelCall, 1).with(|event| event.pieces = vec![old(said("of somebody else")), said("theirs")]));
    let event = journal.records[0].event().unwrap();
    let erased = store::Erased { seq: Seq(0), time: event.time, observed: event.observed, kind: Some(Kind::ModelCall) };
    journal.records[0] = erased.as_record(journal.records[0].contents.clone());
    let store = indexed(&journal);
    assert_eq!(store.rows("SELECT seq, time, kind FROM erased_records"), [["0", "2025-11-20T12:00:00.000000Z", "model_call"]]);
    assert_eq!(store.rows("SELECT seq FROM events"), [["1"]]);
    assert_eq!(store.rows("SELECT count(*) FROM gaps"), [["0"]]);
    assert_eq!(store.rows("SELECT text FROM pieces ORDER BY ord"), [["of somebody else"], ["theirs"]]);
    assert_eq!(store.store.next(), Seq(2));
}
