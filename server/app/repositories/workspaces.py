"""Workspaces and who belongs to them.

Whoever changes a workspace or its members locks the workspace's row first, so that what they have looked at stays so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cursors import decode_id, encode_cursor
from app.core.errors import NotFound
from app.domain.permissions import Role
from app.models import Agent, Chunk, Discussion, Document, Membership, Memory, User, Workspace

WORKSPACES, MEMBERS = "workspaces", "members"
# In the order of their ids, as whoever locks a discussion and one that was forked from it does.
_END_RUNNING = text(
    """
    UPDATE discussions SET status = 'ended', end_reason = 'stopped', epoch = epoch + 1, pause_requested = false,
        lease_owner = NULL, lease_until = NULL, floor_id = NULL, deadline_at = NULL, speaker_id = NULL,
        speaker_reason = NULL, turn_message_id = NULL, turn_attempt = 0, turn_epoch = 0
    WHERE id IN (
        SELECT id FROM discussions WHERE workspace_id = :workspace_id AND status <> 'ended' ORDER BY id FOR UPDATE
    )
    """
)
# So many at once as are deleted within seconds, however much hangs on each.
_CLEARED = ((Discussion, 10), (Chunk, 2_000), (Document, 50), (Memory, 2_000), (Agent, 200))
_CLEAR_PARTS = text(
    "DELETE FROM original_parts WHERE ctid = ANY (ARRAY("
    "SELECT ctid FROM original_parts WHERE workspace_id = :workspace_id LIMIT 200)) RETURNING 1"
)


@dataclass(frozen=True, slots=True)
class Member:
    """A user, their role in a workspace, and whether its managers were told their address."""

    user: User
    role: Role
    is_address_told: bool


class WorkspaceRepository:
    """Every method names its workspace: a person may ask about all of theirs."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, workspace: Workspace, owner_id: UUID) -> None:
        self._session.add(workspace)
        await self._session.flush()
        self._session.add(
            Membership(workspace_id=workspace.id, user_id=owner_id, role=Role.OWNER, is_address_told=True)
        )
        await self._session.flush()

    async def lock_person(self, user_id: UUID) -> None:
        """Let nobody else count for this person until the unit of work ends."""
        await self._session.execute(select(User.id).where(User.id == user_id).with_for_update(key_share=True))

    async def count_owned(self, user_id: UUID) -> int:
        query = select(func.count()).where(Membership.user_id == user_id, Membership.role == Role.OWNER)
        return await self._session.scalar(query) or 0

    async def get(self, workspace_id: UUID, user_id: UUID, *, for_update: bool = False) -> tuple[Workspace, Role]:
        """The workspace with the person's role in it; one they do not belong to does not exist.

        `for_update` locks its row, but not against new content: that only refers to it.
        """
        query = select(Workspace).where(Workspace.id == workspace_id)
        workspace = await self._session.scalar(query.with_for_update(key_share=True) if for_update else query)
        role = await self.find_role(workspace_id, user_id) if workspace is not None else None
        if workspace is None or role is None:
            raise NotFound("there is no such workspace")
        return workspace, role

    async def limits_of(self, workspace_id: UUID) -> dict[str, Any]:
        """What it has set itself; nothing if it is gone."""
        limits: dict[str, Any] | None = await self._session.scalar(
            select(Workspace.limits).where(Workspace.id == workspace_id)
        )
        return limits or {}

    async def find_role(self, workspace_id: UUID, user_id: UUID) -> Role | None:
        query = select(Membership.role).where(Membership.workspace_id == workspace_id, Membership.user_id == user_id)
        role: str | None = await self._session.scalar(query)
        return Role(role) if role is not None else None

    async def list_page(
        self, user_id: UUID, limit: int, cursor: str | None
    ) -> tuple[list[tuple[Workspace, Role]], str | None]:
        """The person's workspaces, newest first."""
        query = select(Workspace, Membership.role).join(Membership).where(Membership.user_id == user_id)
        if cursor is not None:
            query = query.where(Workspace.id < decode_id(cursor, WORKSPACES))
        rows = (await self._session.execute(query.order_by(Workspace.id.desc()).limit(limit + 1))).all()
        following = encode_cursor(WORKSPACES, rows[limit - 1][0].id) if len(rows) > limit else None
        return [(workspace, Role(role)) for workspace, role in rows[:limit]], following

    async def list_members(
        self, workspace_id: UUID, limit: int, cursor: str | None
    ) -> tuple[Sequence[Member], str | None]:
        """In the order of their accounts' age."""
        query = select(User, Membership.role, Membership.is_address_told).join(
            Membership, Membership.user_id == User.id
        )
        query = query.where(Membership.workspace_id == workspace_id)
        if cursor is not None:
            query = query.where(Membership.user_id > decode_id(cursor, MEMBERS))
        rows = (await self._session.execute(query.order_by(Membership.user_id).limit(limit + 1))).all()
        following = encode_cursor(MEMBERS, rows[limit - 1][0].id) if len(rows) > limit else None
        return [Member(user, Role(role), is_told) for user, role, is_told in rows[:limit]], following

    async def count_owners(self, workspace_id: UUID) -> int:
        query = select(func.count()).where(Membership.workspace_id == workspace_id, Membership.role == Role.OWNER)
        return await self._session.scalar(query) or 0

    async def set_role(self, workspace_id: UUID, user_id: UUID, role: Role) -> None:
        """Make them a member, or change their role; the caller has the workspace's row locked."""
        await self._session.merge(Membership(workspace_id=workspace_id, user_id=user_id, role=role))

    async def tell_address(self, workspace_id: UUID, user_id: UUID) -> None:
        """From now on those who manage the members may see the address of this one."""
        await self._session.merge(Membership(workspace_id=workspace_id, user_id=user_id, is_address_told=True))

    async def untell_address(self, user_id: UUID) -> None:
        """It is another one, which nobody was told."""
        await self._session.execute(
            update(Membership).where(Membership.user_id == user_id).values(is_address_told=False)
        )

    async def is_address_told(self, workspace_id: UUID, user_id: UUID) -> bool:
        query = select(Membership.is_address_told)
        query = query.where(Membership.workspace_id == workspace_id, Membership.user_id == user_id)
        return bool(await self._session.scalar(query))

    async def remove_member(self, workspace_id: UUID, user_id: UUID) -> None:
        await self._session.execute(
            delete(Membership).where(Membership.workspace_id == workspace_id, Membership.user_id == user_id)
        )

    async def remove_all_members(self, workspace_id: UUID) -> int:
        """From then on the workspace is nobody's; how many they were."""
        gone = await self._session.execute(
            delete(Membership).where(Membership.workspace_id == workspace_id).returning(Membership.user_id)
        )
        return len(gone.all())

    async def end_running(self, workspace_id: UUID) -> None:
        """End every discussion without a word in its log: nobody reads it any more. Drivers are fenced off."""
        await self._session.execute(_END_RUNNING, {"workspace_id": workspace_id})

    async def clear_some(self, workspace_id: UUID) -> bool:
        """Delete some of what is in the workspace; whether there was anything."""
        for model, most in _CLEARED:
            some = select(model.id).where(model.workspace_id == workspace_id).order_by(model.id).limit(most)
            gone = await self._session.execute(delete(model).where(model.id.in_(some)).returning(model.id))
            if gone.all():
                return True
        parts = await self._session.execute(_CLEAR_PARTS, {"workspace_id": workspace_id})
        return bool(parts.all())

    async def delete(self, workspace_id: UUID) -> None:
        """Delete a workspace that nobody belongs to, with what is left in it."""
        members = select(Membership.user_id).where(Membership.workspace_id == workspace_id)
        await self._session.execute(delete(Workspace).where(Workspace.id == workspace_id, ~members.exists()))
