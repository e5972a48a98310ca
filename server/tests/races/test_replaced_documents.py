"""Two jobs that take one document in at once: what the older one does is nothing for the newer content."""

import asyncio
import threading
from datetime import timedelta
from uuid import UUID

import pytest

from app.config import ModelSettings
from app.repositories.jobs import KNOWLEDGE_QUEUE
from app.repositories.knowledge import KnowledgeRepository
from app.services.embedding.catalog import EmbeddingCatalog
from app.services.knowledge import ingestion as taking_in
from app.services.knowledge.documents import INGEST_TASK, ingestion_lock
from app.services.knowledge.embedding import ChunkEmbedding
from app.services.knowledge.ingestion import Ingestion
from app.services.vector_store_postgresql import PgVectorStore
from tests.fixtures.databases import rows

pytestmark = pytest.mark.anyio

MODEL = "local/wordllama-256"


@pytest.fixture
async def owner(make_user, workerless):
    return await make_user(at=workerless)


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


async def test_vectors_written_after_their_document_was_deleted_are_forgotten_too(
    owner, make_document, ingestion, monkeypatch, fresh_uow, fresh_database
):
    """A store outside of the database has them for as long as nobody says so."""
    document = await make_document("Costs", "The rent is high.", wait=False)
    embed, chunks = ChunkEmbedding.embed, []

    async def late(self, workspace_id, base_id, model, those, new):
        async for done in embed(self, workspace_id, base_id, model, those, new):
            yield done
        chunks.extend(str(chunk_id) for chunk_id, _document_id in those)
        (await owner.http.delete(f"/api/v1/knowledge/documents/{document.id}")).raise_for_status()

    monkeypatch.setattr(ChunkEmbedding, "embed", late)

    await ingestion.ingest(UUID(owner.workspace_id), UUID(document.id), 1)

    waiting = "SELECT args ->> 'chunk_ids' FROM procrastinate_jobs WHERE task_name = 'forget_chunks'"
    assert len(chunks) == 1
    assert rows(fresh_database, waiting) == [(chunks[0],)]


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
        await work.jobs.defer_alone(INGEST_TASK, KNOWLEDGE_QUEUE, ingestion_lock(document.id), at=later, attempt=6)
    body = {"title": "Costs", "text": "The boiler is old."}
    (await owner.http.put(f"/api/v1/knowledge/documents/{document.id}", json=body)).raise_for_status()

    waiting = "SELECT args ->> 'attempt' FROM procrastinate_jobs WHERE queue_name = 'knowledge'"
    assert rows(fresh_database, waiting) == [(None,)]
    assert rows(fresh_database, fetch, dead) != [(None,)]


async def test_what_goes_while_the_same_is_added_is_added_anew(owner, make_base, monkeypatch, fresh_database):
    base = await make_base()
    add, refusals = KnowledgeRepository.add_document, iter([False, False])

    async def add_or_lose(self, document):
        """The first times another has the content, which is gone when it is looked for."""
        return next(refusals, True) and await add(self, document)

    monkeypatch.setattr(KnowledgeRepository, "add_document", add_or_lose)
    body = {"title": "Costs", "text": "The rent is high."}

    added = await owner.http.post(f"/api/v1/knowledge/bases/{base.id}/documents", json=body)

    assert added.status_code == 202
    assert rows(fresh_database, "SELECT id::text FROM documents") == [(added.json()["id"],)]


async def test_vectors_of_a_model_that_the_base_came_back_to_are_not_removed(
    owner, make_document, ingestion, fresh_uow, fresh_database
):
    """Whoever removes them looked at the base's models before."""
    document = await make_document("Costs", "The rent is high.", wait=False)
    await ingestion.ingest(UUID(owner.workspace_id), UUID(document.id), 1)

    await PgVectorStore(fresh_uow).delete_model(UUID(owner.workspace_id), UUID(document.base_id), MODEL)

    assert rows(fresh_database, "SELECT model FROM chunk_embeddings") == [(MODEL,)]


async def test_pages_of_a_file_are_not_said_of_the_text_in_its_place(owner, make_document, fresh_database):
    document = await make_document("Costs", "The rent is high.", wait=False)
    rows(fresh_database, "UPDATE documents SET page_starts = '{0,8}'")
    address = f"/api/v1/knowledge/documents/{document.id}"

    (await owner.http.put(address, json={"title": "Costs", "text": "The coffee is cold."})).raise_for_status()

    assert (await owner.http.get(address)).json()["page_starts"] is None
