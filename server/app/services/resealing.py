"""Sealing anew, with the newest secret key, what older ones sealed: in small steps, beside the running product.

Each value is written only if it is still the one that was read, so that nothing newer is lost; who reads it meanwhile
opens the old one or the new one. May be stopped at any time and begun again: each step tells the audit log in its own
transaction how many values it wrote, so that what is told is what was done.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

from app.core.sealing import SealBroken, Sealer
from app.domain.audit import Action, By
from app.models.sealed import SEALED_COLUMNS, SealedColumn
from app.repositories.sealed_values import SealedValue
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

BATCH = 100


@dataclass(slots=True)
class Count:
    """Of one column: what was sealed anew, and what is left because no key that is here opens it."""

    column: str
    resealed: int = 0
    left: int = 0


class Resealing:
    """`tell` is called after each batch that changed something."""

    def __init__(self, uow: UnitOfWorkFactory, sealer: Sealer, tell: Callable[[Count], None]) -> None:
        self._uow = uow
        self._sealer = sealer
        self._tell = tell

    async def run(self) -> list[Count]:
        """Go through every column that holds sealed values."""
        return [await self._column(sealed) for sealed in SEALED_COLUMNS]

    async def _column(self, sealed: SealedColumn) -> Count:
        count = Count(sealed.name)
        async for tenant in self._tenants(sealed):
            values: list[SealedValue] | None = None
            while values is None or len(values) == BATCH:
                values = await self._batch(sealed, tenant, values[-1].key if values else None, count)
        return count

    async def _tenants(self, sealed: SealedColumn) -> AsyncIterator[UUID | None]:
        """The workspaces whose rows are to be seen one after the other; None: all rows at once."""
        if sealed.tenant is None:
            yield None
            return
        page: list[UUID] | None = None
        while page is None or len(page) == BATCH:
            async with self._uow.reading() as work:
                page = list(await work.sealed_values.list_workspaces(page[-1] if page else None, BATCH))
            for workspace_id in page:
                yield workspace_id

    async def _batch(
        self, sealed: SealedColumn, tenant: UUID | None, after: tuple[UUID | str | bytes, ...] | None, count: Count
    ) -> list[SealedValue]:
        async with self._uow(tenant) as work:
            values = await work.sealed_values.list_other_than(sealed, self._sealer.beginning, tenant, after, BATCH)
            before = count.resealed
            for value in values:
                await self._value(work, sealed, value, count)
            if resealed := count.resealed - before:
                by = By(workspace_id=tenant)
                work.audit.record(Action.KEYS_RESEALED, by, column=sealed.name, resealed=resealed)
        if values:
            self._tell(count)
        return list(values)

    async def _value(self, work: UnitOfWork, sealed: SealedColumn, value: SealedValue, count: Count) -> None:
        place = sealed.place(*value.key)
        try:
            anew = self._sealer.seal(self._sealer.unseal(value.sealed, place), place)
        except SealBroken:
            count.left += 1
            return
        count.resealed += await work.sealed_values.replace(sealed, value, anew)
