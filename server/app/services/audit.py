"""Reading the audit log."""

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

from app.core.clock import utc_now
from app.domain.audit import Action, AuditFilter, Doer
from app.schemas.audit import AuditEventRead, ExportFormat
from app.schemas.base import Page
from app.services.audit_export import as_csv, as_ndjson, csv_heading
from app.services.unit_of_work import UnitOfWorkFactory

EXPORT_PAGE = 500


class AuditService:
    """For those who may read it, which is the routes' to ask."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def list_page(self, wanted: AuditFilter, limit: int, cursor: str | None) -> Page[AuditEventRead]:
        """Newest first."""
        async with self._uow.reading(wanted.workspace_id) as work:
            rows, following = await work.audit.list_page(wanted, limit, cursor)
        return Page(items=[AuditEventRead.model_validate(row) for row in rows], next_cursor=following)

    async def export(self, by: Doer, wanted: AuditFilter, form: ExportFormat) -> AsyncIterator[bytes]:
        """What is in the log by now, oldest first, a page at a time: no connection is held in between.

        That it was exported is in the log before the first byte is sent.
        """
        wanted = replace(wanted, until=min(wanted.until or utc_now(), utc_now()))
        async with self._uow() as work:
            work.audit.record(Action.AUDIT_EXPORTED, by, form=form)
        return self._pages(wanted, form)

    async def _pages(self, wanted: AuditFilter, form: ExportFormat) -> AsyncIterator[bytes]:
        after: UUID | None = None
        if form == ExportFormat.CSV:
            yield csv_heading()
        while True:
            async with self._uow.reading(wanted.workspace_id) as work:
                rows = await work.audit.list_after(wanted, after, EXPORT_PAGE)
            if not rows:
                return
            after = rows[-1].id
            events = [AuditEventRead.model_validate(row) for row in rows]
            yield as_csv(events) if form == ExportFormat.CSV else as_ndjson(events)
