"""What a model is asked for a turn: the same, whenever it is made again of the same table."""

from app.domain.limits import Left
from app.services.ai_models import Model
from app.services.prompts import chat_request
from app.services.providers.base import ChatRequest
from app.services.turns.room import fit
from app.services.turns.table_state import AgentSeat, TableState


def turn_request(
    table: TableState,
    agent: AgentSeat,
    model: Model,
    left: Left | None = None,
    most_prompt_tokens: int | None = None,
) -> ChatRequest:
    """The request for the agent's turn.

    It asks for less than usual where only that fits what is `left`; raise `NoRoom` where nothing of use fits.
    """
    brief = table.rules.brief(agent.counts_as, table.state.policy_state)
    seed = table.rules.seed + table.state.turn if isinstance(table.rules.seed, int) else None
    is_last, usual = table.state.wrap_up is not None, agent.config.params

    def make(reply_tokens: int, most_tokens: int | None) -> ChatRequest:
        shorter = reply_tokens < usual.max_tokens
        return chat_request(
            model,
            usual.model_copy(update={"max_tokens": reply_tokens}) if shorter else usual,
            lambda room: table.prompt_for(agent, min(room, most_tokens or room), brief, is_last=is_last),
            seed=seed,
            most_prompt_tokens=most_prompt_tokens,
        )

    return fit(model, make, usual.max_tokens, left)
