"""A worker that is killed while it takes a document in: the next goes on, and nothing is twice or missing.

Each step is held by a lock on the table that it writes, so that the worker dies in the midst of it.
"""

import psycopg
import pytest

from app.services.knowledge.chunking import cut
from app.services.knowledge.parsing.parser import read_text
from tests.factories.knowledge import taken_in
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio

TEXT = "\n\n".join(
    f"# Part {number}\n\nOf the {number} things that were said in the meeting, this is number {number}. "
    + " ".join(f"word{number}x{n}" for n in range(60))
    for number in range(1200)
)
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"


@pytest.fixture
async def person(make_user, place):
    return await make_user(at=place)


@pytest.fixture
async def base(make_base, person):
    return await make_base(by=person)


@pytest.fixture
def add(person, base):
    async def send() -> str:
        address = f"/api/v1/knowledge/bases/{base.id}/documents"
        response = await person.http.post(address, files={"file": ("meeting.md", TEXT.encode())})
        assert response.status_code == 202, response.text
        return response.json()["id"]

    return send


def check_it_is_whole(database: str, document: dict) -> None:
    pieces = cut(read_text(TEXT, markdown=True, most_characters=10**7))
    assert (document["status"], document["progress"], document["chunk_count"]) == ("ready", 1.0, len(pieces))
    chunks = rows(database, "SELECT ordinal, text, span_start FROM chunks WHERE document_id = %s", document["id"])
    assert sorted(chunks) == [(n, piece.text, piece.span[0]) for n, piece in enumerate(pieces)]
    embedded = "SELECT count(*), count(DISTINCT chunk_id) FROM chunk_embeddings WHERE document_id = %s"
    assert rows(database, embedded, document["id"]) == [(len(pieces), len(pieces))]


@pytest.mark.parametrize(
    ("table", "mode", "held"),
    [
        ("original_parts", "ACCESS EXCLUSIVE", "%FROM original_parts%"),
        ("chunks", "SHARE", "%INSERT INTO chunks%"),
        ("chunk_embeddings", "SHARE", "%INSERT INTO chunk_embeddings%"),
    ],
)
async def test_a_worker_killed_in_the_midst_of_a_step_leaves_it_to_the_next(
    place, person, add, start_worker, fresh_database, table, mode, held
):
    document_id = await add()
    with psycopg.connect(fresh_database) as lock:
        lock.execute(f"LOCK TABLE {table} IN {mode} MODE")
        worker = await start_worker(place.settings)
        await eventually(lambda: rows(fresh_database, WAITS, held)[0][0] > 0, 20, f"the step that writes {table}")
        worker.kill()

    await start_worker(place.settings)

    check_it_is_whole(fresh_database, await taken_in(person.http, document_id, 40))


async def test_workers_killed_again_and_again_while_they_embed_bring_it_to_its_end(
    place, person, add, start_worker, fresh_database
):
    document_id = await add()
    embedded = "SELECT count(*) FROM chunk_embeddings WHERE document_id = %s"
    seen = 0
    for _ in range(2):
        worker = await start_worker(place.settings)
        await eventually(
            lambda before=seen: rows(fresh_database, embedded, document_id)[0][0] > before, 40, "some vectors"
        )
        worker.kill()
        seen = rows(fresh_database, embedded, document_id)[0][0]

    await start_worker(place.settings)

    check_it_is_whole(fresh_database, await taken_in(person.http, document_id, 40))


async def test_a_document_that_is_deleted_while_it_is_taken_in_ends_the_work_quietly(
    place, person, add, start_worker, fresh_database
):
    document_id = await add()
    with psycopg.connect(fresh_database) as lock:
        lock.execute("LOCK TABLE chunk_embeddings IN SHARE MODE")
        worker = await start_worker(place.settings)
        waits = "%INSERT INTO chunk_embeddings%"
        await eventually(lambda: rows(fresh_database, WAITS, waits)[0][0] > 0, 20, "the first vectors")
        lock.rollback()
        assert (await person.http.delete(f"/api/v1/knowledge/documents/{document_id}")).status_code == 204

    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
    await eventually(lambda: rows(fresh_database, jobs) == [(0,)], 20, "an empty queue")
    for table in ("chunks", "chunk_embeddings", "original_parts", "loose_originals"):
        assert rows(fresh_database, f"SELECT count(*) FROM {table}") == [(0,)], table
    assert [line for line in worker.lines() if line["level"] == "error"] == []


async def test_a_document_without_a_job_is_found_and_taken_in(place, person, add, start_worker, fresh_database):
    """As those of a release before: unfinished, and nobody works on them."""
    document_id = await add()
    rows(fresh_database, "DELETE FROM procrastinate_jobs")
    rows(fresh_database, "UPDATE documents SET updated_at = now() - interval '1 hour'")

    worker = await start_worker(place.settings)

    check_it_is_whole(fresh_database, await taken_in(person.http, document_id, 40))
    assert [line["documents"] for line in worker.said("documents_adopted")] == [1]
