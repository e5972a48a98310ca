"""A worker that is killed while it distils a discussion: another does it, and every fact is kept once."""

import json
from urllib.parse import quote

import pytest

from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio

FACTS = [
    {"fact": "The team spends 40% of its money on rent.", "importance": 6, "seqs": list(range(1, 20))},
    {"fact": "Ada likes green tea.", "importance": 3, "seqs": list(range(1, 20))},
]


@pytest.fixture
def assistant(make_model):
    return make_model(f"reply={quote(json.dumps({'facts': FACTS}))}&first_ms=1500")


@pytest.fixture
def place(fresh_database, make_arena, assistant):
    return make_arena(database={"database_url": fresh_database}, models={"assistant_model": assistant.name})


@pytest.fixture
def owner(person):
    return person


async def test_facts_are_kept_once_when_the_worker_is_killed_while_the_model_answers(
    place, client, make_agent, make_discussion, assistant, fresh_database, start_worker
):
    first = await start_worker(place.settings)
    agent = await make_agent(memory={"long_term": True})
    await make_discussion(agents=[agent])
    await eventually(lambda: len(assistant.requests) == 1, 20, "the question to the assistant")

    first.kill()
    assert rows(fresh_database, "SELECT count(*) FROM memories") == [(0,)]
    await start_worker(place.settings)

    await eventually(
        lambda: rows(fresh_database, "SELECT count(*) FROM procrastinate_jobs") == [(0,)], 30, "no job left"
    )
    kept = (await client.get(f"/api/v1/agents/{agent.id}/memories")).json()["items"]
    assert sorted(memory["content"] for memory in kept) == sorted(fact["fact"] for fact in FACTS)
    assert len(assistant.requests) == 2
