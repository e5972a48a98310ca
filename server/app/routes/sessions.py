"""The caller's own sessions."""

from uuid import UUID

from fastapi import APIRouter

from app.core.requests import PREFIX
from app.dependencies import Cursor, Limit, ManagesAccount, Sessions
from app.routes.responses import problems
from app.schemas.auth import SessionRead
from app.schemas.base import Page

router = APIRouter(prefix=PREFIX + "/auth/sessions", tags=["auth"])


@router.get("", responses=problems(401, 403, 422))
async def list_sessions(
    user: ManagesAccount, sessions: Sessions, limit: Limit = 50, cursor: Cursor = None
) -> Page[SessionRead]:
    """Where the caller is logged in, newest first."""
    return await sessions.list_live(user, limit, cursor)


@router.delete("", status_code=204, responses=problems(401, 403))
async def end_other_sessions(user: ManagesAccount, sessions: Sessions) -> None:
    """End all of them but the one that asks."""
    await sessions.end_others(user)


@router.delete("/{session_id}", status_code=204, responses=problems(401, 403, 404, 422))
async def end_session(session_id: UUID, user: ManagesAccount, sessions: Sessions) -> None:
    """End one: its access token, refresh token, streams and sockets."""
    await sessions.end(user, session_id)
