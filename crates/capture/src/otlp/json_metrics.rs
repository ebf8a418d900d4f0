//! OTLP's JSON encoding of metrics. What no event needs (buckets, bounds, exemplars) is passed over.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::{Deserialize, Deserializer};

use super::json::{DECODED_BYTES_MAX, JsonError, JsonPair, JsonResource, JsonScope, read};
use super::json_values::{Whole, double, list, number, object, temporality, text};

/// Reads an export of metrics. Nesting is bounded at 128 levels.
pub fn metrics_from_json(bytes: &[u8]) -> Result<ExportMetricsServiceRequest, JsonError> {
    metrics(bytes, DECODED_BYTES_MAX)
}

pub(super) fn metrics(bytes: &[u8], bytes_max: usize) -> Result<ExportMetricsServiceRequest, JsonError> {
    read::<JsonMetrics>(bytes, bytes_max).map(|json| ExportMetricsServiceRequest { resource_metrics: json.resource_metrics })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonMetrics {
    #[serde(default, alias = "resource_metrics", deserialize_with = "list::<_, JsonResourceMetrics, _>")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResourceMetrics {
    #[serde(default, deserialize_with = "object::<_, JsonResource, _>")]
    resource: Option<Resource>,
    #[serde(default, alias = "scope_metrics", deserialize_with = "list::<_, JsonScopeMetrics, _>")]
    scope_metrics: Vec<ScopeMetrics>,
}

impl From<JsonResourceMetrics> for ResourceMetrics {
    fn from(json: JsonResourceMetrics) -> Self {
        Self { resource: json.resource, scope_metrics: json.scope_metrics, schema_url: String::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonScopeMetrics {
    #[serde(default, deserialize_with = "object::<_, JsonScope, _>")]
    scope: Option<InstrumentationScope>,
    #[serde(default, deserialize_with = "list::<_, JsonMetric, _>")]
    metrics: Vec<Metric>,
}

impl From<JsonScopeMetrics> for ScopeMetrics {
    fn from(json: JsonScopeMetrics) -> Self {
        Self { scope: json.scope, metrics: json.metrics, schema_url: String::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonMetric {
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default, deserialize_with = "text")]
    unit: String,
    #[serde(default, deserialize_with = "object::<_, JsonNumbers, _>")]
    gauge: Option<Numbers>,
    #[serde(default, deserialize_with = "object::<_, JsonNumbers, _>")]
    sum: Option<Numbers>,
    #[serde(default, deserialize_with = "object::<_, JsonHistogram, _>")]
    histogram: Option<Histogram>,
    #[serde(default, alias = "exponential_histogram", deserialize_with = "object::<_, JsonExponential, _>")]
    exponential_histogram: Option<ExponentialHistogram>,
    #[serde(default, deserialize_with = "object::<_, JsonSummary, _>")]
    summary: Option<Summary>,
}

impl From<JsonMetric> for Metric {
    fn from(json: JsonMetric) -> Self {
        let gauge = json.gauge.map(|numbers| metric::Data::Gauge(Gauge { data_points: numbers.data_points }));
        let sum = json.sum.map(|Numbers { data_points, aggregation_temporality, is_monotonic }| {
            metric::Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        });
        let data = gauge
            .or(sum)
            .or(json.histogram.map(metric::Data::Histogram))
            .or(json.exponential_histogram.map(metric::Data::ExponentialHistogram))
            .or(json.summary.map(metric::Data::Summary));
        Self { name: json.name, unit: json.unit, data, ..Self::default() }
    }
}

/// A gauge or a sum: a gauge has points alone.
struct Numbers {
    data_points: Vec<NumberDataPoint>,
    aggregation_temporality: i32,
    is_monotonic: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonNumbers {
    #[serde(default, alias = "data_points", deserialize_with = "list::<_, JsonNumberPoint, _>")]
    data_points: Vec<NumberDataPoint>,
    #[serde(default, alias = "aggregation_temporality", deserialize_with = "temporality")]
    aggregation_temporality: i32,
    #[serde(default, alias = "is_monotonic")]
    is_monotonic: Option<bool>,
}

impl From<JsonNumbers> for Numbers {
    fn from(json: JsonNumbers) -> Self {
        let JsonNumbers { data_points, aggregation_temporality, is_monotonic } = json;
        Self { data_points, aggregation_temporality, is_monotonic: is_monotonic.unwrap_or_default() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonHistogram {
    #[serde(default, alias = "data_points", deserialize_with = "list::<_, JsonHistogramPoint, _>")]
    data_points: Vec<HistogramDataPoint>,
    #[serde(default, alias = "aggregation_temporality", deserialize_with = "temporality")]
    aggregation_temporality: i32,
}

impl From<JsonHistogram> for Histogram {
    fn from(json: JsonHistogram) -> Self {
        Self { data_points: json.data_points, aggregation_temporality: json.aggregation_temporality }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonExponential {
    #[serde(default, alias = "data_points", deserialize_with = "list::<_, JsonHistogramPoint, _>")]
    data_points: Vec<ExponentialHistogramDataPoint>,
    #[serde(default, alias = "aggregation_temporality", deserialize_with = "temporality")]
    aggregation_temporality: i32,
}

impl From<JsonExponential> for ExponentialHistogram {
    fn from(json: JsonExponential) -> Self {
        Self { data_points: json.data_points, aggregation_temporality: json.aggregation_temporality }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSummary {
    #[serde(default, alias = "data_points", deserialize_with = "list::<_, JsonHistogramPoint, _>")]
    data_points: Vec<SummaryDataPoint>,
}

impl From<JsonSummary> for Summary {
    fn from(json: JsonSummary) -> Self {
        Self { data_points: json.data_points }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonNumberPoint {
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    attributes: Vec<KeyValue>,
    #[serde(default, alias = "start_time_unix_nano", deserialize_with = "number")]
    start_time_unix_nano: u64,
    #[serde(default, alias = "time_unix_nano", deserialize_with = "number")]
    time_unix_nano: u64,
    #[serde(default, alias = "as_double", deserialize_with = "double")]
    as_double: Option<f64>,
    #[serde(default, alias = "as_int", deserialize_with = "whole")]
    as_int: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    flags: u32,
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Whole<i64>>::deserialize(deserializer)?.map(|number| number.0))
}

impl From<JsonNumberPoint> for NumberDataPoint {
    fn from(json: JsonNumberPoint) -> Self {
        let value = json.as_int.map(number_data_point::Value::AsInt);
        Self {
            attributes: json.attributes,
            start_time_unix_nano: json.start_time_unix_nano,
            time_unix_nano: json.time_unix_nano,
            flags: json.flags,
            value: value.or(json.as_double.map(number_data_point::Value::AsDouble)),
            ..Self::default()
        }
    }
}

/// A point of a histogram of either sort, or of a summary: what events need of them is the same.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonHistogramPoint {
    #[serde(default, deserialize_with = "list::<_, JsonPair, _>")]
    attributes: Vec<KeyValue>,
    #[serde(default, alias = "start_time_unix_nano", deserialize_with = "number")]
    start_time_unix_nano: u64,
    #[serde(default, alias = "time_unix_nano", deserialize_with = "number")]
    time_unix_nano: u64,
    #[serde(default, deserialize_with = "number")]
    count: u64,
    #[serde(default, deserialize_with = "double")]
    sum: Option<f64>,
    #[serde(default, deserialize_with = "double")]
    min: Option<f64>,
    #[serde(default, deserialize_with = "double")]
    max: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    flags: u32,
}

impl From<JsonHistogramPoint> for HistogramDataPoint {
    fn from(json: JsonHistogramPoint) -> Self {
        Self {
            attributes: json.attributes,
            start_time_unix_nano: json.start_time_unix_nano,
            time_unix_nano: json.time_unix_nano,
            count: json.count,
            sum: json.sum,
            flags: json.flags,
            min: json.min,
            max: json.max,
            ..Self::default()
        }
    }
}

impl From<JsonHistogramPoint> for ExponentialHistogramDataPoint {
    fn from(json: JsonHistogramPoint) -> Self {
        Self {
            attributes: json.attributes,
            start_time_unix_nano: json.start_time_unix_nano,
            time_unix_nano: json.time_unix_nano,
            count: json.count,
            sum: json.sum,
            flags: json.flags,
            min: json.min,
            max: json.max,
            ..Self::default()
        }
    }
}

impl From<JsonHistogramPoint> for SummaryDataPoint {
    fn from(json: JsonHistogramPoint) -> Self {
        Self {
            attributes: json.attributes,
            start_time_unix_nano: json.start_time_unix_nano,
            time_unix_nano: json.time_unix_nano,
            count: json.count,
            sum: json.sum.unwrap_or_default(),
            flags: json.flags,
            ..Self::default()
        }
    }
}
