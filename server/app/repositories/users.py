"""Accounts as administrators see them: all of the installation's."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cursors import decode_id, encode_cursor
from app.models import ApiKey, PasswordReset, Session, SocketTicket, User
from app.repositories.base import contains

LIST = "users"


class UserRepository:
    """Not scoped by a workspace."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_page(self, words: str | None, limit: int, cursor: str | None) -> tuple[Sequence[User], str | None]:
        """Newest first; `words` are looked for in addresses and names."""
        query = select(User)
        if words:
            query = query.where(or_(User.email.ilike(contains(words)), User.display_name.ilike(contains(words))))
        if cursor is not None:
            query = query.where(User.id < decode_id(cursor, LIST))
        rows = (await self._session.scalars(query.order_by(User.id.desc()).limit(limit + 1))).all()
        following = encode_cursor(LIST, rows[limit - 1].id) if len(rows) > limit else None
        return rows[:limit], following

    async def lock_superusers(self) -> set[UUID]:
        """Those who may administer now, none of whom can come or go until the unit of work ends.

        All who change that begin with this: it is where they queue.
        """
        query = select(User.id).where(User.is_superuser, User.disabled_at.is_(None)).order_by(User.id)
        return set(await self._session.scalars(query.with_for_update(key_share=True)))

    async def find_for_update(self, user_id: UUID) -> User | None:
        found: User | None = await self._session.scalar(
            select(User).where(User.id == user_id).with_for_update(key_share=True)
        )
        return found

    async def end_credentials(self, user_id: UUID, now: datetime) -> None:
        """End every session, API key and ticket of theirs, and whatever they might get a new one by."""
        await self._session.execute(
            update(Session).where(Session.user_id == user_id, Session.ended_at.is_(None)).values(ended_at=now)
        )
        await self._session.execute(
            update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now)
        )
        for token in (SocketTicket, PasswordReset):
            await self._session.execute(delete(token).where(token.user_id == user_id))
