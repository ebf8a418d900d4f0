//! From OTLP metrics to events: each data point of a metric that a dialect names is one, of kind `metric`.
//!
//! Metrics sum what spans and log records tell one by one, and are all that some coding agents report of tokens and cost. They
//! have a view of their own, so that nothing is counted twice. What no dialect names (a web server's latencies) is counted, by
//! name, in one event for each resource of a request.

use std::collections::BTreeMap;

use event::{EventId, SourcePath, Timestamp, Value, attr};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    SummaryDataPoint, metric, number_data_point,
};

use super::decode::{Decoded, NAME_BYTES_MAX, Reader, Rejected, ResourceFacts, ScopeFacts, clip};
use super::dialect::{Dialect, Dialects};
use super::draft::{Draft, Said};
use crate::{Raw, RawEvent};

/// Most names of metrics that no dialect knows which one event lists; the points of further ones are counted with the rest.
const UNKNOWN_NAMES_MAX: usize = 64;

/// Name of the event that counts them.
const UNKNOWN_EVENT: &str = "metrics.unmapped";

/// Reads the data points of a request as events, with the dialects that ship with the product.
#[must_use]
pub fn decode_metrics(request: ExportMetricsServiceRequest, path: SourcePath) -> Decoded {
    Dialects::shipped().decode_metrics(request, path)
}

impl Dialects {
    /// Reads the data points of a request as events.
    ///
    /// The id of a cumulative point does not depend on when it was read: a sum that has not grown since the last export is
    /// the same fact and not recorded again.
    #[must_use]
    pub fn decode_metrics(&self, request: ExportMetricsServiceRequest, path: SourcePath) -> Decoded {
        let mut reader = Reader::new(self, path);
        let mut place = 0;
        for resource_metrics in request.resource_metrics {
            let resource = reader.resource(resource_metrics.resource);
            let mut unknown = Unknown::default();
            for scope_metrics in resource_metrics.scope_metrics {
                let scope = reader.scope(&resource, scope_metrics.scope);
                for metric in scope_metrics.metrics {
                    reader.metric(&resource, &scope, metric, place, &mut unknown);
                    place += 1;
                }
            }
            if let Some(first) = unknown.first_place {
                let event = reader.unknown_metrics(&resource, unknown);
                reader.push(first, event);
            }
        }
        reader.decoded
    }

    /// The dialect that records a metric of that name: the scope's own, where it does.
    fn by_metric<'d>(&'d self, scope: &ScopeFacts<'d>, name: &str) -> Option<&'d Dialect> {
        let records = |dialect: &&Dialect| dialect.table.metrics.iter().any(|prefix| name.starts_with(prefix.as_str()));
        scope.dialect.filter(records).or_else(|| self.iter().find(records))
    }
}

/// What no dialect names, of one resource.
#[derive(Default)]
struct Unknown {
    points: u64,
    by_name: BTreeMap<String, i64>,
    newest_ns: u64,
    first_place: Option<usize>,
}

/// A data point, of whichever type.
#[derive(Default)]
struct Point {
    attributes: Vec<KeyValue>,
    start_ns: u64,
    time_ns: u64,
    flags: u32,
    value: Option<Value<Raw>>,
    count: Option<u64>,
    min: Option<f64>,
    max: Option<f64>,
}

/// The points of a metric, with what holds for all of them.
struct Points {
    ty: &'static str,
    temporality: Option<&'static str>,
    points: Vec<Point>,
}

impl Reader<'_> {
    fn metric(&mut self, resource: &ResourceFacts, scope: &ScopeFacts<'_>, metric: Metric, place: usize, unknown: &mut Unknown) {
        let mut reject = |reason| self.decoded.rejected.push(Rejected { place, reason });
        let Metric { name, unit, data: Some(data), .. } = metric else {
            return reject("the metric has no data");
        };
        if name.is_empty() {
            return reject("the metric has no name");
        }
        let Points { ty, temporality, points } = Points::of(data);
        let Some(dialect) = self.dialects.by_metric(scope, &name) else {
            unknown.add(name, &points, place);
            return;
        };
        let bare = dialect.bare_event_name(&name).to_owned();
        for point in points {
            // A point that says that there is none is not a measurement.
            let Some(value) = point.value.filter(|_| point.flags & DataPointFlags::NoRecordedValueMask as u32 == 0) else {
                continue;
            };
            let is_cumulative = temporality == Some(CUMULATIVE) && point.start_ns != 0;
            let time_ns = if point.time_ns == 0 { point.start_ns } else { point.time_ns };
            let id_ns = if is_cumulative { point.start_ns } else { time_ns };
            let attributes = KeyValues { pairs: point.attributes };
            let number = format!("{value:?} {:?} {:?} {:?} {ty} {temporality:?}", point.count, point.min, point.max);
            let digest = self.digest_of(
                &attributes,
                &[
                    b"metric",
                    &resource.digest,
                    &scope.digest,
                    &(name.len() as u64).to_le_bytes(),
                    name.as_bytes(),
                    &(unit.len() as u64).to_le_bytes(),
                    unit.as_bytes(),
                    &point.start_ns.to_le_bytes(),
                    &id_ns.to_le_bytes(),
                    number.as_bytes(),
                ],
            );
            let mut draft = Draft::new(Some(dialect), resource);
            draft.read(attributes.pairs, Some(&bare), None, "", None);
            draft.measured();
            draft.set(attr::METRIC_VALUE, value);
            draft.set(attr::METRIC_TYPE, ty.into());
            if !unit.is_empty() {
                draft.set(attr::METRIC_UNIT, Value::Text(clip(unit.clone(), NAME_BYTES_MAX).into()));
            }
            if let Some(temporality) = temporality {
                draft.set(attr::METRIC_TEMPORALITY, temporality.into());
            }
            let whole = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
            let numbers = [
                (attr::METRIC_COUNT, point.count.map(whole)),
                (attr::METRIC_START_NS, (point.start_ns != 0).then(|| whole(point.start_ns))),
                (attr::METRIC_MIN, point.min.map(Value::double)),
                (attr::METRIC_MAX, point.max.map(Value::double)),
            ];
            for (key, number) in numbers {
                if let Some(number) = number {
                    draft.set(key, number);
                }
            }
            let id = EventId::derived(Timestamp::from_unix_ns(id_ns), &digest);
            let said = Said { id, name: name.clone(), time: self.time(time_ns), observed: self.now, trace: None };
            let event = draft.finish(resource, scope, self.path, said);
            self.push(place, event);
        }
    }

    /// The event that counts what no dialect names.
    fn unknown_metrics(&mut self, resource: &ResourceFacts, unknown: Unknown) -> RawEvent {
        let scope = self.scope(resource, None);
        let names = format!("{:?} {}", unknown.by_name, unknown.points);
        let digest = self.digest_of(
            &KeyValues::default(),
            &[b"metrics.unmapped", &resource.digest, &unknown.newest_ns.to_le_bytes(), names.as_bytes()],
        );
        let mut draft = Draft::new(self.dialects.fallback(), resource);
        draft.measured();
        let names = unknown.by_name.into_iter().map(|(name, points)| (Raw::from(name), Value::Int(points))).collect();
        draft.unmapped("metrics".to_owned(), Value::Map(names), false);
        draft.count_unmapped(unknown.points);
        let id = EventId::derived(Timestamp::from_unix_ns(unknown.newest_ns), &digest);
        let time = self.time(unknown.newest_ns);
        let said = Said { id, name: UNKNOWN_EVENT.to_owned(), time, observed: self.now, trace: None };
        draft.finish(resource, &scope, self.path, said)
    }

    fn time(&self, unix_ns: u64) -> Timestamp {
        if unix_ns == 0 { self.now } else { Timestamp::from_unix_ns(unix_ns) }
    }
}

/// The attributes of a point as a message, to be digested.
#[derive(Clone, PartialEq, prost::Message)]
struct KeyValues {
    #[prost(message, repeated, tag = "1")]
    pairs: Vec<KeyValue>,
}

impl Unknown {
    fn add(&mut self, name: String, points: &[Point], place: usize) {
        let count = points.len() as u64;
        self.points = self.points.saturating_add(count);
        self.newest_ns = points.iter().map(|point| point.time_ns).fold(self.newest_ns, u64::max);
        self.first_place.get_or_insert(place);
        let name = clip(name, NAME_BYTES_MAX);
        if self.by_name.len() < UNKNOWN_NAMES_MAX || self.by_name.contains_key(&name) {
            *self.by_name.entry(name).or_default() += i64::try_from(count).unwrap_or(i64::MAX);
        }
    }
}

const CUMULATIVE: &str = "cumulative";

fn temporality(number: i32) -> Option<&'static str> {
    match AggregationTemporality::try_from(number) {
        Ok(AggregationTemporality::Delta) => Some("delta"),
        Ok(AggregationTemporality::Cumulative) => Some(CUMULATIVE),
        _ => None,
    }
}

impl Points {
    fn of(data: metric::Data) -> Self {
        fn all<P>(points: Vec<P>) -> Vec<Point>
        where
            Point: From<P>,
        {
            points.into_iter().map(Point::from).collect()
        }
        match data {
            metric::Data::Gauge(gauge) => Self { ty: "gauge", temporality: None, points: all(gauge.data_points) },
            metric::Data::Sum(sum) => Self {
                ty: if sum.is_monotonic { "counter" } else { "up_down_counter" },
                temporality: temporality(sum.aggregation_temporality),
                points: all(sum.data_points),
            },
            metric::Data::Histogram(histogram) => Self {
                ty: "histogram",
                temporality: temporality(histogram.aggregation_temporality),
                points: all(histogram.data_points),
            },
            metric::Data::ExponentialHistogram(histogram) => Self {
                ty: "histogram",
                temporality: temporality(histogram.aggregation_temporality),
                points: all(histogram.data_points),
            },
            // What a summary tells is since the start of its process.
            metric::Data::Summary(summary) => {
                Self { ty: "summary", temporality: Some(CUMULATIVE), points: all(summary.data_points) }
            }
        }
    }
}

impl From<NumberDataPoint> for Point {
    fn from(point: NumberDataPoint) -> Self {
        let value = point.value.map(|value| match value {
            number_data_point::Value::AsDouble(number) => Value::double(number),
            number_data_point::Value::AsInt(number) => Value::Int(number),
        });
        let (start_ns, time_ns) = (point.start_time_unix_nano, point.time_unix_nano);
        Self { attributes: point.attributes, start_ns, time_ns, flags: point.flags, value, ..Self::default() }
    }
}

impl From<HistogramDataPoint> for Point {
    fn from(point: HistogramDataPoint) -> Self {
        Self {
            attributes: point.attributes,
            start_ns: point.start_time_unix_nano,
            time_ns: point.time_unix_nano,
            flags: point.flags,
            value: Some(point.sum.map_or(Value::Int(0), Value::double)),
            count: Some(point.count),
            min: point.min,
            max: point.max,
        }
    }
}

impl From<ExponentialHistogramDataPoint> for Point {
    fn from(point: ExponentialHistogramDataPoint) -> Self {
        Self {
            attributes: point.attributes,
            start_ns: point.start_time_unix_nano,
            time_ns: point.time_unix_nano,
            flags: point.flags,
            value: Some(point.sum.map_or(Value::Int(0), Value::double)),
            count: Some(point.count),
            min: point.min,
            max: point.max,
        }
    }
}

impl From<SummaryDataPoint> for Point {
    fn from(point: SummaryDataPoint) -> Self {
        Self {
            attributes: point.attributes,
            start_ns: point.start_time_unix_nano,
            time_ns: point.time_unix_nano,
            flags: point.flags,
            value: Some(Value::double(point.sum)),
            count: Some(point.count),
            ..Self::default()
        }
    }
}
