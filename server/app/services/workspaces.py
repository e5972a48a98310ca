"""Workspaces: make, show, change, delete."""

from dataclasses import replace
from typing import Any

from app.config import BudgetSettings
from app.core.errors import Conflict, Invalid
from app.core.ids import new_id
from app.domain.audit import Action, By
from app.domain.membership import PersonalWorkspace
from app.domain.permissions import Permission, Role
from app.models import Workspace
from app.schemas.base import Page
from app.schemas.workspace import WorkspaceCreate, WorkspaceLimits, WorkspaceRead, WorkspaceUpdate
from app.services.callers import Actor, Callers, CurrentUser
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory

MOST_OWNED = 100


class TooManyWorkspaces(Conflict):
    """One person owns as many workspaces as one may."""

    code = "too_many_workspaces"


class LimitTooWide(Invalid):
    """A workspace's own limit is tighter than the installation's, or none."""

    code = "limit_too_wide"
    where = ("body", "limits")


class WorkspaceService:
    """The workspaces that a person belongs to."""

    def __init__(self, uow: UnitOfWorkFactory, callers: Callers, budgets: BudgetSettings) -> None:
        self._uow = uow
        self._callers = callers
        self._most: dict[str, float | None] = {
            "tokens_per_day": budgets.workspace_tokens_per_day,
            "usd_per_day": budgets.workspace_usd_per_day,
        }

    async def create(self, user: CurrentUser, request: WorkspaceCreate) -> WorkspaceRead:
        """Make a workspace whose owner is the caller; raise `TooManyWorkspaces`."""
        workspace = Workspace(id=new_id(), name=request.name, limits={})
        # Of no workspace: those that the caller owns are many.
        async with self._uow() as work:
            await work.workspaces.lock_person(user.user.id)
            if await work.workspaces.count_owned(user.user.id) >= MOST_OWNED:
                raise TooManyWorkspaces(f"you own {MOST_OWNED} workspaces; delete one before you make another")
            await work.workspaces.add(workspace, user.user.id)
            by = By(user.user.id, user.credential_id, workspace.id)
            work.audit.record(Action.WORKSPACE_CREATED, by, workspace.id)
        self._callers.forget(user.credential_id)
        return read_workspace(workspace, Role.OWNER)

    async def list_page(self, user: CurrentUser, limit: int, cursor: str | None) -> Page[WorkspaceRead]:
        """Newest first."""
        async with self._uow.reading() as work:
            rows, following = await work.workspaces.list_page(user.user.id, limit, cursor)
        return Page(items=[read_workspace(*row) for row in rows], next_cursor=following)

    async def get(self, actor: Actor) -> WorkspaceRead:
        async with self._uow.reading(actor.workspace_id) as work:
            return read_workspace(*await work.workspaces.get(actor.workspace_id, actor.user_id))

    async def update(self, actor: Actor, request: WorkspaceUpdate) -> WorkspaceRead:
        """Change the name and the limits, by field."""
        async with self._uow(actor.workspace_id) as work:
            workspace, role = await lock_workspace(work, actor, Permission.WORKSPACE_MANAGE)
            changed: dict[str, Any] = {}
            if request.name is not None:
                changed["name"] = request.name
            if request.limits is not None:
                given = request.limits.model_dump(include=request.limits.model_fields_set)
                self._check_tighter(given)
                changed["limits"] = workspace.limits | given
            for name, value in changed.items():
                setattr(workspace, name, value)
            if changed:
                await work.flush()
                work.audit.record(Action.WORKSPACE_CHANGED, actor, workspace.id, fields=sorted(changed))
        return read_workspace(workspace, role)

    async def delete(self, actor: Actor) -> None:
        """Take the workspace from everybody at once and end what runs in it; a job deletes what it holds."""
        async with self._uow(actor.workspace_id) as work:
            workspace, _role = await lock_workspace(work, actor, Permission.WORKSPACE_DELETE)
            if workspace.personal_of is not None:
                raise PersonalWorkspace("a personal workspace goes only with its person's account")
            members = await work.workspaces.remove_all_members(workspace.id)
            await work.workspaces.end_running(workspace.id)
            await work.jobs.clear_workspace(workspace.id)
            work.audit.record(Action.WORKSPACE_DELETED, actor, workspace.id, members=members)
        self._callers.forget(actor.credential_id)

    def _check_tighter(self, given: dict[str, Any]) -> None:
        for name, value in given.items():
            most = self._most.get(name)
            if value is not None and most is not None and value > most:
                raise LimitTooWide(f"{name} of this installation is {most:g}; a workspace's own is no wider", name)


async def lock_workspace(work: UnitOfWork, actor: Actor, permission: Permission | None) -> tuple[Workspace, Role]:
    """Lock the actor's workspace, and ask what they may do there at this very moment; None: nothing is asked for."""
    workspace, role = await work.workspaces.get(actor.workspace_id, actor.user_id, for_update=True)
    if permission is not None:
        replace(actor, role=role).require(permission)
    return workspace, role


def read_workspace(workspace: Workspace, role: Role) -> WorkspaceRead:
    return WorkspaceRead(
        id=workspace.id,
        name=workspace.name,
        role=role,
        is_personal=workspace.personal_of is not None,
        limits=WorkspaceLimits.of(workspace.limits),
        created_at=workspace.created_at,
        updated_at=workspace.updated_at,
    )
