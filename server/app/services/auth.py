"""Accounts and sessions."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from app.config import Settings
from app.core.access_tokens import AccessClaims, TokenSigner
from app.core.clock import utc_now
from app.core.errors import Conflict, Forbidden, Invalid, Unauthenticated
from app.core.ids import new_id
from app.core.security import (
    RefreshToken,
    check_password_strength,
    hash_password,
)
from app.core.visits import Visit
from app.domain.audit import Action, By
from app.domain.permissions import SCOPES
from app.models import Session, User, Workspace
from app.schemas.auth import Register, TokenPair, UserRead
from app.services.callers import Callers, CurrentUser, InvalidScope
from app.services.password_proofs import PasswordProofs, WrongPassword
from app.services.second_factor import SecondFactors, TotpRequired, WrongCode
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory


class RegistrationClosed(Forbidden):
    """New accounts are made by the administrator only."""

    code = "registration_closed"


class InvalidGrant(Unauthenticated):
    """Wrong address or password, or a refresh token that is no longer good (RFC 6749, section 5.2)."""

    code = "invalid_grant"


class UnsupportedGrant(Invalid):
    """A grant type that this server does not know."""

    code = "unsupported_grant_type"
    where = ("body", "grant_type")


class NotASession(Conflict):
    """An API key has no end to be logged out to."""

    code = "not_a_session"


UNKNOWN = Visit()
# A session that is over is kept so long, for who wants to know what became of a token.
DAYS_REMEMBERED = 30


def canonical_scope(scope: str) -> str:
    """The names, each once and in order; empty: everything. Raise `InvalidScope` for any that is none of ours."""
    names = set(scope.split())
    unknown = names - SCOPES
    if unknown or (scope and not names):
        raise InvalidScope(f"a scope is made of these, separated by blanks: {', '.join(sorted(SCOPES))}", "scope")
    return " ".join(sorted(names))


class AuthService:
    """Registration, login, refresh, and their end."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        signer: TokenSigner,
        callers: Callers,
        proofs: PasswordProofs,
        second_factors: SecondFactors,
        settings: Settings,
    ) -> None:
        self._uow = uow
        self._signer = signer
        self._callers = callers
        self._proofs = proofs
        self._second_factors = second_factors
        self._settings = settings

    async def register(self, request: Register) -> UserRead:
        """Make an account with a personal workspace, or neither."""
        if not self._settings.registration_open:
            raise RegistrationClosed("registration is closed; ask the administrator for an account")
        return await self.create_user(request, by_themselves=True)

    async def create_user(
        self, request: Register, *, is_superuser: bool = False, by_themselves: bool = False
    ) -> UserRead:
        """The same without asking whether registration is open, by default as the operator does it."""
        await asyncio.to_thread(
            check_password_strength,
            request.password,
            email=request.email,
            display_name=request.display_name,
            public_url=self._settings.server.public_url,
        )
        user = User(
            id=new_id(),
            email=request.email,
            display_name=request.display_name,
            password_hash=await hash_password(request.password),
            is_superuser=is_superuser,
        )
        workspace = Workspace(id=new_id(), name=f"{request.display_name}'s workspace"[:200])
        async with self._uow() as work:
            await work.accounts.add_user(user, workspace)
            by = By(user.id) if by_themselves else By()
            work.audit.record(Action.USER_CREATED, by, user.id, is_superuser=is_superuser)
            await work.flush()
            workspaces = await work.accounts.list_workspaces(user.id)
        return CurrentUser(user, user.id, workspaces).read()

    async def has_superuser(self) -> bool:
        async with self._uow.reading() as work:
            return await work.accounts.has_superuser()

    async def login(
        self, email: str, password: str, *, scope: str = "", totp: str | None = None, visit: Visit = UNKNOWN
    ) -> TokenPair:
        """Open a session of that scope; raise `InvalidGrant` whatever was wrong, and `TotpRequired` if only a code is.

        Nothing about an account is told before its password was right, by words or by time.
        """
        granted = canonical_scope(scope)
        try:
            async with self._proofs.of_address(email, password) as (work, user):
                method = await self._second_factors.check_at_login(work, user, totp)
                return await self.open_session(work, user, granted, visit, method)
        except TotpRequired as error:
            await self.note_failure(error.user_id, error.code)
            raise
        except (WrongPassword, WrongCode) as error:
            await self.note_failure(error.user_id, error.code)
            what = "the address, the password or the code" if totp else "the address or the password"
            raise InvalidGrant(f"{what} is wrong") from None

    async def note_failure(self, user_id: UUID | None, reason: str) -> None:
        """Tell the audit log why somebody was not let in, by the `code` of an error of ours."""
        # In a transaction of its own, also for an address that nobody has: both take as long.
        async with self._uow() as work:
            await work.audit.record_failed_login(user_id, reason)

    async def open_session(self, work: UnitOfWork, user: User, scope: str, visit: Visit, method: str) -> TokenPair:
        """A new session of somebody who has proved by `method` who they are; those long over are forgotten."""
        now = utc_now()
        await work.sessions.drop_old(user.id, now - timedelta(days=DAYS_REMEMBERED))
        session = Session(
            id=new_id(),
            user_id=user.id,
            scope=scope,
            refresh_number=0,
            created_at=now,
            expires_at=now + timedelta(days=self._settings.auth.session_days),
        )
        pair = self._rotate(session, visit, now)
        work.sessions.add(session)
        work.audit.record(Action.LOGIN_SUCCEEDED, By(user.id, session.id), session.id, method=method)
        return pair

    async def refresh(self, token: str, *, scope: str = "", visit: Visit = UNKNOWN) -> TokenPair:
        """Trade a refresh token for new ones. One used before ends the session: it may have been stolen.

        So do parallel uses of one token, of which only the first gives a pair: nobody can tell whose was the theft
        (RFC 9700, section 4.14.2). `scope`, if given, must be the session's own.
        """
        parsed = RefreshToken.parse(token)
        if parsed is None or not parsed.is_ours(self._signer.refresh_key):
            raise InvalidGrant("the refresh token is not valid")
        async with self._uow() as work:
            pair = await self._refresh(work, parsed, visit)
            if pair is not None and scope and canonical_scope(scope) != pair.scope:
                raise InvalidScope("a session keeps the scope it was opened with; leave `scope` out", "scope")
        # Raised only now: the session's end must be committed first.
        if pair is None:
            raise InvalidGrant("the refresh token is not valid any more; log in again")
        return pair

    async def _refresh(self, work: UnitOfWork, token: RefreshToken, visit: Visit) -> TokenPair | None:
        now = utc_now()
        session = await work.sessions.find_live_for_update(token.session_id, now)
        if session is None:
            return None
        if not token.matches(session.refresh_hash):
            if token.number < session.refresh_number:
                session.ended_at = now
                by = By(session.user_id, session.id)
                work.audit.record(Action.SESSION_ENDED, by, session.id, reason="refresh_token_reused")
            return None
        user = await work.accounts.find_user(session.user_id)
        if user is None or user.disabled_at is not None:
            return None
        return self._rotate(session, visit, now)

    async def log_out(self, user: CurrentUser) -> None:
        """End the session: its tokens, streams and sockets, here at once and elsewhere within two seconds."""
        if user.by_api_key:
            raise NotASession("an API key is no session: its owner revokes it with DELETE /auth/api-keys/{id}")
        async with self._uow() as work:
            # Not if another request of it came first.
            if await work.sessions.end(user.user.id, user.credential_id, utc_now()):
                work.audit.record(Action.SESSION_ENDED, user.by, user.credential_id, reason="logged_out")
        self._callers.forget(user.credential_id)

    def _rotate(self, session: Session, visit: Visit, now: datetime) -> TokenPair:
        session.device, session.address, session.last_seen_at = visit.device, visit.address, now
        session.refresh_number += 1
        refresh = RefreshToken.make(session.id, session.refresh_number, self._signer.refresh_key)
        session.refresh_hash = refresh.digest
        return TokenPair(
            access_token=self._signer.issue(AccessClaims(session.user_id, session.id, session.scope)),
            expires_in=self._signer.lifetime_seconds,
            refresh_token=str(refresh),
            scope=session.scope,
        )
