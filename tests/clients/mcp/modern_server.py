"""A server of the MCP SDK for Python, which speaks 2026-07-28: no handshake, everything in each request."""

from mcp.server import MCPServer

server = MCPServer("modern", instructions="Add with care.")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


server.run()
