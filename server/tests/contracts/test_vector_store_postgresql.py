"""PostgreSQL as a vector store."""

import pytest

from app.services.vector_store_postgresql import PgVectorStore

pytest.register_assert_rewrite("tests.contracts.vector_store")

from tests.contracts.vector_store import (  # noqa: E402 - after the assert rewriting
    DIMENSIONS,
    MODEL,
    Corpus,
    Subject,
    VectorStoreContract,
    directions,
    nearest,
)
from tests.factories.corpora import write_chunks  # noqa: E402

pytestmark = pytest.mark.anyio


@pytest.fixture
def subject(uow, shared_database):
    def make(chunks, **place):
        written = write_chunks(shared_database, [f"Chunk {n}" for n in range(chunks)], **place)
        return Corpus(written.workspace_id, written.base_id, written.document_id, written.chunk_ids)

    return Subject(PgVectorStore(uow), make)


class TestContract(VectorStoreContract):
    """Every promise of the port."""


async def test_the_vector_of_a_chunk_that_is_gone_is_not_written(subject, sql):
    corpus = subject.make(3)
    sql("DELETE FROM chunks WHERE id = %s", corpus.chunk_ids[0])

    await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(3))

    hits = await subject.store.search(corpus.whole, MODEL, directions(1), 10)
    assert {hit.chunk_id for hit in hits} == {*corpus.chunk_ids[1:]}


@pytest.fixture
def through_the_index(monkeypatch):
    monkeypatch.setattr("app.repositories.vectors.COMPARED_ONE_BY_ONE", 0)


async def test_the_index_finds_nearly_all_that_comparing_one_by_one_does(subject, through_the_index):
    corpus, vectors, asked = subject.make(600), directions(600), directions(20, seed=2)
    other = subject.make(600)
    await subject.store.upsert(corpus.workspace_id, MODEL, corpus.places, vectors)
    await subject.store.upsert(other.workspace_id, MODEL, other.places, directions(600, seed=4))

    found = 0
    for one in asked:
        hits = await subject.store.search(corpus.whole, MODEL, one[None], 10)
        found += len({hit.chunk_id for hit in hits} & {*nearest(corpus, vectors, one[None], 10)})

    assert found >= 0.95 * 10 * len(asked)
    assert directions(1).shape[1] == DIMENSIONS
