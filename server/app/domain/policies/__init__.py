"""Turn policies: who has the floor next, and why."""

from app.domain.policies.base import (
    Brief,
    Choice,
    History,
    Question,
    Seat,
    SelfDeciding,
    Spoken,
    TurnNote,
    TurnPolicy,
    longest_waiting,
)
from app.domain.policies.errors import InvalidTurnPolicy, UnknownParticipant, UnknownTurnPolicy
from app.domain.policies.references import find_seat, get_seat
from app.domain.policies.registry import POLICIES, check_policy, find_policy, make_policy, settle_policy
from app.domain.policies.round_robin import RoundRobin

__all__ = [
    "POLICIES",
    "Brief",
    "Choice",
    "History",
    "InvalidTurnPolicy",
    "Question",
    "RoundRobin",
    "Seat",
    "SelfDeciding",
    "Spoken",
    "TurnNote",
    "TurnPolicy",
    "UnknownParticipant",
    "UnknownTurnPolicy",
    "check_policy",
    "find_policy",
    "find_seat",
    "get_seat",
    "longest_waiting",
    "make_policy",
    "settle_policy",
]
