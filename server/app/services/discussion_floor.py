"""A human gives the floor, where the turn policy leaves the choice to one."""

from uuid import UUID

from app.core.errors import Conflict
from app.domain import events
from app.domain.discussion import Status, Step, advance
from app.domain.events import NextSpeaker
from app.domain.policies import get_seat
from app.domain.progress import Floor
from app.schemas.discussion import DiscussionRead
from app.schemas.policies import FloorGive
from app.services.callers import Actor
from app.services.discussion_access import require_control
from app.services.discussion_flow import give_floor, queue_driver, take_floor
from app.services.discussion_views import read_discussion, table_of
from app.services.unit_of_work import UnitOfWorkFactory


class FloorNotFree(Conflict):
    """The discussion does not wait for anybody to choose a speaker."""

    code = "floor_not_free"


class DiscussionFloor:
    """Who speaks next, by a human's choice."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def give(self, actor: Actor, discussion_id: UUID, request: FloorGive) -> DiscussionRead:
        """Give the floor of a discussion that waits for a choice, and queue the turn, or do neither."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            require_control(actor, discussion)
            if discussion.status != Status.WAITING or discussion.speaker_id is not None:
                raise FloorNotFree("the discussion does not wait for somebody to choose who speaks")
            participants = await work.discussions.list_seats(discussion_id)
            seat = get_seat(request.participant, table_of(discussion, participants).seats, "participant")
            speaker = NextSpeaker(seat.participant_id, seat.handle, "manual")
            take_floor(discussion)
            discussion.status = advance(discussion.status, Step.GO_ON)
            work.log.append(discussion, events.discussion_resumed(speaker))
            give_floor(work, discussion, participants, Floor(speaker, discussion.policy_state))
            await queue_driver(work, discussion)
        return read_discussion(discussion, participants)
