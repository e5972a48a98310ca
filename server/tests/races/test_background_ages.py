"""Interactive discussions go first, and keep no background one waiting for ever."""

import pytest

from app.repositories.jobs import PRIORITIES
from tests.fixtures.arena import working
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.reads import read

pytestmark = pytest.mark.anyio

ENDLESS = {"max_turns": 5000}


@pytest.fixture
async def owner(make_user, workerless):
    return await make_user(at=workerless)


@pytest.fixture
def narrow(workerless, make_settings_like):
    """The settings of a worker with one slot, which drivers give back after every other turn."""

    def narrow(ageing_seconds):
        worker = {
            "worker_concurrency": 1,
            "worker_slice_seconds": 0.1,
            "worker_ageing_seconds": ageing_seconds,
            "worker_drain_seconds": 1,
        }
        changed = make_settings_like(worker=worker)
        return changed.model_copy(update={"database": workerless.settings.database})

    return narrow


async def _turns(client, discussion):
    return (await read(client, discussion))["turn"]


async def test_a_background_discussion_runs_while_interactive_ones_keep_every_slot_busy(
    client, keep, narrow, make_agent, make_discussion
):
    agent = await make_agent(model="openai/fake?tokens=4&delay_ms=20")
    busy = [await make_discussion(agents=[agent], limits=ENDLESS) for _ in range(3)]
    background = await make_discussion(agents=[agent], limits=ENDLESS, priority="background")

    keep(working(narrow(1)))

    async def has_spoken():
        return await _turns(client, background) >= 1

    async def have_all_spoken():
        return all([await _turns(client, one) for one in busy])

    await eventually(has_spoken, 20, "a turn in the background")
    await eventually(have_all_spoken, 20, "turns of everybody else")
    for one in (*busy, background):
        await client.post(f"/api/v1/discussions/{one.id}/stop")


async def test_without_ageing_it_would_wait(client, keep, narrow, make_agent, make_discussion):
    agent = await make_agent(model="openai/fake?tokens=4&delay_ms=20")
    busy = [await make_discussion(agents=[agent], limits=ENDLESS) for _ in range(3)]
    background = await make_discussion(agents=[agent], limits=ENDLESS, priority="background")

    keep(working(narrow(600)))

    async def all_have_spoken_much():
        return min([await _turns(client, one) for one in busy]) >= 6

    await eventually(all_have_spoken_much, 20, "turns of everybody else")
    assert await _turns(client, background) == 0
    for one in (*busy, background):
        await client.post(f"/api/v1/discussions/{one.id}/stop")


async def test_only_a_few_are_let_up_at_once_oldest_first(
    workerless, fresh_database, make_discussion, app, portal, worker_uow
):
    made = [await make_discussion(priority="background") for _ in range(5)]
    rows(fresh_database, "UPDATE procrastinate_events SET at = now() - interval '1 minute'")

    async def age():
        async with worker_uow() as work:
            return await work.jobs.age(30, 2)

    assert portal.call(age) == 2
    risen = rows(
        fresh_database,
        "SELECT args ->> 'discussion_id' FROM procrastinate_jobs WHERE priority = %s ORDER BY id",
        PRIORITIES["interactive"],
    )
    assert risen == [(one.id,) for one in made[:2]]


@pytest.fixture
def worker_uow(workerless):
    return workerless.app.state.services.auth._uow
