"""A turn that was cut: its message holds exactly what viewers were shown."""

from collections.abc import Sequence

from app.core.clock import utc_now
from app.domain import events
from app.models import Discussion, Message, Participant, Turn
from app.services.discussion_views import read_message
from app.services.unit_of_work import UnitOfWork


def keep_interrupted(work: UnitOfWork, discussion: Discussion, participants: Sequence[Participant], shown: str) -> None:
    """Record the open turn of the locked discussion with an `interrupted` message."""
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
    discussion.last_speaker_id = speaker.stands_in_for or speaker.id
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
