"""Messages of people and of external agents, and reading what was said."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import Invalid, NotFound
from app.core.ids import new_id
from app.core.turn_tokens import TurnTokens
from app.domain import events
from app.domain.discussion import DiscussionEnded, Status
from app.domain.events import StoredEvent
from app.domain.handles import free_handle, person_handle
from app.domain.policies.errors import UnknownParticipant
from app.domain.visibility import EVERYBODY, Reader, as_shown
from app.models import Discussion, Message, Participant
from app.repositories.messages import cursor_at
from app.schemas.base import Page
from app.schemas.message import MessageCreate, MessagePosted, MessageRead
from app.services.callers import Actor
from app.services.discussion_flow import after_turn, close_turn
from app.services.discussion_views import participant_data, read_discussion, read_message
from app.services.readers import reader_among, reader_of
from app.services.seating_order import next_position
from app.services.turn_rights import NotYourSeat, TurnTokenInvalid, seat_for
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class UnknownReply(Invalid):
    """`reply_to` names no message of this discussion that the caller may read."""

    code = "unknown_reply"
    where = ("body", "reply_to")


@dataclass(frozen=True, slots=True)
class EventsPage:
    """Events in order, and the last `seq` of their log; `is_final`: but for that number it will never be another."""

    events: Sequence[StoredEvent]
    last_seq: int
    is_final: bool


class MessageService:
    """What people say, and what was said."""

    def __init__(self, uow: UnitOfWorkFactory, tokens: TurnTokens) -> None:
        self._uow = uow
        self._tokens = tokens

    async def post_with_token(
        self, actor: Actor | None, discussion_id: UUID, request: MessageCreate, token: str
    ) -> MessagePosted:
        """Take the turn that the token is for; whoever has it may, whether known (`actor`) or not."""
        right = self._tokens.read(token)
        if actor is not None:
            workspace_id = actor.workspace_id
        elif right is not None and right.discussion_id == discussion_id:
            workspace_id = right.workspace_id
        else:
            raise TurnTokenInvalid("the turn token is none that was given in this discussion")
        async with self._uow(workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            participants = await work.discussions.list_seats(discussion_id)
            seat = await seat_for(work, right, discussion, participants, request.participant_id)
            reader = Reader(seats=frozenset({seat.id}))
            message = await _speak(work, discussion, participants, seat, request, reader, takes_turn=True)
        return MessagePosted(message=read_message(message), discussion=read_discussion(discussion, participants))

    async def post(self, actor: Actor, discussion_id: UUID, request: MessageCreate) -> MessagePosted:
        """Put a person's words into the log at once, whoever is speaking; if they had the floor, it moves on."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            if discussion.status == Status.ENDED:
                raise DiscussionEnded("the discussion has ended")
            participants = await work.discussions.list_seats(discussion_id)
            seat = _seat_of(work, actor, discussion, participants, request.participant_id)
            reader = reader_among(actor, participants)
            had_floor = discussion.status == Status.WAITING and discussion.speaker_id == seat.id
            message = await _speak(work, discussion, participants, seat, request, reader, takes_turn=had_floor)
        return MessagePosted(message=read_message(message), discussion=read_discussion(discussion, participants))

    async def list_page(
        self, actor: Actor, discussion_id: UUID, *, newest_first: bool, limit: int, cursor: str | None
    ) -> Page[MessageRead]:
        """What the actor may read."""
        async with self._uow.reading(actor.workspace_id) as work:
            await work.discussions.get(discussion_id)
            reader = await reader_of(work, actor, discussion_id)
            return await _page(work, discussion_id, reader, newest_first=newest_first, limit=limit, cursor=cursor)

    async def list_public(
        self, actor: Actor, discussion_id: UUID, *, limit: int, cursor: str | None
    ) -> Page[MessageRead]:
        """What everybody may read, oldest first."""
        async with self._uow.reading(actor.workspace_id) as work:
            await work.discussions.get(discussion_id)
            return await _page(work, discussion_id, EVERYBODY, newest_first=False, limit=limit, cursor=cursor)

    async def list_after(self, actor: Actor, discussion_id: UUID, after_seq: int, limit: int) -> list[MessageRead]:
        """The first messages past a place in the log."""
        cursor = cursor_at(after_seq, newest_first=False)
        page = await self.list_page(actor, discussion_id, newest_first=False, limit=limit, cursor=cursor)
        return page.items

    async def list_events(self, actor: Actor, discussion_id: UUID, *, after: int, limit: int) -> EventsPage:
        """A page of the log as the actor may read it."""
        async with self._uow.reading(actor.workspace_id) as work:
            discussion = await work.discussions.get(discussion_id)
            events_after = await work.log.after(discussion_id, after, limit)
            if any(event.visible_to is not None for event in events_after):
                reader = await reader_of(work, actor, discussion_id)
                events_after = [as_shown(event, reader) for event in events_after]
        # The log may have grown between the two reads.
        last_seq = max(discussion.last_seq, *(event.seq for event in events_after), 0)
        # After the end only the title may change, which the log tells at its own end.
        is_final = discussion.status == Status.ENDED and len(events_after) == limit
        return EventsPage(events_after, last_seq, is_final)


async def _page(
    work: UnitOfWork, discussion_id: UUID, reader: Reader, *, newest_first: bool, limit: int, cursor: str | None
) -> Page[MessageRead]:
    rows, following = await work.messages.list_page(
        discussion_id, reader, newest_first=newest_first, limit=limit, cursor=cursor
    )
    return Page(items=[read_message(row) for row in rows], next_cursor=following)


async def _check_reply(work: UnitOfWork, discussion_id: UUID, reply_to: UUID | None, reader: Reader) -> None:
    if reply_to and not await work.messages.exists(discussion_id, reply_to, reader):
        raise UnknownReply("reply_to names no message of this discussion")


def _readers(
    participants: Sequence[Participant], author: Participant, visible_to: Sequence[UUID] | None
) -> list[UUID] | None:
    """Whom a whisper is for, its author first; None: everybody."""
    if visible_to is None:
        return None
    present = {seat.id for seat in participants if seat.left_at is None}
    for participant_id in visible_to:
        if participant_id not in present:
            raise UnknownParticipant(f"visible_to names {participant_id}, who is not at the table", "visible_to")
    return list(dict.fromkeys([author.id, *visible_to]))


def _seat_of(
    work: UnitOfWork,
    actor: Actor,
    discussion: Discussion,
    participants: list[Participant],
    participant_id: UUID | None,
) -> Participant:
    """The caller's seat; a caller without one is given a guest's, one who left is a guest from then on."""
    own = next((seat for seat in participants if seat.user_id == actor.user_id), None)
    if participant_id is not None and (own is None or own.id != participant_id):
        if all(seat.id != participant_id for seat in participants):
            raise NotFound("there is no such participant")
        raise NotYourSeat("you can speak only for yourself")
    if own is not None and own.left_at is None:
        return own
    if own is not None:
        own.left_at, own.role, own.position = None, "guest", next_position(participants)
        work.log.append(discussion, events.participant_joined(participant_data(own)))
        return own
    guest = Participant(
        id=new_id(),
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        position=next_position(participants),
        kind="human",
        role="guest",
        handle=free_handle(person_handle(actor.display_name), {seat.handle for seat in participants}),
        name=actor.display_name,
        user_id=actor.user_id,
    )
    work.discussions.add_participant(guest)
    participants.append(guest)
    work.log.append(discussion, events.participant_joined(participant_data(guest)))
    return guest


async def _speak(
    work: UnitOfWork,
    discussion: Discussion,
    participants: Sequence[Participant],
    seat: Participant,
    request: MessageCreate,
    reader: Reader,
    *,
    takes_turn: bool,
) -> Message:
    """Say it, in answer to what the `reader` may read; after a turn the discussion goes on."""
    await _check_reply(work, discussion.id, request.reply_to, reader)
    readers = _readers(participants, seat, request.visible_to)
    message = _say(work, discussion, seat, request, readers, takes_turn=takes_turn)
    if takes_turn:
        await after_turn(work, discussion, participants, said_to_all=readers is None)
    return message


def _say(
    work: UnitOfWork,
    discussion: Discussion,
    seat: Participant,
    request: MessageCreate,
    readers: list[UUID] | None,
    *,
    takes_turn: bool,
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
        kind=seat.kind,
        content=request.content,
        status="complete",
        reply_to=request.reply_to,
        visible_to=readers,
        created_at=utc_now(),
    )
    if takes_turn:
        close_turn(work, discussion, seat, "completed", message.id)
        discussion.failed_in_a_row = 0
    work.messages.add(message)
    work.log.append(discussion, events.message_completed(read_message(message).model_dump(mode="json"), readers))
    return message
