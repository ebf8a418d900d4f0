"""The MCP SDK for Python over stdio in its newest protocol version. modern.py COMMAND ARGS..."""

import asyncio
import json
import sys

import mcp_types as types
from mcp import Client, StdioServerParameters


async def main(server):
    info = types.Implementation(name="modern-client", version="2.0")
    async with Client(server, client_info=info, mode="2026-07-28", read_timeout_seconds=60) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        added = await client.call_tool("add", {"a": 20, "b": 22})
        print(json.dumps({"protocol": client.protocol_version, "tools": tools, "sum": added.content[0].text}))


asyncio.run(main(StdioServerParameters(command=sys.argv[1], args=sys.argv[2:])))
