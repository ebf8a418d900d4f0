//! OTLP over gRPC: `TraceService/Export`, `LogsService/Export` and `MetricsService/Export`, plain or compressed.
//!
//! The calls are unary, so their framing is read here: one message, five bytes in front of it. A generated server
//! would decode before anything of ours has seen the bytes, and the bounds on memory ([`super::wire`]) come first.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use event::SourcePath;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message as _;

use super::compression::{Compression, SUPPORTED};
use super::export::{Encoding, Partial, Refusal, Server, Signal};
use super::http::protobuf_response;

/// In front of each message: a flag (compressed or not) and its length.
const PREFIX_BYTES: usize = 5;

/// The routes of the gRPC listener (4317 by custom); HTTP/2, with or without TLS.
pub(super) fn router(server: Arc<Server>) -> Router {
    let route = |signal| post(move |State(server), request| export(server, signal, request));
    Router::new()
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", route(Signal::Traces))
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", route(Signal::Logs))
        .route("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", route(Signal::Metrics))
        .fallback(unimplemented_method)
        .with_state(server)
}

async fn export(server: Arc<Server>, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !is_grpc(&parts.headers) {
        let mut response = Response::new(Body::from("this port speaks OTLP over gRPC; OTLP over HTTP is on its own port\n"));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match run(&server, signal, &parts.headers, body).await.inspect_err(Refusal::log) {
        Ok(partial) => success(protobuf_response(signal, partial)),
        Err(refusal) => {
            let details = refusal.status().encode_to_vec();
            failure(tonic::Status::with_details(refusal.code(), refusal.to_string(), details.into()))
        }
    }
}

async fn run(server: &Arc<Server>, signal: Signal, headers: &HeaderMap, body: Body) -> Result<Partial, Refusal> {
    let (bytes, held) = server.read(body, PREFIX_BYTES).await?;
    let (is_compressed, message) = unframe(bytes)?;
    let named = headers.get("grpc-encoding").map_or(b"".as_slice(), HeaderValue::as_bytes);
    let compression = match (is_compressed, Compression::of_name(named)) {
        (false, _) => Compression::Identity,
        (true, Some(compression)) if compression != Compression::Identity => compression,
        (true, _) => return Err(Refusal::UnsupportedEncoding(format!("grpc-encoding must be {SUPPORTED}"))),
    };
    server.export(signal, Encoding::Protobuf, SourcePath::OtlpGrpc, compression, (message, held)).await
}

/// The one message of a unary call, and whether it is compressed.
fn unframe(mut bytes: Bytes) -> Result<(bool, Bytes), Refusal> {
    let malformed = |problem: &str| Refusal::Malformed(format!("malformed gRPC frame: {problem}"));
    if bytes.len() < PREFIX_BYTES {
        return Err(malformed("the request ends before its message begins"));
    }
    let is_compressed = match bytes.get_u8() {
        0 => false,
        1 => true,
        _ => return Err(malformed("the compressed flag must be 0 or 1")),
    };
    let length = bytes.get_u32() as usize;
    match length.cmp(&bytes.len()) {
        std::cmp::Ordering::Equal => Ok((is_compressed, bytes)),
        std::cmp::Ordering::Greater => Err(malformed("the message is shorter than its length says")),
        std::cmp::Ordering::Less => Err(malformed("a unary call has one message, this one has more")),
    }
}

fn success(message: Vec<u8>) -> Response {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    // The response is a few dozen bytes.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok::<_, std::convert::Infallible>(Frame::data(framed.freeze())), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
    describe(&mut response);
    response
}

fn failure(status: tonic::Status) -> Response {
    let mut response: Response = status.into_http();
    describe(&mut response);
    response
}

fn describe(response: &mut Response) {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip,deflate,zstd"));
}

async fn unimplemented_method(request: Request) -> Response {
    if !is_grpc(request.headers()) {
        let mut response = Response::new(Body::from("this port speaks OTLP over gRPC\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let message = "there are TraceService/Export, LogsService/Export and MetricsService/Export of OTLP here, and nothing else";
    failure(tonic::Status::unimplemented(message))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
