"""Who can say an account's password: asked at a login, and once more before what could lock an owner out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from app.core.errors import Forbidden, Invalid
from app.core.request_context import current_origin
from app.core.security import renewed_hash, verify_password
from app.models import User
from app.services.login_throttle import Guess, LoginThrottle
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

NOBODY = UUID(int=0)


class WrongSecret(Forbidden):
    """It does not prove whose account this is; `user_id` says whose it would be, to the audit log alone."""

    def __init__(self, detail: str, user_id: UUID | None = None) -> None:
        super().__init__(detail)
        self.user_id = user_id


class WrongPassword(WrongSecret):
    """It is not the account's password, or the account has none."""

    code = "wrong_password"


class PasswordNeeded(Invalid):
    """A session alone is not enough for what would outlast it: whoever took its token must get no lasting way in."""

    code = "password_needed"
    where = ("body", "password")


class PasswordProofs:
    """Every comparison of a password goes through here.

    Whoever is logged in and says it once more has but so many tries at it, whatever it is asked for; logins have a
    throttle of their own, at their route.

    Always holds: an unknown account, one without a password, a disabled one and a wrong password cost the same time and
    the same queries and are told by the same words. What is done in the block is done only if the password is still the
    account's: a change of it meanwhile comes before or after the whole of it.
    """

    def __init__(self, uow: UnitOfWorkFactory, throttle: LoginThrottle | None) -> None:
        self._uow = uow
        self._throttle = throttle  # the operator's commands need none

    @asynccontextmanager
    async def of_address(self, email: str, password: str) -> AsyncIterator[tuple[UnitOfWork, User]]:
        """A unit of work in which the account's row is locked; raise `WrongPassword`."""
        async with self._uow.reading() as work:
            known = await work.accounts.find_user_by_email(email.strip().lower())
        async with self._proven(known, password) as proven:
            yield proven

    @asynccontextmanager
    async def of_user(self, user_id: UUID, password: str) -> AsyncIterator[tuple[UnitOfWork, User]]:
        """The same of an account that is known; raise `TooManyAttempts` as well."""
        guess = await self._begin_guess(user_id)
        async with self._uow.reading() as work:
            known = await work.accounts.find_user(user_id)
        async with self._proven(known, password, guess) as proven:
            yield proven

    async def _begin_guess(self, user_id: UUID) -> Guess | None:
        if self._throttle is None:
            return None
        return await self._throttle.begin("password", current_origin().address or "", user_id.hex)

    @asynccontextmanager
    async def _proven(
        self, known: User | None, password: str, guess: Guess | None = None
    ) -> AsyncIterator[tuple[UnitOfWork, User]]:
        kept = known.password_hash if known else None
        # No transaction is open meanwhile: it takes tens of milliseconds on purpose.
        matches = await verify_password(password, kept)
        renewed = await renewed_hash(password, kept) if matches and kept else None
        if matches and guess is not None:
            await guess.was_right()
        async with self._uow() as work:
            user = await work.accounts.lock_user(known.id if known else NOBODY)
            # nosemgrep: a-secret-is-compared-in-constant-time - both are our own, read at two moments
            if not matches or user is None or user.disabled_at is not None or user.password_hash != kept:
                raise WrongPassword("the password is wrong", known.id if known else None)
            user.password_hash = renewed or user.password_hash
            yield work, user
