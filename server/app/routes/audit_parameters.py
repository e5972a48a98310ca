"""What both lists of the audit log are asked with, and how the log is sent as a file."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from app.domain.audit import Action, AuditFilter, Doer
from app.routes.downloads import Download
from app.schemas.audit import ExportFormat
from app.schemas.base import Instant
from app.services.audit import AuditService
from app.services.downloads import Downloads

Since = Annotated[Instant | None, Query(description="Not earlier (RFC 3339).")]
Until = Annotated[Instant | None, Query(description="Earlier (RFC 3339).")]
MEDIA_TYPES = {ExportFormat.NDJSON: "application/x-ndjson", ExportFormat.CSV: "text/csv"}
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The deeds, oldest first; a cell of the table that a spreadsheet might compute begins with `'`.",
        "content": {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()},
    }
}


async def get_filter(
    action: Action | None = None,
    user_id: Annotated[UUID | None, Query(description="Who did it.")] = None,
    since: Since = None,
    until: Until = None,
) -> AuditFilter:
    return AuditFilter(action=action, user_id=user_id, since=since, until=until)


Filter = Annotated[AuditFilter, Depends(get_filter)]


def as_file(downloads: Downloads, log: AuditService, by: Doer, wanted: AuditFilter, form: ExportFormat) -> Download:
    """What is in the log, as a file for whoever asks."""
    assert by.user_id is not None
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="audit.{form}"'}
    export = partial(log.export, by, wanted, form)
    return Download(downloads, by.user_id, export, media_type=MEDIA_TYPES[form], headers=headers)
