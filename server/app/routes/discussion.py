"""Discussions: open, read, change, delete, transcript."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from app.core.requests import PREFIX
from app.dependencies import (
    ControlsDiscussions,
    Cursor,
    Discussions,
    ExpectedVersion,
    Floor,
    IfNoneMatch,
    Limit,
    ReadsDiscussions,
    SearchText,
    Sent,
    Transcripts,
    WritesDiscussions,
)
from app.domain.discussion import Status
from app.routes.downloads import Download
from app.routes.idempotent import CreatingRoute
from app.routes.responses import FINAL, UNCHANGED, etag, is_current, not_modified, problems, tagged
from app.schemas.base import Page
from app.schemas.discussion import DiscussionCreate, DiscussionRead, DiscussionUpdate
from app.schemas.policies import FloorGive
from app.services.transcripts import TranscriptFormat

router = APIRouter(prefix=PREFIX + "/discussions", tags=["discussions"], route_class=CreatingRoute)
MEDIA_TYPES = {"json": "application/json", "md": "text/markdown", "txt": "text/plain"}


@router.post("", status_code=201, responses=problems(401, 403, 404, 413, 422))
async def create_discussion(
    request: DiscussionCreate, response: Response, actor: WritesDiscussions, discussions: Discussions
) -> DiscussionRead:
    """Open a discussion; unless `start` is false, its first speaker has the floor at once."""
    discussion = await discussions.create(actor, request)
    response.headers["Location"] = f"/api/v1/discussions/{discussion.id}"
    return tagged(response, discussion)


@router.get("", responses=problems(401, 403, 404, 422))
async def list_discussions(
    actor: ReadsDiscussions,
    discussions: Discussions,
    status: Status | None = None,
    q: SearchText = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DiscussionRead]:
    """Newest first; `q` is looked for in topics and titles."""
    return await discussions.list_page(actor, status=status, text=q, limit=limit, cursor=cursor)


@router.get("/{discussion_id}", response_model=DiscussionRead, responses={**UNCHANGED, **problems(401, 403, 404, 422)})
async def get_discussion(
    discussion_id: UUID,
    response: Response,
    actor: ReadsDiscussions,
    discussions: Discussions,
    if_none_match: IfNoneMatch = None,
) -> DiscussionRead | Response:
    """A discussion's present state."""
    discussion = await discussions.get(actor, discussion_id)
    current = etag(discussion.version, discussion.last_seq)
    if is_current(if_none_match, current):
        return not_modified(current)
    return tagged(response, discussion)


@router.patch("/{discussion_id}", responses=problems(401, 403, 404, 409, 412, 413, 422))
async def update_discussion(
    discussion_id: UUID,
    request: DiscussionUpdate,
    response: Response,
    actor: ControlsDiscussions,
    discussions: Discussions,
    expected_version: ExpectedVersion,
) -> DiscussionRead:
    """Change the title at any time; topic, instructions and rules of a draft or a paused discussion."""
    return tagged(response, await discussions.update(actor, discussion_id, request, expected_version))


@router.delete("/{discussion_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def delete_discussion(discussion_id: UUID, actor: ControlsDiscussions, discussions: Discussions) -> None:
    """Delete the discussion with all that was said."""
    await discussions.delete(actor, discussion_id)


@router.post("/{discussion_id}/floor", responses=problems(401, 403, 404, 409, 413, 422))
async def give_floor(
    discussion_id: UUID, request: FloorGive, response: Response, actor: ControlsDiscussions, floor: Floor
) -> DiscussionRead:
    """Choose who speaks, where the turn policy waits for that (`manual`)."""
    return tagged(response, await floor.give(actor, discussion_id, request))


@router.get(
    "/{discussion_id}/transcript",
    response_class=StreamingResponse,
    responses={
        **UNCHANGED,
        **problems(401, 403, 404, 422),
        200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "The whole discussion"},
    },
)
async def get_transcript(
    discussion_id: UUID,
    actor: ReadsDiscussions,
    discussions: Discussions,
    transcripts: Transcripts,
    downloads: Sent,
    if_none_match: IfNoneMatch = None,
    form: Annotated[TranscriptFormat, Query(alias="format")] = "json",
) -> Response:
    """The whole discussion as one document, without whispers. That of an ended one may be kept."""
    discussion = await discussions.get(actor, discussion_id)
    current = f'"{discussion.version}-{discussion.last_seq}-{form}"'
    headers = {"ETag": current, **(FINAL if discussion.status == Status.ENDED else {})}
    if is_current(if_none_match, current):
        return Response(status_code=304, headers=headers)
    write = partial(transcripts.write, actor, discussion, form)
    return Download(downloads, actor.user_id, write, media_type=MEDIA_TYPES[form], headers=headers)
