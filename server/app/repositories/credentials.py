"""What is good once instead of a credential: recovery codes, and the right to set a new password."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import PasswordReset, RecoveryCode

SWEPT_RESETS = 100


class CredentialRepository:
    """Of a user whose row is locked, where something is used up or replaced. Only digests come here."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def replace_recovery_codes(self, user_id: UUID, digests: Iterable[bytes]) -> None:
        """Make these the user's only ones."""
        await self._session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
        rows = [{"user_id": user_id, "digest": digest} for digest in digests]
        if rows:
            await self._session.execute(insert(RecoveryCode), rows)

    async def count_recovery_codes(self, user_id: UUID) -> int:
        counted = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user_id)
        return (await self._session.execute(counted)).scalar_one()

    async def take_recovery_code(self, user_id: UUID, digest: bytes) -> bool:
        """Use the code up; False if it is none of the user's (any more)."""
        taken = await self._session.execute(
            delete(RecoveryCode)
            .where(RecoveryCode.user_id == user_id, RecoveryCode.digest == digest)
            .returning(RecoveryCode.digest)
        )
        return taken.one_or_none() is not None

    async def add_reset(self, user_id: UUID, digest: bytes, seconds: float) -> None:
        """Keep the right to set a new password; those that nobody used are swept away by the way."""
        stale = select(PasswordReset.digest).where(PasswordReset.expires_at < func.now()).limit(SWEPT_RESETS)
        await self._session.execute(
            delete(PasswordReset).where(PasswordReset.digest.in_(stale.with_for_update(skip_locked=True)))
        )
        expires_at = func.now() + timedelta(seconds=seconds)
        await self._session.execute(insert(PasswordReset).values(digest=digest, user_id=user_id, expires_at=expires_at))

    async def count_resets(self, user_id: UUID) -> int:
        """How many of the user's are good now."""
        counted = (
            select(func.count())
            .select_from(PasswordReset)
            .where(PasswordReset.user_id == user_id, PasswordReset.expires_at > func.now())
        )
        return (await self._session.execute(counted)).scalar_one()

    async def find_reset(self, digest: bytes) -> UUID | None:
        """Whose it is; None if it is not good (any more)."""
        found: UUID | None = await self._session.scalar(
            select(PasswordReset.user_id).where(PasswordReset.digest == digest, PasswordReset.expires_at > func.now())
        )
        return found

    async def drop_resets(self, user_id: UUID) -> None:
        """Take back all that were given to the user."""
        await self._session.execute(delete(PasswordReset).where(PasswordReset.user_id == user_id))
