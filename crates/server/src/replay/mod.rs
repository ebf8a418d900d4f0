//! Rules over what is recorded: what they would have detected (a backtest), whether detection as it stands says what it said (a replay),
//! and why a rule said something of a record, or nothing.
//!
//! The engine, the epochs and the warm-up are those of live detection (`consumers::watching`). Nothing is written but the event that says
//! that the record was read.

mod compare;
mod report;
mod turn;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use capture::RecordError;
use detect::{Explanation, RuleError, RuleSet};
use event::{EventId, Timestamp};
use journal::Seq;
use serde::{Deserialize, Serialize};
use store::{Cell, QueryError, QueryLimits};

pub use self::compare::{ChangedRule, Compared};
use self::report::Report;
pub use self::report::{OfEntity, OfRule, ReplayReport};
pub use self::turn::{Ended, ReplayStanding, ReplayState, Turn, Watch};
pub(crate) use self::turn::{Replays, Work};
use crate::asker::Asker;
use crate::consumers::watching::Watching;
use crate::lifecycle::cold::Step;
use crate::lifecycle::spine::{Spine, SpineError};
use crate::node::Node;
use crate::room::Failure;

/// What is to be replayed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayRequest {
    /// Rule files to try, with their names; without any, the rules in force are replayed and compared with what is recorded.
    pub files: Vec<(PathBuf, String)>,
    /// Whether the rules in force stay beside those to try.
    pub beside: bool,
    /// Only what was received at this time or later (RFC 3339).
    pub since: Option<String>,
    /// Only what was received before.
    pub until: Option<String>,
}

/// What is to be explained.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The rule: its id, name or title; of a detection its own where left out.
    #[serde(default)]
    pub rule: Option<String>,
    /// The id of an event, or of a detection.
    pub event: String,
    /// Rule files beside those in force: the name of each, and its text.
    #[serde(default)]
    #[schema(value_type = Vec<(String, String)>)]
    pub files: Vec<(PathBuf, String)>,
}

/// Why nothing could be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The rules.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The record cannot be read.
    #[error(transparent)]
    Spine(#[from] SpineError),
    /// Something on the way.
    #[error("{0}")]
    Stopped(String),
    /// A time is none.
    #[error("{field}: {value:?} is no time; write RFC 3339, as in 2026-03-01T09:00:00Z, or a date")]
    Time {
        /// `since` or `until`.
        field: &'static str,
        /// What was written.
        value: String,
    },
    /// A replay of a part of the record.
    #[error("since and until are for trying rules: give `files`, or replay the whole record")]
    Span,
    /// The store.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// No event has that id.
    #[error("no event or detection in the hot store has the id {0}; `watchkeeper restore` brings older days back")]
    NoEvent(String),
    /// No rule is called so.
    #[error(
        "no rule in force is called {0:?}: give its id, name or title; `watchkeeper rules explain --rules DIR` looks in DIR, too"
    )]
    NoRule(String),
    /// An event that is no detection, and no rule was named.
    #[error(
        "{0} is an event and no detection, so that it has no rule of its own: name one, as in `watchkeeper rules explain RULE --event-id {0}`; \
         detections are in the view `detections`"
    )]
    NotDetection(String),
    /// A detection that no Sigma rule made.
    #[error("{0} is no Sigma rule: its evidence says what it rests on (`watchkeeper trace ID`)")]
    NotSigma(String),
    /// It is somebody else's turn.
    #[error("{what} is under way, and the record is read once at a time; come again in {} s", retry_after.as_secs())]
    Busy {
        /// Whose.
        what: String,
        /// When it may be over.
        retry_after: Duration,
    },
    /// It was ended.
    #[error("the {action} {why} after {read} records")]
    Ended {
        /// What was.
        action: &'static str,
        /// Why.
        why: Ended,
        /// Records that had been read.
        read: u64,
    },
    /// The read could not be recorded.
    #[error("reading contents is recorded, and this read cannot be: {0}")]
    Record(#[from] RecordError),
}

fn stopped(error: Failure) -> ReplayError {
    ReplayError::Stopped(error.to_string())
}

impl Node {
    /// The turn to replay what is asked for: there is one at a time.
    ///
    /// # Errors
    /// [`ReplayError::Busy`] while it is another's.
    pub fn turn_to_replay(&self, asker: &Asker, request: &ReplayRequest) -> Result<Turn, ReplayError> {
        self.replays().replay(asker, if request.files.is_empty() { "replay" } else { "backtest" })
    }

    /// The turn to explain something.
    ///
    /// # Errors
    /// [`ReplayError::Busy`] while there are as many as may be.
    pub fn turn_to_explain(&self, asker: &Asker) -> Result<Turn, ReplayError> {
        self.replays().work(asker, Work::Explain)
    }

    /// How the replay that is under way stands, or the last one.
    #[must_use]
    pub fn replay_standing(&self) -> Option<ReplayStanding> {
        self.replays().standing()
    }

    /// Ends the replay of that id. Whether it was under way.
    #[must_use]
    pub fn cancel_replay(&self, id: &str, asker: &Asker) -> bool {
        self.replays().cancel(id, asker)
    }

    /// Replays the record: see [`ReplayRequest`]. It reads all of what it is asked for, and takes its time; not from within an
    /// asynchronous task. That it was read is recorded first.
    ///
    /// # Errors
    /// Rules and times that cannot be read, a record that cannot, and [`ReplayError::Ended`].
    pub fn replay(&self, mut turn: Turn, asker: &Asker, request: &ReplayRequest) -> Result<ReplayReport, ReplayError> {
        let outcome = self.replay_in(&turn, asker, request);
        turn.note(&outcome);
        outcome
    }

    fn replay_in(&self, turn: &Turn, asker: &Asker, request: &ReplayRequest) -> Result<ReplayReport, ReplayError> {
        let (since, until) = (time("since", request.since.as_deref())?, time("until", request.until.as_deref())?);
        let compares = request.files.is_empty();
        if compares && since.or(until).is_some() {
            return Err(ReplayError::Span);
        }
        let (stopping, given_up) = (|| turn.is_to_end(), |error| turn.given_up(error));
        let in_force = self.consumers().rules()?;
        let rules = match (compares, request.beside) {
            (true, _) => in_force.compile()?,
            (false, true) => in_force.with_request(request.files.clone(), &stopping).map_err(given_up)?,
            // With the budgets that they will have.
            (false, false) => {
                let budget = in_force.budget();
                RuleSet::of_request(request.files.clone(), &stopping).map_err(given_up)?.with_budget(budget)
            }
        };
        let object = format!("{} rules over the record, since {since:?}, until {until:?}", rules.rules().len());
        self.note_read(asker, turn.action(), &object)?;
        let spine = Spine { journal: self.journal().clone(), cold: self.lifecycle().cold.clone() };
        // What detection found up to there is recorded before the end; what comes behind has not been looked at yet.
        let detected = Seq(self.progress().detected);
        let end = self.journal().end();
        let from = since.map_or(Seq(0), |since| spine.received_from(since));
        let tried = request.files.iter().map(|(path, _)| path).collect();
        let mut report = if compares { Report::comparing(&rules, detected) } else { Report::of(&rules, &tried) };
        turn.expect(end.0.saturating_sub(from.0));
        let mut watching = Watching::new(rules);
        if !watching.begin(&spine, from, None, &|| turn.is_to_end()).map_err(stopped)? {
            turn.go_on(0)?;
        }
        let mut reader = spine.reader_with_contents(watching.start())?;
        while let Some(step) = reader.next()? {
            let Step::Record(record) = step else { continue };
            if record.seq >= end {
                break;
            }
            turn.go_on(record.seq.0.saturating_sub(from.0))?;
            let found = watching.take(&spine, &record, &mut |_, _| Ok(())).map_err(stopped)?;
            let Ok(event) = record.event() else { continue };
            let is_asked_for = record.seq >= from
                && since.is_none_or(|since| event.observed >= since)
                && until.is_none_or(|until| event.observed < until);
            if until.is_some_and(|until| event.observed >= until) && !compares {
                break;
            }
            if let Some(comparing) = report.comparing_mut() {
                comparing.recorded(record.seq, &event);
            }
            if is_asked_for {
                report.add(record.seq, event.observed, &found, watching.suppressed());
            }
        }
        if let Some(comparing) = report.comparing_mut() {
            let mut sought = comparing.sought();
            self.look_for(&spine, turn, end, &mut sought)?;
            comparing.without(&sought);
        }
        Ok(report.finish())
    }

    /// Takes out of `sought` the events that are recorded.
    fn look_for(&self, spine: &Spine, turn: &Turn, end: Seq, sought: &mut HashSet<EventId>) -> Result<(), ReplayError> {
        let mut reader = spine.reader(Seq(0));
        while !sought.is_empty()
            && let Some(step) = reader.next()?
        {
            let Step::Record(record) = step else { continue };
            if record.seq >= end {
                break;
            }
            turn.go_on(record.seq.0)?;
            if let Ok(event) = record.event() {
                sought.remove(&event.id);
            }
        }
        Ok(())
    }

    /// Explains a rule at an event that is recorded, as live detection saw it: with everything that came before.
    ///
    /// # Errors
    /// What is not there, what cannot be read, and [`ReplayError::Ended`].
    pub fn explain(&self, turn: &Turn, asker: &Asker, request: &ExplainRequest) -> Result<Vec<Explanation>, ReplayError> {
        let in_force = self.consumers().rules()?;
        let rules = match request.files.is_empty() {
            true => in_force.compile()?,
            false => {
                let with = in_force.with_request(request.files.clone(), &|| turn.is_to_end());
                with.map_err(|error| turn.given_up(error))?
            }
        };
        self.note_read(asker, "explain", &format!("{} by {}", request.event, request.rule.as_deref().unwrap_or("its rule")))?;
        let (seq, of_detection) = self.place_of(&request.event)?;
        let called = match (&request.rule, of_detection) {
            (Some(rule), _) => rule.clone(),
            (None, Some(rule)) => rule,
            (None, None) => return Err(ReplayError::NotDetection(request.event.clone())),
        };
        let rule = match rules.find(&called) {
            Some(rule) => rule.id.clone(),
            None if request.rule.is_none() => return Err(ReplayError::NotSigma(called)),
            None => return Err(ReplayError::NoRule(called)),
        };
        let spine = Spine { journal: self.journal().clone(), cold: self.lifecycle().cold.clone() };
        let mut watching = Watching::new(rules);
        if !watching.begin(&spine, seq, None, &|| turn.is_to_end()).map_err(stopped)? {
            turn.go_on(0)?;
        }
        watching.explain_at(&rule, seq);
        let start = watching.start();
        turn.expect(seq.0.saturating_sub(start.0));
        let mut reader = spine.reader_with_contents(start)?;
        while let Some(step) = reader.next()? {
            let Step::Record(record) = step else { continue };
            turn.go_on(record.seq.0.saturating_sub(start.0))?;
            watching.take(&spine, &record, &mut |_, _| Ok(())).map_err(stopped)?;
            if record.seq >= seq {
                break;
            }
        }
        Ok(watching.explained())
    }

    /// The record of an event; of a detection the record of the event that completed it, and its rule.
    fn place_of(&self, id: &str) -> Result<(Seq, Option<String>), ReplayError> {
        let missing = || ReplayError::NoEvent(id.to_owned());
        let id: EventId = id.parse().map_err(|_| missing())?;
        let reader = self.reader().map_err(QueryError::from)?;
        let limits = QueryLimits::default();
        let detection = reader.sql(&format!("SELECT rule, events FROM detections WHERE detection_id = '{id}'"), &limits)?;
        let last = |ids: &str| -> Result<Seq, ReplayError> {
            let found = reader.sql(&format!("SELECT max(seq) FROM events WHERE event_id IN ({ids})"), &limits)?;
            match found.rows.first().and_then(|row| row.first()) {
                Some(Cell::Int(seq)) => Ok(Seq(u64::try_from(*seq).unwrap_or(0))),
                _ => Err(missing()),
            }
        };
        let Some([Cell::Text(rule), Cell::Text(events)]) = detection.rows.first().map(Vec::as_slice) else {
            return Ok((last(&format!("'{id}'"))?, None));
        };
        let events: Vec<EventId> =
            serde_json::from_str::<Vec<String>>(events).unwrap_or_default().iter().filter_map(|id| id.parse().ok()).collect();
        let ids: Vec<String> = events.iter().map(|id| format!("'{id}'")).collect();
        Ok((last(&ids.join(", "))?, Some(rule.clone())))
    }
}

fn time(field: &'static str, value: Option<&str>) -> Result<Option<Timestamp>, ReplayError> {
    let Some(value) = value else { return Ok(None) };
    let read = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let time = read(value).or_else(|| read(&format!("{value}T00:00:00Z")));
    let ns = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
    ns.map(|ns| Some(Timestamp::from_unix_ns(ns))).ok_or_else(|| ReplayError::Time { field, value: value.to_owned() })
}
