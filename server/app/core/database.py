"""The connection pool: time-outs and keepalives on every connection, so that a dead peer never hangs a process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import psycopg
from pydantic import SecretStr
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.config import DatabaseSettings
from app.core.errors import StartupFailed
from app.core.tenant_connection import APP_ROLE, TenantConnection


def database_url(settings: DatabaseSettings) -> URL:
    """The URL with our driver; raise `StartupFailed` if there is none or it is no URL."""
    return _checked(settings.database_url, "ARENA_DATABASE_URL")


def owner_url(settings: DatabaseSettings) -> URL:
    """The same for whoever owns the tables, who migrates them."""
    if settings.database_owner_url is None:
        return database_url(settings)
    return _checked(settings.database_owner_url, "ARENA_DATABASE_OWNER_URL")


def _checked(given: SecretStr | None, variable: str) -> URL:
    if given is None:
        raise StartupFailed(f"no database: set {variable}, or run `arena serve`, which brings its own")
    try:
        url = make_url(given.get_secret_value())
    except ArgumentError:
        raise StartupFailed(f"{variable} is not a database URL (postgresql://user@host/name)") from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise StartupFailed(f"{variable} names {url.get_backend_name()}; only PostgreSQL will do")
    return url.set(drivername="postgresql+psycopg")


def libpq_url(url: URL) -> str:
    """The same URL as psycopg and the job queue take it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def connect_arguments(settings: DatabaseSettings, application: str, *, role: str | None = APP_ROLE) -> dict[str, Any]:
    """What libpq is told on every connection. A peer that vanished is noticed within about 4 s.

    A driver may hang on a dead connection while others of its worker keep its claim alive, so nobody takes over.
    `role` is acted as whoever logs in; None: as oneself.
    """
    statement_ms = int(settings.database_statement_seconds * 1000)
    acting = f" -c role={role}" if role else ""
    return {
        "application_name": f"arena-{PurePosixPath(application).name}",
        "connect_timeout": 5,
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 2,
        "tcp_user_timeout": 4_000,
        "options": f"-c statement_timeout={statement_ms} -c lock_timeout=10000"
        f" -c idle_in_transaction_session_timeout=30000 -c timezone=UTC -c jit=off{acting}",
    }


def make_engine(settings: DatabaseSettings, application: str) -> AsyncEngine:
    """A pool of `database_pool_size` connections; nothing connects until first used."""
    engine = create_async_engine(
        database_url(settings),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=1800,
        pool_use_lifo=True,
        hide_parameters=True,  # they hold people's words and would go into logs with an error
        connect_args={
            **connect_arguments(settings, application),
            "async_creator_fn": TenantConnection.connect,
        },
    )
    event.listen(engine.sync_engine, "handle_error", _keep_rows_out)
    return engine


def _keep_rows_out(context: ExceptionContext) -> None:
    """Take the detail out of an error's message: PostgreSQL quotes there the row that it refused, for logs to show."""
    error = context.original_exception
    if not isinstance(error, psycopg.Error) or error.diag.message_primary is None:
        return
    error.args = (error.diag.message_primary,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {error}",)


async def rescope(connection: AsyncConnection, workspace_id: UUID | None) -> None:
    """The same in the midst of a transaction, for what comes after."""
    await scope_to(connection, workspace_id)
    await (await driver_of(connection)).enter_workspace()


async def scope_to(connection: AsyncConnection, workspace_id: UUID | None) -> None:
    """Let the connection's transactions see the workspace's rows; None: no workspace's. Call it before the first."""
    (await driver_of(connection)).workspace_id = workspace_id


@asynccontextmanager
async def bare_driver(engine: AsyncEngine) -> AsyncIterator[TenantConnection]:
    """A connection of the pool without SQLAlchemy around it, and in no workspace."""
    async with engine.connect() as connection:
        driver = await driver_of(connection)
        driver.workspace_id = None
        try:
            yield driver
        except psycopg.OperationalError as error:
            if driver.closed:  # which SQLAlchemy, not having seen it, would give to others
                await connection.invalidate(error)
            raise


async def driver_of(connection: AsyncConnection) -> TenantConnection:
    """The driver's own connection, which SQLAlchemy's wraps."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, TenantConnection)
    return driver
