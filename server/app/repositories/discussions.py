"""Discussions and their seats."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select

from app.core.errors import NotFound
from app.models import Discussion, Participant
from app.repositories.base import Repository, contains

COMMAND = "command"
"""Who holds the lease of a discussion while a command cuts its speaker."""


class DiscussionRepository(Repository):
    """The workspace's discussions."""

    async def add(self, discussion: Discussion, participants: Sequence[Participant]) -> None:
        self._session.add(discussion)
        await self._session.flush()
        self._session.add_all(participants)

    async def get(self, discussion_id: UUID) -> Discussion:
        return await self._get(self._visible().where(Discussion.id == discussion_id))

    async def find(self, discussion_id: UUID) -> Discussion | None:
        found: Discussion | None = await self._session.scalar(self._visible().where(Discussion.id == discussion_id))
        return found

    async def get_for_update(self, discussion_id: UUID) -> Discussion:
        """Lock the discussion's row until the unit of work ends: all changes of one discussion queue here.

        Rows that only refer to it may come meanwhile: a reservation does, by whoever has the budget's row locked that a
        command may want next.
        """
        return await self._get(self._visible().where(Discussion.id == discussion_id).with_for_update(key_share=True))

    async def get_to_copy(self, discussion_id: UUID) -> Discussion:
        """Keep the discussion from being deleted until the unit of work ends; it may go on meanwhile."""
        return await self._get(
            self._visible().where(Discussion.id == discussion_id).with_for_update(read=True, key_share=True)
        )

    async def find_for_update(self, discussion_id: UUID, *, if_free: bool = False) -> Discussion | None:
        """The same, but None if it is gone or, with `if_free`, somebody else has it in hand just now."""
        query = (
            self._visible().where(Discussion.id == discussion_id).with_for_update(key_share=True, skip_locked=if_free)
        )
        discussion: Discussion | None = await self._session.scalar(query)
        return discussion

    def add_participant(self, participant: Participant) -> None:
        self._session.add(participant)

    async def list_seats(self, discussion_id: UUID) -> list[Participant]:
        """All who sit or sat at one discussion's table, in seating order."""
        return (await self.list_participants([discussion_id]))[discussion_id]

    async def list_participants(self, discussion_ids: Collection[UUID]) -> dict[UUID, list[Participant]]:
        """Seats in seating order, by discussion."""
        rows = await self._session.scalars(
            select(Participant)
            .where(Participant.workspace_id == self._workspace_id, Participant.discussion_id.in_(discussion_ids))
            .order_by(Participant.discussion_id, Participant.position)
        )
        seats: dict[UUID, list[Participant]] = {discussion_id: [] for discussion_id in discussion_ids}
        for participant in rows:
            seats[participant.discussion_id].append(participant)
        return seats

    async def list_seat_ids(self, discussion_id: UUID, user_id: UUID) -> list[UUID]:
        """The seats that are or were that person's."""
        query = select(Participant.id).where(
            Participant.workspace_id == self._workspace_id,
            Participant.discussion_id == discussion_id,
            Participant.user_id == user_id,
        )
        return list(await self._session.scalars(query))

    async def list_page(
        self, *, status: str | None, text: str | None, limit: int, cursor: str | None
    ) -> tuple[list[Discussion], str | None]:
        query = self._visible()
        if status:
            query = query.where(Discussion.status == status)
        if text:
            query = query.where(or_(Discussion.topic.ilike(contains(text)), Discussion.title.ilike(contains(text))))
        return await self._page(query, Discussion.id, limit, cursor)

    async def is_mid_turn(self, discussion: Discussion) -> bool:
        """Whether a turn of the locked discussion is being spoken, or a command is just cutting it.

        By the database's clock.
        """
        is_in_hand = discussion.turn_epoch == discussion.epoch or discussion.lease_owner == COMMAND
        if discussion.turn_message_id is None or discussion.turn_epoch == 0 or not is_in_hand:
            return False
        return bool(
            await self._session.scalar(
                select(Discussion.lease_until > func.now()).where(Discussion.id == discussion.id)
            )
        )

    async def fence(self, discussion: Discussion, seconds: float) -> int:
        """Take the locked discussion from whoever drives it, and keep drivers away for a while; the new epoch."""
        discussion.epoch += 1
        discussion.lease_owner = COMMAND
        discussion.lease_until = func.now() + timedelta(seconds=seconds)
        await self._session.flush()
        return discussion.epoch

    async def delete(self, discussion: Discussion) -> None:
        await self._session.delete(discussion)

    async def _get(self, query: Any) -> Discussion:
        discussion: Discussion | None = await self._session.scalar(query)
        if discussion is None:
            raise NotFound("there is no such discussion")
        return discussion

    def _visible(self) -> Any:
        return select(Discussion).where(Discussion.workspace_id == self._workspace_id)
