"""The one conversation that every emitter holds, and the OpenTelemetry set-up that they share."""

import json
import os
import sys
import threading
import time

import mock_openai

# Another day's clock: for trends. OpenTelemetry takes the function when it is imported, which is after this.
if BEHIND := int(os.environ.get("EMITTER_CLOCK_BEHIND_S", "0")):
    real_time_ns = time.time_ns
    time.time_ns = lambda: real_time_ns() - BEHIND * 10**9

USER = "user-4711"
SESSION = "session-0815"
REQUEST_MODEL = "gpt-4o-mini"
SYSTEM = "You are a terse weather assistant."
QUESTION = "What is the weather in Oslo?"
RESULT = '{"celsius":7,"sky":"rain"}'
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": mock_openai.TOOL,
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def exporters():
    """Span, log and metric exporters for OTEL_EXPORTER_OTLP_PROTOCOL; their endpoint comes from the environment, too."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    if protocol == "grpc":
        if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").startswith("https:"):
            os.environ.setdefault("OTEL_EXPORTER_OTLP_INSECURE", "true")
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    elif protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    else:
        sys.exit(f"OTEL_EXPORTER_OTLP_PROTOCOL must be grpc or http/protobuf, got {protocol!r}")
    return OTLPSpanExporter(), OTLPLogExporter(), OTLPMetricExporter()


def providers(service, attributes=None):
    """Tracer, logger and meter providers; the first two put `attributes` on every span and log record, as an application does
    that wants to know whose call it was."""
    from opentelemetry import _logs, metrics, trace
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    attributes = attributes or {}

    class Stamp(SpanProcessor):
        def on_start(self, span, parent_context=None):
            span.set_attributes(attributes)

    class StampLogs:
        def on_emit(self, log_data):
            log_data.log_record.attributes = {**(log_data.log_record.attributes or {}), **attributes}

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=30000):
            return True

    resource = Resource.create({"service.name": service, "service.version": "1.2.3"})
    span_exporter, log_exporter, metric_exporter = exporters()
    tracer_provider = TracerProvider(resource=resource)
    tracer_provider.add_span_processor(Stamp())
    tracer_provider.add_span_processor(BatchSpanProcessor(span_exporter))
    trace.set_tracer_provider(tracer_provider)
    logger_provider = LoggerProvider(resource=resource)
    logger_provider.add_log_record_processor(StampLogs())
    logger_provider.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    _logs.set_logger_provider(logger_provider)
    meter_provider = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metric_exporter)])
    metrics.set_meter_provider(meter_provider)
    return tracer_provider, logger_provider, meter_provider


def finish(service, tracer_provider, logger_provider, meter_provider):
    """Exports what is left and says what the record must contain. With `--spans-when-told` the spans come when a line comes on
    the standard input, while the log records are on their way."""
    if "--spans-when-told" in sys.argv:
        print("about to export", file=sys.stderr, flush=True)
        logs = threading.Thread(target=logger_provider.force_flush)
        logs.start()
        sys.stdin.readline()
        tracer_provider.force_flush()
        logs.join()
    flushed = tracer_provider.force_flush() and logger_provider.force_flush() and meter_provider.force_flush()
    tracer_provider.shutdown()
    logger_provider.shutdown()
    meter_provider.shutdown()
    print(
        json.dumps(
            {
                "service": service,
                "user": USER,
                "session": SESSION,
                "request_model": REQUEST_MODEL,
                "response_model": mock_openai.MODEL,
                "system": SYSTEM,
                "question": QUESTION,
                "tool": mock_openai.TOOL,
                "call_id": mock_openai.CALL_ID,
                "arguments": mock_openai.ARGUMENTS,
                "result": RESULT,
                "answer": mock_openai.ANSWER,
                "tokens": [{"input": 42, "output": 9}, {"input": 57, "output": 11}],
            }
        )
    )
    sys.exit(0 if flushed else 1)


def hold():
    """Question, tool call, tool result, answer."""
    from openai import OpenAI

    base_url = os.environ.get("MOCK_OPENAI_URL") or mock_openai.start()
    client = OpenAI(base_url=base_url, api_key="sk-" + "not-a-real-key", max_retries=0)
    stream = "--stream" in sys.argv

    def ask(messages):
        options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        response = client.chat.completions.create(
            model=REQUEST_MODEL, messages=messages, tools=TOOLS, temperature=0.2, max_tokens=100, user=USER, **options
        )
        if not stream:
            return response.choices[0].message
        content, calls = "", []
        for chunk in response:
            for choice in chunk.choices:
                content += choice.delta.content or ""
                calls += choice.delta.tool_calls or []

        class Message:
            pass

        message = Message()
        message.content, message.tool_calls = content, calls
        return message

    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    call = ask(messages).tool_calls[0]
    assert (call.function.name, call.function.arguments) == (mock_openai.TOOL, mock_openai.ARGUMENTS)
    function = {"name": call.function.name, "arguments": call.function.arguments}
    messages += [
        {"role": "assistant", "content": None, "tool_calls": [{"id": call.id, "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": call.id, "content": RESULT},
    ]
    answer = ask(messages).content
    assert answer == mock_openai.ANSWER, answer
