"""Changes of status of a workspace's discussions, in the order of their transactions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import rfc3339
from app.domain.seen import Seen

# Numbers from the future are those of another database, of which this is a copy: see `arena migrate`.
# The snapshot is that of the statement; it comes also when nothing else does. Of what one transaction did to a
# discussion the last counts.
_SINCE = text(
    """
    SELECT pg_current_snapshot()::text AS now, change.* FROM (SELECT 1) AS one LEFT JOIN LATERAL
        arena_status_changes(:workspace_id, CAST(:seen AS pg_snapshot), :limit) AS change ON true
    """
)
_CHANGED = text(
    """
    SELECT pg_current_snapshot()::text AS now, changed.*
    FROM arena_status_changed(CAST(:workspace_ids AS uuid[]), CAST(:seen AS pg_snapshot)) AS changed
    """
)


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What a discussion came to with the transaction `xid`; title and topic are the present ones."""

    xid: int
    discussion_id: UUID
    seq: int
    type: str
    created_at: str
    status: str
    end_reason: str | None
    title: str | None
    topic: str


class StatusChangeRepository:
    """Reads the log across a workspace's discussions."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self) -> Seen:
        """All that is committed by now."""
        return Seen.parse((await self._session.execute(text("SELECT pg_current_snapshot()::text"))).scalar_one())

    async def since(self, workspace_id: UUID, seen: Seen, limit: int) -> tuple[Sequence[StatusChange], Seen]:
        """At most `limit` changes that `seen` does not show, in the order of their transactions, and what shows all."""
        values = {"workspace_id": workspace_id, "seen": str(seen), "limit": limit}
        rows = (await self._session.execute(_SINCE, values)).all()
        changes = [
            StatusChange(
                int(row.xid),
                row.discussion_id,
                row.seq,
                row.type,
                rfc3339(row.created_at),
                row.status,
                row.end_reason,
                row.title,
                row.topic,
            )
            for row in rows
            if row.xid is not None
        ]
        return changes, Seen.parse(rows[0].now)

    async def changed(self, workspace_ids: Sequence[UUID], seen: Seen) -> tuple[Mapping[UUID, bool], Seen | None]:
        """In which of the workspaces there are changes that `seen` does not show, and what shows all."""
        rows = (await self._session.execute(_CHANGED, {"workspace_ids": list(workspace_ids), "seen": str(seen)})).all()
        return {row.workspace_id: row.is_new for row in rows}, Seen.parse(rows[0].now) if rows else None
