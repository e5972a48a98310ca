"""What is spent of the budgets of a day."""

from datetime import UTC, datetime, time, timedelta

from app.config import BudgetSettings
from app.domain.budgets import Scope, budget_within
from app.domain.limits import Left, Spending
from app.schemas.usage import BudgetUse, UsageRead
from app.services.callers import Actor
from app.services.turns.budget import are_set, budgets_of, payers_of
from app.services.unit_of_work import UnitOfWorkFactory


class UsageService:
    """Lets people see why a discussion found no room in a budget."""

    def __init__(self, uow: UnitOfWorkFactory, settings: BudgetSettings) -> None:
        self._uow = uow
        self._settings = settings

    async def today(self, actor: Actor) -> UsageRead:
        """The caller's and the workspace's budgets, as they stand."""
        payers = payers_of(actor.workspace_id, actor.user_id)
        async with self._uow.reading(actor.workspace_id) as work:
            own = budget_within(await work.workspaces.limits_of(actor.workspace_id))
            today = await work.budgets.today(payers)
            reserved = await work.budgets.reserved(payers, today.day)

        budgets = budgets_of(self._settings, own)
        is_kept = are_set(budgets)

        def use(scope: Scope) -> BudgetUse:
            spent = today.spent.get(scope, Spending()) if is_kept else None
            return _use(budgets[scope], spent, reserved[scope])

        renews_at = datetime.combine(today.day + timedelta(days=1), time(), UTC)
        return UsageRead(day=today.day, renews_at=renews_at, user=use(Scope.USER), workspace=use(Scope.WORKSPACE))


def _use(budget: Left, spent: Spending | None, reserved: Spending) -> BudgetUse:
    return BudgetUse(
        tokens=spent.tokens if spent else None,
        cost_usd=spent.cost_usd if spent else None,
        reserved_tokens=reserved.tokens,
        reserved_cost_usd=reserved.cost_usd,
        max_tokens=budget.tokens,
        max_cost_usd=budget.cost_usd,
    )
