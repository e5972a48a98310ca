"""From an agent's parameters and a prompt to a request of its model."""

from collections.abc import Callable, Sequence

from app.domain.context import estimate_tokens
from app.domain.grounding import Source
from app.domain.prompt import ChatMessage, Prompt
from app.domain.usage import Used
from app.schemas.agent import AgentParams
from app.services.ai_models import Model
from app.services.providers.base import ChatRequest, Finished, ToolSpec

PROMPT_MARGIN_TOKENS = 64
MESSAGE_TOKENS = 5
"""That a chat template puts around a message: `<|im_start|>user\\n…<|im_end|>\\n` in ChatML."""


def chat_request(
    model: Model,
    params: AgentParams,
    build: Callable[[int], Sequence[ChatMessage]],
    *,
    seed: int | None = None,
    most_prompt_tokens: int | None = None,
    tools: Sequence[ToolSpec] = (),
) -> ChatRequest:
    """Share the model's context between the reply, at most half of it, and the prompt that `build` makes.

    `build` is given the prompt's budget in tokens, at most `most_prompt_tokens`. `seed` applies where the agent has
    none of its own.
    """
    reply_tokens, budget = _reply_tokens(model, params), prompt_room(model, params) - _tool_tokens(tools)
    return ChatRequest(
        model=model.wire_name,
        messages=build(budget if most_prompt_tokens is None else min(budget, most_prompt_tokens)),
        max_tokens=reply_tokens,
        temperature=params.temperature,
        top_p=params.top_p,
        frequency_penalty=params.frequency_penalty,
        presence_penalty=params.presence_penalty,
        seed=params.seed if params.seed is not None else seed,
        stop=params.stop,
        tools=tools,
    )


def prompt_room(model: Model, params: AgentParams) -> int:
    """Tokens of the longest prompt."""
    return model.context_tokens - _reply_tokens(model, params) - PROMPT_MARGIN_TOKENS


def _reply_tokens(model: Model, params: AgentParams) -> int:
    return min(params.max_tokens, model.context_tokens // 2)


def prompt_tokens(request: ChatRequest) -> int:
    """The size of a request's prompt, estimated, as the model's chat template will frame it."""
    tokens = sum(estimate_tokens(message.content) + MESSAGE_TOKENS for message in request.messages)
    if request.tools or (len(request.messages) > 1 and request.messages[-1].role == "tool"):
        calls = (call for message in request.messages for call in message.tool_calls)
        tokens += _tool_tokens(request.tools) + sum(estimate_tokens(call.name + call.arguments) for call in calls)
    return tokens


def _tool_tokens(specs: Sequence[ToolSpec]) -> int:
    """What offering the tools adds to a prompt, estimated."""
    return sum(estimate_tokens(f"{spec.name}{spec.description}{spec.parameters}") for spec in specs)


def sources_shown(request: ChatRequest) -> Sequence[Source]:
    """What the request's prompt lets its answer cite."""
    return request.messages.sources if isinstance(request.messages, Prompt) else ()


def tokens_used(request: ChatRequest, finished: Finished, text: str) -> tuple[int, int]:
    """(prompt, completion) tokens as the provider counted them, else as estimated."""
    if finished.prompt_tokens is not None and finished.completion_tokens is not None:
        return finished.prompt_tokens, finished.completion_tokens
    completion = estimate_tokens(text) if text else 0
    # The estimate is on the high side; the reply was bounded.
    return prompt_tokens(request), completion if request.max_tokens is None else min(completion, request.max_tokens)


def used(model: Model, request: ChatRequest, finished: Finished, text: str) -> Used:
    """The same, with its price."""
    prompt, completion = tokens_used(request, finished, text)
    return Used(prompt, completion, model.cost_usd(prompt, completion))
