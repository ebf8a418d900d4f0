"""The OpenAI Agents SDK with a tool against the gateway, over the Responses API and over chat completions.

Environment: ``WATCHKEEPER_GATEWAY`` is the gateway's address. Prints what was sent and what came back, as JSON.
"""

import asyncio
import json
import os

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

RESULT = json.dumps({"celsius": 21})
# They would go to OpenAI.
set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return RESULT


def run(session, kind):
    client = AsyncOpenAI(
        base_url=os.environ["WATCHKEEPER_GATEWAY"].rstrip("/") + "/v1",
        api_key="not-a-key-openai",
        max_retries=0,
        default_headers={"x-watchkeeper-session": session, "x-watchkeeper-user": "user-7", "x-watchkeeper-agent": "weather agent"},
    )
    agent = Agent(name="weather agent", instructions="You are a test.", model=kind("stand-in-gpt", client), tools=[get_weather])
    result = asyncio.run(Runner.run(agent, "What is the weather in Paris?"))
    call = next(item.raw_item for item in result.new_items if item.type == "tool_call_item")
    return {"session": session, "tool": call.name, "arguments": call.arguments, "result": RESULT}


print(
    json.dumps(
        {"plain": [], "tools": [run("agents-responses", OpenAIResponsesModel), run("agents-chat", OpenAIChatCompletionsModel)]}
    )
)
