"""Models: which there are, and asking them directly."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
import structlog
from fastapi import APIRouter, Request, Response

from app.core.errors import ArenaError, TimedOut
from app.core.requests import PREFIX
from app.dependencies import Chat, Cursor, Embeddings, Limit, ModelList, ServerConfig, UsesModels
from app.routes.heartbeats import with_heartbeats
from app.routes.responses import event_stream, problems
from app.schemas.ai import ChatCreate, ChatRead, EmbeddingsCreate, EmbeddingsRead, ModelPage
from app.services.chat import Reply

log = structlog.stdlib.get_logger(__name__)
router = APIRouter(prefix=PREFIX + "/ai", tags=["ai"])
LOOK_SECONDS = 0.5
T = TypeVar("T")


class CallerLeft(TimedOut):
    """Nobody waits for the answer any more."""

    code = "caller_left"


@router.get("/models", responses=problems(401, 403, 404, 422))
async def list_models(
    response: Response, actor: UsesModels, models: ModelList, limit: Limit = 50, cursor: Cursor = None
) -> ModelPage:
    """All models that the workspace can use, by name; providers that do not answer are named in `unavailable`."""
    response.headers["Cache-Control"] = "no-store"
    return await models.list_page(actor, limit, cursor)


@router.post(
    "/chat",
    response_model=ChatRead,
    responses={
        **problems(401, 403, 404, 408, 409, 413, 422, 424),
        200: {"content": {"text/event-stream": {}}, "description": "The answer; with `stream`, events"},
    },
)
async def chat(
    asked: ChatCreate, request: Request, actor: UsesModels, chats: Chat, settings: ServerConfig
) -> ChatRead | Response:
    """Ask a model. With `stream`, `message.delta` events with the text, then `message.completed` with the whole answer.

    A failure after the beginning of a stream comes as an `error` event. Leaving ends the call at the provider.
    """
    if asked.stream:
        reply = await chats.begin(actor, asked)
        return event_stream(with_heartbeats(_events(reply), settings.server.stream_heartbeat_seconds))
    return await _while_connected(request, _whole(chats.begin(actor, asked)))


@router.post("/embeddings", responses=problems(401, 403, 404, 413, 422, 424))
async def embed(request: EmbeddingsCreate, actor: UsesModels, embeddings: Embeddings) -> EmbeddingsRead:
    """Turn texts into vectors of length 1."""
    return await embeddings.embed(actor, request)


async def _whole(beginning: Awaitable[Reply]) -> ChatRead:
    async with aclosing(await beginning) as reply:
        async for item in reply:
            if isinstance(item, ChatRead):
                return item
    raise AssertionError("a reply ends with the whole of it")


async def _events(reply: Reply) -> AsyncGenerator[bytes, None]:
    offset = 0
    try:
        async with aclosing(reply):
            async for item in reply:
                if isinstance(item, ChatRead):
                    yield _event("message.completed", item.model_dump(mode="json"))
                else:
                    yield _event("message.delta", {"offset": offset, "text": item.text})
                    offset += len(item.text)
    except ArenaError as error:
        yield _event("error", {"code": error.code, "detail": error.detail})
    except Exception:
        log.exception("reply_cut")
        yield _event("error", {"code": "internal_error", "detail": "something went wrong here; it was logged"})


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


async def _while_connected(request: Request, work: "Awaitable[T]") -> T:
    """What the work gives; cancel it and raise `CallerLeft` if the caller goes away meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
            if await request.is_disconnected():
                raise CallerLeft("the caller has left")
        return await task
    finally:
        task.cancel()
        await asyncio.wait({task})
