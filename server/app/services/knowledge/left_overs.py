"""What is found again that nobody works on: documents without a job, and files without a document."""

from time import monotonic

import structlog

from app.repositories.jobs import KNOWLEDGE_QUEUE
from app.services.knowledge.documents import INGEST_TASK, ingestion_lock
from app.services.knowledge.originals import Originals
from app.services.unit_of_work import UnitOfWorkFactory

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = 10.0
GRACE_SECONDS = 30.0
ADOPTED_AT_ONCE = 500


class LeftOvers:
    """Looks every few seconds, however often it is asked to; two at once do no harm."""

    def __init__(self, uow: UnitOfWorkFactory, originals: Originals) -> None:
        self._uow = uow
        self._originals = originals
        self._looked_at = float("-inf")

    async def look(self) -> None:
        """Queue what is to be done."""
        if monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = monotonic()
        await self._adopt()
        await self._originals.look_for_loose()

    async def _adopt(self) -> None:
        """Also documents of a release that did not cut them into chunks, which its migration leaves unfinished."""
        async with self._uow() as work:
            found = await work.left_overs.documents(GRACE_SECONDS, ADOPTED_AT_ONCE)
            for document_id, workspace_id in found:
                await work.jobs.defer_once(
                    INGEST_TASK,
                    KNOWLEDGE_QUEUE,
                    ingestion_lock(document_id),
                    workspace_id=str(workspace_id),
                    document_id=str(document_id),
                )
        if found:
            log.info("documents_adopted", documents=len(found))
