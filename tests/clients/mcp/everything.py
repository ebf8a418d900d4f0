"""The MCP SDK for Python against `@modelcontextprotocol/server-everything`, by whatever stands before it.

everything.py stdio COMMAND ARGS... | everything.py http URL

Prints what was asked and what came, as JSON.
"""

import asyncio
import json
import sys

import mcp_types as types
from mcp import Client, StdioServerParameters

ASKED = []


async def sampling(context, params):
    ASKED.append("sampling")
    return types.CreateMessageResult(
        role="assistant", content=types.TextContent(type="text", text="a sampled answer"), model="stand-in-model", stop_reason="endTurn"
    )


async def elicitation(context, params):
    ASKED.append("elicitation")
    return types.ElicitResult(action="decline")


async def roots(context):
    ASKED.append("roots")
    return types.ListRootsResult(roots=[types.Root(uri="file:///srv/project", name="project")])


def text(result):
    return "\n".join(block.text for block in result.content if block.type == "text")


async def main(server):
    said = {}
    callbacks = {"sampling_callback": sampling, "elicitation_callback": elicitation, "list_roots_callback": roots}
    info = types.Implementation(name="everything-client", version="1.0")
    async with Client(server, client_info=info, read_timeout_seconds=60, **callbacks) as client:
        said["protocol"] = client.protocol_version
        said["server"] = client.server_info.name if client.server_info else None
        said["instructions"] = client.instructions
        said["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        said["echo"] = text(await client.call_tool("echo", {"message": "hello from the test"}))
        said["sum"] = text(await client.call_tool("get-sum", {"a": 2, "b": 40}))
        failed = await client.call_tool("get-sum", {"a": "not a number"})
        said["failed"] = failed.is_error
        image = await client.call_tool("get-tiny-image", {})
        said["image"] = [block.type for block in image.content]
        if "trigger-sampling-request" in said["tools"]:
            said["sampled"] = text(await client.call_tool("trigger-sampling-request", {"prompt": "Say something.", "maxTokens": 20}))
        said["resources"] = len((await client.list_resources()).resources)
        first = (await client.list_resources()).resources[0]
        said["resource"] = first.uri
        contents = (await client.read_resource(first.uri)).contents
        said["content"] = getattr(contents[0], "text", None)
        said["prompts"] = [prompt.name for prompt in (await client.list_prompts()).prompts]
        prompt = await client.get_prompt(said["prompts"][0])
        said["prompt"] = prompt.messages[0].content.text
    said["asked"] = sorted(set(ASKED))
    print(json.dumps(said))


kind, *rest = sys.argv[1:]
asyncio.run(main(rest[0] if kind == "http" else StdioServerParameters(command=rest[0], args=rest[1:], env=None)))
