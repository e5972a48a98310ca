"""Qdrant as a vector store, by its local engine."""

from uuid import uuid4

import pytest
from qdrant_client import AsyncQdrantClient

from app.config import Settings, VectorSettings
from app.core.errors import StartupFailed
from app.engines.ports import free_port
from app.services.vector_store import VectorStoreAway
from app.services.vector_store_qdrant import QdrantStore
from app.services.vector_stores import make_qdrant

pytest.register_assert_rewrite("tests.contracts.vector_store")

from tests.contracts.vector_store import MODEL, Corpus, Subject, VectorStoreContract, directions  # noqa: E402

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect"),
]


def make(chunks, workspace_id=None, base_id=None):
    return Corpus(workspace_id or uuid4(), base_id or uuid4(), uuid4(), [uuid4() for _ in range(chunks)])


@pytest.fixture
async def subject():
    store = QdrantStore(AsyncQdrantClient(":memory:"))
    yield Subject(store, make)
    await store.close()


class TestContract(VectorStoreContract):
    """Every promise of the port."""


async def test_one_that_is_not_there_is_told_as_away():
    store = make_qdrant(VectorSettings(vector_store="qdrant", qdrant_url=f"http://127.0.0.1:{free_port()}"))
    corpus = make(1)

    with pytest.raises(VectorStoreAway):
        await store.search(corpus.whole, MODEL, directions(1), 10)
    with pytest.raises(VectorStoreAway):
        await store.upsert(corpus.workspace_id, MODEL, corpus.places, directions(1))
    await store.close()


def test_without_a_url_it_cannot_start():
    with pytest.raises(StartupFailed, match="ARENA_QDRANT_URL"):
        make_qdrant(VectorSettings(vector_store="qdrant"))


def test_its_key_is_not_shown():
    settings = Settings(data_dir="/nowhere", vectors=VectorSettings(qdrant_api_key="quite secret"))

    assert "quite secret" not in repr(settings)
