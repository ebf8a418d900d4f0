"""A vector store: Chroma under OpenLIT, which counts rows."""

import os

import chromadb
import openlit
from chromadb.config import Settings

import common

SERVICE = "emitter-openlit-chroma"
DOCUMENTS = ["Oslo has a wet autumn.", "Bergen has a wetter one.", "Cairo is dry."]
openlit.init(
    otlp_endpoint=os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"], application_name=SERVICE, environment="test", disable_batch=False,
    collect_system_metrics=False,
)
client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
collection = client.create_collection("cities", embedding_function=None)
collection.add(ids=["d0", "d1", "d2"], documents=DOCUMENTS, embeddings=[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
found = collection.query(query_embeddings=[[1.0, 0.0]], n_results=2, include=["documents", "distances"])
assert found["ids"] == [["d0", "d1"]], found["ids"]
assert len(collection.peek(limit=3)["ids"]) == 3

from opentelemetry import metrics, trace  # noqa: E402

common.say(SERVICE, [trace.get_tracer_provider(), metrics.get_meter_provider()], session=None, user=None, documents=DOCUMENTS[:2], document_ids=found["ids"][0])
