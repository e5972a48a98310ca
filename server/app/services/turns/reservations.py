"""Room for what comes next: what limits leave, and what is set aside in the budgets of the day."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from app.domain import events
from app.domain.budgets import DailyLimit, Funds
from app.domain.limits import Left, Spending
from app.services.turns.budget import NOTHING, TurnBudget
from app.services.turns.leases import HeldClaim, PausedBetweenAttempts
from app.services.turns.ledger import Decision, Ledger
from app.services.turns.requests import TurnRequests
from app.services.turns.room import NoRoom
from app.services.turns.table_state import AgentSeat, TableState

# For others' turns to end that have taken the rest of a budget of the day.
ROOM_SECONDS, LOOK_SECONDS = 10.0, 0.5


class OutOfBudget(Exception):
    """A budget of the day has no room for the turn, however short."""

    def __init__(self, limit: DailyLimit) -> None:
        super().__init__(limit.detail)
        self.limit = limit


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
        # What budgets of the day leave for the open turn, where it is the last one for that.
        self._allowed: Left | None = None

    def left(self) -> Left | None:
        """What the open turn may spend; None where nothing bounds that."""
        left = self._left_by_limits()
        return self._allowed.within(left) if self._allowed is not None else left

    def _left_by_limits(self) -> Left | None:
        return self._table.left(self._table.state)

    async def affords(self, worst: Callable[[], Spending]) -> bool:
        """Whether limits and budgets leave that much for questions to models; it is then set aside."""
        left = self._left_by_limits()
        if left is not None and left.lacks(worst()) is not None:
            return False
        if self._budget is None:
            return True
        _, lacking = await self._budget.reserve(worst(), self._budget.kept)
        return lacking is None

    async def reserve(self, agent: AgentSeat) -> None:
        """Set aside the worst case of the agent's open turn and a short one after it, or that of the turn as the last.

        What others have set aside is waited for a while, since much of it comes back when their turns are over. Raise
        `OutOfBudget` if nothing of use fits.
        """
        if self._budget is None:
            return
        self._allowed = None
        whole, began = self._requests.dearest(agent, self._left_by_limits()), perf_counter()
        closing = self._requests.closing(agent) if self._may_go_on() else NOTHING
        while True:
            funds, lacking = await self._budget.reserve(whole, closing)
            if lacking is None:
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

    def _may_go_on(self) -> bool:
        state = self._table.state
        return state.wrap_up is None and state.turn + 1 < self._table.rules.limits.turns

    async def _reserve_last(self, budget: TurnBudget, agent: AgentSeat, funds: Funds, limit: DailyLimit) -> bool:
        """Set aside as much of the turn as fits, and announce that it is the last; False if others were faster."""
        left = funds.left.within(self._left_by_limits())
        _, lacking = await budget.reserve(self._requests.dearest(agent, left, is_last=True))
        if lacking is None:
            self._allowed = left
            if self._table.state.wrap_up is None:
                await self._ledger.write(lambda: self._announce_last(funds, limit))
        return lacking is None

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
