"""Between two turns: what models are asked before anybody gets the floor. No transaction is open meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import structlog

from app.domain.agreement import agreement_question
from app.domain.limits import Spending
from app.domain.policies import History, Question
from app.domain.usage import Took
from app.schemas.agent import AgentParams
from app.services.ai_models import Model, ModelCatalog, UnknownModel
from app.services.asking import Answer, ask
from app.services.prompts import chat_request
from app.services.providers.base import ChatRequest, ModelError, used_until
from app.services.turns.leases import ClaimLost, HeldClaim
from app.services.turns.room import worst_case
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

    def charge(self, took: Took) -> None:
        """Add what a question took, answered or not."""
        self.prompt_tokens += took.prompt_tokens
        self.completion_tokens += took.completion_tokens
        self.cost_usd += took.cost_usd

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
    """Asks each question at most twice; whoever gives no usable answer then has given none.

    `affords` is told what the questions may cost at worst. What nothing is left for is not asked.
    """

    def __init__(
        self,
        table: TableState,
        held: HeldClaim,
        models: ModelCatalog,
        affords: Callable[[Callable[[], Spending]], Awaitable[bool]],
    ) -> None:
        self._table = table
        self._held = held
        self._models = models
        self._affords = affords

    async def hold(self, history: History) -> Verdict:
        """Ask whether all agree, if that would end it, and what the policy wants to know."""
        verdict = Verdict()
        rules = self._table.rules
        if rules.asks_for_agreement(history):
            question = agreement_question(rules.seats, history, self._table.topic)
            if question is not None and await self._affords(lambda: self._worst_case([question], verdict)):
                verdict.agreement = await self._ask(question, verdict)
        if not verdict.agreement:
            questions = rules.questions(history)
            if questions and await self._affords(lambda: self._worst_case(questions, verdict)):
                answers = await asyncio.gather(*(self._ask(question, verdict) for question in questions))
                verdict.answers = {one.participant_id: answer for one, answer in zip(questions, answers, strict=True)}
        if self._held.lost.is_set():
            raise ClaimLost
        return verdict

    def _worst_case(self, questions: Sequence[Question], verdict: Verdict) -> Spending:
        """Of every try at every question, beside what was spent on others already."""
        worst = Spending(tokens=verdict.prompt_tokens + verdict.completion_tokens, cost_usd=verdict.cost_usd)
        for question in questions:
            agent = self._table.agents.get(question.participant_id)
            if agent is None:
                continue
            try:
                model, request = self._request(agent, question)
            except UnknownModel:
                continue
            for _ in range(TRIES):
                worst += worst_case(model, request)
        return worst

    async def _ask(self, question: Question, verdict: Verdict) -> Any:
        agent = self._table.agents.get(question.participant_id)
        if agent is None:
            return None
        for _ in range(TRIES):
            try:
                answer = await self._answer(agent, question)
            except (ModelError, UnknownModel) as error:
                log.warning("question_failed", participant_id=str(question.participant_id), code=error.code)
                verdict.charge(used_until(error))
                continue
            verdict.charge(answer)
            parsed = question.parse(answer.text)
            if parsed is not None:
                return parsed
        return None

    async def _answer(self, agent: AgentSeat, question: Question) -> Answer:
        model, request = self._request(agent, question)
        return await while_held(self._held, ask(model, request))

    def _request(self, agent: AgentSeat, question: Question) -> tuple[Model, ChatRequest]:
        model: Model = self._models.get(agent.config.model or "")
        request = chat_request(
            model,
            AgentParams(temperature=0.0, max_tokens=question.max_tokens),
            question.prompt or (lambda room: self._table.prompt_for(agent, room, question=question.text)),
        )
        if question.schema is not None:
            request = replace(request, response_schema=dict(question.schema))
        return model, request
