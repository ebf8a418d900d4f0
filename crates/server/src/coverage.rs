//! What a record shows of what rules need: the fields that its events had, the categories, and what was detected.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use detect::RuleSet;
use detect::coverage::{Coverage, Seen, field_of_piece, kinds_of, needed_fields};
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

/// Most bytes of names that go into one query.
const NAMES_BYTES_MAX: usize = 32 * 1024;
/// Most queries for fields, each of which goes through all events of the days: a thousand names each.
const FIELD_QUERIES_MAX: usize = 4;
/// Most queries for detections.
const DETECTION_QUERIES_MAX: usize = 32;
/// How rules call what no dialect knows.
const UNMAPPED: &str = "unmapped.";

/// What the record of the last days shows of what `rules` need. It is asked for the names that the rules have, so that others, of which
/// anybody may send any number, crowd none of them out; what it could not be asked is told in [`Seen::cut`]. No contents are read for it,
/// only whether they are there. `None` when it is to stop, which is asked between queries.
///
/// # Errors
/// What the store says.
pub fn seen(reader: &Reader, days: u16, rules: &RuleSet, stopping: &dyn Fn() -> bool) -> Result<Option<Seen>, QueryError> {
    let span_ns = u64::from(days.min(COVERAGE_DAYS_MAX)) * 86_400_000_000_000;
    let since = Timestamp::from_unix_ns(Timestamp::now().unix_ns().saturating_sub(span_ns)).rfc3339();
    let columns: Vec<String> = COLUMNS.iter().map(|(column, _)| format!("max({column} IS NOT NULL)")).collect();
    // What Watchkeeper says itself is not what a rule waits for, but for what comes of the models that it asks.
    let of_others = format!("time >= '{since}' AND (source <> 'internal' OR kind IN ('evaluation', 'guardrail'))");
    let limits = QueryLimits::default();
    let mut cut = Vec::new();
    let mut ask = |what: &str, sql: &str| -> Result<Option<Vec<Vec<Cell>>>, QueryError> {
        if stopping() {
            return Ok(None);
        }
        let table = reader.sql(sql, &limits)?;
        if table.truncated {
            cut.push(format!("{what}: there are more than were looked at"));
        }
        Ok(Some(table.rows))
    };
    let mut seen = Seen::default();
    let mut kinds = BTreeSet::new();
    let by_kind = format!("SELECT kind, {} FROM events WHERE {of_others} GROUP BY kind", columns.join(", "));
    let Some(rows) = ask("kinds of events", &by_kind)? else { return Ok(None) };
    for row in rows {
        let mut cells = row.into_iter();
        kinds.extend(cells.next().and_then(|kind| Kind::from_name(&kind.to_string())));
        let there = cells.zip(COLUMNS).filter(|(cell, _)| *cell == Cell::Int(1));
        seen.fields.extend(there.map(|(_, (_, field))| field.to_owned()));
    }
    let (unmapped, attributes): (Vec<String>, Vec<String>) =
        needed_fields(rules).into_iter().partition(|name| name.starts_with(UNMAPPED));
    let unmapped: Vec<String> = unmapped.iter().filter_map(|name| name.strip_prefix(UNMAPPED)).map(str::to_owned).collect();
    let (attributes, over) = in_queries(&attributes, FIELD_QUERIES_MAX);
    let (unmapped, over_unmapped) = in_queries(&unmapped, FIELD_QUERIES_MAX);
    for (column, prefix, all) in [("attributes", "", attributes), ("unmapped", UNMAPPED, unmapped)] {
        for names in all {
            let sql = format!(
                "SELECT DISTINCT j.key FROM events e, json_each(e.{column}) j WHERE {of_others} AND j.key IN (SELECT value FROM json_each({names}))"
            );
            let Some(rows) = ask("fields", &sql)? else { return Ok(None) };
            seen.fields.extend(rows.into_iter().flatten().map(|cell| format!("{prefix}{cell}")));
        }
    }
    let of_pieces = format!("SELECT DISTINCT p.direction, p.role, p.part FROM pieces p WHERE p.time >= '{since}'");
    let Some(rows) = ask("contents", &of_pieces)? else { return Ok(None) };
    let mut holds_calls = false;
    for row in rows {
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
    let detecting = rules.rules().filter(|rule| !rule.techniques.is_empty()).map(|rule| rule.id.clone());
    let detecting: Vec<String> = detecting.chain(detect::coverage::built_in().map(str::to_owned)).collect();
    let (detecting, over_rules) = in_queries(&detecting, DETECTION_QUERIES_MAX);
    for ids in detecting {
        let sql = format!(
            "SELECT rule, count(*) FROM detections WHERE time >= '{since}' AND rule IN (SELECT value FROM json_each({ids})) GROUP BY rule"
        );
        let Some(rows) = ask("detections", &sql)? else { return Ok(None) };
        for row in rows {
            if let [Cell::Text(rule), Cell::Int(count)] = row.as_slice() {
                seen.detections.insert(rule.clone(), u64::try_from(*count).unwrap_or(0));
            }
        }
    }
    let Some(rows) = ask("drills", &crate::drilled::query(&since))? else { return Ok(None) };
    seen.drills = crate::drilled::by_technique(rows);
    for (over, what) in [(over + over_unmapped, "fields that the rules name"), (over_rules, "rules, for their detections")] {
        if over > 0 {
            cut.push(format!("{what}: {over} more than one answer asks for"));
        }
    }
    seen.cut = cut;
    Ok(Some(seen))
}

/// Names as JSON lists in SQL, as many as fit into each of so many queries, and how many do not.
fn in_queries(names: &[String], queries_max: usize) -> (Vec<String>, usize) {
    let mut queries: Vec<Vec<&str>> = Vec::new();
    let mut bytes = NAMES_BYTES_MAX;
    for (place, name) in names.iter().enumerate() {
        // Written as JSON in SQL no name gets longer than that.
        let own = name.len().saturating_mul(6) + 8;
        if own > NAMES_BYTES_MAX {
            continue;
        }
        if bytes + own > NAMES_BYTES_MAX {
            if queries.len() == queries_max {
                return (queries.iter().map(|names| literal(names)).collect(), names.len() - place);
            }
            queries.push(Vec::new());
            bytes = 0;
        }
        bytes += own;
        queries.last_mut().into_iter().for_each(|query| query.push(name));
    }
    (queries.iter().map(|names| literal(names)).collect(), 0)
}

/// A JSON list as a literal of SQL.
fn literal(names: &[&str]) -> String {
    let json = serde_json::Value::from(names.to_vec()).to_string();
    format!("'{}'", json.replace('\'', "''"))
}

/// What was answered lately: what the rules in force cover is asked by everybody, and takes seconds.
#[derive(Default)]
pub(crate) struct Answered(Mutex<Vec<Answer>>);

struct Answer {
    days: u16,
    rules: String,
    until: Instant,
    coverage: Arc<Coverage>,
}

/// How long an answer is good for.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(60);
/// An answer is kept at least so many times as long as it took: whoever asks for it all the time takes no more than a tenth of that.
const ANSWER_AGE_TIMES: u32 = 9;
/// Most answers that are kept: for so many numbers of days.
pub(crate) const ANSWERS_MAX: usize = 6;

impl Answered {
    /// What these rules cover by the record of so many days, if that was asked lately.
    pub(crate) fn get(&self, days: u16, rules: &str) -> Option<Arc<Coverage>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|answer| Instant::now() < answer.until);
        all.iter().find(|answer| answer.days == days && answer.rules == rules).map(|answer| answer.coverage.clone())
    }

    /// Keeps an answer that took so long.
    pub(crate) fn put(&self, days: u16, rules: String, coverage: Arc<Coverage>, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|answer| (answer.days, &answer.rules) != (days, &rules));
        if all.len() == ANSWERS_MAX {
            all.remove(0);
        }
        let until = Instant::now() + ANSWER_AGE_MAX.max(took.saturating_mul(ANSWER_AGE_TIMES));
        all.push(Answer { days, rules, until, coverage });
    }
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
    fn names_are_bounded_and_no_name_leaves_its_literal() {
        let names: Vec<String> = (0..3_000).map(|number| format!("field.{number:04}")).collect();
        let (queries, over) = in_queries(&names, 4);
        let listed: usize = queries.iter().map(|query| query.matches("field.").count()).sum();
        assert_eq!((queries.len(), listed + over), (4, 3_000));
        assert!(over > 0 && queries.iter().all(|query| query.len() <= NAMES_BYTES_MAX));
        let (queries, over) = in_queries(&["it's\"".to_owned(), "x".repeat(NAMES_BYTES_MAX)], 4);
        assert_eq!((queries, over), (vec![r#"'["it''s\""]'"#.to_owned()], 0));
        assert_eq!(in_queries(&[], 4), (Vec::new(), 0));
    }

    #[test]
    fn an_answer_is_of_its_days_and_rules_and_only_so_many_are_kept() {
        let answered = Answered::default();
        for days in 1..=20 {
            answered.put(days, "a".to_owned(), Arc::default(), Duration::ZERO);
        }
        let there: Vec<u16> = (1..=20).filter(|days| answered.get(*days, "a").is_some()).collect();
        assert_eq!(there, (15..=20).collect::<Vec<_>>());
        assert!(answered.get(20, "b").is_none());
        answered.0.lock().unwrap()[5].until = Instant::now();
        assert!(answered.get(20, "a").is_none());
        // What took long is kept for longer.
        answered.put(20, "a".to_owned(), Arc::default(), Duration::from_secs(10));
        let left = answered.0.lock().unwrap()[5].until - Instant::now();
        assert!(left > Duration::from_secs(80), "{left:?}");
    }

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

    /// Whoever sends names of their own by the thousand crowds none out that a rule needs.
    #[test]
    fn fields_are_found_among_any_number_of_others() {
        const RULE: &str = "title: T\nid: 3f0c8a52-7d6e-4c1b-9a53-0d5b2f6c7e11\nlogsource: {product: ai, category: tool}\ndetection:\n  s:\n    \
            unmapped.zz's: x\n    zz.own: y\n  condition: s\nwatchkeeper:\n  techniques: [AML.T0053]\n  examples:\n    positive:\n      - event: \
            {\"unmapped.zz's\": x, zz.own: y}\n    negative:\n      - event: {zz.own: z}\n";
        let dir = tempfile::tempdir().unwrap();
        let root = crate::root_key::RootKeyPlace::new(Some(&dir.path().join("root.key"))).unwrap();
        let node = crate::node::Node::open(&dir.path().join("data"), &root, &crate::node::NodeSettings::default()).unwrap();
        let event = |names: &[String]| {
            let source = event::Source::new(event::SourcePath::Api, event::Key::of("api"));
            let mut event: event::Event<String> = event::Event::new(Kind::ToolCall, "execute_tool", source);
            for name in names {
                match name.as_str() {
                    "zz.own" => event.set(event::Key::of("zz.own"), "x"),
                    _ => drop(event.unmapped.insert(name.clone(), event::Value::Text("x".to_owned()))),
                }
            }
            event
        };
        for part in 0..120_usize {
            let names: Vec<String> = (0..50).map(|name| format!("aa.{part:03}.{name:03}")).collect();
            node.pipeline().record_blocking(vec![event(&names)], &|| true).unwrap();
        }
        let rules = RuleSet::of_files(vec![("r.yml".into(), RULE.to_owned())]).unwrap();
        assert_eq!(rules.problems(), []);
        assert_eq!(needed_fields(&rules).into_iter().collect::<Vec<_>>(), ["unmapped.zz's", "zz.own"]);
        let seen_now = || {
            assert!(node.flush(Duration::from_secs(60)));
            seen(&node.reader().unwrap(), 30, &rules, &|| false).unwrap().unwrap()
        };
        let before = seen_now();
        assert!(!before.fields.contains("zz.own") && before.cut.is_empty() && before.categories.contains("tool"), "{before:?}");
        node.pipeline().record_blocking(vec![event(&["zz's".to_owned(), "zz.own".to_owned()])], &|| true).unwrap();
        let after = seen_now();
        assert!(after.fields.contains("unmapped.zz's") && after.fields.contains("zz.own"), "{after:?}");
        assert!(after.fields.iter().all(|field| !field.starts_with("unmapped.aa")), "nobody needs them");
        assert_eq!(seen(&node.reader().unwrap(), 30, &rules, &|| true).unwrap(), None);
        node.close().unwrap();
    }
}
