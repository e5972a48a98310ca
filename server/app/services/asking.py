"""Asking a model for one short answer, whole: choices, bids, checks, summaries."""

from contextlib import aclosing
from dataclasses import dataclass, replace

from app.services.ai_models import Model
from app.services.prompts import tokens_used
from app.services.providers.base import ChatRequest, Finished, ModelContextExceeded, ModelRejected


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and what it took; tokens are estimated where the provider does not tell."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


async def ask(model: Model, request: ChatRequest) -> Answer:
    """Return the whole reply; raise a `ModelError`.

    A `response_schema` is a wish: where the provider refuses it, the model is asked without, and from then on at once.
    Read the answer leniently, therefore. Nothing is retried: a model that fails now is for the caller's fallback.
    """
    if request.response_schema is None:
        return await _collect(model, request)
    plain = replace(request, response_schema=None)
    if model.wire_name in model.without_schema:
        return await _collect(model, plain)
    try:
        return await _collect(model, request)
    except ModelContextExceeded:
        raise
    except ModelRejected:
        answer = await _collect(model, plain)  # if this is refused as well, it is not for the schema
        model.without_schema.add(model.wire_name)
        return answer


async def _collect(model: Model, request: ChatRequest) -> Answer:
    parts: list[str] = []
    finished = Finished("stop")
    async with aclosing(model.client.stream(request)) as items:
        async for item in items:
            if isinstance(item, Finished):
                finished = item
            else:
                parts.append(item.text)
    text = "".join(parts)
    prompt_tokens, completion_tokens = tokens_used(request, finished, text)
    return Answer(text, prompt_tokens, completion_tokens, model.cost_usd(prompt_tokens, completion_tokens))
