"""Forks of a discussion, and how two compare."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.core.requests import PREFIX
from app.dependencies import Cursor, Diffs, Forks, Limit, ReadsDiscussions, WritesDiscussions
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems, tagged
from app.schemas.diff import DiscussionDiff
from app.schemas.discussion import DiscussionFork, DiscussionRead

router = APIRouter(prefix=PREFIX + "/discussions/{discussion_id}", tags=["discussions"], route_class=CreatingRoute)


@router.post("/fork", status_code=201, responses=problems(401, 403, 404, 413, 422))
async def fork_discussion(
    discussion_id: UUID, request: DiscussionFork, response: Response, actor: WritesDiscussions, forks: Forks
) -> DiscussionRead:
    """A new discussion whose log begins with this one's; unless `start` is false, it goes on from there at once."""
    fork = await forks.fork(actor, discussion_id, request)
    response.headers["Location"] = f"/api/v1/discussions/{fork.id}"
    return tagged(response, fork)


@router.get("/diff", responses=problems(401, 403, 404, 422))
async def compare_discussions(
    discussion_id: UUID,
    other: Annotated[UUID, Query(alias="with", description="The discussion to compare with.")],
    actor: ReadsDiscussions,
    diffs: Diffs,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DiscussionDiff:
    """The messages of both from where they part, side by side."""
    return await diffs.compare(actor, discussion_id, other, limit, cursor)
