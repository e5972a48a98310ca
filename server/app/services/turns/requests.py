"""What a model is asked for a turn, the same whenever it is made again of the same table, and what that may use."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from app.domain.context import (
    DOCUMENT_SHARE,
    MEMORY_SHARE,
    MOST_MEMORY_TOKENS,
    MOST_PASSAGE_TOKENS,
    PASSAGE_SHARE,
    estimate_tokens,
)
from app.domain.grounding import NOTHING, Ground
from app.domain.limits import Left, Spending
from app.domain.usage import Used
from app.services.model import Model, Models, UnknownModel
from app.services.prompts import chat_request, prompt_room, prompt_tokens, used
from app.services.providers.base import ChatRequest, Finished, ToolSpec
from app.services.turns.course import Course
from app.services.turns.room import CLOSING_PROMPT_TOKENS, CLOSING_REPLY_TOKENS, Make, NoRoom, fit, worst_case
from app.services.turns.structure import Structure
from app.services.turns.table_state import AgentSeat, TableState


class TurnRequests:
    """The requests for turns of the agents at one table. `is_last`: as it will be if the turn becomes the last one.

    `ground` is what the open turn rests on, and `tools` what its speaker may call, from when they are known until the
    turn is over.
    """

    def __init__(self, table: TableState, models: Models, budget: Left | None = None) -> None:
        self._table = table
        self._models = models
        self._most = table.rules.limits.most.within(budget)
        self.ground: Ground = NOTHING
        self.tools: Sequence[ToolSpec] = ()
        self.ground_of: UUID | None = None
        self._structures: dict[UUID, tuple[dict[str, Any], Structure]] = {}
        self._closing: tuple[Mapping[UUID, AgentSeat], Spending] | None = None

    def ask(
        self, agent: AgentSeat, left: Left | None = None, course: Course | None = None, *, is_last: bool = False
    ) -> tuple[Model, ChatRequest]:
        """The model that is due, by default the agent's first, and what it is asked.

        It is asked for less than usual where only that fits what is `left`; raise `NoRoom` where nothing of use fits.
        """
        model = self._models.get(course.model if course else agent.models[0])
        make = self._maker(agent, model, course.most_prompt_tokens if course else None, is_last=is_last)
        return model, fit(model, make, agent.config.params.max_tokens, left)

    def usual(self, agent: AgentSeat, unheard_tokens: int) -> Spending:
        """The worst case of a turn by the agent's first model; `unheard_tokens`: of what was just said.

        Raise `UnknownModel` if there is none of them.
        """
        model, request = self.ask(agent, course=Course([self._first(agent)], 1))
        return worst_case(model, request, unheard_tokens + self._not_looked_up(agent, model))

    def dearest(self, agent: AgentSeat, left: Left | None, *, is_last: bool = False) -> Spending:
        """The worst case of the turn, whichever of the agent's models comes to take it.

        A model that is not there, or that nothing of use is `left` for, takes none; raise `NoRoom` or `UnknownModel`
        if that is all of them.
        """
        worst, problem = Spending(), None
        for name in agent.models:
            try:
                worst = worst.at_least(worst_case(*self.ask(agent, left, Course([name], 1), is_last=is_last)))
            except (UnknownModel, NoRoom) as error:
                problem = error if problem is None or isinstance(error, NoRoom) else problem
        if problem is not None and not worst.tokens:
            raise problem
        return worst

    def closing(self) -> Spending:
        """What a short last turn may use, whoever at the table takes it; it is kept back while others are taken.

        It is reckoned by each agent's first model, unless limits and budgets would never have room for that.
        """
        agents = self._table.agents
        if self._closing is None or self._closing[0] is not agents:
            worst = Spending()
            for agent in agents.values():
                with suppress(UnknownModel):
                    one = self.closing_of(agent, self._models.get(self._first(agent)))
                    worst = worst.at_least(one) if self._most.lacks(one) is None else worst
            self._closing = agents, worst
        return self._closing[1]

    def closing_of(self, agent: AgentSeat, model: Model) -> Spending:
        """The same of that agent by that model."""
        reply_tokens = min(CLOSING_REPLY_TOKENS, agent.config.params.max_tokens)
        request = self._maker(agent, model, None, is_last=True)(reply_tokens, CLOSING_PROMPT_TOKENS)
        return worst_case(model, request, max(CLOSING_PROMPT_TOKENS - prompt_tokens(request), 0))

    def cut(self, agent: AgentSeat, shown: str, left: Left | None) -> Used:
        """What an attempt took whose provider never came to tell, by estimates of its request and of what was shown.

        Which of the agent's models it was is not told; it counts as the first that can be asked for what was `left`.
        """
        for name in agent.models:
            try:
                model, request = self.ask(agent, left, Course([name], 1))
            except (UnknownModel, NoRoom):
                continue
            took = used(model, request, Finished("interrupted"), shown)
            more = self._not_looked_up(agent, model)
            return took if not more else took + Used(more, 0, model.cost_usd(more, 0))
        return Used(completion_tokens=estimate_tokens(shown))

    def structure_of(self, agent: AgentSeat) -> Structure | None:
        """The form of the agent's messages, None if it has none."""
        document = agent.config.response_schema
        if document is None:
            return None
        known = self._structures.get(agent.participant_id)
        if known is None or known[0] is not document:
            known = self._structures[agent.participant_id] = document, Structure.of(document)
        return known[1]

    def prompt_room(self, agent: AgentSeat) -> int:
        """Tokens of the longest prompt for the agent by its first model; 0 if there is none of its models."""
        try:
            model = self._models.get(self._first(agent))
        except UnknownModel:
            return 0
        return prompt_room(model, agent.config.params)

    def _not_looked_up(self, agent: AgentSeat, model: Model) -> int:
        """Tokens that passages and memories may add to a turn for which they are not known."""
        config, room = agent.config, prompt_room(model, agent.config.params)
        passages = config.knowledge_base_ids or sum(self._table.document_tokens) > room * DOCUMENT_SHARE
        tokens = min(int(room * PASSAGE_SHARE), MOST_PASSAGE_TOKENS) if passages else 0
        return tokens + (min(int(room * MEMORY_SHARE), MOST_MEMORY_TOKENS) if config.memory.long_term else 0)

    def _first(self, agent: AgentSeat) -> str:
        """The first of its models that there is."""
        for name in agent.models:
            with suppress(UnknownModel):
                return self._models.get(name).name
        return agent.models[0]

    def _maker(self, agent: AgentSeat, model: Model, most_prompt_tokens: int | None, *, is_last: bool) -> Make:
        table, usual = self._table, agent.config.params
        brief = table.rules.brief(agent.counts_as, table.state.policy_state)
        seed = table.rules.seed + table.state.turn if isinstance(table.rules.seed, int) else None
        concludes = is_last or table.state.wrap_up is not None
        is_open = agent.participant_id == self.ground_of
        ground, tools = (self.ground, self.tools) if is_open else (NOTHING, ())

        structure = self.structure_of(agent)

        def make(reply_tokens: int, most_tokens: int | None) -> ChatRequest:
            shorter = reply_tokens < usual.max_tokens
            request = chat_request(
                model,
                usual.model_copy(update={"max_tokens": reply_tokens}) if shorter else usual,
                lambda room: table.prompt_for(
                    agent,
                    max(min(room, most_tokens or room) - (structure.room if structure is not None else 0), 1),
                    brief,
                    is_last=concludes,
                    ground=ground,
                ),
                seed=seed,
                most_prompt_tokens=most_prompt_tokens,
                tools=tools,
            )
            return structure.wanted_of(model, request) if structure is not None else request

        return make
