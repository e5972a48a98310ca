"""Sealed values of any table, to be sealed anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Workspace
from app.models.base import Timestamped
from app.models.sealed import Part, SealedColumn


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A value in the row of that key."""

    key: tuple[Part, ...]
    sealed: bytes


class SealedValueRepository:
    """Rows are gone through by their keys, so that each is looked at once."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_other_than(
        self, sealed: SealedColumn, beginning: bytes, tenant: UUID | None, after: tuple[Part, ...] | None, limit: int
    ) -> Sequence[SealedValue]:
        """The next values that do not begin so, past the row of the key `after`; of one tenant, where given."""
        column, keys = sealed.column, sealed.keys
        query = select(column, *keys).where(column.is_not(None), *_of(sealed, tenant))
        query = query.where(func.substr(column, 1, len(beginning)) != literal(beginning))
        if after is not None:
            query = query.where(tuple_(*keys) > tuple_(*(literal(part) for part in after)))
        rows = await self._session.execute(query.order_by(*keys).limit(limit))
        return [SealedValue(tuple(row[1:]), row[0]) for row in rows]

    async def replace(self, sealed: SealedColumn, value: SealedValue, by: bytes) -> bool:
        """Write it, unless the row has another value by now."""
        model: Any = sealed.column.class_
        # What the row says has not changed, and nor has when it last did.
        kept = {"updated_at": model.updated_at} if issubclass(model, Timestamped) else {}
        at = [key == part for key, part in zip(sealed.keys, value.key, strict=True)]
        changed: Any = await self._session.execute(
            update(model)
            .where(and_(*at, sealed.column == value.sealed))
            .values({sealed.column.key: by, **kept})
            .execution_options(synchronize_session=False)
        )
        return bool(changed.rowcount)

    async def list_workspaces(self, after: UUID | None, limit: int) -> Sequence[UUID]:
        query = select(Workspace.id).order_by(Workspace.id).limit(limit)
        return (await self._session.scalars(query if after is None else query.where(Workspace.id > after))).all()


def _of(sealed: SealedColumn, tenant: UUID | None) -> list[ColumnElement[bool]]:
    return [] if sealed.tenant is None or tenant is None else [sealed.tenant == tenant]
