"""Commands to a discussion."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.core.requests import PREFIX
from app.dependencies import ControlsDiscussions, Lifecycle
from app.routes.responses import problems, tagged
from app.schemas.discussion import DiscussionRead

router = APIRouter(prefix=PREFIX + "/discussions/{discussion_id}", tags=["discussions"])
REFUSALS = problems(401, 403, 404, 409, 422)


@router.post("/start", responses=REFUSALS)
async def start_discussion(
    discussion_id: UUID, response: Response, actor: ControlsDiscussions, lifecycle: Lifecycle
) -> DiscussionRead:
    """Start a draft discussion."""
    return tagged(response, await lifecycle.start(actor, discussion_id))


@router.post("/pause", responses=REFUSALS)
async def pause_discussion(
    discussion_id: UUID, response: Response, actor: ControlsDiscussions, lifecycle: Lifecycle
) -> DiscussionRead:
    """Pause once the speaker has finished: until then `status` is `running` and `pausing` true."""
    return tagged(response, await lifecycle.pause(actor, discussion_id))


@router.post("/resume", responses=REFUSALS)
async def resume_discussion(
    discussion_id: UUID, response: Response, actor: ControlsDiscussions, lifecycle: Lifecycle
) -> DiscussionRead:
    """Go on with a paused discussion, where it was paused."""
    return tagged(response, await lifecycle.resume(actor, discussion_id))


@router.post("/interrupt", responses=REFUSALS)
async def interrupt_discussion(
    discussion_id: UUID, response: Response, actor: ControlsDiscussions, lifecycle: Lifecycle
) -> DiscussionRead:
    """Pause now; what viewers were shown of a cut message is kept as `interrupted`."""
    return tagged(response, await lifecycle.interrupt(actor, discussion_id))


@router.post("/stop", responses=REFUSALS)
async def stop_discussion(
    discussion_id: UUID, response: Response, actor: ControlsDiscussions, lifecycle: Lifecycle
) -> DiscussionRead:
    """End the discussion now; what viewers were shown of a cut message is kept as `interrupted`."""
    return tagged(response, await lifecycle.stop(actor, discussion_id))
