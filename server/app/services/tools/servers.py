"""Tool servers as this process reaches them: over guarded HTTP, or as programs that the administrator allows.

This module imports the SDK, which takes a second and 57 MB: get it through `ServersWhenNeeded`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import httpx2
from mcp import Client

from app.config import ToolSettings
from app.core.address_guard import AddressGuard
from app.core.guarded_transport import guarded_client
from app.services.tools.addresses import Address, allows_command
from app.services.tools.base import Arguments, ToolFailed
from app.services.tools.listings import Listings, Offer
from app.services.tools.mcp import call_tool, connected, is_broken, list_tools, told
from app.services.tools.sessions import Session

MOST_ANSWER_BYTES = 2 * 1024 * 1024
MOST_PROGRAMS = 16
"""How many programs one process runs at once; further turns wait for one to end, as long as a call may take."""
CONNECT_SECONDS = 10.0
LIST_SECONDS = 10.0


class Servers:
    """Opens sessions, and closes them when nobody waits for that. Use it from one event loop."""

    def __init__(self, settings: ToolSettings, guard: AddressGuard) -> None:
        self._settings = settings
        self._guard = guard
        self._programs = asyncio.Semaphore(MOST_PROGRAMS)
        self._closing: set[asyncio.Task[None]] = set()
        self.listings = Listings(self.list_now)

    def session(self, address: Address) -> Session[Client]:
        """One that is opened by its first question. Close it, or have it closed later."""
        return Session(partial(self._connected, address), partial(told, address), is_broken)

    async def list_now(self, address: Address) -> list[Offer]:
        """What the server offers at this moment; raise `ToolFailed`."""
        session = self.session(address)
        try:
            async with asyncio.timeout(LIST_SECONDS):
                return await session.ask(partial(list_tools, address=address))
        except TimeoutError:
            raise ToolFailed(f"the tool server {address.name} did not answer within {LIST_SECONDS:g} s") from None
        finally:
            self.close_later(session)

    async def call(self, address: Address, session: Session[Client], tool: str, arguments: Arguments) -> str:
        """What the tool says; raise `ToolFailed`. It takes as long as it takes."""
        try:
            return address.redacted(await session.ask(partial(call_tool, tool=tool, arguments=arguments)))
        except ToolFailed as failure:
            raise ToolFailed(address.redacted(str(failure))) from None

    def close_later(self, session: Session[Client]) -> None:
        """Close it, without keeping anybody waiting."""
        closing = asyncio.create_task(session.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Wait until all sessions are closed."""
        await self.listings.close()
        while self._closing:
            await asyncio.wait(self._closing)

    @asynccontextmanager
    async def _connected(self, address: Address) -> AsyncIterator[Client]:
        if address.url is not None:
            async with connected(address, self._http) as client:
                yield client
            return
        if not allows_command(self._settings, address.command):
            raise ToolFailed(f"the command of the tool server {address.name} is no longer allowed")
        async with self._programs, connected(address, self._http) as client:
            yield client

    def _http(self, headers: Mapping[str, str]) -> httpx2.AsyncClient:
        # A call is given up by whoever waits for it, and the session must live on then.
        timeout = httpx2.Timeout(2 * self._settings.tool_seconds + LIST_SECONDS, connect=CONNECT_SECONDS)
        http = guarded_client(self._guard, most_bytes=MOST_ANSWER_BYTES, timeout=timeout)
        http.headers.update(headers)
        return http
