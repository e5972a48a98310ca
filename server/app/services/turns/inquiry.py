"""One question to one agent: each of its models in turn, until one answers.

A model that fails is asked once more where that may help, a fallback at once where it would not. Answers that cannot be
used, or break off, are bounded over all models, since they are paid for.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from app.domain.limits import Spending
from app.domain.policies import Question
from app.domain.usage import Took
from app.schemas.agent import AgentParams
from app.services.asking import ask
from app.services.model import Model, Models, UnknownModel
from app.services.prompts import chat_request, prompt_tokens
from app.services.providers.base import ChatRequest, ModelBusy, ModelCircuitOpen, ModelError, ModelTimedOut
from app.services.turns.course import Course
from app.services.turns.room import worst_case
from app.services.turns.table_state import AgentSeat, TableState

log = structlog.stdlib.get_logger(__name__)

TRIES = 2
QUESTION_SECONDS = 20.0
"""Of each call, since everybody waits meanwhile and sees nothing."""
LONGEST_WAIT_SECONDS = 2.0
LEAST_REPLY_TOKENS = 200
"""Models that reason spend a shorter reply before its first word."""


class Inquiry:
    """`charge` is told what every call took, answered or not."""

    def __init__(
        self,
        table: TableState,
        models: Models,
        agent: AgentSeat,
        question: Question,
        charge: Callable[[Took], None],
    ) -> None:
        self._table = table
        self._models = models
        self._agent = agent
        self._question = question
        self._charge = charge
        self._names = agent.models
        self._seconds = min(QUESTION_SECONDS, models.first_token_seconds)
        self._paid_for = 0

    def worst_case(self) -> Spending:
        """Of as many answers as may be paid for, whichever model gives them."""
        tokens, cost_usd = 0, 0.0
        for name in self._names:
            try:
                worst = worst_case(*self._request(name))
            except UnknownModel:
                continue
            tokens, cost_usd = max(tokens, worst.tokens), max(cost_usd, worst.cost_usd)
        return Spending(tokens=TRIES * tokens, cost_usd=TRIES * cost_usd)

    async def run(self) -> Any:
        """The parsed answer, None if there is none to be had."""
        for name in self._names:
            try:
                return await self._ask(name)
            except (ModelError, UnknownModel) as error:
                self._note(name, error.code)
        return None

    async def _ask(self, name: str) -> Any:
        """What that model answers, None once there were too many answers of no use; raise what it fails with."""
        course = Course([name], TRIES)
        while self._paid_for < TRIES:
            model, request = self._request(name, course.most_prompt_tokens)
            try:
                answer = await ask(model, request, self._seconds)
            except ModelError as error:
                self._paid_for += bool(error.used)
                self._charge(error.used)
                seconds = course.after(error, prompt_tokens(request))
                if seconds is None or seconds > LONGEST_WAIT_SECONDS or _is_hopeless(error):
                    raise
                await asyncio.sleep(seconds)
                continue
            self._paid_for += 1
            self._charge(answer)
            parsed = self._question.parse(answer.text)
            if parsed is not None:
                return parsed
        return None

    def _request(self, name: str, most_prompt_tokens: int | None = None) -> tuple[Model, ChatRequest]:
        model, question = self._models.get(name), self._question
        request = chat_request(
            model,
            AgentParams(temperature=0.0, max_tokens=max(question.max_tokens, LEAST_REPLY_TOKENS)),
            question.prompt or (lambda room: self._table.prompt_for(self._agent, room, question=question.text)),
            most_prompt_tokens=most_prompt_tokens,
        )
        if question.schema is not None:
            request = replace(request, response_schema=dict(question.schema))
        return model, request

    def _note(self, name: str, code: str) -> None:
        log.warning("question_failed", participant_id=str(self._agent.participant_id), model=name, code=code)


def _is_hopeless(error: ModelError) -> bool:
    """Whether asking that model again would only take time, though it is worth it for a turn."""
    return isinstance(error, (ModelBusy, ModelCircuitOpen, ModelTimedOut))
