"""Documents while something is away that they need: they wait for it, and are given up only where nothing moves."""

from dataclasses import dataclass
from uuid import UUID

import numpy as np
import pytest

from app.services.knowledge.ingestion import MOST_ATTEMPTS, MOST_BEGUN, Ingestion
from app.services.providers.base import ModelUnavailable
from app.services.vector_store import VectorStoreAway
from app.services.vector_store_postgresql import PgVectorStore
from tests.fixtures.databases import rows

pytestmark = pytest.mark.anyio

TEXT = "\n\n".join(f"# Part {n}\n\n" + f"What was said of the rent in part {n} is long. " * 40 for n in range(4))


class Flaky:
    """An embedding model that answers so many times, and then not."""

    answers = 1000

    async def embed(self, texts):
        if texts:
            self.answers -= 1
        if self.answers < 0:
            raise ModelUnavailable("it is away")
        return np.ones((len(texts), 64), np.float32) / 8


@dataclass
class Only:
    """A catalog of one model, whatever its name."""

    embedder: object

    async def get(self, workspace_id, name):
        return self


class AwayStore(PgVectorStore):
    is_away = False

    async def upsert(self, *given):
        if self.is_away:
            raise VectorStoreAway("it does not answer")
        await super().upsert(*given)


@pytest.fixture
async def owner(make_user, workerless):
    return await make_user(at=workerless)


@pytest.fixture
def embedder(monkeypatch):
    monkeypatch.setattr("app.services.knowledge.embedding.CHUNKS_AT_ONCE", 1)
    return Flaky()


@pytest.fixture
def store(fresh_uow):
    return AwayStore(fresh_uow)


@pytest.fixture
async def ingest(fresh_uow, workerless, owner, make_document, embedder, store):
    document = await make_document("Rent", TEXT, wait=False)
    ingestion = Ingestion(fresh_uow, None, None, None, Only(embedder), store, workerless.settings)

    async def ingest(attempt=1):
        await ingestion.ingest(UUID(owner.workspace_id), UUID(document.id), attempt)

    return ingest


async def test_a_vector_store_that_is_away_for_long_costs_no_document(ingest, store, fresh_database):
    store.is_away = True
    for _ in range(MOST_BEGUN + 2):
        with pytest.raises(VectorStoreAway):
            await ingest()
    store.is_away = False

    await ingest()

    assert rows(fresh_database, "SELECT status, error_code FROM documents") == [("ready", None)]


async def test_attempts_are_counted_from_the_last_progress(ingest, embedder, fresh_database):
    embedder.answers = 1
    await ingest(MOST_ATTEMPTS)
    rows(fresh_database, "UPDATE documents SET begun = %s", MOST_BEGUN - 1)
    embedder.answers = 1
    await ingest(MOST_ATTEMPTS)
    assert rows(fresh_database, "SELECT status FROM documents") == [("processing",)]
    last = "SELECT (args ->> 'attempt')::int FROM procrastinate_jobs ORDER BY id DESC LIMIT 1"
    assert rows(fresh_database, last) == [(2,)]

    embedder.answers = 0
    await ingest(MOST_ATTEMPTS)

    assert rows(fresh_database, "SELECT status, error_code FROM documents") == [("failed", ModelUnavailable.code)]
