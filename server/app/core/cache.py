"""Valkey or Redis: an accelerator that may be gone at any moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as CacheUnreachable
from redis.exceptions import RedisError

from app.config import RedisSettings
from app.core.errors import StartupFailed

CACHE_ERRORS = (RedisError, OSError, TimeoutError)
SEND_SECONDS = 1.0


def make_cache(settings: RedisSettings) -> Redis:
    """A client whose every call fails within 2 s; nothing connects until first used."""
    return _client(settings, socket_timeout=2, health_check_interval=5)


def make_channels(settings: RedisSettings) -> Redis:
    """A client of the same for the live channels: its reads wait for as long as it takes, and cost the least.

    The older protocol is read with half the work, and has all that channels need.
    """
    return _client(settings, socket_timeout=None, protocol=2)


@asynccontextmanager
async def connected(client: Redis, seconds: float) -> AsyncIterator[AbstractConnection]:
    """A connection of the client's for as long as the block runs, for channels; raise one of `CACHE_ERRORS`."""
    async with asyncio.timeout(seconds):
        connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        yield connection
    finally:
        await connection.disconnect(nowait=True)
        await client.connection_pool.release(connection)


async def send_if_connected(connection: AbstractConnection, *command: str) -> None:
    """Send it within a second; raise one of `CACHE_ERRORS`.

    A connection that is down is not opened again, as the library would by itself. One that takes nothing, since its
    server is frozen, is given up.
    """
    if not connection.is_connected:
        raise CacheUnreachable("the connection is down")
    async with asyncio.timeout(SEND_SECONDS):
        await connection.send_command(*command, check_health=False)


def _client(settings: RedisSettings, **options: Any) -> Redis:
    if settings.redis_url is None:
        raise StartupFailed("no Valkey or Redis: set ARENA_REDIS_URL, or run `arena serve`, which brings its own")
    try:
        return Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
    except ValueError:
        raise StartupFailed("ARENA_REDIS_URL is not a URL (redis://host:6379/0 or unix:///path)") from None
