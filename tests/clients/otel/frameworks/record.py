"""Runs the emitters of this folder and keeps what they send, as `fixtures/NAME/NN-SIGNAL.pb`, and what they say of it, as
`fixtures/NAME/said.json`: `python3 record.py ENVIRONMENTS NAME...`, where ENVIRONMENTS is the folder of the environments that
`cargo xtask matrix` makes (target/clients/frameworks). `FIXTURES` names another folder for what they send."""

import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import conversation  # noqa: E402
import mock_openai  # noqa: E402

#: Which environment an emitter runs in.
ENVIRONMENTS = {
    "chroma_query": "chroma",
    "langgraph_agent": "langgraph",
    "langgraph_database": "langgraph",
    "litellm_otel": "litellm",
    "llamaindex_retrieval": "llamaindex",
    "openai_agents": "openai_agents",
    "openai_agents_handoff": "openai_agents",
    "openlit_chroma": "openlit",
    "openlit_openai": "openlit",
    "vercel_ai": "vercel_ai",
}
received = []


class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = b""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        assert self.headers.get("content-encoding", "identity") == "identity"
        received.append((self.path.rsplit("/", 1)[1], body))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    environments, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    variables = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.server_address[1]}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "MOCK_OPENAI_URL": mock_openai.start(),
        "CONVERSATION": conversation_json(),
    }
    for name in names:
        received.clear()
        environment = (environments / ENVIRONMENTS[name]).resolve()
        said = subprocess.run(command(environment, name), env=variables, cwd=environment, check=True, stdout=subprocess.PIPE)
        folder = pathlib.Path(os.environ.get("FIXTURES", HERE / "fixtures")) / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, (signal, body) in enumerate(received):
            (folder / f"{number:02}-{signal}.pb").write_bytes(body)
        last = said.stdout.decode().strip().rsplit("\n", 1)[-1]
        (folder / "said.json").write_text(json.dumps(json.loads(last), indent=1) + "\n")
        print(name, [(signal, len(body)) for signal, body in received])


def command(environment, name):
    if name == "vercel_ai":
        script = environment / "vercel_ai.mjs"
        # Node looks for packages beside the script.
        shutil.copyfile(HERE / "vercel_ai.mjs", script)
        return ["node", str(script)]
    return [str(environment / "bin/python"), str(HERE / f"{name}.py")]


def conversation_json():
    said = {
        "user": conversation.USER, "session": conversation.SESSION, "model": conversation.REQUEST_MODEL, "system": conversation.SYSTEM,
        "question": conversation.QUESTION, "answer": mock_openai.ANSWER, "tool": mock_openai.TOOL,
        "arguments": mock_openai.ARGUMENTS, "result": conversation.RESULT,
        "tokens": [{"input": 42, "output": 9}, {"input": 57, "output": 11}],
    }
    return json.dumps(said)


if __name__ == "__main__":
    main()
