"""The port of vector stores: where chunks are as vectors, and which are nearest to another one.

PostgreSQL alone says which chunks there are. A store may hold vectors of chunks that are gone, and may miss one for a
moment: whoever searches looks the hits up in PostgreSQL, and whoever writes does so again after a crash.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from app.core.errors import Unavailable
from app.services.embedding.base import Vectors


class VectorStoreAway(Unavailable):
    """The store failed or does not answer; the same may work later."""

    code = "vector_store_away"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk belongs, which searches filter by."""

    chunk_id: UUID
    base_id: UUID
    document_id: UUID


@dataclass(frozen=True, slots=True)
class Within:
    """What is searched: bases of one workspace, at least one, and only some of their documents if any are named.

    `at_most`: so many vectors at most are in it, as far as whoever asks has counted.
    """

    workspace_id: UUID
    base_ids: Collection[UUID]
    document_ids: Collection[UUID] = field(default_factory=tuple)
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk, and the cosine similarity (-1 to 1) of its vector to the one that was asked for."""

    chunk_id: UUID
    similarity: float


class VectorStore(Protocol):
    """Implementations pass `tests/contracts/vector_store.py`. `model` is the name of the embedding model."""

    async def upsert(self, workspace_id: UUID, model: str, places: Sequence[Place], vectors: Vectors) -> None:
        """Write a vector for each place, over one that is there; the same call twice is the same as once."""
        ...

    async def find_missing(self, workspace_id: UUID, model: str, chunk_ids: Collection[UUID]) -> set[UUID]:
        """Those of the chunks that have no vector of that model."""
        ...

    async def search(self, within: Within, model: str, vector: Vectors, k: int) -> list[Hit]:
        """The `k` nearest, nearest first; `vector` is one row."""
        ...

    async def delete_documents(self, workspace_id: UUID, document_ids: Collection[UUID]) -> None:
        """Forget all vectors of these documents."""
        ...

    async def delete_chunks(self, workspace_id: UUID, chunk_ids: Collection[UUID]) -> None:
        """Forget all vectors of these chunks."""
        ...

    async def delete_model(self, workspace_id: UUID, base_id: UUID, model: str) -> None:
        """Forget the base's vectors of that model, which another has taken the place of."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...
