"""opentelemetry-instrumentation-openai (OpenLLMetry); user and session as association properties, which Traceloop's SDK
puts on every span with a span processor like the one here."""

import os

os.environ.setdefault("TRACELOOP_TRACE_CONTENT", "true")

from opentelemetry.instrumentation.openai import OpenAIInstrumentor  # noqa: E402

import conversation  # noqa: E402

SERVICE = "emitter-openllmetry"
PREFIX = "traceloop.association.properties."
providers = conversation.providers(SERVICE, {PREFIX + "user_id": conversation.USER, PREFIX + "session_id": conversation.SESSION})
OpenAIInstrumentor().instrument()
conversation.hold()
conversation.finish(SERVICE, *providers)
