"""Sessions: the logins of a user."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Session, User
from app.repositories.base import newest_first


def is_alive(now: Any, idle: timedelta) -> tuple[ColumnElement[bool], ...]:
    """Of a session joined with its user; one that was not used for the time `idle` is over, too."""
    return *_has_not_ended(now, idle), User.disabled_at.is_(None)


def _has_not_ended(now: Any, idle: timedelta) -> tuple[ColumnElement[bool], ...]:
    return Session.ended_at.is_(None), Session.expires_at > now, Session.last_seen_at > now - idle


class SessionRepository:
    """Not scoped by a workspace: a session is a user's."""

    def __init__(self, session: AsyncSession, idle: timedelta) -> None:
        self._session = session
        self._idle = idle

    def add(self, session: Session) -> None:
        self._session.add(session)

    async def find_live_for_update(self, session_id: UUID, now: datetime) -> Session | None:
        """The session, if it has not ended; nobody else refreshes or ends it until the transaction does."""
        found: Session | None = await self._session.scalar(
            select(Session).where(Session.id == session_id, *_has_not_ended(now, self._idle)).with_for_update()
        )
        return found

    async def find_live(self, session_id: UUID, now: datetime) -> tuple[Session, User] | None:
        """The session and its user, if neither has ended."""
        row = (
            await self._session.execute(
                select(Session, User)
                .join(User, User.id == Session.user_id)
                .where(Session.id == session_id, *is_alive(now, self._idle))
            )
        ).one_or_none()
        return (row[0], row[1]) if row else None

    async def list_live(
        self, user_id: UUID, now: datetime, limit: int, cursor: str | None
    ) -> tuple[list[Session], str | None]:
        query = select(Session).where(Session.user_id == user_id, *_has_not_ended(now, self._idle))
        return await newest_first(self._session, query, Session.id, limit, cursor)

    async def end(self, user_id: UUID, session_id: UUID, now: datetime) -> bool:
        """End the session; False if the user has no such live one."""
        ended = await self._session.execute(
            update(Session)
            .where(Session.id == session_id, Session.user_id == user_id, *_has_not_ended(now, self._idle))
            .values(ended_at=now)
            .returning(Session.id)
        )
        return ended.one_or_none() is not None

    async def end_all(self, user_id: UUID, now: datetime, *, but: UUID | None = None) -> list[UUID]:
        """End the user's sessions, `but` one; those that were ended by this."""
        query = update(Session).where(Session.user_id == user_id, *_has_not_ended(now, self._idle))
        if but is not None:
            query = query.where(Session.id != but)
        return list(await self._session.scalars(query.values(ended_at=now).returning(Session.id)))

    async def drop_old(self, user_id: UUID, before: datetime) -> None:
        """Forget the user's sessions that were over before then."""
        await self._session.execute(
            delete(Session).where(
                Session.user_id == user_id, or_(Session.ended_at < before, Session.expires_at < before)
            )
        )

    async def mark_seen(self, session_ids: Collection[UUID], seconds: float) -> None:
        """Note that the sessions were used just now, but of those that were noted in the last `seconds`.

        One that is being refreshed is skipped, since that notes it too: nobody waits for this, nor this for anybody.
        """
        stale = (
            select(Session.id)
            .where(Session.id.in_(session_ids), Session.last_seen_at < func.now() - timedelta(seconds=seconds))
            .with_for_update(skip_locked=True)
        )
        await self._session.execute(update(Session).where(Session.id.in_(stale)).values(last_seen_at=func.now()))
