"""A discussion's part in the budgets of a day: room is set aside before a turn, and settled with its commit.

Where no budget is set nothing here is called and no statement is sent.
"""

from dataclasses import dataclass
from uuid import UUID

from app.config import BudgetSettings
from app.domain.budgets import Account, Budget, Overdrawn, Scope, overdrawn
from app.domain.limits import Spending
from app.repositories.budgets import Payers
from app.repositories.turns import Claim, TurnState
from app.services.turns.leases import ClaimLost
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


def budgets_of(settings: BudgetSettings) -> dict[Scope, Budget]:
    """Each scope's budget, as the operator has set it."""
    return {
        Scope.USER: Budget(settings.user_tokens_per_day, settings.user_usd_per_day),
        Scope.WORKSPACE: Budget(settings.workspace_tokens_per_day, settings.workspace_usd_per_day),
    }


def payers_of(workspace_id: UUID, created_by: UUID | None) -> Payers:
    """Who pays for a discussion: its workspace, and its creator while there is one."""
    return {Scope.WORKSPACE: workspace_id} | ({Scope.USER: created_by} if created_by is not None else {})


@dataclass(frozen=True, slots=True)
class TurnBudget:
    """The budgets that one driver's discussion draws on."""

    uow: UnitOfWorkFactory
    budgets: dict[Scope, Budget]
    claim: Claim
    payers: Payers

    async def reserve(self, worst_case: Spending) -> Overdrawn | None:
        """Set aside the worst case of what comes next, or say whose budget has no room for it.

        Raise `ClaimLost` if the discussion is another driver's by now.
        """
        async with self.uow(self.claim.workspace_id) as work:
            today = await work.budgets.lock(self.payers)
            reserved = await work.budgets.reserved(self.payers, today.day, but=self.claim.discussion_id)
            accounts = [
                Account(scope, self.budgets[scope], today.spent[scope], reserved[scope])
                for scope in Scope
                if scope in self.payers
            ]
            lacking = overdrawn(accounts, worst_case)
            if lacking is None:
                claim = self.claim
                is_ours = await work.budgets.reserve(
                    claim.discussion_id, claim.epoch, self.payers, today.day, worst_case
                )
                if not is_ours:
                    raise ClaimLost
        return lacking

    async def settle(self, work: UnitOfWork, before: TurnState, after: TurnState) -> None:
        """In the transaction that writes `after`: charge what was spent since `before`, give the rest back."""
        await work.budgets.settle(self.claim.discussion_id, self.payers, _spent_between(before, after))


def _spent_between(before: TurnState, after: TurnState) -> Spending:
    tokens = after.prompt_tokens + after.completion_tokens - before.prompt_tokens - before.completion_tokens
    return Spending(tokens=tokens, cost_usd=after.cost_usd - before.cost_usd)
