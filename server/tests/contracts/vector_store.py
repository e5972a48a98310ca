"""What every `VectorStore` promises. An implementation subclasses `VectorStoreContract` and provides `subject`.

`subject` is an async fixture that yields a `Subject`; chunks are those of a `Corpus`, which PostgreSQL knows of.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import numpy as np
import pytest

from app.services.embedding.base import Vectors
from app.services.vector_store import Place, VectorStore, Within

MODEL, OTHER_MODEL = "local/some", "openai/other"
DIMENSIONS = 256
NOT_INDEXED = 100


@dataclass(frozen=True)
class Corpus:
    """A document's chunks, in a base of a workspace."""

    workspace_id: UUID
    base_id: UUID
    document_id: UUID
    chunk_ids: Sequence[UUID]

    @property
    def places(self) -> list[Place]:
        return [Place(chunk_id, self.base_id, self.document_id) for chunk_id in self.chunk_ids]

    @property
    def whole(self) -> Within:
        return Within(self.workspace_id, [self.base_id])


@dataclass(frozen=True)
class Subject:
    """A store under test, and what makes chunks that it may hold vectors of."""

    store: VectorStore
    make: Callable[..., Corpus]
    """`make(chunks, workspace_id=None, base_id=None)`: a document of so many chunks, by default of a new workspace."""


def directions(count: int, dimensions: int = DIMENSIONS, seed: int = 1) -> Vectors:
    """Vectors of length 1 at random."""
    rows = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def nearest(corpus: Corpus, vectors: Vectors, asked: Vectors, k: int) -> list[UUID]:
    order = np.argsort(-(vectors @ asked[0]), kind="stable")[:k]
    return [corpus.chunk_ids[n] for n in order]


class VectorStoreContract:
    """Subclassed for each implementation."""

    @pytest.mark.parametrize("dimensions", [DIMENSIONS, NOT_INDEXED])
    async def test_the_nearest_come_first_with_their_cosine(self, subject, dimensions):
        corpus, vectors, asked = subject.make(50), directions(50, dimensions), directions(1, dimensions, seed=2)
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, vectors)

        hits = await subject.store.search(corpus.whole, MODEL, asked, 10)

        assert [hit.chunk_id for hit in hits] == nearest(corpus, vectors, asked, 10)
        assert [hit.similarity for hit in hits] == pytest.approx(sorted(vectors @ asked[0])[::-1][:10], abs=2e-3)

    async def test_no_more_than_there_are(self, subject):
        corpus = subject.make(3)
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(3))

        assert len(await subject.store.search(corpus.whole, MODEL, directions(1), 10)) == 3

    @pytest.mark.parametrize("at_most", [0, 30, 1_000_000])
    async def test_how_many_there_may_be_changes_nothing_of_what_is_found(self, subject, at_most):
        corpus, vectors, other = subject.make(30), directions(30), subject.make(30)
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, vectors)
        await subject.store.upsert(other.workspace_id, MODEL, other.places, vectors)

        hits = await subject.store.search(replace(corpus.whole, at_most=at_most), MODEL, vectors[:1], 5)

        assert [hit.chunk_id for hit in hits] == nearest(corpus, vectors, vectors[:1], 5)

    async def test_what_is_written_twice_is_there_once_and_as_it_was_last(self, subject):
        corpus, last = subject.make(5), directions(5, seed=3)
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(5))
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, last)
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, last)

        hits = await subject.store.search(corpus.whole, MODEL, last[2:3], 10)

        assert sorted(hit.chunk_id for hit in hits) == sorted(corpus.chunk_ids)
        assert hits[0].chunk_id == corpus.chunk_ids[2]
        assert hits[0].similarity == pytest.approx(1, abs=2e-3)

    async def test_two_who_write_the_same_at_once_leave_it_there_once(self, subject):
        corpus = subject.make(40)
        backwards = corpus.places[::-1], directions(40)[::-1]

        await asyncio.gather(
            subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(40)),
            subject.store.upsert(corpus.workspace_id, MODEL, *backwards),
        )

        hits = await subject.store.search(corpus.whole, MODEL, directions(1), 100)
        assert sorted(hit.chunk_id for hit in hits) == sorted(corpus.chunk_ids)

    async def test_models_are_apart_though_of_one_length(self, subject):
        corpus = subject.make(4)
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(4))
        await subject.store.upsert(corpus.workspace_id, OTHER_MODEL, corpus.places[:1], directions(1))

        assert len(await subject.store.search(corpus.whole, OTHER_MODEL, directions(1), 10)) == 1
        assert await subject.store.search(corpus.whole, "openai/none", directions(1), 10) == []

    async def test_models_of_other_lengths_are_beside_each_other(self, subject):
        corpus = subject.make(4)
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(4))
        await subject.store.upsert(corpus.workspace_id, OTHER_MODEL, corpus.places, directions(4, 64))

        assert len(await subject.store.search(corpus.whole, MODEL, directions(1), 10)) == 4
        assert len(await subject.store.search(corpus.whole, OTHER_MODEL, directions(1, 64), 10)) == 4

    async def test_only_the_bases_and_documents_asked_for(self, subject):
        one = subject.make(3)
        same_base = subject.make(3, workspace_id=one.workspace_id, base_id=one.base_id)
        other_base = subject.make(3, workspace_id=one.workspace_id)
        for corpus in (one, same_base, other_base):
            await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(3))

        async def found(base_ids: list[UUID], document_ids: Sequence[UUID] = ()) -> set[UUID]:
            within = Within(one.workspace_id, base_ids, document_ids)
            return {hit.chunk_id for hit in await subject.store.search(within, MODEL, directions(1), 100)}

        assert await found([one.base_id]) == {*one.chunk_ids, *same_base.chunk_ids}
        assert await found([one.base_id], [one.document_id]) == {*one.chunk_ids}
        assert await found([one.base_id], [one.document_id, other_base.document_id]) == {*one.chunk_ids}
        both = await found([one.base_id, other_base.base_id])
        assert both == {*one.chunk_ids, *same_base.chunk_ids, *other_base.chunk_ids}
        assert await found([uuid4()]) == set()

    async def test_nothing_of_another_workspace_whatever_is_asked(self, subject):
        mine, other = subject.make(3), subject.make(3)
        for corpus in (mine, other):
            await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(3))

        within = Within(mine.workspace_id, [mine.base_id, other.base_id], [mine.document_id, other.document_id])
        hits = await subject.store.search(within, MODEL, directions(1), 100)

        assert {hit.chunk_id for hit in hits} == {*mine.chunk_ids}

    async def test_nothing_of_another_workspace_is_deleted(self, subject):
        mine, other = subject.make(3), subject.make(3)
        await subject.store.upsert(other.workspace_id, MODEL, other.places, directions(3))

        await subject.store.delete_documents(mine.workspace_id, [other.document_id])
        await subject.store.delete_chunks(mine.workspace_id, other.chunk_ids)
        await subject.store.delete_model(mine.workspace_id, other.base_id, MODEL)

        assert len(await subject.store.search(other.whole, MODEL, directions(1), 10)) == 3

    async def test_deleted_documents_and_chunks_are_gone_for_every_model(self, subject):
        one = subject.make(4)
        two = subject.make(4, workspace_id=one.workspace_id, base_id=one.base_id)
        for corpus in (one, two):
            await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(4))
            await subject.store.upsert(corpus.workspace_id, OTHER_MODEL, corpus.places, directions(4, 64))

        await subject.store.delete_documents(one.workspace_id, [one.document_id])
        await subject.store.delete_chunks(one.workspace_id, two.chunk_ids[:2])

        for model, dimensions in ((MODEL, DIMENSIONS), (OTHER_MODEL, 64)):
            hits = await subject.store.search(one.whole, model, directions(1, dimensions), 10)
            assert {hit.chunk_id for hit in hits} == {*two.chunk_ids[2:]}

    async def test_what_is_missing_is_told_for_each_model_and_workspace(self, subject):
        corpus = subject.make(4)
        vectors = directions(2)
        await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places[:2], vectors)

        missing = await subject.store.find_missing(corpus.workspace_id, MODEL, corpus.chunk_ids)
        of_other_model = await subject.store.find_missing(corpus.workspace_id, OTHER_MODEL, corpus.chunk_ids)
        of_stranger = await subject.store.find_missing(uuid4(), MODEL, corpus.chunk_ids)

        assert missing == set(corpus.chunk_ids[2:])
        assert of_other_model == of_stranger == set(corpus.chunk_ids)
        assert await subject.store.find_missing(corpus.workspace_id, MODEL, []) == set()

    async def test_a_model_is_deleted_from_one_base_only(self, subject):
        one = subject.make(2)
        two = subject.make(2, workspace_id=one.workspace_id)
        for corpus in (one, two):
            await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(2))
            await subject.store.upsert(corpus.workspace_id, OTHER_MODEL, corpus.places, directions(2))

        await subject.store.delete_model(one.workspace_id, one.base_id, MODEL)

        assert await subject.store.search(one.whole, MODEL, directions(1), 10) == []
        assert len(await subject.store.search(one.whole, OTHER_MODEL, directions(1), 10)) == 2
        assert len(await subject.store.search(two.whole, MODEL, directions(1), 10)) == 2

    async def test_nothing_to_write_or_delete_is_nothing_done(self, subject):
        corpus = subject.make(1)

        await subject.store.upsert(corpus.workspace_id, MODEL, [], directions(0))
        await subject.store.delete_documents(corpus.workspace_id, [])
        await subject.store.delete_chunks(corpus.workspace_id, [])

        assert await subject.store.search(corpus.whole, MODEL, directions(1), 10) == []
