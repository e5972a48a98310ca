"""Users, their workspaces, and what their credentials allow."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, and_, any_, delete, func, insert, literal, or_, select, union_all
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import Conflict
from app.domain.permissions import Role
from app.models import ApiKey, Membership, Session, SocketTicket, User, Workspace
from app.repositories.base import violates
from app.repositories.sessions import is_alive

SWEPT_TICKETS = 100


class EmailTaken(Conflict):
    """There is an account with that address."""

    code = "email_taken"


@dataclass(frozen=True, slots=True)
class AccountWorkspace:
    """A workspace as one of its members sees it."""

    id: UUID
    name: str
    role: Role
    is_personal: bool
    requests_per_minute: int | None = None


class AccountRepository:
    """Not scoped by a workspace: a user stands above them."""

    def __init__(self, session: AsyncSession, idle: timedelta) -> None:
        self._session = session
        self._idle = idle

    async def add_user(self, user: User, workspace: Workspace) -> None:
        """Add the user with a personal workspace, as its owner; raise `EmailTaken`."""
        self._session.add(user)
        await self.write_email()
        workspace.personal_of = user.id
        self._session.add(workspace)
        await self._session.flush()
        self._session.add(Membership(workspace_id=workspace.id, user_id=user.id, role=Role.OWNER, is_address_told=True))

    async def write_email(self) -> None:
        """Send a user's new address to the database; raise `EmailTaken`."""
        try:
            await self._session.flush()
        except IntegrityError as error:
            if violates(error, "uq_users_email"):
                raise EmailTaken("there is an account with this address") from None
            raise

    async def find_user_by_email(self, email: str) -> User | None:
        found: User | None = await self._session.scalar(select(User).where(User.email == email))
        return found

    async def find_user(self, user_id: UUID) -> User | None:
        return await self._session.get(User, user_id)

    async def lock_user(self, user_id: UUID) -> User | None:
        """The user as they are now; nobody else changes their credentials until the transaction ends."""
        found: User | None = await self._session.scalar(
            select(User)
            .where(User.id == user_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return found

    async def has_superuser(self) -> bool:
        return bool(await self._session.scalar(select(func.count()).where(User.is_superuser).limit(1)))

    async def list_workspaces(self, user_id: UUID) -> list[AccountWorkspace]:
        """The user's workspaces, the personal one first."""
        rows = await self._session.execute(
            select(Workspace.id, Workspace.name, Membership.role, Workspace.personal_of, Workspace.limits)
            .join(Membership, Membership.workspace_id == Workspace.id)
            .where(Membership.user_id == user_id)
            .order_by(Workspace.personal_of.is_(None), Workspace.id)
        )
        return [
            AccountWorkspace(
                row.id, row.name, Role(row.role), row.personal_of == user_id, row.limits.get("requests_per_minute")
            )
            for row in rows
        ]

    async def find_members(self, workspace_id: UUID, user_ids: Collection[UUID]) -> dict[UUID, User]:
        """Those of the ids that are members of the workspace."""
        rows = await self._session.scalars(
            select(User)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.workspace_id == workspace_id, User.id.in_(user_ids))
        )
        return {user.id: user for user in rows}

    async def roles_of_credentials(
        self, credentials: Collection[UUID], workspaces: Collection[UUID]
    ) -> dict[UUID, dict[UUID, Role]]:
        """Of each session and API key that is alive: its user's roles in those of the workspaces they belong to."""
        alive = union_all(
            select(Session.id, Session.user_id)
            .join(User, User.id == Session.user_id)
            .where(Session.id == any_(_uuids(credentials)), *is_alive(func.now(), self._idle)),
            select(ApiKey.id, ApiKey.user_id)
            .join(User, User.id == ApiKey.user_id)
            .where(ApiKey.id == any_(_uuids(credentials)), *_is_good(func.now())),
        ).subquery()
        belongs = and_(Membership.user_id == alive.c.user_id, Membership.workspace_id == any_(_uuids(workspaces)))
        rows = await self._session.execute(
            select(alive.c.id, Membership.workspace_id, Membership.role)
            .select_from(alive)
            .outerjoin(Membership, belongs)
        )
        roles: dict[UUID, dict[UUID, Role]] = {}
        for credential_id, workspace_id, role in rows:
            theirs = roles.setdefault(credential_id, {})
            if workspace_id is not None and role in set(Role):  # one of another release is none here
                theirs[workspace_id] = Role(role)
        return roles

    async def add_ticket(self, user_id: UUID, credential_id: UUID, digest: bytes, seconds: float) -> None:
        """Keep a ticket of the credential's; those that nobody used are swept away by the way."""
        stale = select(SocketTicket.digest).where(SocketTicket.expires_at < func.now()).limit(SWEPT_TICKETS)
        await self._session.execute(
            delete(SocketTicket).where(SocketTicket.digest.in_(stale.with_for_update(skip_locked=True)))
        )
        expires_at = func.now() + timedelta(seconds=seconds)
        await self._session.execute(
            insert(SocketTicket).values(
                digest=digest, user_id=user_id, credential_id=credential_id, expires_at=expires_at
            )
        )

    async def take_ticket(self, digest: bytes) -> tuple[UUID, UUID] | None:
        """Use the ticket up; the credential and the user it was for, None if it is not good (any more)."""
        row = (
            await self._session.execute(
                delete(SocketTicket)
                .where(SocketTicket.digest == digest, SocketTicket.expires_at > func.now())
                .returning(SocketTicket.credential_id, SocketTicket.user_id)
            )
        ).one_or_none()
        return (row[0], row[1]) if row else None


def _uuids(ids: Collection[UUID]) -> Any:
    """As one parameter, however many there are."""
    return literal(list(ids), ARRAY(postgresql.UUID(as_uuid=True)))


def _is_good(now: Any) -> tuple[ColumnElement[bool], ...]:
    """Of an API key joined with its user."""
    return (
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        User.disabled_at.is_(None),
    )
