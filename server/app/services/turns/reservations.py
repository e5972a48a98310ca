"""Room for what comes next: what limits leave, and what is set aside in the budgets of the day."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from app.domain import events
from app.domain.budgets import DailyLimit, Funds
from app.domain.discussion import EndReason
from app.domain.limits import Left, Spending
from app.domain.usage import Used
from app.services.ai_models import Model, UnknownModel
from app.services.providers.base import ChatRequest
from app.services.turns.budget import TurnBudget
from app.services.turns.course import Course
from app.services.turns.leases import HeldClaim, PausedBetweenAttempts
from app.services.turns.ledger import Decision, Ledger
from app.services.turns.requests import TurnRequests
from app.services.turns.room import NoRoom, worst_case
from app.services.turns.structure import Structure
from app.services.turns.table_state import AgentSeat, TableState

# For others' turns to end that have taken the rest of a budget of the day.
ROOM_SECONDS, LOOK_SECONDS = 10.0, 0.5


class OutOfBudget(Exception):
    """A budget of the day has no room for the turn, however short; `reason` names it."""

    def __init__(self, reason: DailyLimit) -> None:
        super().__init__(reason.detail)
        self.reason = reason


class Reservations:
    """What one discussion's turns and questions may spend; without a budget only its limits count."""

    def __init__(
        self,
        table: TableState,
        ledger: Ledger,
        held: HeldClaim,
        requests: TurnRequests,
        budget: TurnBudget | None,
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._held = held
        self._requests = requests
        self._budget = budget
        # What is set aside in the budgets of the day for the open turn.
        self._allowed: Left | None = None

    async def fit(self, agent: AgentSeat, course: Course) -> tuple[Model, ChatRequest]:
        """The model that is due and what it is asked, as the last turn where a limit may have no room for another.

        Raise `NoRoom` where nothing of use fits.
        """
        left = self._table.left(self._table.state)
        if left is not None and self._may_go_on():
            model, request = self._requests.ask(agent, self._allowed, course)
            closing = self._requests.closing().at_least(self._requests.closing_of(agent, model))
            lacking = left.without(closing).lacks(worst_case(model, request))
            if lacking is None:
                return model, request
            self._requests.ask(agent, left.within(self._allowed), course, is_last=True)
            await self._ledger.write(lambda: self._announce_last_of_limit(lacking))
        return self._requests.ask(agent, self._left(), course)

    def _left(self) -> Left | None:
        """What the open turn may spend; None where nothing bounds that."""
        left = self._table.left(self._table.state)
        return self._allowed.within(left) if self._allowed is not None else left

    async def left_before(self) -> Left | None:
        """What the attempt of a driver before could use at most."""
        left = self._table.left(self._table.state)
        reserved = await self._budget.reserved_before() if self._budget is not None else None
        return Left(reserved.tokens, reserved.cost_usd).within(left) if reserved is not None else left

    def short_of(self, agent: AgentSeat, used: Spending, unheard_tokens: int) -> EndReason | None:
        """Which limit has room for one turn of that agent and no more; raise `NoRoom` if not even for a short one.

        `used` does not hold what was just said, of so many tokens.
        """
        left = self._table.rules.limits.left(used)
        if left is None:
            return None
        try:
            worst = self._requests.usual(agent, unheard_tokens)
            lacking = left.lacks(worst)
            if lacking is not None:
                self._requests.dearest(agent, left, is_last=True)
                return lacking
            return left.without(worst).lacks(self._requests.closing())
        except UnknownModel:
            # The turn itself will fail for this, and say so.
            return None

    async def affords(self, worst: Callable[[], Spending]) -> bool:
        """Whether limits and budgets leave that much for questions to models beside a turn; it is then set aside."""
        left, closing = self._table.left(self._table.state), self._requests.closing()
        if left is not None and left.lacks(worst() + closing) is not None:
            return False
        if self._budget is None:
            return True
        _, lacking = await self._budget.reserve(worst(), closing)
        return lacking is None

    def structure_of(self, agent: AgentSeat) -> Structure | None:
        """The form of the agent's messages, None if it has none."""
        return self._requests.structure_of(agent)

    async def affords_round(self, model: Model, request: ChatRequest, took: Used) -> bool:
        """Whether there is room for a further call in the attempt that has used so much; it is then set aside."""
        spent = Spending(tokens=took.prompt_tokens + took.completion_tokens, cost_usd=took.cost_usd)
        worst = spent + worst_case(model, request)
        closing = self._requests.closing() if self._may_go_on() else Spending()
        left = self._table.left(self._table.state)
        if left is not None and left.lacks(worst + closing) is not None:
            return False
        if self._budget is None:
            return True
        _, lacking = await self._budget.reserve(worst, closing)
        if lacking is None:
            self._allowed = Left(worst.tokens, worst.cost_usd)
        return lacking is None

    async def reserve(self, agent: AgentSeat) -> None:
        """Set aside the worst case of the agent's open turn and a short one after it, or that of the turn as the last.

        What others have set aside is waited for a while, since much of it comes back when their turns are over. Raise
        `OutOfBudget` if nothing of use fits.
        """
        if self._budget is None:
            return
        whole, began = self._requests.dearest(agent, self._table.left(self._table.state)), perf_counter()
        closing = self._requests.closing() if self._may_go_on() else Spending()
        while True:
            funds, lacking = await self._budget.reserve(whole, closing)
            if lacking is None:
                self._allowed = Left(whole.tokens, whole.cost_usd)
                await self._warn(funds)
                return
            is_late = perf_counter() - began >= ROOM_SECONDS
            if is_late or not lacking.is_for_now:
                try:
                    if await self._reserve_last(self._budget, agent, funds, lacking.limit):
                        return
                    continue  # others were faster, and less is left by now
                except NoRoom:
                    if is_late or not funds.may_grow:
                        raise OutOfBudget(lacking.limit) from None
            if not await self._held.rest(LOOK_SECONDS):
                raise PausedBetweenAttempts

    async def _reserve_last(self, budget: TurnBudget, agent: AgentSeat, funds: Funds, limit: DailyLimit) -> bool:
        """Set aside as much of the turn as fits, and announce that it is the last; False if others were faster."""
        left = funds.left.within(self._table.left(self._table.state))
        self._requests.dearest(agent, left, is_last=True)
        whole = self._requests.dearest(agent, None, is_last=True)
        allowed = whole.within(left)
        _, lacking = await budget.reserve(allowed, Spending())
        if lacking is None:
            self._allowed = Left(allowed.tokens, allowed.cost_usd)
            if self._table.state.wrap_up is None:
                await self._ledger.write(lambda: self._announce_last(funds, limit))
        return lacking is None

    def _may_go_on(self) -> bool:
        """Whether a turn may follow the one that is open."""
        state = self._table.state
        return state.wrap_up is None and state.turn + 1 < self._table.rules.limits.turns

    def _announce_last_of_limit(self, reason: EndReason) -> Decision:
        state = self._table.state
        use = self._table.rules.limits.use_of(reason, self._table.spent(state))
        marked = replace(state, wrap_up=reason.value, warned=(*state.warned, use.limit))
        return Decision(marked, [events.limit_warning(use, is_last=True)])

    def _announce_last(self, funds: Funds, limit: DailyLimit) -> Decision:
        state = self._table.state
        marked = replace(state, wrap_up=limit.value, warned=(*state.warned, funds.mark(limit)))
        return Decision(marked, [events.limit_warning(funds.of(limit), is_last=True)])

    async def _warn(self, funds: Funds) -> None:
        """Warn of budgets that are nearly used."""
        if funds.warnings(self._table.state.warned):
            await self._ledger.write(lambda: self._warned(funds))

    def _warned(self, funds: Funds) -> Decision:
        state = self._table.state
        near = funds.warnings(state.warned)
        marked = replace(state, warned=(*state.warned, *(funds.mark(one.limit) for one in near)))
        return Decision(marked, [events.limit_warning(one) for one in near])
