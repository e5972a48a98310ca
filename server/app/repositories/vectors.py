"""Chunks as vectors, in PostgreSQL with pgvector.

Few rows are compared one by one, which is exact and quick. Among many, an HNSW index is walked until enough of those
found belong to what is searched (iterative scan). The planner is not left to choose: it does not know how many rows an
index has to walk past that belong to others.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson
from sqlalchemy import select, text

from app.models import ChunkEmbedding
from app.models.knowledge import INDEXED_DIMENSIONS
from app.repositories.base import Repository

COMPARED_ONE_BY_ONE = 5_000
"""Up to so many rows; it takes about as long as the index does among 100,000."""
WALKED_AT_MOST = 40_000
EF_SEARCH = 600
"""A wide walk through indexes of rather few links (migration 0007): these are quicker to write than the usual ones."""
_SCOPE = (
    "workspace_id = :workspace_id AND base_id = ANY(:base_ids) AND model = :model AND dimensions = {dimensions}"
    "{documents}"
)
_OF_DOCUMENTS = " AND document_id = ANY(:document_ids)"
# A chunk that was deleted meanwhile is left out; one that is there stays until this is committed.
_UPSERT = text(
    """
    INSERT INTO chunk_embeddings AS kept
        (chunk_id, model, workspace_id, base_id, document_id, dimensions, embedding)
    SELECT c.id, :model, c.workspace_id, c.base_id, c.document_id, :dimensions, given.vector::halfvec
    FROM unnest(CAST(:chunk_ids AS uuid[]), CAST(:vectors AS text[])) AS given (chunk_id, vector)
    JOIN chunks c ON c.id = given.chunk_id AND c.workspace_id = :workspace_id
    FOR KEY SHARE OF c
    ON CONFLICT (chunk_id, model) DO UPDATE SET dimensions = excluded.dimensions, embedding = excluded.embedding
    WHERE kept.embedding IS DISTINCT FROM excluded.embedding
    """
)
_PREPARE = (
    "SELECT (SELECT count(*) FROM (SELECT FROM chunk_embeddings WHERE {scope} LIMIT {bound}) bounded) AS counted,"
    " (SELECT reltuples FROM pg_class WHERE oid = to_regclass('{index}')) AS indexed,"
    " set_config('hnsw.ef_search', :ef_search, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),"
    " set_config('hnsw.max_scan_tuples', :walked, true), set_config('plan_cache_mode', 'force_custom_plan', true)"
)
_ONE_BY_ONE = (
    "SELECT chunk_id, 1 - (embedding <=> CAST(:vector AS halfvec)) AS similarity FROM chunk_embeddings"
    " WHERE {scope} ORDER BY embedding <=> CAST(:vector AS halfvec), chunk_id LIMIT :k"
)
# In the relaxed order a few may come in another than theirs, so they are sorted after.
_BY_INDEX = (
    "WITH walked AS MATERIALIZED ("
    "SELECT chunk_id, embedding::halfvec({dimensions}) <=> CAST(:vector AS halfvec({dimensions})) AS distance"
    " FROM chunk_embeddings WHERE {scope}"
    " ORDER BY embedding::halfvec({dimensions}) <=> CAST(:vector AS halfvec({dimensions})) LIMIT :k)"
    " SELECT chunk_id, 1 - distance AS similarity FROM walked ORDER BY distance, chunk_id"
)


@dataclass(frozen=True, slots=True)
class VectorScope:
    """Which vectors are compared: of these bases, of these documents if any are named, of that model."""

    base_ids: Collection[UUID]
    document_ids: Collection[UUID]
    model: str


class VectorRepository(Repository):
    """The workspace's vectors."""

    async def upsert(self, model: str, chunk_ids: Sequence[UUID], vectors: npt.NDArray[np.float32]) -> None:
        """Write a row of `vectors` for each chunk that is there."""
        # In one order, so that two who write the same wait for each other and do not deadlock.
        order = sorted(range(len(chunk_ids)), key=chunk_ids.__getitem__)
        values = {
            "workspace_id": self._workspace_id,
            "model": model,
            "dimensions": vectors.shape[1],
            "chunk_ids": [chunk_ids[n] for n in order],
            "vectors": [_written(vectors[n]) for n in order],
        }
        await self._session.execute(_UPSERT, values)

    async def find_present(self, model: str, chunk_ids: Collection[UUID]) -> set[UUID]:
        """Those of the chunks that have a vector of that model."""
        query = select(ChunkEmbedding.chunk_id).where(
            ChunkEmbedding.workspace_id == self._workspace_id,
            ChunkEmbedding.model == model,
            ChunkEmbedding.chunk_id.in_(chunk_ids),
        )
        return set(await self._session.scalars(query))

    async def nearest(self, scope: VectorScope, vector: npt.NDArray[np.float32], k: int) -> list[tuple[UUID, float]]:
        """(chunk, cosine similarity) of the `k` nearest, nearest first. In a transaction of its own settings."""
        where, values = self._prepare(scope, vector, k)
        by_index = await self._is_worth_the_index(where, values, vector.shape[-1], k)
        return await self._find(_BY_INDEX if by_index else _ONE_BY_ONE, where, values, vector.shape[-1])

    async def nearest_of_few(
        self, scope: VectorScope, vector: npt.NDArray[np.float32], k: int
    ) -> list[tuple[UUID, float]]:
        """The same by comparing all, for whoever knows that they are at most `COMPARED_ONE_BY_ONE`."""
        where, values = self._prepare(scope, vector, k)
        return await self._find(_ONE_BY_ONE, where, values, vector.shape[-1])

    def _prepare(self, scope: VectorScope, vector: npt.NDArray[np.float32], k: int) -> tuple[str, dict[str, object]]:
        """The condition, and the values of it and of the statement around it."""
        documents = _OF_DOCUMENTS if scope.document_ids else ""
        values: dict[str, object] = {
            "workspace_id": self._workspace_id,
            "base_ids": list(scope.base_ids),
            "model": scope.model,
            "vector": _written(vector.reshape(-1)),
            "k": k,
        }
        if scope.document_ids:
            values["document_ids"] = list(scope.document_ids)
        return _SCOPE.format(dimensions=vector.shape[-1], documents=documents), values

    async def _find(
        self, statement: str, where: str, values: dict[str, object], dimensions: int
    ) -> list[tuple[UUID, float]]:
        found = await self._session.execute(text(statement.format(scope=where, dimensions=dimensions)), values)
        return [(row.chunk_id, float(row.similarity)) for row in found]

    async def _is_worth_the_index(self, where: str, values: dict[str, object], dimensions: int, k: int) -> bool:
        """Whether so many are searched, and so many of those indexed, that the walk ends before its bound."""
        index = f"ix_chunk_embeddings_hnsw_{dimensions}"
        prepare = _PREPARE.format(scope=where, index=index, bound=COMPARED_ONE_BY_ONE + 1)
        settings = {"ef_search": str(min(1_000, max(EF_SEARCH, 2 * k))), "walked": str(WALKED_AT_MOST)}
        row = (await self._session.execute(text(prepare), {**values, **settings})).one()
        if dimensions not in INDEXED_DIMENSIONS or row.counted <= COMPARED_ONE_BY_ONE:
            return False
        return bool(k * (row.indexed or 0) < row.counted * WALKED_AT_MOST)

    async def delete_documents(self, document_ids: Collection[UUID]) -> None:
        await self._delete("document_id = ANY(:ids)", ids=list(document_ids))

    async def delete_chunks(self, chunk_ids: Collection[UUID]) -> None:
        await self._delete("chunk_id = ANY(:ids)", ids=list(chunk_ids))

    async def delete_model(self, base_id: UUID, model: str, most: int) -> int:
        """Delete up to `most` of the base's vectors of the model; how many."""
        condition = (
            "ctid = ANY(ARRAY(SELECT ctid FROM chunk_embeddings"
            " WHERE workspace_id = :workspace_id AND base_id = :base_id AND model = :model LIMIT :most))"
        )
        return await self._delete(condition, base_id=base_id, model=model, most=most)

    async def _delete(self, condition: str, **values: object) -> int:
        statement = f"DELETE FROM chunk_embeddings WHERE workspace_id = :workspace_id AND {condition} RETURNING 1"  # noqa: S608 - our own words
        return len((await self._session.execute(text(statement), {"workspace_id": self._workspace_id, **values})).all())


def _written(vector: npt.NDArray[np.float32]) -> str:
    """As pgvector reads it: which is JSON, to the three digits or so that a half keeps."""
    return orjson.dumps(vector.astype(np.float16), option=orjson.OPT_SERIALIZE_NUMPY).decode()
