#!/usr/bin/env python3
"""The real SDKs of OpenAI, Anthropic, Google and AWS against the gateway: the APIs beside chat completions and messages.

Environment: ``WATCHKEEPER_GATEWAY`` is the gateway's address. Prints one JSON object: what was sent and what came back, for a test to
compare with what was recorded.
"""

import json
import os

import anthropic
import boto3
import openai
from botocore import UNSIGNED
from botocore.config import Config
from google import genai
from google.genai import types

GATEWAY = os.environ["WATCHKEEPER_GATEWAY"].rstrip("/")
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


def of_openai(session):
    headers = {"x-watchkeeper-session": session, "x-watchkeeper-user": "user-7"}
    return openai.OpenAI(base_url=GATEWAY + "/v1", api_key="not-a-key-openai", max_retries=0, default_headers=headers)


def of_anthropic(session):
    headers = {"x-watchkeeper-session": session, "x-watchkeeper-user": "user-7"}
    return anthropic.Anthropic(base_url=GATEWAY, api_key="not-a-key-anthropic", max_retries=0, default_headers=headers)


#: A client of Google's closes its connections when it is collected.
CLIENTS = []


def of_google(session):
    headers = {"x-watchkeeper-session": session, "x-watchkeeper-user": "user-7"}
    sdk = genai.Client(api_key="not-a-key-google", http_options=types.HttpOptions(base_url=GATEWAY, headers=headers))
    CLIENTS.append(sdk)
    return sdk


def responses():
    session, prompt = "responses", "Grüße an die Responses 👋"
    answer = of_openai(session).responses.create(model="stand-in-gpt", instructions="You are a test.", input=prompt)
    usage = {"input": answer.usage.input_tokens, "output": answer.usage.output_tokens}
    return {"session": session, "prompt": prompt, "text": answer.output_text, "usage": usage}


def responses_stream():
    session, prompt = "responses-stream", "Stream the responses, please"
    with of_openai(session).responses.stream(model="stand-in-gpt", input=prompt) as events:
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        final = events.get_final_response()
    usage = {"input": final.usage.input_tokens, "output": final.usage.output_tokens}
    return {"session": session, "prompt": prompt, "text": text, "usage": usage}


def responses_tool(streaming):
    session = "responses-tool-stream" if streaming else "responses-tool"
    sdk = of_openai(session)
    asked = [{"role": "user", "content": "What is the weather in Paris?"}]
    if streaming:
        with sdk.responses.stream(model="stand-in-gpt", input=asked, tools=[TOOL]) as events:
            for _ in events:
                pass
            first = events.get_final_response()
    else:
        first = sdk.responses.create(model="stand-in-gpt", input=asked, tools=[TOOL])
    call = next(item for item in first.output if item.type == "function_call")
    result = json.dumps({"city": "Paris", "celsius": 21})
    asked += [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": result},
    ]
    second = sdk.responses.create(model="stand-in-gpt", input=asked, tools=[TOOL])
    return {"session": session, "tool": call.name, "arguments": call.arguments, "result": result, "text": second.output_text}


def embeddings():
    answer = of_openai("embeddings").embeddings.create(model="stand-in-embed", input=["first text", "second text"], encoding_format="float")
    return {"session": "embeddings", "prompt": "first text\nsecond text", "usage": {"input": answer.usage.prompt_tokens}}


def moderation():
    answer = of_openai("moderation").moderations.create(model="stand-in-moderation", input="a text about violence")
    return {"session": "moderation", "flagged": answer.results[0].flagged}


def image():
    answer = of_openai("image").images.generate(model="stand-in-image", prompt="a lighthouse")
    return {"session": "image", "text": answer.data[0].revised_prompt}


def transcription():
    data = ("talk.mp3", b"\x00\x01 not really sound", "audio/mpeg")
    answer = of_openai("transcription").audio.transcriptions.create(model="stand-in-whisper", file=data, prompt="Names: Ada")
    return {"session": "transcription", "prompt": "Names: Ada", "text": answer.text}


def batch_file():
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    line["body"] = {"model": "stand-in-gpt", "messages": [{"role": "user", "content": "asked by batch"}]}
    file = of_openai("batch-file").files.create(file=("batch.jsonl", json.dumps(line).encode() + b"\n"), purpose="batch")
    return {"session": "batch-file", "id": file.id}


def azure():
    sdk = openai.AzureOpenAI(
        azure_endpoint=GATEWAY,
        api_version="2024-10-21",
        api_key="not-a-key-azure",
        max_retries=0,
        default_headers={"x-watchkeeper-session": "azure", "x-watchkeeper-user": "user-7"},
    )
    prompt = "Hello, deployment"
    answer = sdk.chat.completions.create(model="prod", messages=[{"role": "user", "content": prompt}])
    usage = {"input": answer.usage.prompt_tokens, "output": answer.usage.completion_tokens}
    return {"session": "azure", "prompt": prompt, "text": answer.choices[0].message.content, "usage": usage}


def count_tokens():
    messages = [{"role": "user", "content": "count this"}]
    answer = of_anthropic("count-tokens").messages.count_tokens(model="stand-in-claude", messages=messages)
    return {"session": "count-tokens", "prompt": "count this", "tokens": answer.input_tokens}


def anthropic_batch():
    params = {"model": "stand-in-claude", "max_tokens": 5, "messages": [{"role": "user", "content": "batched for Claude"}]}
    batch = of_anthropic("anthropic-batch").messages.batches.create(requests=[{"custom_id": "a", "params": params}])
    return {"session": "anthropic-batch", "prompt": "batched for Claude", "id": batch.id}


def gemini():
    prompt = "Grüße an Gemini 👋"
    config = types.GenerateContentConfig(system_instruction="You are a test.", temperature=0.5)
    answer = of_google("gemini").models.generate_content(model="stand-in-gemini", contents=prompt, config=config)
    usage = {"input": answer.usage_metadata.prompt_token_count, "output": answer.usage_metadata.candidates_token_count}
    return {"session": "gemini", "prompt": prompt, "text": answer.text, "usage": usage}


def gemini_stream():
    prompt, text, usage = "Stream, Gemini", "", None
    for chunk in of_google("gemini-stream").models.generate_content_stream(model="stand-in-gemini", contents=prompt):
        text += chunk.text or ""
        if chunk.usage_metadata and chunk.usage_metadata.candidates_token_count:
            usage = {"input": chunk.usage_metadata.prompt_token_count, "output": chunk.usage_metadata.candidates_token_count}
    return {"session": "gemini-stream", "prompt": prompt, "text": text, "usage": usage}


def gemini_tool():
    function = types.FunctionDeclaration(name="get_weather", parameters={"type": "OBJECT", "properties": {"city": {"type": "STRING"}}})
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[function])])
    sdk = of_google("gemini-tool")
    asked = types.Content(role="user", parts=[types.Part(text="What is the weather in Paris?")])
    first = sdk.models.generate_content(model="stand-in-gemini", contents=[asked], config=config)
    call = first.function_calls[0]
    result = {"city": "Paris", "celsius": 21}
    answered = types.Content(role="user", parts=[types.Part.from_function_response(name=call.name, response=result)])
    second = sdk.models.generate_content(model="stand-in-gemini", contents=[asked, first.candidates[0].content, answered], config=config)
    return {"session": "gemini-tool", "tool": call.name, "arguments": json.dumps(call.args), "result": json.dumps(result), "text": second.text}


def gemini_count():
    answer = of_google("gemini-count").models.count_tokens(model="stand-in-gemini", contents="count this")
    return {"session": "gemini-count", "prompt": "count this", "tokens": answer.total_tokens}


def bedrock(signed):
    """With a key of Bedrock's (a bearer token), and signed as AWS does it for the host that the client knows."""
    session = "bedrock-signed" if signed else "bedrock"
    if signed:
        sdk = boto3.client(
            "bedrock-runtime",
            region_name="eu-central-1",
            endpoint_url=GATEWAY,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="not-a-key-aws",
            config=Config(retries={"max_attempts": 1}),
        )
    else:
        config = Config(retries={"max_attempts": 1}, signature_version=UNSIGNED)
        sdk = boto3.client("bedrock-runtime", region_name="eu-central-1", endpoint_url=GATEWAY, config=config)
        sdk.meta.events.register("before-send.bedrock-runtime.*", lambda request, **_: request.headers.update({"Authorization": "Bearer not-a-key"}))

    def name(request, **_):
        request.headers["x-watchkeeper-session"] = session
        request.headers["x-watchkeeper-user"] = "user-7"

    sdk.meta.events.register("before-sign.bedrock-runtime.*", name)
    prompt = "Hello, Bedrock"
    ask = {"modelId": "stand-in.model-v1:0", "messages": [{"role": "user", "content": [{"text": prompt}]}]}
    whole = sdk.converse(**ask)
    text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in sdk.converse_stream(**ask)["stream"] if "contentBlockDelta" in event)
    assert text == whole["output"]["message"]["content"][0]["text"], text
    return {"session": session, "prompt": prompt, "text": text, "usage": {"input": whole["usage"]["inputTokens"], "output": whole["usage"]["outputTokens"]}}


def main():
    said = {
        "plain": [responses(), responses_stream(), azure(), gemini(), gemini_stream()],
        "tools": [responses_tool(False), responses_tool(True), gemini_tool()],
        "embeddings": embeddings(),
        "moderation": moderation(),
        "image": image(),
        "transcription": transcription(),
        "batch_file": batch_file(),
        "count_tokens": count_tokens(),
        "anthropic_batch": anthropic_batch(),
        "gemini_count": gemini_count(),
        "bedrock": [bedrock(False), bedrock(True)],
    }
    print(json.dumps(said, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
