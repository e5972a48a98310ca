"""From rows to what the wire shows, and to what the rules need."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.core.clock import utc_now
from app.domain.discussion import Status, TurnFailurePolicy
from app.domain.events import NextSpeaker
from app.domain.limits import Limits, Spending
from app.domain.policies import Seat
from app.domain.progress import Table
from app.models import Discussion, Message, Participant
from app.schemas.discussion import DiscussionRead, NextSpeakerRead, ParentRead, ParticipantRead, Usage
from app.schemas.message import MessageRead


def read_discussion(discussion: Discussion, participants: Sequence[Participant]) -> DiscussionRead:
    """The discussion as the wire shows it."""
    return DiscussionRead(
        **{name: getattr(discussion, name) for name in _SAME},
        next_speaker=_next_speaker(discussion, participants),
        participants=[ParticipantRead.model_validate(seat) for seat in participants if seat.left_at is None],
        pausing=bool(discussion.pause_requested),
        deadline=discussion.deadline_at,
        parent=_parent(discussion),
        usage=Usage(
            prompt_tokens=discussion.prompt_tokens,
            completion_tokens=discussion.completion_tokens,
            cost_usd=float(discussion.cost_usd),
        ),
    )


_SAME = (
    "id", "topic", "title", "instructions", "document_ids", "turn_policy", "limits", "stop_when", "priority", "seed",
    "on_turn_failure", "waiting", "status", "end_reason", "turn", "last_seq", "version", "created_at", "updated_at",
)  # fmt: skip


def _next_speaker(discussion: Discussion, participants: Sequence[Participant]) -> NextSpeakerRead | None:
    for participant in participants:
        is_there = participant.left_at is None and discussion.status != Status.ENDED
        if participant.id == discussion.speaker_id and is_there:
            return NextSpeakerRead(
                participant_id=participant.id, handle=participant.handle, reason=discussion.speaker_reason or ""
            )
    return None


def _parent(discussion: Discussion) -> ParentRead | None:
    if discussion.parent_seq is None:
        return None
    return ParentRead(id=discussion.parent_id, seq=discussion.parent_seq)


def read_message(message: Message) -> MessageRead:
    """The message as the wire and the log show it."""
    usage = None
    if message.completion_tokens is not None:
        usage = Usage(
            prompt_tokens=message.prompt_tokens or 0,
            completion_tokens=message.completion_tokens,
            cost_usd=float(message.cost_usd or 0),
        )
    return MessageRead(
        **{name: getattr(message, name) for name in _MESSAGE_SAME},
        citations=message.citations or [],
        dropped_citations=message.dropped_citations or 0,
        tools=message.tools or [],
        parsed=message.parsed,
        usage=usage,
    )


_MESSAGE_SAME = (
    "id", "seq", "turn", "attempt", "participant_id", "handle", "name", "kind", "content", "status", "reply_to",
    "visible_to", "created_at",
)  # fmt: skip


def participant_data(participant: Participant) -> dict[str, Any]:
    """The seat as events carry it."""
    return ParticipantRead.model_validate(participant).model_dump(mode="json")


def table_of(discussion: Discussion, participants: Sequence[Participant]) -> Table:
    """The rules and the speaking order; guests, stand-ins and those who left are outside it."""
    return Table(
        seats=[
            Seat(
                seat.id,
                seat.kind,  # type: ignore[arg-type]
                seat.handle,
                seat.name,
                seat.role,
                seat.agent_id,
                seat.joined_turn or 0,
            )
            for seat in participants
            if seat.role in SPEAKING_ROLES and seat.left_at is None
        ],
        turn_policy=discussion.turn_policy,
        limits=Limits(**discussion.limits),
        stop_when=discussion.stop_when,
        # Without a seed of its own every discussion draws differently, but the same whenever it is asked.
        seed=discussion.seed if discussion.seed is not None else str(discussion.id),
        on_turn_failure=TurnFailurePolicy(discussion.on_turn_failure or TurnFailurePolicy.PAUSE),
    )


SPEAKING_ROLES = frozenset({"speaker", "moderator"})


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
