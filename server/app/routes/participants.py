"""Coming to the table of a discussion, and leaving it."""

from uuid import UUID

from fastapi import APIRouter

from app.core.requests import PREFIX
from app.dependencies import ControlsDiscussions, Seats
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.discussion import ParticipantCreate, ParticipantRead

router = APIRouter(
    prefix=PREFIX + "/discussions/{discussion_id}/participants", tags=["discussions"], route_class=CreatingRoute
)


@router.post("", status_code=201, responses=problems(401, 403, 404, 409, 413, 422))
async def join_discussion(
    discussion_id: UUID, request: ParticipantCreate, actor: ControlsDiscussions, seats: Seats
) -> ParticipantRead:
    """Seat an agent or a person at the end of the speaking order; the answer is the seat."""
    return await seats.join(actor, discussion_id, request)


@router.delete("/{participant_id}", status_code=204, responses=problems(401, 403, 404, 409, 422))
async def leave_discussion(discussion_id: UUID, participant_id: UUID, actor: ControlsDiscussions, seats: Seats) -> None:
    """Take a seat from the table: one's own, or, of a discussion that one runs, anybody's."""
    await seats.leave(actor, discussion_id, participant_id)
