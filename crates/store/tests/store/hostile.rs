//! SQL and search texts that mean no good.

use std::time::{Duration, Instant};

use event::Kind;
use store::{QueryError, QueryLimits};

use crate::fixture::{Indexed, With, answer, index_all, known, said};

fn store() -> Indexed {
    index_all(
        (0..50).map(|n| known(Kind::ModelCall, n).with(|event| event.pieces = vec![said(&format!("prompt {n}")), answer("yes")])),
    )
}

#[test]
fn nothing_but_reading_is_allowed() {
    let store = store();
    let elsewhere = store.dir.path().join("stolen.db");
    let attach = format!("ATTACH '{}' AS x", elsewhere.display());
    let vacuum = format!("VACUUM main INTO '{}'", elsewhere.display());
    for (sql, says) in [
        (attach.as_str(), "ATTACH"),
        (vacuum.as_str(), "not"),
        ("DETACH d20251120", "DETACH"),
        ("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode"),
        ("PRAGMA query_only = 0", "PRAGMA query_only"),
        ("PRAGMA database_list", "PRAGMA database_list"),
        ("PRAGMA key = 'x'", "PRAGMA key"),
        ("PRAGMA d20251120.rekey = 'x'", "PRAGMA rekey"),
        ("PRAGMA d20251120.cipher_salt", "PRAGMA cipher_salt"),
        ("PRAGMA cipher_log = '/tmp/x'", "PRAGMA cipher_log"),
        ("PRAGMA cipher_default_plaintext_header_size = 32", "PRAGMA cipher_default"),
        ("SELECT * FROM pragma_cipher_salt", "no such table"),
        ("SELECT sqlcipher_export('main', 'd20251120')", "sqlcipher_export"),
        ("ATTACH ':memory:' AS x KEY ''", "ATTACH"),
        ("SELECT * FROM pragma_database_list", "not"),
        ("DELETE FROM d20251120.events", "not"),
        ("UPDATE d20251120.events SET kind = ''", "not"),
        ("INSERT INTO d20251120.meta VALUES ('next', 0)", "not"),
        ("INSERT INTO d20251120.contents_fts(contents_fts) VALUES ('delete-all')", "not"),
        ("DROP VIEW prompts", "not"),
        ("CREATE TEMP TABLE t(a)", "not"),
        ("CREATE TEMP TRIGGER t INSTEAD OF INSERT ON prompts BEGIN SELECT 1; END", "not"),
        ("BEGIN", "a transaction"),
        ("SAVEPOINT s", "a transaction"),
        ("REINDEX", "not"),
        ("ANALYZE", "not"),
        ("SELECT load_extension('x')", "load_extension"),
        ("SELECT LOAD_EXTENSION('x', 'y')", "load_extension"),
        ("SELECT writefile('x', 'y')", "writefile"),
        ("SELECT readfile('/etc/passwd')", "readfile"),
        ("SELECT fts3_tokenizer('simple')", "fts3_tokenizer"),
        ("SELECT 1; SELECT 2", "more than one"),
        ("SELECT 1; ATTACH 'x' AS y", ""),
        ("", "none"),
        ("-- nothing", "none"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELECT colour FROM prompts", "no such column: colour"),
        ("SELECT 'unclosed", "unrecognized token"),
        ("SELECT text_of(zeroblob(1000000000))", "too big"),
        ("\0", ""),
    ] {
        let error = store.reader.sql(sql, &QueryLimits::default()).expect_err(sql).to_string();
        assert!(error.to_lowercase().contains(&says.to_lowercase()), "{sql}: {error}");
    }
    assert!(!elsewhere.exists());
    // and the reader still answers, with nothing changed
    assert_eq!(store.rows("SELECT count(*) FROM prompts"), [["50"]]);
}

#[test]
fn errors_list_the_views() {
    let error = store().reader.sql("SELECT * FROM logs", &QueryLimits::default()).unwrap_err().to_string();
    assert!(error.contains("no such table: logs") && error.contains("agent_actions") && error.contains("prompts"), "{error}");
}

#[test]
fn what_never_ends_is_stopped() {
    let store = store();
    let limits = QueryLimits { time_max: Duration::from_millis(200), ..QueryLimits::default() };
    for sql in [
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT n + 1 FROM r) SELECT max(n) FROM r",
        "SELECT count(*) FROM pieces a, pieces b, pieces c, pieces d, pieces e",
        "WITH RECURSIVE r(b) AS (SELECT zeroblob(8000000) UNION SELECT randomblob(8000000) FROM r) SELECT count(*) FROM r",
    ] {
        let began = Instant::now();
        let error = store.reader.sql(sql, &limits).expect_err(sql);
        assert!(matches!(error, QueryError::Time { time_ms_max: 200 }), "{sql}: {error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{sql}");
    }
}

/// Temporary tables are in memory, because a temporary file would not be encrypted.
#[test]
fn what_sorts_or_groups_too_much_is_stopped() {
    let store = store();
    let limits = QueryLimits { memory_max: 64 * 1024 * 1024, ..QueryLimits::default() };
    let rows = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 1000000)";
    for what in [
        "SELECT randomblob(1000) || n AS x FROM r ORDER BY x",
        "SELECT count(*) FROM (SELECT DISTINCT randomblob(1000) || n FROM r)",
        "SELECT randomblob(1000) || n AS x, count(*) FROM r GROUP BY x",
    ] {
        let error = store.reader.sql(&format!("{rows} {what}"), &limits).map(|table| table.rows.len()).expect_err(what);
        assert!(matches!(error, QueryError::Memory { .. }), "{what}: {error}");
    }
    assert_eq!(store.rows("SELECT count(*) FROM prompts"), [["50"]]);
}

/// A call of a function is one step of SQLite's machine, which looks at no clock within it.
#[test]
fn no_function_takes_the_product_of_two_lengths() {
    let store = store();
    let limits = QueryLimits { time_max: Duration::from_secs(60), ..QueryLimits::default() };
    for call in [
        "instr(hex(zeroblob(1000000)), hex(zeroblob(500000)) || '1')",
        "length(replace(hex(zeroblob(1000000)), hex(zeroblob(500000)) || '1', ''))",
        "length(trim(hex(zeroblob(1000000)), hex(randomblob(500000))))",
    ] {
        let began = Instant::now();
        store.reader.sql(&format!("SELECT {call}"), &limits).map(drop).unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{call}");
    }
    let pattern = format!("SELECT 'x' LIKE '{}'", "%a".repeat(200));
    assert!(store.reader.sql(&pattern, &limits).unwrap_err().to_string().contains("pattern too complex"));
}

#[test]
fn large_answers_are_cut() {
    let store = store();
    let rows = QueryLimits { rows_max: 7, ..QueryLimits::default() };
    let table = store.reader.sql("SELECT prompt FROM prompts", &rows).unwrap();
    assert_eq!((table.rows.len(), table.truncated), (7, true));
    let table = store.reader.sql("SELECT prompt FROM prompts LIMIT 7", &rows).unwrap();
    assert_eq!((table.rows.len(), table.truncated), (7, false));
    let bytes = QueryLimits { bytes_max: 100, ..QueryLimits::default() };
    let table = store.reader.sql("SELECT 'ä' || hex(zeroblob(3000000))", &bytes).unwrap();
    assert!(table.truncated);
    assert!(serde_json::to_string(&table.rows).unwrap().len() < 200);
    let endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r";
    let table = store.reader.sql(endless, &QueryLimits::default()).unwrap();
    assert_eq!((table.rows.len(), table.truncated), (10_000, true));
    // numbers and NULLs take memory, too
    let bytes = QueryLimits { bytes_max: 1_000, ..QueryLimits::default() };
    let table = store.reader.sql("SELECT seq, NULL FROM pieces", &bytes).unwrap();
    assert_eq!((table.rows.len(), table.truncated), (62, true));
    let wide = format!("SELECT {}1", "1, ".repeat(300));
    assert!(store.reader.sql(&wide, &bytes).unwrap_err().to_string().contains("too many columns"));
    let long = format!("SELECT '{}'", "x".repeat(70_000));
    assert!(matches!(store.reader.sql(&long, &QueryLimits::default()), Err(QueryError::TooLong { .. })));
}

#[test]
fn cells_keep_their_types() {
    let table = store().reader.sql("SELECT 1 AS a, 1.5, NULL, 'x', x'00ff'", &QueryLimits::default()).unwrap();
    assert_eq!(serde_json::to_string(&table.rows).unwrap(), r#"[[1,1.5,null,"x","00ff"]]"#);
    assert_eq!(table.columns[0], "a");
}

#[test]
fn no_text_is_a_syntax_error_of_search() {
    let store = store();
    let long = "word ".repeat(10_000);
    for text in [
        "",
        " ",
        "\"",
        "\"\"",
        "\"\"\"",
        "*",
        "prompt*",
        "^prompt",
        "text:prompt",
        "prompt AND",
        "OR",
        "NOT prompt",
        "NEAR(a b)",
        "(",
        ")",
        "-",
        "+",
        "{a b}: c",
        "a'; DROP TABLE events; --",
        "\0",
        "a\0b",
        "😀",
        "ﬁ",
        "é",
        "e\u{301}",
        "\u{200b}",
        "１２３",
        "ǅ",
        "İstanbul",
        "ß",
        "a\u{1d165}b",
        long.as_str(),
    ] {
        store.reader.search(text, 10).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 64, ..Default::default() })]
    #[test]
    fn neither_search_nor_sql_panics(text in "\\PC{0,40}") {
        thread_local!(static STORE: Indexed = store());
        STORE.with(|store| {
            store.reader.search(&text, 10).unwrap();
            let _ = store.reader.sql(&text, &QueryLimits::default());
            let _ = store.reader.trace(&text);
        });
    }
}

#[test]
fn a_row_that_is_too_long_makes_no_query_fail() {
    let huge = "x".repeat(24 * 1024 * 1024);
    let store = index_all([
        known(Kind::ModelCall, 0).with(|event| {
            event.unmapped.insert("huge".to_owned(), huge.as_str().into());
            event.unmapped.insert("small".to_owned(), "kept".into());
            event.set(event::attr::URL_FULL, huge.as_str());
            event.set(event::attr::GEN_AI_REQUEST_MODEL, "asked");
            event.pieces = (0..4).map(|n| said(&format!("{n}{}", "y".repeat(7 * 1024 * 1024)))).collect();
        }),
        known(Kind::ModelCall, 1).with(|event| event.pieces = vec![said("short")]),
    ]);
    let cut = "[cut: 25165826 bytes, see the journal]";
    assert_eq!(
        store.rows(
            "SELECT unmapped ->> 'huge', unmapped ->> 'small', length(url), request_model, \
             attributes ->> '$.\"url.full\"', attributes ->> '$.\"watchkeeper.columns.bytes_cut\"' FROM events ORDER BY seq LIMIT 1"
        ),
        [[cut, "kept", "65536", "asked", cut, "50331652"]]
    );
    for view in store::VIEWS {
        store.rows(&format!("SELECT * FROM {} ORDER BY 1 DESC", view.name));
    }
    assert_eq!(
        store.rows("SELECT length(prompt) < 1100000, prompt LIKE '%[cut: %' FROM prompts ORDER BY seq"),
        [["1", "1"], ["1", "0"]]
    );
}
