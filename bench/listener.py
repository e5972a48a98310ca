"""A viewer that costs next to nothing while it watches: what it reads is kept with its time, and read afterwards.

Several thousand of them share one process and one clock with the fake model's stamps (`time.monotonic`).
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

from bench import stamps

OPEN_AT_ONCE = 32
OPEN_SECONDS = 60
LATEST = 20
_END = b"0\r\n\r\n"
_FRAME_END = b"\n\n"


class ListenerError(AssertionError):
    """A stream was refused, broke off, or broke a promise."""


class Listener(asyncio.Protocol):
    """Reads one stream of server-sent events to its end."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._times: list[float] = []  # beside `_data`: a million pairs would keep the garbage collector busy
        self._data: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.take(time.monotonic(), data)
        if len(self._data) == 1:
            self._open(data)
        if data.endswith(_END) and not self.ended.done():
            self.ended.set_result(None)

    def take(self, at: float, data: bytes) -> None:
        self._times.append(at)
        self._data.append(data)

    def _open(self, data: bytes) -> None:
        if self.opened.done():
            return
        if data.startswith(b"HTTP/1.1 200 "):
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ListenerError(f"the stream was refused: {data[:400]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self.opened, self.ended):
            if not waiting.done():
                waiting.set_exception(ListenerError("the stream broke before its end"))
                waiting.exception()  # whoever waits is told; that nobody does is no news

    def close(self) -> None:
        """Hear no more, and forget what was heard."""
        self._times, self._data = [], []
        self.ended.cancel()
        if self._transport is not None:
            self._transport.abort()

    def has_read(self, what: bytes) -> bool:
        """Whether one of the latest reads holds it."""
        return any(what in data for data in self._data[-LATEST:])

    def stream(self) -> bytes:
        return b"".join(self._data)

    def reads(self) -> list[stamps.Read]:
        return list(zip(self._times, self._data, strict=True))

    def reads_between(self, began: float, ended: float) -> list[stamps.Read]:
        first, last = bisect_left(self._times, began), bisect_left(self._times, ended)
        return list(zip(self._times[first:last], self._data[first:last], strict=True))

    def frames_between(self, began: float, ended: float) -> tuple[int, int]:
        """How many frames were read, and how many bytes."""
        data = b"".join(data for _, data in self.reads_between(began, ended))
        return data.count(_FRAME_END), len(data)


async def listen(url: str, count: int, token: str = "") -> list[Listener]:
    """So many viewers of one address."""
    return await listen_each([url] * count, token)


async def listen_each(urls: Sequence[str], token: str = "") -> list[Listener]:
    """A viewer of each address; return once the server has begun to answer them all."""
    turnstile = asyncio.Semaphore(OPEN_AT_ONCE)
    loop = asyncio.get_running_loop()
    listeners: list[Listener] = []

    async def open_one(url: str) -> Listener:
        where = urlsplit(url)
        assert where.hostname is not None
        assert where.port is not None
        async with turnstile:
            _, listener = await loop.create_connection(
                lambda: Listener(_request(url, token)), where.hostname, where.port
            )
            listeners.append(listener)
            await listener.opened
            return listener

    try:
        async with asyncio.timeout(OPEN_SECONDS):
            return await asyncio.gather(*map(open_one, urls))
    except BaseException:
        close(listeners)
        raise


def close(listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        listener.close()


def _request(url: str, token: str) -> bytes:
    where = urlsplit(url)
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nAccept: text/event-stream\r\n{authorization}\r\n"
    ).encode()
