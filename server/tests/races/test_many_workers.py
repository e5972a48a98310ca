"""Eight worker processes on two hundred discussions: at no moment do two of them speak in one."""

import asyncio
from collections import Counter

import aiohttp
import pytest

from bench.record import read_record
from bench.verdict import Verdict, judge
from bench.witness import Witness
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio

WORKERS = 8
DISCUSSIONS = 200
WATCHED = 40  # a viewer of each would measure the viewers
TURNS = 3
BOUND_SECONDS = 90
WORKER_SETTINGS = {"ARENA_WORKER_CONCURRENCY": "40", "ARENA_DATABASE_POOL_SIZE": "4"}
# Every job once more, as if somebody had queued it twice: so that workers do meet.
TWINS = (
    "INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, attempts, status)"
    " SELECT queue_name, task_name, priority, lock, queueing_lock, args, attempts, 'doing' FROM procrastinate_jobs"
)
ENDED = "SELECT count(*) FROM discussions WHERE status = 'ended'"


@pytest.fixture
def place(fresh_database, make_arena):
    """Without a worker at first."""
    return make_arena(database={"database_url": fresh_database})


async def test_eight_workers_on_two_hundred_discussions_never_speak_at_once_and_take_every_turn_once(
    place, owner, make_agent, make_discussion, fresh_database, start_worker
):
    """All is queued before the workers come, each discussion twice, and all of them fall upon it at once."""
    agents = [await make_agent(name, by=owner, model="openai/fake?tokens=3") for name in ("One", "Two")]
    made = [await make_discussion(by=owner, agents=agents, limits={"max_turns": TURNS}) for _ in range(DISCUSSIONS)]
    rows(fresh_database, TWINS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False) as http:
        witnesses = {one.id: Witness(http, place.url, owner.access_token, one.id) for one in made[:WATCHED]}
        watching = [asyncio.create_task(witness.follow()) for witness in witnesses.values()]
        workers = [await start_worker(place.settings, wait=False, **WORKER_SETTINGS) for _ in range(WORKERS)]
        await eventually(lambda: rows(fresh_database, ENDED) == [(DISCUSSIONS,)], BOUND_SECONDS, "the end of all")
        await asyncio.wait_for(asyncio.gather(*watching), 10)

    total = Verdict()
    for one in made:
        record = read_record(fresh_database, one.id)
        told = witnesses[one.id].events if one.id in witnesses else None
        total.include(judge(record, told, turns=TURNS), one.id)
    assert total.is_clean, f"{total.counts}\n{total}"
    spoke = Counter(worker.pid for worker in workers for _ in worker.said("turn_completed"))
    assert sum(spoke.values()) == DISCUSSIONS * TURNS
    assert len(spoke) > 1, "one worker did it all: nobody met"
