"""Gives chunks the vectors they lack: of one model, in batches, writing one while the next is embedded."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

from app.core.batches import in_batches
from app.core.errors import ArenaError
from app.services.embedding.base import Embedder, Vectors
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.vector_store import Place, VectorStore

CHUNKS_AT_ONCE = 256


class ChunkEmbedding:
    """What has a vector already is left as it is, so that the same call again goes on where it was cut."""

    def __init__(self, uow: UnitOfWorkFactory, embeddings: EmbeddingCatalog, vectors: VectorStore) -> None:
        self._uow = uow
        self._embeddings = embeddings
        self._vectors = vectors

    async def embed(
        self,
        workspace_id: UUID,
        base_id: UUID,
        model: str,
        chunks: Sequence[tuple[UUID, UUID]],
        new: Mapping[UUID, str] = MappingProxyType({}),
    ) -> AsyncIterator[int]:
        """Embed the chunks (each with its document), and yield how many have their vectors so far.

        Of the `new` ones whoever asks has just written what they are embedded as, so that nobody has to be asked.
        Raise `UnknownModel` or a `ModelError`. Chunks that are gone by now are passed over.
        """
        embedder = (await self._embeddings.get(workspace_id, model)).embedder
        writing: asyncio.Task[None] | None = None
        done = 0
        try:
            for batch in in_batches(chunks, CHUNKS_AT_ONCE):
                try:
                    places, vectors = await self._lacking(workspace_id, base_id, model, embedder, batch, new)
                except ArenaError:
                    if writing is not None:  # what the batch before cost is not lost
                        await writing
                        yield done
                    raise
                if writing is not None:
                    await writing
                    yield done
                writing = asyncio.create_task(self._vectors.upsert(workspace_id, model, places, vectors))
                done += len(batch)
            if writing is not None:
                await writing
            yield done
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.wait([writing])

    async def _lacking(
        self,
        workspace_id: UUID,
        base_id: UUID,
        model: str,
        embedder: Embedder,
        batch: Sequence[tuple[UUID, UUID]],
        new: Mapping[UUID, str],
    ) -> tuple[list[Place], Vectors]:
        """Those of the batch that lack a vector, and what it is."""
        found = {chunk_id: (document_id, new[chunk_id]) for chunk_id, document_id in batch if chunk_id in new}
        if known := [chunk_id for chunk_id, _ in batch if chunk_id not in new]:
            missing = await self._vectors.find_missing(workspace_id, model, known)
            async with self._uow.reading(workspace_id) as work:
                found |= await work.chunks.find_embedded_texts(list(missing)) if missing else {}
        places = [Place(chunk_id, base_id, document_id) for chunk_id, (document_id, _) in found.items()]
        return places, await embedder.embed([text for _, text in found.values()])
