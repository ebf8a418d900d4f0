"""A stand-in for OpenAI's chat completions: asks for the weather tool first, answers when it has the result. Of other tools it calls
those that it knows, each once: a hand-off (`transfer_to_...`), then a command."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "gpt-4o-mini-2024-07-18"
TOOL = "get_weather"
ARGUMENTS = '{"city":"Oslo"}'
CALL_ID = "call_mock_1"
ANSWER = "It is 7 degrees and raining in Oslo."
COMMAND_TOOL = "run_command"
COMMAND = "pip install 'requests==2.31.0' --index-url https://pypi.example/simple"


def next_call(request):
    """The tool that is called next and its arguments; nothing when there is nothing left to call."""
    messages = request["messages"]
    called = {call["function"]["name"] for message in messages for call in message.get("tool_calls") or []}
    offered = [tool["function"]["name"] for tool in request.get("tools") or []]
    for name in offered:
        if name.startswith("transfer_to_") and name not in called:
            return name, "{}"
    if COMMAND_TOOL in offered:
        return None if COMMAND_TOOL in called else (COMMAND_TOOL, json.dumps({"command": COMMAND}))
    return None if any(message.get("role") == "tool" for message in messages) else (TOOL, ARGUMENTS)


def completion(request):
    call = next_call(request)
    if call is None:
        message = {"role": "assistant", "content": ANSWER}
    else:
        name, arguments = call
        call = {"id": CALL_ID if name == TOOL else f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    has_result = any(message.get("role") == "tool" for message in request["messages"])
    finish_reason = "stop" if call is None else "tool_calls"
    usage = {"prompt_tokens": 57 if has_result else 42, "completion_tokens": 11 if has_result else 9}
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    return message, finish_reason, usage


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.endswith("/chat/completions"):
            return self.answer(404, json.dumps({"error": {"message": "no such path"}}).encode(), "application/json")
        message, finish_reason, usage = completion(request)
        common = {"id": "chatcmpl-mock-1", "created": 1700000000, "model": MODEL, "system_fingerprint": "fp_mock"}
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}
            body = {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
            return self.answer(200, json.dumps(body).encode(), "application/json")
        chunk = {**common, "object": "chat.completion.chunk"}
        deltas = [{"role": "assistant", "content": ""}]
        if message.get("tool_calls"):
            deltas += [{"tool_calls": [{"index": 0, **message["tool_calls"][0]}]}]
        else:
            deltas += [{"content": word + " "} for word in ANSWER.split(" ")[:-1]] + [{"content": ANSWER.split(" ")[-1]}]
        events = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
        events.append({**chunk, "choices": [], "usage": usage})
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self.answer(200, body.encode(), "text/event-stream")

    def answer(self, status, body, content_type):
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start(port=0):
    """Starts the server in a thread and returns its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


if __name__ == "__main__":
    print(start(), flush=True)
    threading.Event().wait()
