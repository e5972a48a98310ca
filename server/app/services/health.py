"""Whether this process can do its work."""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import Any, Literal

import structlog
from redis.asyncio import Redis

from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

CHECK_SECONDS = 3.0
FRESH_SECONDS = 0.25

Health = tuple[bool, dict[str, Literal["ok", "away"]]]
"""Whether it is ready, and the state of each dependency."""


class HealthService:
    """Asks each dependency. PostgreSQL is needed; without Valkey the API still serves."""

    def __init__(self, uow: UnitOfWorkFactory, cache: Redis) -> None:
        self._uow = uow
        self._cache = cache
        self._asking = asyncio.Lock()
        self._told: Health = (False, {})
        self._told_at = -FRESH_SECONDS

    async def check(self) -> Health:
        """Asked at most every `FRESH_SECONDS`, for all who want to know: strangers may, as often as they like."""
        async with self._asking:
            if monotonic() - self._told_at > FRESH_SECONDS:
                self._told = await self._ask()
                self._told_at = monotonic()
            return self._told

    async def _ask(self) -> Health:
        database, cache = await asyncio.gather(self._is_well(self._ask_database()), self._is_well(self._ask_cache()))
        return database, {"database": "ok" if database else "away", "cache": "ok" if cache else "away"}

    async def _ask_database(self) -> None:
        async with self._uow.reading() as work:
            await work.ping()

    async def _ask_cache(self) -> None:
        await self._cache.execute_command("PING")  # type: ignore[no-untyped-call]

    async def _is_well(self, question: Awaitable[Any]) -> bool:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await question
        except Exception as error:
            # Drivers have no common base for "the server is away"; whatever it was, this dependency is not well.
            log.warning("dependency_away", reason=type(error).__name__)
            return False
        return True
