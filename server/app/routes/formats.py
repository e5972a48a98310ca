"""Ready formats of discussions."""

from fastapi import APIRouter

from app.core.requests import PREFIX
from app.dependencies import ReadsDiscussions
from app.routes.responses import problems
from app.schemas.base import Page
from app.schemas.policies import FormatRead
from app.services.formats import list_formats

router = APIRouter(prefix=PREFIX + "/formats", tags=["discussions"])


@router.get("", responses=problems(401, 403, 404, 422))
async def get_formats(actor: ReadsDiscussions) -> Page[FormatRead]:
    """Scripts that a discussion's turn policy may use by name."""
    return list_formats()
