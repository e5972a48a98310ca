"""Connections that tell PostgreSQL, with every transaction, which workspace it is for.

Row-level security (migration 0005) shows a transaction the rows of that workspace only. What says so travels in one
message with the transaction's first statement (libpq's pipeline mode), so that it costs no round trip; it ends with the
transaction, so that no connection of the pool carries it on to the next.
"""

from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg.abc import Params
from psycopg.pq import TransactionStatus

APP_ROLE = "arena_app"
"""The database role that can bypass no policy, whoever logged in."""
_SET = "SELECT set_config('arena.workspace_id', %s, true)"


class TenantConnection(psycopg.AsyncConnection[Any]):
    """`workspace_id` None: a transaction that belongs to no tenant, and sees no tenant's rows."""

    workspace_id: UUID | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cursor_factory = _TenantCursor
        self._setter = psycopg.AsyncCursor(self)

    async def set_autocommit(self, value: bool) -> None:
        """The driver's, which now and then takes a step of the event loop although there is nothing to wait for.

        SQLAlchemy calls this and the next between taking a connection from the pool and giving it to whoever asked: a
        task that is cancelled in that step would leave it to nobody, and its place to the garbage collector.
        """
        if self._is_at_rest:
            self._autocommit = value
        else:
            await super().set_autocommit(value)

    async def set_isolation_level(self, value: psycopg.IsolationLevel | None) -> None:
        """Likewise."""
        if self._is_at_rest:
            self._isolation_level = psycopg.IsolationLevel(value) if value is not None else None
            self._begin_statement = b""
        else:
            await super().set_isolation_level(value)

    @property
    def _is_at_rest(self) -> bool:
        return self.pgconn.transaction_status == TransactionStatus.IDLE and self._pipeline is None

    async def enter_workspace(self) -> None:
        """Say which workspace it is; inside a pipeline, ahead of the statement that begins a transaction."""
        await self._setter.execute(_SET, (str(self.workspace_id or ""),))

    @property
    def begins_transaction(self) -> bool:
        """Whether the next statement does."""
        return self.autocommit or self.pgconn.transaction_status == TransactionStatus.IDLE


class _TenantCursor(psycopg.AsyncCursor[Any]):
    async def execute(self, query: Any, params: Params | None = None, **named: Any) -> Self:
        connection = self.connection
        assert isinstance(connection, TenantConnection)
        if connection.workspace_id is None or not connection.begins_transaction:
            return await super().execute(query, params, **named)
        async with connection.pipeline():
            await connection.enter_workspace()
            await super().execute(query, params, **named)
        return self
