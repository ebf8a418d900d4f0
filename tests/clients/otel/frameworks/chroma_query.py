"""A vector store: Chroma under opentelemetry-instrumentation-chromadb (OpenLLMetry)."""

import chromadb
from chromadb.config import Settings
from opentelemetry.instrumentation.chromadb import ChromaInstrumentor

import common
from common import conversation

SERVICE = "emitter-chroma"
DOCUMENTS = ["Oslo has a wet autumn.", "Bergen has a wetter one.", "Cairo is dry."]
PREFIX = "traceloop.association.properties."
providers = conversation.providers(SERVICE, {PREFIX + "user_id": conversation.USER, PREFIX + "session_id": conversation.SESSION})
ChromaInstrumentor().instrument(tracer_provider=providers[0])
client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
collection = client.create_collection("cities", embedding_function=None)
collection.add(ids=["d0", "d1", "d2"], documents=DOCUMENTS, embeddings=[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
found = collection.query(query_embeddings=[[1.0, 0.0]], n_results=2, include=["documents", "distances"])
assert found["ids"] == [["d0", "d1"]], found["ids"]
common.say(SERVICE, providers, documents=DOCUMENTS[:2], document_ids=found["ids"][0])
