"""The attempts at one turn: which model is asked, when again, and when it is given up."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from app.core.errors import ArenaError
from app.services.ai_models import Model, ModelCatalog, UnknownModel
from app.services.live.bus import LiveBus, LiveMessage
from app.services.prompts import chat_request, prompt_tokens
from app.services.providers.base import ChatRequest, ModelContextExceeded, ModelError
from app.services.turns.course import Course
from app.services.turns.leases import ClaimLost, HeldClaim
from app.services.turns.speaking import EmptyReply, Reply, speak
from app.services.turns.table_state import AgentSeat, TableState

log = structlog.stdlib.get_logger(__name__)


class PausedBetweenAttempts(Exception):
    """A pause was asked for while nobody was speaking; `error` is what the last attempt failed with."""

    def __init__(self, error: ArenaError) -> None:
        super().__init__(error.code)
        self.error = error


@dataclass(frozen=True, slots=True)
class Spoke:
    """A turn that was taken: what was said, by which model."""

    reply: Reply
    model: Model


@dataclass(frozen=True, slots=True)
class Passed:
    """A speaker that had nothing to say, twice."""

    model: Model


class Attempts:
    """Tries the open turn until it is taken; raise the last error when it is given up."""

    def __init__(
        self,
        table: TableState,
        held: HeldClaim,
        models: ModelCatalog,
        live: LiveBus,
        limit: int,
        retry: Callable[[str], Awaitable[None]],
    ) -> None:
        self._table = table
        self._held = held
        self._models = models
        self._live = live
        self._limit = limit
        self._retry = retry

    async def run(self, agent: AgentSeat) -> Spoke | Passed:
        """`retry` is told why before each further attempt, and logs it."""
        course = Course([agent.config.model or "", *agent.config.model_fallbacks], self._limit)
        while True:
            try:
                model, request = self.ask(agent, course)
                return Spoke(await self._speak(model, request), model)
            except EmptyReply as error:
                if course.is_mute():
                    return Passed(model)
                await self._retry(error.code)
            except (ModelError, UnknownModel) as error:
                self._note(error)
                tokens = prompt_tokens(request) if isinstance(error, ModelContextExceeded) else 0
                seconds = course.after(error, tokens)
                if seconds is None:
                    raise
                await self._back_off(error, seconds)
                await self._retry(error.code)

    def ask(self, agent: AgentSeat, course: Course | None = None) -> tuple[Model, ChatRequest]:
        """The model that is due, by default the agent's first, and what it is asked now."""
        course = course or Course([agent.config.model or ""], self._limit)
        model, table = self._models.get(course.model), self._table
        brief = table.rules.brief(agent.counts_as, table.state.policy_state)
        seed = table.rules.seed + table.state.turn if isinstance(table.rules.seed, int) else None
        request = chat_request(
            model,
            agent.config.params,
            lambda budget_tokens: table.prompt_for(agent, budget_tokens, brief),
            seed=seed,
            most_prompt_tokens=course.most_prompt_tokens,
        )
        return model, request

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

    async def _back_off(self, error: ArenaError, seconds: float) -> None:
        """Wait, unless the claim is lost or a pause is wanted: nobody is speaking now."""
        try:
            async with asyncio.timeout(seconds):
                await self._held.disturbed.wait()
        except TimeoutError:
            return
        if self._held.lost.is_set():
            raise ClaimLost
        raise PausedBetweenAttempts(error)
