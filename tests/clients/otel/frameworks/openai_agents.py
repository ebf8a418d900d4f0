"""The OpenAI Agents SDK with a tool, under openinference-instrumentation-openai-agents."""

import asyncio

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
from openai import AsyncOpenAI
from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

import common
from common import conversation

SERVICE = "emitter-openai-agents"
providers = conversation.providers(SERVICE)
OpenAIAgentsInstrumentor().instrument(tracer_provider=providers[0])
client = AsyncOpenAI(base_url=common.base_url(), api_key=common.KEY, max_retries=0)
agent = Agent(
    name="weather agent",
    instructions=conversation.SYSTEM,
    model=OpenAIChatCompletionsModel(conversation.REQUEST_MODEL, client),
    tools=[function_tool(common.get_weather)],
)
with using_attributes(session_id=conversation.SESSION, user_id=conversation.USER):
    result = asyncio.run(Runner.run(agent, conversation.QUESTION))
assert result.final_output == common.mock_openai.ANSWER, result.final_output
common.say(SERVICE, providers, agent="weather agent")
