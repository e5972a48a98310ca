"""The attempts at one turn: which model is asked, when again, and when it is given up."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

import structlog

from app.domain.limits import Left
from app.services.ai_models import Model, ModelCatalog
from app.services.live.bus import LiveBus, LiveMessage
from app.services.prompts import chat_request
from app.services.providers.base import ChatRequest, ModelError, ModelRateLimited
from app.services.turns.leases import ClaimLost, HeldClaim
from app.services.turns.room import fit
from app.services.turns.speaking import EmptyReply, Reply, speak
from app.services.turns.table_state import AgentSeat, TableState

log = structlog.stdlib.get_logger(__name__)

BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0


class PausedBetweenAttempts(Exception):
    """A pause was asked for while nobody was speaking; `error` is what the last attempt failed with."""

    def __init__(self, error: ModelError) -> None:
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
    """Tries the open turn until it is taken; raise a `ModelError` when it is given up."""

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
        empty_replies = 0
        for own_attempt in count(1):
            model, request = self.ask(agent, self._table.left(self._table.state))
            try:
                return Spoke(await self._speak(model, request), model)
            except EmptyReply as error:
                empty_replies += 1
                if empty_replies == 2:
                    return Passed(model)
                await self._retry(error.code)
            except ModelError as error:
                self._note(error)
                if not error.retryable or own_attempt >= self._limit:
                    raise
                await self._back_off(error, own_attempt)
                await self._retry(error.code)
        raise AssertionError("the loop above has no end")

    def ask(self, agent: AgentSeat, left: Left | None = None) -> tuple[Model, ChatRequest]:
        """The agent's model, and what it is asked now: less than usual where only that fits what is `left`.

        Raise `NoRoom` where nothing of use fits.
        """
        model, table = self._models.get(agent.config.model or ""), self._table
        brief = table.rules.brief(agent.counts_as, table.state.policy_state)
        seed = table.rules.seed + table.state.turn if isinstance(table.rules.seed, int) else None
        is_last, usual = table.state.wrap_up is not None, agent.config.params

        def make(reply_tokens: int, prompt_tokens: int | None) -> ChatRequest:
            shorter = reply_tokens < usual.max_tokens
            return chat_request(
                model,
                usual.model_copy(update={"max_tokens": reply_tokens}) if shorter else usual,
                lambda room: table.prompt_for(agent, min(room, prompt_tokens or room), brief, is_last=is_last),
                seed=seed,
            )

        return model, fit(model, make, usual.max_tokens, left)

    async def _speak(self, model: Model, request: ChatRequest) -> Reply:
        state = self._table.state
        assert state.turn_message_id is not None
        message = LiveMessage(self._held.claim.discussion_id, state.turn_message_id, state.turn + 1, state.turn_attempt)
        try:
            return await speak(model, request, message, self._live, self._held)
        finally:
            message.closed = True

    def _note(self, error: ModelError) -> None:
        state = self._table.state
        log.warning("turn_attempt_failed", turn=state.turn + 1, attempt=state.turn_attempt, code=error.code)

    async def _back_off(self, error: ModelError, attempt: int) -> None:
        seconds = BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        if isinstance(error, ModelRateLimited) and error.retry_after_seconds is not None:
            seconds = max(seconds, error.retry_after_seconds)
        try:
            async with asyncio.timeout(min(seconds, LONGEST_BACKOFF_SECONDS)):
                await self._held.disturbed.wait()
        except TimeoutError:
            return
        if self._held.lost.is_set():
            raise ClaimLost
        raise PausedBetweenAttempts(error)
