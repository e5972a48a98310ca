"""Deferring background jobs in the caller's transaction, so that a state change and its job are one."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import procrastinate
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

DRIVE_TASK = "drive_discussion"
TURNS_QUEUE = "turns"
TELL_TASK = "tell_external"
DELIVERIES_QUEUE = "deliveries"
CLEAR_TASK = "clear_workspace"
CHORES_QUEUE = "chores"
KNOWLEDGE_QUEUE = "knowledge"
"""What takes this machine's time: parsing and embedding."""
ASSISTANT_QUEUE = "assistant"
"""What asks models on the side: summaries, facts to remember, extractions."""
REMEMBER_TASK = "remember_discussion"
SUMMARISE_TASK = "summarise_discussion"
PRIORITIES = {"interactive": 10, "background": 0}
# Locked: one that is being fetched just now may have looked already, and is none that waits.
_IS_WAITING = text("SELECT 1 FROM procrastinate_jobs WHERE lock = :lock AND status = 'todo' FOR UPDATE")
_DROP_LATER = text("DELETE FROM procrastinate_jobs WHERE lock = :lock AND status = 'todo' AND scheduled_at > now()")
_IS_QUEUED = text("SELECT 1 FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo'")
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))")
_OTHERS_WAIT = text(
    "SELECT 1 FROM procrastinate_jobs WHERE queue_name = :queue AND status = 'todo'"
    " AND (scheduled_at IS NULL OR scheduled_at <= now()) LIMIT 1"
)


# Jobs that another sweep has in hand are skipped, so no two sweeps ever take the same one.
_TAKE_DEAD = text(
    """
    DELETE FROM procrastinate_jobs WHERE id IN (
        SELECT j.id FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
        WHERE j.status = 'doing' AND j.queue_name = :queue
          AND (w.id IS NULL OR w.last_heartbeat < now() - make_interval(secs => :dead_after))
        LIMIT :limit FOR UPDATE OF j SKIP LOCKED
    )
    RETURNING CAST(args ->> 'discussion_id' AS uuid) AS discussion_id, priority
    """
)
_PUT_BACK = text(
    """
    UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL WHERE id IN (
        SELECT j.id FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
        WHERE j.status = 'doing' AND j.queue_name = ANY(:queues)
          AND (w.id IS NULL OR w.last_heartbeat < now() - make_interval(secs => :dead_after))
        LIMIT :limit FOR UPDATE OF j SKIP LOCKED
    )
    RETURNING id
    """
)
# The oldest have the lowest ids. Those that another sweep has in hand are skipped.
_AGE = text(
    """
    UPDATE procrastinate_jobs SET priority = :risen WHERE id IN (
        SELECT oldest.id FROM (
            SELECT id FROM procrastinate_jobs WHERE queue_name = :queue AND status = 'todo' AND priority < :risen
            ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        ) oldest
        WHERE (SELECT max(at) FROM procrastinate_events e WHERE e.job_id = oldest.id)
            < now() - make_interval(secs => :waited)
    )
    RETURNING id
    """
)
# Of agents who are there no more, or have been told since to remember nothing, nothing is kept.
_REMEMBERING = text(
    """
    SELECT DISTINCT p.agent_id FROM participants p
    JOIN agents a ON a.id = p.agent_id AND a.deleted_at IS NULL
    JOIN agent_versions v ON v.agent_id = p.agent_id AND v.version = p.agent_version
    WHERE p.discussion_id = :discussion_id AND p.workspace_id = :workspace_id AND p.kind = 'llm'
      AND (v.config -> 'memory' ->> 'long_term')::boolean AND (a.config -> 'memory' ->> 'long_term')::boolean
    """
)
REVIVED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class GivenFloor:
    """A floor that somebody from outside was given; the id is new each time."""

    workspace_id: UUID
    discussion_id: UUID
    floor_id: UUID


@dataclass(frozen=True, slots=True)
class _Call:
    floor: GivenFloor
    attempt: int
    not_before: datetime | None


class JobRepository:
    """The queue, as seen from inside a transaction."""

    def __init__(self, session: AsyncSession, queue: procrastinate.App) -> None:
        self._session = session
        self._queue = queue
        self._calls: list[_Call] = []
        self._ended: list[tuple[UUID, UUID]] = []

    async def drive(self, discussion_id: UUID, priority: int) -> None:
        """Queue a driver unless one is queued already.

        The caller holds the discussion's row lock, or is prepared for `AlreadyEnqueued`, which undoes its transaction.
        """
        lock = f"discussion:{discussion_id}"
        # A duplicate would raise and abort the transaction; under the row lock asking first is enough.
        if await self._session.scalar(_IS_QUEUED, {"lock": lock}):
            return
        raw = await (await self._session.connection()).get_raw_connection()
        await self._queue.configure_task(
            DRIVE_TASK,
            queue=TURNS_QUEUE,
            queueing_lock=lock,
            priority=priority,
            connection=raw.driver_connection,
        ).defer_async(discussion_id=str(discussion_id))

    def tell_external(self, floor: GivenFloor, attempt: int = 1, not_before: datetime | None = None) -> None:
        """Queue the webhook that tells an external agent of its floor; the unit of work does so when it commits."""
        self._calls.append(_Call(floor, attempt, not_before))

    def remember(self, workspace_id: UUID, discussion_id: UUID) -> None:
        """Have its agents remember what they heard in a discussion that ends; the unit of work queues a job for each.

        None is queued for agents without long-term memory.
        """
        self._ended.append((workspace_id, discussion_id))

    async def _write_ended(self) -> None:
        for workspace_id, discussion_id in self._ended:
            values = {"workspace_id": workspace_id, "discussion_id": discussion_id}
            for agent_id in (await self._session.scalars(_REMEMBERING, values)).all():
                await self.defer(
                    REMEMBER_TASK,
                    ASSISTANT_QUEUE,
                    workspace_id=str(workspace_id),
                    discussion_id=str(discussion_id),
                    agent_id=str(agent_id),
                )

    async def write(self) -> None:
        """Queue what was asked for; the unit of work calls this before it commits."""
        await self._write_ended()
        for call in self._calls:
            raw = await (await self._session.connection()).get_raw_connection()
            await self._queue.configure_task(
                TELL_TASK, queue=DELIVERIES_QUEUE, schedule_at=call.not_before, connection=raw.driver_connection
            ).defer_async(
                workspace_id=str(call.floor.workspace_id),
                discussion_id=str(call.floor.discussion_id),
                floor_id=str(call.floor.floor_id),
                attempt=call.attempt,
            )

    async def revive(self, dead_after_seconds: float) -> int:
        """Queue anew what workers had in hand that were not heard of for that long; how many discussions.

        A dead worker may have had two jobs of one discussion (one waiting for the other's lease): one is enough.
        """
        values = {"queue": TURNS_QUEUE, "dead_after": dead_after_seconds, "limit": REVIVED_AT_ONCE}
        priorities: dict[UUID, int] = {}
        for row in await self._session.execute(_TAKE_DEAD, values):
            priorities[row.discussion_id] = max(row.priority, priorities.get(row.discussion_id, row.priority))
        for discussion_id, priority in priorities.items():
            await self.drive(discussion_id, priority)
        return len(priorities)

    async def defer(self, task: str, queue: str, *, at: datetime | None = None, **arguments: str | int) -> None:
        """Queue the task in this transaction, by default at once."""
        raw = await (await self._session.connection()).get_raw_connection()
        await self._queue.configure_task(
            task, queue=queue, schedule_at=at, connection=raw.driver_connection
        ).defer_async(**arguments)

    async def defer_alone(
        self, task: str, queue: str, lock: str, *, at: datetime | None = None, **arguments: str | int
    ) -> None:
        """The same, to be run when no other with that `lock` is."""
        # Whoever fetches jobs takes those of a lock in the order of their ids, which has to be that of commits.
        await self._session.execute(_ONE_AT_A_TIME, {"lock": lock})
        raw = await (await self._session.connection()).get_raw_connection()
        await self._queue.configure_task(
            task, queue=queue, schedule_at=at, lock=lock, connection=raw.driver_connection
        ).defer_async(**arguments)

    async def defer_once(self, task: str, queue: str, lock: str, **arguments: str | int) -> None:
        """The same, unless one with that `lock` waits to be run at once: it will see what is committed here.

        One that was put off goes, since those of a lock are run in their order, and this one does its work. There is no
        queueing lock: what a dead worker had in hand could not be put back beside one that waits.
        """
        await self._session.execute(_ONE_AT_A_TIME, {"lock": lock})
        await self._session.execute(_DROP_LATER, {"lock": lock})
        if not await self._session.scalar(_IS_WAITING, {"lock": lock}):
            await self.defer_alone(task, queue, lock, at=None, **arguments)

    async def clear_workspace(self, workspace_id: UUID) -> None:
        """Queue the clearing away of a workspace that was deleted."""
        await self.defer(CLEAR_TASK, CHORES_QUEUE, workspace_id=str(workspace_id))

    async def put_back(self, dead_after_seconds: float) -> int:
        """Let others take what else dead workers had in hand: webhooks, chores, documents and the like; how many.

        A webhook may be delivered twice, the others go on from where they had come to.
        """
        queues = [DELIVERIES_QUEUE, CHORES_QUEUE, KNOWLEDGE_QUEUE, ASSISTANT_QUEUE]
        values = {"queues": queues, "dead_after": dead_after_seconds, "limit": REVIVED_AT_ONCE}
        return len((await self._session.execute(_PUT_BACK, values)).all())

    async def age(self, waited_seconds: float, limit: int) -> int:
        """Let background drivers that have waited so long wait like interactive ones, oldest first; how many.

        Else interactive discussions that keep every slot busy would keep them waiting for ever; and were all of them
        let up at once, they would keep everybody else waiting.
        """
        values = {"queue": TURNS_QUEUE, "risen": PRIORITIES["interactive"], "waited": waited_seconds, "limit": limit}
        return len((await self._session.execute(_AGE, values)).all())

    async def others_wait(self) -> bool:
        """Whether a driver's job waits for a free slot."""
        return await self._session.scalar(_OTHERS_WAIT, {"queue": TURNS_QUEUE}) is not None
