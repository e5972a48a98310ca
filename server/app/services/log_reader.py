"""Reading the log and the rights for live viewers: each call takes a connection no longer than it needs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from cachetools import LRUCache

from app.core.errors import NotFound
from app.domain.events import StoredEvent
from app.domain.permissions import Role
from app.domain.seen import Seen
from app.repositories.event_log import last_seqs
from app.repositories.status_changes import StatusChange
from app.services.live.watch import BATCH_BYTES
from app.services.snapshots import snapshot_at
from app.services.unit_of_work import UnitOfWorkFactory

KNOWN_DISCUSSIONS = 10_000


class UnitOfWorkLogReader:
    """The hub's `LogReader` on units of work. Permission was checked when the stream was opened."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self._workspaces: LRUCache[UUID, UUID] = LRUCache(maxsize=KNOWN_DISCUSSIONS)

    async def after(self, discussion_id: UUID, after: int, limit: int) -> Sequence[StoredEvent]:
        async with self._uow.reading(await self._workspace_of(discussion_id)) as work:
            return await work.log.batch_after(discussion_id, after, limit, BATCH_BYTES)

    async def last_turn_event(self, discussion_id: UUID, upto: int) -> StoredEvent | None:
        async with self._uow.reading(await self._workspace_of(discussion_id)) as work:
            return await work.log.last_turn_event(discussion_id, upto)

    async def last_seqs(self, discussion_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        async with self._uow.driver() as driver, driver.cursor() as cursor:
            return await last_seqs(cursor, discussion_ids)

    async def snapshot(self, discussion_id: UUID, seq: int) -> Mapping[str, Any]:
        workspace_id = await self._workspace_of(discussion_id)
        if workspace_id is None:
            raise NotFound("there is no such discussion")
        async with self._uow.reading(workspace_id) as work:
            return await snapshot_at(work, discussion_id, seq)

    async def _workspace_of(self, discussion_id: UUID) -> UUID | None:
        """Where the discussion belongs, which never changes."""
        known = self._workspaces.get(discussion_id)
        if known is None:
            async with self._uow.reading() as work:
                known = await work.log.workspace_of(discussion_id)
            if known is not None:
                self._workspaces[discussion_id] = known
        return known


class UnitOfWorkRightsReader:
    """The streams' `RightsReader` on units of work."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def roles(
        self, credentials: Collection[UUID], workspaces: Collection[UUID]
    ) -> Mapping[UUID, Mapping[UUID, Role]]:
        async with self._uow.reading() as work:
            return await work.accounts.roles_of_credentials(credentials, workspaces)


class UnitOfWorkStatusReader:
    """The notices' `StatusReader` on units of work."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def now(self) -> Seen:
        async with self._uow.reading() as work:
            return await work.status_changes.now()

    async def since(self, workspace_id: UUID, seen: Seen, limit: int) -> tuple[Sequence[StatusChange], Seen]:
        async with self._uow.reading() as work:
            return await work.status_changes.since(workspace_id, seen, limit)

    async def changed(self, workspace_ids: Sequence[UUID], seen: Seen) -> tuple[Mapping[UUID, bool], Seen | None]:
        async with self._uow.reading() as work:
            return await work.status_changes.changed(workspace_ids, seen)
