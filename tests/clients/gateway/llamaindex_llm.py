"""LlamaIndex against the gateway, which stands where OpenAI would: a chat, a stream, an answer over documents that it retrieved.

Environment: ``WATCHKEEPER_GATEWAY`` is the gateway's address. Prints what was sent and what came back, as JSON.
"""

import json
import os

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI

DOCUMENT = "Oslo has a wet autumn."


def llm(session):
    headers = {"x-watchkeeper-session": session, "x-watchkeeper-user": "user-7"}
    # The name decides how large its window is taken to be; the stand-in takes any.
    return OpenAI(
        model="gpt-4o-mini", api_base=os.environ["WATCHKEEPER_GATEWAY"].rstrip("/") + "/v1", api_key="not-a-key-openai", max_retries=0,
        default_headers=headers, additional_kwargs={"stream_options": {"include_usage": True}} if session.endswith("stream") else {},
    )


def plain():
    session, prompt = "llamaindex", "Hello from LlamaIndex"
    answer = llm(session).chat([ChatMessage(role="user", content=prompt)])
    usage = {"input": answer.raw.usage.prompt_tokens, "output": answer.raw.usage.completion_tokens}
    return {"session": session, "prompt": prompt, "text": answer.message.content, "usage": usage}


def stream():
    session, prompt = "llamaindex-stream", "Stream, LlamaIndex"
    text, usage = "", None
    for chunk in llm(session).stream_chat([ChatMessage(role="user", content=prompt)]):
        text = chunk.message.content or text
        if chunk.raw and getattr(chunk.raw, "usage", None):
            usage = {"input": chunk.raw.usage.prompt_tokens, "output": chunk.raw.usage.completion_tokens}
    return {"session": session, "prompt": prompt, "text": text, "usage": usage}


def rag():
    session, question = "llamaindex-rag", "How is the autumn in Oslo?"
    index = VectorStoreIndex.from_documents([Document(text=DOCUMENT)], embed_model=MockEmbedding(embed_dim=8))
    answer = index.as_query_engine(llm=llm(session), similarity_top_k=1).query(question)
    return {"session": session, "question": question, "document": DOCUMENT, "text": str(answer)}


print(json.dumps({"plain": [plain(), stream()], "tools": [], "rag": rag()}))
