"""A session with a tool server, which lives as long as a turn needs it.

The session has a task of its own, since what the SDK opens must be closed by the task that opened it, while those who
ask come and go, and may be cancelled. Nothing is opened before the first question. Whatever goes wrong, whoever asks is
told by a `ToolFailed` that holds nothing secret.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from app.services.tools.base import ToolFailed

C = TypeVar("C")
T = TypeVar("T")

CLOSE_SECONDS = 3.0

Connect = Callable[[], AbstractAsyncContextManager[C]]
Tell = Callable[[BaseException | None], ToolFailed]
"""What a model may be told of a failure; None: the session ended, and nobody knows why."""


class Session(Generic[C]):
    """`C` is the SDK's client. Close it, also after a failure."""

    def __init__(self, connect: Connect[C], tell: Tell, is_broken: Callable[[Exception], bool]) -> None:
        """`is_broken` says whether a question failed because the connection did."""
        self._connect = connect
        self._tell = tell
        self._is_broken = is_broken
        self._life: asyncio.Task[None] | None = None

    async def ask(self, question: Callable[[C], Awaitable[T]]) -> T:
        """The answer; raise `ToolFailed`. Time-outs are the caller's, whose cancellation ends the question alone."""
        if self._life is None or self._life.done():
            self._begin()
        assert self._life is not None
        asked = asyncio.create_task(self._ask(question))
        asked.add_done_callback(_look_at)
        try:
            await asyncio.wait({asked, self._life}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
        except ToolFailed:
            raise
        except Exception as error:
            if self._is_broken(error):  # why it broke is known once it is closed
                await asyncio.wait({self._life}, timeout=CLOSE_SECONDS)
            raise self._tell(self._failure or error) from None
        finally:
            asked.cancel()
        raise self._tell(self._failure)

    async def close(self) -> None:
        """End it within seconds, however it takes that."""
        if self._life is None:
            return
        self._over.set()
        if self._ready.done():
            await asyncio.wait({self._life}, timeout=CLOSE_SECONDS)
        while not self._life.done():  # a cancellation may be swallowed
            self._life.cancel()
            await asyncio.wait({self._life}, timeout=CLOSE_SECONDS)

    def _begin(self) -> None:
        """Also after an end: what broke it was one answer, and the next may be better."""
        self._over = asyncio.Event()
        self._ready: asyncio.Future[C] = asyncio.get_running_loop().create_future()
        self._failure: BaseException | None = None
        self._life = asyncio.create_task(self._live())

    async def _live(self) -> None:
        try:
            async with self._connect() as client:
                self._ready.set_result(client)
                await self._over.wait()
        except (Exception, BaseExceptionGroup) as error:
            self._failure = error

    async def _ask(self, question: Callable[[C], Awaitable[T]]) -> T:
        return await question(await asyncio.shield(self._ready))


def _look_at(asked: "asyncio.Task[T]") -> None:
    """Nobody else may look at the failure of one that was given up."""
    if not asked.cancelled():
        asked.exception()
