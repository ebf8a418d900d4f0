"""opentelemetry-instrumentation-genai-openai: messages on the span, and in the details event where that is asked for."""

import os

os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")

import conversation  # noqa: E402  first: it sets the clock

from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor  # noqa: E402

SERVICE = "emitter-otel-genai"
providers = conversation.providers(SERVICE, {"user.id": conversation.USER, "gen_ai.conversation.id": conversation.SESSION})
OpenAIInstrumentor().instrument()
conversation.hold()
conversation.finish(SERVICE, *providers)
