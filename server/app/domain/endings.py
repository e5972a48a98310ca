"""Why a discussion ends: a stop condition, a limit, or somebody's budget of the day."""

from dataclasses import dataclass

from app.domain.budgets import DAILY_LIMITS, DailyLimit
from app.domain.discussion import EndReason
from app.domain.limits import Limits, Spending


@dataclass(frozen=True, slots=True)
class Ending:
    """`detail` is for the people of the discussion, None where the reason says all."""

    reason: EndReason
    detail: str | None = None


POLICY_IS_OVER = Ending(EndReason.STOP_CONDITION, "the turn policy has come to its end")


def announced_ending(wrap_up: str) -> Ending:
    """The end after the wrap-up turn: `wrap_up` is a reason to end, or the name of a `DailyLimit`."""
    if wrap_up in DAILY_LIMITS:
        limit = DailyLimit(wrap_up)
        return Ending(limit.reason, limit.detail)
    return Ending(EndReason(wrap_up))


def find_ending(limits: Limits, used: Spending, wrap_up: str | None, met: str | None = None) -> Ending | None:
    """Why the discussion ends after the turn that is over, None if more may follow.

    A stop condition that is `met` comes first, then the limit that the turn was the last one for.
    """
    if met is not None:
        return Ending(EndReason.STOP_CONDITION, met)
    if wrap_up is not None:
        return announced_ending(wrap_up)
    reason = limits.over(used)
    return Ending(reason) if reason is not None else None
