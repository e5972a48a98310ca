"""Coming to the table and leaving it, at any time before the end."""

from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import Conflict, NotFound
from app.domain import events
from app.domain.discussion import DiscussionEnded, Status, Step
from app.models import Discussion, Participant
from app.schemas.discussion import MAX_PARTICIPANTS, ParticipantCreate, ParticipantRead
from app.services.ai_models import ModelCatalog
from app.services.callers import Actor
from app.services.discussion_access import require_control
from app.services.discussion_flow import fence_off, go_on_to_next, history_of, queue_driver, take_floor
from app.services.discussion_views import SPEAKING_ROLES, participant_data
from app.services.discussions import DuplicateParticipant, check_members, find_seat, seat_all
from app.services.seating_order import next_position
from app.services.stand_ins import seat_stand_ins
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class LastParticipant(Conflict):
    """A discussion needs somebody in its speaking order."""

    code = "last_participant"


class TableFull(Conflict):
    """The speaking order has as many seats as it may."""

    code = "table_full"


class DiscussionSeats:
    """Who sits at a table."""

    def __init__(self, uow: UnitOfWorkFactory, models: ModelCatalog) -> None:
        self._uow = uow
        self._models = models

    async def join(self, actor: Actor, discussion_id: UUID, wanted: ParticipantCreate) -> ParticipantRead:
        """Seat an agent or a person at the end of the speaking order; who was here before gets their seat back."""
        if wanted.model is not None:
            (await self._models.of(actor.workspace_id, wanted.model)).check(wanted.model, "body", "model")
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            require_control(actor, discussion)
            if discussion.status == Status.ENDED:
                raise DiscussionEnded("the discussion has ended")
            participants = await work.discussions.list_seats(discussion_id)
            _check_has_room(participants)
            joined = await _seat(work, discussion, participants, wanted)
            for seat in joined:
                work.log.append(discussion, events.participant_joined(participant_data(seat)))
        return ParticipantRead.model_validate(joined[0])

    async def leave(self, actor: Actor, discussion_id: UUID, participant_id: UUID) -> None:
        """Take a seat from the table; a turn that it is speaking is finished, the floor goes on to the next."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            participants = await work.discussions.list_seats(discussion_id)
            present = [seat for seat in participants if seat.left_at is None]
            leaving = next((seat for seat in present if seat.id == participant_id), None)
            if leaving is None:
                raise NotFound("there is no such participant")
            if leaving.user_id != actor.user_id:
                require_control(actor, discussion)
            _check_may_leave(discussion, present, leaving)
            await _leave(work, discussion, participants, leaving)
            await queue_driver(work, discussion)


async def _seat(
    work: UnitOfWork, discussion: Discussion, participants: list[Participant], wanted: ParticipantCreate
) -> list[Participant]:
    """Their seat, and that of their stand-in."""
    known = find_seat(participants, wanted)
    if known is None:
        joined = await seat_all(work, discussion, [wanted], participants)
    elif known.left_at is None and known.role in SPEAKING_ROLES:
        raise DuplicateParticipant(f"@{known.handle} sits at the table already")
    else:
        await check_members(work, discussion, [known])
        known.left_at, known.role, known.joined_turn = None, wanted.role, discussion.turn
        known.model, known.position = wanted.model or known.model, next_position(participants)
        joined = [known]
    joined += await seat_stand_ins(work, discussion, [wanted], joined, participants)
    for seat in joined:
        work.discussions.add_participant(seat)
    return joined


def _check_has_room(participants: list[Participant]) -> None:
    if sum(seat.left_at is None and seat.role in SPEAKING_ROLES for seat in participants) >= MAX_PARTICIPANTS:
        raise TableFull(f"no more than {MAX_PARTICIPANTS} can be in the speaking order")


def _check_may_leave(discussion: Discussion, present: list[Participant], leaving: Participant) -> None:
    if discussion.status == Status.ENDED:
        raise DiscussionEnded("the discussion has ended")
    if all(seat is leaving or seat.role not in SPEAKING_ROLES for seat in present):
        raise LastParticipant(f"@{leaving.handle} is the last one in the speaking order; stop the discussion instead")


async def _leave(
    work: UnitOfWork, discussion: Discussion, participants: list[Participant], leaving: Participant
) -> None:
    leaving.left_at = utc_now()
    for stand_in in participants:
        if stand_in.stands_in_for == leaving.id and stand_in.left_at is None:
            stand_in.left_at = leaving.left_at
            work.log.append(discussion, events.participant_left(stand_in.id, stand_in.handle))
    has_floor = discussion.speaker_id == leaving.id and not await work.discussions.is_mid_turn(discussion)
    work.log.append(discussion, events.participant_left(leaving.id, leaving.handle, drops_floor=has_floor))
    if has_floor:
        await _pass_floor_on(work, discussion, participants)


async def _pass_floor_on(work: UnitOfWork, discussion: Discussion, participants: list[Participant]) -> None:
    """Whoever had the floor has left without a word."""
    history = await history_of(work, discussion)
    take_floor(discussion)
    discussion.wrap_up = None  # the last turn was not taken
    if discussion.status == Status.WAITING:
        go_on_to_next(work, discussion, participants, history, Step.GO_ON)
    elif discussion.status == Status.RUNNING:
        fence_off(discussion)
