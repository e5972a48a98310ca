"""The job that extracts from a document what a caller asked for."""

from uuid import UUID

import procrastinate

from app.repositories.jobs import ASSISTANT_QUEUE
from app.services.knowledge.extraction import Extracting, Wanted
from app.services.knowledge.extractions import EXTRACT_TASK

# Of a try that broke on our side, such as by a database that is away; what the model does is not counted here.
RETRIES = procrastinate.RetryStrategy(max_attempts=100, wait=5)


def register(queue: procrastinate.App, extracting: Extracting) -> None:
    """Teach the worker's queue to extract."""

    @queue.task(name=EXTRACT_TASK, queue=ASSISTANT_QUEUE, retry=RETRIES)
    async def extract_from_document(workspace_id: str, extraction_id: str, attempt: int = 1) -> None:
        await extracting.extract(Wanted(UUID(workspace_id), UUID(extraction_id), attempt))
