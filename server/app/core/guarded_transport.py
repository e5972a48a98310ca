"""Others' clients on our guard: an httpx2 transport for SDKs that make requests which users cause.

Always holds, whatever the SDK on top does: a connection goes to an address that was checked for it, while TLS speaks to
the name; no proxy is asked; a redirect, should a client follow one, is a connection like any other; an answer is not
compressed, and ends with an error after `most_bytes`, so that none takes more memory than it was given.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable

import httpcore2
import httpx2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from app.core.address_guard import AddressGuard, Unreachable
from app.core.public_addresses import ForbiddenAddress

CONNECT_SECONDS = 10.0
_KEPT_SECONDS = 30.0
_IDENTITY = {"", "identity"}
_MOST_CAUSES = 20

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class AnswerTooLong(httpx2.ReadError):
    """The answer is longer than what is taken."""


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Without a `guard` everything may be reached: for addresses that the operator named."""

    def __init__(self, guard: AddressGuard | None, *, most_bytes: int, tls: ssl.SSLContext | None = None) -> None:
        """`tls` is how servers are known; by default as everywhere here, by the system's certificates."""
        self._most_bytes = most_bytes
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=None,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=_GuardedNetwork(guard),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raise `httpx2.ConnectError` where the guard refuses; `refused_address` finds why."""
        request.headers["Accept-Encoding"] = "identity"
        response = await super().handle_async_request(request)
        if (fault := self._fault(response)) is not None:
            await response.aclose()
            raise fault
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, self._most_bytes, request)
        return response

    def _fault(self, response: httpx2.Response) -> httpx2.ReadError | None:
        if response.headers.get("Content-Encoding", "").strip().lower() not in _IDENTITY:
            return httpx2.ReadError("the answer is compressed, which was not asked for")
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > self._most_bytes:
            return AnswerTooLong("the answer is too long")
        return None


def guarded_client(
    guard: AddressGuard | None,
    *,
    most_bytes: int,
    timeout: httpx2.Timeout,
    tls: ssl.SSLContext | None = None,
) -> httpx2.AsyncClient:
    """A client for an SDK; it follows no redirects and reads nothing from the environment."""
    transport = GuardedTransport(guard, most_bytes=most_bytes, tls=tls)
    return httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)


def refused_address(error: BaseException) -> ForbiddenAddress | None:
    """The guard's refusal behind whatever an SDK made of it, None if there is none."""
    unread: list[BaseException | None] = [error]
    for _ in range(_MOST_CAUSES):
        if not unread:
            break
        cause = unread.pop()
        if isinstance(cause, ForbiddenAddress):
            return cause
        if isinstance(cause, BaseExceptionGroup):
            unread.extend(cause.exceptions)
        elif cause is not None:
            unread += [cause.__context__, cause.__cause__]
    return None


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most_bytes: int, request: httpx2.Request) -> None:
        self._inner = inner
        self._left = most_bytes
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces: AsyncIterable[bytes] = self._inner
        async for piece in pieces:
            self._left -= len(piece)
            if self._left < 0:
                raise AnswerTooLong("the answer is too long", request=self._request)
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


class _GuardedNetwork(AsyncNetworkBackend):
    """Connects to what the guard lets through; the pool above it speaks TLS to the name that it was given."""

    def __init__(self, guard: AddressGuard | None) -> None:
        self._guard = guard
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> AsyncNetworkStream:
        seconds = CONNECT_SECONDS if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._connect(host, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} could not be reached within {seconds:g} s") from error
        except (ForbiddenAddress, Unreachable, OSError) as error:
            raise httpcore2.ConnectError(str(error)) from error

    async def _connect(
        self, host: str, port: int, local_address: str | None, socket_options: Iterable[SocketOption] | None
    ) -> AsyncNetworkStream:
        """To the first of its addresses that answers."""
        addresses = [host] if self._guard is None else await self._guard.addresses(host, port)
        for place, address in enumerate(addresses, 1):
            try:
                return await self._network.connect_tcp(
                    address, port, local_address=local_address, socket_options=socket_options
                )
            except httpcore2.ConnectError:
                if place == len(addresses):
                    raise
        raise OSError(f"{host} leads nowhere")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        socket_options: Iterable[SocketOption] | None = None,
    ) -> AsyncNetworkStream:
        raise httpcore2.ConnectError(f"{path} is no address that can be reached")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
