"""One claim's worth of turns: who speaks, what the model is asked, and what is written of it."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import count
from time import perf_counter
from typing import Any
from uuid import UUID

import structlog

from app.core.clock import rfc3339, utc_now
from app.core.errors import ArenaError, UpstreamFailed
from app.core.ids import new_id
from app.domain import events
from app.domain.context import estimate_tokens
from app.domain.discussion import EndReason, Status
from app.domain.events import NextSpeaker
from app.domain.limits import Spending
from app.repositories.turns import TurnRecord, TurnState
from app.services.ai_models import Model, ModelCatalog, UnknownModel
from app.services.live.bus import LiveBus, LiveMessage
from app.services.prompts import chat_request
from app.services.providers.base import ChatRequest, ModelError, ModelRateLimited
from app.services.turns.leases import ClaimLost, HeldClaim
from app.services.turns.ledger import Decision, Ledger
from app.services.turns.speaking import Reply, speak
from app.services.turns.table_state import AgentSeat, TableState

log = structlog.stdlib.get_logger(__name__)

BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
# Of one turn by all drivers together. A lost worker is no fault of the model, and a deploy is no reason to give up.
ATTEMPT_CEILING = 10


class TurnAbandoned(UpstreamFailed):
    """Worker after worker was lost in the turn: something about it ends them."""

    code = "turn_abandoned"


class Drive:
    """Takes turns until somebody else has the floor, the discussion ends, or `must_give_way` says so."""

    def __init__(
        self,
        table: TableState,
        ledger: Ledger,
        held: HeldClaim,
        models: ModelCatalog,
        live: LiveBus,
        *,
        attempts: int,
        must_give_way: Callable[[], bool],
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._held = held
        self._models = models
        self._live = live
        self._attempt_limit = attempts
        self._must_give_way = must_give_way
        self._epoch = held.claim.epoch

    async def run(self) -> None:
        await self._open_turn()
        while self._table.state.status == Status.RUNNING and self._table.state.turn_epoch == self._epoch:
            await self._take_turn()

    async def _open_turn(self) -> None:
        """Begin the turn that is due: a new one, one announced but not begun, or another attempt of a lost one."""
        state = self._table.state
        if state.turn_message_id is None:
            await self._ledger.write(lambda: self._give_floor(replace(state), self._table.floor(), self._epoch))
        elif state.turn_epoch == 0:
            await self._ledger.write(lambda: (replace(state, turn_epoch=self._epoch), []))
        elif state.turn_attempt >= ATTEMPT_CEILING:
            await self._fail(TurnAbandoned(f"the turn was begun {state.turn_attempt} times and never finished"))
        else:
            await self._retry("worker_lost")

    async def _take_turn(self) -> None:
        """Attempts until the turn is committed or given up."""
        began = perf_counter()
        opened = self._table.state
        try:
            reply, model = await self._attempts()
        except (ModelError, UnknownModel) as error:
            await self._fail(error)
            return
        attempt = self._table.state.turn_attempt
        await self._commit(reply, model)
        log.info(
            "turn_completed",
            turn=opened.turn + 1,
            attempt=attempt,
            model=model.name,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            first_token_ms=reply.first_token_ms,
            duration_ms=round((perf_counter() - began) * 1000, 2),
        )

    async def _attempts(self) -> tuple[Reply, Model]:
        for own_attempt in count(1):
            state = self._table.state
            assert state.speaker_id is not None
            assert state.turn_message_id is not None
            model, request = self._ask(self._table.agents[state.speaker_id])
            message = LiveMessage(
                self._held.claim.discussion_id, state.turn_message_id, state.turn + 1, state.turn_attempt
            )
            try:
                return await speak(model, request, message, self._live, self._held), model
            except ModelError as error:
                log.warning("turn_attempt_failed", turn=state.turn + 1, attempt=state.turn_attempt, code=error.code)
                if not error.retryable or own_attempt >= self._attempt_limit:
                    raise
                await self._back_off(error, own_attempt)
                await self._retry(error.code)
            finally:
                message.closed = True
        raise AssertionError("the loop above has no end")

    async def _back_off(self, error: ModelError, attempt: int) -> None:
        seconds = BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        if isinstance(error, ModelRateLimited) and error.retry_after_seconds is not None:
            seconds = max(seconds, error.retry_after_seconds)
        try:
            async with asyncio.timeout(min(seconds, LONGEST_BACKOFF_SECONDS)):
                await self._held.lost.wait()
        except TimeoutError:
            return
        raise ClaimLost

    def _ask(self, agent: AgentSeat) -> tuple[Model, ChatRequest]:
        """The agent's model, and what it is asked now."""
        model, table = self._models.get(agent.config.model or ""), self._table
        seed = None if table.rules.seed is None else table.rules.seed + table.state.turn
        request = chat_request(
            model, agent.config.params, lambda budget_tokens: table.prompt_for(agent, budget_tokens), seed=seed
        )
        return model, request

    async def _commit(self, reply: Reply, model: Model) -> None:
        """Record the turn and begin the next one, in one statement."""
        opened, table = self._table.state, self._table
        now = utc_now()
        data = _message_data(table, reply, rfc3339(now))

        def decide() -> Decision:
            data["seq"] = table.known_seq + 1
            spoken = _after_reply(opened, reply)
            reason = table.rules.end_after(reply.content, table.spent(spoken))
            if reason is not None:
                spoken, following = _ended(spoken, reason)
            else:
                epoch = 0 if self._must_give_way() else self._epoch
                spoken, following = self._give_floor(spoken, table.choose_next(spoken), epoch)
            return spoken, [events.message_completed(data), *following]

        record = _record(
            opened,
            now,
            outcome="completed",
            model=model.name,
            message=data,
            first_token_ms=reply.first_token_ms,
            duration_ms=reply.duration_ms,
        )
        await self._ledger.write(decide, record)
        table.heard(data["handle"], reply.content)

    def _give_floor(self, state: TurnState, speaker: NextSpeaker, epoch: int) -> Decision:
        """Begin the speaker's turn, wait for a person, or end where a limit has no room for the turn.

        `epoch` 0 leaves the turn announced for the next driver to begin.
        """
        rules = self._table.rules
        state.speaker_id, state.speaker_reason = speaker.participant_id, speaker.reason
        seat = rules.seat(speaker.participant_id)
        if seat is not None and seat.needs_waiting:
            state.status = Status.WAITING
            return state, [events.discussion_waiting(speaker)]
        reason = rules.limits.breach(self._table.spent(state), self._worst_case(speaker.participant_id))
        if reason is not None:
            return _ended(state, reason)
        state.turn_message_id, state.turn_attempt, state.turn_epoch = new_id(), 1, epoch
        return state, [events.turn_started(state.turn + 1, 1, speaker, state.turn_message_id)]

    def _worst_case(self, participant_id: UUID) -> Spending:
        """What one turn of that agent may use: its whole prompt and the longest reply."""
        limits = self._table.rules.limits
        if limits.max_tokens is None and limits.max_cost_usd is None:
            return Spending()
        try:
            model, request = self._ask(self._table.agents[participant_id])
        except UnknownModel:
            # The turn itself will fail for this, and say so.
            return Spending()
        prompt = sum(estimate_tokens(message.content) for message in request.messages)
        reply = request.max_tokens or 0
        return Spending(tokens=prompt + reply, cost_usd=model.cost_usd(prompt, reply))

    async def _retry(self, reason: str) -> None:
        """Log that the open turn begins anew, as the next attempt."""

        def decide() -> Decision:
            state = replace(self._table.state, turn_attempt=self._table.state.turn_attempt + 1, turn_epoch=self._epoch)
            assert state.turn_message_id is not None
            assert state.speaker_id is not None
            retried = events.turn_retried(
                state.turn + 1, state.turn_attempt, state.speaker_id, state.turn_message_id, reason
            )
            return state, [retried]

        await self._ledger.write(decide)

    async def _fail(self, error: ArenaError) -> None:
        """Record that the turn cannot be taken, and end the discussion with the reason."""
        opened = self._table.state
        assert opened.speaker_id is not None
        failed = events.turn_failed(opened.turn + 1, opened.turn_attempt, opened.speaker_id, error.code, error.detail)

        def decide() -> Decision:
            state, following = _ended(replace(opened), EndReason.FAILED, error.detail)
            return state, [failed, *following]

        agent = self._table.agents[opened.speaker_id]
        record = _record(opened, utc_now(), outcome="failed", model=agent.config.model, error_code=error.code)
        await self._ledger.write(decide, record)
        log.error("turn_failed", turn=opened.turn + 1, attempt=opened.turn_attempt, code=error.code)


def _after_reply(opened: TurnState, reply: Reply) -> TurnState:
    """The open turn, committed; nobody has the floor yet."""
    return replace(
        opened,
        turn=opened.turn + 1,
        last_speaker_id=opened.speaker_id,
        prompt_tokens=opened.prompt_tokens + reply.prompt_tokens,
        completion_tokens=opened.completion_tokens + reply.completion_tokens,
        cost_usd=opened.cost_usd + reply.cost_usd,
        turn_message_id=None,
        turn_attempt=0,
        turn_epoch=0,
    )


def _ended(state: TurnState, reason: EndReason, detail: str | None = None) -> Decision:
    state.status, state.end_reason = Status.ENDED, reason
    state.speaker_id = state.speaker_reason = None
    state.turn_message_id, state.turn_attempt, state.turn_epoch = None, 0, 0
    return state, [events.discussion_ended(reason, detail)]


def _record(
    opened: TurnState,
    finished_at: datetime,
    *,
    outcome: str,
    model: str | None,
    message: dict[str, Any] | None = None,
    error_code: str | None = None,
    first_token_ms: float | None = None,
    duration_ms: float | None = None,
) -> TurnRecord:
    assert opened.speaker_id is not None
    assert opened.turn_message_id is not None
    return TurnRecord(
        turn=opened.turn + 1,
        attempt=opened.turn_attempt,
        participant_id=opened.speaker_id,
        message_id=opened.turn_message_id,
        outcome=outcome,
        reason=opened.speaker_reason or "",
        model=model,
        error_code=error_code,
        first_token_ms=first_token_ms,
        duration_ms=duration_ms,
        finished_at=finished_at,
        message=message,
    )


def _message_data(table: TableState, reply: Reply, moment: str) -> dict[str, Any]:
    """The message as the wire and the log show it; `seq` is set when its place is known."""
    state = table.state
    assert state.speaker_id is not None
    agent = table.agents[state.speaker_id]
    return {
        "id": state.turn_message_id,
        "seq": 0,
        "turn": state.turn + 1,
        "attempt": state.turn_attempt,
        "participant_id": state.speaker_id,
        "handle": agent.speaker.handle,
        "name": agent.speaker.name,
        "kind": "llm",
        "content": reply.content,
        "status": "complete",
        "reply_to": None,
        "visible_to": None,
        "citations": [],
        "usage": {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "cost_usd": reply.cost_usd,
        },
        "created_at": moment,
    }
