"""Budgets of a day: what one person's and one workspace's discussions may spend together. Without I/O."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from app.domain.discussion import EndReason
from app.domain.limits import Left, LimitUse, Spending


class Scope(StrEnum):
    """Whose budget; locked in this order."""

    USER = "user"
    WORKSPACE = "workspace"


class DailyLimit(StrEnum):
    """One number of one scope's budget, by the name that the operator sets it by."""

    USER_TOKENS = "user_tokens_per_day"
    USER_USD = "user_usd_per_day"
    WORKSPACE_TOKENS = "workspace_tokens_per_day"
    WORKSPACE_USD = "workspace_usd_per_day"

    @classmethod
    def of(cls, scope: Scope, reason: EndReason) -> "DailyLimit":
        return cls(f"{scope}_{'tokens' if reason == EndReason.MAX_TOKENS else 'usd'}_per_day")

    @property
    def reason(self) -> EndReason:
        """How a discussion ends for which there is no room."""
        is_tokens = self in {DailyLimit.USER_TOKENS, DailyLimit.WORKSPACE_TOKENS}
        return EndReason.MAX_TOKENS if is_tokens else EndReason.MAX_COST

    @property
    def detail(self) -> str:
        """The same, for the people of the discussion."""
        what = "tokens" if self.reason == EndReason.MAX_TOKENS else "dollars"
        is_users = self in {DailyLimit.USER_TOKENS, DailyLimit.USER_USD}
        whose = "the person who opened this discussion" if is_users else "this workspace"
        return f"the daily budget of {what} of {whose} has no room for another turn; it renews at midnight UTC"


DAILY_LIMITS = frozenset(limit.value for limit in DailyLimit)


def budget_within(limits: Mapping[str, Any]) -> Left:
    """The budget that a workspace has set itself, of its `limits` as they are kept."""
    return Left(limits.get("tokens_per_day"), limits.get("usd_per_day"))


def anew_after_pause(wrap_up: str | None) -> str | None:
    """What the turn is still the last one for after a pause, in which a budget of a day may have renewed."""
    return None if wrap_up in DAILY_LIMITS else wrap_up


@dataclass(frozen=True, slots=True)
class Account:
    """A scope's budget, what it has spent today, and what is set aside for the running turns of other discussions."""

    scope: Scope
    budget: Left
    spent: Spending
    reserved: Spending

    @property
    def left(self) -> Left:
        """What is neither spent nor set aside."""
        return self.budget.without(self.spent).without(self.reserved)

    def used(self) -> Iterator[LimitUse]:
        if self.budget.tokens is not None:
            yield LimitUse(DailyLimit.of(self.scope, EndReason.MAX_TOKENS), self.spent.tokens, self.budget.tokens)
        if self.budget.cost_usd is not None:
            dollars = round(self.spent.cost_usd, 8)
            yield LimitUse(DailyLimit.of(self.scope, EndReason.MAX_COST), dollars, self.budget.cost_usd)


@dataclass(frozen=True, slots=True)
class Overdrawn:
    """The number of a budget that leaves no room for a turn.

    `is_for_now`: there is room but for what others have set aside, and they may give some of that back.
    """

    limit: DailyLimit
    is_for_now: bool = False


@dataclass(frozen=True, slots=True)
class Funds:
    """All the budgets that a discussion draws on, as they stand on a day."""

    day: date
    accounts: Sequence[Account]

    def overdrawn(self, worst_case: Spending) -> Overdrawn | None:
        """The first budget that such a turn might break, None if it fits them all; one for good before one for now."""
        for_now: Overdrawn | None = None
        for account in self.accounts:
            reason = account.budget.without(account.spent).lacks(worst_case)
            if reason is not None:
                return Overdrawn(DailyLimit.of(account.scope, reason))
            reason = account.left.lacks(worst_case)
            if reason is not None and for_now is None:
                for_now = Overdrawn(DailyLimit.of(account.scope, reason), is_for_now=True)
        return for_now

    @property
    def left(self) -> Left:
        """What all of them leave."""
        left = Left()
        for account in self.accounts:
            left = left.within(account.left)
        return left

    @property
    def may_grow(self) -> bool:
        """Whether others have set something aside, some of which may come back."""
        return any(account.reserved.tokens or account.reserved.cost_usd for account in self.accounts)

    def warnings(self, warned: Collection[str]) -> list[LimitUse]:
        """The budgets that are used to four fifths by now and were not warned of yet that day."""
        used = [one for account in self.accounts for one in account.used()]
        return [one for one in used if one.is_near and self.mark(one.limit) not in warned]

    def of(self, limit: DailyLimit) -> LimitUse:
        """How much of it is used."""
        return next(one for account in self.accounts for one in account.used() if one.limit == limit)

    def mark(self, limit: str) -> str:
        """What is noted of a warning, since a budget is warned of once a day."""
        return f"{limit} {self.day}"


def marks_in(warned: Iterable[str]) -> list[str]:
    """The marks of budgets of a day among what was warned of."""
    return [mark for mark in warned if mark.partition(" ")[0] in DAILY_LIMITS]
