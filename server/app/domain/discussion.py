"""The lifecycle of a discussion: its statuses, the steps between them, and why it ends."""

from enum import StrEnum

from app.core.errors import Conflict


class Status(StrEnum):
    """`waiting`: a human or an external agent has the floor, or a human chooses who gets it; nothing runs."""

    DRAFT = "draft"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    ENDED = "ended"


class Step(StrEnum):
    """What moves a discussion: people's commands, and what happens by itself (`wait`, `go_on`, `end`)."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    INTERRUPT = "interrupt"
    STOP = "stop"
    WAIT = "wait"
    GO_ON = "go_on"
    FAIL = "fail"
    END = "end"


class EndReason(StrEnum):
    """Why a discussion ended."""

    MAX_TURNS = "max_turns"
    MAX_TOKENS = "max_tokens"
    MAX_COST = "max_cost"
    MAX_SECONDS = "max_seconds"
    STOPPED = "stopped"
    STOP_CONDITION = "stop_condition"
    FAILED = "failed"


class TurnFailurePolicy(StrEnum):
    """What follows a turn that could not be taken, after its last attempt."""

    PAUSE = "pause"
    CONTINUE = "continue"
    END = "end"


class IllegalTransition(Conflict):
    """The lifecycle forbids the step; nothing changed."""

    code = "illegal_transition"


class DiscussionEnded(Conflict):
    """Nothing more can be said."""

    code = "discussion_ended"


_ALIVE = (Status.RUNNING, Status.WAITING)
TRANSITIONS: dict[tuple[Status, Step], Status] = {
    (Status.DRAFT, Step.START): Status.RUNNING,
    (Status.PAUSED, Step.RESUME): Status.RUNNING,
    (Status.RUNNING, Step.WAIT): Status.WAITING,
    (Status.WAITING, Step.GO_ON): Status.RUNNING,
    (Status.RUNNING, Step.FAIL): Status.PAUSED,
    **{(status, step): Status.PAUSED for status in _ALIVE for step in (Step.PAUSE, Step.INTERRUPT)},
    **{(status, Step.END): Status.ENDED for status in _ALIVE},
    **{(status, Step.STOP): Status.ENDED for status in (Status.DRAFT, *_ALIVE, Status.PAUSED)},
}


def advance(current: str, step: Step) -> Status:
    """Return the status after `step`, or raise `IllegalTransition` if the lifecycle forbids it."""
    following = TRANSITIONS.get((Status(current), step))
    if following is None:
        raise IllegalTransition(f"a discussion that is {current} does not allow the step `{step}`")
    return following
