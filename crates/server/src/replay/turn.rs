//! Whose turn it is: replays read all of a record, so a server has one at a time, which has an end and can be ended.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use detect::RuleError;
use event::Timestamp;
use serde::{Deserialize, Serialize};

use super::ReplayError;
use crate::asker::Asker;
use crate::secrets;

/// How long a replay may take. The commands wait a little longer.
const REPLAY_TIME_MAX: Duration = Duration::from_secs(3_600);
/// How long an explanation may take, which reads at most an epoch of the record, and what behaviour rests on.
const EXPLAIN_TIME_MAX: Duration = Duration::from_secs(900);
/// Explanations at once.
const EXPLAINED_AT_ONCE: usize = 2;
/// How long coverage may take: its queries, and the examples of rules.
const COVERAGE_TIME_MAX: Duration = Duration::from_secs(300);
/// How soon whoever was sent away comes again, where nobody can tell how long it takes; and at the least and the most.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// See [`RETRY_AFTER`].
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// See [`RETRY_AFTER`].
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// How a replay stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayStanding {
    /// Names it.
    pub id: String,
    /// `replay` or `backtest`.
    pub action: String,
    /// How far it is.
    pub state: ReplayState,
    /// Who asked for it.
    pub by: String,
    /// When it began (RFC 3339).
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Records that were read.
    pub read: u64,
    /// Records that are to be read; 0 until that is known.
    pub records: u64,
    /// Why it came to nothing, if it did.
    pub problem: Option<String>,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It reads.
    Running,
    /// It has said what came of it.
    Done,
    /// It came to nothing.
    Failed,
}

/// Why a replay ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Somebody ended it.
    Cancelled {
        /// Who.
        by: String,
    },
    /// Whoever asked for it does not wait any more.
    Abandoned,
    /// It took too long.
    Expired {
        /// How long it might take.
        seconds: u64,
    },
    /// The server stops.
    ServerStops,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled { by } => write!(f, "was cancelled by {by}"),
            Self::Abandoned => f.write_str("ended with the request that asked for it"),
            Self::Expired { seconds } => {
                write!(f, "took longer than {seconds} s (ask for less of the record, with `since` and `until`)")
            }
            Self::ServerStops => f.write_str("ended because the server stops"),
        }
    }
}

/// The turns of a node.
#[derive(Default)]
pub(crate) struct Replays {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    replay: Option<Arc<Progress>>,
    /// How the replay before stood at its end.
    last: Option<ReplayStanding>,
    /// What else is under way.
    working: Vec<(Work, Arc<Progress>)>,
    stopping: bool,
}

/// What has turns of its own, beside replays: whoever does one keeps nobody from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Explanations.
    Explain,
    /// What the rules in force cover.
    Coverage,
    /// What the rules of a request cover.
    CoverageOfFiles,
}

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Self::Explain => "explain",
            Self::Coverage | Self::CoverageOfFiles => "coverage",
        }
    }

    /// How many at once, and in words.
    const fn at_once(self) -> (usize, &'static str) {
        match self {
            Self::Explain => (EXPLAINED_AT_ONCE, "explanations"),
            Self::Coverage => (1, "coverage of the rules in force"),
            Self::CoverageOfFiles => (1, "coverage of files"),
        }
    }

    const fn time_max(self) -> Duration {
        match self {
            Self::Explain => EXPLAIN_TIME_MAX,
            Self::Coverage | Self::CoverageOfFiles => COVERAGE_TIME_MAX,
        }
    }
}

/// How far somebody's turn is, and whether it is to end.
struct Progress {
    id: String,
    action: &'static str,
    by: String,
    started: Timestamp,
    began: Instant,
    time_max: Duration,
    read: AtomicU64,
    records: AtomicU64,
    ended: Mutex<Option<Ended>>,
}

impl Progress {
    fn new(asker: &Asker, action: &'static str, time_max: Duration) -> Result<Arc<Self>, ReplayError> {
        let id = secrets::random::<8>().map_err(|error| ReplayError::Stopped(error.to_string()))?;
        Ok(Arc::new(Self {
            id: event::hex::encode(&id),
            action,
            by: asker.to_string(),
            started: Timestamp::now(),
            began: Instant::now(),
            time_max,
            read: AtomicU64::new(0),
            records: AtomicU64::new(0),
            ended: Mutex::default(),
        }))
    }

    fn end(&self, why: Ended) {
        // The first reason is the one that counts.
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    fn is_to_end(&self) -> Option<Ended> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let expired = || (self.began.elapsed() > self.time_max).then_some(Ended::Expired { seconds: self.time_max.as_secs() });
        ended.or_else(expired)
    }

    /// How long it will still take, as far as one can tell.
    fn left(&self) -> Duration {
        let (read, records) = (self.read.load(Ordering::Relaxed), self.records.load(Ordering::Relaxed));
        let rest = u32::try_from(records.saturating_sub(read)).unwrap_or(u32::MAX);
        let left = match u32::try_from(read) {
            Ok(0) => RETRY_AFTER,
            Ok(read) => (self.began.elapsed() / read).saturating_mul(rest),
            Err(_) => RETRY_AFTER_MAX,
        };
        left.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
    }

    fn standing(&self) -> ReplayStanding {
        ReplayStanding {
            id: self.id.clone(),
            action: self.action.to_owned(),
            state: ReplayState::Running,
            by: self.by.clone(),
            started: self.started.rfc3339(),
            ended: None,
            read: self.read.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            problem: None,
        }
    }
}

impl Replays {
    /// The turn to replay.
    ///
    /// # Errors
    /// [`ReplayError::Busy`] while it is another's.
    pub(crate) fn replay(self: &Arc<Self>, asker: &Asker, action: &'static str) -> Result<Turn, ReplayError> {
        let progress = Progress::new(asker, action, REPLAY_TIME_MAX)?;
        let mut state = self.state();
        state.refuse_at_the_end(&progress)?;
        if let Some(other) = &state.replay {
            return Err(ReplayError::Busy { what: format!("a {} of {}", other.action, other.by), retry_after: other.left() });
        }
        state.replay = Some(progress.clone());
        Ok(Turn { replays: self.clone(), progress, problem: None })
    }

    /// The turn to do something.
    ///
    /// # Errors
    /// [`ReplayError::Busy`] while others have all there are of it.
    pub(crate) fn work(self: &Arc<Self>, asker: &Asker, work: Work) -> Result<Turn, ReplayError> {
        let progress = Progress::new(asker, work.name(), work.time_max())?;
        let mut state = self.state();
        state.refuse_at_the_end(&progress)?;
        let (at_once, what) = work.at_once();
        if state.working.iter().filter(|(other, _)| *other == work).count() >= at_once {
            return Err(ReplayError::Busy { what: format!("{at_once} {what}"), retry_after: RETRY_AFTER });
        }
        state.working.push((work, progress.clone()));
        Ok(Turn { replays: self.clone(), progress, problem: None })
    }

    /// How the replay that is under way stands, or the last one.
    pub(crate) fn standing(&self) -> Option<ReplayStanding> {
        let state = self.state();
        state.replay.as_ref().map(|progress| progress.standing()).or_else(|| state.last.clone())
    }

    /// Ends the replay of that id. Whether it was under way.
    pub(crate) fn cancel(&self, id: &str, asker: &Asker) -> bool {
        let state = self.state();
        let found = state.replay.as_ref().filter(|progress| progress.id == id);
        found.inspect(|progress| progress.end(Ended::Cancelled { by: asker.to_string() })).is_some()
    }

    /// Ends everything, and lets nothing begin any more.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        let working = state.working.iter().map(|(_, progress)| progress);
        state.replay.iter().chain(working).for_each(|progress| progress.end(Ended::ServerStops));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refuse_at_the_end(&self, progress: &Progress) -> Result<(), ReplayError> {
        if self.stopping { Err(ReplayError::Ended { action: progress.action, why: Ended::ServerStops, read: 0 }) } else { Ok(()) }
    }
}

/// Somebody's turn to read the record. When this goes it is over.
pub struct Turn {
    replays: Arc<Replays>,
    progress: Arc<Progress>,
    problem: Option<String>,
}

impl Turn {
    /// Ends it when this goes: for whoever waits for what comes of it.
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter(self.progress.clone())
    }

    /// How far it is.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(self.progress.clone())
    }

    pub(super) fn action(&self) -> &'static str {
        self.progress.action
    }

    /// How many records are to be read.
    pub(super) fn expect(&self, records: u64) {
        self.progress.records.store(records, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub(crate) fn is_to_end(&self) -> bool {
        self.progress.is_to_end().is_some()
    }

    /// Goes on after so many records, unless it is to end.
    pub(crate) fn go_on(&self, read: u64) -> Result<(), ReplayError> {
        self.progress.read.store(read, Ordering::Relaxed);
        match self.progress.is_to_end() {
            None => Ok(()),
            Some(why) => Err(ReplayError::Ended { action: self.progress.action, why, read }),
        }
    }

    /// What an error with rules is: where it only says that nobody waits for them, why that is so.
    pub(crate) fn given_up(&self, error: RuleError) -> ReplayError {
        match error {
            RuleError::Stopped => self.go_on(0).err().unwrap_or(ReplayError::Rules(error)),
            error => ReplayError::Rules(error),
        }
    }

    /// Notes what came of it.
    pub(super) fn note<T>(&mut self, outcome: &Result<T, ReplayError>) {
        self.problem = outcome.as_ref().err().map(ToString::to_string);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.replays.state();
        let is_own = |other: &Arc<Progress>| Arc::ptr_eq(other, &self.progress);
        state.working.retain(|(_, other)| !is_own(other));
        if state.replay.as_ref().is_some_and(is_own) {
            state.replay = None;
            let outcome =
                if self.problem.is_some() || std::thread::panicking() { ReplayState::Failed } else { ReplayState::Done };
            let (ended, problem) = (Some(Timestamp::now().rfc3339()), self.problem.take());
            state.last = Some(ReplayStanding { state: outcome, ended, problem, ..self.progress.standing() });
        }
    }
}

/// Tells how far a turn is.
pub struct Watch(Arc<Progress>);

impl Watch {
    /// Records that were read, and how many there are; 0 until that is known.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.0.read.load(Ordering::Relaxed), self.0.records.load(Ordering::Relaxed))
    }
}

/// Waits for what comes of a turn, which ends when nobody does.
pub(crate) struct Waiter(Arc<Progress>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.end(Ended::Abandoned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replays() -> (Arc<Replays>, Asker) {
        (Arc::default(), Asker::of_process())
    }

    #[test]
    fn one_replays_at_a_time_and_others_hear_how_long_it_takes() {
        let (replays, asker) = replays();
        assert_eq!(replays.standing(), None);
        let turn = replays.replay(&asker, "backtest").ok().unwrap();
        turn.expect(1_000);
        turn.go_on(10).unwrap();
        let standing = replays.standing().unwrap();
        assert_eq!((standing.state, standing.read, standing.records), (ReplayState::Running, 10, 1_000));
        let Err(ReplayError::Busy { what, retry_after }) = replays.replay(&asker, "replay") else {
            panic!("it is another's turn")
        };
        assert!(
            what.contains("backtest") && (RETRY_AFTER_MIN..=RETRY_AFTER_MAX).contains(&retry_after),
            "{what} {retry_after:?}"
        );
        // Explanations are short, and have turns of their own.
        let explaining: Vec<Turn> = (0..EXPLAINED_AT_ONCE).map(|_| replays.work(&asker, Work::Explain).ok().unwrap()).collect();
        assert!(matches!(replays.work(&asker, Work::Explain), Err(ReplayError::Busy { .. })));
        // So is coverage, of the rules in force and of files: neither takes another's.
        let covering: Vec<Turn> =
            [Work::Coverage, Work::CoverageOfFiles].map(|work| replays.work(&asker, work).ok().unwrap()).into();
        assert!(matches!(replays.work(&asker, Work::Coverage), Err(ReplayError::Busy { .. })));
        drop((turn, explaining, covering));
        assert_eq!(replays.standing().unwrap().state, ReplayState::Done);
        assert!(replays.replay(&asker, "replay").is_ok() && replays.work(&asker, Work::Explain).is_ok());
    }

    #[test]
    fn a_turn_ends_when_it_is_cancelled_abandoned_over_or_the_server_stops() {
        let (replays, asker) = replays();
        let why = |turn: &Turn| match turn.go_on(7) {
            Err(ReplayError::Ended { why, read: 7, .. }) => why,
            other => panic!("{other:?}"),
        };
        let mut turn = replays.replay(&asker, "replay").ok().unwrap();
        assert!(!replays.cancel("another", &asker) && turn.go_on(1).is_ok());
        assert!(replays.cancel(&replays.standing().unwrap().id, &asker));
        assert_eq!(why(&turn), Ended::Cancelled { by: asker.to_string() });
        turn.note(&turn.go_on(7));
        drop(turn);
        let standing = replays.standing().unwrap();
        assert_eq!((standing.state, standing.ended.is_some()), (ReplayState::Failed, true), "{standing:?}");
        assert!(standing.problem.unwrap().contains("cancelled"));
        assert!(!replays.cancel(&standing.id, &asker), "it is over");

        let turn = replays.replay(&asker, "replay").ok().unwrap();
        drop(turn.waiter());
        assert_eq!(why(&turn), Ended::Abandoned);
        drop(turn);

        let progress = Progress::new(&asker, "replay", Duration::ZERO).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let turn = Turn { replays: replays.clone(), progress, problem: None };
        assert!(matches!(why(&turn), Ended::Expired { .. }));
        drop(turn);

        let (turn, explaining) =
            (replays.replay(&asker, "replay").ok().unwrap(), replays.work(&asker, Work::Explain).ok().unwrap());
        replays.stop();
        assert_eq!((why(&turn), why(&explaining)), (Ended::ServerStops, Ended::ServerStops));
        drop((turn, explaining));
        assert!(replays.replay(&asker, "replay").is_err() && replays.work(&asker, Work::Explain).is_err());
    }
}
