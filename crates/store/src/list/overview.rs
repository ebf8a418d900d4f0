//! What happened over time.

use rusqlite::params;
use serde::Serialize;
use utoipa::ToSchema;

use super::detections::{ALERT_BUDGET, Severities, severity};
use crate::attached::Reader;
use crate::error::QueryError;
use crate::rollups::{MINUTE_NS, slot_seconds};
use crate::text::iso;

/// The latest time that is asked for: in the year 2116.
const TIME_MAX_NS: i64 = i64::MAX / 2;

/// Most buckets of one answer.
const BUCKETS_MAX: i64 = 2_000;

/// A span of time, cut into buckets of one length. Each begins at a multiple of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    /// Where the first one begins, in nanoseconds since 1970.
    first_ns: i64,
    /// Their length.
    bucket_ns: i64,
    /// How many there are.
    count: i64,
}

impl Buckets {
    /// The buckets that cover a span: of `bucket_s` seconds, or of what gives about 60 of them. Their length is a multiple of `grain_s`, and
    /// there are at most 2,000.
    #[must_use]
    pub fn cover(since_ns: i64, until_ns: i64, bucket_s: Option<u64>, grain_s: u64) -> Self {
        let grain = i64::try_from(grain_s.max(1)).unwrap_or(1).saturating_mul(1_000_000_000);
        // So that nothing that is added to them overflows.
        let (since_ns, until_ns) = (since_ns.clamp(0, TIME_MAX_NS), until_ns.clamp(0, TIME_MAX_NS));
        let span = until_ns.saturating_sub(since_ns).max(1);
        let wanted = bucket_s
            .and_then(|bucket| i64::try_from(bucket).ok())
            .map_or(span / 60, |bucket| bucket.saturating_mul(1_000_000_000));
        let wanted = wanted.max(span / BUCKETS_MAX + 1);
        let bucket_ns = wanted.saturating_add(grain - 1) / grain * grain;
        let bucket_ns = if bucket_s.is_none() { round(bucket_ns) } else { bucket_ns };
        let first_ns = since_ns - since_ns.rem_euclid(bucket_ns);
        let count = (until_ns.saturating_sub(1).saturating_sub(first_ns) / bucket_ns + 1).max(1);
        Self { first_ns, bucket_ns, count }
    }

    /// Seconds of a bucket.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        (self.bucket_ns / 1_000_000_000).unsigned_abs()
    }

    /// Where the first one begins.
    pub(super) fn first_ns(&self) -> i64 {
        self.first_ns
    }

    /// Where the last one ends.
    pub(super) fn end_ns(&self) -> i64 {
        self.first_ns.saturating_add(self.bucket_ns.saturating_mul(self.count))
    }

    /// The length of the rows of usage that are to be read, in seconds.
    pub(super) fn slot_seconds(&self) -> i64 {
        slot_seconds(self.bucket_ns)
    }

    /// The bucket of a time.
    pub(super) fn place(&self, time_ns: i64) -> Option<usize> {
        let place = time_ns.checked_sub(self.first_ns)?.div_euclid(self.bucket_ns);
        usize::try_from(place).ok().filter(|_| place < self.count)
    }

    /// When each begins (RFC 3339).
    pub(super) fn times(&self) -> impl Iterator<Item = String> {
        let Self { first_ns, bucket_ns, count } = *self;
        (0..count).map(move |place| iso(first_ns + place * bucket_ns))
    }
}

/// The next length that people read clocks by.
fn round(bucket_ns: i64) -> i64 {
    const MINUTES: [i64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 10_080, 43_200];
    let round = MINUTES.into_iter().map(|minutes| minutes * MINUTE_NS).find(|round| *round >= bucket_ns);
    round.unwrap_or(bucket_ns)
}

/// What happened, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Events that failed.
    pub errors: u64,
    /// Calls of models that are over.
    pub model_calls: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Detections, by when they were recorded.
    pub detections: Severities,
}

/// What happened in a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Bucket {
    /// When it begins (RFC 3339).
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub totals: Totals,
}

impl Reader {
    /// What happened in each bucket, by the source's clock; detections by Watchkeeper's.
    ///
    /// # Errors
    /// What the store says.
    pub fn over_time(&self, buckets: &Buckets) -> Result<Vec<Bucket>, QueryError> {
        let mut over_time: Vec<Bucket> = buckets.times().map(|time| Bucket { time, totals: Totals::default() }).collect();
        self.with(|attached| {
            let span = params![buckets.first_ns(), buckets.end_ns()];
            for schema in &attached.schemas {
                let sql = format!(
                    "SELECT minute, kind, events, finished, errors, input_tokens, output_tokens FROM {schema}.minutes
                     WHERE minute >= ?1 AND minute < ?2"
                );
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let mut rows = statement.query(span)?;
                while let Some(row) = rows.next()? {
                    let Some(bucket) = buckets.place(row.get(0)?).and_then(|place| over_time.get_mut(place)) else { continue };
                    let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
                    let totals = &mut bucket.totals;
                    totals.events += count(2)?;
                    totals.errors += count(4)?;
                    totals.input_tokens += count(5)?;
                    totals.output_tokens += count(6)?;
                    match row.get_ref(1)?.as_str().unwrap_or_default() {
                        "model_call" => totals.model_calls += count(3)?,
                        "tool_call" => totals.tool_calls += count(3)?,
                        _ => {}
                    }
                }
                let sql = format!(
                    "SELECT observed_ns, severity FROM {schema}.detections
                     WHERE observed_ns >= ?1 AND observed_ns < ?2 AND rule IS NOT ?3"
                );
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let mut rows = statement.query(params![buckets.first_ns(), buckets.end_ns(), ALERT_BUDGET])?;
                while let Some(row) = rows.next()? {
                    if let Some(bucket) = buckets.place(row.get(0)?).and_then(|place| over_time.get_mut(place)) {
                        bucket.totals.detections.add(severity(row.get(1)?));
                    }
                }
            }
            Ok(over_time)
        })
    }
}

impl Totals {
    /// The sum of buckets.
    #[must_use]
    pub fn of(buckets: &[Bucket]) -> Self {
        let mut sum = Self::default();
        for Bucket { totals, .. } in buckets {
            let Self { events, errors, model_calls, tool_calls, input_tokens, output_tokens, detections } = totals;
            sum.events += events;
            sum.errors += errors;
            sum.model_calls += model_calls;
            sum.tool_calls += tool_calls;
            sum.input_tokens = sum.input_tokens.saturating_add(*input_tokens);
            sum.output_tokens = sum.output_tokens.saturating_add(*output_tokens);
            let Severities { informational, low, medium, high, critical } = detections;
            sum.detections.informational += informational;
            sum.detections.low += low;
            sum.detections.medium += medium;
            sum.detections.high += high;
            sum.detections.critical += critical;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn buckets_cover_a_span_and_are_no_finer_than_what_is_counted() {
        let day = 86_400 * SECOND;
        for (since, until, bucket_s, grain, seconds, count) in [
            (0, day, None, 60, 1_800, 48),
            (0, 3_600 * SECOND, None, 60, 60, 60),
            (0, 3_600 * SECOND, None, 300, 300, 12),
            (30 * SECOND, 90 * SECOND, None, 60, 60, 2),
            (0, day, Some(1), 60, 60, 1_440),
            (0, day, Some(7), 300, 300, 288),
            (0, 365 * day, Some(60), 60, 15_780, 1_999),
            (0, 1, None, 60, 60, 1),
            (5 * SECOND, 5 * SECOND, None, 60, 60, 1),
        ] {
            let buckets = Buckets::cover(since, until, bucket_s, grain);
            assert_eq!((buckets.seconds(), buckets.count), (seconds, count), "{since} to {until} by {bucket_s:?}");
            assert!(buckets.first_ns() <= since && buckets.end_ns() >= until);
            assert_eq!(buckets.times().count() as i64, count);
            assert_eq!(buckets.place(since), Some(0));
            assert_eq!(buckets.place(buckets.end_ns()), None);
            assert_eq!(buckets.place(buckets.first_ns() - 1), None);
        }
        for hostile in [(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (i64::MAX, i64::MAX)] {
            for bucket_s in [None, Some(0), Some(u64::MAX)] {
                let buckets = Buckets::cover(hostile.0, hostile.1, bucket_s, 60);
                assert!(
                    buckets.times().count() >= 1 && buckets.place(i64::MAX).is_none_or(|place| place < buckets.count as usize)
                );
            }
        }
    }
}
