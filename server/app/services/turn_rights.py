"""Whether a turn token may still be used, and why not: each reason has a code of its own."""

from collections.abc import Sequence
from uuid import UUID

from app.core.errors import Conflict, Forbidden
from app.core.turn_tokens import TurnRight
from app.domain.discussion import DiscussionEnded, Status
from app.models import Discussion, Participant, Turn
from app.services.unit_of_work import UnitOfWork


class NotYourSeat(Forbidden):
    """Nobody speaks in another's name."""

    code = "not_your_seat"


class TurnTokenInvalid(Forbidden):
    """The token is forged, or is another discussion's."""

    code = "turn_token_invalid"


class TurnTokenUsed(Conflict):
    """The token's message has been said."""

    code = "turn_token_used"


class TurnTokenExpired(Conflict):
    """The deadline has passed, or the turn was passed on."""

    code = "turn_token_expired"


class TurnTokenStale(Conflict):
    """The floor was given anew since, or to somebody else."""

    code = "turn_token_stale"


class DiscussionPaused(Conflict):
    """The floor is given anew, with another token, when the discussion is resumed."""

    code = "discussion_paused"


async def seat_for(
    work: UnitOfWork,
    right: TurnRight | None,
    discussion: Discussion,
    participants: Sequence[Participant],
    participant_id: UUID | None,
) -> Participant:
    """The seat that the right speaks from, if it may do so now; the discussion's row is locked.

    The deadline is judged by the database's clock.
    """
    seat = next((seat for seat in participants if right is not None and seat.id == right.participant_id), None)
    if right is None or right.discussion_id != discussion.id or seat is None:
        raise TurnTokenInvalid("the turn token is none that was given in this discussion")
    if participant_id not in {None, seat.id}:
        raise NotYourSeat("the turn token is for another seat")
    if not _has_floor(right, discussion):
        raise _refusal(right, discussion, participants, await work.messages.find_turn(discussion.id, right.turn))
    if discussion.deadline_at is not None and discussion.deadline_at <= work.now():
        raise TurnTokenExpired("the deadline of this turn has passed")
    return seat


def _has_floor(right: TurnRight, discussion: Discussion) -> bool:
    return (
        discussion.status == Status.WAITING
        and discussion.floor_id == right.floor_id
        and discussion.speaker_id == right.participant_id
        and discussion.turn + 1 == right.turn
    )


def _refusal(
    right: TurnRight, discussion: Discussion, participants: Sequence[Participant], turn: Turn | None
) -> Conflict:
    """Why the floor is not the right's; `turn` is how its turn went, if it is over."""
    if turn is not None and turn.participant_id == right.participant_id and turn.outcome == "completed":
        return TurnTokenUsed("the turn token was used: its message is in the log")
    if discussion.status == Status.ENDED:
        return DiscussionEnded("the discussion has ended")
    if turn is None and discussion.status == Status.PAUSED:
        return DiscussionPaused("the discussion is paused; a new turn token comes when it is resumed")
    taken_by = turn.participant_id if turn is not None else discussion.speaker_id
    if taken_by in _those_who_answer_for(right.participant_id, participants, is_over=turn is not None):
        return TurnTokenExpired("the turn was passed on without an answer")
    return TurnTokenStale("the floor has been given anew since this turn token was made")


def _those_who_answer_for(seat_id: UUID, participants: Sequence[Participant], *, is_over: bool) -> set[UUID]:
    """Whose having the turn means that the seat let it pass: its stand-ins, or itself once the turn is over."""
    stand_ins = {seat.id for seat in participants if seat.stands_in_for == seat_id}
    return stand_ins | {seat_id} if is_over else stand_ins
