"""The lifecycle of a discussion."""

from enum import StrEnum

from app.core.errors import Conflict


class Status(StrEnum):
    """`waiting`: a human or an external agent has the floor, nothing runs."""

    DRAFT = "draft"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why a discussion ended."""

    MAX_TURNS = "max_turns"
    MAX_TOKENS = "max_tokens"
    MAX_COST = "max_cost"
    MAX_SECONDS = "max_seconds"
    STOPPED = "stopped"
    STOP_CONDITION = "stop_condition"
    FAILED = "failed"


class IllegalTransition(Conflict):
    """The lifecycle forbids the step; nothing changed."""

    code = "illegal_transition"


class DiscussionEnded(Conflict):
    """Nothing more can be said."""

    code = "discussion_ended"


_NEXT: dict[Status, frozenset[Status]] = {
    Status.DRAFT: frozenset({Status.RUNNING, Status.WAITING, Status.ENDED}),
    Status.RUNNING: frozenset({Status.WAITING, Status.PAUSED, Status.ENDED}),
    Status.WAITING: frozenset({Status.RUNNING, Status.PAUSED, Status.ENDED}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.WAITING, Status.ENDED}),
    Status.ENDED: frozenset(),
}


def advance(current: Status, target: Status) -> Status:
    """Return `target`, or raise `IllegalTransition` if the lifecycle forbids the step."""
    if target not in _NEXT[current]:
        raise IllegalTransition(f"the discussion is {current} and cannot become {target}")
    return target
