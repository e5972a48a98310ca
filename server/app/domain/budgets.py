"""Budgets of a day: what one person's and one workspace's discussions may spend together. Without I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.domain.discussion import EndReason
from app.domain.limits import Left, Spending


class Scope(StrEnum):
    """Whose budget; locked in this order."""

    USER = "user"
    WORKSPACE = "workspace"


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent a day; None: as much as one likes."""

    tokens: int | None = None
    cost_usd: float | None = None

    def left(self, spent: Spending, reserved: Spending) -> Left:
        """What is neither spent nor set aside for turns that run."""
        return Left(
            None if self.tokens is None else self.tokens - spent.tokens - reserved.tokens,
            None if self.cost_usd is None else self.cost_usd - spent.cost_usd - reserved.cost_usd,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """A scope's budget, what it has spent today, and what is set aside for the running turns of other discussions."""

    scope: Scope
    budget: Budget
    spent: Spending
    reserved: Spending


@dataclass(frozen=True, slots=True)
class Overdrawn:
    """Whose daily budget has no room for a turn, and which half of it.

    `is_for_now`: there is room but for what others have set aside, and they may give some of that back.
    """

    scope: Scope
    reason: EndReason
    budget: Budget
    is_for_now: bool = False

    @property
    def detail(self) -> str:
        """For the people of the discussion."""
        whose = "the person who opened this discussion" if self.scope == Scope.USER else "this workspace"
        most = f"{self.budget.tokens:,} tokens" if self.reason == EndReason.MAX_TOKENS else f"${self.budget.cost_usd:g}"
        return f"the daily budget of {whose} ({most}) has no room for another turn; it renews at midnight UTC"


def overdrawn(accounts: Iterable[Account], worst_case: Spending) -> Overdrawn | None:
    """The first budget that such a turn might break, None if it fits them all; one for good before one for now."""
    for_now: Overdrawn | None = None
    for account in accounts:
        reason = account.budget.left(account.spent, Spending()).lacks(worst_case)
        if reason is not None:
            return Overdrawn(account.scope, reason, account.budget)
        reason = account.budget.left(account.spent, account.reserved).lacks(worst_case)
        if reason is not None and for_now is None:
            for_now = Overdrawn(account.scope, reason, account.budget, is_for_now=True)
    return for_now
