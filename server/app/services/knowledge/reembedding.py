"""Changing a base's embedding model: new vectors are written beside the old ones, which serve until all are there.

Documents that are added meanwhile get vectors of both models from whoever takes them in, who looks at the base's models
under its row's lock before a document is ready. So one look at each chunk there was when the change was asked for is
enough, and the switch is one commit. Vectors of models that a base has left are removed before others are written, but
never those of a model that it is to have by now, since another job may have made sure that all are there.
"""

from datetime import timedelta
from uuid import UUID

import structlog

from app.core.errors import ArenaError, Unavailable
from app.models import KnowledgeBase
from app.repositories.documents import Models
from app.repositories.jobs import KNOWLEDGE_QUEUE
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.knowledge.embedding import ChunkEmbedding
from app.services.knowledge.ingestion import FIRST_WAIT_SECONDS, MOST_ATTEMPTS, may_pass
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.vector_store import VectorStore

log = structlog.stdlib.get_logger(__name__)

REEMBED_TASK = "reembed_base"
CHUNKS_AT_ONCE = 1024


def retire(base: KnowledgeBase, model: str) -> None:
    """The base needs its vectors no more."""
    if model not in base.retired_embedding_models:
        base.retired_embedding_models = [*base.retired_embedding_models, model]


def change_model(base: KnowledgeBase, model: str) -> bool:
    """Let the locked base change to the model; whether there is anything to do for a job."""
    if model == (base.next_embedding_model or base.embedding_model):
        return False
    if base.next_embedding_model is not None:
        retire(base, base.next_embedding_model)
    is_back = model == base.embedding_model
    base.next_embedding_model = None if is_back else model
    base.embedding_progress = None if is_back else 0.0
    base.embedding_error = None
    return True


def reembedding_lock(base_id: UUID) -> str:
    """What lets one job at a time embed the base anew."""
    return f"base:{base_id}"


async def queue_reembedding(work: UnitOfWork, base: KnowledgeBase) -> None:
    """Queue the job, in the transaction that wants it."""
    await work.jobs.defer_once(
        REEMBED_TASK,
        KNOWLEDGE_QUEUE,
        reembedding_lock(base.id),
        workspace_id=str(base.workspace_id),
        base_id=str(base.id),
    )


class Reembedding:
    """May be begun any number of times for the same base, and cut at any moment."""

    def __init__(self, uow: UnitOfWorkFactory, embeddings: EmbeddingCatalog, vectors: VectorStore) -> None:
        self._uow = uow
        self._vectors = vectors
        self._embedding = ChunkEmbedding(uow, embeddings, vectors)

    async def reembed(self, workspace_id: UUID, base_id: UUID, attempt: int) -> None:
        """Until the base has the vectors it is to have, and no others. Raise `Unavailable`."""
        while (models := await self._models(workspace_id, base_id)) is not None:
            if models.retired:
                await self._remove(workspace_id, base_id, models)
            elif models.next is None:
                return
            else:
                try:
                    await self._complete(workspace_id, base_id, models.next)
                except Unavailable:
                    raise
                except ArenaError as error:
                    if may_pass(error) and attempt < MOST_ATTEMPTS:
                        await self._wait(workspace_id, base_id, error, attempt)
                        return
                    await self._give_up(workspace_id, base_id, models.next, error)

    async def _models(self, workspace_id: UUID, base_id: UUID) -> Models | None:
        async with self._uow.reading(workspace_id) as work:
            return await work.documents.models_of(base_id)

    async def _remove(self, workspace_id: UUID, base_id: UUID, models: Models) -> None:
        removed = []
        for model in models.retired:
            now = await self._models(workspace_id, base_id)
            if now is not None and model not in now.wanted:
                await self._vectors.delete_model(workspace_id, base_id, model)
                removed.append(model)
        async with self._uow(workspace_id) as work:
            base = await work.knowledge.find_base_for_update(base_id)
            if base is not None:
                done = {*removed, base.embedding_model, base.next_embedding_model}
                base.retired_embedding_models = [one for one in base.retired_embedding_models if one not in done]

    async def _complete(self, workspace_id: UUID, base_id: UUID, model: str) -> None:
        """Write what lacks, then switch; nothing if the base is to have another model by now."""
        async with self._uow.reading(workspace_id) as work:
            total = await work.chunks.count_in_base(base_id)
        done, after = 0, None
        while True:
            async with self._uow.reading(workspace_id) as work:
                chunks = await work.chunks.list_ids_of_base(base_id, after, CHUNKS_AT_ONCE)
            if not chunks:
                break
            async for embedded in self._embedding.embed(workspace_id, base_id, model, chunks):
                if not await self._tell(workspace_id, base_id, model, min(1.0, (done + embedded) / max(1, total))):
                    return
            done, after = done + len(chunks), chunks[-1][0]
        async with self._uow(workspace_id) as work:
            base = await work.knowledge.find_base_for_update(base_id)
            if base is not None and base.next_embedding_model == model:
                retire(base, base.embedding_model)
                base.embedding_model, base.next_embedding_model, base.embedding_progress = model, None, None
                log.info("base_reembedded", base_id=str(base_id), model=model)

    async def _tell(self, workspace_id: UUID, base_id: UUID, model: str, share: float) -> bool:
        async with self._uow(workspace_id) as work:
            return await work.knowledge.tell_embedding(base_id, model, share)

    async def _wait(self, workspace_id: UUID, base_id: UUID, error: ArenaError, attempt: int) -> None:
        wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1)
        log.info("reembedding_waits", base_id=str(base_id), code=error.code, seconds=wait)
        async with self._uow(workspace_id) as work:
            await work.jobs.defer_alone(
                REEMBED_TASK,
                KNOWLEDGE_QUEUE,
                reembedding_lock(base_id),
                at=work.now() + timedelta(seconds=wait),
                workspace_id=str(workspace_id),
                base_id=str(base_id),
                attempt=attempt + 1,
            )

    async def _give_up(self, workspace_id: UUID, base_id: UUID, model: str, error: ArenaError) -> None:
        """Stay with the old model, and say why."""
        async with self._uow(workspace_id) as work:
            base = await work.knowledge.find_base_for_update(base_id)
            if base is not None and base.next_embedding_model == model:
                retire(base, model)
                base.next_embedding_model, base.embedding_progress = None, None
                base.embedding_error = error.detail
        log.warning("base_not_reembedded", base_id=str(base_id), code=error.code)
