"""Messages of people, and reading what was said."""

from collections.abc import Sequence
from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import Forbidden, Invalid, NotFound
from app.core.ids import new_id
from app.domain import events
from app.domain.discussion import DiscussionEnded, Status, Step, advance
from app.domain.events import StoredEvent
from app.domain.handles import derive_handle, free_handle
from app.models import Discussion, Message, Participant, Turn
from app.schemas.base import Page
from app.schemas.message import MessageCreate, MessagePosted, MessageRead
from app.services.auth import Actor
from app.services.discussion_flow import end_if_over, hand_on, history_of, next_floor, queue_driver
from app.services.discussion_views import (
    participant_data,
    read_discussion,
    read_message,
    table_of,
)
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class NotYourSeat(Forbidden):
    """Nobody speaks in another's name."""

    code = "not_your_seat"


class UnknownReply(Invalid):
    """`reply_to` names no message of this discussion."""

    code = "unknown_reply"


class MessageService:
    """What people say, and what was said."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def post(self, actor: Actor, discussion_id: UUID, request: MessageCreate) -> MessagePosted:
        """Put a person's words into the log at once, whoever is speaking; if they had the floor, it moves on."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            if discussion.status == Status.ENDED:
                raise DiscussionEnded("the discussion has ended")
            participants = (await work.discussions.list_participants([discussion_id]))[discussion_id]
            seat = _seat_of(work, actor, discussion, participants, request.participant_id)
            if request.reply_to and not await work.messages.exists(discussion_id, request.reply_to):
                raise UnknownReply("reply_to names no message of this discussion")
            had_floor = discussion.status == Status.WAITING and discussion.speaker_id == seat.id
            message = _say(work, discussion, seat, request, takes_turn=had_floor)
            if had_floor:
                await _move_on(work, discussion, participants)
                await queue_driver(work, discussion)
        return MessagePosted(message=read_message(message), discussion=read_discussion(discussion, participants))

    async def list_page(
        self, actor: Actor, discussion_id: UUID, *, newest_first: bool, limit: int, cursor: str | None
    ) -> Page[MessageRead]:
        async with self._uow.reading(actor.workspace_id) as work:
            await work.discussions.get(discussion_id)
            rows, following = await work.messages.list_page(
                discussion_id, newest_first=newest_first, limit=limit, cursor=cursor
            )
        return Page(items=[read_message(row) for row in rows], next_cursor=following)

    async def list_events(
        self, actor: Actor, discussion_id: UUID, *, after: int, limit: int
    ) -> tuple[Sequence[StoredEvent], int]:
        """A page of the log, and the log's last `seq`."""
        async with self._uow.reading(actor.workspace_id) as work:
            discussion = await work.discussions.get(discussion_id)
            events_after = await work.log.after(discussion_id, after, limit)
        # The log may have grown between the two reads.
        return events_after, max(discussion.last_seq, *(event.seq for event in events_after), 0)


def _seat_of(
    work: UnitOfWork,
    actor: Actor,
    discussion: Discussion,
    participants: list[Participant],
    participant_id: UUID | None,
) -> Participant:
    """The caller's seat; a caller without one is given a guest's."""
    own = next((seat for seat in participants if seat.user_id == actor.user_id), None)
    if participant_id is not None and (own is None or own.id != participant_id):
        if all(seat.id != participant_id for seat in participants):
            raise NotFound("there is no such participant")
        raise NotYourSeat("you can speak only for yourself")
    if own is not None:
        return own
    guest = Participant(
        id=new_id(),
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        position=len(participants),
        kind="human",
        role="guest",
        handle=free_handle(derive_handle(actor.display_name), {seat.handle for seat in participants}),
        name=actor.display_name,
        user_id=actor.user_id,
    )
    work.discussions.add_participant(guest)
    participants.append(guest)
    work.log.append(discussion, events.participant_joined(participant_data(guest)))
    return guest


def _say(
    work: UnitOfWork, discussion: Discussion, seat: Participant, request: MessageCreate, *, takes_turn: bool
) -> Message:
    message = Message(
        id=new_id(),
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        seq=discussion.last_seq + 1,
        turn=discussion.turn + 1 if takes_turn else None,
        attempt=1 if takes_turn else None,
        participant_id=seat.id,
        handle=seat.handle,
        name=seat.name,
        kind="human",
        content=request.content,
        status="complete",
        reply_to=request.reply_to,
        created_at=utc_now(),
    )
    if takes_turn:
        discussion.turn += 1
        discussion.last_speaker_id = seat.id
        work.messages.add_turn(_turn_of(discussion, message))
    work.messages.add(message)
    work.log.append(discussion, events.message_completed(read_message(message).model_dump(mode="json")))
    return message


def _turn_of(discussion: Discussion, message: Message) -> Turn:
    return Turn(
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        turn=discussion.turn,
        attempt=1,
        participant_id=message.participant_id,
        message_id=message.id,
        outcome="completed",
        reason=discussion.speaker_reason or "",
        finished_at=message.created_at,
    )


async def _move_on(work: UnitOfWork, discussion: Discussion, participants: list[Participant]) -> None:
    """After a person's turn: the end, or the next speaker."""
    history = await history_of(work, discussion)
    if end_if_over(work, discussion, table_of(discussion, participants), history):
        return
    following = next_floor(discussion, participants, history)
    discussion.status = advance(discussion.status, Step.GO_ON)
    work.log.append(discussion, events.discussion_resumed(following.speaker if following else None))
    hand_on(work, discussion, participants, history)
