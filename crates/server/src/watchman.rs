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

/// The name of the event.
pub(crate) const HEARTBEAT_EVENT: &str = "recorder.heartbeat";

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
    gap.set(Key::of("watchkeeper.gap.from"), newest.rfc3339().as_str());
    gap.set(Key::of("watchkeeper.gap.to"), gap.observed.rfc3339().as_str());
    gap
}

fn turned_away_gap(count: u64) -> Event<String> {
    let mut gap = internal(Kind::Gap, "recorder.turned_away");
    gap.set(attr::GAP_REASON, "turned_away");
    gap.set(attr::GAP_COUNT, i64::try_from(count).unwrap_or(i64::MAX));
    gap
}

fn heartbeat(records: u64) -> Event<String> {
    let mut beat = internal(Kind::Admin, HEARTBEAT_EVENT);
    beat.set(attr::EVENT_ACTION, "heartbeat");
    beat.set(attr::ADMIN_OBJECT, format!("nothing was recorded behind {records} records").as_str());
    beat
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::node::{Node, NodeSettings};
    use crate::root_key::RootKeyPlace;

    fn node(dir: &Path, heartbeat: Duration) -> Node {
        let root = RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap();
        Node::open(&dir.join("data"), &root, &NodeSettings { heartbeat, ..NodeSettings::default() }).unwrap()
    }

    /// Waits until something holds; it has a minute on a busy machine.
    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn while_nothing_is_recorded_heartbeats_are_and_they_are_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path(), Duration::from_millis(1));
        until("no third heartbeat", || node.progress().sealed >= 3);
        assert!(node.flush(Duration::from_secs(60)));
        let standing = node.standing().unwrap();
        let heartbeat = standing.heartbeat.unwrap();
        assert_eq!(heartbeat.name, HEARTBEAT_EVENT);
        assert!(heartbeat.seq.0 >= 2 && standing.checkpoint.unwrap().records >= 3);
        // Each says how much there was before it: its own place.
        let sql = "SELECT seq, object FROM admin_events WHERE name = 'recorder.heartbeat'";
        let told = node.reader().unwrap().sql(sql, &store::QueryLimits::default()).unwrap();
        assert!(told.rows.len() >= 3);
        for row in &told.rows {
            let (store::Cell::Int(seq), store::Cell::Text(object)) = (&row[0], &row[1]) else { panic!("{row:?}") };
            assert_eq!(*object, format!("nothing was recorded behind {seq} records"));
        }
        node.close().unwrap();
    }

    #[test]
    fn where_something_is_recorded_there_is_no_heartbeat() {
        let dir = tempfile::tempdir().unwrap();
        // Longer than the test takes: only a watchman that does not wait would speak.
        let node = node(dir.path(), Duration::from_secs(3_600));
        for _ in 0..3 {
            node.note_read(&crate::asker::Asker::of_process(), "read", "something").unwrap();
            std::thread::sleep(2 * LOOK);
        }
        assert!(node.flush(Duration::from_secs(60)));
        assert_eq!((node.standing().unwrap().heartbeat, node.progress().recorded), (None, 3));
        node.close().unwrap();
    }

    #[test]
    fn what_was_turned_away_is_told_with_its_number() {
        let gap = turned_away_gap(7);
        let value = |key: Key| gap.attributes.get(&key).map(|value| serde_json::to_value(value).unwrap());
        assert_eq!(value(attr::GAP_REASON), Some("turned_away".into()));
        assert_eq!(value(attr::GAP_COUNT), Some(7.into()));
    }
}
