"""opentelemetry-instrumentation-openai-v2: legacy log records by default, messages on the span with the opt-in."""

import os

EXPERIMENTAL = "gen_ai_latest_experimental" in os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")
os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY" if EXPERIMENTAL else "true")

from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor  # noqa: E402

import conversation  # noqa: E402

SERVICE = "emitter-otel-v2"
providers = conversation.providers(SERVICE, {"user.id": conversation.USER, "gen_ai.conversation.id": conversation.SESSION})
OpenAIInstrumentor().instrument()
conversation.hold()
conversation.finish(SERVICE, *providers)
