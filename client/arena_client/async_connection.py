"""The asynchronous transport: one pool of connections, one token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx2

from arena_client.async_tokens import AsyncTokenAuth
from arena_client.request import Request, T
from arena_client.tokens import Credentials
from arena_client.transport import client_options, request_options, silence_told, stream_options
from arena_client.wire import api_url, check


class AsyncConnection:
    """Sends requests of the contract; raises `ArenaProblem` for refusals and `ArenaUnreachable` for silence."""

    def __init__(self, base_url: str, token: str | None, workspace_id: str | None) -> None:
        self._base = api_url(base_url)
        self.credentials = Credentials(self._base, token)
        self._http = httpx2.AsyncClient(**client_options(self._base, workspace_id))
        self._http.auth = AsyncTokenAuth(self.credentials, partial(self._http.send, auth=None))

    async def send(self, request: Request[T]) -> T:
        with silence_told(self._base):
            response = await self._http.request(**request_options(self._base, request))
        check(response)
        return request.read(response)

    @asynccontextmanager
    async def events(self, where: str, last_id: str | None) -> AsyncIterator[httpx2.Response]:
        """An open stream of events behind `last_id`; raises `ArenaProblem` or httpx2's `TransportError`."""
        async with self._http.stream(**stream_options(self._base, where, last_id)) as response:
            if not response.is_success:
                await response.aread()
                check(response)
            yield response

    async def aclose(self) -> None:
        await self._http.aclose()
