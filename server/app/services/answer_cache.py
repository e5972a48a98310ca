"""Answers of models to requests that were made before, to the letter: kept in Valkey, for one workspace each.

Always holds: an answer is given only to the workspace that it was made for, by the same model of a provider that has
not been changed since. A Valkey that is away or slow is a miss.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from redis.asyncio import Redis

from app.config import ModelSettings
from app.core.cache import CACHE_ERRORS
from app.core.metrics import CACHE_REQUESTS
from app.services.model import Model

PATIENCE_SECONDS = 0.25
_NAME = "chat"


def answer_key(workspace_id: UUID, model: Model, asked: Mapping[str, Any]) -> str:
    """`asked` is the whole request, JSON-ready."""
    whole = orjson.dumps([model.name, model.version, asked], option=orjson.OPT_SORT_KEYS)
    return f"arena:answer:{workspace_id}:{hashlib.sha256(whole).hexdigest()}"


class AnswerCache:
    """Of all processes together; `ARENA_ANSWER_CACHE_SECONDS` 0: there is none."""

    def __init__(self, cache: Redis, settings: ModelSettings) -> None:
        self._cache = cache
        self._seconds = settings.answer_cache_seconds
        self._most_bytes = settings.answer_cache_bytes

    async def find(self, key: str) -> dict[str, Any] | None:
        """The answer as it was kept."""
        if not self._seconds:
            return None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await self._cache.get(key)
        except CACHE_ERRORS:
            CACHE_REQUESTS.labels(_NAME, "away").inc()
            return None
        CACHE_REQUESTS.labels(_NAME, "miss" if found is None else "hit").inc()
        answer: dict[str, Any] | None = orjson.loads(found) if found is not None else None
        return answer

    async def keep(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep it, unless it is too large."""
        text = orjson.dumps(answer)
        if not self._seconds or len(text) > self._most_bytes:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._cache.set(key, text, ex=self._seconds)
        except CACHE_ERRORS:
            return  # then it is asked for anew
