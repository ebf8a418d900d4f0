//! What a test asks of the record and compares: views and columns, for the table that `cargo xtask matrix` writes. A test that asks
//! less than its row says would be seen there.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::json;

/// Views and columns.
#[derive(Default)]
struct Asked {
    views: BTreeSet<String>,
    columns: BTreeSet<String>,
}

thread_local! {
    // A test has a thread of its own.
    static ASKED: RefCell<Asked> = RefCell::default();
}

/// Notes a query: the views that it reads and the columns that it names.
pub(crate) fn sql(sql: &str) {
    let words: Vec<&str> =
        sql.split(|c: char| c.is_whitespace() || c == '(' || c == ')').filter(|word| !word.is_empty()).collect();
    let views = words.windows(2).filter(|pair| matches!(pair[0], "FROM" | "JOIN")).map(|pair| pair[1].to_owned());
    let listed = sql.trim_start_matches("SELECT ").trim_start_matches("DISTINCT ").split(" FROM ").next().unwrap_or_default();
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let columns = listed.split(", ").map(str::trim).filter(is_name).map(str::to_owned);
    ASKED.with_borrow_mut(|asked| {
        asked.views.extend(views);
        asked.columns.extend(columns);
    });
}

/// Notes a column that is compared.
pub(crate) fn column(name: &str) {
    ASKED.with_borrow_mut(|asked| asked.columns.insert(name.to_owned()));
}

/// Writes what was noted so far into the folder that `WATCHKEEPER_ASKED` names, under the name of the test.
pub(crate) fn tell() {
    let Some(folder) = std::env::var_os("WATCHKEEPER_ASKED") else { return };
    let test = std::thread::current().name().unwrap_or_default().replace("::", "-");
    let told = ASKED.with_borrow(|asked| json!({ "views": asked.views, "columns": asked.columns }).to_string());
    std::fs::write(std::path::Path::new(&folder).join(format!("{test}.json")), told).unwrap();
}
