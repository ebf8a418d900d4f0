//! The columns of a call's row: written when it is first told of, and filled by each report behind.

use std::sync::LazyLock;

use event::{ContentRef, attr};
use rusqlite::{CachedStatement, Result};

use super::{CONFLICT, CONFLICTING, Candidate, EVENT, OUTPUT, RESULT, Report, Texts};
use crate::cut;
use crate::partition::Partition;
use crate::row::{EventRow, display};

const COLUMNS: [&str; 32] = [
    "seq",
    "event_id",
    "time",
    "time_ns",
    "end_ns",
    "source",
    "origins",
    "done",
    "call_id",
    "session_id",
    "trace_id",
    "scope",
    "exchange",
    "user_id",
    "application",
    "agent",
    "agent_version",
    "model",
    "tool",
    "tool_type",
    "args_hash",
    "arguments",
    "result",
    "result_event_id",
    "result_time_ns",
    "joined_by",
    "status",
    "error",
    "approval_status",
    "approval_source",
    "duration_ns",
    "risk_score",
];

pub(super) fn insert(
    partition: &mut Partition,
    row: &EventRow<'_>,
    report: &Report<'_>,
    texts: &dyn Texts,
    is_conflict: bool,
) -> Result<()> {
    let values = Values { is_conflict, ..Values::new(partition, row.seq, report, None, texts)? };
    let mut statement = partition.connection.prepare_cached(&INSERT)?;
    values.bind(&mut statement, row, report)?;
    statement.raw_execute().map(drop)
}

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let marks: Vec<String> = (1..=COLUMNS.len() + 1).map(|n| format!("?{n}")).collect();
    format!("INSERT INTO actions({}, risk) VALUES ({})", COLUMNS.join(", "), marks.join(", "))
});

static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let sets: Vec<String> = COLUMNS
        .iter()
        .enumerate()
        .map(|(index, column)| (index + 1, *column))
        .filter(|(_, column)| !matches!(*column, "seq" | "event_id" | "source" | "scope"))
        .map(|(n, column)| match column {
            "origins" | "done" => format!("{column} = {column} | ?{n}"),
            // What asked for the call comes first, whichever order the reports come in.
            "time" | "time_ns" => format!("{column} = min({column}, ?{n})"),
            "end_ns" => format!("end_ns = max(end_ns, ?{n})"),
            "status" => format!("status = CASE WHEN status = 'requested' THEN ?{n} ELSE status END"),
            _ => format!("{column} = coalesce({column}, ?{n})"),
        })
        .collect();
    format!("UPDATE actions SET {}, risk = coalesce(risk, ?33) WHERE id = ?34", sets.join(", "))
});

/// Fills what the row does not have. Who, what and when stay those of the first report.
pub(super) fn update(
    partition: &mut Partition,
    row: &EventRow<'_>,
    report: &Report<'_>,
    candidate: &Candidate,
    texts: &dyn Texts,
) -> Result<()> {
    let values = Values::new(partition, row.seq, report, Some(candidate.joined_by), texts)?;
    let mut statement = partition.connection.prepare_cached(&UPDATE)?;
    values.bind(&mut statement, row, report)?;
    statement.raw_bind_parameter(34, candidate.id)?;
    statement.raw_execute().map(drop)
}

/// The values that have to be looked up in the partition.
struct Values {
    arguments: Option<i64>,
    result: Option<i64>,
    joined_by: Option<&'static str>,
    is_conflict: bool,
}

impl Values {
    fn new(
        partition: &mut Partition,
        seq: i64,
        report: &Report<'_>,
        joined_by: Option<&'static str>,
        texts: &dyn Texts,
    ) -> Result<Self> {
        let mut number = |content: Option<&ContentRef>| -> Result<Option<i64>> {
            let Some(content) = content else { return Ok(None) };
            if let Some(number) = partition.content(&content.id)? {
                return Ok(Some(number));
            }
            let Some(text) = texts.text(content) else { return Ok(None) };
            partition.add_content(&content.id, content.subject.as_bytes(), seq, &text).map(Some)
        };
        let arguments = number(report.arguments)?;
        let result = number(report.result)?;
        let joined_by = if report.origin == RESULT { joined_by } else { result.map(|_| "event") };
        Ok(Self { arguments, result, joined_by, is_conflict: false })
    }

    /// Binds the values in the order of [`COLUMNS`], the risk behind them.
    fn bind(&self, statement: &mut CachedStatement<'_>, row: &EventRow<'_>, report: &Report<'_>) -> Result<()> {
        let outcome = report.result.is_some() || report.done;
        let is_event = report.origin == EVENT;
        let attribute = |key| if is_event { row.text(key) } else { None };
        let model = if report.origin == OUTPUT { row.model() } else { None };
        let duration = row.event.duration_ns.filter(|_| is_event).map(crate::row::integer);
        let agent_version = row.event.identity.agent.as_ref().and_then(|agent| agent.version.as_deref()).map(cut::text);
        let origins = if self.is_conflict { report.origin | CONFLICT } else { report.origin };
        let error = if self.is_conflict { Some(CONFLICTING) } else { report.error.as_deref() };
        let values: [&dyn rusqlite::ToSql; 33] = [
            &row.seq,
            &row.id,
            &row.time,
            &row.time_ns,
            &row.end_ns,
            &row.source,
            &origins,
            &report.done,
            &report.call_id,
            &row.session(),
            &row.trace_id,
            &row.scope(),
            &report.exchange,
            &row.user(),
            &row.event.identity.application.as_ref().map(display),
            &row.agent(),
            &agent_version,
            &model,
            &report.tool,
            &attribute(&attr::GEN_AI_TOOL_TYPE),
            &report.args_hash,
            &self.arguments,
            &self.result,
            &outcome.then_some(&row.id),
            &outcome.then_some(row.time_ns),
            &self.joined_by,
            &report.status,
            &error,
            &attribute(&attr::APPROVAL_STATUS),
            &attribute(&attr::APPROVAL_SOURCE),
            &duration,
            &report.score,
            &report.risk,
        ];
        for (index, value) in values.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, value)?;
        }
        Ok(())
    }
}
