"""What a workspace's discussions come to, as it happens."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.core.errors import located
from app.core.requests import PREFIX
from app.dependencies import (
    Access,
    Declared,
    ServerConfig,
    StatusNotices,
    Streams,
    StreamTokenParameter,
    WhoIsCalling,
    WorkspaceHeader,
    bearer_of,
    get_current_user,
)
from app.domain.permissions import Permission
from app.routes.responses import EVENT_STREAM, problems
from app.routes.sse import LiveStream
from app.schemas.base import Text
from app.services.callers import Actor
from app.services.live.notices import Listener, seen_of
from app.services.live.streams import standing_of

router = APIRouter(prefix=PREFIX + "/notifications", tags=["streams"])

NoticeId = Annotated[Text | None, Query(description="An id that this stream gave.")]


class RequireListener(Declared):
    """Gives who listens, in the workspace that is meant."""

    async def __call__(
        self,
        connection: HTTPConnection,
        access: Access,
        callers: WhoIsCalling,
        stream_token: StreamTokenParameter = None,
        workspace_id: Annotated[UUID | None, Query(description="Instead of the header `X-Workspace-ID`.")] = None,
        x_workspace_id: WorkspaceHeader = None,
    ) -> Actor:
        if stream_token is not None and bearer_of(connection) is None:
            user = await access.identify(stream_token)
        else:
            user = await get_current_user(connection)
        actor = await callers.in_workspace(user, x_workspace_id or workspace_id)
        self.check(actor)
        return actor


@router.get(
    "",
    response_class=Response,
    responses={
        **problems(401, 403, 404, 422, 429),
        200: {
            "description": "Server-sent events, one for each change of status.",
            "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
        },
    },
)
async def stream_notifications(
    actor: Annotated[Actor, Depends(RequireListener(Permission.DISCUSSIONS_READ))],
    streams: Streams,
    notices: StatusNotices,
    settings: ServerConfig,
    after: NoticeId = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Changes of status of the workspace's discussions: from now on, or behind `after` (or `Last-Event-ID`)."""
    source = ("header", "last-event-id") if last_event_id else ("query", "after")
    given = last_event_id or after
    with located(*source):
        seen = await notices.begin(seen_of(given) if given else None)
    listener = Listener(
        standing_of(actor),
        actor.workspace_id,
        seen,
        heartbeat_seconds=settings.server.stream_heartbeat_seconds,
        life_seconds=settings.server.stream_seconds,
    )
    return LiveStream(streams, listener, notices.hearing(listener), settings.server.stream_stall_seconds)
