//! The views: the log categories of the requirements as tables, each column with its meaning.
//!
//! A view is data. The same entry makes the SQL, the reference (`docs/reference/views.md`) and the list that an error
//! message shows, so they cannot drift apart.

mod agents;
mod categories;
mod core;
pub(crate) mod flow;
mod intel;
mod models;
mod operations;
mod watch;

use std::fmt::Write as _;

pub use categories::categories;

/// A view.
#[derive(Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// The requirement that it fills (`A1` ...), where there is one.
    pub requirement: &'static str,
    /// What a row is.
    pub about: &'static str,
    /// Groups of columns, in order.
    pub(crate) columns: &'static [&'static [Column]],
    /// What the rows come from: the text behind `FROM`, `{p}` for the partition.
    pub(crate) from: &'static str,
    /// For views whose rows span partitions: what is selected from the rows of all of them, `{rows}`.
    pub(crate) merge: Option<&'static str>,
}

/// A column of a view.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its value within a partition.
    pub(crate) sql: &'static str,
    /// What it means, with the unit.
    pub meaning: &'static str,
}

/// Every view, in the order of the reference.
pub const VIEWS: &[&View] = &[
    &models::PROMPTS,
    &models::RESPONSES,
    &models::TOKEN_USAGE,
    &models::TOKEN_USAGE_BY_SESSION,
    &models::TOKEN_USAGE_BY_USER_DAY,
    &models::MODEL_PERFORMANCE,
    &models::METRICS,
    &models::SYSTEM_PROMPTS,
    &models::SYSTEM_PROMPT_CHANGES,
    &models::SYSTEM_PROMPT_EVENTS,
    &operations::GUARDRAIL_DECISIONS,
    &operations::RETRIEVALS,
    &agents::AGENT_ACTIONS,
    &agents::AGENT_STEPS,
    &agents::AGENTS,
    &operations::INSTALLATIONS,
    &operations::DATA_ACCESS,
    &operations::EXTERNAL_CALLS,
    &operations::ADMIN_EVENTS,
    &agents::USER_SESSIONS,
    &agents::SESSION_CLIENTS,
    &watch::DETECTIONS,
    &watch::SUPPRESSED_DETECTIONS,
    &intel::ENTITY_RISK,
    &intel::INTEL_HITS,
    &intel::INTEL_SIGHTINGS,
    &flow::FLOW_EDGES,
    &watch::EVALUATIONS,
    &watch::RESPONSE_ACTIONS,
    &watch::GAPS,
    &watch::ERASED_RECORDS,
    &core::EVENTS,
    &core::PIECES,
    &core::FINDINGS,
    &core::CONTENTS,
];

const fn column(name: &'static str, sql: &'static str, meaning: &'static str) -> Column {
    Column { name, sql, meaning }
}

impl View {
    /// Its columns.
    pub fn columns(&self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().copied().flatten()
    }

    /// The statement that counts its rows, without making their columns where it can.
    pub(crate) fn count(&self, partitions: &[String]) -> String {
        if self.merge.is_some() || partitions.is_empty() {
            return format!("SELECT count(*) FROM \"{}\"", self.name);
        }
        let arms: Vec<String> = partitions
            .iter()
            .map(|partition| format!("(SELECT count(*) FROM {})", self.from).replace("{p}", partition))
            .collect();
        format!("SELECT {}", arms.join(" + "))
    }

    /// The statement that selects its rows of one partition.
    pub(crate) fn select(&self, partition: &str) -> String {
        let columns: Vec<String> = self.columns().map(|column| format!("{} AS \"{}\"", column.sql, column.name)).collect();
        with_risk(&format!("SELECT {} FROM {}", columns.join(", "), self.from)).replace("{p}", partition)
    }

    /// The statement that makes it as a temporary view over the attached partitions.
    pub(crate) fn create(&self, partitions: &[String]) -> String {
        let arms: Vec<String> = partitions.iter().map(|partition| self.select(partition)).collect();
        let body = match self.merge {
            None => arms.join("\nUNION ALL\n"),
            Some(merge) => with_risk(merge).replace("{rows}", &format!("({})", arms.join("\nUNION ALL\n"))),
        };
        format!("CREATE TEMP VIEW \"{}\" AS {body}", self.name)
    }
}

/// Puts the numbers of [`event::risk`] into a statement.
fn with_risk(sql: &str) -> String {
    use event::risk::{HALF_LIFE_S, RULE_MAX, TECHNIQUE_MAX, WEIGHTS, weight};
    let known = WEIGHTS.map(|(severity, weight)| format!("WHEN '{severity}' THEN {weight:?}"));
    sql.replace("{risk.weights}", &format!("{} ELSE {:?}", known.join(" "), weight("")))
        .replace("{risk.rule_max}", &format!("{RULE_MAX:?}"))
        .replace("{risk.technique_max}", &format!("{TECHNIQUE_MAX:?}"))
        .replace("{risk.half_life_ns}", &format!("{:?}", HALF_LIFE_S * 1e9))
}

/// The names, for messages.
pub(crate) fn names() -> String {
    VIEWS.iter().map(|view| view.name).collect::<Vec<_>>().join(", ")
}

/// The reference of the views, as `docs/reference/views.md` has it.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Views\n\n\
         <!-- Made from `crates/store/src/views`; a test keeps it true. To write it: \
         `cargo xtask docs`. -->\n\n\
         What `watchkeeper query \"SQL\"` can read. SQLite's dialect; one SELECT a query. Ids A1 to A14 are the log \
         [categories](categories.md) of the requirements.\n\n\
         - Times are UTC, ISO 8601 with microseconds, as the source claims them. They sort and compare as text, and `time` \
         has an index: `WHERE time >= '2025-11-20T10'`, `WHERE time > strftime('%FT%T', 'now', '-1 hour')`, \
         `ORDER BY time DESC LIMIT 50`. `time_ns` is the same in nanoseconds since 1970, for arithmetic.\n\
         - A value that the source did not give is NULL. Scores are 0 to 1. What nobody inspected has a NULL score and the \
         classification `not_inspected`, never 0.\n\
         - A text of contents longer than 1 MiB ends with `[cut: ...]` here, and so do, in `attributes` and `unmapped` of more \
         than 1 MiB, the largest values (`watchkeeper.columns.bytes_cut` counts them); other texts hold 64 KiB. The journal \
         keeps everything.\n\
         - `agent` and `application` are names where the source gives names, ids otherwise.\n\
         - The gateway records a call as two events, request and response, with one `call_id`. A span records it as one.\n",
    );
    for view in VIEWS {
        let requirement = if view.requirement.is_empty() { String::new() } else { format!(" ({})", view.requirement) };
        let _ = write!(text, "\n## {}{requirement}\n\n{}\n\n| column | meaning |\n| --- | --- |\n", view.name, view.about);
        for column in view.columns() {
            let _ = writeln!(text, "| `{}` | {} |", column.name, column.meaning);
        }
    }
    text
}

/// When, and which event.
const WHEN: &[Column] = &[
    column("time", "e.time", "when it began, by the source's clock"),
    column("time_ns", "e.time_ns", "the same, in nanoseconds since 1970"),
    column("event_id", "e.id", "the event"),
    column("seq", "e.seq", "its place in the journal, and of its leaf in the ledger"),
];

/// Where it belongs.
const WHERE: &[Column] = &[
    column("trace_id", "e.trace_id", "W3C trace"),
    column("span_id", "e.span_id", "span within the trace"),
    column("session_id", "e.session_id", "session or conversation"),
    column("turn", "e.turn", "turn of the conversation, where the source tells it"),
    column("call_id", "e.call_id", "joins the request and the response of one gateway call"),
];

/// Who.
const WHO: &[Column] = &[
    column("user_id", "e.user_id", "end user"),
    column("application", "e.application", "application or service"),
    column("agent", "e.agent", "agent that acted"),
];

/// Which model.
const MODEL: &[Column] = &[
    column("provider", "e.provider", "provider of the model"),
    column("model", "coalesce(e.response_model, e.request_model)", "model that answered, or else the one asked for"),
    column("request_model", "e.request_model", "model that was asked for"),
];

/// How it went.
const OUTCOME: &[Column] = &[
    column("status", "e.status", "`unset`, `ok` or `error`"),
    column("error", "e.error_type", "why it failed"),
    column("duration_ms", "e.duration_ns / 1e6", "how long it took, in milliseconds"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_reference_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/views.md");
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap();
        assert!(published == reference(), "docs/reference/views.md is stale; run `cargo xtask docs`");
    }

    #[test]
    fn names_are_unique_and_every_column_is_explained() {
        let mut names: Vec<&str> = VIEWS.iter().map(|view| view.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        for view in VIEWS {
            let mut columns: Vec<&str> = view.columns().map(|column| column.name).collect();
            columns.sort_unstable();
            assert!(columns.windows(2).all(|pair| pair[0] != pair[1]), "{}", view.name);
            assert!(view.columns().all(|column| !column.meaning.is_empty() && !column.meaning.contains('|')));
        }
    }
}
