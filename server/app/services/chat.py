"""Asking a model directly: whole or streamed, of a given form, from the cache where that is wanted."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from app.core.errors import located
from app.core.ids import new_id
from app.core.json_schema import Schema, compile_schema
from app.domain.prompt import ChatMessage
from app.domain.usage import NOTHING
from app.schemas.ai import ChatCreate, ChatRead, ChatUsage
from app.services.ai_models import ModelCatalog
from app.services.answer_cache import AnswerCache, answer_key
from app.services.callers import Actor
from app.services.model import Model
from app.services.prompts import used
from app.services.providers.base import ChatRequest, Finished, ModelError, TextDelta
from app.services.side_calls import Bill, SideCalls, worst_of_tries
from app.services.structured import AnswerUnfit, ask_structured
from app.services.turns.room import worst_case

Reply = AsyncGenerator[TextDelta | ChatRead, None]


class ChatService:
    """The models of the caller's workspace."""

    def __init__(self, catalog: ModelCatalog, calls: SideCalls, cache: AnswerCache) -> None:
        self._catalog = catalog
        self._calls = calls
        self._cache = cache

    async def begin(self, actor: Actor, request: ChatCreate) -> Reply:
        """Begin a reply: its text as it comes, and the whole of it last. Closing it early ends the call.

        Raise `UnknownModel`, `BadSchema` or `NoBudgetLeft` before it, and a `ModelError` or `AnswerUnfit` in it. What
        is to fit a schema comes in one piece, once it does.
        """
        with located("body", "model"):
            model = (await self._catalog.of(actor.workspace_id, request.model)).get(request.model)
        with located("body", "response_schema"):
            schema = compile_schema(request.response_schema) if request.response_schema is not None else None
        key = answer_key(actor.workspace_id, model, _asked(request)) if request.cache else None
        kept = await self._cache.find(key) if key is not None else None
        if kept is not None:
            return _again(ChatRead.model_validate(kept))
        reply = self._paid(actor, model, _chat_request(model, request), schema, key)
        await anext(reply)  # it is paid for, and begun: whoever drops it has it closed
        return _texts(reply)

    async def _paid(
        self, actor: Actor, model: Model, chat: ChatRequest, schema: Schema | None, key: str | None
    ) -> AsyncGenerator[TextDelta | ChatRead | None, None]:
        worst = worst_case(model, chat) if schema is None else worst_of_tries(model, chat, schema)
        async with self._calls.paying(actor.workspace_id, actor.user_id, worst) as bill:
            yield None
            answers = _plain(model, chat, bill) if schema is None else _structured(model, chat, schema, bill)
            async with aclosing(answers):
                try:
                    async for item in answers:
                        if isinstance(item, ChatRead) and key is not None:
                            await self._cache.keep(key, item.model_dump(mode="json"))
                        yield item
                except ModelError as error:
                    error.detail = f"{model.name}: {error.detail}"
                    raise


async def _texts(reply: AsyncGenerator[TextDelta | ChatRead | None, None]) -> Reply:
    async with aclosing(reply):
        async for item in reply:
            if item is not None:
                yield item


async def _again(kept: ChatRead) -> Reply:
    if kept.content:
        yield TextDelta(kept.content)
    yield kept.model_copy(update={"id": new_id(), "cached": True, "usage": _usage(NOTHING)})


async def _plain(model: Model, chat: ChatRequest, bill: Bill) -> Reply:
    parts: list[str] = []
    finished: Finished | None = None
    try:
        async with aclosing(model.client.stream(chat)) as items:
            async for item in items:
                if isinstance(item, Finished):
                    finished = item
                else:
                    parts.append(item.text)
                    yield item
    finally:
        # A call that ended before its first word is not charged for.
        has_begun = bool(parts or finished)
        bill.took = used(model, chat, finished or Finished("stop"), "".join(parts)) if has_begun else NOTHING
    assert finished is not None
    yield ChatRead(
        id=new_id(),
        model=model.name,
        content="".join(parts),
        parsed=None,
        finish_reason=finished.finish_reason,
        usage=_usage(bill.took),
        cached=False,
    )


async def _structured(model: Model, chat: ChatRequest, schema: Schema, bill: Bill) -> Reply:
    try:
        answer = await ask_structured(model, chat, schema)
    except (ModelError, AnswerUnfit) as error:
        bill.took = error.used
        raise
    bill.took = answer
    yield TextDelta(answer.text)
    yield ChatRead(
        id=new_id(),
        model=model.name,
        content=answer.text,
        parsed=answer.value,
        finish_reason=answer.finish_reason,
        usage=_usage(answer),
        cached=False,
    )


def _chat_request(model: Model, request: ChatCreate) -> ChatRequest:
    params = request.params
    return ChatRequest(
        model=model.wire_name,
        messages=[ChatMessage(message.role, message.content) for message in request.messages],
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        top_p=params.top_p,
        frequency_penalty=params.frequency_penalty,
        presence_penalty=params.presence_penalty,
        seed=params.seed,
        stop=params.stop,
    )


def _asked(request: ChatCreate) -> dict[str, object]:
    return request.model_dump(mode="json", exclude={"stream", "cache", "model"})


def _usage(took: object) -> ChatUsage:
    return ChatUsage.model_validate(took)
