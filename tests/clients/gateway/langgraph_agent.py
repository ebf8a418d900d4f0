"""LangChain and an agent of LangGraph with a tool against the gateway, which stands where OpenAI would.

Environment: ``WATCHKEEPER_GATEWAY`` is the gateway's address. Prints what was sent and what came back, as JSON.
"""

import json
import os

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

RESULT = json.dumps({"celsius": 21})


def model(session):
    headers = {"x-watchkeeper-session": session, "x-watchkeeper-user": "user-7", "x-watchkeeper-agent": "weather agent"}
    base_url = os.environ["WATCHKEEPER_GATEWAY"].rstrip("/") + "/v1"
    return ChatOpenAI(
        model="stand-in-gpt", base_url=base_url, api_key="not-a-key-openai", max_retries=0, default_headers=headers, stream_usage=True
    )


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return RESULT


def usage_of(message):
    return {"input": message.usage_metadata["input_tokens"], "output": message.usage_metadata["output_tokens"]}


def plain():
    session, prompt = "langchain", "Hello from LangChain"
    answer = model(session).invoke(prompt)
    return {"session": session, "prompt": prompt, "text": answer.content, "usage": usage_of(answer)}


def stream():
    session, prompt = "langchain-stream", "Stream, LangChain"
    whole = None
    for chunk in model(session).stream(prompt):
        whole = chunk if whole is None else whole + chunk
    return {"session": session, "prompt": prompt, "text": whole.content, "usage": usage_of(whole)}


def agent():
    session = "langgraph-agent"
    graph = create_agent(model(session), tools=[get_weather], system_prompt="You are a test.", name="weather agent")
    messages = graph.invoke({"messages": [{"role": "user", "content": "What is the weather in Paris?"}]})["messages"]
    call = next(call for message in messages for call in getattr(message, "tool_calls", []))
    assert messages[-1].content == "The tool said: " + RESULT, messages
    return {"session": session, "tool": call["name"], "arguments": json.dumps(call["args"]), "result": RESULT}


print(json.dumps({"plain": [plain(), stream()], "tools": [agent()]}))
