"""Reading the log for live viewers: each call takes a connection no longer than it needs."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from app.domain.events import StoredEvent
from app.services.unit_of_work import UnitOfWorkFactory


class UnitOfWorkLogReader:
    """The hub's `LogReader` on units of work. Permission was checked when the stream was opened."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def after(self, discussion_id: UUID, after: int, limit: int) -> Sequence[StoredEvent]:
        async with self._uow.reading() as work:
            return await work.log.after(discussion_id, after, limit)

    async def last_turn_event(self, discussion_id: UUID, upto: int) -> StoredEvent | None:
        async with self._uow.reading() as work:
            return await work.log.last_turn_event(discussion_id, upto)

    async def last_seqs(self, discussion_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        async with self._uow.reading() as work:
            return await work.log.last_seqs(discussion_ids)
