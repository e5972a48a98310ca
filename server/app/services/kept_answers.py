"""Answers of lists and searches, kept in Valkey for as long as nothing of their kind has changed.

Always holds: an answer is no older than the request for it. Its key holds the stamp that its kind has in PostgreSQL,
which is asked for each time, and read before what it stands for; whatever Valkey has lost or kept too long is another
key's. A Valkey that is away or slow is a miss.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from uuid import UUID

import orjson
from redis.asyncio import Redis

from app.core.cache import CACHE_ERRORS
from app.core.metrics import CACHE_REQUESTS
from app.domain.kinds import Kind
from app.repositories.changes import KindOf, stamps_of
from app.services.gathered import Gathered
from app.services.unit_of_work import UnitOfWorkFactory

KEPT_SECONDS = 3600
LARGEST_BYTES = 256 * 1024
PATIENCE_SECONDS = 0.25
"""Whoever waits longer for Valkey is better served by PostgreSQL."""
ALONE_SECONDS = 1.0


class Passing(bytes):
    """An answer that may be another the next time although nothing changed; it is not kept."""


class ResourceStamps(Gathered[KindOf, UUID]):
    """`of` gives the stamp of a workspace's things of a kind; None if none of them ever changed."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        super().__init__(uow, stamps_of)


class KeptAnswers:
    """Of one process; what one keeps, all are served from."""

    def __init__(self, cache: Redis, stamps: ResourceStamps) -> None:
        self._cache = cache
        self._stamps = stamps
        self._alone_until = 0.0

    async def get(self, name: str, of: KindOf, asked: object, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """What `make` gives for what is `asked` (JSON-ready), whoever of those that may ask does."""
        workspace_id, kind = of
        stamp = await self._stamps.of(of)
        digest = blake2b(orjson.dumps([name, asked], option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
        key = f"arena:kept:{workspace_id}:{kind}:{stamp}:{digest}"
        kept = await self._ask(name, key)
        if kept is not None:
            return kept
        made = await make()
        if len(made) <= LARGEST_BYTES and not isinstance(made, Passing):
            await self._keep(key, made)
        return made

    async def _ask(self, name: str, key: str) -> bytes | None:
        if self._is_alone:
            CACHE_REQUESTS.labels(name, "away").inc()
            return None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await self._cache.get(key)
        except CACHE_ERRORS:
            self._note_alone()
            CACHE_REQUESTS.labels(name, "away").inc()
            return None
        CACHE_REQUESTS.labels(name, "miss" if found is None else "hit").inc()
        return found if isinstance(found, bytes) else None

    async def _keep(self, key: str, answer: bytes) -> None:
        if self._is_alone:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._cache.set(key, answer, ex=KEPT_SECONDS)
        except CACHE_ERRORS:
            self._note_alone()

    @property
    def _is_alone(self) -> bool:
        return asyncio.get_running_loop().time() < self._alone_until

    def _note_alone(self) -> None:
        self._alone_until = asyncio.get_running_loop().time() + ALONE_SECONDS


__all__ = ["KeptAnswers", "Kind", "Passing", "ResourceStamps"]
