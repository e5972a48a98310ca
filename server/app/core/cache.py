"""Valkey or Redis: an accelerator that may be gone at any moment."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.config import RedisSettings
from app.core.errors import StartupFailed

CACHE_ERRORS = (RedisError, OSError, TimeoutError)


def make_cache(settings: RedisSettings, *, answer_seconds: float | None = 2) -> Redis:
    """A client whose every call fails within 2 s, or waits for its answer (None); nothing connects until first used."""
    if settings.redis_url is None:
        raise StartupFailed("no Valkey or Redis: set ARENA_REDIS_URL, or run `arena serve`, which brings its own")
    try:
        return Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=answer_seconds,
            socket_connect_timeout=2,
            health_check_interval=5,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        raise StartupFailed("ARENA_REDIS_URL is not a URL (redis://host:6379/0 or unix:///path)") from None
