"""What is spent of the budgets of a day."""

from fastapi import APIRouter

from app.core.requests import PREFIX
from app.dependencies import DailyUsage, ReadsDiscussions
from app.routes.responses import problems
from app.schemas.usage import UsageRead

router = APIRouter(prefix=PREFIX + "/usage", tags=["usage"])


@router.get("", responses=problems(401, 403, 404, 422))
async def get_usage(actor: ReadsDiscussions, usage: DailyUsage) -> UsageRead:
    """Today's spending of the caller and of the workspace, and the budgets it counts against."""
    return await usage.today(actor)
