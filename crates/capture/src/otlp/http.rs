//! OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, protobuf or JSON, plain or compressed.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use event::SourcePath;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;

use super::Limits;
use super::compression::{Compression, SUPPORTED};
use super::export::{Encoding, Partial, Refusal, RpcStatus, Server, Signal};

/// The routes of the HTTP listener (4318 by custom).
pub(super) fn router(server: Arc<Server>) -> Router {
    let route = |signal| post(move |State(server), request| export(server, signal, request));
    Router::new()
        .route("/v1/traces", route(Signal::Traces))
        .route("/v1/logs", route(Signal::Logs))
        .route("/v1/metrics", route(Signal::Metrics))
        .with_state(server)
}

async fn export(server: Arc<Server>, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A refusal is written in the request's own encoding; where that is unknown, in JSON, which people can read.
    let encoding = encoding(&parts.headers);
    if let Err(origin) = check_origin(&parts.headers, &server.limits) {
        let message =
            format!("requests of web pages are refused; allow the origin {origin:?} in the configuration if it is yours");
        return refuse(encoding.unwrap_or(Encoding::Json), StatusCode::FORBIDDEN, tonic::Code::PermissionDenied, message);
    }
    let Some(encoding) = encoding else {
        let message = "content-type must be application/x-protobuf or application/json".to_owned();
        return refuse(Encoding::Json, StatusCode::UNSUPPORTED_MEDIA_TYPE, tonic::Code::InvalidArgument, message);
    };
    match run(&server, signal, encoding, &parts.headers, body).await.inspect_err(Refusal::log) {
        Ok(partial) => success(signal, encoding, partial),
        Err(refusal) => refused(encoding, &refusal),
    }
}

async fn run(
    server: &Arc<Server>,
    signal: Signal,
    encoding: Encoding,
    headers: &HeaderMap,
    body: Body,
) -> Result<Partial, Refusal> {
    let named = headers.get(CONTENT_ENCODING).map_or(b"".as_slice(), HeaderValue::as_bytes);
    let Some(compression) = Compression::of_name(named) else {
        return Err(Refusal::UnsupportedEncoding(format!("content-encoding must be {SUPPORTED}")));
    };
    let claimed = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if claimed.is_some_and(|length| length > server.limits.body_bytes_max) {
        return Err(Refusal::TooLarge(format!(
            "the body is longer than {} bytes; send fewer spans or log records at once",
            server.limits.body_bytes_max
        )));
    }
    let body = server.read(body, 0).await?;
    server.export(signal, encoding, SourcePath::OtlpHttp, compression, body).await
}

fn check_origin<'a>(headers: &'a HeaderMap, limits: &Limits) -> Result<(), &'a HeaderValue> {
    match headers.get(ORIGIN) {
        Some(origin) if !limits.origins_allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) => Err(origin),
        _ => Ok(()),
    }
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next()?.trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        _ => None,
    }
}

fn success(signal: Signal, encoding: Encoding, partial: Partial) -> Response {
    let is_full = partial == Partial::default();
    let body = match (encoding, signal) {
        (Encoding::Json, _) if is_full => b"{}".to_vec(),
        (Encoding::Json, signal) => {
            let rejected = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Logs => "rejectedLogRecords",
                Signal::Metrics => "rejectedDataPoints",
            };
            serde_json::json!({ "partialSuccess": { rejected: partial.rejected.to_string(), "errorMessage": partial.message } })
                .to_string()
                .into_bytes()
        }
        (Encoding::Protobuf, signal) => protobuf_response(signal, partial),
    };
    respond(encoding, StatusCode::OK, body)
}

/// The response message of an export, encoded.
pub(super) fn protobuf_response(signal: Signal, partial: Partial) -> Vec<u8> {
    let is_full = partial == Partial::default();
    let Partial { rejected, message: error_message } = partial;
    match signal {
        Signal::Traces => {
            let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message };
            ExportTraceServiceResponse { partial_success: (!is_full).then_some(partial) }.encode_to_vec()
        }
        Signal::Logs => {
            let partial = ExportLogsPartialSuccess { rejected_log_records: rejected, error_message };
            ExportLogsServiceResponse { partial_success: (!is_full).then_some(partial) }.encode_to_vec()
        }
        Signal::Metrics => {
            let partial = ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message };
            ExportMetricsServiceResponse { partial_success: (!is_full).then_some(partial) }.encode_to_vec()
        }
    }
}

fn refused(encoding: Encoding, refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Malformed(_) | Refusal::Broken => StatusCode::BAD_REQUEST,
        Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::UnsupportedEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Refusal::Slow(_) => StatusCode::REQUEST_TIMEOUT,
        // 503 and not 429, which some SDKs (Python's among them) take for final.
        Refusal::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = respond_status(encoding, status, &refusal.status());
    if let Refusal::Unavailable { retry_after, .. } = refusal {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
    }
    response
}

fn refuse(encoding: Encoding, status: StatusCode, code: tonic::Code, message: String) -> Response {
    respond_status(encoding, status, &RpcStatus { code: code as i32, message, details: Vec::new() })
}

fn respond_status(encoding: Encoding, status: StatusCode, rpc: &RpcStatus) -> Response {
    let body = match encoding {
        Encoding::Protobuf => rpc.encode_to_vec(),
        Encoding::Json => serde_json::json!({ "code": rpc.code, "message": rpc.message }).to_string().into_bytes(),
    };
    respond(encoding, status, body)
}

fn respond(encoding: Encoding, status: StatusCode, body: Vec<u8>) -> Response {
    let content_type = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
