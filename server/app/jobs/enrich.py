"""The job that describes a document."""

from uuid import UUID

import procrastinate

from app.repositories.jobs import ASSISTANT_QUEUE
from app.services.knowledge.enrichment import ENRICH_TASK, Enrichment

# Of a try that broke on our side, such as by a database that is away; a model that fails is no reason to try again.
RETRIES = procrastinate.RetryStrategy(max_attempts=100, wait=5)


def register(queue: procrastinate.App, enrichment: Enrichment) -> None:
    """Teach the worker's queue to describe documents."""

    @queue.task(name=ENRICH_TASK, queue=ASSISTANT_QUEUE, retry=RETRIES)
    async def enrich_document(workspace_id: str, document_id: str) -> None:
        await enrichment.enrich(UUID(workspace_id), UUID(document_id))
