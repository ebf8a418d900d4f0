//! What is counted over time, and whom it names, so that a page over millions of events reads thousands of rows. Gathered in memory for
//! a batch and written before its commit, as [`aggregates`](crate::aggregates) are.
//!
//! Time is the source's. A clock that lies makes rows of its own, at most one for each event.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use event::{Key, Kind, Phase, Status, attr};
use rusqlite::{Connection, Result, ToSql, params};

use crate::list::{EntityKind, UsageBy};
use crate::row::{EventRow, is_joined, output_class};

/// Length of a row of `minutes`.
pub(crate) const MINUTE_NS: i64 = 60_000_000_000;

/// Length of a row of `usage`, `latencies` and `outputs`: they name users and models, so that there are more of them.
const SLOT_S: i64 = 300;

/// Length of the rows that count the same once more: a view of a day reads a sixth.
const LONG_SLOT_S: i64 = 1_800;

const SECOND_NS: i64 = 1_000_000_000;

/// The length of the rows to read for buckets of this length, in seconds.
pub(crate) fn slot_seconds(bucket_ns: i64) -> i64 {
    if bucket_ns % (LONG_SLOT_S * SECOND_NS) == 0 { LONG_SLOT_S } else { SLOT_S }
}

/// The beginning of the row of `seconds` that a time belongs to.
fn slot_of(time_ns: i64, seconds: i64) -> i64 {
    time_ns - time_ns.rem_euclid(seconds * SECOND_NS)
}

/// Steps of the histogram of latencies for each doubling: 9 % each.
const STEPS_PER_DOUBLING: f64 = 8.0;

/// What a call cost in US dollars, where its source says that.
const COST: Key = Key::of("gen_ai.usage.cost");

/// What a batch adds.
#[derive(Debug, Default)]
pub(crate) struct Rollups {
    minutes: HashMap<(i64, &'static str), Minute>,
    usage: HashMap<UsageKey, Usage>,
    latencies: HashMap<(i64, String, i64), i64>,
    outputs: HashMap<(i64, String, &'static str), i64>,
    entities: HashMap<(EntityKind, String), Seen>,
    session_agents: HashSet<(String, String)>,
}

#[derive(Debug, Default)]
struct Minute {
    events: i64,
    finished: i64,
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct UsageKey {
    slot: i64,
    by: UsageBy,
    name: String,
    /// Of a model.
    provider: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    calls: i64,
    errors: i64,
    refusals: i64,
    input_tokens: i64,
    output_tokens: i64,
    cached_tokens: i64,
    cost: f64,
    costed: i64,
}

#[derive(Debug, Default)]
struct Seen {
    first_ns: i64,
    last_ns: i64,
    events: i64,
}

impl Usage {
    fn add(&mut self, other: &Self) {
        let Self { calls, errors, refusals, input_tokens, output_tokens, cached_tokens, cost, costed } = other;
        self.calls += calls;
        self.errors += errors;
        self.refusals += refusals;
        self.input_tokens = self.input_tokens.saturating_add(*input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(*output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(*cached_tokens);
        self.cost += cost;
        self.costed += costed;
    }
}

impl Rollups {
    /// Adds an event.
    pub(crate) fn add(&mut self, row: &EventRow<'_>) {
        let event = row.event;
        let is_error = event.status == Status::Error;
        // A report of what another event tells already.
        let is_repeated = is_joined(event);
        let is_finished = event.phase != Phase::Request && !is_repeated;
        let minute = self.minutes.entry((row.time_ns - row.time_ns.rem_euclid(MINUTE_NS), event.kind.as_str())).or_default();
        minute.events += 1;
        minute.finished += i64::from(is_finished);
        minute.errors += i64::from(is_error);
        if event.kind == Kind::ModelCall && is_finished {
            let tokens = |key| row.int(&key).unwrap_or(0).max(0);
            let (input, output) = (tokens(attr::GEN_AI_USAGE_INPUT_TOKENS), tokens(attr::GEN_AI_USAGE_OUTPUT_TOKENS));
            minute.input_tokens = minute.input_tokens.saturating_add(input);
            minute.output_tokens = minute.output_tokens.saturating_add(output);
            self.add_call(row, input, output);
        }
        // What Watchkeeper itself says of somebody is nothing that they did.
        if !matches!(event.kind, Kind::Detection | Kind::ResponseAction | Kind::Gap) {
            self.add_entities(row);
        }
    }

    fn add_call(&mut self, row: &EventRow<'_>, input: i64, output: i64) {
        let slot = slot_of(row.time_ns, SLOT_S);
        let model = row.model().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let class = output_class(row.event);
        // The name is not in the conventions yet, so that some sources' stands among what no dialect knows.
        let unmapped = || row.event.unmapped.get(COST.as_str()).and_then(event::Value::as_f64);
        let cost = row.real(&COST).or_else(unmapped).filter(|cost| (0.0..COST_MAX).contains(cost));
        let usage = Usage {
            calls: 1,
            errors: i64::from(row.event.status == Status::Error),
            refusals: i64::from(class == Some("refusal")),
            input_tokens: input,
            output_tokens: output,
            cached_tokens: row.int(&attr::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS).unwrap_or(0).max(0),
            cost: cost.unwrap_or_default(),
            costed: i64::from(cost.is_some()),
        };
        let provider = row.text(&attr::GEN_AI_PROVIDER_NAME).map(std::borrow::Cow::into_owned).unwrap_or_default();
        for (by, name, provider) in [
            (UsageBy::User, row.user().unwrap_or_default(), String::new()),
            (UsageBy::Model, model.as_str(), provider),
            (UsageBy::Application, row.application().unwrap_or_default(), String::new()),
            (UsageBy::Agent, row.agent().unwrap_or_default(), String::new()),
        ] {
            self.usage.entry(UsageKey { slot, by, name: name.to_owned(), provider }).or_default().add(&usage);
        }
        if let Some(class) = class {
            *self.outputs.entry((slot, model.clone(), class)).or_default() += 1;
        }
        if let Some(duration) = row.event.duration_ns {
            *self.latencies.entry((slot, model, step_of(duration))).or_default() += 1;
        }
    }

    fn add_entities(&mut self, row: &EventRow<'_>) {
        let model = row.model();
        let tool = row.text(&attr::GEN_AI_TOOL_NAME);
        for (kind, name) in [
            (EntityKind::User, row.user()),
            (EntityKind::Agent, row.agent()),
            (EntityKind::Application, row.application()),
            (EntityKind::Tool, tool.as_deref()),
            (EntityKind::Model, model.as_deref()),
        ] {
            let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
            let seen = self.entities.entry((kind, name.to_owned())).or_default();
            seen.first_ns = if seen.events == 0 { row.time_ns } else { seen.first_ns.min(row.time_ns) };
            seen.last_ns = if seen.events == 0 { row.time_ns } else { seen.last_ns.max(row.time_ns) };
            seen.events += 1;
        }
        if let (Some(session), Some(agent)) = (row.session(), row.agent()) {
            self.session_agents.insert((session.to_owned(), agent.to_owned()));
        }
    }

    /// Writes what was gathered, inside the transaction.
    pub(crate) fn flush(&mut self, connection: &Connection) -> Result<()> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO minutes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET events = events + excluded.events, finished = finished + excluded.finished,
               errors = errors + excluded.errors, input_tokens = input_tokens + excluded.input_tokens,
               output_tokens = output_tokens + excluded.output_tokens",
        )?;
        for ((minute, kind), Minute { events, finished, errors, input_tokens, output_tokens }) in self.minutes.drain() {
            statement.execute(params![minute, kind, events, finished, errors, input_tokens, output_tokens])?;
        }
        self.flush_usage(connection)?;
        flush_counts(connection, "latencies", &mut self.latencies)?;
        flush_counts(connection, "outputs", &mut self.outputs)?;
        let mut statement = connection.prepare_cached(
            "INSERT INTO entities VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns),
               events = events + excluded.events",
        )?;
        for ((kind, name), Seen { first_ns, last_ns, events }) in self.entities.drain() {
            statement.execute(params![kind.as_str(), name, first_ns, last_ns, events])?;
        }
        let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO session_agents VALUES (?1, ?2)")?;
        for (session, agent) in self.session_agents.drain() {
            statement.execute(params![session, agent])?;
        }
        Ok(())
    }
}

impl Rollups {
    fn flush_usage(&mut self, connection: &Connection) -> Result<()> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, errors = errors + excluded.errors,
               refusals = refusals + excluded.refusals, input_tokens = input_tokens + excluded.input_tokens,
               output_tokens = output_tokens + excluded.output_tokens, cached_tokens = cached_tokens + excluded.cached_tokens,
               cost = cost + excluded.cost, costed = costed + excluded.costed",
        )?;
        let mut write = |seconds: i64, key: &UsageKey, usage: &Usage| {
            let UsageKey { slot, by, name, provider } = key;
            let Usage { calls, errors, refusals, input_tokens, output_tokens, cached_tokens, cost, costed } = usage;
            statement
                .execute(params![
                    seconds,
                    by.code(),
                    slot,
                    name,
                    provider,
                    calls,
                    errors,
                    refusals,
                    input_tokens,
                    output_tokens,
                    cached_tokens,
                    cost,
                    costed
                ])
                .map(drop)
        };
        let mut long: HashMap<UsageKey, Usage> = HashMap::new();
        for (key, usage) in self.usage.drain() {
            write(SLOT_S, &key, &usage)?;
            let slot = slot_of(key.slot, LONG_SLOT_S);
            long.entry(UsageKey { slot, ..key }).or_default().add(&usage);
        }
        long.iter().try_for_each(|(key, usage)| write(LONG_SLOT_S, key, usage))
    }
}

/// Writes counts of models by something: at which slot, of which model, of what, how many.
fn flush_counts<T: ToSql + Eq + Hash>(
    connection: &Connection,
    table: &str,
    counts: &mut HashMap<(i64, String, T), i64>,
) -> Result<()> {
    let sql = format!("INSERT INTO {table} VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut long: HashMap<(i64, String, T), i64> = HashMap::new();
    for ((slot, model, of), calls) in counts.drain() {
        statement.execute(params![SLOT_S, slot, model, of, calls])?;
        *long.entry((slot_of(slot, LONG_SLOT_S), model, of)).or_default() += calls;
    }
    for ((slot, model, of), calls) in long {
        statement.execute(params![LONG_SLOT_S, slot, model, of, calls])?;
    }
    Ok(())
}

/// Most that one call can cost, in dollars: what is more is no cost, and would hide all others.
const COST_MAX: f64 = 1e6;

/// The step of the histogram that a duration falls into.
fn step_of(duration_ns: u64) -> i64 {
    // Durations of years are exact enough in a double, and a logarithm of a positive number below 2^64 fits.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    let step = ((duration_ns.max(1) as f64).log2() * STEPS_PER_DOUBLING).floor() as i64;
    step
}

/// The middle of a step, in milliseconds.
pub(crate) fn step_ms(step: i64) -> f64 {
    // A step is below 512.
    #[allow(clippy::cast_precision_loss)]
    let exponent = (step as f64 + 0.5) / STEPS_PER_DOUBLING;
    exponent.exp2() / 1e6
}

/// Notes a detection apart from its attributes, which are JSON of some KB.
pub(crate) fn note_detection(connection: &Connection, row: &EventRow<'_>) -> Result<()> {
    if row.event.kind != Kind::Detection {
        return Ok(());
    }
    let text = |key| row.text(&key);
    let severity = text(attr::DETECTION_SEVERITY).as_deref().and_then(severity_code).unwrap_or(0);
    if let Some(session) = row.session() {
        // Of one that comes later the table of detections is asked: see `Aggregates`.
        connection
            .prepare_cached("UPDATE sessions SET severity = max(ifnull(severity, 0), ?2), others = 1 WHERE session_id = ?1")?
            .execute(params![session, severity])?;
    }
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO detections VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            row.seq,
            row.id,
            row.time_ns,
            crate::row::integer(row.event.observed.unix_ns()),
            text(attr::DETECTION_RULE),
            text(attr::DETECTION_TITLE).as_deref().unwrap_or(&row.event.name),
            text(attr::DETECTION_TECHNIQUE),
            severity,
            row.real(&attr::DETECTION_CONFIDENCE),
            text(attr::DETECTION_GRADE),
            row.session(),
            row.trace_id,
            row.user(),
            row.application(),
            row.agent(),
            text(attr::GEN_AI_TOOL_NAME),
            row.model(),
        ])
        .map(drop)
}

/// Severities, by their number in the table.
pub(crate) const SEVERITIES: [&str; 5] = ["informational", "low", "medium", "high", "critical"];

/// The number of a severity.
pub(crate) fn severity_code(name: &str) -> Option<i64> {
    SEVERITIES.iter().position(|known| *known == name).and_then(|place| i64::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_tells_a_duration_to_within_its_width() {
        for ms in [0.001_f64, 0.5, 1.0, 20.0, 333.0, 1_000.0, 60_000.0, 86_400_000.0] {
            let told = step_ms(step_of((ms * 1e6) as u64));
            assert!((told / ms - 1.0).abs() < 0.05, "{ms} ms is told as {told}");
        }
        assert_eq!(step_of(0), 0);
        assert!(step_ms(step_of(u64::MAX)).is_finite());
    }
}
