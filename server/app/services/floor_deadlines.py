"""What follows when somebody from outside who has the floor does not answer, or nobody chooses who gets it.

Everything is looked at again under the discussion's row lock, so it does no harm to be told of the same floor twice,
late, or by two workers at once.
"""

import structlog

from app.domain.discussion import EndReason, Status, Step
from app.domain.endings import Ending
from app.domain.limits import Limits
from app.models import Discussion, Participant
from app.repositories.jobs import GivenFloor
from app.repositories.turns import TurnRepository
from app.services.discussion_flow import end, let_stand_in, pass_turn, rest
from app.services.discussion_views import spending_of
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

OVERDUE_LIMIT = 200


class FloorDeadlines:
    """Passes turns on, or to the stand-in, as the discussion is configured; pauses one in which nobody chooses."""

    def __init__(self, uow: UnitOfWorkFactory, turns: TurnRepository) -> None:
        self._uow = uow
        self._turns = turns

    async def list_overdue(self) -> list[GivenFloor]:
        """Some floors whose deadline has passed, by the database's clock."""
        return await self._turns.overdue(OVERDUE_LIMIT)

    async def expire(self, floor: GivenFloor) -> None:
        """End the wait, unless the floor has moved on; a discussion that somebody has in hand is left for later."""
        async with self._uow(floor.workspace_id) as work:
            discussion = await work.discussions.find_for_update(floor.discussion_id, if_free=True)
            if discussion is None or not _is_current(discussion, floor):
                return
            if discussion.deadline_at is not None and discussion.deadline_at <= work.now():
                await _go_on_without(work, discussion, "deadline")

    async def give_up(self, floor: GivenFloor) -> None:
        """End the wait for an external agent that cannot be told, unless the floor has moved on."""
        async with self._uow(floor.workspace_id) as work:
            discussion = await work.discussions.find_for_update(floor.discussion_id)
            if discussion is not None and _is_current(discussion, floor):
                await _go_on_without(work, discussion, "unreachable")


def _is_current(discussion: Discussion, floor: GivenFloor) -> bool:
    return discussion.status == Status.WAITING and discussion.floor_id == floor.floor_id


async def _go_on_without(work: UnitOfWork, discussion: Discussion, reason: str) -> None:
    participants = await work.discussions.list_seats(discussion.id)
    if discussion.speaker_id is None:
        _go_on_unchosen(work, discussion, participants)
        return
    silent = next(seat for seat in participants if seat.id == discussion.speaker_id)
    stand_in = _stand_in_for(silent, discussion, participants)
    log.info(
        "floor_passed_on",
        discussion_id=str(discussion.id),
        turn=discussion.turn + 1,
        participant_id=str(silent.id),
        reason=reason,
        stand_in=str(stand_in.id) if stand_in else None,
    )
    if stand_in is None:
        await pass_turn(work, discussion, participants, silent, reason)
    else:
        await let_stand_in(work, discussion, stand_in)


def _go_on_unchosen(work: UnitOfWork, discussion: Discussion, participants: list[Participant]) -> None:
    """Nobody chose a speaker: nothing is said, or paid for, before somebody resumes it; past its time it is over."""
    is_over = Limits(**discussion.limits).last_turn(spending_of(discussion, work.now())) == EndReason.MAX_SECONDS
    log.info("floor_not_given", discussion_id=str(discussion.id), turn=discussion.turn + 1, is_over=is_over)
    if is_over:
        end(work, discussion, Ending(EndReason.MAX_SECONDS, "nobody chose who speaks last"))
    else:
        rest(work, discussion, participants, Step.PAUSE, "deadline")


def _stand_in_for(silent: Participant, discussion: Discussion, participants: list[Participant]) -> Participant | None:
    if discussion.waiting.get("on_deadline") == "skip":
        return None
    return next((seat for seat in participants if seat.stands_in_for == silent.id and seat.left_at is None), None)
