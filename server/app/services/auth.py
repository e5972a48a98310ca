"""Accounts and sessions."""

import asyncio
from datetime import timedelta

from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import Forbidden, Invalid, Unauthenticated
from app.core.ids import new_id
from app.core.security import (
    AccessClaims,
    RefreshToken,
    TokenSigner,
    check_password_strength,
    hash_password,
    verify_password,
)
from app.models import Session, User, Workspace
from app.schemas.auth import Register, TokenPair, UserRead
from app.services.callers import Callers, CurrentUser
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


class InvalidScope(Invalid):
    """A scope that would not be kept to must not be promised."""

    code = "invalid_scope"
    where = ("body", "scope")


class AuthService:
    """Registration, login, refresh, and their end."""

    def __init__(self, uow: UnitOfWorkFactory, signer: TokenSigner, callers: Callers, settings: Settings) -> None:
        self._uow = uow
        self._signer = signer
        self._callers = callers
        self._settings = settings

    async def register(self, request: Register) -> UserRead:
        """Make an account with a personal workspace, or neither."""
        if not self._settings.registration_open:
            raise RegistrationClosed("registration is closed; ask the administrator for an account")
        return await self.create_user(request)

    async def create_user(self, request: Register, *, is_superuser: bool = False) -> UserRead:
        """The same without asking whether registration is open."""
        await asyncio.to_thread(
            check_password_strength, request.password, email=request.email, display_name=request.display_name
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
            await work.flush()
            workspaces = await work.accounts.list_workspaces(user.id)
        return CurrentUser(user, user.id, workspaces).read()

    async def has_superuser(self) -> bool:
        async with self._uow.reading() as work:
            return await work.accounts.has_superuser()

    async def login(self, email: str, password: str, scope: str) -> TokenPair:
        """Open a session; an unknown address costs as much time as a wrong password."""
        if scope:
            raise InvalidScope("this server gives no narrower scopes yet; leave `scope` out")
        async with self._uow.reading() as work:
            user = await work.accounts.find_user_by_email(email.strip().lower())
        matches = await verify_password(password, user.password_hash if user else None)
        if user is None or not matches or user.disabled_at is not None:
            raise InvalidGrant("the address or the password is wrong")
        session = Session(
            id=new_id(),
            user_id=user.id,
            scope=scope,
            refresh_number=0,
            expires_at=utc_now() + timedelta(days=self._settings.auth.session_days),
        )
        async with self._uow() as work:
            pair = self._rotate(session)
            work.accounts.add_session(session)
        return pair

    async def refresh(self, token: str) -> TokenPair:
        """Trade a refresh token for new ones. One used before ends the session: it may have been stolen."""
        parsed = RefreshToken.parse(token)
        if parsed is None or not parsed.is_ours(self._signer.refresh_key):
            raise InvalidGrant("the refresh token is not valid")
        async with self._uow() as work:
            pair = await self._refresh(work, parsed)
        # Raised only now: the session's end must be committed first.
        if pair is None:
            raise InvalidGrant("the refresh token is not valid any more; log in again")
        return pair

    async def _refresh(self, work: UnitOfWork, token: RefreshToken) -> TokenPair | None:
        session = await work.accounts.find_session_for_update(token.session_id)
        now = utc_now()
        if session is None or session.ended_at is not None or session.expires_at <= now:
            return None
        if not token.matches(session.refresh_hash):
            if token.number < session.refresh_number:
                session.ended_at = now
            return None
        user = await work.accounts.find_user(session.user_id)
        if user is None or user.disabled_at is not None:
            return None
        return self._rotate(session)

    async def log_out(self, user: CurrentUser) -> None:
        """End the session: its tokens, streams and sockets, here at once and elsewhere within two seconds."""
        async with self._uow() as work:
            await work.accounts.end_session(user.credential_id, utc_now())
        self._callers.forget(user.credential_id)

    def _rotate(self, session: Session) -> TokenPair:
        session.refresh_number += 1
        refresh = RefreshToken.make(session.id, session.refresh_number, self._signer.refresh_key)
        session.refresh_hash = refresh.digest
        return TokenPair(
            access_token=self._signer.issue(AccessClaims(session.user_id, session.id, session.scope)),
            expires_in=self._signer.lifetime_seconds,
            refresh_token=str(refresh),
            scope=session.scope,
        )
