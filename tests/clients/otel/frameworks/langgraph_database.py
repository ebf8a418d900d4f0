"""An agent of LangGraph that looks a question up in a vector store, calls a tool and asks a database, under
openinference-instrumentation-langchain and opentelemetry-instrumentation-sqlite3. Its state graph has a step for each.

The spans of LangChain are not those of the running code: a tool that wants what it does to stand below its span says so
(`get_current_span`); what does not stands below the request's span, in the same trace."""

import sqlite3
from typing import Annotated, TypedDict

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from openinference.instrumentation import using_attributes
from openinference.instrumentation.langchain import LangChainInstrumentor, get_current_span
from opentelemetry import trace
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor

import common
from common import conversation

SERVICE = "emitter-langgraph-database"
DOCUMENTS = {"d-oslo": "Oslo has a wet autumn.", "d-cairo": "Cairo is dry."}
providers = conversation.providers(SERVICE)
LangChainInstrumentor().instrument(tracer_provider=providers[0])

FILE = "file:weather?mode=memory&cache=shared"
setup = sqlite3.connect(FILE, uri=True)
setup.executescript("CREATE TABLE weather (city TEXT, report TEXT); CREATE TABLE asked (city TEXT);")
setup.execute("INSERT INTO weather VALUES ('Oslo', ?)", (conversation.RESULT,))
setup.commit()
SQLite3Instrumentor().instrument(tracer_provider=providers[0])
database = sqlite3.connect(FILE, uri=True, check_same_thread=False)
store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
store.add_documents([Document(text, id=name, metadata={"source": "handbook"}) for name, text in DOCUMENTS.items()])
retriever = store.as_retriever(search_kwargs={"k": 2})


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    cursor = database.cursor()
    with trace.use_span(get_current_span()):
        cursor.execute("SELECT w.report FROM weather w LEFT JOIN asked a ON a.city = w.city WHERE w.city = ?", (city,))
        report = cursor.fetchone()[0]
    cursor.execute("INSERT INTO asked (city) VALUES (?)", (city,))
    return report


class State(TypedDict):
    messages: Annotated[list, add_messages]


model = ChatOpenAI(model=conversation.REQUEST_MODEL, base_url=common.base_url(), api_key=common.KEY, max_retries=0)
model = model.bind_tools([get_weather])


def look_up(state):
    found = retriever.invoke(state["messages"][-1].content)
    notes = "\n".join(document.page_content for document in found)
    return {"messages": [SystemMessage(f"{conversation.SYSTEM}\nNotes:\n{notes}")]}


def answer(state):
    return {"messages": [model.invoke(state["messages"])]}


graph = StateGraph(State)
graph.add_node("look_up", look_up)
graph.add_node("answer", answer)
graph.add_node("tools", ToolNode([get_weather]))
graph.add_edge(START, "look_up")
graph.add_edge("look_up", "answer")
graph.add_conditional_edges("answer", tools_condition, {"tools": "tools", END: END})
graph.add_edge("tools", "answer")
agent = graph.compile(name="weather agent")
request = trace.get_tracer("shop").start_as_current_span("POST /ask", kind=trace.SpanKind.SERVER)
with request, using_attributes(session_id=conversation.SESSION, user_id=conversation.USER):
    result = agent.invoke({"messages": [HumanMessage(conversation.QUESTION)]})
assert result["messages"][-1].content == common.mock_openai.ANSWER
common.say(SERVICE, providers, documents=list(DOCUMENTS.values()))
