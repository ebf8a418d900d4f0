#!/usr/bin/env python3
"""The real ``anthropic`` SDK against the gateway: messages, streaming, a tool call and its result, an error.

Environment: ``WATCHKEEPER_GATEWAY`` is the gateway's address (``http://127.0.0.1:4000``). Prints one JSON object: what
was sent and what came back, for a test to compare with what was recorded.
"""

import json
import os

import anthropic

USER = "user-anthropic-7"
MODEL = "stand-in-claude"
TOOLS = [
    {
        "name": "get_weather",
        "description": "The weather in a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


def client(session):
    return anthropic.Anthropic(
        base_url=os.environ["WATCHKEEPER_GATEWAY"].rstrip("/"),
        # Not a key: the stand-in takes anything.
        api_key="not-a-key-anthropic",
        max_retries=0,
        default_headers={"x-watchkeeper-session": session, "x-watchkeeper-agent": "gateway-test"},
    )


def common(**more):
    return {"model": MODEL, "max_tokens": 256, "metadata": {"user_id": USER}, **more}


def receipt(headers):
    return {
        "event_id": headers.get("x-watchkeeper-event-id"),
        "position": headers.get("x-watchkeeper-position"),
        "call_id": headers.get("x-watchkeeper-call-id"),
        "overhead_us": headers.get("x-watchkeeper-overhead-us"),
        "record": headers.get("x-watchkeeper-record"),
    }


def usage_of(usage):
    return {"input": usage.input_tokens, "output": usage.output_tokens}


def messages():
    session = "anthropic-messages"
    prompt = "Grüße aus dem Test 👋"
    raw = client(session).messages.with_raw_response.create(
        **common(system="You are a test.", messages=[{"role": "user", "content": prompt}])
    )
    answer = raw.parse()
    return {
        "session": session,
        "prompt": prompt,
        "system": "You are a test.",
        "text": answer.content[0].text,
        "finish_reason": answer.stop_reason,
        "response_id": answer.id,
        "usage": usage_of(answer.usage),
        "receipt": receipt(raw.headers),
    }


def stream():
    session = "anthropic-stream"
    prompt = "Stream, please: äöü 🌊"
    text = ""
    with client(session).messages.stream(**common(messages=[{"role": "user", "content": prompt}])) as events:
        for piece in events.text_stream:
            text += piece
        final = events.get_final_message()
        headers = events.response.headers
    return {"session": session, "prompt": prompt, "text": text, "usage": usage_of(final.usage), "receipt": receipt(headers)}


def tool(streaming):
    session = "anthropic-tool-stream" if streaming else "anthropic-tool"
    sdk = client(session)
    history = [{"role": "user", "content": "What is the weather in Paris?"}]
    if streaming:
        with sdk.messages.stream(**common(messages=history, tools=TOOLS)) as events:
            first = events.get_final_message()
    else:
        first = sdk.messages.create(**common(messages=history, tools=TOOLS))
    call = next(block for block in first.content if block.type == "tool_use")
    result = json.dumps({"city": "Paris", "celsius": 21})
    history += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": result}]},
    ]
    second = sdk.messages.create(**common(messages=history, tools=TOOLS))
    return {
        "session": session,
        "prompt": history[0]["content"],
        "tool": call.name,
        "call_id": call.id,
        "arguments": json.dumps(call.input),
        "result": result,
        "text": second.content[0].text,
    }


def error():
    session = "anthropic-error"
    try:
        client(session).messages.create(**{**common(messages=[{"role": "user", "content": "fail"}]), "model": "error-claude"})
    except anthropic.InternalServerError as error:
        return {"session": session, "status": error.status_code, "message": str(error)}
    raise SystemExit("the SDK did not see the upstream's error")


def main():
    print(
        json.dumps(
            {
                "sdk": f"anthropic {anthropic.__version__}",
                "user": USER,
                "model": MODEL,
                "agent": "gateway-test",
                "messages": messages(),
                "stream": stream(),
                "tool": tool(streaming=False),
                "tool_stream": tool(streaming=True),
                "error": error(),
            },
            ensure_ascii=False,
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
