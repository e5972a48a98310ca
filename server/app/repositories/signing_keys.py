"""Keys of access tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import SigningKey

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('arena signing keys', 0))")
MOST_KEYS = 500


@dataclass(frozen=True, slots=True)
class AgedKey:
    """A key, and in how many seconds, by the database's clock, it is active and retired; past if negative."""

    row: SigningKey
    active_in_seconds: float
    retired_in_seconds: float | None


class SigningKeyRepository:
    """Belong to the installation, not to a workspace."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Until the transaction ends nobody else who locks makes a key."""
        await self._session.execute(_LOCK)

    async def list_all(self) -> Sequence[AgedKey]:
        """The one that was or will be active last first; those that were retired at the end of the list, too."""
        now = func.clock_timestamp()
        rows = await self._session.execute(
            select(
                SigningKey,
                func.extract("epoch", SigningKey.active_from - now),
                func.extract("epoch", SigningKey.retired_at - now),
            )
            .order_by(SigningKey.active_from.desc(), SigningKey.kid)
            .limit(MOST_KEYS)
        )
        return [AgedKey(key, float(active), None if gone is None else float(gone)) for key, active, gone in rows]

    async def add(self, kid: str, public_key: bytes, private_key_sealed: bytes, active_in_seconds: float) -> None:
        now = func.clock_timestamp()
        self._session.add(
            SigningKey(
                kid=kid,
                public_key=public_key,
                private_key_sealed=private_key_sealed,
                active_from=now + timedelta(seconds=active_in_seconds),
            )
        )
        await self._session.flush()

    async def retire_all(self, in_seconds: float) -> None:
        """Each then, unless it is retired earlier anyway."""
        then = func.clock_timestamp() + timedelta(seconds=in_seconds)
        later = or_(SigningKey.retired_at.is_(None), SigningKey.retired_at > then)
        await self._session.execute(update(SigningKey).where(later).values(retired_at=then))

    async def delete_retired(self) -> None:
        await self._session.execute(delete(SigningKey).where(SigningKey.retired_at <= func.clock_timestamp()))
