//! A statement of SQL: what it does, to which tables.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let found = capture::sql::statement(text);
    assert!(found.operations.len() <= 16 && found.tables.len() <= 16);
});
