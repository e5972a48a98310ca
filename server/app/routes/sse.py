"""Server-sent events (WHATWG HTML, section 9.2) of a live stream, from its admission to its end."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.core.monitoring import PLAIN_SEND
from app.routes.responses import EVENT_STREAM, SSE_HEADERS
from app.services.live.frames import Batch, Frame
from app.services.live.streams import OpenStreams, Stream

RETRY_MS = 1000
# A restart sends everybody away at once; they should not all be back at once.
RETRY_AFTER_CLOSING_MS = (500, 2500)
RETRY_AFTER_END_MS = 24 * 3600 * 1000
HEARTBEAT = b": heartbeat\n\n"


class Source(Protocol):
    """What a stream shows."""

    async def next(self) -> Batch | None:
        """The next of it, waiting for it; without frames when it is time for a sign of life; None: there is no more."""

    @property
    def has_come_to_the_end(self) -> bool:
        """Whether nothing will ever come any more."""

    def lagged(self) -> Frame:
        """The last frame for a viewer who took nothing for too long."""


Open = AbstractAsyncContextManager[Source]


def as_sse(frames: Sequence[Frame]) -> bytes:
    return b"".join(map(Frame.as_sse, frames))


class LiveStream(Response):
    """The response that a stream is; it is refused like any other request until its first byte."""

    media_type = EVENT_STREAM

    def __init__(self, streams: OpenStreams, stream: Stream, opened: Open, stall_seconds: float) -> None:
        super().__init__(headers=SSE_HEADERS)
        del self.headers["content-length"]
        self._streams = streams
        self._stream = stream
        self._opened = opened
        self._stall_seconds = stall_seconds
        self._send: Send

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.holding(self._stream):
            async with self._opened as source, _noticing_that_nobody_listens(receive, self._stream):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                self._send = scope.get(PLAIN_SEND, send)
                await self._write(b"retry: %d\n\n" % RETRY_MS)
                await self._show(source)
                await self._write(self._farewell(source))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _show(self, source: Source) -> None:
        self._stream.take = self._take
        while (batch := await source.next()) is not None:
            began = monotonic()
            body = self._body(batch)
            del batch  # a viewer who takes nothing is to hold it once only
            self._stream.spoke()
            await self._write(body)
            if max(monotonic() - began, self._stream.blocked_seconds()) > self._stall_seconds:
                await self._write(source.lagged().as_sse())
                self._stream.end()

    async def _take(self, batch: Batch) -> None:
        self._stream.spoke()
        await self._send({"type": "http.response.body", "body": self._body(batch), "more_body": True})

    @staticmethod
    def _body(batch: Batch) -> bytes:
        return batch.encoded(as_sse) if batch.frames else HEARTBEAT

    async def _write(self, body: bytes) -> None:
        if body:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    def _farewell(self, source: Source) -> bytes:
        """When to come back."""
        if self._streams.is_closing:
            return b"retry: %d\n\n" % random.randint(*RETRY_AFTER_CLOSING_MS)  # noqa: S311 - no secret
        if source.has_come_to_the_end:
            # Nothing more will ever come, but an EventSource cannot be told so after the answer has begun.
            return b"retry: %d\n\n" % RETRY_AFTER_END_MS
        # Whoever may read no more is told so when they come back.
        return b""


@asynccontextmanager
async def _noticing_that_nobody_listens(receive: Receive, stream: Stream) -> AsyncIterator[None]:
    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        stream.end()

    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        listening.cancel()
