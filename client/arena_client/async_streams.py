"""Events as they happen, over however many connections it takes, for asynchronous callers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import anyio
import httpx2

from arena_client.events import StreamEvent
from arena_client.following import FAILURES, LARGEST_EVENT_BYTES, Following

AsyncOpen = Callable[[str, str | None], AbstractAsyncContextManager[httpx2.Response]]


class AsyncEventStream(AsyncIterator[StreamEvent]):
    """Iterate to follow a discussion; it ends after `discussion.ended`. Notifications end when they are closed.

    A lost connection is made again, from behind the last event, until none could be had for `patience_seconds`.
    Whoever is cancelled while waiting for an event leaves no connection behind, and may ask for the next one again.
    `aclose` may be called by another task; whoever waits for an event is then released at once.
    """

    def __init__(self, connect: AsyncOpen, following: Following) -> None:
        self._connect = connect
        self._following = following
        self._events = _follow(connect, following)
        self._is_closed = False
        self._in_turn = asyncio.Lock()
        self._waiting = anyio.CancelScope()

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event given."""
        return self._following.last_id

    async def __anext__(self) -> StreamEvent:
        async with self._in_turn:
            if self._is_closed:
                raise StopAsyncIteration
            with anyio.CancelScope() as self._waiting:
                return await self._next()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the iteration and release the connection. Safe from any task, and more than once."""
        self._is_closed = True
        if self._in_turn.locked():
            self._waiting.cancel()
        async with self._in_turn:
            await self._events.aclose()

    async def _next(self) -> StreamEvent:
        try:
            return await anext(self._events)
        except asyncio.CancelledError:
            # A generator that was cancelled is at its end, the discussion is not.
            self._events = _follow(self._connect, self._following)
            raise


async def _follow(connect: AsyncOpen, following: Following) -> AsyncGenerator[StreamEvent, None]:
    """Not a method: a stream that is dropped must not be held by its own generator, nor must the connection."""
    while not following.has_ended:
        failure: Exception | None = None
        try:
            async with connect(following.where, following.last_id) as response:
                following.connected()
                async for frame in httpx2.EventSource(response, LARGEST_EVENT_BYTES):
                    event = following.take(frame)
                    if event is not None:
                        yield event
                    if following.is_spent:
                        break
        except FAILURES as error:
            failure = error
        if not following.has_ended:
            await asyncio.sleep(following.seconds_to_wait(failure))
