//! Sends a recorded session the way that its application would have.

use anyhow::ensure;
use bytes::Bytes;
use event::Timestamp;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};
use server::Addresses;

use super::sessions::{Session, Via};
use super::upstream::TURN_HEADER;

pub(super) async fn replay(session: &Session, addresses: &Addresses) -> anyhow::Result<()> {
    match session.via {
        Via::OtlpGrpc => {
            let mut client = TraceServiceClient::connect(format!("http://{}", addresses.otlp_grpc)).await?;
            let answer = client.export(spans(session)).await?.into_inner();
            let refused = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
            ensure!(refused == 0, "{refused} spans were refused");
        }
        Via::OtlpHttp => {
            let request = http::Request::post(format!("http://{}/v1/traces", addresses.otlp_http))
                .header("content-type", "application/x-protobuf")
                .body(Full::new(Bytes::from(spans(session).encode_to_vec())))?;
            send(request).await?;
        }
        Via::Gateway | Via::GatewayStream => {
            for at in session.answers() {
                let mut body = json!({ "model": session.model, "messages": session.messages[..at], "user": session.user });
                if session.via == Via::GatewayStream {
                    body["stream"] = json!(true);
                    body["stream_options"] = json!({ "include_usage": true });
                }
                let request = http::Request::post(format!("http://{}/v1/chat/completions", addresses.gateway))
                    .header("content-type", "application/json")
                    .header("x-watchkeeper-session", &session.id)
                    .header("x-watchkeeper-application", &session.application)
                    .header("x-watchkeeper-agent", &session.agent)
                    .header(TURN_HEADER, format!("{}/{at}", session.id))
                    .body(Full::new(Bytes::from(body.to_string())))?;
                send(request).await?;
            }
        }
    }
    Ok(())
}

async fn send(request: http::Request<Full<Bytes>>) -> anyhow::Result<()> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body).chars().take(300).collect::<String>());
    Ok(())
}

/// The session as GenAI spans: `invoke_agent` over `chat` and `execute_tool`, with the messages as JSON text.
fn spans(session: &Session) -> ExportTraceServiceRequest {
    let mut builder = SpanBuilder { session, now_ns: Timestamp::now().unix_ns(), spans: Vec::new() };
    let root = builder.push(None, format!("invoke_agent {}", session.agent), vec![text("gen_ai.operation.name", "invoke_agent")]);
    for at in session.answers() {
        builder.chat(root, at);
        for call in session.messages[at]["tool_calls"].as_array().into_iter().flatten() {
            builder.tool(root, at, call);
        }
    }
    let resource = Resource {
        attributes: vec![text("service.name", &session.application), text("service.version", "1.0.0")],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "opentelemetry.instrumentation.genai.openai".to_owned(),
        version: "1.3b0".to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: builder.spans, schema_url: String::new() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() }],
    }
}

struct SpanBuilder<'a> {
    session: &'a Session,
    now_ns: u64,
    spans: Vec<Span>,
}

impl SpanBuilder<'_> {
    fn push(&mut self, parent: Option<u64>, name: String, mut attributes: Vec<KeyValue>) -> Option<u64> {
        let nth = self.spans.len() as u64 + 1;
        let id = self.now_ns.wrapping_add(nth);
        attributes.extend([
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.conversation.id", &self.session.id),
            text("gen_ai.agent.name", &self.session.agent),
            text("user.id", &self.session.user),
        ]);
        let begin = self.now_ns + nth * 1_000_000;
        self.spans.push(Span {
            trace_id: u128::from(self.now_ns).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            name,
            kind: if parent.is_some() { 3 } else { 1 },
            start_time_unix_nano: begin,
            end_time_unix_nano: begin + 800_000,
            attributes,
            ..Span::default()
        });
        Some(id)
    }

    fn chat(&mut self, parent: Option<u64>, at: usize) {
        let (before, answer) = (&self.session.messages[..at], &self.session.messages[at]);
        let system = before.iter().filter(|message| message["role"] == "system");
        let instructions: Vec<Value> = system.map(|message| json!({ "type": "text", "content": message["content"] })).collect();
        let input: Vec<Value> = before.iter().filter(|message| message["role"] != "system").map(genai_message).collect();
        let output = vec![genai_message(answer)];
        let tokens = |value: &Value| i64::try_from(value.to_string().len() / 4 + 1).unwrap_or(0);
        let (input, output) = (Value::from(input), Value::from(output));
        self.push(
            parent,
            format!("chat {}", self.session.model),
            vec![
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.request.model", &self.session.model),
                text("gen_ai.response.model", &self.session.model),
                text("gen_ai.system_instructions", &Value::from(instructions).to_string()),
                text("gen_ai.input.messages", &input.to_string()),
                text("gen_ai.output.messages", &output.to_string()),
                number("gen_ai.usage.input_tokens", tokens(&input)),
                number("gen_ai.usage.output_tokens", tokens(&output)),
            ],
        );
    }

    fn tool(&mut self, parent: Option<u64>, at: usize, call: &Value) {
        let name = call["function"]["name"].as_str().unwrap_or_default();
        let answer = self.session.messages[at..].iter().find(|message| message["tool_call_id"] == call["id"]);
        let mut attributes = vec![
            text("gen_ai.operation.name", "execute_tool"),
            text("gen_ai.tool.name", name),
            text("gen_ai.tool.type", "function"),
            text("gen_ai.tool.call.id", call["id"].as_str().unwrap_or_default()),
            text("gen_ai.tool.call.arguments", call["function"]["arguments"].as_str().unwrap_or_default()),
        ];
        attributes.extend(answer.map(|answer| text("gen_ai.tool.call.result", answer["content"].as_str().unwrap_or_default())));
        self.push(parent, format!("execute_tool {name}"), attributes);
    }
}

/// A message of OpenAI's shape in the shape of OpenTelemetry's GenAI conventions.
fn genai_message(message: &Value) -> Value {
    let content = &message["content"];
    let mut parts = Vec::new();
    if message["role"] == "tool" {
        parts.push(json!({ "type": "tool_call_response", "id": message["tool_call_id"], "response": content }));
    } else if content.as_str().is_some_and(|text| !text.is_empty()) {
        parts.push(json!({ "type": "text", "content": content }));
    }
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let arguments = call["function"]["arguments"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        parts.push(json!({ "type": "tool_call", "id": call["id"], "name": call["function"]["name"], "arguments": arguments }));
    }
    json!({ "role": message["role"], "parts": parts })
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
