"""Vectors in PostgreSQL, beside the chunks they are of."""

from collections.abc import Collection, Sequence
from uuid import UUID

from app.repositories.vectors import COMPARED_ONE_BY_ONE, VectorScope
from app.services.embedding.base import Vectors
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.vector_store import Hit, Place, Within

WRITTEN_AT_ONCE = 500
DELETED_AT_ONCE = 5_000


class PgVectorStore:
    """Passes `tests/contracts/vector_store.py`. A vector whose chunk is deleted goes with it."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def upsert(self, workspace_id: UUID, model: str, places: Sequence[Place], vectors: Vectors) -> None:
        """In short transactions: a crash leaves some of them written."""
        for start in range(0, len(places), WRITTEN_AT_ONCE):
            some = slice(start, start + WRITTEN_AT_ONCE)
            async with self._uow(workspace_id) as work:
                await work.vectors.upsert(model, [place.chunk_id for place in places[some]], vectors[some])

    async def find_missing(self, workspace_id: UUID, model: str, chunk_ids: Collection[UUID]) -> set[UUID]:
        async with self._uow.reading(workspace_id) as work:
            return set(chunk_ids) - await work.vectors.find_present(model, chunk_ids)

    async def search(self, within: Within, model: str, vector: Vectors, k: int) -> list[Hit]:
        scope = VectorScope(within.base_ids, within.document_ids, model)
        if within.at_most is not None and within.at_most <= COMPARED_ONE_BY_ONE:
            async with self._uow.reading(within.workspace_id) as work:
                found = await work.vectors.nearest_of_few(scope, vector, k)
        else:
            async with self._uow(within.workspace_id) as work:
                found = await work.vectors.nearest(scope, vector, k)
        return [Hit(chunk_id, similarity) for chunk_id, similarity in found]

    async def delete_documents(self, workspace_id: UUID, document_ids: Collection[UUID]) -> None:
        async with self._uow(workspace_id) as work:
            await work.vectors.delete_documents(document_ids)

    async def delete_chunks(self, workspace_id: UUID, chunk_ids: Collection[UUID]) -> None:
        async with self._uow(workspace_id) as work:
            await work.vectors.delete_chunks(chunk_ids)

    async def delete_model(self, workspace_id: UUID, base_id: UUID, model: str) -> None:
        """In short transactions, so that nobody waits for a large base; none while the base is to have the model."""
        deleted = DELETED_AT_ONCE
        while deleted == DELETED_AT_ONCE:
            async with self._uow(workspace_id) as work:
                models = await work.documents.models_of(base_id, keep=True)
                if models is not None and model in models.wanted:
                    return
                deleted = await work.vectors.delete_model(base_id, model, DELETED_AT_ONCE)

    async def close(self) -> None:
        """Holds nothing of its own."""
