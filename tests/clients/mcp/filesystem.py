"""The MCP SDK for Python against `@modelcontextprotocol/server-filesystem`, by whatever stands before it.

filesystem.py FOLDER stdio COMMAND ARGS... | filesystem.py FOLDER http URL

Reads FOLDER/note.txt, then tries to write it, which a policy may refuse. Prints what was asked and what came, as JSON.
"""

import asyncio
import json
import sys

import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters


def text(result):
    return "\n".join(block.text for block in result.content if block.type == "text")


async def main(folder, server):
    note = f"{folder}/note.txt"
    said = {"note": note}
    info = types.Implementation(name="files-client", version="1.0")
    async with Client(server, client_info=info, read_timeout_seconds=60) as client:
        said["server"] = client.server_info.name if client.server_info else None
        said["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        said["read"] = text(await client.call_tool("read_text_file", {"path": note}))
        said["listed"] = text(await client.call_tool("list_directory", {"path": folder}))
        outside = await client.call_tool("read_text_file", {"path": "/etc/hostname"})
        said["outside"] = outside.is_error
        try:
            said["written"] = text(await client.call_tool("write_file", {"path": note, "content": "changed"}))
        except MCPError as error:
            said["refused"] = error.error.code
    print(json.dumps(said))


folder, kind, *rest = sys.argv[1:]
asyncio.run(main(folder, rest[0] if kind == "http" else StdioServerParameters(command=rest[0], args=rest[1:], env=None)))
