"""OpenLIT over the `openai` SDK."""

import os

import openlit

import common
from common import conversation

SERVICE = "emitter-openlit"
openlit.init(
    otlp_endpoint=os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"], application_name=SERVICE, environment="test", disable_batch=False,
    collect_system_metrics=False,
)
conversation.hold()

from opentelemetry import _logs, metrics, trace  # noqa: E402

common.say(SERVICE, [trace.get_tracer_provider(), _logs.get_logger_provider(), metrics.get_meter_provider()], session=None)
