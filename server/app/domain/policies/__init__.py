"""Turn policies: who has the floor next, and why."""

from app.domain.policies.base import Choice, History, Seat, TurnPolicy
from app.domain.policies.round_robin import RoundRobin

POLICIES: dict[str, type[TurnPolicy]] = {"round_robin": RoundRobin}

__all__ = ["POLICIES", "Choice", "History", "RoundRobin", "Seat", "TurnPolicy"]
