"""Between two turns: what models are asked before anybody gets the floor. No transaction is open meanwhile."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import structlog

from app.domain.policies import History, Question
from app.domain.stop_conditions import agreement_question
from app.schemas.agent import AgentParams
from app.services.ai_models import Model, ModelCatalog, UnknownModel
from app.services.asking import Answer, ask
from app.services.prompts import chat_request
from app.services.providers.base import ModelError
from app.services.turns.leases import ClaimLost, HeldClaim
from app.services.turns.speaking import while_held
from app.services.turns.table_state import AgentSeat, TableState

log = structlog.stdlib.get_logger(__name__)

TRIES = 2


@dataclass(slots=True)
class Verdict:
    """What was answered, None where no answer could be used, and what asking took."""

    answers: dict[UUID, Any] = field(default_factory=dict)
    agreement: bool | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def cost(self) -> Mapping[str, Any] | None:
        """As `turn.started` shows it; None if nobody was asked."""
        if not self.prompt_tokens:
            return None
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": self.cost_usd,
        }


class Deliberation:
    """Asks each question at most twice; whoever gives no usable answer then has given none."""

    def __init__(self, table: TableState, held: HeldClaim, models: ModelCatalog) -> None:
        self._table = table
        self._held = held
        self._models = models

    async def hold(self, history: History) -> Verdict:
        """Ask whether all agree, if that would end it, and what the policy wants to know."""
        verdict = Verdict()
        rules = self._table.rules
        if rules.asks_for_agreement:
            question = agreement_question(rules.seats, history)
            if question is not None:
                verdict.agreement = await self._ask(question, verdict)
        if not verdict.agreement:
            questions = rules.questions(history)
            answers = await asyncio.gather(*(self._ask(question, verdict) for question in questions))
            verdict.answers = {one.participant_id: answer for one, answer in zip(questions, answers, strict=True)}
        if self._held.lost.is_set():
            raise ClaimLost
        return verdict

    async def _ask(self, question: Question, verdict: Verdict) -> Any:
        agent = self._table.agents.get(question.participant_id)
        if agent is None:
            return None
        for _ in range(TRIES):
            try:
                answer = await self._answer(agent, question)
            except (ModelError, UnknownModel) as error:
                log.warning("question_failed", participant_id=str(question.participant_id), code=error.code)
                continue
            verdict.prompt_tokens += answer.prompt_tokens
            verdict.completion_tokens += answer.completion_tokens
            verdict.cost_usd += answer.cost_usd
            parsed = question.parse(answer.text)
            if parsed is not None:
                return parsed
        return None

    async def _answer(self, agent: AgentSeat, question: Question) -> Answer:
        model: Model = self._models.get(agent.config.model or "")
        request = chat_request(
            model,
            AgentParams(temperature=0.0, max_tokens=question.max_tokens),
            lambda budget_tokens: self._table.prompt_for(agent, budget_tokens, question=question.text),
        )
        if question.schema is not None:
            request = replace(request, response_schema=dict(question.schema))
        return await while_held(self._held, ask(model, request))
