"""Between two turns: what models are asked before anybody gets the floor. No transaction is open meanwhile."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.domain.agreement import agreement_question
from app.domain.limits import Spending
from app.domain.policies import History, Question
from app.domain.usage import Took
from app.services.model import Models
from app.services.turns.inquiry import Inquiry
from app.services.turns.leases import ClaimLost, HeldClaim
from app.services.turns.reservations import Reservations
from app.services.turns.speaking import while_held
from app.services.turns.table_state import TableState


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
    """Puts each question as an `Inquiry`; whoever gives no usable answer has given none.

    What nothing is left for, beside a last turn, is not asked.
    """

    def __init__(
        self,
        table: TableState,
        held: HeldClaim,
        models: Models,
        reservations: Reservations,
    ) -> None:
        self._table = table
        self._held = held
        self._models = models
        self._reservations = reservations

    async def hold(self, history: History) -> Verdict:
        """Ask whether all agree, if that would end it, and what the policy wants to know."""
        verdict = Verdict()
        rules = self._table.rules
        if rules.asks_for_agreement(history):
            question = agreement_question(rules.seats, history, self._table.topic)
            if question is not None and await self._reservations.affords(lambda: self._worst_case([question], verdict)):
                verdict.agreement = await self._ask(question, verdict)
        if not verdict.agreement:
            questions = rules.questions(history)
            if questions and await self._reservations.affords(lambda: self._worst_case(questions, verdict)):
                answers = await asyncio.gather(*(self._ask(question, verdict) for question in questions))
                verdict.answers = {one.participant_id: answer for one, answer in zip(questions, answers, strict=True)}
        if self._held.lost.is_set():
            raise ClaimLost
        return verdict

    def _worst_case(self, questions: Sequence[Question], verdict: Verdict) -> Spending:
        """Of all the questions, beside what was spent on others already."""
        worst = Spending(tokens=verdict.prompt_tokens + verdict.completion_tokens, cost_usd=verdict.cost_usd)
        for question in questions:
            inquiry = self._inquiry(question, verdict)
            if inquiry is not None:
                worst += inquiry.worst_case()
        return worst

    async def _ask(self, question: Question, verdict: Verdict) -> Any:
        inquiry = self._inquiry(question, verdict)
        return await while_held(self._held, inquiry.run()) if inquiry is not None else None

    def _inquiry(self, question: Question, verdict: Verdict) -> Inquiry | None:
        agent = self._table.agents.get(question.participant_id)
        return Inquiry(self._table, self._models, agent, question, verdict.charge) if agent is not None else None
