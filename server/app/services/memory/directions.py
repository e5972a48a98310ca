"""Memories as vectors: all of one embedding model, the one that is always there."""

from collections.abc import Sequence
from uuid import UUID

from app.repositories.memories import Direction
from app.services.embedding.catalog import DEFAULT_EMBEDDING_MODEL, EmbeddingCatalog


async def directions_of(embeddings: EmbeddingCatalog, workspace_id: UUID, texts: Sequence[str]) -> list[Direction]:
    """A vector for each text. No transaction may be open meanwhile."""
    model = await embeddings.get(workspace_id, DEFAULT_EMBEDDING_MODEL)
    vectors = await model.embedder.embed(texts)
    return [Direction(model.name, vector.tolist()) for vector in vectors]
