"""What programs do that know a proxy by their environment: requests, httpx and websockets.

Usage: client.py HTTP_PORT HTTPS_PORT WSS_PORT AUTHORITY
"""

import json
import ssl
import sys

import httpx2 as httpx
import requests
from websockets.sync.client import connect

http, https, wss, authority = sys.argv[1:5]
said = {}

session = requests.Session()
said["plain"] = session.get(f"http://127.0.0.2:{http}/plain?q=1&api_key=planted-in-a-query", timeout=30).status_code
answer = session.post(f"https://localhost:{https}/post", data=b"x" * 1000, verify=authority, timeout=30)
said["post"] = [answer.status_code, len(answer.content)]
answer = session.get(f"https://localhost:{https}/missing", verify=authority, timeout=30, headers={"authorization": "Bearer planted-in-a-header"})
said["missing"] = answer.status_code

context = ssl.create_default_context(cafile=authority)
with httpx.Client(verify=context) as client:
    said["chunked"] = client.get(f"https://localhost:{https}/chunked").text
    said["head"] = client.head(f"https://localhost:{https}/head", headers={"x-api-key": "planted-in-a-key"}).status_code
    with client.stream("GET", f"http://127.0.0.2:{http}/chunked") as stream:
        said["stream"] = b"".join(stream.iter_bytes()).decode()

with connect(f"wss://localhost:{wss}/socket", ssl=context) as socket:
    socket.send("over a proxy")
    said["socket"] = socket.recv()

print(json.dumps(said))
