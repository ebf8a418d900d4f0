"""What the emitters of frameworks share: the conversation's parts, the set-up of OpenTelemetry, and what they say at the end."""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import conversation  # noqa: E402
import mock_openai  # noqa: E402

KEY = "sk-" + "not-a-real-key"


def base_url():
    return os.environ.get("MOCK_OPENAI_URL") or mock_openai.start()


def get_weather(city: str) -> str:
    """The weather of a city."""
    return conversation.RESULT


def say(service, providers=(), **more):
    """Exports what is left and says what the record must contain."""
    for provider in providers:
        provider.force_flush()
        provider.shutdown()
    said = {
        "service": service,
        "user": conversation.USER,
        "session": conversation.SESSION,
        "model": conversation.REQUEST_MODEL,
        "question": conversation.QUESTION,
        "answer": mock_openai.ANSWER,
        "tool": mock_openai.TOOL,
        "arguments": mock_openai.ARGUMENTS,
        "result": conversation.RESULT,
        "tokens": [{"input": 42, "output": 9}, {"input": 57, "output": 11}],
    }
    # Where an emitter cannot say something (`session=None`), nothing is expected of it.
    print(json.dumps({**said, **more}))
