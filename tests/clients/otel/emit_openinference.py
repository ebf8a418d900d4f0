"""openinference-instrumentation-openai; user and session through `using_attributes`."""

from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai import OpenAIInstrumentor

import conversation

SERVICE = "emitter-openinference"
providers = conversation.providers(SERVICE)
OpenAIInstrumentor().instrument(tracer_provider=providers[0])
with using_attributes(session_id=conversation.SESSION, user_id=conversation.USER):
    conversation.hold()
conversation.finish(SERVICE, *providers)
