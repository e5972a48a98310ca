"""A discussion's log: pages of it, or a live stream."""

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Query
from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.core.errors import Unauthenticated, located
from app.core.requests import PREFIX
from app.dependencies import (
    Access,
    Admission,
    Declared,
    Limit,
    Live,
    Messages,
    ServerConfig,
    Streams,
    StreamTokenParameter,
    WhoIsCalling,
    WorkspaceHeader,
    bearer_of,
    get_current_user,
)
from app.domain.permissions import Permission
from app.routes.negotiation import wants_event_stream
from app.routes.responses import EVENT_STREAM, json_answer, problems
from app.routes.sse import LiveStream
from app.schemas.base import Text
from app.schemas.message import EventPage
from app.services.callers import Actor
from app.services.live.position import Position
from app.services.live.streams import standing_of
from app.services.live.viewer import Viewer

router = APIRouter(prefix=PREFIX + "/discussions/{discussion_id}/events", tags=["streams"])

EventId = Annotated[Text | None, Query(description="An id that a stream or a page gave.")]
WantsStream = Annotated[bool, Depends(wants_event_stream)]


class RequireViewer(Declared):
    """Gives who reads. A stream token stands for the workspace the discussion belongs to, and opens no page."""

    async def __call__(
        self,
        discussion_id: UUID,
        connection: HTTPConnection,
        access: Access,
        admission: Admission,
        callers: WhoIsCalling,
        wants_stream: WantsStream,
        stream_token: StreamTokenParameter = None,
        x_workspace_id: WorkspaceHeader = None,
    ) -> Actor:
        if stream_token is not None and bearer_of(connection) is None:
            if not wants_stream:
                raise Unauthenticated("a stream token opens a live stream only; ask for `Accept: text/event-stream`")
            actor = await admission.actor(await access.identify(stream_token), discussion_id)
        else:
            actor = await callers.in_workspace(await get_current_user(connection), x_workspace_id)
        self.check(actor)
        return actor


@router.get(
    "",
    response_class=Response,
    responses={
        **problems(401, 403, 404, 422, 429),
        200: {
            "description": "With `Accept: text/event-stream` the live stream, else a page of the log.",
            "content": {
                "application/json": {
                    "schema": EventPage.model_json_schema(ref_template="#/components/schemas/{model}")
                },
                EVENT_STREAM: {"schema": {"type": "string"}},
            },
        },
    },
)
async def read_events(
    discussion_id: UUID,
    actor: Annotated[Actor, Depends(RequireViewer(Permission.DISCUSSIONS_READ))],
    messages: Messages,
    admission: Admission,
    streams: Streams,
    hub: Live,
    settings: ServerConfig,
    wants_stream: WantsStream,
    after: EventId = None,
    limit: Limit = 50,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """The log past `after` (or `Last-Event-ID`, which a reconnecting browser sends): live, or a page of it."""
    # A browser keeps the address, `after` included, and tells where it got to in the header.
    is_header = bool(wants_stream and last_event_id)
    given, source = (last_event_id, ("header", "last-event-id")) if is_header else (after, ("query", "after"))
    with located(*source):
        position = Position.parse(given) if given else Position(0)
        if wants_stream:
            position = await admission.begin(actor, discussion_id, position)
    if not wants_stream:
        return await _page(messages, actor, discussion_id, position.seq, limit)
    viewer = Viewer(
        standing_of(actor),
        discussion_id,
        position,
        heartbeat_seconds=settings.server.stream_heartbeat_seconds,
        life_seconds=settings.server.stream_seconds,
    )
    return LiveStream(streams, viewer, hub.following(viewer), settings.server.stream_stall_seconds)


async def _page(messages: Messages, actor: Actor, discussion_id: UUID, after: int, limit: int) -> Response:
    page = await messages.list_events(actor, discussion_id, after=after, limit=limit)
    items = [
        {"seq": event.seq, "type": event.type, "created_at": event.created_at, "data": orjson.Fragment(event.payload)}
        for event in page.events
    ]
    return json_answer(orjson.dumps({"items": items, "last_seq": page.last_seq}), is_final=page.is_final)
