"""The append-only log.

Always holds: `seq` starts at 1 and has no gaps, because it is assigned only while the discussion's row is locked
(here), or under the driver's guard on `last_seq` (`repositories/turns.py`). An event is never changed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from psycopg import AsyncCursor
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import rfc3339, utc_now
from app.domain.events import Event, StoredEvent
from app.models import Discussion

_INSERT = text(
    """
    INSERT INTO discussion_events (discussion_id, workspace_id, seq, type, payload, created_at, visible_to)
    SELECT :discussion_id, :workspace_id, e.seq, e.type, e.payload, e.created_at, e.visible_to
    FROM json_to_recordset(CAST(:events AS json))
         AS e(seq int, type text, payload json, created_at timestamptz, visible_to uuid[])
    """
)
_AFTER = text(
    """
    SELECT seq, type, created_at, payload::text AS payload, visible_to FROM discussion_events
    WHERE discussion_id = :discussion_id AND seq > :after ORDER BY seq LIMIT :limit
    """
)
# The same, but no more than fits: one event at least.
_AFTER_BOUNDED = text(
    """
    SELECT seq, type, created_at, payload, visible_to FROM (
      SELECT *, sum(length(payload)) OVER (ORDER BY seq) - length(payload) AS bytes_before FROM (
        SELECT seq, type, created_at, payload::text AS payload, visible_to FROM discussion_events
        WHERE discussion_id = :discussion_id AND seq > :after ORDER BY seq LIMIT :limit
      ) AS page
    ) AS measured
    WHERE bytes_before < :most_bytes ORDER BY seq
    """
)
# The newest event that opens or closes a turn: people's interjections do neither.
_LAST_TURN_EVENT = text(
    """
    SELECT seq, type, created_at, payload::text AS payload, visible_to FROM discussion_events
    WHERE discussion_id = :discussion_id AND seq <= :upto
      AND (type IN ('turn.started', 'turn.retried', 'turn.failed', 'turn.passed', 'discussion.ended')
           OR (type = 'message.completed' AND payload ->> 'turn' IS NOT NULL))
    ORDER BY seq DESC LIMIT 1
    """
)
_CHANGES = text(
    """
    SELECT 1 FROM discussion_events
    WHERE discussion_id = :discussion_id AND seq > :after AND type = 'discussion.updated'
      AND payload -> :field IS NOT NULL LIMIT 1
    """
)
# Of a whisper a fork holds only that it took its turn.
_LAST_CLOSED_TURN = text(
    """
    SELECT CAST(payload ->> 'turn' AS int) FROM discussion_events
    WHERE discussion_id = :discussion_id AND seq <= :upto AND payload ->> 'turn' IS NOT NULL
      AND (type IN ('message.completed', 'message.withheld', 'turn.passed')
           OR (type = 'turn.failed' AND payload ->> 'is_over' = 'true'))
    ORDER BY seq DESC LIMIT 1
    """
)
_WORKSPACE = text("SELECT arena_workspace_of(:discussion_id)")


def store(events: Sequence[Event], first_seq: int, at: datetime) -> list[StoredEvent]:
    """Give the events their places from `first_seq` on."""
    moment = rfc3339(at)
    return [
        StoredEvent(
            first_seq + offset,
            event.type,
            moment,
            orjson.dumps(event.data),
            tuple(map(str, event.visible_to)) if event.visible_to is not None else None,
        )
        for offset, event in enumerate(events)
    ]


def as_json(events: Sequence[StoredEvent]) -> str:
    """The events as one parameter: much cheaper to send than arrays, which psycopg escapes element by element."""
    rows = [
        {
            "seq": event.seq,
            "type": event.type,
            "created_at": event.created_at,
            "payload": orjson.Fragment(event.payload),
            "visible_to": event.visible_to,
        }
        for event in events
    ]
    return orjson.dumps(rows).decode()


class EventLogRepository:
    """Reads and appends; the caller holds the discussion's row lock when appending."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self.appended: dict[UUID, list[StoredEvent]] = {}
        self._workspaces: dict[UUID, UUID] = {}

    def append(self, discussion: Discussion, *events: Event) -> None:
        """Append to the discussion's log and move its `last_seq`; the row must be locked or new.

        The events are written when the unit of work commits, all of them in one statement.
        """
        stored = store(events, discussion.last_seq + 1, utc_now())
        discussion.last_seq += len(stored)
        self.appended.setdefault(discussion.id, []).extend(stored)
        self._workspaces[discussion.id] = discussion.workspace_id

    async def copy(self, discussion: Discussion, copies: Sequence[tuple[str, Event]]) -> None:
        """Append events that happened elsewhere, each with its moment there; viewers are not told of them."""
        stored = []
        for created_at, event in copies:
            discussion.last_seq += 1
            stored.append(StoredEvent(discussion.last_seq, event.type, created_at, orjson.dumps(event.data)))
        values = {
            "discussion_id": discussion.id,
            "workspace_id": discussion.workspace_id,
            "events": as_json(stored),
        }
        await self._session.execute(_INSERT, values)

    async def write(self) -> None:
        """Write what was appended; the unit of work calls this before it commits."""
        for discussion_id, stored in self.appended.items():
            values = {
                "discussion_id": discussion_id,
                "workspace_id": self._workspaces[discussion_id],
                "events": as_json(stored),
            }
            await self._session.execute(_INSERT, values)

    async def after(self, discussion_id: UUID, after: int, limit: int) -> list[StoredEvent]:
        """At most `limit` events past `after`, in order."""
        rows = await self._session.execute(_AFTER, {"discussion_id": discussion_id, "after": after, "limit": limit})
        return [_stored(row) for row in rows]

    async def batch_after(self, discussion_id: UUID, after: int, limit: int, most_bytes: int) -> list[StoredEvent]:
        """The same, but no more of them than make about so many bytes."""
        values = {"discussion_id": discussion_id, "after": after, "limit": limit, "most_bytes": most_bytes}
        return [_stored(row) for row in await self._session.execute(_AFTER_BOUNDED, values)]

    async def workspace_of(self, discussion_id: UUID) -> UUID | None:
        """The workspace that the discussion belongs to; None if there is no such discussion."""
        found: UUID | None = await self._session.scalar(_WORKSPACE, {"discussion_id": discussion_id})
        return found

    async def changes(self, discussion_id: UUID, field: str, after: int) -> bool:
        """Whether somebody changed that field of the discussion past a place in the log."""
        values = {"discussion_id": discussion_id, "field": field, "after": after}
        return await self._session.scalar(_CHANGES, values) is not None

    async def last_turn_event(self, discussion_id: UUID, upto: int) -> StoredEvent | None:
        """The newest event up to `upto` that opened or closed a turn."""
        row = (
            await self._session.execute(_LAST_TURN_EVENT, {"discussion_id": discussion_id, "upto": upto})
        ).one_or_none()
        return _stored(row) if row else None

    async def last_closed_turn(self, discussion_id: UUID, upto: int) -> int:
        """The number of the last turn that was over at a place in the log, whoever may read it; 0 if none was."""
        return await self._session.scalar(_LAST_CLOSED_TURN, {"discussion_id": discussion_id, "upto": upto}) or 0


async def last_seqs(cursor: AsyncCursor[Any], discussion_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Where each log ends; a discussion that is gone is left out."""
    ids = ",".join(map(str, discussion_ids))
    await cursor.execute("SELECT id, last_seq FROM arena_last_seqs(%s::text::uuid[])", (f"{{{ids}}}",))
    return dict(await cursor.fetchall())


def _stored(row: Any) -> StoredEvent:
    visible_to = tuple(map(str, row.visible_to)) if row.visible_to is not None else None
    return StoredEvent(row.seq, row.type, rfc3339(row.created_at), row.payload.encode(), visible_to)
