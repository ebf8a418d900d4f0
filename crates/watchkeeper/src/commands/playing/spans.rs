//! A conversation as GenAI spans, with the messages as JSON text.

use anyhow::ensure;
use event::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};

use super::Actor;

/// Exports spans over OTLP/gRPC.
pub(in crate::commands) async fn export_grpc(
    address: std::net::SocketAddr,
    request: ExportTraceServiceRequest,
) -> anyhow::Result<()> {
    let mut client = TraceServiceClient::connect(format!("http://{address}")).await?;
    let answer = client.export(request).await?.into_inner();
    let refused = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    ensure!(refused == 0, "{refused} spans were refused");
    Ok(())
}

/// Exports spans over OTLP/HTTP, as protobuf.
pub(in crate::commands) async fn export_http(
    address: std::net::SocketAddr,
    request: &ExportTraceServiceRequest,
) -> anyhow::Result<()> {
    let headers = [("content-type", "application/x-protobuf")];
    super::post(&format!("http://{address}/v1/traces"), &headers, request.encode_to_vec()).await.map(drop)
}

/// Spans of one trace that begins now.
pub(in crate::commands) struct Spans<'a> {
    actor: &'a Actor,
    now_ns: u64,
    spans: Vec<Span>,
}

impl<'a> Spans<'a> {
    /// A trace without spans.
    pub(in crate::commands) fn new(actor: &'a Actor) -> Self {
        Self { actor, now_ns: Timestamp::now().unix_ns(), spans: Vec::new() }
    }

    /// The request that exports them.
    pub(in crate::commands) fn request(self) -> ExportTraceServiceRequest {
        let resource = Resource {
            attributes: vec![text("service.name", &self.actor.application), text("service.version", "1.0.0")],
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: "opentelemetry.instrumentation.genai.openai".to_owned(),
            version: "1.3b0".to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: self.spans, schema_url: String::new() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() }],
        }
    }

    /// The agent's own span, for others to be below.
    pub(in crate::commands) fn agent(&mut self) -> u64 {
        self.push(None, format!("invoke_agent {}", self.actor.agent), vec![text("gen_ai.operation.name", "invoke_agent")])
    }

    /// A call of the model: what was said before, in the shape of OpenAI's chat completions, and the answer.
    pub(in crate::commands) fn chat(&mut self, parent: Option<u64>, before: &[Value], answer: &Value) {
        let system = before.iter().filter(|message| message["role"] == "system");
        let instructions: Vec<Value> = system.map(|message| json!({ "type": "text", "content": message["content"] })).collect();
        let input: Vec<Value> = before.iter().filter(|message| message["role"] != "system").map(genai_message).collect();
        let output = vec![genai_message(answer)];
        let tokens = |value: &Value| i64::try_from(value.to_string().len() / 4 + 1).unwrap_or(0);
        let (input, output) = (Value::from(input), Value::from(output));
        let attributes = vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.request.model", &self.actor.model),
            text("gen_ai.response.model", &self.actor.model),
            text("gen_ai.system_instructions", &Value::from(instructions).to_string()),
            text("gen_ai.input.messages", &input.to_string()),
            text("gen_ai.output.messages", &output.to_string()),
            number("gen_ai.usage.input_tokens", tokens(&input)),
            number("gen_ai.usage.output_tokens", tokens(&output)),
        ];
        self.push(parent, format!("chat {}", self.actor.model), attributes);
    }

    /// A tool that has run: the call as the model made it, and the message with its result, if there is one.
    pub(in crate::commands) fn tool(&mut self, parent: Option<u64>, call: &Value, answer: Option<&Value>) {
        let name = call["function"]["name"].as_str().unwrap_or_default();
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

    /// Documents that were looked up.
    pub(in crate::commands) fn retrieval(&mut self, query: &str, documents: &[String]) {
        let found =
            documents.iter().enumerate().map(|(at, document)| json!({ "id": format!("doc-{}", at + 1), "content": document }));
        let attributes = vec![
            text("gen_ai.operation.name", "retrieval"),
            text("gen_ai.data_source.id", "knowledge-base"),
            text("gen_ai.retrieval.query.text", query),
            text("gen_ai.retrieval.documents", &found.collect::<Value>().to_string()),
        ];
        self.push(None, "retrieval knowledge-base".to_owned(), attributes);
    }

    fn push(&mut self, parent: Option<u64>, name: String, mut attributes: Vec<KeyValue>) -> u64 {
        let nth = self.spans.len() as u64 + 1;
        let id = self.now_ns.wrapping_add(nth);
        attributes.extend([
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.conversation.id", &self.actor.session),
            text("gen_ai.agent.name", &self.actor.agent),
            text("user.id", &self.actor.user),
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
        id
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
