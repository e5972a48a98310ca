"""API keys."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import Conflict
from app.models import ApiKey, User
from app.repositories.base import newest_first

MOST_LIVE_KEYS = 100


class TooManyKeys(Conflict):
    """The account holds as many keys as one may."""

    code = "too_many_keys"


class ApiKeyRepository:
    """Not scoped by a workspace: a key is its user's in all of theirs."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, key: ApiKey) -> None:
        """Keep it; raise `TooManyKeys` if its user has `MOST_LIVE_KEYS` that are neither revoked nor expired."""
        # Of two that are made at once, the second counts the first.
        await self._session.execute(select(User.id).where(User.id == key.user_id).with_for_update(key_share=True))
        alive = select(func.count()).where(ApiKey.user_id == key.user_id, *_is_alive(func.now()))
        if (await self._session.scalar(alive) or 0) >= MOST_LIVE_KEYS:
            raise TooManyKeys(f"an account has at most {MOST_LIVE_KEYS} API keys; revoke some that are not needed")
        self._session.add(key)
        await self._session.flush()

    async def list_page(self, user_id: UUID, *, limit: int, cursor: str | None) -> tuple[list[ApiKey], str | None]:
        """The user's keys that were not revoked, newest first; expired ones are among them, to be taken away."""
        query = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        return await newest_first(self._session, query, ApiKey.id, limit, cursor)

    async def find_owner(self, digest: bytes) -> tuple[UUID, UUID] | None:
        """The id of the key and of its user, alive or not: which they are never changes."""
        row = (
            await self._session.execute(select(ApiKey.id, ApiKey.user_id).where(ApiKey.digest == digest))
        ).one_or_none()
        return (row[0], row[1]) if row else None

    async def find_live(self, key_id: UUID, now: datetime) -> tuple[ApiKey, User] | None:
        """The key and its user, if neither is over."""
        row = (
            await self._session.execute(
                select(ApiKey, User)
                .join(User, User.id == ApiKey.user_id)
                .where(ApiKey.id == key_id, User.disabled_at.is_(None), *_is_alive(now))
            )
        ).one_or_none()
        return (row[0], row[1]) if row else None

    async def revoke(self, key_id: UUID, user_id: UUID) -> bool:
        """Whether it was a key of the user's that was not revoked before."""
        revoked = await self._session.scalar(
            update(ApiKey)
            .where(ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .returning(ApiKey.id)
        )
        return revoked is not None

    async def revoke_all(self, user_id: UUID) -> list[UUID]:
        """End every key of the user's; those that were ended."""
        ended = await self._session.scalars(
            update(ApiKey)
            .where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .returning(ApiKey.id)
        )
        return list(ended)

    async def mark_used(self, key_ids: Collection[UUID], seconds: float) -> None:
        """Note that the keys were used just now, but of those noted in the last `seconds`; wait for nobody."""
        long_ago = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - timedelta(seconds=seconds))
        stale = select(ApiKey.id).where(ApiKey.id.in_(key_ids), long_ago).with_for_update(skip_locked=True)
        await self._session.execute(update(ApiKey).where(ApiKey.id.in_(stale)).values(last_used_at=func.now()))


def _is_alive(now: object) -> tuple[ColumnElement[bool], ...]:
    return ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
