"""An agent of LangChain and LangGraph with a tool, under openinference-instrumentation-langchain."""

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openinference.instrumentation import using_attributes
from openinference.instrumentation.langchain import LangChainInstrumentor

import common
from common import conversation

SERVICE = "emitter-langgraph"
providers = conversation.providers(SERVICE)
LangChainInstrumentor().instrument(tracer_provider=providers[0])
model = ChatOpenAI(model=conversation.REQUEST_MODEL, base_url=common.base_url(), api_key=common.KEY, max_retries=0)
agent = create_agent(model, tools=[tool(common.get_weather)], system_prompt=conversation.SYSTEM, name="weather agent")
with using_attributes(session_id=conversation.SESSION, user_id=conversation.USER):
    result = agent.invoke({"messages": [{"role": "user", "content": conversation.QUESTION}]})
assert result["messages"][-1].content == common.mock_openai.ANSWER
common.say(SERVICE, providers)
