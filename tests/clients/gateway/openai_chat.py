#!/usr/bin/env python3
"""The real ``openai`` SDK against the gateway: chat, streaming, a tool call and its result, an error.

Environment: ``WATCHKEEPER_GATEWAY`` is the gateway's address (``http://127.0.0.1:4000``). Prints one JSON object: what
was sent and what came back, for a test to compare with what was recorded.
"""

import json
import os

import openai

USER = "user-openai-7"
MODEL = "stand-in-gpt"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def client(session):
    return openai.OpenAI(
        base_url=os.environ["WATCHKEEPER_GATEWAY"].rstrip("/") + "/v1",
        # Not a key: the stand-in takes anything.
        api_key="not-a-key-openai",
        max_retries=0,
        default_headers={"x-watchkeeper-session": session, "x-watchkeeper-agent": "gateway-test"},
    )


def receipt(headers):
    return {
        "event_id": headers.get("x-watchkeeper-event-id"),
        "position": headers.get("x-watchkeeper-position"),
        "call_id": headers.get("x-watchkeeper-call-id"),
        "overhead_us": headers.get("x-watchkeeper-overhead-us"),
        "record": headers.get("x-watchkeeper-record"),
    }


def usage_of(usage):
    return {"input": usage.prompt_tokens, "output": usage.completion_tokens}


def chat():
    session = "openai-chat"
    messages = [
        {"role": "system", "content": "You are a test."},
        {"role": "user", "content": "Grüße aus dem Test 👋"},
    ]
    raw = client(session).chat.completions.with_raw_response.create(model=MODEL, messages=messages, user=USER, temperature=0.5)
    answer = raw.parse()
    return {
        "session": session,
        "prompt": messages[-1]["content"],
        "system": messages[0]["content"],
        "text": answer.choices[0].message.content,
        "finish_reason": answer.choices[0].finish_reason,
        "response_id": answer.id,
        "usage": usage_of(answer.usage),
        "receipt": receipt(raw.headers),
    }


def stream():
    session = "openai-stream"
    messages = [{"role": "user", "content": "Stream, please: äöü 🌊"}]
    text, usage, chunks = "", None, 0
    with client(session).chat.completions.with_streaming_response.create(
        model=MODEL, messages=messages, user=USER, stream=True, stream_options={"include_usage": True}
    ) as raw:
        headers = raw.headers
        for chunk in raw.parse():
            chunks += 1
            if chunk.choices and chunk.choices[0].delta.content:
                text += chunk.choices[0].delta.content
            if chunk.usage:
                usage = usage_of(chunk.usage)
    return {
        "session": session,
        "prompt": messages[-1]["content"],
        "text": text,
        "chunks": chunks,
        "usage": usage,
        "receipt": receipt(headers),
    }


def tool(streaming):
    session = "openai-tool-stream" if streaming else "openai-tool"
    sdk = client(session)
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    if streaming:
        with sdk.chat.completions.stream(model=MODEL, messages=messages, user=USER, tools=TOOLS) as events:
            for _ in events:
                pass
            first = events.get_final_completion()
    else:
        first = sdk.chat.completions.create(model=MODEL, messages=messages, user=USER, tools=TOOLS)
    call = first.choices[0].message.tool_calls[0]
    result = json.dumps({"city": "Paris", "celsius": 21})
    messages += [
        {
            "role": "assistant",
            "tool_calls": [
                {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": result},
    ]
    second = sdk.chat.completions.create(model=MODEL, messages=messages, user=USER, tools=TOOLS)
    return {
        "session": session,
        "prompt": messages[0]["content"],
        "tool": call.function.name,
        "call_id": call.id,
        "arguments": call.function.arguments,
        "result": result,
        "text": second.choices[0].message.content,
    }


def error():
    session = "openai-error"
    try:
        client(session).chat.completions.create(model="error-gpt", messages=[{"role": "user", "content": "fail"}], user=USER)
    except openai.InternalServerError as error:
        return {"session": session, "status": error.status_code, "message": str(error)}
    raise SystemExit("the SDK did not see the upstream's error")


def models():
    return {"session": "openai-models", "ids": [model.id for model in client("openai-models").models.list()]}


def main():
    print(
        json.dumps(
            {
                "sdk": f"openai {openai.__version__}",
                "user": USER,
                "model": MODEL,
                "agent": "gateway-test",
                "chat": chat(),
                "stream": stream(),
                "tool": tool(streaming=False),
                "tool_stream": tool(streaming=True),
                "error": error(),
                "models": models(),
            },
            ensure_ascii=False,
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
