"""Workspaces, their members, and what was done in them. The workspace is the one of the address."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from starlette.responses import StreamingResponse

from app.core.requests import PREFIX
from app.dependencies import (
    AuditLog,
    CreatesWorkspaces,
    Cursor,
    DeletesWorkspace,
    Limit,
    ListsWorkspaces,
    ManagesOrLeaves,
    ManagesWorkspace,
    Members,
    ReadsAudit,
    ReadsWorkspace,
    Sent,
    Workspaces,
)
from app.routes.audit_parameters import FILE, Filter, as_file
from app.routes.downloads import Download
from app.routes.idempotent import CreatingRoute
from app.routes.responses import problems
from app.schemas.audit import AuditEventRead, ExportFormat
from app.schemas.base import Page
from app.schemas.workspace import (
    MemberAdd,
    MemberRead,
    MemberRole,
    WorkspaceCreate,
    WorkspaceRead,
    WorkspaceUpdate,
)

router = APIRouter(prefix=PREFIX + "/workspaces", tags=["workspaces"], route_class=CreatingRoute)


@router.post("", status_code=201, responses=problems(401, 403, 409, 413, 422))
async def create_workspace(
    request: WorkspaceCreate, response: Response, user: CreatesWorkspaces, workspaces: Workspaces
) -> WorkspaceRead:
    """Make a workspace, which the caller owns."""
    workspace = await workspaces.create(user, request)
    response.headers["Location"] = f"/api/v1/workspaces/{workspace.id}"
    return workspace


@router.get("", responses=problems(401, 403, 422))
async def list_workspaces(
    user: ListsWorkspaces, workspaces: Workspaces, limit: Limit = 50, cursor: Cursor = None
) -> Page[WorkspaceRead]:
    """Those that the caller belongs to, newest first."""
    return await workspaces.list_page(user, limit, cursor)


@router.get("/{workspace_id}", responses=problems(401, 403, 404, 422))
async def get_workspace(actor: ReadsWorkspace, workspaces: Workspaces) -> WorkspaceRead:
    """A workspace, and the caller's role in it."""
    return await workspaces.get(actor)


@router.patch("/{workspace_id}", responses=problems(401, 403, 404, 413, 422))
async def update_workspace(request: WorkspaceUpdate, actor: ManagesWorkspace, workspaces: Workspaces) -> WorkspaceRead:
    """Rename it, or set limits tighter than the installation's."""
    return await workspaces.update(actor, request)


@router.delete("/{workspace_id}", status_code=204, responses=problems(401, 403, 404, 409, 422))
async def delete_workspace(actor: DeletesWorkspace, workspaces: Workspaces) -> None:
    """Delete it with all that is in it. From then on it is nobody's, and nothing runs in it; a personal one stays."""
    await workspaces.delete(actor)


@router.get("/{workspace_id}/members", responses=problems(401, 403, 404, 422))
async def list_members(
    actor: ReadsWorkspace, members: Members, limit: Limit = 50, cursor: Cursor = None
) -> Page[MemberRead]:
    """Who belongs to it, the oldest accounts first."""
    return await members.list_page(actor, limit, cursor)


@router.post("/{workspace_id}/members", status_code=201, responses=problems(401, 403, 404, 409, 413, 422, 429))
async def add_member(request: MemberAdd, actor: ManagesWorkspace, members: Members) -> MemberRead:
    """Make somebody a member by the address they log in with, or change what they are."""
    return await members.add(actor, request)


@router.put("/{workspace_id}/members/{user_id}", responses=problems(401, 403, 404, 409, 413, 422))
async def put_member(user_id: UUID, request: MemberRole, actor: ManagesWorkspace, members: Members) -> MemberRead:
    """Make somebody a member, or change what they are. Nobody reaches above their own role."""
    return await members.put(actor, user_id, request.role)


@router.delete("/{workspace_id}/members/{user_id}", status_code=204, responses=problems(401, 403, 404, 409, 422))
async def remove_member(user_id: UUID, actor: ManagesOrLeaves, members: Members) -> None:
    """Take somebody out of it. Anybody may leave, but for the last owner."""
    await members.remove(actor, user_id)


@router.get("/{workspace_id}/audit", responses=problems(401, 403, 404, 422))
async def list_workspace_audit_events(
    actor: ReadsAudit, log: AuditLog, wanted: Filter, limit: Limit = 50, cursor: Cursor = None
) -> Page[AuditEventRead]:
    """Who did what from where in this workspace, newest first."""
    return await log.list_page(replace(wanted, workspace_id=actor.workspace_id), limit, cursor)


@router.get(
    "/{workspace_id}/audit/export",
    response_class=StreamingResponse,
    responses={**FILE, **problems(401, 403, 404, 422)},
)
async def export_workspace_audit_events(
    actor: ReadsAudit,
    log: AuditLog,
    downloads: Sent,
    wanted: Filter,
    form: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.NDJSON,
) -> Download:
    """The same as a file, oldest first. That it was exported is in the log, too."""
    return as_file(downloads, log, actor, replace(wanted, workspace_id=actor.workspace_id), form)
