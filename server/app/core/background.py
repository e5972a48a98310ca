"""Tasks that run beside a process's work for as long as it lives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any

import structlog

log = structlog.stdlib.get_logger(__name__)

RESTART_SECONDS = 1.0


@asynccontextmanager
async def running(**services: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run the services beside the block, each begun again if it fails; cancel them when the block ends."""
    tasks = [asyncio.create_task(_keep_running(name, service), name=name) for name, service in services.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def _keep_running(name: str, service: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await service()
        except Exception:
            log.exception("background_service_failed", service=name)
        await asyncio.sleep(RESTART_SECONDS)


class Errands:
    """Short tasks begun along the way that nobody waits for, and that must not outlive what they use."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, work: Coroutine[Any, Any, None], context: Context | None = None) -> asyncio.Task[None]:
        """Run it in the background, by default in a copy of the context that it was begun in."""
        task = asyncio.create_task(work, context=context)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def finish(self) -> None:
        """Wait for those under way."""
        if self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """Cancel those under way, and wait until they are gone."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
