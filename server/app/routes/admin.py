"""The installation: its accounts, and the whole audit log. For superusers."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from app.core.requests import PREFIX
from app.dependencies import Administers, Administration, AuditLog, Cursor, Limit, SearchText, Sent
from app.domain.audit import By
from app.routes.audit_parameters import FILE, Filter, as_file
from app.routes.downloads import Download
from app.routes.responses import problems
from app.schemas.admin import AccountRead, AccountUpdate
from app.schemas.audit import AuditEventRead, ExportFormat
from app.schemas.base import Page

router = APIRouter(prefix=PREFIX + "/admin", tags=["admin"])
InWorkspace = Annotated[UUID | None, Query(description="What was done in it.")]


@router.get("/users", responses=problems(401, 403, 422))
async def list_users(
    user: Administers,
    administration: Administration,
    q: SearchText = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AccountRead]:
    """Newest first; `q` is looked for in addresses and names."""
    return await administration.list_page(q, limit, cursor)


@router.patch("/users/{user_id}", responses=problems(401, 403, 404, 409, 413, 422))
async def update_user(
    user_id: UUID, request: AccountUpdate, user: Administers, administration: Administration
) -> AccountRead:
    """Disable an account or let it in again, let it administer or not, rename it."""
    return await administration.update(user, user_id, request)


@router.get("/audit", responses=problems(401, 403, 422))
async def list_audit_events(
    user: Administers,
    log: AuditLog,
    wanted: Filter,
    workspace_id: InWorkspace = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditEventRead]:
    """Who did what from where, in all of the installation, newest first."""
    return await log.list_page(replace(wanted, workspace_id=workspace_id), limit, cursor)


@router.get("/audit/export", response_class=StreamingResponse, responses={**FILE, **problems(401, 403, 422)})
async def export_audit_events(
    user: Administers,
    log: AuditLog,
    downloads: Sent,
    wanted: Filter,
    workspace_id: InWorkspace = None,
    form: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.NDJSON,
) -> Download:
    """The same as a file, oldest first. That it was exported is in the log, too."""
    by = By(user.user.id, user.credential_id, workspace_id)
    return as_file(downloads, log, by, replace(wanted, workspace_id=workspace_id), form)
