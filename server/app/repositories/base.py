"""What all repositories share: a session, and the workspace they see."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg.errors import DiskFull, ForeignKeyViolation
from sqlalchemy import Select
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cursors import decode_id, encode_cursor
from app.core.errors import NotFound, Unavailable

R = TypeVar("R")


class DatabaseAway(Unavailable):
    """The request failed; only a commit that was just under way may have been done."""

    code = "database_away"


class DatabaseFull(DatabaseAway):
    """Nothing can be written until somebody makes room."""

    code = "database_full"


@contextmanager
def telling_outages() -> Iterator[None]:
    """Raise `DatabaseAway` for no connection, a lost one, none free in the pool, or a statement that took too long.

    `DatabaseFull` says that its disk is full, where PostgreSQL still lives to tell. What is to be put into a workspace
    that is just gone is told that it is.
    """
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError) as error:
        if isinstance(getattr(error, "orig", error), DiskFull):
            raise DatabaseFull("the database has no room left on its disk; what it holds is safe") from error
        raise DatabaseAway("the database does not answer in time; try again shortly") from error
    except IntegrityError as error:
        if isinstance(error.orig, ForeignKeyViolation) and _names_workspace(error):
            raise NotFound("there is no such workspace") from None  # it was deleted a moment ago
        raise


class Repository:
    """Sees one workspace's rows and no others."""

    def __init__(self, session: AsyncSession, workspace_id: UUID) -> None:
        self._session = session
        self._workspace_id = workspace_id

    async def _page(self, query: Select[R], key: Any, limit: int, cursor: str | None) -> tuple[list[R], str | None]:
        return await newest_first(self._session, query, key, limit, cursor)


async def newest_first(
    session: AsyncSession, query: Select[R], key: Any, limit: int, cursor: str | None
) -> tuple[list[R], str | None]:
    """Newest first by the UUIDv7 `key`, `limit` rows and the cursor of the rest."""
    if cursor is not None:
        query = query.where(key < decode_id(cursor, key.class_.__tablename__))
    rows: Sequence[Any] = (await session.scalars(query.order_by(key.desc()).limit(limit + 1))).all()
    if len(rows) <= limit:
        return list(rows), None
    return list(rows[:limit]), encode_cursor(key.class_.__tablename__, rows[limit - 1].id)


def violates(error: IntegrityError, constraint: str) -> bool:
    """Whether the database refused because of that very constraint."""
    return _constraint_of(error) == constraint


def _names_workspace(error: IntegrityError) -> bool:
    return (_constraint_of(error) or "").endswith("_workspace_id")


def _constraint_of(error: IntegrityError) -> str | None:
    diagnostics = getattr(error.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None)


def contains(text: str) -> str:
    """A LIKE pattern that finds `text` literally, anywhere."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
