"""The attempts at one turn: which model is asked, when again, and when it is given up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from app.core.errors import ArenaError
from app.domain.limits import Left, Spending
from app.domain.usage import Used
from app.services.ai_models import Model, ModelCatalog, UnknownModel
from app.services.live.bus import LiveBus, LiveMessage
from app.services.prompts import prompt_tokens
from app.services.providers.base import ChatRequest, ModelContextExceeded, ModelError
from app.services.turns.course import Course
from app.services.turns.leases import HeldClaim
from app.services.turns.requests import turn_request
from app.services.turns.room import NoRoom, worst_case
from app.services.turns.speaking import EmptyReply, Reply, speak
from app.services.turns.table_state import AgentSeat, TableState

log = structlog.stdlib.get_logger(__name__)


class PausedBetweenAttempts(Exception):
    """A pause was asked for while nobody was speaking.

    `error` is what the last attempt failed with, None if that is logged already or there was none.
    """

    def __init__(self, error: ArenaError | None = None) -> None:
        super().__init__(error.code if error else "not begun")
        self.error = error


@dataclass(frozen=True, slots=True)
class Spoke:
    """A turn that was taken: what was said, by which model."""

    reply: Reply
    model: Model


@dataclass(frozen=True, slots=True)
class Passed:
    """A speaker that had nothing to say, twice; `used` is what the second time took."""

    model: Model
    used: Used


class Attempts:
    """Tries the open turn until it is taken; raise the last error when it is given up."""

    def __init__(
        self,
        table: TableState,
        held: HeldClaim,
        models: ModelCatalog,
        live: LiveBus,
        limit: int,
        retry: Callable[[AgentSeat, ArenaError], Awaitable[None]],
    ) -> None:
        self._table = table
        self._held = held
        self._models = models
        self._live = live
        self._limit = limit
        self._retry = retry

    async def run(self, agent: AgentSeat) -> Spoke | Passed:
        """`retry` is told before each further attempt what the last one failed with, and logs it."""
        course = Course([agent.config.model or "", *agent.config.model_fallbacks], self._limit)
        while True:
            try:
                model, request = self.ask(agent, self._table.left(self._table.state), course)
                return Spoke(await self._speak(model, request), model)
            except EmptyReply as error:
                if course.is_mute():
                    return Passed(model, error.used)
                await self._retry(agent, error)
            except (ModelError, UnknownModel) as error:
                self._note(error)
                tokens = prompt_tokens(request) if isinstance(error, ModelContextExceeded) else 0
                seconds = course.after(error, tokens)
                if seconds is None:
                    raise
                if not await self._held.rest(seconds):  # nobody is speaking now
                    raise PausedBetweenAttempts(error) from None
                await self._retry(agent, error)

    def ask(
        self, agent: AgentSeat, left: Left | None = None, course: Course | None = None
    ) -> tuple[Model, ChatRequest]:
        """The model that is due, by default the agent's first, and what it is asked now.

        It is asked for less than usual where only that fits what is `left`; raise `NoRoom` where nothing of use fits.
        """
        course = course or Course([agent.config.model or ""], self._limit)
        model = self._models.get(course.model)
        return model, turn_request(self._table, agent, model, left, course.most_prompt_tokens)

    def dearest(self, agent: AgentSeat) -> Spending:
        """The worst case of the turn, whichever of the agent's models comes to take it.

        A model that is not there, or that nothing of use is left for, takes none; raise what keeps the first from it
        if that is all of them.
        """
        left = self._table.left(self._table.state)
        cases: list[Spending] = []
        problems: list[UnknownModel | NoRoom] = []
        for name in [agent.config.model or "", *agent.config.model_fallbacks]:
            try:
                cases.append(worst_case(*self.ask(agent, left, Course([name], 1))))
            except (UnknownModel, NoRoom) as problem:
                problems.append(problem)
        if not cases:
            raise problems[0]
        return Spending(tokens=max(one.tokens for one in cases), cost_usd=max(one.cost_usd for one in cases))

    async def _speak(self, model: Model, request: ChatRequest) -> Reply:
        state = self._table.state
        assert state.turn_message_id is not None
        message = LiveMessage(self._held.claim.discussion_id, state.turn_message_id, state.turn + 1, state.turn_attempt)
        try:
            return await speak(model, request, message, self._live, self._held)
        finally:
            message.closed = True

    def _note(self, error: ArenaError) -> None:
        state = self._table.state
        log.warning("turn_attempt_failed", turn=state.turn + 1, attempt=state.turn_attempt, code=error.code)
