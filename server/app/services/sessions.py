"""A user's sessions, as their owner sees and ends them."""

from uuid import UUID

from app.core.clock import utc_now
from app.core.errors import NotFound
from app.domain.audit import Action
from app.models import Session
from app.schemas.auth import SessionRead
from app.schemas.base import Page
from app.services.callers import Callers, CurrentUser
from app.services.unit_of_work import UnitOfWorkFactory


class SessionService:
    """What ends here ends at once in this process and within two seconds in every other: tokens, streams, sockets."""

    def __init__(self, uow: UnitOfWorkFactory, callers: Callers) -> None:
        self._uow = uow
        self._callers = callers

    async def list_live(self, caller: CurrentUser, limit: int, cursor: str | None) -> Page[SessionRead]:
        async with self._uow.reading() as work:
            sessions, following = await work.sessions.list_live(caller.user.id, utc_now(), limit, cursor)
        return Page(items=[_read(session, caller) for session in sessions], next_cursor=following)

    async def end(self, caller: CurrentUser, session_id: UUID) -> None:
        """End one of the caller's; raise `NotFound` for any other."""
        async with self._uow() as work:
            if not await work.sessions.end(caller.user.id, session_id, utc_now()):
                raise NotFound("there is no such session")
            work.audit.record(Action.SESSION_ENDED, caller.by, session_id, reason="by_its_owner")
        self._callers.forget(session_id)

    async def end_others(self, caller: CurrentUser) -> None:
        """End all of the caller's but the one that asks."""
        async with self._uow() as work:
            ended = await work.sessions.end_all(caller.user.id, utc_now(), but=caller.credential_id)
            for session_id in ended:
                work.audit.record(Action.SESSION_ENDED, caller.by, session_id, reason="by_its_owner")
        self._callers.forget(*ended)


def _read(session: Session, caller: CurrentUser) -> SessionRead:
    return SessionRead(
        id=session.id,
        device=session.device,
        address=session.address,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        expires_at=session.expires_at,
        is_current=session.id == caller.credential_id,
    )
