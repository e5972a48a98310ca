"""A discussion's log: pages of it, or a live stream."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from time import monotonic
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from app.config import ServerSettings
from app.core.errors import Invalid, located
from app.dependencies import Discussions, Limit, Live, Messages, ReadsDiscussions, ServerConfig
from app.routes.responses import event_stream, problems
from app.schemas.base import Text
from app.schemas.message import EventPage
from app.services.live.frames import Frame
from app.services.live.hub import Hub
from app.services.live.position import Position
from app.services.live.viewing import Viewing

router = APIRouter(prefix="/discussions/{discussion_id}/events", tags=["streams"])

EventId = Annotated[Text | None, Query(max_length=32, description="An id that a stream or a page gave.")]
RETRY_MS = 1000
RETRY_AFTER_END_MS = 24 * 3600 * 1000


class EventIdAhead(Invalid):
    """The id is beyond the end of the log."""

    code = "event_id_ahead"


@router.get(
    "",
    response_class=Response,
    responses={
        **problems(401, 403, 404, 422),
        200: {
            "description": "With `Accept: text/event-stream` the live stream, else a page of the log.",
            "content": {
                "application/json": {
                    "schema": EventPage.model_json_schema(ref_template="#/components/schemas/{model}")
                },
                "text/event-stream": {"schema": {"type": "string"}},
            },
        },
    },
)
async def read_events(
    discussion_id: UUID,
    actor: ReadsDiscussions,
    discussions: Discussions,
    messages: Messages,
    hub: Live,
    settings: ServerConfig,
    after: EventId = None,
    limit: Limit = 50,
    last_event_id: Annotated[str | None, Header()] = None,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """The log past `after` (or `Last-Event-ID`, which a reconnecting browser sends): live, or a page of it."""
    wants_stream = "text/event-stream" in accept
    # A browser keeps the address, `after` included, and tells where it got to in the header.
    is_header = bool(wants_stream and last_event_id)
    given, source = (last_event_id, ("header", "last-event-id")) if is_header else (after, ("query", "after"))
    with located(*source):
        position = Position.parse(given) if given else Position(0)
    if not wants_stream:
        stored, last_seq = await messages.list_events(actor, discussion_id, after=position.seq, limit=limit)
        items = [
            {
                "seq": event.seq,
                "type": event.type,
                "created_at": event.created_at,
                "data": orjson.Fragment(event.payload),
            }
            for event in stored
        ]
        return Response(orjson.dumps({"items": items, "last_seq": last_seq}), media_type="application/json")
    discussion = await discussions.get(actor, discussion_id)
    if position.seq > discussion.last_seq:
        with located(*source):
            raise EventIdAhead(f"the log ends at {discussion.last_seq}")
    position.live_from = discussion.last_seq
    position.reader = await messages.reader(actor, discussion_id)
    viewing = Viewing(partial(messages.find_reader, actor, discussion_id))
    return event_stream(_sse(hub, discussion_id, position, viewing, settings.server))


async def _sse(
    hub: Hub, discussion_id: UUID, position: Position, viewing: Viewing, settings: ServerSettings
) -> AsyncGenerator[bytes, None]:
    ends = monotonic() + settings.stream_seconds
    yield b"retry: %d\n\n" % RETRY_MS
    shown = hub.follow(discussion_id, position, settings.stream_heartbeat_seconds, viewing)
    async with aclosing(shown) as batches:
        async for batch in batches:
            yield b"".join(map(Frame.as_sse, batch)) if batch else b": heartbeat\n\n"
            if monotonic() > ends:
                return
    # Who may read no more is told so when they come back.
    if not hub.is_closing and not viewing.is_over:
        # Nothing more will ever come, but an EventSource cannot be told so after the answer has begun.
        yield b"retry: %d\n\n" % RETRY_AFTER_END_MS
