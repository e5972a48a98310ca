"""One attempt of one turn: ask the model, show the text as it comes, no transaction open."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeVar

from app.domain.grounding import Source
from app.domain.usage import NOTHING, Used
from app.services.ai_models import Model
from app.services.live.bus import LiveBus, LiveMessage
from app.services.prompts import used
from app.services.providers.base import (
    ChatRequest,
    Finished,
    ModelContextExceeded,
    ModelError,
    ModelRejected,
    TextDelta,
)
from app.services.refusals import Wish
from app.services.turns.leases import ClaimLost, HeldClaim
from app.services.turns.structure import Structure
from app.services.turns.tool_use import ToolUse

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
    tools: Sequence[dict[str, Any]] = ()
    found: Sequence[Source] = ()
    """What tools have found that it may cite."""
    parsed: Any = None


async def speak(
    model: Model,
    request: ChatRequest,
    message: LiveMessage,
    live: LiveBus,
    held: HeldClaim,
    tools: ToolUse | None = None,
    structure: Structure | None = None,
) -> Reply:
    """Stream one reply, in several rounds where the model calls tools.

    Raise a `ModelError` that says what was used, or `ClaimLost` as soon as it is another's.
    """
    return await while_held(held, _stream(model, request, message, live, held, tools, structure))


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


async def _stream(
    model: Model,
    request: ChatRequest,
    message: LiveMessage,
    live: LiveBus,
    held: HeldClaim,
    tools: ToolUse | None,
    structure: Structure | None,
) -> Reply:
    began, first_token = perf_counter(), 0.0
    took = NOTHING
    following: ChatRequest | None = request
    while following is not None:
        asked, before = following, message.text
        gap = "" if not before or before.endswith("\n") else "\n\n"
        finished = Finished("stop")
        try:
            async with aclosing(_asked(model, asked, structure)) as deltas:
                async for delta in deltas:
                    if isinstance(delta, Finished):
                        finished = delta
                        continue
                    first_token = first_token or perf_counter()
                    message.add(gap + delta.text if gap else delta.text)
                    gap = ""
                    live.push(message)
        except ModelError as error:
            said = message.text[len(before) :]
            # A call that failed before the first word is not charged for.
            error.used = took + used(model, asked, finished, said) if said else took
            raise
        said = message.text[len(before) :].removeprefix("\n\n")
        took += used(model, asked, finished, said + "".join(call.arguments for call in finished.tool_calls))
        following = None
        if tools is not None and asked.tools and finished.tool_calls:
            following = await tools.answer(model, asked, said, finished.tool_calls, message, took)
    if not message.text.strip():
        raise EmptyReply(took)
    if held.lost.is_set():
        raise ClaimLost
    return Reply(
        content=message.text,
        prompt_tokens=took.prompt_tokens,
        completion_tokens=took.completion_tokens,
        cost_usd=took.cost_usd,
        first_token_ms=round((first_token - began) * 1000, 3),
        duration_ms=round((perf_counter() - began) * 1000, 3),
        tools=message.speech.calls() if tools is not None else (),
        found=tools.sources if tools is not None else (),
    )


def _asked(
    model: Model, request: ChatRequest, structure: Structure | None
) -> AsyncGenerator[TextDelta | Finished, None]:
    if request.tools or structure is not None:
        return _wished(model, request, structure)
    return model.client.stream(request)


async def _wished(
    model: Model, request: ChatRequest, structure: Structure | None
) -> AsyncGenerator[TextDelta | Finished, None]:
    """Ask with the tools and the schema; a model that refuses one is asked without, and for a while at once."""
    wishes = _wishes(model, request, structure)
    for number, (wish, forgone) in enumerate(wishes):
        try:
            async with aclosing(model.client.stream(wish)) as items:
                async for item in items:
                    while forgone:
                        model.note_refusal(*forgone.pop())
                    yield item
                return
        except ModelRejected as error:
            # Nothing was said before a refusal.
            if number == len(wishes) - 1 or isinstance(error, ModelContextExceeded):
                raise


def _wishes(
    model: Model, request: ChatRequest, structure: Structure | None
) -> list[tuple[ChatRequest, list[tuple[Wish, object]]]]:
    """The request, and what of it may be left out, each with what the model refuses if it takes only that."""
    may_go_without = request.tools and not any(one.tool_calls for one in request.messages)
    if may_go_without and model.refuses("tools", request.tools):
        request, may_go_without = replace(request, tools=()), False
    wishes: list[tuple[ChatRequest, list[tuple[Wish, object]]]] = [(request, [])]
    if structure is not None and request.response_schema is not None:
        wishes.append((structure.in_words(request), [("response_schema", request.response_schema)]))
    if may_go_without:
        wishes += [(replace(wish, tools=()), [*forgone, ("tools", request.tools)]) for wish, forgone in wishes]
    return wishes
