"""Who is calling: by the session or the API key that a request shows, and what they may do."""

from dataclasses import dataclass
from uuid import UUID

from cachetools import LRUCache, TTLCache

from app.core.access_tokens import InvalidToken, TokenSigner
from app.core.api_keys import digest_of_key, looks_like_key
from app.core.clock import utc_now
from app.core.errors import Forbidden, Invalid, NotFound, Unauthenticated
from app.core.request_context import name_caller
from app.domain.audit import By
from app.domain.permissions import (
    Permission,
    Role,
    Scopes,
    allows,
    allows_outside_workspaces,
    is_within,
    parse_scopes,
)
from app.models import User
from app.repositories.accounts import AccountWorkspace
from app.schemas.auth import UserRead, WorkspaceMembership
from app.services.last_seen import LastSeen
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

# A session that ended, or a role that changed, is noticed by every process within this time.
IDENTITY_SECONDS = 1.0


class SessionEnded(Unauthenticated):
    """The session that the access token belongs to is over."""

    code = "session_ended"


class InvalidScope(Invalid):
    """No scope of ours, or more than there is to give: what would not be kept to must not be promised."""

    code = "invalid_scope"


class UserNotFound(NotFound):
    """There is no such person, or none who may be meant here."""

    code = "user_not_found"


class InsufficientScope(Forbidden):
    """The credential is narrower than its owner, and too narrow for this (RFC 6750, section 3.1)."""

    code = "insufficient_scope"


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """Who is calling, by which credential, and the workspaces they belong to, the personal one first.

    `credential_id` names a session or an API key.
    """

    user: User
    credential_id: UUID
    workspaces: list[AccountWorkspace]
    scopes: Scopes = None
    by_api_key: bool = False

    @property
    def by(self) -> By:
        """Who does it, for the audit log, where it is in no workspace."""
        return By(self.user.id, self.credential_id)

    def belongs_to(self, workspace_id: UUID) -> bool:
        return any(workspace.id == workspace_id for workspace in self.workspaces)

    def actor(self, workspace_id: UUID | None) -> "Actor":
        """The caller in one workspace, by default the personal one; a foreign one does not exist for them."""
        for workspace in self.workspaces:
            if workspace.id == workspace_id or (workspace_id is None and workspace.is_personal):
                return Actor(
                    self.user.id,
                    self.user.display_name,
                    workspace.id,
                    workspace.role,
                    self.credential_id,
                    self.scopes,
                )
        raise NotFound("there is no such workspace")

    def may(self, permission: Permission) -> bool:
        """Whether they may do what belongs to no workspace, or to any of theirs."""
        held = allows_outside_workspaces(permission, is_superuser=self.user.is_superuser) or any(
            allows(workspace.role, permission) for workspace in self.workspaces
        )
        return held and is_within(self.scopes, permission)

    def require(self, permission: Permission) -> None:
        if not is_within(self.scopes, permission):
            raise InsufficientScope(f"this credential does not have the scope {permission}")
        if not self.may(permission):
            raise Forbidden(f"{self._who()} may not do this: it needs {permission}")

    def _who(self) -> str:
        return "this API key" if self.by_api_key else "this account" if self.scopes is None else "this session"

    def read(self) -> UserRead:
        return UserRead(
            id=self.user.id,
            email=self.user.email,
            display_name=self.user.display_name,
            is_superuser=self.user.is_superuser,
            created_at=self.user.created_at,
            workspaces=[WorkspaceMembership(id=w.id, name=w.name, role=w.role) for w in self.workspaces],
        )


@dataclass(frozen=True, slots=True)
class Actor:
    """A user acting in a workspace."""

    user_id: UUID
    display_name: str
    workspace_id: UUID
    role: Role
    credential_id: UUID
    scopes: Scopes = None

    def may(self, permission: Permission) -> bool:
        return allows(self.role, permission) and is_within(self.scopes, permission)

    def require(self, permission: Permission) -> None:
        if not is_within(self.scopes, permission):
            raise InsufficientScope(f"this credential does not have the scope {permission}")
        if not allows(self.role, permission):
            raise Forbidden(f"your role in this workspace ({self.role}) does not allow {permission}")


class Callers:
    """Finds out who a token belongs to. What it found it believes for `IDENTITY_SECONDS`."""

    def __init__(self, uow: UnitOfWorkFactory, signer: TokenSigner, last_seen: LastSeen) -> None:
        self._uow = uow
        self._signer = signer
        self._last_seen = last_seen
        self._known: TTLCache[UUID, CurrentUser] = TTLCache(maxsize=10_000, ttl=IDENTITY_SECONDS)
        self._key_ids: LRUCache[bytes, tuple[UUID, UUID]] = LRUCache(maxsize=10_000)
        # A request is asked for its caller more than once.
        self._unknown_keys: TTLCache[bytes, bool] = TTLCache(maxsize=10_000, ttl=IDENTITY_SECONDS)

    async def identify(self, token: str) -> CurrentUser:
        """Who the access token or API key belongs to; raise `Unauthenticated` if it or its session is over."""
        if looks_like_key(token):
            return await self._identify_key(token)
        claims = await self._signer.read(token)
        return await self.recognise(claims.session_id, claims.user_id)

    async def look_again(self, user: CurrentUser) -> CurrentUser:
        """The same user as they are now; raise `SessionEnded` if the credential is over."""
        return await self.recognise(user.credential_id, user.user.id)

    async def in_workspace(self, user: CurrentUser, workspace_id: UUID | None) -> Actor:
        """The user there. One who is not known to belong to it may have come to it a moment ago, so is looked up."""
        if workspace_id is not None and not user.belongs_to(workspace_id):
            self.forget(user.credential_id)
            user = await self.look_again(user)
        return user.actor(workspace_id)

    def forget(self, *credential_ids: UUID) -> None:
        """Look the sessions or keys up anew when they are next seen."""
        for credential_id in credential_ids:
            self._known.pop(credential_id, None)

    async def recognise(self, credential_id: UUID, user_id: UUID) -> CurrentUser:
        """Whose session or API key it is; raise `SessionEnded` if it is over or not theirs."""
        known = self._known.get(credential_id)
        if known is None or known.user.id != user_id:
            known = await self._look_up(credential_id, user_id)
        name_caller(user_id, credential_id)
        return known

    async def _look_up(self, credential_id: UUID, user_id: UUID) -> CurrentUser:
        async with self._uow.reading() as work:
            found = await self._find(work, credential_id)
            if found is None or found[0].id != user_id:
                raise SessionEnded("this session or API key is over; log in again, or take another key")
            workspaces = await work.accounts.list_workspaces(user_id)
        user, scopes, by_api_key = found
        identified = CurrentUser(user, credential_id, workspaces, scopes, by_api_key)
        self._known[credential_id] = identified
        return identified

    async def _identify_key(self, text: str) -> CurrentUser:
        digest = digest_of_key(text)
        # Whose a key is never changes; whether it is still good is asked as of any credential.
        owned = self._key_ids.get(digest)
        if owned is None and digest not in self._unknown_keys:
            async with self._uow.reading() as work:
                owned = await work.api_keys.find_owner(digest)
        if owned is None:
            self._unknown_keys[digest] = True
            raise InvalidToken("there is no such API key")
        self._key_ids[digest] = owned
        try:
            return await self.recognise(*owned)
        except SessionEnded:
            raise InvalidToken("this API key was revoked or has expired") from None

    async def _find(self, work: UnitOfWork, credential_id: UUID) -> tuple[User, Scopes, bool] | None:
        """The owner and the scopes of a live session or key, and whether it is a key."""
        found = await work.sessions.find_live(credential_id, utc_now())
        if found is not None:
            session, user = found
            self._last_seen.note_session(session)
            return user, parse_scopes(session.scope.split()) if session.scope else None, False
        key = await work.api_keys.find_live(credential_id, utc_now())
        if key is None:
            return None
        self._last_seen.note_key(key[0])
        return key[1], parse_scopes(key[0].scopes), True
