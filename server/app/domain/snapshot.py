"""The state of a discussion as its log tells it: a snapshot, and the events after it, give what a fresh read gives.

Source: event sourcing's left fold (Fowler, 2005). Here rows are the truth and the fold is the promise that the log
carries all that `GET /discussions/{id}` shows and a turn can change; forks begin with it.
"""

from collections.abc import Mapping
from typing import Any

from app.domain import events

FOLDED = (
    "status", "end_reason", "turn", "last_seq", "version", "next_speaker", "participants", "usage", "pausing",
    "deadline", "topic", "title", "instructions", "turn_policy", "limits", "stop_when", "on_turn_failure", "waiting",
)  # fmt: skip
"""The fields that events change."""

_STATED = frozenset(
    {
        *("status", "end_reason", "next_speaker", "pausing", "deadline", "topic", "title", "instructions"),
        *("turn_policy", "limits", "stop_when", "on_turn_failure", "waiting", "version", "parent"),
    }
)
_SPEND = frozenset({events.MESSAGE_COMPLETED, events.TURN_RETRIED, events.TURN_PASSED, events.TURN_FAILED})
"""Whose `usage`, where they have one, is added up: of a message's own attempt, and of those that brought none."""
EMPTY: Mapping[str, Any] = {
    "status": "draft",
    "end_reason": None,
    "turn": 0,
    "last_seq": 0,
    "next_speaker": None,
    "participants": [],
    "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0},
    "pausing": False,
    "deadline": None,
    "policy_state": None,
    "last_speaker_id": None,
}


def apply(snapshot: Mapping[str, Any], seq: int, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The snapshot after the event; what is unknown to it is kept."""
    after = {**snapshot, "last_seq": seq, **_stated(kind, data)}
    if kind in {events.DISCUSSION_CREATED, events.DISCUSSION_FORKED}:
        after["participants"] = data["participants"]
    elif kind == events.PARTICIPANT_JOINED:
        after["participants"] = [*_others(snapshot, data["participant"]["id"]), data["participant"]]
    elif kind == events.PARTICIPANT_LEFT:
        after["participants"] = _others(snapshot, data["participant_id"])
        if "next_speaker" in data:
            after["next_speaker"] = data["next_speaker"]
    elif kind == events.TURN_STARTED:
        after["next_speaker"] = {name: data[name] for name in ("participant_id", "handle", "reason")}
    elif (
        (kind == events.MESSAGE_COMPLETED and data["turn"] is not None)
        or kind == events.TURN_PASSED
        or (kind == events.TURN_FAILED and data["is_over"])
    ):
        _close_turn(after, data)
    elif kind == events.MESSAGE_WITHHELD and data.get("turn") is not None:
        after |= {"turn": data["turn"], "next_speaker": None}
    if "policy_state" in data:
        after["policy_state"] = data["policy_state"]
    for spent in (data.get("usage") if kind in _SPEND else None, data.get("choice")):
        if spent:
            after["usage"] = {name: after["usage"][name] + spent[name] for name in after["usage"]}
    return after


def _stated(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What events about the discussion as a whole say outright."""
    if not kind.startswith("discussion."):
        return {}
    return {name: value for name, value in data.items() if name in _STATED}


def _others(snapshot: Mapping[str, Any], participant_id: str) -> list[dict[str, Any]]:
    return [seat for seat in snapshot["participants"] if seat["id"] != participant_id]


def _close_turn(after: dict[str, Any], data: Mapping[str, Any]) -> None:
    after["turn"] = data["turn"]
    after["last_speaker_id"] = data["participant_id"]
    after["next_speaker"] = None
