"""Something fetched from elsewhere and kept for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Fetched(Generic[T]):
    """Fetched at most once at a time, for all who wait for it together; a failure is kept from nobody, and not kept."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], *, kept_seconds: float, renewed_seconds: float) -> None:
        """`renewed_seconds`: how often at most it is fetched before its time."""
        self._fetch = fetch
        self._kept_seconds = kept_seconds
        self._renewed_seconds = renewed_seconds
        self._renewed_at = float("-inf")
        self._fetched: tuple[T, float] | None = None
        self._under_way: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """What is kept, or what there is now."""
        if self._fetched is not None and monotonic() - self._fetched[1] < self._kept_seconds:
            return self._fetched[0]
        return await self._fetch_together()

    async def renew(self) -> T:
        """What there is now; what is kept if somebody asked for this just now."""
        if monotonic() - self._renewed_at < self._renewed_seconds:
            return await self.get()
        self._renewed_at = monotonic()
        return await self._fetch_together()

    async def close(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait([self._under_way])

    async def _fetch_together(self) -> T:
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._fetch_and_keep())
            # Whoever waited for it may be gone by the time it fails.
            self._under_way.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._under_way)

    async def _fetch_and_keep(self) -> T:
        value = await self._fetch()
        self._fetched = value, monotonic()
        return value
