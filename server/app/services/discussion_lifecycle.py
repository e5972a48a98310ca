"""Commands to a discussion: start and stop.

A command never asks the driver: it changes the row under its lock and raises the epoch, so the driver's next write
fails and its lease is not renewed; it gives up within a second, on any worker.
"""

from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import Conflict
from app.domain import events
from app.domain.discussion import EndReason, Step, advance
from app.models import Discussion, Message, Participant, Turn
from app.schemas.discussion import DiscussionRead
from app.services.auth import Actor
from app.services.discussion_flow import begin, end, history_of, queue_driver
from app.services.discussion_views import read_discussion, read_message
from app.services.discussions import require_control
from app.services.live.bus import LiveBus
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

FENCE_SECONDS = 5.0


class CommandOvertaken(Conflict):
    """Another command reached the discussion first."""

    code = "command_overtaken"


class DiscussionLifecycle:
    """Every method is one step, whole or not at all."""

    def __init__(self, uow: UnitOfWorkFactory, live: LiveBus) -> None:
        self._uow = uow
        self._live = live

    async def start(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        """Open the floor of a draft and queue the first turn, or do neither."""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            require_control(actor, discussion)
            advance(discussion.status, Step.START)
            participants = (await work.discussions.list_participants([discussion_id]))[discussion_id]
            begin(work, discussion, participants, await history_of(work, discussion))
            await queue_driver(work, discussion)
        return read_discussion(discussion, participants)

    async def stop(self, actor: Actor, discussion_id: UUID) -> DiscussionRead:
        """End the discussion; a speaker is cut mid-word, and exactly what viewers were shown is kept."""
        epoch, speaking = await self._fence(actor, discussion_id)
        # Sealed between two transactions: none of them waits for Valkey.
        shown = await self._live.seal(discussion_id, *speaking) if speaking else ""
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            if discussion.epoch != epoch:
                raise CommandOvertaken("another command reached the discussion first; look at it and try again")
            participants = (await work.discussions.list_participants([discussion_id]))[discussion_id]
            if speaking is not None and shown:
                _keep_interrupted(work, discussion, participants, shown)
            end(work, discussion, EndReason.STOPPED, step=Step.STOP)
        return read_discussion(discussion, participants)

    async def _fence(self, actor: Actor, discussion_id: UUID) -> tuple[int, tuple[UUID, int] | None]:
        """Take the discussion from its driver; the new epoch, and the attempt that was being spoken.

        A crash after this leaves a running discussion with a lease that lapses and a driver queued to go on with it.
        """
        async with self._uow(actor.workspace_id) as work:
            discussion = await work.discussions.get_for_update(discussion_id)
            require_control(actor, discussion)
            advance(discussion.status, Step.STOP)
            speaking = _open_attempt(discussion)
            epoch = await work.discussions.fence(discussion, FENCE_SECONDS)
            await queue_driver(work, discussion)
        return epoch, speaking


def _open_attempt(discussion: Discussion) -> tuple[UUID, int] | None:
    """(message id, attempt) of what a driver is speaking, if one is."""
    if discussion.turn_message_id is None or discussion.turn_epoch == 0:
        return None
    return discussion.turn_message_id, discussion.turn_attempt


def _keep_interrupted(work: UnitOfWork, discussion: Discussion, participants: list[Participant], shown: str) -> None:
    speaker = next(seat for seat in participants if seat.id == discussion.speaker_id)
    message = Message(
        id=discussion.turn_message_id,
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        seq=discussion.last_seq + 1,
        turn=discussion.turn + 1,
        attempt=discussion.turn_attempt,
        participant_id=speaker.id,
        handle=speaker.handle,
        name=speaker.name,
        kind=speaker.kind,
        content=shown,
        status="interrupted",
        created_at=utc_now(),
    )
    discussion.turn += 1
    discussion.last_speaker_id = speaker.id
    work.messages.add(message)
    work.messages.add_turn(_interrupted_turn(discussion, speaker, message))
    work.log.append(discussion, events.message_completed(read_message(message).model_dump(mode="json")))


def _interrupted_turn(discussion: Discussion, speaker: Participant, message: Message) -> Turn:
    return Turn(
        workspace_id=discussion.workspace_id,
        discussion_id=discussion.id,
        turn=discussion.turn,
        attempt=discussion.turn_attempt,
        participant_id=speaker.id,
        message_id=message.id,
        outcome="interrupted",
        reason=discussion.speaker_reason or "",
        finished_at=message.created_at,
    )
