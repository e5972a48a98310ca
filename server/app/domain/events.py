"""The events of a discussion's log: their types, and what each one's `data` holds.

Every event that changes what `GET /discussions/{id}` shows carries what it changes, so that a snapshot and the
events after it always give a fresh read.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

DISCUSSION_CREATED = "discussion.created"
DISCUSSION_STARTED = "discussion.started"
DISCUSSION_WAITING = "discussion.waiting"
DISCUSSION_RESUMED = "discussion.resumed"
DISCUSSION_ENDED = "discussion.ended"
PARTICIPANT_JOINED = "participant.joined"
TURN_STARTED = "turn.started"
TURN_RETRIED = "turn.retried"
TURN_FAILED = "turn.failed"
MESSAGE_COMPLETED = "message.completed"

MESSAGE_DELTA = "message.delta"
STREAM_RESET = "stream.reset"

TURN_OPENERS = frozenset({TURN_STARTED, TURN_RETRIED})


@dataclass(frozen=True, slots=True)
class Event:
    """A durable event before it has its place in the log; `data` is JSON-ready."""

    type: str
    data: dict[str, Any]


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


def discussion_started(next_speaker: NextSpeaker) -> Event:
    return Event(DISCUSSION_STARTED, {"status": "running", "next_speaker": _next(next_speaker)})


def discussion_waiting(next_speaker: NextSpeaker) -> Event:
    return Event(DISCUSSION_WAITING, {"status": "waiting", "next_speaker": _next(next_speaker)})


def discussion_resumed(next_speaker: NextSpeaker) -> Event:
    return Event(DISCUSSION_RESUMED, {"status": "running", "next_speaker": _next(next_speaker)})


def discussion_ended(reason: str, detail: str | None = None) -> Event:
    return Event(DISCUSSION_ENDED, {"status": "ended", "end_reason": reason, "detail": detail, "next_speaker": None})


def participant_joined(participant: dict[str, Any]) -> Event:
    return Event(PARTICIPANT_JOINED, {"participant": participant})


def turn_started(turn: int, attempt: int, speaker: NextSpeaker, message_id: UUID) -> Event:
    return Event(
        TURN_STARTED,
        {
            "turn": turn,
            "attempt": attempt,
            "participant_id": speaker.participant_id,
            "handle": speaker.handle,
            "message_id": message_id,
            "reason": speaker.reason,
        },
    )


def turn_retried(turn: int, attempt: int, speaker_id: UUID, message_id: UUID, reason: str) -> Event:
    return Event(
        TURN_RETRIED,
        {"turn": turn, "attempt": attempt, "participant_id": speaker_id, "message_id": message_id, "reason": reason},
    )


def turn_failed(turn: int, attempt: int, speaker_id: UUID, code: str, detail: str) -> Event:
    return Event(
        TURN_FAILED,
        {"turn": turn, "attempt": attempt, "participant_id": speaker_id, "code": code, "detail": detail},
    )


def message_completed(message: dict[str, Any]) -> Event:
    return Event(MESSAGE_COMPLETED, message)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event at its place in the log; `payload` is its `data` as JSON, the same bytes for every reader."""

    seq: int
    type: str
    created_at: str
    payload: bytes
