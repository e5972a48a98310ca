"""Who users are at issuers of identities, and the logins that lead there and back."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import Conflict
from app.models import Identity, LoginCode, OidcLogin, User
from app.repositories.base import violates

SWEPT = 100
MOST_LINKS = 20


class IdentityTaken(Conflict):
    """The identity belongs to another account."""

    code = "identity_taken"


class TooManyIdentities(Conflict):
    """The account is known by as many identities as one may be."""

    code = "too_many_identities"


class IdentityRepository:
    """Not scoped by a workspace: an identity is its user's in all of theirs."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_user(self, issuer: str, subject: str) -> User | None:
        found: User | None = await self._session.scalar(
            select(User)
            .join(Identity, Identity.user_id == User.id)
            .where(Identity.issuer == issuer, Identity.subject == subject)
        )
        return found

    async def add(self, issuer: str, subject: str, user_id: UUID) -> None:
        """Raise `IdentityTaken`, also if it is the user's own already."""
        count = select(func.count()).where(Identity.user_id == user_id)
        if (await self._session.scalar(count) or 0) >= MOST_LINKS:
            raise TooManyIdentities(f"an account is known by {MOST_LINKS} identities at most")
        try:
            await self._session.execute(insert(Identity).values(issuer=issuer, subject=subject, user_id=user_id))
        except IntegrityError as error:
            if violates(error, "pk_identities"):
                raise IdentityTaken("this identity belongs to another account") from None
            raise

    async def list_of(self, user_id: UUID) -> list[Identity]:
        rows = await self._session.scalars(
            select(Identity).where(Identity.user_id == user_id).order_by(Identity.created_at).limit(MOST_LINKS)
        )
        return list(rows)

    async def remove(self, issuer: str, user_id: UUID) -> bool:
        """Whether the user was known by any identity of the issuer's."""
        removed = await self._session.scalars(
            delete(Identity).where(Identity.issuer == issuer, Identity.user_id == user_id).returning(Identity.subject)
        )
        return bool(removed.all())

    async def remove_all(self, user_id: UUID) -> int:
        """Forget every identity that the user is known by; how many there were."""
        removed = await self._session.scalars(
            delete(Identity).where(Identity.user_id == user_id).returning(Identity.subject)
        )
        return len(removed.all())

    async def begin_login(self, login: dict[str, Any], seconds: float) -> None:
        """Keep what its answer is to be held against; those that nobody finished are swept away by the way."""
        await self._sweep(OidcLogin)
        expires_at = func.now() + timedelta(seconds=seconds)
        await self._session.execute(insert(OidcLogin).values(expires_at=expires_at, **login))

    async def take_login(self, digest: bytes, browser_digest: bytes) -> OidcLogin | None:
        """Use the login up; None if there is none, or another browser began it."""
        taken: OidcLogin | None = await self._session.scalar(
            delete(OidcLogin)
            .where(
                OidcLogin.digest == digest,
                OidcLogin.browser_digest == browser_digest,
                OidcLogin.expires_at > func.now(),
            )
            .returning(OidcLogin)
        )
        return taken

    async def add_code(self, digest: bytes, challenge: str, user_id: UUID, seconds: float) -> None:
        await self._sweep(LoginCode)
        expires_at = func.now() + timedelta(seconds=seconds)
        await self._session.execute(
            insert(LoginCode).values(digest=digest, challenge=challenge, user_id=user_id, expires_at=expires_at)
        )

    async def take_code(self, digest: bytes, challenge: str) -> User | None:
        """Use the code up; its user, None if it is not good (any more) or not for who asks."""
        user_id = await self._session.scalar(
            delete(LoginCode)
            .where(LoginCode.digest == digest, LoginCode.challenge == challenge, LoginCode.expires_at > func.now())
            .returning(LoginCode.user_id)
        )
        return await self._session.get(User, user_id) if user_id is not None else None

    async def _sweep(self, table: type[OidcLogin] | type[LoginCode]) -> None:
        stale = select(table.digest).where(table.expires_at < func.now()).limit(SWEPT)
        await self._session.execute(delete(table).where(table.digest.in_(stale.with_for_update(skip_locked=True))))
