"""Retrieval and an answer by LlamaIndex, under openinference-instrumentation-llama-index."""

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.llms.openai import OpenAI
from openinference.instrumentation import using_attributes
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

import common
from common import conversation

SERVICE = "emitter-llamaindex"
DOCUMENTS = ["Oslo has a wet autumn.", "Bergen has a wetter one."]
providers = conversation.providers(SERVICE)
LlamaIndexInstrumentor().instrument(tracer_provider=providers[0])
index = VectorStoreIndex.from_documents(
    [Document(text=text, doc_id=f"doc-{n}") for n, text in enumerate(DOCUMENTS)], embed_model=MockEmbedding(embed_dim=8)
)
llm = OpenAI(model=conversation.REQUEST_MODEL, api_base=common.base_url(), api_key=common.KEY, max_retries=0)
with using_attributes(session_id=conversation.SESSION, user_id=conversation.USER):
    nodes = index.as_retriever(similarity_top_k=2).retrieve(conversation.QUESTION)
    llm.complete(conversation.QUESTION)
assert len(nodes) == 2
found = {node.text: node.node_id for node in nodes}
common.say(SERVICE, providers, documents=DOCUMENTS, document_ids=[found[text] for text in DOCUMENTS])
