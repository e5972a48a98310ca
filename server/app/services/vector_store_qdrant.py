"""Vectors in Qdrant: a collection for each length, whose points tell where their chunks belong.

What is deleted in PostgreSQL without this store being told stays here until somebody deletes its document, its base's
model or its workspace; it is never shown, since hits are looked up in PostgreSQL.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid5

from qdrant_client import AsyncQdrantClient
from qdrant_client.http.exceptions import ApiException
from qdrant_client.models import (
    Datatype,
    Distance,
    FieldCondition,
    Filter,
    FilterSelector,
    HnswConfigDiff,
    KeywordIndexParams,
    MatchAny,
    MatchValue,
    PointStruct,
    VectorParams,
)

from app.services.embedding.base import Vectors
from app.services.vector_store import Hit, Place, VectorStoreAway, Within

PREFIX = "arena_"
WRITTEN_AT_ONCE = 500
_TENANT = KeywordIndexParams(type="keyword", is_tenant=True)
_FIELDS: Mapping[str, Any] = {
    "workspace_id": _TENANT,
    "base_id": "keyword",
    "document_id": "keyword",
    "chunk_id": "keyword",
    "model": "keyword",
}


@contextmanager
def _telling_outages() -> Iterator[None]:
    try:
        yield
    except (ApiException, OSError) as error:
        raise VectorStoreAway("Qdrant does not answer as it should; try again shortly") from error


class QdrantStore:
    """Passes `tests/contracts/vector_store.py`. Raises `VectorStoreAway`."""

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client
        self._there: set[str] = set()
        self._making = asyncio.Lock()

    async def upsert(self, workspace_id: UUID, model: str, places: Sequence[Place], vectors: Vectors) -> None:
        with _telling_outages():
            for start in range(0, len(places), WRITTEN_AT_ONCE):
                collection = await self._made(vectors.shape[1])
                rows = zip(places[start : start + WRITTEN_AT_ONCE], vectors[start:], strict=False)
                points = [_point(workspace_id, model, place, row.tolist()) for place, row in rows]
                await self._client.upsert(collection, points, wait=True)

    async def _made(self, dimensions: int) -> str:
        """The collection of that length, made unless it is there."""
        name = f"{PREFIX}{dimensions}"
        async with self._making:
            if name not in self._there and not await self._client.collection_exists(name):
                await self._make(name, dimensions)
            self._there.add(name)
        return name

    async def _make(self, name: str, dimensions: int) -> None:
        try:
            await self._client.create_collection(
                name,
                vectors_config=VectorParams(size=dimensions, distance=Distance.COSINE, datatype=Datatype.FLOAT16),
                # Searches keep to one workspace: only within each are points linked to their neighbours.
                hnsw_config=HnswConfigDiff(payload_m=16, m=0),
            )
        except ApiException:
            if not await self._client.collection_exists(name):  # else another process made it just now
                raise
        for field, schema in _FIELDS.items():
            await self._client.create_payload_index(name, field, schema, wait=True)

    async def find_missing(self, workspace_id: UUID, model: str, chunk_ids: Collection[UUID]) -> set[UUID]:
        missing = set(chunk_ids)
        with _telling_outages():
            for collection in (await self._client.get_collections()).collections:
                if missing and collection.name.startswith(PREFIX):
                    points = [_point_id(chunk_id, model) for chunk_id in missing]
                    found = await self._client.retrieve(collection.name, points, with_payload=True)
                    payloads = [point.payload or {} for point in found]
                    ours = [one for one in payloads if one["workspace_id"] == str(workspace_id)]
                    missing -= {UUID(one["chunk_id"]) for one in ours}
        return missing

    async def search(self, within: Within, model: str, vector: Vectors, k: int) -> list[Hit]:
        name = f"{PREFIX}{vector.shape[-1]}"
        with _telling_outages():
            if name not in self._there and not await self._client.collection_exists(name):
                return []
            self._there.add(name)
            found = await self._client.query_points(
                name,
                query=vector.reshape(-1).tolist(),
                query_filter=_scope(
                    within.workspace_id, model=[model], base_id=within.base_ids, document_id=within.document_ids
                ),
                limit=k,
                with_payload=["chunk_id"],
            )
        return [Hit(UUID((point.payload or {})["chunk_id"]), point.score) for point in found.points]

    async def delete_documents(self, workspace_id: UUID, document_ids: Collection[UUID]) -> None:
        if document_ids:
            await self._delete(_scope(workspace_id, document_id=document_ids))

    async def delete_chunks(self, workspace_id: UUID, chunk_ids: Collection[UUID]) -> None:
        if chunk_ids:
            await self._delete(_scope(workspace_id, chunk_id=chunk_ids))

    async def delete_model(self, workspace_id: UUID, base_id: UUID, model: str) -> None:
        await self._delete(_scope(workspace_id, base_id=[base_id], model=[model]))

    async def _delete(self, condition: Filter) -> None:
        with _telling_outages():
            for collection in (await self._client.get_collections()).collections:
                if collection.name.startswith(PREFIX):
                    await self._client.delete(collection.name, FilterSelector(filter=condition), wait=True)

    async def close(self) -> None:
        await self._client.close()


def _point(workspace_id: UUID, model: str, place: Place, row: list[float]) -> PointStruct:
    """A chunk is a point for each model."""
    payload = {
        "workspace_id": str(workspace_id),
        "base_id": str(place.base_id),
        "document_id": str(place.document_id),
        "chunk_id": str(place.chunk_id),
        "model": model,
    }
    return PointStruct(id=_point_id(place.chunk_id, model), vector=row, payload=payload)


def _scope(workspace_id: UUID, **among: Collection[UUID | str]) -> Filter:
    """Of the workspace, and with one of the values in each field for which there are any."""
    conditions = [FieldCondition(key="workspace_id", match=MatchValue(value=str(workspace_id)))]
    conditions += [
        FieldCondition(key=field, match=MatchAny(any=[*map(str, values)])) for field, values in among.items() if values
    ]
    return Filter(must=conditions)


def _point_id(chunk_id: UUID, model: str) -> str:
    return str(uuid5(chunk_id, model))
