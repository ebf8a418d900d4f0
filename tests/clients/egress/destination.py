"""Somewhere outside: a plain HTTP, an HTTPS and a WebSocket server on ports of the system's choice.

Usage: destination.py CERTIFICATE KEY
Says where it listens, and then what it was asked, one JSON object a line.
"""

import http.server
import json
import ssl
import sys
import threading

from websockets.sync.server import serve


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        names = sorted({name.lower() for name in self.headers.keys()})
        print(json.dumps({"method": self.command, "path": self.path, "headers": names, "bytes": len(body)}), flush=True)
        status = 404 if self.path.startswith("/missing") else 200
        answer = body or b"hello"
        self.send_response(status)
        if self.path.startswith("/chunked"):
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in (answer[:2], answer[2:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

    def log_message(self, *_):
        pass


def echo(connection):
    for message in connection:
        connection.send(message)


def main():
    certificate, key = sys.argv[1:3]
    plain = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    secure = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
    sockets = serve(echo, "127.0.0.1", 0, ssl=context)
    for server in (plain, secure, sockets):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = {"http": plain.server_port, "https": secure.server_port, "wss": sockets.socket.getsockname()[1]}
    print(json.dumps(ports), flush=True)
    sys.stdin.read()


main()
