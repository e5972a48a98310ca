"""Asking a model for one short answer, whole: choices, bids, checks, summaries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from app.services.ai_models import Model
from app.services.prompts import used
from app.services.providers.base import (
    ChatRequest,
    Finished,
    ModelContextExceeded,
    ModelError,
    ModelRejected,
    ModelTimedOut,
    on_begin,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and what it took; tokens are estimated where the provider does not tell."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    finish_reason: str = "stop"


async def ask(model: Model, request: ChatRequest, seconds: float | None = None) -> Answer:
    """Return the whole reply; raise a `ModelError` that says what was used, `ModelTimedOut` after so many seconds.

    They begin when the call does: it may have to wait for room before.

    A `response_schema` and a `temperature` are wishes: where the provider refuses one, the model is asked without, and
    for a while at once. Read the answer leniently, therefore. Nothing is retried: a model that fails now is for the
    caller's fallback.
    """
    wish = _acceptable(model, request)
    try:
        return await _collect(model, wish, seconds)
    except ModelContextExceeded:
        raise
    except ModelRejected as refusal:
        return await _ask_for_less(model, wish, refusal, seconds)


def _acceptable(model: Model, request: ChatRequest) -> ChatRequest:
    """The request without what the model is known to refuse."""
    if request.response_schema is not None and model.refuses("response_schema", request.response_schema):
        request = replace(request, response_schema=None)
    if request.temperature is not None and model.refuses("temperature", request.temperature):
        request = replace(request, temperature=None)
    return request


async def _ask_for_less(model: Model, wish: ChatRequest, refusal: ModelRejected, seconds: float | None) -> Answer:
    """Ask without the schema, then without the temperature as well; what helped is remembered of the model.

    Where both were refused the next question tells of the other. What is refused in the end was so for neither.
    """
    if (schema := wish.response_schema) is not None:
        wish = replace(wish, response_schema=None)
        try:
            answer = await _collect(model, wish, seconds)
        except ModelContextExceeded:
            raise
        except ModelRejected as again:
            refusal = again
        else:
            model.note_refusal("response_schema", schema)
            return answer
    if wish.temperature is None:
        raise refusal
    answer = await _collect(model, replace(wish, temperature=None), seconds)
    model.note_refusal("temperature", wish.temperature)
    return answer


async def _collect(model: Model, request: ChatRequest, seconds: float | None) -> Answer:
    parts: list[str] = []
    finished = Finished("stop")
    try:
        async with _deadline(seconds), aclosing(model.client.stream(request)) as items:
            async for item in items:
                if isinstance(item, Finished):
                    finished = item
                else:
                    parts.append(item.text)
    except ModelError as error:
        if parts:  # a call that failed before the first word is not charged for
            error.used = used(model, request, finished, "".join(parts))
        raise
    text = "".join(parts)
    took = used(model, request, finished, text)
    return Answer(text, took.prompt_tokens, took.completion_tokens, took.cost_usd, finished.finish_reason)


@asynccontextmanager
async def _deadline(seconds: float | None) -> AsyncIterator[None]:
    """Raise `ModelTimedOut` when the call has taken so long."""
    try:
        async with asyncio.timeout(None) as deadline:
            begin = partial(_begin, deadline, seconds) if seconds is not None else None
            token = on_begin.set(begin)
            try:
                yield
            finally:
                on_begin.reset(token)
    except TimeoutError:
        raise ModelTimedOut(f"the model took longer than {seconds:g} s to answer", phase="total") from None


def _begin(deadline: asyncio.Timeout, seconds: float) -> None:
    deadline.reschedule(asyncio.get_running_loop().time() + seconds)
