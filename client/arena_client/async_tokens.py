"""The access token of an asynchronous client."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx2

from arena_client.tokens import Credentials, Tokens

Send = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


class AsyncTokenAuth(httpx2.Auth):
    """As `TokenAuth`; `send` must send a request as it is.

    All who find the token stale wait for one renewal. A caller that is cancelled meanwhile does not break it off: a
    refresh token that is spent and not replaced ends the session.
    """

    def __init__(self, credentials: Credentials, send: Send) -> None:
        self._credentials = credentials
        self._send = send
        self._renewal: asyncio.Task[None] | None = None

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        stale = self._credentials.stale()
        if stale is not None:
            await self._renew(stale)
        used = self._credentials.authorize(request)
        response = yield request
        rejected = self._credentials.rejected(response, used)
        if rejected is not None:
            await response.aread()
            await self._renew(rejected)
            self._credentials.authorize(request)
            yield request

    async def _renew(self, used: Tokens) -> None:
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._trade(used))
            self._renewal.add_done_callback(self._traded)
        await asyncio.shield(self._renewal)

    async def _trade(self, used: Tokens) -> None:
        renewal = self._credentials.renewal(used)
        if renewal is not None:
            self._credentials.renewed(used, await self._send(renewal))

    def _traded(self, renewal: asyncio.Task[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # else asyncio complains if everybody who waited has gone
