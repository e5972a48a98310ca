"""Turn policies: who has the floor next, and why."""

from collections.abc import Callable, Mapping
from typing import Any

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
)
from app.domain.policies.round_robin import RoundRobin

POLICIES: dict[str, Callable[[Mapping[str, Any]], TurnPolicy]] = {"round_robin": RoundRobin}
# The script is the promise there, and a script is finite.
KEEPS_ITS_ORDER = frozenset({"scripted"})

__all__ = [
    "KEEPS_ITS_ORDER",
    "POLICIES",
    "Brief",
    "Choice",
    "History",
    "Question",
    "RoundRobin",
    "Seat",
    "SelfDeciding",
    "Spoken",
    "TurnNote",
    "TurnPolicy",
]
