"""The events of a discussion's log: their types, and what each one's `data` holds.

Every event that changes what `GET /discussions/{id}` shows carries what it changes, so that a snapshot and the
events after it always give a fresh read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.domain.limits import LimitUse
from app.domain.usage import NOTHING, Used

DISCUSSION_CREATED = "discussion.created"
DISCUSSION_STARTED = "discussion.started"
DISCUSSION_WAITING = "discussion.waiting"
DISCUSSION_PAUSING = "discussion.pausing"
DISCUSSION_PAUSED = "discussion.paused"
DISCUSSION_RESUMED = "discussion.resumed"
DISCUSSION_UPDATED = "discussion.updated"
DISCUSSION_FORKED = "discussion.forked"
DISCUSSION_ENDED = "discussion.ended"
PARTICIPANT_JOINED = "participant.joined"
PARTICIPANT_LEFT = "participant.left"
TURN_STARTED = "turn.started"
TURN_RETRIED = "turn.retried"
TURN_FAILED = "turn.failed"
TURN_PASSED = "turn.passed"
MESSAGE_COMPLETED = "message.completed"
MESSAGE_WITHHELD = "message.withheld"
LIMIT_WARNING = "limit.warning"

MESSAGE_DELTA = "message.delta"
TOOL_STARTED = "tool.started"
TOOL_FINISHED = "tool.finished"
STREAM_RESET = "stream.reset"
STREAM_LAGGED = "stream.lagged"

# Each with the discussion's status in its data.
STATUS_CHANGES = (
    DISCUSSION_CREATED,
    DISCUSSION_FORKED,
    DISCUSSION_STARTED,
    DISCUSSION_WAITING,
    DISCUSSION_PAUSED,
    DISCUSSION_RESUMED,
    DISCUSSION_ENDED,
)
TURN_OPENERS = frozenset({TURN_STARTED, TURN_RETRIED})
# Besides the message that completes it.
TURN_CLOSERS = frozenset({TURN_FAILED, TURN_PASSED, DISCUSSION_ENDED})


@dataclass(frozen=True, slots=True)
class Event:
    """A durable event before it has its place in the log; `data` is JSON-ready.

    `visible_to` names the participants who may see it; None: everybody.
    """

    type: str
    data: dict[str, Any]
    visible_to: Sequence[UUID] | None = None


@dataclass(frozen=True, slots=True)
class NextSpeaker:
    """Who has the floor or is about to, as the wire shows it."""

    participant_id: UUID
    handle: str
    reason: str

    def as_data(self) -> dict[str, Any]:
        return {"participant_id": self.participant_id, "handle": self.handle, "reason": self.reason}


def _next(speaker: NextSpeaker | None) -> dict[str, Any] | None:
    return speaker.as_data() if speaker else None


def discussion_created(topic: str, title: str | None, participants: list[dict[str, Any]]) -> Event:
    return Event(DISCUSSION_CREATED, {"status": "draft", "topic": topic, "title": title, "participants": participants})


def discussion_started(next_speaker: NextSpeaker | None) -> Event:
    return Event(DISCUSSION_STARTED, {"status": "running", "next_speaker": _next(next_speaker)})


def discussion_waiting(
    next_speaker: NextSpeaker | None,
    deadline: str | None = None,
    policy_state: Mapping[str, Any] | None = None,
    *,
    is_last: bool = False,
) -> Event:
    """`next_speaker` None: a human has to choose who speaks. `deadline` is RFC 3339.

    `wrap_up` marks the one turn that is given before a limit ends the discussion.
    """
    data: dict[str, Any] = {"status": "waiting", "next_speaker": _next(next_speaker), "deadline": deadline}
    if policy_state is not None:
        data["policy_state"] = policy_state
    if is_last:
        data["wrap_up"] = True
    return Event(DISCUSSION_WAITING, data)


def discussion_pausing() -> Event:
    """A pause was asked for; it comes when the speaker has finished."""
    return Event(DISCUSSION_PAUSING, {"pausing": True})


def discussion_paused(next_speaker: NextSpeaker | None, reason: str) -> Event:
    return Event(
        DISCUSSION_PAUSED,
        {"status": "paused", "pausing": False, "deadline": None, "reason": reason, "next_speaker": _next(next_speaker)},
    )


def discussion_resumed(next_speaker: NextSpeaker | None) -> Event:
    return Event(DISCUSSION_RESUMED, {"status": "running", "deadline": None, "next_speaker": _next(next_speaker)})


def discussion_updated(changed: Mapping[str, Any], version: int) -> Event:
    """`changed` are fields of the discussion as the wire shows them."""
    return Event(DISCUSSION_UPDATED, {**changed, "version": version})


def discussion_forked(parent_id: UUID, seq: int, rules: Mapping[str, Any]) -> Event:
    """The log up to here is that of the parent up to `seq`; what follows is the fork's own.

    `rules` are all fields that a change of the parent may have told otherwise, as the wire shows the fork's.
    """
    return Event(
        DISCUSSION_FORKED,
        {
            "parent": {"id": parent_id, "seq": seq},
            "status": "draft",
            "end_reason": None,
            "pausing": False,
            "deadline": None,
            "next_speaker": None,
            **rules,
        },
    )


def discussion_ended(reason: str, detail: str | None = None) -> Event:
    return Event(
        DISCUSSION_ENDED,
        {
            "status": "ended",
            "pausing": False,
            "deadline": None,
            "end_reason": reason,
            "detail": detail,
            "next_speaker": None,
        },
    )


def participant_joined(participant: dict[str, Any]) -> Event:
    return Event(PARTICIPANT_JOINED, {"participant": participant})


def participant_left(participant_id: UUID, handle: str, *, drops_floor: bool = False) -> Event:
    """`drops_floor`: it was to speak next, and now nobody is until somebody is chosen."""
    data: dict[str, Any] = {"participant_id": participant_id, "handle": handle}
    if drops_floor:
        data["next_speaker"] = None
    return Event(PARTICIPANT_LEFT, data)


def turn_started(
    turn: int,
    attempt: int,
    speaker: NextSpeaker,
    message_id: UUID,
    *,
    policy_state: Mapping[str, Any] | None = None,
    is_last: bool = False,
) -> Event:
    """`wrap_up` marks the one turn that is given before a limit ends the discussion.

    Where models were asked who should speak, `choice` is added: their `prompt_tokens`, `completion_tokens`, `cost_usd`.
    """
    data: dict[str, Any] = {
        "turn": turn,
        "attempt": attempt,
        "participant_id": speaker.participant_id,
        "handle": speaker.handle,
        "message_id": message_id,
        "reason": speaker.reason,
    }
    if policy_state is not None:
        data["policy_state"] = policy_state
    if is_last:
        data["wrap_up"] = True
    return Event(TURN_STARTED, data)


def turn_retried(
    turn: int, attempt: int, speaker_id: UUID, message_id: UUID, reason: str, used: Used = NOTHING
) -> Event:
    """`attempt` begins; `used` is what the one before it took."""
    data = {"turn": turn, "attempt": attempt, "participant_id": speaker_id, "message_id": message_id, "reason": reason}
    return Event(TURN_RETRIED, data | _usage(used))


def turn_failed(
    turn: int,
    attempt: int,
    speaker_id: UUID,
    code: str,
    detail: str,
    *,
    is_over: bool = False,
    used: Used = NOTHING,
) -> Event:
    """`is_over`: the turn's number is used up and the discussion goes on; else the turn may be begun anew.

    `used` is what the last attempt took.
    """
    data = {
        "turn": turn,
        "attempt": attempt,
        "participant_id": speaker_id,
        "code": code,
        "detail": detail,
        "is_over": is_over,
    }
    return Event(TURN_FAILED, data | _usage(used))


def turn_passed(turn: int, attempt: int, speaker_id: UUID, reason: str, used: Used = NOTHING) -> Event:
    """The turn is over without a message; `used` is what its last attempt took.

    The speaker had nothing to say (`empty`), did not answer in time (`deadline`) or could not be told (`unreachable`).
    """
    data = {"turn": turn, "attempt": attempt, "participant_id": speaker_id, "reason": reason}
    return Event(TURN_PASSED, data | _usage(used))


def _usage(used: Used) -> dict[str, Any]:
    return {"usage": used.as_data()} if used else {}


def message_completed(message: dict[str, Any], visible_to: Sequence[UUID] | None = None) -> Event:
    return Event(MESSAGE_COMPLETED, message, visible_to)


def message_withheld(turn: int | None = None) -> Event:
    """What stands in the place of somebody's whisper; `turn` if it took one, since that changes the discussion."""
    return Event(MESSAGE_WITHHELD, {} if turn is None else {"turn": turn})


def limit_warning(use: LimitUse, *, is_last: bool = False) -> Event:
    """Four fifths of a limit are used, or there is room for one turn of use and no more.

    `limit` is its name in `limits`, or that of a budget of the day. `wrap_up`: the turn that has begun is the last one.
    """
    data: dict[str, Any] = {"limit": use.limit, "used": use.used, "max": use.most}
    if is_last:
        data["wrap_up"] = True
    return Event(LIMIT_WARNING, data)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event at its place in the log; `payload` is its `data` as JSON, the same bytes for every reader."""

    seq: int
    type: str
    created_at: str
    payload: bytes
    visible_to: tuple[str, ...] | None = None
