"""Messages: say something, read what was said."""

from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.core.errors import Unauthenticated
from app.core.requests import PREFIX
from app.dependencies import Cursor, Limit, MaySpeak, Messages, ReadsDiscussions, Services, services_of
from app.repositories.message_pages import PageOf
from app.routes.idempotent import CreatingRoute
from app.routes.repeated import repeat_with
from app.routes.responses import json_answer, problems
from app.schemas.base import Page
from app.schemas.message import MessageCreate, MessagePosted, MessageRead
from app.services.callers import Actor

router = APIRouter(
    prefix=PREFIX + "/discussions/{discussion_id}/messages", tags=["messages"], route_class=CreatingRoute
)


@router.get("", response_model=Page[MessageRead], responses=problems(401, 403, 404, 422))
async def list_messages(
    request: Request,
    discussion_id: UUID,
    actor: ReadsDiscussions,
    order: Literal["asc", "desc"] = "asc",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """What was said and the caller may read, in the order of the log or backwards."""
    asked = PageOf(discussion_id, newest_first=order == "desc", limit=limit, cursor=cursor)

    async def give(services: Services, reader: Actor) -> Response:
        page = await services.pages.get(reader, asked)
        return json_answer(page.text, page.tag, is_final=page.is_final)

    response = await give(services_of(request), actor)
    repeat_with(request, give)
    return response


@router.post("", status_code=201, responses=problems(401, 403, 404, 409, 413, 422))
async def post_message(
    discussion_id: UUID, request: MessageCreate, actor: MaySpeak, messages: Messages
) -> MessagePosted:
    """Say something to all or, with `visible_to`, to some; without a seat the caller is given a guest's.

    An external agent takes its turn with `turn_token`, which needs no access token beside it.
    """
    if request.turn_token is not None:
        return await messages.post_with_token(actor, discussion_id, request, request.turn_token)
    if actor is None:
        raise Unauthenticated("an access token is needed: `Authorization: Bearer …`")
    return await messages.post(actor, discussion_id, request)
