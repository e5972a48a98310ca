"""The asynchronous client."""

from types import TracebackType
from typing import Self

from arena_client.async_connection import AsyncConnection
from arena_client.async_methods import AsyncCaller, method, stream
from arena_client.async_resources import AsyncAgents, AsyncDiscussions, AsyncKnowledge
from arena_client.operations import accounts, streams


class AsyncArenaClient(AsyncCaller):
    """`ArenaClient` for asyncio: requests are awaited, lists and streams iterated with `async for`.

    Its methods may be called from several tasks of one event loop.
    """

    def __init__(self, base_url: str, token: str | None = None, *, workspace_id: str | None = None) -> None:
        super().__init__(AsyncConnection(base_url, token, workspace_id))
        self.agents = AsyncAgents(self._connection)
        self.knowledge = AsyncKnowledge(self._connection)
        self.discussions = AsyncDiscussions(self._connection)

    register = method(accounts.register)
    me = method(accounts.me)
    notifications = stream(streams.notifications)

    async def login(self, email: str, password: str) -> None:
        """Act as this account from now on."""
        self._connection.credentials.tokens = await self._connection.send(accounts.login(email, password))

    async def logout(self) -> None:
        """End the session, its streams and sockets too, and forget its tokens."""
        await self._connection.send(accounts.logout())
        self._connection.credentials.tokens = None

    async def aclose(self) -> None:
        """Release the connections; streams of events are closed on their own."""
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
