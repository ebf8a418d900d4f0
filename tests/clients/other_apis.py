"""More of the stand-in for the commercial models (see upstream.py): OpenAI responses, embeddings, moderations, pictures, sound, files
and batches; Anthropic's counting and batches; Gemini; Bedrock. It knows nothing and answers deterministically.
"""

import json
import struct
import zlib

ARGUMENTS = {"city": "Paris"}
CREATED = 1_700_000_000


def tokens(text):
    return max(1, len(text) // 4)


def pieces_of(text, size=8):
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n"


class Responses:
    """OpenAI responses: a text, or a call of the first function tool when no result is there yet."""

    def __init__(self, body):
        self.body = body
        items = body.get("input") or []
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        results = [item for item in items if item.get("type") == "function_call_output"]
        self.calls_tool = bool(body.get("tools")) and not results
        if results:
            self.text = "The tool said: " + str(results[-1].get("output"))
        else:
            self.text = "You said: " + self._text(items[-1].get("content") if items else "")
        written = json.dumps(ARGUMENTS) if self.calls_tool else self.text
        read = tokens(json.dumps(items, ensure_ascii=False))
        self.usage = {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": tokens(written),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + tokens(written),
        }

    @staticmethod
    def _text(content):
        if isinstance(content, str):
            return content
        return "".join(part.get("text", "") for part in content or [])

    def item(self):
        if self.calls_tool:
            call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "status": "completed"}
            return {**call, "arguments": json.dumps(ARGUMENTS)}
        content = [{"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}]
        return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}

    def whole(self, status="completed"):
        done = status == "completed"
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "model": self.body.get("model", "stand-in"),
            "output": [self.item()] if done else [],
            "usage": self.usage if done else None,
            "error": None,
            "incomplete_details": None,
            "instructions": self.body.get("instructions"),
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
        }

    def events(self):
        number = iter(range(10_000))
        yield event("response.created", sequence_number=next(number), response=self.whole("in_progress"))
        place = {"output_index": 0, "item_id": self.item()["id"]}
        if self.calls_tool:
            begun = {**self.item(), "arguments": "", "status": "in_progress"}
            yield event("response.output_item.added", sequence_number=next(number), output_index=0, item=begun)
            for piece in pieces_of(json.dumps(ARGUMENTS), 5):
                yield event("response.function_call_arguments.delta", sequence_number=next(number), delta=piece, **place)
            yield event("response.function_call_arguments.done", sequence_number=next(number), arguments=json.dumps(ARGUMENTS), **place)
        else:
            begun = {**self.item(), "content": [], "status": "in_progress"}
            yield event("response.output_item.added", sequence_number=next(number), output_index=0, item=begun)
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            yield event("response.content_part.added", sequence_number=next(number), content_index=0, part=part, **place)
            for piece in pieces_of(self.text):
                yield event("response.output_text.delta", sequence_number=next(number), content_index=0, delta=piece, logprobs=[], **place)
            yield event("response.output_text.done", sequence_number=next(number), content_index=0, text=self.text, logprobs=[], **place)
        yield event("response.output_item.done", sequence_number=next(number), output_index=0, item=self.item())
        yield event("response.completed", sequence_number=next(number), response=self.whole())

    def error(self):
        return {"error": {"message": "the stand-in fails, as asked", "type": "server_error", "param": None, "code": None}}


class Gemini:
    """generateContent and its stream."""

    def __init__(self, body):
        contents = body.get("contents") or [{}]
        parts = [part for content in contents for part in content.get("parts", [])]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        self.calls_tool = bool(body.get("tools")) and not results
        last = "".join(part.get("text", "") for part in contents[-1].get("parts", []))
        self.text = f"The tool said: {json.dumps(results[-1]['response'])}" if results else f"You said: {last}"
        read = tokens("".join(part.get("text", "") for part in parts))
        written = tokens(json.dumps(ARGUMENTS) if self.calls_tool else self.text)
        self.usage = {"promptTokenCount": read, "candidatesTokenCount": written, "totalTokenCount": read + written}

    def _answer(self, part, last):
        candidate = {"content": {"role": "model", "parts": [part]}, "index": 0}
        answer = {"candidates": [candidate], "modelVersion": "stand-in-gemini-001", "responseId": "gem_1"}
        if last:
            candidate["finishReason"] = "STOP"
            answer["usageMetadata"] = self.usage
        return answer

    def whole(self):
        part = {"functionCall": {"name": "get_weather", "args": ARGUMENTS}} if self.calls_tool else {"text": self.text}
        return self._answer(part, True)

    def events(self):
        if self.calls_tool:
            pieces = [{"functionCall": {"name": "get_weather", "args": ARGUMENTS}}]
        else:
            pieces = [{"text": piece} for piece in pieces_of(self.text)]
        for index, piece in enumerate(pieces):
            data = self._answer(piece, index == len(pieces) - 1)
            yield f"data: {json.dumps(data, ensure_ascii=False)}\r\n\r\n"

    def error(self):
        return {"error": {"code": 500, "message": "the stand-in fails, as asked", "status": "INTERNAL"}}


class Converse:
    """Bedrock's Converse; its stream is binary."""

    def __init__(self, body):
        blocks = [block for message in body.get("messages") or [] for block in message.get("content", [])]
        self.text = "You said: " + (blocks[-1].get("text", "") if blocks else "")
        self.usage = {"inputTokens": 3, "outputTokens": tokens(self.text), "totalTokens": 3 + tokens(self.text)}

    def whole(self):
        message = {"role": "assistant", "content": [{"text": self.text}]}
        return {"output": {"message": message}, "stopReason": "end_turn", "usage": self.usage, "metrics": {"latencyMs": 1}}

    def events(self):
        yield self._message("messageStart", {"role": "assistant"})
        for piece in pieces_of(self.text):
            yield self._message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
        yield self._message("contentBlockStop", {"contentBlockIndex": 0})
        yield self._message("messageStop", {"stopReason": "end_turn"})
        yield self._message("metadata", {"usage": self.usage, "metrics": {"latencyMs": 1}})

    @staticmethod
    def _message(name, payload):
        headers = b""
        for key, value in ((":event-type", name), (":content-type", "application/json"), (":message-type", "event")):
            headers += bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        data = json.dumps(payload, ensure_ascii=False).encode()
        head = struct.pack(">II", 16 + len(headers) + len(data), len(headers))
        head += struct.pack(">I", zlib.crc32(head))
        body = head + headers + data
        return body + struct.pack(">I", zlib.crc32(body))

    def error(self):
        return {"message": "the stand-in fails, as asked"}


def embeddings(body):
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts or []
    data = [{"object": "embedding", "index": index, "embedding": [0.5, 0.25]} for index in range(len(texts))]
    read = tokens("".join(str(text) for text in texts))
    return {"object": "list", "data": data, "model": "stand-in-embed-1", "usage": {"prompt_tokens": read, "total_tokens": read}}


def moderation(body):
    flagged = "violence" in json.dumps(body)
    names = ["harassment", "violence"]
    result = {
        "flagged": flagged,
        "categories": {name: flagged and name == "violence" for name in names},
        "category_scores": {name: 0.9 if flagged and name == "violence" else 0.01 for name in names},
        "category_applied_input_types": {name: ["text"] for name in names},
    }
    return {"id": "modr_1", "model": "stand-in-moderation-1", "results": [result]}


#: What answers in one piece, by the end of its path.
WHOLE = {
    "/embeddings": embeddings,
    "/moderations": moderation,
    "/images/generations": lambda body: {
        "created": CREATED,
        "data": [{"b64_json": "AAAA", "revised_prompt": f"A picture of {body.get('prompt')}"}],
        "usage": {
            "input_tokens": 2,
            "output_tokens": 7,
            "total_tokens": 9,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 2},
        },
    },
    "/messages/count_tokens": lambda body: {"input_tokens": 14},
    "/messages/batches": lambda body: {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {"processing": len(body.get("requests", [])), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-02T00:00:00Z",
        "ended_at": None,
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None,
    },
    ":countTokens": lambda body: {"totalTokens": 5},
    ":embedContent": lambda body: {"embedding": {"values": [0.5, 0.25]}},
    ":batchEmbedContents": lambda body: {"embeddings": [{"values": [0.5, 0.25]} for _ in body.get("requests", [])]},
}

#: What answers a form, by the end of its path.
FORMS = {
    "/audio/transcriptions": {"text": "Hello from the recording", "usage": {"type": "tokens", "input_tokens": 6, "output_tokens": 4, "total_tokens": 10}},
    "/files": {
        "id": "file_1",
        "object": "file",
        "bytes": 10,
        "created_at": CREATED,
        "filename": "batch.jsonl",
        "purpose": "batch",
        "status": "processed",
    },
}

#: What speaks in one piece and in a stream, by the end of its path.
SPEAKERS = {
    "/responses": Responses,
    ":generateContent": Gemini,
    ":streamGenerateContent": Gemini,
    "/converse": Converse,
    "/converse-stream": Converse,
}


def by_path(table, path):
    return next((found for end, found in table.items() if path.endswith(end)), None)
