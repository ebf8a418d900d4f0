//! How many 2 KB GenAI spans a core decodes to events: `cargo bench -p watchkeeper-capture --bench otlp`.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event::SourcePath;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use watchkeeper_capture::otlp::{decode_traces, traces_from_json};

/// What an SDK sends at once.
const SPANS: usize = 512;

fn request() -> ExportTraceServiceRequest {
    let text = |key: &str, value: &str| serde_json::json!({ "key": key, "value": { "stringValue": value } });
    let number = |key: &str, value: i64| serde_json::json!({ "key": key, "value": { "intValue": value.to_string() } });
    let question = "Could you please look up the delivery status of my last order and tell me when it will arrive? ".repeat(4);
    let input = serde_json::json!([
        { "role": "user", "parts": [{ "type": "text", "content": question }] },
        { "role": "assistant", "parts": [{ "type": "tool_call", "id": "call_1", "name": "order_status", "arguments": { "order": 4711 } }] },
        { "role": "tool", "parts": [{ "type": "tool_call_response", "id": "call_1", "response": "{\"status\":\"shipped\"}" }] },
    ])
    .to_string();
    let answer = "Your order has shipped and will arrive on Thursday. ".repeat(4);
    let output =
        serde_json::json!([{ "role": "assistant", "parts": [{ "type": "text", "content": answer }], "finish_reason": "stop" }])
            .to_string();
    let span = serde_json::json!({
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "parentSpanId": "00f067aa0ba902b7",
        "name": "chat gpt-4o", "kind": 3, "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001500000000",
        "attributes": [
            text("gen_ai.operation.name", "chat"), text("gen_ai.provider.name", "openai"), text("gen_ai.request.model", "gpt-4o"),
            text("gen_ai.response.model", "gpt-4o-2024-08-06"), text("gen_ai.response.id", "chatcmpl-0123456789"),
            text("gen_ai.conversation.id", "5f0c5f6e-6a0d-4c0b-9a3e-3d1f7f6f0001"), text("user.id", "user-4711"),
            number("gen_ai.usage.input_tokens", 312), number("gen_ai.usage.output_tokens", 64), number("server.port", 443),
            text("server.address", "api.openai.com"), text("gen_ai.input.messages", &input), text("gen_ai.output.messages", &output),
            text("gen_ai.system_instructions", "[{\"type\":\"text\",\"content\":\"You are a helpful assistant of a web shop.\"}]"),
        ],
    });
    let request = serde_json::json!({ "resourceSpans": [{
        "resource": { "attributes": [text("service.name", "shop"), text("service.version", "1.2.3"), text("telemetry.sdk.name", "opentelemetry")] },
        "scopeSpans": [{ "scope": { "name": "opentelemetry.instrumentation.genai.openai" }, "spans": vec![span; SPANS] }],
    }]});
    traces_from_json(request.to_string().as_bytes()).unwrap()
}

fn bench(criterion: &mut Criterion) {
    let bytes = request().encode_to_vec();
    let mut group = criterion.benchmark_group(format!("otlp, {} bytes a span", bytes.len() / SPANS));
    group.throughput(Throughput::Elements(SPANS as u64)).sample_size(20);
    group.bench_function("protobuf decode alone", |bencher| bencher.iter(|| ExportTraceServiceRequest::decode(&*bytes).unwrap()));
    group.bench_function("decode to events", |bencher| {
        bencher.iter(|| decode_traces(ExportTraceServiceRequest::decode(&*bytes).unwrap(), SourcePath::OtlpGrpc));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
