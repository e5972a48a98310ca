"""What is left of deleted documents and bases: taken away a little at a time, each in a transaction of its own."""

from collections.abc import Sequence
from uuid import UUID

from app.core.batches import in_batches
from app.repositories.jobs import CHORES_QUEUE
from app.services.knowledge.originals import Originals
from app.services.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.vector_store import VectorStore

CLEAR_BASE_TASK = "clear_base"
FORGET_CHUNKS_TASK = "forget_chunks"
DOCUMENTS_AT_ONCE = 50
CHUNKS_AT_ONCE = 2_000


async def queue_forgetting_chunks(work: UnitOfWork, workspace_id: UUID, chunk_ids: Sequence[UUID]) -> None:
    """Have the vectors of chunks forgotten that go with this transaction: those that are not in the database."""
    for some in in_batches(chunk_ids, CHUNKS_AT_ONCE):
        named = ",".join(map(str, some))
        await work.jobs.defer(FORGET_CHUNKS_TASK, CHORES_QUEUE, workspace_id=str(workspace_id), chunk_ids=named)


class Removal:
    """May be begun any number of times for the same thing, and cut at any moment."""

    def __init__(self, uow: UnitOfWorkFactory, originals: Originals, vectors: VectorStore) -> None:
        self._uow = uow
        self._originals = originals
        self._vectors = vectors

    async def forget_document(self, workspace_id: UUID, document_id: UUID | None, original_id: UUID | None) -> None:
        """Its vectors, where they are not in the database, and a file that it was made of."""
        if document_id is not None:
            await self._vectors.delete_documents(workspace_id, [document_id])
            async with self._uow(workspace_id) as work:
                work.documents.note_forgotten()
        if original_id is not None:
            await self._originals.delete(workspace_id, original_id)

    async def forget_chunks(self, workspace_id: UUID, chunk_ids: Sequence[UUID]) -> None:
        """The vectors of chunks that are gone, where these are not in the database."""
        await self._vectors.delete_chunks(workspace_id, chunk_ids)
        async with self._uow(workspace_id) as work:
            work.documents.note_forgotten()

    async def clear_base(self, workspace_id: UUID, base_id: UUID) -> None:
        """All that is in a base that was deleted, and then its row."""
        async with self._uow.reading(workspace_id) as work:
            if not await work.knowledge.is_hidden(base_id):
                return
        deleted = CHUNKS_AT_ONCE
        while deleted:
            async with self._uow(workspace_id) as work:
                deleted = await work.chunks.delete_some_of_base(base_id, CHUNKS_AT_ONCE)
        while await self._clear_documents(workspace_id, base_id):
            pass
        async with self._uow(workspace_id) as work:
            await work.knowledge.delete_hidden(base_id)

    async def clear_files(self, workspace_id: UUID) -> None:
        """Of a whole workspace, what is not in the database; its documents are left to be deleted."""
        after: UUID | None = None
        while True:
            async with self._uow.reading(workspace_id) as work:
                found = await work.knowledge.list_originals(after, DOCUMENTS_AT_ONCE)
            if not found:
                return
            await self._forget(workspace_id, found)
            after = found[-1][0]

    async def _clear_documents(self, workspace_id: UUID, base_id: UUID) -> bool:
        async with self._uow.reading(workspace_id) as work:
            documents = await work.knowledge.list_of_base(base_id, DOCUMENTS_AT_ONCE)
        if not documents:
            return False
        await self._forget(workspace_id, [(document.id, document.original_id) for document in documents])
        async with self._uow(workspace_id) as work:
            await work.knowledge.delete_documents([document.id for document in documents])
        return True

    async def _forget(self, workspace_id: UUID, documents: list[tuple[UUID, UUID | None]]) -> None:
        await self._vectors.delete_documents(workspace_id, [document_id for document_id, _ in documents])
        for _, original_id in documents:
            if original_id is not None:
                await self._originals.delete(workspace_id, original_id)
