//! What a record shows of what rules need: the fields that its events had, the categories, and what was detected.

use std::collections::BTreeSet;

use detect::coverage::{Seen, field_of_piece, kinds_of};
use detect::fields::CATEGORIES;
use event::{Direction, Kind, Part, Role, Timestamp};
use store::{Cell, QueryError, QueryLimits, Reader};

/// Most days of the record that are asked.
pub const COVERAGE_DAYS_MAX: u16 = 3_660;

/// Columns of the view `events` that stand for fields of rules.
const COLUMNS: [(&str, &str); 16] = [
    ("user_id", "user.id"),
    ("user_name", "user.name"),
    ("application", "service.name"),
    ("application_version", "service.version"),
    ("agent", "gen_ai.agent.name"),
    ("agent_id", "gen_ai.agent.id"),
    ("agent_version", "gen_ai.agent.version"),
    ("delegation", "watchkeeper.delegation"),
    ("credential", "watchkeeper.credential.id"),
    ("client_address", "client.address"),
    ("user_agent", "user_agent.original"),
    ("session_id", "session.id"),
    ("trace_id", "trace.id"),
    ("duration_ms", "event.duration_ms"),
    ("tool", "gen_ai.tool.name"),
    ("verdict", "watchkeeper.verdict"),
];

/// What the record of the last days shows. No contents are read for it, only whether they are there.
///
/// # Errors
/// What the store says.
pub fn seen(reader: &Reader, days: u16) -> Result<Seen, QueryError> {
    let span_ns = u64::from(days.min(COVERAGE_DAYS_MAX)) * 86_400_000_000_000;
    let since = Timestamp::from_unix_ns(Timestamp::now().unix_ns().saturating_sub(span_ns)).rfc3339();
    let columns: Vec<String> = COLUMNS.iter().map(|(column, _)| format!("max({column} IS NOT NULL)")).collect();
    // What Watchkeeper says itself is not what a rule waits for, but for what comes of the models that it asks.
    let of_others = format!("time >= '{since}' AND (source <> 'internal' OR kind IN ('evaluation', 'guardrail'))");
    let queries = [
        format!("SELECT kind, {} FROM events WHERE {of_others} GROUP BY kind", columns.join(", ")),
        format!("SELECT DISTINCT j.key FROM events e, json_each(e.attributes) j WHERE {of_others}"),
        format!("SELECT DISTINCT 'unmapped.' || j.key FROM events e, json_each(e.unmapped) j WHERE {of_others} LIMIT 5000"),
        format!("SELECT DISTINCT p.direction, p.role, p.part FROM pieces p WHERE p.time >= '{since}'"),
        format!("SELECT rule, count(*) FROM detections WHERE time >= '{since}' AND rule IS NOT NULL GROUP BY rule"),
    ];
    let limits = QueryLimits::default();
    let tables: Vec<_> = queries.iter().map(|sql| reader.sql(sql, &limits)).collect::<Result<_, _>>()?;
    let mut seen = Seen::default();
    let mut tables = tables.into_iter().map(|table| table.rows);
    let mut next = || tables.next().unwrap_or_default();
    let mut kinds = BTreeSet::new();
    for row in next() {
        let mut cells = row.into_iter();
        kinds.extend(cells.next().and_then(|kind| Kind::from_name(&kind.to_string())));
        let there = cells.zip(COLUMNS).filter(|(cell, _)| *cell == Cell::Int(1));
        seen.fields.extend(there.map(|(_, (_, field))| field.to_owned()));
    }
    for row in next().into_iter().chain(next()) {
        seen.fields.extend(row.into_iter().map(|cell| cell.to_string()));
    }
    let mut holds_calls = false;
    for row in next() {
        let [Cell::Text(direction), Cell::Text(role), Cell::Text(part)] = row.as_slice() else { continue };
        let direction = if direction == "output" { Direction::Output } else { Direction::Input };
        let (Some(role), Some(part)) = (role_of(role), part_of(part)) else { continue };
        holds_calls |= part == Part::ToolCall;
        seen.fields.extend(field_of_piece(direction, role, part).into_iter().map(str::to_owned));
    }
    if holds_calls {
        // A tool call in a model's answer is a document of its own, with the tool's name.
        seen.categories.insert("tool".to_owned());
        seen.fields.insert("gen_ai.tool.name".to_owned());
    }
    let of = CATEGORIES.iter().filter(|(category, _)| kinds_of(category).any(|kind| kinds.contains(&kind)));
    seen.categories.extend(of.map(|(category, _)| (*category).to_owned()));
    for row in next() {
        if let [Cell::Text(rule), Cell::Int(count)] = row.as_slice() {
            seen.detections.insert(rule.clone(), u64::try_from(*count).unwrap_or(0));
        }
    }
    Ok(seen)
}

fn role_of(name: &str) -> Option<Role> {
    serde_json::from_value(name.into()).ok()
}

fn part_of(name: &str) -> Option<Part> {
    serde_json::from_value(name.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_view_are_those_of_events() {
        for role in ["system", "user", "assistant", "tool", "document"] {
            assert!(role_of(role).is_some(), "{role}");
        }
        for part in
            ["text", "reasoning", "tool_call", "tool_result", "document", "query", "tool_definition", "media", "command", "body"]
        {
            assert!(part_of(part).is_some(), "{part}");
        }
    }
}
