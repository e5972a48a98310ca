"""Requests that users can cause: to public addresses only, and bounded.

Always holds: the address that a connection goes to is one that was checked for that very connection, since names are
resolved here and nowhere else, when they are needed; redirects are not followed, and no proxy is asked; an answer
takes a bounded time and a bounded memory. What was answered is for this server: callers must not show it to users, for
whom it would be a view into the network.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from app.config import OutgoingSettings
from app.core.errors import UpstreamFailed
from app.core.name_look_ups import NameLookUps, NotFoundInTime
from app.core.public_addresses import Allowance, ForbiddenAddress, address_in, is_local_name

USER_AGENT = "DiscussionArena (+webhook)"
MAX_ANSWER_BYTES = 64 * 1024
LOOK_UP_SECONDS = 2.0
DEFAULT_PORTS = {"http": 80, "https": 443}


class Unreachable(UpstreamFailed):
    """Nobody answered at that address, or not in time, or not in HTTP; a later try may succeed."""

    code = "unreachable"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `body` is its beginning if it is longer than what is kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outgoing:
    """The one way out for requests that users cause. Use it from one event loop."""

    def __init__(self, settings: OutgoingSettings, *, most_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._allowance = Allowance.parse(settings.outgoing_allow)
        self._most_bytes = most_bytes
        self._seconds = settings.outgoing_seconds
        self._resolver = _GuardedResolver(self._allowance)
        self._session: aiohttp.ClientSession | None = None

    async def check_url(self, url: str) -> None:
        """Raise `ForbiddenAddress` for a URL that would be refused later, as far as that can be told now.

        A name that does not resolve within `LOOK_UP_SECONDS` may do so when it is needed, and is accepted.
        """
        target = self._check(url)
        host, port = target.raw_host or "", target.port or 0
        if address_in(host) is not None:
            return
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        except (OSError, TimeoutError, Unreachable):
            return

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send it and return the answer, whatever its status; raise `ForbiddenAddress` or `Unreachable`."""
        return await self._request("POST", url, headers, body)

    async def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """The same for what is only asked for."""
        return await self._request("GET", url, headers, None)

    async def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        target = self._check(url)
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
        await self._resolver.close()

    def _check(self, url: str) -> URL:
        """The URL, if its form and its address, where it names one, are allowed."""
        try:
            target = URL(url)
            scheme, host, port = target.scheme, target.raw_host, target.port
        except ValueError:
            raise ForbiddenAddress("this is no URL") from None
        if scheme not in DEFAULT_PORTS or not host or not port:
            raise ForbiddenAddress("only http and https URLs can be reached")
        if target.raw_user is not None or target.raw_password is not None:
            raise ForbiddenAddress("the URL must not hold a user name or a password")
        address = address_in(host)
        if address is not None and not self._allowance.permits(address, port):
            raise ForbiddenAddress(f"{host} is not a public address")
        if is_local_name(host) and not self._allowance.allows_name(host, port):
            raise ForbiddenAddress(f"{host} is this server itself")
        return target

    def _ready_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A kept connection would be one that was checked some time ago.
                connector=aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, force_close=True),
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


class _GuardedResolver(AbstractResolver):
    """Gives only addresses that may be reached, which are then connected to without being looked up again."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._look_ups = NameLookUps()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raise `ForbiddenAddress` if the name leads nowhere else, OSError if it leads nowhere, else `Unreachable`."""
        try:
            found = await self._look_ups.find(host, port, family)
        except NotFoundInTime as error:
            raise Unreachable(str(error)) from error
        except UnicodeError as error:
            raise OSError(f"{host} is no name") from error
        trusted = self._allowance.allows_name(host, port)
        allowed = [
            _result(host, port, found_family, str(socket_address[0]))
            for found_family, _type, _protocol, _name, socket_address in found
            if trusted or self._allowance.permits(ip_address(socket_address[0]), port)
        ]
        if not allowed:
            raise ForbiddenAddress(f"{host} does not lead to a public address")
        return allowed

    async def close(self) -> None:
        self._look_ups.close()


def _result(host: str, port: int, family: int, address: str) -> ResolveResult:
    return {
        "hostname": host,
        "host": address,
        "port": port,
        "family": family,
        "proto": socket.IPPROTO_TCP,
        "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    }
