"""LiteLLM against the gateway, which stands where OpenAI and Anthropic would: in one piece, as a stream, with a tool.

Environment: ``WATCHKEEPER_GATEWAY`` is the gateway's address. Prints what was sent and what came back, as JSON.
"""

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402

GATEWAY = os.environ["WATCHKEEPER_GATEWAY"].rstrip("/")
OPENAI = {"model": "openai/stand-in-gpt", "api_base": GATEWAY + "/v1", "api_key": "not-a-key-openai"}
ANTHROPIC = {"model": "anthropic/stand-in-claude", "api_base": GATEWAY, "api_key": "not-a-key-anthropic", "max_tokens": 50}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


def ask(session, provider, messages, **more):
    headers = {"x-watchkeeper-session": session, "x-watchkeeper-user": "user-7"}
    return litellm.completion(**provider, messages=messages, extra_headers=headers, num_retries=0, **more)


def plain(session, provider, prompt):
    answer = ask(session, provider, [{"role": "user", "content": prompt}])
    usage = {"input": answer.usage.prompt_tokens, "output": answer.usage.completion_tokens}
    return {"session": session, "prompt": prompt, "text": answer.choices[0].message.content, "usage": usage}


def stream(session, provider, prompt):
    text, usage = "", None
    for chunk in ask(session, provider, [{"role": "user", "content": prompt}], stream=True, stream_options={"include_usage": True}):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if getattr(chunk, "usage", None):
            usage = {"input": chunk.usage.prompt_tokens, "output": chunk.usage.completion_tokens}
    return {"session": session, "prompt": prompt, "text": text, "usage": usage}


def tool(session, provider):
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    call = ask(session, provider, messages, tools=[TOOL]).choices[0].message.tool_calls[0]
    result = json.dumps({"celsius": 21})
    messages += [
        {"role": "assistant", "content": None, "tool_calls": [json.loads(call.model_dump_json())]},
        {"role": "tool", "tool_call_id": call.id, "content": result},
    ]
    ask(session, provider, messages, tools=[TOOL])
    return {"session": session, "tool": call.function.name, "arguments": call.function.arguments, "result": result}


print(
    json.dumps(
        {
            "plain": [
                plain("litellm-openai", OPENAI, "Hello from LiteLLM"),
                stream("litellm-openai-stream", OPENAI, "Stream, LiteLLM"),
                plain("litellm-anthropic", ANTHROPIC, "Hello, Claude"),
            ],
            "tools": [tool("litellm-openai-tool", OPENAI), tool("litellm-anthropic-tool", ANTHROPIC)],
        }
    )
)
