"""The connection pool: time-outs and keepalives on every connection, so that a dead peer never hangs a process."""

from pathlib import PurePosixPath

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.config import DatabaseSettings
from app.core.errors import StartupFailed


def database_url(settings: DatabaseSettings) -> URL:
    """The URL with our driver; raise `StartupFailed` if there is none or it is no URL."""
    if settings.database_url is None:
        raise StartupFailed("no database: set ARENA_DATABASE_URL, or run `arena serve`, which brings its own")
    try:
        url = make_url(settings.database_url.get_secret_value())
    except ArgumentError:
        raise StartupFailed("ARENA_DATABASE_URL is not a database URL (postgresql://user@host/name)") from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise StartupFailed(f"ARENA_DATABASE_URL names {url.get_backend_name()}; only PostgreSQL will do")
    return url.set(drivername="postgresql+psycopg")


def libpq_url(settings: DatabaseSettings) -> str:
    """The same URL as psycopg and the job queue take it."""
    return database_url(settings).set(drivername="postgresql").render_as_string(hide_password=False)


def connect_arguments(settings: DatabaseSettings, application: str) -> dict[str, str | int]:
    """What libpq is told on every connection. A peer that vanished is noticed within about 4 s.

    A driver may hang on a dead connection while others of its worker keep its claim alive, so nobody takes over.
    """
    statement_ms = int(settings.database_statement_seconds * 1000)
    return {
        "application_name": f"arena-{PurePosixPath(application).name}",
        "connect_timeout": 5,
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 2,
        "tcp_user_timeout": 4_000,
        "options": f"-c statement_timeout={statement_ms} -c lock_timeout=10000"
        " -c idle_in_transaction_session_timeout=30000 -c timezone=UTC -c jit=off",
    }


def make_engine(settings: DatabaseSettings, application: str) -> AsyncEngine:
    """A pool of `database_pool_size` connections; nothing connects until first used."""
    return create_async_engine(
        database_url(settings),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=1800,
        pool_use_lifo=True,
        hide_parameters=True,  # they hold people's words and would go into logs with an error
        connect_args=connect_arguments(settings, application),
    )
