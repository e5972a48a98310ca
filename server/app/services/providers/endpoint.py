"""An OpenAI-compatible endpoint: how it is connected to, and what it is called when a request gets no response."""

from collections.abc import Callable
from typing import Any, NoReturn

import aiohttp
from yarl import URL

from app.core.address_guard import AddressGuard, Unreachable
from app.core.public_addresses import ForbiddenAddress
from app.services.providers.base import (
    ModelAddressForbidden,
    ModelDisconnected,
    ModelError,
    ModelMalformed,
    ModelTimedOut,
    ModelTimeouts,
    ModelUnreachable,
)
from app.services.providers.deadline import Phase, timed_out

_KEEPALIVE_SECONDS = 30
_DNS_SECONDS = 60

Connector = Callable[..., aiohttp.TCPConnector]


class Endpoint:
    """All calls share a pool of connections. Use it from one event loop."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        timeouts: ModelTimeouts | None,
        guard: AddressGuard | None,
        connector: Connector = aiohttp.TCPConnector,
    ) -> None:
        """`base_url` includes the version, as in `https://api.openai.com/v1`; with a `guard` it is a workspace's."""
        self.url = URL(base_url.rstrip("/"))
        self.host = self.url.authority.rpartition("@")[2] or base_url
        self.key = api_key or ""
        self.timeouts = timeouts or ModelTimeouts()
        self._guard = guard
        self._connector = connector
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """Raise `ForbiddenAddress` for an address in the URL, which no resolver is asked for."""
        if self._guard is not None:
            self._guard.check(str(self.url))
        if self._session is None or self._session.closed:
            self._session = self._open()
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def timed_out(self, phase: Phase) -> ModelTimedOut:
        return timed_out(self.host, phase, self.timeouts)

    def unreachable(self, problem: Exception) -> NoReturn:
        """Raise the error for a request without a response; aiohttp's own words may hold the URL, so they are cut."""
        if isinstance(problem, ForbiddenAddress):
            raise ModelAddressForbidden(f"{self.host} may not be called: {problem.detail}") from None
        if isinstance(problem, Unreachable):
            raise ModelUnreachable(problem.detail) from None
        if isinstance(problem, aiohttp.ClientConnectorDNSError):
            raise ModelUnreachable(f"{self.host} is not a known host") from None
        if isinstance(problem, aiohttp.ClientConnectorError):
            raise ModelUnreachable(f"{self.host} cannot be reached: {problem.os_error.strerror}") from None
        if isinstance(problem, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | aiohttp.ClientPayloadError):
            raise ModelDisconnected(f"{self.host} closed the connection without an answer") from None
        if isinstance(problem, aiohttp.ClientResponseError):
            raise ModelMalformed(f"{self.host} does not speak HTTP as expected") from None
        raise ModelError(f"{self.host} cannot be called: {type(problem).__name__}") from None

    def _open(self) -> aiohttp.ClientSession:
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", "User-Agent": "arena"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        names: dict[str, Any] = {"ttl_dns_cache": _DNS_SECONDS}
        if self._guard is not None:
            names = {"resolver": self._guard, "use_dns_cache": False}
        return aiohttp.ClientSession(
            connector=self._connector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, **names),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None, connect=self.timeouts.connect_seconds),
            trust_env=False,
        )
