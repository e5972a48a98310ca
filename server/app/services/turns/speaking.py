"""One attempt of one turn: ask the model, show the text as it comes, no transaction open."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from app.domain.usage import Used
from app.services.ai_models import Model
from app.services.live.bus import LiveBus, LiveMessage
from app.services.prompts import used
from app.services.providers.base import ChatRequest, Finished, ModelError
from app.services.turns.leases import ClaimLost, HeldClaim

T = TypeVar("T")


class EmptyReply(ModelError):
    """The model answered with nothing but white space."""

    code = "model_empty_reply"

    def __init__(self, used: Used) -> None:
        super().__init__("the model answered with nothing")
        self.used = used


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said, and what it took."""

    content: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    first_token_ms: float
    duration_ms: float


async def speak(model: Model, request: ChatRequest, message: LiveMessage, live: LiveBus, held: HeldClaim) -> Reply:
    """Stream one reply; raise a `ModelError` that says what was used, or `ClaimLost` as soon as it is another's."""
    return await while_held(held, _stream(model, request, message, live, held))


async def while_held(held: HeldClaim, call: Coroutine[Any, Any, T]) -> T:
    """The call's outcome; raise `ClaimLost`, the call being cancelled, as soon as the claim is another's."""
    task = asyncio.current_task()
    assert task is not None
    watcher = asyncio.ensure_future(_cancel_when_lost(held, task))
    try:
        return await call
    except asyncio.CancelledError:
        if held.lost.is_set() and task.uncancel() == 0:
            raise ClaimLost from None
        raise
    finally:
        watcher.cancel()


async def _cancel_when_lost(held: HeldClaim, task: "asyncio.Task[object]") -> None:
    await held.lost.wait()
    task.cancel()


async def _stream(model: Model, request: ChatRequest, message: LiveMessage, live: LiveBus, held: HeldClaim) -> Reply:
    began = perf_counter()
    first_token = 0.0
    finished = Finished("stop")
    try:
        async with aclosing(model.client.stream(request)) as deltas:
            async for delta in deltas:
                if isinstance(delta, Finished):
                    finished = delta
                    continue
                first_token = first_token or perf_counter()
                message.add(delta.text)
                live.push(message)
    except ModelError as error:
        if message.text:  # a call that failed before the first word is not charged for
            error.used = used(model, request, finished, message.text)
        raise
    content = message.text
    took = used(model, request, finished, content)
    if not content.strip():
        raise EmptyReply(took)
    if held.lost.is_set():
        raise ClaimLost
    return Reply(
        content=content,
        prompt_tokens=took.prompt_tokens,
        completion_tokens=took.completion_tokens,
        cost_usd=took.cost_usd,
        first_token_ms=round((first_token - began) * 1000, 3),
        duration_ms=round((perf_counter() - began) * 1000, 3),
    )
