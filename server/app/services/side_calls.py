"""Calls of models beside turns, which the budgets of a day pay for like turns.

Always holds: what a call may take at worst is spent before it is made, and what it did not take is given back after it,
so that calls at the same time cannot spend more together than there is. One that a crash cuts is paid for in full.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from app.config import BudgetSettings
from app.core.background import Errands
from app.core.errors import Conflict
from app.core.json_schema import Schema
from app.domain.budgets import Account, Funds, Scope, budget_within
from app.domain.limits import Spending
from app.domain.usage import Took
from app.repositories.budgets import Payers
from app.services.ai_models import Model
from app.services.asking import Answer, ask
from app.services.providers.base import ChatRequest, ModelError
from app.services.structured import AnswerUnfit, Structured, ask_structured, say_schema
from app.services.turns.budget import are_set, budgets_of, payers_of
from app.services.turns.room import worst_case
from app.services.unit_of_work import UnitOfWorkFactory

MOST_TRIES = 3
"""Of a structured answer: with the schema, with it in words, and mended."""


class NoBudgetLeft(Conflict):
    """A budget of the day has no room for the call."""

    code = "no_budget_left"


@dataclass(frozen=True, slots=True)
class Paid:
    """What was spent in advance, on that day."""

    payers: Payers
    day: date
    worst_case: Spending


@dataclass(slots=True)
class Bill:
    """What calls took, once it is known; None: all that was paid."""

    took: Took | None = None


class SideCalls:
    """Asks models for what no turn waits for."""

    def __init__(self, uow: UnitOfWorkFactory, settings: BudgetSettings) -> None:
        self._uow = uow
        self._settings = settings
        self._errands = Errands()

    async def ask(self, workspace_id: UUID, created_by: UUID | None, model: Model, request: ChatRequest) -> Answer:
        """The whole reply; raise `NoBudgetLeft`, or a `ModelError` as `ask` does, with what was used paid for."""
        async with self.paying(workspace_id, created_by, worst_case(model, request)) as bill:
            try:
                bill.took = answer = await ask(model, request)
            except ModelError as error:
                bill.took = error.used
                raise
        return answer

    async def ask_structured(
        self, workspace_id: UUID, created_by: UUID | None, model: Model, request: ChatRequest, schema: Schema
    ) -> Structured:
        """An answer of that form; raise `NoBudgetLeft`, a `ModelError` or `AnswerUnfit`; what was used is paid for."""
        async with self.paying(workspace_id, created_by, worst_of_tries(model, request, schema)) as bill:
            try:
                bill.took = answer = await ask_structured(model, request, schema)
            except (ModelError, AnswerUnfit) as error:
                bill.took = error.used
                raise
        return answer

    @asynccontextmanager
    async def paying(self, workspace_id: UUID, created_by: UUID | None, worst: Spending) -> AsyncIterator[Bill]:
        """Calls in the block are paid for, and what they did not take is given back, also if the block is cut.

        Raise `NoBudgetLeft` before it.
        """
        paid = await self._pay(workspace_id, payers_of(workspace_id, created_by), worst)
        bill = Bill()
        try:
            yield bill
        finally:
            if paid is not None and bill.took is not None:
                # Whoever has left must not keep it from being given back.
                await asyncio.shield(self._errands.begin(self._give_back(workspace_id, paid, bill.took)))

    async def close(self) -> None:
        """Wait until all is given back."""
        await self._errands.finish()

    async def _pay(self, workspace_id: UUID, payers: Payers, worst: Spending) -> Paid | None:
        """None where no budget is set."""
        async with self._uow(workspace_id) as work:
            budgets = budgets_of(self._settings, budget_within(await work.workspaces.limits_of(workspace_id)))
            if not are_set(budgets):
                return None
            today = await work.budgets.lock(payers)
            reserved = await work.budgets.reserved(payers, today.day)
            accounts = [Account(one, budgets[one], today.spent[one], reserved[one]) for one in Scope if one in payers]
            lacking = Funds(today.day, accounts).overdrawn(worst)
            if lacking is not None:
                raise NoBudgetLeft(f"{lacking.limit} has no room for this call; it renews at midnight UTC")
            await work.budgets.charge(payers, today.day, worst)
        return Paid(payers, today.day, worst)

    async def _give_back(self, workspace_id: UUID, paid: Paid, took: Took) -> None:
        tokens = took.prompt_tokens + took.completion_tokens - paid.worst_case.tokens
        rest = Spending(tokens=tokens, cost_usd=took.cost_usd - paid.worst_case.cost_usd)
        async with self._uow(workspace_id) as work:
            await work.budgets.charge(paid.payers, paid.day, rest)


def worst_of_tries(model: Model, request: ChatRequest, schema: Schema) -> Spending:
    """Of all tries, the later of which hold the answers before them and what is wrong with these."""
    one = worst_case(model, say_schema(request, schema), more_tokens=2 * (request.max_tokens or 0))
    return Spending(tokens=MOST_TRIES * one.tokens, cost_usd=MOST_TRIES * one.cost_usd)
