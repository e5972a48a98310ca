"""What a model is asked for a turn, the same whenever it is made again of the same table, and what that may use."""

from collections.abc import Callable

from app.domain.context import estimate_tokens
from app.domain.limits import Left, Spending
from app.domain.usage import Used
from app.services.ai_models import Model, ModelCatalog, UnknownModel
from app.services.prompts import chat_request, used
from app.services.providers.base import ChatRequest, Finished
from app.services.turns.course import Course
from app.services.turns.room import CLOSING_PROMPT_TOKENS, CLOSING_REPLY_TOKENS, Make, NoRoom, fit, worst_case
from app.services.turns.table_state import AgentSeat, TableState


class TurnRequests:
    """The requests for turns of the agents at one table. `is_last`: as it will be if the turn becomes the last one."""

    def __init__(self, table: TableState, models: ModelCatalog) -> None:
        self._table = table
        self._models = models

    def ask(
        self, agent: AgentSeat, left: Left | None = None, course: Course | None = None, *, is_last: bool = False
    ) -> tuple[Model, ChatRequest]:
        """The model that is due, by default the agent's first, and what it is asked.

        It is asked for less than usual where only that fits what is `left`; raise `NoRoom` where nothing of use fits.
        """
        model = self._models.get(course.model if course else agent.models[0])
        make = self._maker(agent, model, course.most_prompt_tokens if course else None, is_last=is_last)
        return model, fit(model, make, agent.config.params.max_tokens, left)

    def dearest(self, agent: AgentSeat, left: Left | None, *, is_last: bool = False) -> Spending:
        """The worst case of the turn, whichever of the agent's models comes to take it.

        A model that is not there, or that nothing of use is `left` for, takes none; raise what keeps the first from it
        if that is all of them.
        """
        return self._dearest(agent, lambda name: self.ask(agent, left, Course([name], 1), is_last=is_last))

    def closing(self, agent: AgentSeat) -> Spending:
        """The same of a short last turn, which is kept back for it while others are taken."""
        return self._dearest(agent, lambda name: self._ask_to_close(agent, self._models.get(name)))

    def cut(self, agent: AgentSeat, shown: str) -> Used:
        """What an attempt took whose provider never came to tell, by estimates of its request and of what was shown.

        Which of the agent's models it was is not told; it counts as the first that can be asked.
        """
        for name in agent.models:
            try:
                model, request = self.ask(agent, self._table.left(self._table.state), Course([name], 1))
            except (UnknownModel, NoRoom):
                continue
            return used(model, request, Finished("interrupted"), shown)
        return Used(completion_tokens=estimate_tokens(shown))

    def _dearest(self, agent: AgentSeat, ask: Callable[[str], tuple[Model, ChatRequest]]) -> Spending:
        cases: list[Spending] = []
        problems: list[UnknownModel | NoRoom] = []
        for name in agent.models:
            try:
                cases.append(worst_case(*ask(name)))
            except (UnknownModel, NoRoom) as problem:
                problems.append(problem)
        if not cases:
            raise problems[0]
        return Spending(tokens=max(one.tokens for one in cases), cost_usd=max(one.cost_usd for one in cases))

    def _ask_to_close(self, agent: AgentSeat, model: Model) -> tuple[Model, ChatRequest]:
        reply_tokens = min(CLOSING_REPLY_TOKENS, agent.config.params.max_tokens)
        return model, self._maker(agent, model, None, is_last=True)(reply_tokens, CLOSING_PROMPT_TOKENS)

    def _maker(self, agent: AgentSeat, model: Model, most_prompt_tokens: int | None, *, is_last: bool) -> Make:
        table, usual = self._table, agent.config.params
        brief = table.rules.brief(agent.counts_as, table.state.policy_state)
        seed = table.rules.seed + table.state.turn if isinstance(table.rules.seed, int) else None
        concludes = is_last or table.state.wrap_up is not None

        def make(reply_tokens: int, most_tokens: int | None) -> ChatRequest:
            shorter = reply_tokens < usual.max_tokens
            return chat_request(
                model,
                usual.model_copy(update={"max_tokens": reply_tokens}) if shorter else usual,
                lambda room: table.prompt_for(agent, min(room, most_tokens or room), brief, is_last=concludes),
                seed=seed,
                most_prompt_tokens=most_prompt_tokens,
            )

        return make
