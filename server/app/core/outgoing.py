"""Requests that users can cause: to public addresses only, and bounded.

Always holds: the address that a connection goes to is one that was checked for that very connection, since names are
resolved by its guard and nowhere else, when they are needed; redirects are not followed, and no proxy is asked; an
answer takes a bounded time and a bounded memory. What was answered is for this server: callers must not show it to
users, for whom it would be a view into the network.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from app.config import OutgoingSettings
from app.core.address_guard import AddressGuard, Unreachable
from app.core.public_addresses import Allowance, address_in

__all__ = ["Answer", "Outgoing", "Unreachable"]

USER_AGENT = "DiscussionArena (+webhook)"
MAX_ANSWER_BYTES = 64 * 1024
LOOK_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `body` is its beginning if it is longer than what is kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outgoing:
    """The one way out for requests that users cause. Use it from one event loop."""

    def __init__(self, settings: OutgoingSettings, *, most_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.guard = AddressGuard(Allowance.parse(settings.outgoing_allow))  # also for connections made elsewhere
        self._most_bytes = most_bytes
        self._seconds = settings.outgoing_seconds
        self._session: aiohttp.ClientSession | None = None

    async def check_url(self, url: str) -> None:
        """Raise `ForbiddenAddress` for a URL that would be refused later, as far as that can be told now.

        A name that does not resolve within `LOOK_UP_SECONDS` may do so when it is needed, and is accepted.
        """
        target = self.guard.check(url)
        host, port = target.raw_host or "", target.port or 0
        if address_in(host) is not None:
            return
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                await self.guard.resolve(host, port, socket.AF_UNSPEC)
        except (OSError, TimeoutError, Unreachable):
            return

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send it and return the answer, whatever its status; raise `ForbiddenAddress` or `Unreachable`."""
        return await self._request("POST", url, headers, body)

    async def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """The same for what is only asked for."""
        return await self._request("GET", url, headers, None)

    async def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        target = self.guard.check(url)
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._ready_session().request(
                    method, target, data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                return Answer(response.status, response.headers, await _beginning(response.content, self._most_bytes))
        except TimeoutError:
            raise Unreachable(f"{target.host} did not answer within {self._seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{target.host} cannot be reached: {type(error).__name__}") from None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await self.guard.close()

    def _ready_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A kept connection would be one that was checked some time ago.
                connector=aiohttp.TCPConnector(resolver=self.guard, use_dns_cache=False, force_close=True),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


async def _beginning(content: aiohttp.StreamReader, most_bytes: int) -> bytes:
    """Read to the end, or as much as is kept."""
    received = bytearray()
    while len(received) < most_bytes:
        piece = await content.read(most_bytes - len(received))
        if not piece:
            break
        received += piece
    return bytes(received)
