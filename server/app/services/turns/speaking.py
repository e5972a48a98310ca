"""One attempt of one turn: ask the model, show the text as it comes, no transaction open."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from app.services.ai_models import Model
from app.services.live.bus import LiveBus, LiveMessage
from app.services.prompts import tokens_used
from app.services.providers.base import ChatRequest, Finished, ModelError
from app.services.turns.leases import ClaimLost, HeldClaim

T = TypeVar("T")


class EmptyReply(ModelError):
    """The model answered with nothing but white space."""

    code = "model_empty_reply"


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
    """Stream one reply; raise a `ModelError`, or `ClaimLost` as soon as the claim is another's."""
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
    async with aclosing(model.client.stream(request)) as deltas:
        async for delta in deltas:
            if isinstance(delta, Finished):
                finished = delta
                continue
            first_token = first_token or perf_counter()
            message.add(delta.text)
            live.push(message)
    content = message.text
    if not content.strip():
        raise EmptyReply("the model answered with nothing")
    if held.lost.is_set():
        raise ClaimLost
    prompt_tokens, completion_tokens = tokens_used(request, finished, content)
    return Reply(
        content=content,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost_usd=model.cost_usd(prompt_tokens, completion_tokens),
        first_token_ms=round((first_token - began) * 1000, 3),
        duration_ms=round((perf_counter() - began) * 1000, 3),
    )
