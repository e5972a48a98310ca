"""Speaking to MCP servers with their SDK, which takes a second and 57 MB to import: import this module when needed.

What a server answers is bounded by the transports, and nothing of it is believed: its schemas are not applied to its
answers (the SDK would do so with patterns that may take forever), and it is offered nothing of ours to ask for.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import mcp_types
import orjson
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from app.core.guarded_transport import AnswerTooLong, refused_address
from app.services.tools.addresses import Address
from app.services.tools.base import Arguments, ToolFailed
from app.services.tools.listings import Offer, offers_of
from app.services.tools.stdio import OutputTooLong, stdio

MOST_PAGES = 10
LONGEST_TOLD = 500
# It logs what servers say, and where they are.
logging.getLogger("mcp").setLevel(logging.CRITICAL)

MakeHttp = Callable[[Mapping[str, str]], httpx2.AsyncClient]
"""Makes a guarded client that sends these headers."""


@asynccontextmanager
async def connected(address: Address, make_http: MakeHttp) -> AsyncIterator[Client]:
    """A client that has introduced itself."""
    async with AsyncExitStack() as stack:
        transport: AbstractAsyncContextManager[Any]
        if address.url is None:
            transport = stdio(address.command)
        else:
            headers = {} if address.token is None else {"Authorization": f"Bearer {address.token}"}
            http = await stack.enter_async_context(make_http(headers))
            transport = streamable_http_client(address.url, http_client=http)
        yield await stack.enter_async_context(Client(transport, cache=None))


async def list_tools(client: Client, *, address: Address) -> list[Offer]:
    """All pages, up to `MOST_PAGES`."""
    tools: list[mcp_types.Tool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    named = ((tool.name, tool.description or tool.title or tool.name, tool.input_schema) for tool in tools)
    return offers_of(address, named)


async def call_tool(client: Client, *, tool: str, arguments: Arguments) -> str:
    """What the tool says; raise `ToolFailed` if it says that it failed."""
    request = mcp_types.CallToolRequest(params=mcp_types.CallToolRequestParams(name=tool, arguments=arguments))
    try:
        result = await client.session.send_request(request, mcp_types.CallToolResult)
    except MCPError as error:
        if error.code != mcp_types.HEADER_MISMATCH:
            raise
        # It wants arguments in headers too, which the SDK knows of once it has listed the tools.
        await client.list_tools()
        result = await client.session.send_request(request, mcp_types.CallToolResult)
    said = _said(result)
    if result.is_error:
        raise ToolFailed(said or "the tool says that it failed")
    return said


def _said(result: mcp_types.CallToolResult) -> str:
    parts = [_text_of(content) for content in result.content]
    if not any(parts) and result.structured_content is not None:
        return orjson.dumps(result.structured_content).decode()
    return "\n".join(filter(None, parts))


def _text_of(content: mcp_types.ContentBlock) -> str:
    match content:
        case mcp_types.TextContent(text=text):
            return text
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents(text=text)):
            return text
        case mcp_types.ResourceLink(name=name, uri=uri):
            return f"[{name}: {uri}]"
    return f"[{content.type}: not shown]"


def is_broken(error: Exception) -> bool:
    return isinstance(error, MCPError) and error.code == mcp_types.CONNECTION_CLOSED


def told(address: Address, error: BaseException | None) -> ToolFailed:
    """What may be told of a failure: what the server says of it, or in general what happened, and never an address."""
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, ToolFailed):
        return first
    is_refused = error is not None and refused_address(error) is not None
    reason = "is at an address that must not be reached" if is_refused else _reason(first)
    return ToolFailed(address.redacted(f"the tool server {address.name} {reason}"))


def _reason(error: BaseException | None) -> str:
    match error:
        case None:
            return "ended the connection"
        case MCPError(message=message):
            return f"says: {message[:LONGEST_TOLD]}"
        case AnswerTooLong() | OutputTooLong():
            return "says more than is taken"
        case httpx2.TimeoutException() | TimeoutError():
            return "does not answer in time"
        case httpx2.TransportError() | OSError():
            return "cannot be reached"
    return f"does not speak the protocol ({type(error).__name__})"
