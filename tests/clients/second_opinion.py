#!/usr/bin/env python3
"""A stand-in for a model that judges texts. It is NOT a model and knows nothing: it calls a text harmful that contains the word
``harmful-marker``, so that a test can say what must have been recorded.

* ``POST /v1/moderations``: as OpenAI's moderation endpoint answers
* ``POST /v1/chat/completions``: as a model of the Llama Guard family answers

Models with these prefixes are special:

* ``error-``      500
* ``hang-``       takes the request and never answers
* ``chatty-``     answers with a sentence that says neither

Each request is kept as a line of JSON in the file LOG: path, authorization, body. Standard library only. Usage:
``second_opinion.py LOG``; prints ``listening on http://127.0.0.1:PORT``.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MARKER = "harmful-marker"
LOCK = threading.Lock()


def moderation(model, is_harmful):
    scores = {"hate": 0.01, "illicit": 0.93 if is_harmful else 0.02}
    categories = {"hate": False, "illicit": is_harmful}
    result = {"flagged": is_harmful, "categories": categories, "category_scores": scores}
    return {"id": "modr-1", "model": model, "results": [result]}


def guard(model, is_harmful):
    content = "\n\nunsafe\nS2,S9" if is_harmful else "\n\nsafe"
    if model.startswith("chatty-"):
        content = "I think that depends."
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": model, "choices": [choice]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kept = {"path": self.path, "authorization": self.headers.get("authorization"), "body": body}
        with LOCK, open(sys.argv[1], "a", encoding="utf-8") as log:
            log.write(json.dumps(kept) + "\n")
        model = body["model"]
        if model.startswith("hang-"):
            time.sleep(3600)
        if model.startswith("error-"):
            return self.answer(500, {"error": {"message": "no"}})
        if self.path == "/v1/moderations":
            return self.answer(200, moderation(model, MARKER in body["input"]))
        if self.path == "/v1/chat/completions":
            return self.answer(200, guard(model, MARKER in body["messages"][-1]["content"]))
        return self.answer(404, {"error": {"message": "no such path"}})

    def answer(self, status, body):
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
