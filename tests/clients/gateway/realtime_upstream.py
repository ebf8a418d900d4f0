"""A stand-in for OpenAI's realtime API, on a real WebSocket server (`websockets`). It is NOT a model and knows nothing; it speaks the
documented events (the names that followed the beta's) and answers deterministically:

* tools in the session and no tool result yet: a call of the tool ``get_weather`` with ``{"city": "Paris"}``
* the last item is a tool result: ``The tool said: <output>``
* sound was committed: a transcript of it (``spoken words``), and an answer by itself, as with voice activity detection
* else: ``You said: <text of the last user message>``, as text, or as sound with a transcript where the session asks for sound
* a user message ``drop``: the connection breaks in the middle of the answer

Prints ``listening on http://127.0.0.1:PORT``. Headers and path of the newest connection, and what it was sent, are what
``watchkeeper.seen`` (an event that only this stand-in knows) answers with.
"""

import base64
import itertools
import json
import sys

from websockets.sync.server import serve

ARGUMENTS = {"city": "Paris"}


class Conversation:
    def __init__(self, socket):
        self.socket = socket
        self.ids = itertools.count(1)
        self.items = []
        self.sent = []
        self.session = {
            "id": "sess_1",
            "object": "realtime.session",
            "type": "realtime",
            "model": "stand-in-realtime",
            "instructions": "The provider's own words.",
            "output_modalities": ["audio"],
            "tools": [],
        }

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, "event_id": f"event_{next(self.ids)}", **fields}))

    def run(self):
        self.send("session.created", session=self.session)
        for message in self.socket:
            event = json.loads(message)
            self.sent.append(event)
            self.take(event)

    def take(self, event):
        kind = event["type"]
        if kind == "session.update":
            self.session.update(event["session"])
            self.send("session.updated", session=self.session)
        elif kind == "conversation.item.create":
            self.add({"id": f"item_{next(self.ids)}", "object": "realtime.item", "status": "completed", **event["item"]})
        elif kind == "input_audio_buffer.commit":
            item = {"id": "item_sound", "object": "realtime.item", "type": "message", "role": "user", "status": "completed"}
            self.send("input_audio_buffer.committed", item_id=item["id"], previous_item_id=None)
            self.add({**item, "content": [{"type": "input_audio", "transcript": None}]})
            usage = {"type": "duration", "seconds": 1}
            fields = {"item_id": item["id"], "content_index": 0, "transcript": "spoken words", "usage": usage}
            self.send("conversation.item.input_audio_transcription.completed", **fields)
            self.items[-1]["content"] = [{"type": "input_text", "text": "spoken words"}]
            self.respond({})
        elif kind == "response.create":
            self.respond(event.get("response") or {})
        elif kind == "watchkeeper.seen":
            request = self.socket.request
            self.send("watchkeeper.seen", headers=dict(request.headers.raw_items()), path=request.path, sent=self.sent)
        elif kind not in ("input_audio_buffer.append", "response.cancel"):
            error = {"type": "invalid_request_error", "code": "invalid_value", "message": f"no such event: {kind}"}
            self.send("error", error={**error, "param": "type", "event_id": event.get("event_id")})

    def add(self, item):
        self.items.append(item)
        self.send("conversation.item.added", item=item, previous_item_id=None)
        self.send("conversation.item.done", item=item, previous_item_id=None)

    def answer(self):
        last = self.items[-1] if self.items else {}
        if last.get("type") == "function_call_output":
            return "The tool said: " + last["output"], None
        if self.session.get("tools"):
            return None, {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": json.dumps(ARGUMENTS)}
        return "You said: " + "".join(part.get("text", "") for part in last.get("content", [])), None

    def respond(self, asked):
        text, call = self.answer()
        modalities = asked.get("output_modalities") or self.session["output_modalities"]
        response = {
            "object": "realtime.response",
            "id": f"resp_{next(self.ids)}",
            "conversation_id": "conv_1",
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "output_modalities": modalities,
        }
        self.send("response.created", response=response)
        item = {"id": f"item_{next(self.ids)}", "object": "realtime.item", "status": "in_progress"}
        where = {"response_id": response["id"], "output_index": 0}
        of_item = {**where, "item_id": item["id"]}
        if call:
            item.update(call)
            self.send("response.output_item.added", **where, item={**item, "arguments": ""})
            for piece in pieces_of(call["arguments"]):
                self.send("response.function_call_arguments.delta", **of_item, call_id=call["call_id"], delta=piece)
            done = {"call_id": call["call_id"], "name": call["name"], "arguments": call["arguments"]}
            self.send("response.function_call_arguments.done", **of_item, **done)
        else:
            item.update({"type": "message", "role": "assistant", "content": []})
            self.send("response.output_item.added", **where, item=item)
            of_part = {**of_item, "content_index": 0}
            is_sound = "audio" in modalities
            for number, piece in enumerate(pieces_of(text)):
                if number == 1 and text.endswith("drop"):
                    self.socket.socket.close()
                    return
                kind = "response.output_audio_transcript" if is_sound else "response.output_text"
                self.send(f"{kind}.delta", **of_part, delta=piece)
                if is_sound:
                    self.send("response.output_audio.delta", **of_part, delta=base64.b64encode(bytes(30)).decode())
            if is_sound:
                self.send("response.output_audio.done", **of_part)
                self.send("response.output_audio_transcript.done", **of_part, transcript=text)
                item["content"] = [{"type": "output_audio", "transcript": text}]
            else:
                self.send("response.output_text.done", **of_part, text=text)
                item["content"] = [{"type": "output_text", "text": text}]
        item["status"] = "completed"
        self.send("response.output_item.done", **where, item=item)
        usage = {
            "total_tokens": 12,
            "input_tokens": 7,
            "output_tokens": 5,
            "input_token_details": {"cached_tokens": 3, "text_tokens": 4, "audio_tokens": 0},
            "output_token_details": {"text_tokens": 5, "audio_tokens": 0},
        }
        self.items.append(item)
        self.send("response.done", response={**response, "status": "completed", "output": [item], "usage": usage})


def pieces_of(text, size=6):
    return [text[start : start + size] for start in range(0, len(text), size)]


def subprotocol(_, offered):
    return "realtime" if "realtime" in offered else None


def main():
    options = {"select_subprotocol": subprotocol, "max_size": None}
    with serve(lambda socket: Conversation(socket).run(), "127.0.0.1", 0, **options) as server:
        print(f"listening on http://127.0.0.1:{server.socket.getsockname()[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
