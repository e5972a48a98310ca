"""From rows to what the wire shows, and to what the rules need."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.core.clock import utc_now
from app.domain.discussion import Status
from app.domain.events import NextSpeaker
from app.domain.limits import Limits, Spending
from app.domain.policies import History, Seat
from app.domain.progress import Table
from app.models import Discussion, Message, Participant
from app.schemas.discussion import DiscussionRead, NextSpeakerRead, ParticipantRead, Usage
from app.schemas.message import MessageRead


def read_discussion(discussion: Discussion, participants: Sequence[Participant]) -> DiscussionRead:
    """The discussion as the wire shows it."""
    return DiscussionRead(
        **{name: getattr(discussion, name) for name in _SAME},
        next_speaker=_next_speaker(discussion, participants),
        participants=[ParticipantRead.model_validate(participant) for participant in participants],
        usage=Usage(
            prompt_tokens=discussion.prompt_tokens,
            completion_tokens=discussion.completion_tokens,
            cost_usd=float(discussion.cost_usd),
        ),
    )


_SAME = (
    "id", "topic", "title", "instructions", "document_ids", "turn_policy", "limits", "stop_when", "priority", "seed",
    "status", "end_reason", "turn", "last_seq", "version", "created_at", "updated_at",
)  # fmt: skip


def _next_speaker(discussion: Discussion, participants: Sequence[Participant]) -> NextSpeakerRead | None:
    for participant in participants:
        if participant.id == discussion.speaker_id and discussion.status != Status.ENDED:
            return NextSpeakerRead(
                participant_id=participant.id, handle=participant.handle, reason=discussion.speaker_reason or ""
            )
    return None


def read_message(message: Message) -> MessageRead:
    """The message as the wire and the log show it."""
    usage = None
    if message.completion_tokens is not None:
        usage = Usage(
            prompt_tokens=message.prompt_tokens or 0,
            completion_tokens=message.completion_tokens,
            cost_usd=float(message.cost_usd or 0),
        )
    return MessageRead(**{name: getattr(message, name) for name in _MESSAGE_SAME}, usage=usage)


_MESSAGE_SAME = (
    "id", "seq", "turn", "attempt", "participant_id", "handle", "name", "kind", "content", "status", "reply_to",
    "created_at",
)  # fmt: skip


def participant_data(participant: Participant) -> dict[str, Any]:
    """The seat as events carry it."""
    return ParticipantRead.model_validate(participant).model_dump(mode="json")


def table_of(discussion: Discussion, participants: Sequence[Participant]) -> Table:
    """The rules and the speaking order; guests are outside it."""
    return Table(
        seats=[
            Seat(participant.id, participant.kind, participant.handle, participant.name)  # type: ignore[arg-type]
            for participant in participants
            if participant.role != "guest"
        ],
        turn_policy=discussion.turn_policy,
        limits=Limits(**discussion.limits),
        stop_when=discussion.stop_when,
        seed=discussion.seed,
    )


def history_of(discussion: Discussion) -> History:
    return History(discussion.turn, discussion.last_speaker_id)


def spending_of(discussion: Discussion, now: datetime | None = None) -> Spending:
    """What the discussion has used so far."""
    started = discussion.started_at
    return Spending(
        turns=discussion.turn,
        tokens=discussion.prompt_tokens + discussion.completion_tokens,
        cost_usd=float(discussion.cost_usd),
        seconds=((now or utc_now()) - started).total_seconds() if started else 0.0,
    )


def floor_of(discussion: Discussion, participants: Sequence[Participant]) -> NextSpeaker | None:
    """Who has the floor, as events show it."""
    shown = _next_speaker(discussion, participants)
    return NextSpeaker(shown.participant_id, shown.handle, shown.reason) if shown else None
