"""The jobs that take documents in, embed bases anew, and take away what is left of both."""

from uuid import UUID

import procrastinate

from app.core.errors import Unavailable
from app.repositories.jobs import CHORES_QUEUE, KNOWLEDGE_QUEUE
from app.services.knowledge.documents import FORGET_TASK, INGEST_TASK
from app.services.knowledge.ingestion import Ingestion
from app.services.knowledge.originals import CLEAR_ORIGINALS_TASK, Originals
from app.services.knowledge.reembedding import REEMBED_TASK, Reembedding
from app.services.knowledge.removal import CLEAR_BASE_TASK, FORGET_CHUNKS_TASK, Removal

# What is away comes back: the database, or where files and vectors are kept. Whatever else may fail, the services know.
RETRIES = procrastinate.RetryStrategy(max_attempts=1000, wait=5, retry_exceptions={Unavailable})
CHORE_RETRIES = procrastinate.RetryStrategy(max_attempts=1000, wait=5)


def register(
    queue: procrastinate.App,
    ingestion: Ingestion,
    reembedding: Reembedding,
    removal: Removal,
    originals: Originals,
) -> None:
    """Teach the worker's queue what is to be done for documents."""

    @queue.task(name=INGEST_TASK, queue=KNOWLEDGE_QUEUE, retry=RETRIES)
    async def ingest_document(workspace_id: str, document_id: str, attempt: int = 1) -> None:
        await ingestion.ingest(UUID(workspace_id), UUID(document_id), attempt)

    @queue.task(name=REEMBED_TASK, queue=KNOWLEDGE_QUEUE, retry=RETRIES)
    async def reembed_base(workspace_id: str, base_id: str, attempt: int = 1) -> None:
        await reembedding.reembed(UUID(workspace_id), UUID(base_id), attempt)

    @queue.task(name=FORGET_TASK, queue=CHORES_QUEUE, retry=CHORE_RETRIES)
    async def forget_document(workspace_id: str, document_id: str, original_id: str) -> None:
        await removal.forget_document(UUID(workspace_id), _id_or_none(document_id), _id_or_none(original_id))

    @queue.task(name=FORGET_CHUNKS_TASK, queue=CHORES_QUEUE, retry=CHORE_RETRIES)
    async def forget_chunks(workspace_id: str, chunk_ids: str) -> None:
        await removal.forget_chunks(UUID(workspace_id), [UUID(chunk_id) for chunk_id in chunk_ids.split(",")])

    @queue.task(name=CLEAR_BASE_TASK, queue=CHORES_QUEUE, retry=CHORE_RETRIES)
    async def clear_base(workspace_id: str, base_id: str) -> None:
        await removal.clear_base(UUID(workspace_id), UUID(base_id))

    @queue.task(name=CLEAR_ORIGINALS_TASK, queue=CHORES_QUEUE, retry=CHORE_RETRIES)
    async def clear_originals() -> None:
        await originals.clear_loose()


def _id_or_none(given: str) -> UUID | None:
    return UUID(given) if given else None
