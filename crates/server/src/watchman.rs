//! The recorder's own log-keeping: that it lived while nothing happened, and what did not get into the record.
//!
//! A record that merely lacks something proves nothing. So while nothing comes in, a heartbeat is recorded and sealed; events
//! that were turned away, and the time in which no recorder ran, leave gap events.

use std::time::{Duration, Instant};

use capture::RecordError;
use event::{Event, Key, Kind, Timestamp, attr};
use journal::Journal;

use crate::node::internal;
use crate::pipeline::Pipeline;

/// How long nothing may be recorded before a heartbeat is, unless the configuration says otherwise: an auditor's sample of an hour
/// holds several.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(600);

/// How often it looks: also how long a stop waits for it at the most.
const LOOK: Duration = Duration::from_millis(200);

/// How long turned-away events are added up before one gap tells of them all.
const TURNED_AWAY_WINDOW: Duration = Duration::from_secs(10);

/// Looks after the record until `stopping`.
pub(crate) fn watch(
    journal: &Journal,
    pipeline: &Pipeline,
    heartbeat_after: Duration,
    stopping: &dyn Fn() -> bool,
) -> Result<(), RecordError> {
    let mut end = journal.end();
    let mut quiet_since = Instant::now();
    let mut told = pipeline.throughput().turned_away;
    let mut refusing_since: Option<Instant> = None;
    loop {
        let stop = stopping();
        let turned_away = pipeline.throughput().turned_away;
        if turned_away > told {
            let since = *refusing_since.get_or_insert_with(Instant::now);
            if stop || since.elapsed() >= TURNED_AWAY_WINDOW {
                // When the journal cannot take it now, the next look tries again with what has been added by then.
                if pipeline.record_blocking(vec![turned_away_gap(turned_away - told)], &|| true).is_ok() {
                    told = turned_away;
                    refusing_since = None;
                }
            }
        }
        if stop {
            return Ok(());
        }
        if journal.end() != end {
            end = journal.end();
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() >= heartbeat_after {
            pipeline.record_blocking(vec![heartbeat(end.0)], stopping)?;
            end = journal.end();
            quiet_since = Instant::now();
        }
        std::thread::sleep(LOOK);
    }
}

/// That no recorder ran between the newest record and now.
pub(crate) fn not_running_gap(newest: Timestamp) -> Event<String> {
    let mut gap = internal(Kind::Gap, "recorder.not_running");
    gap.set(attr::GAP_REASON, "not_running");
    gap.set(Key::of("watchkeeper.gap.from"), rfc3339(newest).as_str());
    gap.set(Key::of("watchkeeper.gap.to"), rfc3339(gap.observed).as_str());
    gap
}

/// The time as people and SQL read it; nanoseconds since 1970 where the calendar ends.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.unix_ns()))
        .map_or_else(|_| time.unix_ns().to_string(), |time| time.to_string())
}

fn turned_away_gap(count: u64) -> Event<String> {
    let mut gap = internal(Kind::Gap, "recorder.turned_away");
    gap.set(attr::GAP_REASON, "turned_away");
    gap.set(attr::GAP_COUNT, i64::try_from(count).unwrap_or(i64::MAX));
    gap
}

fn heartbeat(records: u64) -> Event<String> {
    let mut beat = internal(Kind::Admin, "recorder.heartbeat");
    beat.set(attr::EVENT_ACTION, "heartbeat");
    beat.set(attr::ADMIN_OBJECT, format!("nothing was recorded behind {records} records").as_str());
    beat
}
