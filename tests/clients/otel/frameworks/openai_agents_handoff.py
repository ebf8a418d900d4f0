"""Two agents of the OpenAI Agents SDK: the first hands over to the second, which runs a command that installs something. Under
openinference-instrumentation-openai-agents. The command is not run."""

import asyncio

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
from openai import AsyncOpenAI
from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

import common
from common import conversation

SERVICE = "emitter-openai-agents-handoff"
QUESTION = "Install requests, please."
OUTPUT = "Successfully installed requests-2.31.0"
providers = conversation.providers(SERVICE)
OpenAIAgentsInstrumentor().instrument(tracer_provider=providers[0])
client = AsyncOpenAI(base_url=common.base_url(), api_key=common.KEY, max_retries=0)
model = OpenAIChatCompletionsModel(conversation.REQUEST_MODEL, client)


@function_tool
def run_command(command: str) -> str:
    """Runs a command in the build container."""
    return OUTPUT


builder = Agent(name="builder", instructions="You build.", model=model, tools=[run_command])
triage = Agent(name="triage", instructions="You hand over.", model=model, handoffs=[builder])
with using_attributes(session_id=conversation.SESSION, user_id=conversation.USER):
    result = asyncio.run(Runner.run(triage, QUESTION))
assert (result.final_output, result.last_agent.name) == (common.mock_openai.ANSWER, "builder"), result
common.say(
    SERVICE, providers, question=QUESTION, agents=["triage", "builder"], tool="run_command", result=OUTPUT,
    arguments='{"command": "%s"}' % common.mock_openai.COMMAND,
)
