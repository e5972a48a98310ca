"""Two jobs that take one document in at once: what the older one does is nothing for the newer content."""

import asyncio
import threading
from datetime import timedelta
from uuid import UUID

import pytest

from app.config import DatabaseSettings, ModelSettings
from app.core.database import make_engine
from app.core.queue import make_queue
from app.repositories.jobs import KNOWLEDGE_QUEUE
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.knowledge import ingestion as taking_in
from app.services.knowledge.documents import INGEST_TASK, ingestion_lock
from app.services.knowledge.ingestion import Ingestion
from app.services.unit_of_work import UnitOfWorkFactory
from app.services.vector_store_postgresql import PgVectorStore
from tests.fixtures.databases import rows

pytestmark = pytest.mark.anyio

MODEL = "local/wordllama-256"


@pytest.fixture
async def owner(make_user, workerless):
    return await make_user(at=workerless)


@pytest.fixture
async def fresh_uow(fresh_database):
    settings = DatabaseSettings(database_url=fresh_database, database_pool_size=5)
    engine = make_engine(settings, "test")
    queue = make_queue(settings, "test")
    async with queue.open_async():
        yield UnitOfWorkFactory(engine, queue, lambda *_: None, timedelta(days=1))
    await engine.dispose()


@pytest.fixture
async def ingestion(fresh_uow, workerless):
    class NoCatalog:
        """Chunks are embedded by the local model, for which no workspace's providers are asked."""

    embeddings = EmbeddingCatalog(ModelSettings(), NoCatalog())
    yield Ingestion(fresh_uow, None, None, None, embeddings, PgVectorStore(fresh_uow), workerless.settings)
    await embeddings.close()


@pytest.fixture
def held(monkeypatch):
    """The first cutting is held until it is let go."""
    begun, may_go = threading.Event(), threading.Event()
    cut, calls = taking_in.cut, iter(range(100))

    def slow(parsed):
        if next(calls) == 0:
            begun.set()
            may_go.wait(20)
        return cut(parsed)

    monkeypatch.setattr(taking_in, "cut", slow)
    yield begun, may_go
    may_go.set()


async def test_an_older_job_takes_no_vectors_of_the_newer_content(
    owner, make_document, ingestion, held, fresh_database
):
    begun, may_go = held
    document = await make_document("Costs", "The rent is high.", wait=False)
    ids = UUID(owner.workspace_id), UUID(document.id)
    older = asyncio.create_task(ingestion.ingest(*ids, 1))
    await asyncio.to_thread(begun.wait, 10)
    body = {"title": "Costs", "text": "The coffee is cold."}
    (await owner.http.put(f"/api/v1/knowledge/documents/{document.id}", json=body)).raise_for_status()

    await ingestion.ingest(*ids, 1)
    may_go.set()
    await older

    whole = "SELECT d.status, c.text, e.model FROM documents d JOIN chunks c ON c.document_id = d.id"
    whole += " LEFT JOIN chunk_embeddings e ON e.chunk_id = c.id"
    assert rows(fresh_database, whole) == [("ready", "The coffee is cold.", MODEL)]


async def test_the_jobs_of_one_document_wait_for_each_other_and_none_for_what_was_put_off(
    owner, make_document, fresh_uow, fresh_database
):
    document = await make_document("Costs", "The rent is high.", wait=False)
    fetch = "SELECT id FROM procrastinate_fetch_job_v2(ARRAY['knowledge'], %s)"
    [(dead,)] = rows(
        fresh_database,
        "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 minute') RETURNING id",
    )
    [(first,)] = rows(fresh_database, fetch, dead)
    body = {"title": "Costs", "text": "The coffee is cold."}
    (await owner.http.put(f"/api/v1/knowledge/documents/{document.id}", json=body)).raise_for_status()

    assert rows(fresh_database, fetch, dead) == [(None,)]
    async with fresh_uow() as work:
        assert await work.jobs.put_back(3) == 1
    assert rows(fresh_database, fetch, dead) == [(first,)]

    rows(fresh_database, "DELETE FROM procrastinate_jobs")
    async with fresh_uow() as work:
        later = work.now() + timedelta(hours=1)
        await work.jobs.defer(INGEST_TASK, KNOWLEDGE_QUEUE, at=later, lock=ingestion_lock(document.id), attempt=6)
    body = {"title": "Costs", "text": "The boiler is old."}
    (await owner.http.put(f"/api/v1/knowledge/documents/{document.id}", json=body)).raise_for_status()

    waiting = "SELECT args ->> 'attempt' FROM procrastinate_jobs WHERE queue_name = 'knowledge'"
    assert rows(fresh_database, waiting) == [(None,)]
    assert rows(fresh_database, fetch, dead) != [(None,)]
