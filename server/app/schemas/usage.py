"""Wire types of what is spent of the budgets of a day."""

from datetime import date

from pydantic import Field

from app.schemas.base import Moment, Read


class BudgetUse(Read):
    """What was spent today, and what is set aside for turns that run now; a limit that is null does not exist.

    Spending is kept while the operator or the workspace has set any budget; else it is null.
    """

    tokens: int | None
    cost_usd: float | None
    reserved_tokens: int
    reserved_cost_usd: float
    max_tokens: int | None
    max_cost_usd: float | None


class UsageRead(Read):
    """The budgets of the day (UTC, by the database's clock)."""

    day: date
    renews_at: Moment
    user: BudgetUse = Field(description="Of all discussions that the caller opened, in whatever workspace.")
    workspace: BudgetUse = Field(description="Of all discussions of the workspace, whoever opened them.")
