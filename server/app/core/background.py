"""Tasks that run beside a process's work for as long as it lives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

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
