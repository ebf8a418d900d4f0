"""LiteLLM with its own OpenTelemetry callback. It exports by variables of its own."""

import json
import os

os.environ["OTEL_EXPORTER"] = "otlp_http"
os.environ["OTEL_ENDPOINT"] = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
os.environ["OTEL_SERVICE_NAME"] = "emitter-litellm"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402
from litellm.integrations.opentelemetry import OpenTelemetry  # noqa: E402

import common  # noqa: E402
from common import conversation  # noqa: E402

callback = OpenTelemetry()
litellm.callbacks = [callback]
base_url = common.base_url()
messages = [{"role": "system", "content": conversation.SYSTEM}, {"role": "user", "content": conversation.QUESTION}]


def ask():
    return litellm.completion(
        model="openai/" + conversation.REQUEST_MODEL, api_base=base_url, api_key=common.KEY, messages=messages, user=conversation.USER,
        tools=conversation.TOOLS, num_retries=0, metadata={"session_id": conversation.SESSION},
    )


call = ask().choices[0].message.tool_calls[0]
messages += [
    {"role": "assistant", "content": None, "tool_calls": [json.loads(call.model_dump_json())]},
    {"role": "tool", "tool_call_id": call.id, "content": conversation.RESULT},
]
assert ask().choices[0].message.content == common.mock_openai.ANSWER
# The callback runs on a thread of its own, after the call.
import time  # noqa: E402

from opentelemetry import trace  # noqa: E402

time.sleep(2)
provider = getattr(callback, "tracer_provider", None) or trace.get_tracer_provider()
common.say("emitter-litellm", [provider], session=None)
