"""The tools of one turn, and how they are called.

Always holds: a call ends within `tool_seconds`, its result takes `tool_result_bytes` at most, and whatever goes wrong
is a result that says so. Nothing but the end of the turn itself (cancellation) gets out of `Toolbox.call`.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from app.config import Settings, ToolSettings
from app.core.address_guard import AddressGuard
from app.core.sealing import SealBroken, Sealer
from app.domain.prompt import ToolCall
from app.services.providers.base import ToolSpec
from app.services.tools.addresses import Address
from app.services.tools.arguments import read_arguments
from app.services.tools.base import Arguments, Faults, Found, Tool, ToolFailed, ToolResult, sayable
from app.services.tools.calculator import Calculator
from app.services.tools.clock import CurrentTime
from app.services.tools.http_get import HttpGet
from app.services.tools.knowledge_search import KnowledgeSearchTool, Number, Search, numbering
from app.services.tools.lazily import ServersWhenNeeded
from app.services.tools.listings import MOST_TOOLS, Offer
from app.services.tools.names import ALL, SEPARATOR, servers_in
from app.services.unit_of_work import UnitOfWorkFactory

if TYPE_CHECKING:
    from mcp import Client

    from app.services.tools.servers import Servers
    from app.services.tools.sessions import Session

log = structlog.stdlib.get_logger(__name__)

LISTING_SECONDS = 6.0
"""How long a turn waits for what a server offers; it goes on without, and the next one may find it listed."""


class Toolbox:
    """What may be called in this turn. `specs` is what the model is offered, in the order the agent names them."""

    def __init__(self, tools: Iterable[Tool], settings: ToolSettings) -> None:
        self._tools: Mapping[str, Tool] = {tool.spec.name: tool for tool in tools}
        self._seconds = settings.tool_seconds
        self._most_bytes = settings.tool_result_bytes
        self.specs: Sequence[ToolSpec] = [tool.spec for tool in self._tools.values()]

    def title_of(self, name: str) -> str:
        """What an agent calls the tool that the model calls so: `server/tool` of a server's; else the name itself."""
        tool = self._tools.get(name)
        return name if tool is None else tool.name

    async def call(self, call: ToolCall) -> ToolResult:
        """The result, whatever happens."""
        began = monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._called(call)
        except ToolFailed as error:
            found, is_error = Found(str(error)), True
        except TimeoutError:
            found, is_error = Found(f"the tool did not answer within {self._seconds:g} s"), True
        except Exception:
            log.exception("tool_crashed", tool=self.title_of(call.name))
            found, is_error = Found("the tool failed for a reason of its own"), True
        else:
            is_error = False
        text = _cut(sayable(found.text), self._most_bytes)
        return ToolResult(text, is_error, round((monotonic() - began) * 1000), found.passages)

    async def _called(self, call: ToolCall) -> Found:
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolFailed(f"there is no tool {call.name[:100]!r}; there are: {', '.join(self._tools) or 'none'}")
        return await tool.call(read_arguments(call.arguments, tool.faults))


def _cut(text: str, most_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    told = f"\n[cut: the result has {len(encoded)} bytes, and {most_bytes} are shown]"
    return encoded[: max(most_bytes - len(told), 0)].decode(errors="ignore") + told


class _ServerTool:
    """A tool of a server, called in the session that the turn has with it."""

    def __init__(self, servers: "Servers", session: "Session[Client]", address: Address, offer: Offer) -> None:
        self.name = f"{address.name}{SEPARATOR}{offer.tool}"
        self.spec: ToolSpec = offer.spec
        self.faults: Faults = offer.faults
        self._servers = servers
        self._session = session
        self._address = address
        self._tool = offer.tool

    async def call(self, arguments: Arguments) -> Found:
        return Found(await self._servers.call(self._address, self._session, self._tool, arguments))


class Toolboxes:
    """Opens a toolbox for each turn that has tools. Use it from one event loop."""

    def __init__(
        self, settings: Settings, uow: UnitOfWorkFactory, sealer: Sealer, guard: AddressGuard, search: Search
    ) -> None:
        self._settings = settings.tools
        self._uow = uow
        self._sealer = sealer
        self._servers = ServersWhenNeeded(settings.tools, guard)
        self._search = search
        self._calculator, self._current_time = Calculator(), CurrentTime()
        self._http_get = HttpGet(settings.outgoing)

    @asynccontextmanager
    async def open(
        self,
        workspace_id: UUID,
        names: Sequence[str],
        base_ids: Sequence[UUID],
        document_ids: Sequence[UUID],
        number: Number | None = None,
    ) -> AsyncIterator[Toolbox]:
        """The tools of these names that there are: built-in ones, `server/tool` and `server/*`.

        A server that is gone or does not answer in time has none. A search finds in these bases and documents alone.
        `number` numbers what it finds, so that passages of the prompt and of tools are counted together; by default
        from 1.
        """
        built_in = self._built_in(workspace_id, base_ids, document_ids, number or numbering())
        async with self._of_servers(workspace_id, names) as of_servers:
            found = (built_in | of_servers).get
            tools = dict.fromkeys(tool for name in names for tool in found(name, ()))
            yield Toolbox(islice(tools, MOST_TOOLS), self._settings)

    async def close(self) -> None:
        await self._http_get.close()
        await self._servers.close()

    def _built_in(
        self, workspace_id: UUID, base_ids: Sequence[UUID], document_ids: Sequence[UUID], number: Number
    ) -> dict[str, list[Tool]]:
        tools: list[Tool] = [self._calculator, self._current_time]
        if base_ids or document_ids:
            tools.append(KnowledgeSearchTool(self._search, workspace_id, base_ids, document_ids, number))
        if self._settings.tool_http_get == "on":
            tools.append(self._http_get)
        return {tool.name: [tool] for tool in tools}

    @asynccontextmanager
    async def _of_servers(self, workspace_id: UUID, names: Sequence[str]) -> AsyncIterator[dict[str, list[Tool]]]:
        """By what agents call them; the sessions last as long as the block, and open with the first call."""
        if not servers_in(names):
            yield {}
            return
        addresses = await self._addresses(workspace_id, servers_in(names))
        servers = await self._servers.get()
        sessions = {address.name: servers.session(address) for address in addresses}
        try:
            offers = await asyncio.gather(*(_offers_of(servers, address) for address in addresses))
            tools: dict[str, list[Tool]] = {}
            for address, offered in zip(addresses, offers, strict=True):
                all_of_it = tools.setdefault(f"{address.name}{SEPARATOR}{ALL}", [])
                for offer in offered:
                    tool = _ServerTool(servers, sessions[address.name], address, offer)
                    tools[tool.name] = [tool]
                    all_of_it.append(tool)
            yield tools
        finally:
            for session in sessions.values():
                servers.close_later(session)

    async def _addresses(self, workspace_id: UUID, names: Collection[str]) -> list[Address]:
        async with self._uow.reading(workspace_id) as work:
            found = await work.tool_servers.named(names)
        addresses = []
        for server in found.values():
            try:
                addresses.append(Address.of(server, self._sealer))
            except SealBroken:
                log.warning("tool_server_failed", server_id=str(server.id), reason="its token cannot be read any more")
        return addresses


async def _offers_of(servers: "Servers", address: Address) -> list[Offer]:
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            return await servers.listings.of(address)
    except (ToolFailed, TimeoutError):  # what failed is told in the log when it was asked
        return []
