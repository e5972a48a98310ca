"""Keys of idempotent requests: who is at one, and what was answered."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.ids import new_id

KEPT = timedelta(hours=24)
SWEPT_AT_ONCE = 20

# A request whose process died leaves its key claimed until the claim lapses; then the same request may have it.
_CLAIM = text(
    """
    WITH stale AS (
        SELECT owner_id, key FROM idempotent_requests
        WHERE created_at < now() - CAST(:kept AS interval) AND (owner_id, key) <> (:owner_id, :key)
        LIMIT :swept FOR UPDATE SKIP LOCKED
    ), swept AS (
        DELETE FROM idempotent_requests r USING stale WHERE (r.owner_id, r.key) = (stale.owner_id, stale.key)
    )
    INSERT INTO idempotent_requests AS r (owner_id, key, fingerprint, claim, claimed_until)
    VALUES (:owner_id, :key, :fingerprint, :claim, now() + make_interval(secs => :seconds))
    ON CONFLICT (owner_id, key) DO UPDATE
        SET fingerprint = excluded.fingerprint, claim = excluded.claim, claimed_until = excluded.claimed_until,
            created_at = now(), status = NULL, headers = NULL, body_sealed = NULL
        WHERE r.created_at < now() - CAST(:kept AS interval)
           OR (r.status IS NULL AND r.claimed_until < now() AND r.fingerprint = excluded.fingerprint)
    RETURNING claim
    """
)
_FIND = text(
    """
    SELECT fingerprint, status, headers, body_sealed,
           greatest(0, extract(epoch FROM claimed_until - now()))::float8 AS seconds_left
    FROM idempotent_requests WHERE owner_id = :owner_id AND key = :key
    """
)
_KEEP = text(
    """
    UPDATE idempotent_requests SET status = :status, headers = CAST(:headers AS jsonb), body_sealed = :body_sealed
    WHERE owner_id = :owner_id AND key = :key AND claim = :claim AND status IS NULL RETURNING key
    """
)
_RELEASE = text(
    "DELETE FROM idempotent_requests WHERE owner_id = :owner_id AND key = :key AND claim = :claim AND status IS NULL"
)


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """The right to do, once, what the key stands for; whoever claims it later takes it away."""

    owner_id: UUID
    key: str
    claim: UUID


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """What is known of a key: its request still runs where `status` is None."""

    fingerprint: bytes
    status: int | None
    headers: dict[str, Any] | None
    body_sealed: bytes | None
    seconds_left: float


class IdempotencyRepository:
    """Keys belong to their owner, whichever workspace a request is about."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, owner_id: UUID, key: str, fingerprint: bytes, seconds: float) -> KeyClaim | None:
        """Take the key for so long; None if it is in use or was used. Old ones are swept away by the way."""
        values = {
            "owner_id": owner_id,
            "key": key,
            "fingerprint": fingerprint,
            "claim": new_id(),
            "seconds": seconds,
            "kept": KEPT,
            "swept": SWEPT_AT_ONCE,
        }
        claim = (await self._session.execute(_CLAIM, values)).scalar_one_or_none()
        return KeyClaim(owner_id, key, claim) if claim is not None else None

    async def find(self, owner_id: UUID, key: str) -> KeptRequest | None:
        row = (await self._session.execute(_FIND, {"owner_id": owner_id, "key": key})).one_or_none()
        return KeptRequest(*row) if row is not None else None

    async def keep(self, claim: KeyClaim, status: int, headers: str, body_sealed: bytes) -> bool:
        """Keep the answer, `headers` as JSON; False if the claim is another's by now."""
        values = {**_values(claim), "status": status, "headers": headers, "body_sealed": body_sealed}
        return (await self._session.execute(_KEEP, values)).scalar_one_or_none() is not None

    async def release(self, claim: KeyClaim) -> None:
        """Forget the key: nothing was done under it."""
        await self._session.execute(_RELEASE, _values(claim))


def _values(claim: KeyClaim) -> dict[str, Any]:
    return {"owner_id": claim.owner_id, "key": claim.key, "claim": claim.claim}
