"""From an agent's parameters and a prompt to a request of its model."""

from collections.abc import Callable, Sequence

from app.domain.prompt import ChatMessage
from app.schemas.agent import AgentParams
from app.services.ai_models import Model
from app.services.providers.base import ChatRequest

PROMPT_MARGIN_TOKENS = 64


def chat_request(
    model: Model,
    params: AgentParams,
    build: Callable[[int], Sequence[ChatMessage]],
    *,
    seed: int | None = None,
    prompt_share: float = 1.0,
) -> ChatRequest:
    """Share the model's context between the reply, at most half of it, and the prompt that `build` makes.

    `build` is given the prompt's budget in tokens, of which it may use `prompt_share`. `seed` applies where the agent
    has none of its own.
    """
    reply_tokens = min(params.max_tokens, model.context_tokens // 2)
    return ChatRequest(
        model=model.wire_name,
        messages=build(int((model.context_tokens - reply_tokens - PROMPT_MARGIN_TOKENS) * prompt_share)),
        max_tokens=reply_tokens,
        temperature=params.temperature,
        top_p=params.top_p,
        frequency_penalty=params.frequency_penalty,
        presence_penalty=params.presence_penalty,
        seed=params.seed if params.seed is not None else seed,
        stop=params.stop,
    )
