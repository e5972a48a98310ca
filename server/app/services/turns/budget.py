"""A discussion's part in the budgets of a day: room is set aside before a turn, and settled with its commit.

Where no budget is set nothing here is called and no statement is sent.
"""

from dataclasses import dataclass, field
from uuid import UUID

from app.config import BudgetSettings
from app.domain.budgets import Account, Funds, Overdrawn, Scope
from app.domain.discussion import Status
from app.domain.limits import UNLIMITED, Left, Spending
from app.repositories.budgets import Payers
from app.repositories.turns import Claim, TurnState
from app.services.turns.leases import ClaimLost
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


def budgets_of(settings: BudgetSettings, own: Left) -> dict[Scope, Left]:
    """Each scope's budget, as the operator has set it; the workspace's within what it has set itself."""
    return {
        Scope.USER: Left(settings.user_tokens_per_day, settings.user_usd_per_day),
        Scope.WORKSPACE: Left(settings.workspace_tokens_per_day, settings.workspace_usd_per_day).within(own),
    }


def are_set(budgets: dict[Scope, Left]) -> bool:
    """Whether anything limits what is spent, so that it must be kept."""
    return any(budget != UNLIMITED for budget in budgets.values())


def payers_of(workspace_id: UUID, created_by: UUID | None) -> Payers:
    """Who pays for a discussion: its workspace, and its creator while there is one."""
    return {Scope.WORKSPACE: workspace_id} | ({Scope.USER: created_by} if created_by is not None else {})


@dataclass(slots=True)
class TurnBudget:
    """The budgets that one driver's discussion draws on, and what it has set aside in them."""

    uow: UnitOfWorkFactory
    budgets: dict[Scope, Left]
    claim: Claim
    payers: Payers
    _reserved: Spending | None = None
    _kept: Spending = field(default_factory=Spending)

    async def reserve(self, worst_case: Spending, keep: Spending) -> tuple[Funds, Overdrawn | None]:
        """Set aside the worst case of what comes next, and what is to be kept after it, or say whose budget lacks it.

        Raise `ClaimLost` if the discussion is another driver's by now.
        """
        claim = self.claim
        async with self.uow(claim.workspace_id) as work:
            today = await work.budgets.lock(self.payers)
            reserved = await work.budgets.reserved(self.payers, today.day, but=claim.discussion_id)
            accounts = [
                Account(scope, self.budgets[scope], today.spent[scope], reserved[scope])
                for scope in Scope
                if scope in self.payers
            ]
            funds = Funds(today.day, accounts)
            lacking = funds.overdrawn(worst_case + keep)
            if lacking is None and not await work.budgets.reserve(
                claim.discussion_id, claim.epoch, self.payers, today.day, worst_case + keep
            ):
                raise ClaimLost
        if lacking is None:
            self._reserved, self._kept = worst_case + keep, keep
        return funds, lacking

    @property
    def most(self) -> Left:
        """What all of them leave of a day on which nothing is spent."""
        most = Left()
        for scope in self.payers:
            most = most.within(self.budgets[scope])
        return most

    async def reserved_before(self) -> Spending | None:
        """What a driver before has set aside for the discussion, None if nothing."""
        async with self.uow.reading(self.claim.workspace_id) as work:
            return await work.budgets.reserved_by(self.claim.discussion_id)

    async def settle(self, work: UnitOfWork, before: TurnState, after: TurnState) -> None:
        """In the transaction that writes `after`: charge what was spent since `before`, give the rest back."""
        spent = _spent_between(before, after)
        rest = self._rest(spent, before, after)
        await work.budgets.settle(self.claim.discussion_id, self.payers, spent, rest)
        self._reserved = rest

    def _rest(self, spent: Spending, before: TurnState, after: TurnState) -> Spending | None:
        """What stays set aside; None: all of it, which a driver before has set aside."""
        if after.status not in {Status.RUNNING, Status.WAITING}:
            return Spending()
        if self._reserved is None:
            return None
        goes_on = after.turn_message_id is not None and after.turn_message_id == before.turn_message_id
        return (self._reserved - spent).at_least(self._kept) if goes_on else self._kept


def _spent_between(before: TurnState, after: TurnState) -> Spending:
    tokens = after.prompt_tokens + after.completion_tokens - before.prompt_tokens - before.completion_tokens
    return Spending(tokens=tokens, cost_usd=after.cost_usd - before.cost_usd)
