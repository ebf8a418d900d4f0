#!/usr/bin/env python3
"""A stand-in for the commercial models: speaks enough of OpenAI chat completions and Anthropic messages for tests; more APIs of theirs,
of Gemini and of Bedrock are in other_apis.py.

It is NOT a model and knows nothing. It answers deterministically, so that a test can say what must have been recorded:

* tools in the request and no tool result yet: a call of the tool ``get_weather`` with ``{"city": "Paris"}``
* the last message is a tool result: ``The tool said: <result>``
* else: ``You said: <text of the last user message>``

both in one piece and as a stream. With ``logprobs`` each piece of an answer has a probability of one half. Models with these prefixes
are special:

* ``cached-``     says that half of what was read came from a cache

* ``slow-``       20 ms before the answer, and between the events of a stream
* ``error-``      500 with the provider's error body
* ``hang-``       takes the request and never answers
* ``drop-``       closes the connection in the middle of the answer
* ``malformed-``  sends something that is no JSON where JSON belongs

Standard library only. Usage: ``upstream.py [PORT]``; prints ``listening on http://127.0.0.1:PORT`` (0: any free port).
"""

import json
import math
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import other_apis

CREATED = 1_700_000_000
ARGUMENTS = {"city": "Paris"}


def text_of(content):
    """The text of a message's content: a string, or parts."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content or []:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type") == "text":
            texts.append(part.get("text", ""))
        elif part.get("type") == "tool_result":
            texts.append(text_of(part.get("content")))
    return "\n".join(texts)


def tokens(text):
    """A number that grows with the text, and is never zero."""
    return max(1, len(text) // 4)


def is_tool_result(message):
    content = message.get("content")
    in_parts = isinstance(content, list) and any(isinstance(p, dict) and p.get("type") == "tool_result" for p in content)
    return message.get("role") == "tool" or in_parts


def decide(body):
    """(text, calls_tool): what the stand-in answers."""
    messages = body.get("messages") or [{}]
    if body.get("tools") and not any(is_tool_result(message) for message in messages):
        return "", True
    last = messages[-1]
    if is_tool_result(last):
        return "The tool said: " + text_of(last.get("content")), False
    return "You said: " + text_of(last.get("content")), False


def input_tokens(body):
    texts = [text_of(message.get("content")) for message in body.get("messages") or []]
    return tokens("".join(texts) + text_of(body.get("system") or ""))


def pieces_of(text, size=8):
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]


class OpenAi:
    """Chat completions."""

    def __init__(self, body):
        self.body = body
        self.model = body.get("model", "stand-in")
        self.text, self.calls_tool = decide(body)
        written = json.dumps(ARGUMENTS) if self.calls_tool else self.text
        read = input_tokens(body)
        self.usage = {
            "prompt_tokens": read,
            "completion_tokens": tokens(written),
            "total_tokens": read + tokens(written),
            "prompt_tokens_details": {"cached_tokens": read // 2 if self.model.startswith("cached-") else 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
        self.finish = "tool_calls" if self.calls_tool else "stop"

    def whole(self):
        message = {"role": "assistant", "content": self.text or None, "refusal": None}
        if self.calls_tool:
            function = {"name": "get_weather", "arguments": json.dumps(ARGUMENTS)}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        logprobs = None
        if self.body.get("logprobs"):
            told = {"logprob": math.log(0.5), "bytes": None, "top_logprobs": []}
            logprobs = {"content": [{"token": piece, **told} for piece in pieces_of(self.text)], "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": self.finish}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": CREATED,
            "model": self.model,
            "choices": [choice],
            "usage": self.usage,
        }

    def events(self):
        yield self._chunk({"role": "assistant", "content": None if self.calls_tool else ""})
        if self.calls_tool:
            function = {"name": "get_weather", "arguments": ""}
            yield self._chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
            for piece in pieces_of(json.dumps(ARGUMENTS), 5):
                yield self._chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        else:
            for piece in pieces_of(self.text):
                yield self._chunk({"content": piece})
        yield self._chunk({}, self.finish)
        if (self.body.get("stream_options") or {}).get("include_usage"):
            yield self._event({**self._head(), "choices": [], "usage": self.usage})
        yield "data: [DONE]\n\n"

    def error(self):
        return {"error": {"message": "the stand-in fails, as asked", "type": "server_error", "param": None, "code": None}}

    def _head(self):
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": self.model}

    def _chunk(self, delta, finish=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._event({**self._head(), "choices": [choice]})

    @staticmethod
    def _event(data):
        return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


class Anthropic:
    """Messages."""

    def __init__(self, body):
        self.model = body.get("model", "stand-in")
        self.text, self.calls_tool = decide(body)
        written = json.dumps(ARGUMENTS) if self.calls_tool else self.text
        self.usage = {
            "input_tokens": input_tokens(body),
            "output_tokens": tokens(written),
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        }
        self.stop = "tool_use" if self.calls_tool else "end_turn"

    def whole(self):
        if self.calls_tool:
            content = [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": ARGUMENTS}]
        else:
            content = [{"type": "text", "text": self.text}]
        return {**self._message(), "content": content, "stop_reason": self.stop, "usage": self.usage}

    def events(self):
        begun = {**self.usage, "output_tokens": 1}
        yield self._event("message_start", message={**self._message(), "content": [], "stop_reason": None, "usage": begun})
        if self.calls_tool:
            block = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": p} for p in pieces_of(json.dumps(ARGUMENTS), 5)]
        else:
            block = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": p} for p in pieces_of(self.text)]
        yield self._event("content_block_start", index=0, content_block=block)
        yield self._event("ping")
        for delta in deltas:
            yield self._event("content_block_delta", index=0, delta=delta)
        yield self._event("content_block_stop", index=0)
        yield self._event(
            "message_delta",
            delta={"stop_reason": self.stop, "stop_sequence": None},
            usage={"output_tokens": self.usage["output_tokens"]},
        )
        yield self._event("message_stop")

    def error(self):
        return {"type": "error", "error": {"type": "api_error", "message": "the stand-in fails, as asked"}}

    def _message(self):
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model, "stop_sequence": None}

    @staticmethod
    def _event(kind, **fields):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self._json(200, {"object": "list", "data": [{"id": "stand-in", "object": "model", "created": CREATED, "owned_by": "tests"}]})

    def do_POST(self):
        body = self._body()
        path = self.path.split("?")[0]
        if whole := other_apis.by_path(other_apis.WHOLE, path):
            return self._json(200, whole(json.loads(body)))
        if "multipart/form-data" in self.headers.get("content-type", ""):
            return self._json(200, other_apis.by_path(other_apis.FORMS, path) or {})
        if path.endswith("/chat/completions"):
            speaker = OpenAi
        elif path.endswith("/messages"):
            speaker = Anthropic
        elif speaker := other_apis.by_path(other_apis.SPEAKERS, path):
            pass
        else:
            return self._json(200, {"object": "list", "data": [], "model": "stand-in", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        try:
            request = json.loads(body)
            answer = speaker(request)
        except (ValueError, AttributeError, TypeError) as error:
            return self._json(400, {"error": {"message": f"bad request: {error}", "type": "invalid_request_error"}})
        model = str(request.get("model", ""))
        slow = model.startswith("slow-")
        if model.startswith("hang-"):
            time.sleep(3600)
        if slow:
            time.sleep(0.02)
        if model.startswith("error-"):
            return self._json(500, answer.error())
        if request.get("stream") or path.endswith((":streamGenerateContent", "-stream")):
            return self._stream(answer, model, slow)
        if model.startswith("malformed-"):
            return self._send(200, "application/json", b'{"choices": [')
        data = json.dumps(answer.whole(), ensure_ascii=False).encode()
        if model.startswith("drop-"):
            return self._send(200, "application/json", data[: len(data) // 2], length=len(data))
        self._send(200, "application/json", data)

    def _stream(self, answer, model, slow):
        self.send_response(200)
        binary = isinstance(answer, other_apis.Converse)
        self.send_header("content-type", "application/vnd.amazon.eventstream" if binary else "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for index, event in enumerate(answer.events()):
            if slow:
                time.sleep(0.02)
            if index == 3 and model.startswith("drop-"):
                self.close_connection = True
                return
            if index == 3 and model.startswith("malformed-"):
                event = "data: {this is not JSON\n\n"
            data = event if isinstance(event, bytes) else event.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _body(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _json(self, status, body):
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status, kind, data, length=None):
        if length is not None:
            self.close_connection = True
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    server = Server(("127.0.0.1", port), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
