"""A list that was kept is never older than what was acknowledged before it was asked for."""

import asyncio

import pytest

from app.core.metrics import CACHE_REQUESTS
from tests.factories.agents import agent_body

pytestmark = pytest.mark.anyio

WRITERS, READERS, AGENTS = 3, 4, 8


@pytest.fixture
def place(valkey, make_place):
    return make_place(redis={"redis_url": valkey.url})


@pytest.fixture
def elsewhere(valkey, place, make_arena, fresh_database):
    """A second API process of the same installation."""
    return make_arena(database={"database_url": fresh_database}, redis={"redis_url": valkey.url})


async def race(doors, meanwhile=None):
    """Names of agents grow by what is acknowledged; every read must show at least that. Returns how many compared."""
    acknowledged, is_over, compared = {}, asyncio.Event(), 0

    async def write(number):
        door = doors[number % 2]
        made = (await door.post("/api/v1/agents", json=agent_body(f"Writer {number}"))).json()
        for round_ in range(AGENTS):
            changed = await door.patch(f"/api/v1/agents/{made['id']}", json={"name": f"{number} in {round_}"})
            assert changed.status_code == 200, changed.text
            acknowledged[made["id"]] = changed.json()["version"]

    async def read(number):
        nonlocal compared
        while not is_over.is_set():
            wanted = dict(acknowledged)
            listed = await doors[number % 2].get("/api/v1/agents", params={"limit": 200})
            assert listed.status_code == 200, listed.text
            versions = {agent["id"]: agent["version"] for agent in listed.json()["items"]}
            assert all(versions[id_] >= version for id_, version in wanted.items())
            compared += bool(wanted)

    readers = [asyncio.create_task(read(number)) for number in range(READERS)]
    helpers = [asyncio.create_task(meanwhile())] if meanwhile else []
    await asyncio.gather(*(write(number) for number in range(WRITERS)), *helpers)
    is_over.set()
    await asyncio.gather(*readers)
    return compared


@pytest.fixture
async def doors(owner, connect, place, elsewhere):
    return [await connect(owner.access_token, at=at) for at in (place, elsewhere)]


def hits_of(metrics):
    return metrics.labels("agents", "hit")._value.get()


async def test_no_list_is_older_than_what_was_acknowledged_before_it_was_asked_for(doors):
    assert await race(doors) > READERS


async def test_nor_when_valkey_dies_and_comes_back_with_nothing_in_between(doors, valkey):
    async def restart():
        await asyncio.sleep(0.2)
        valkey.kill()
        await asyncio.sleep(0.5)
        await valkey.start()

    assert await race(doors, restart) > READERS


async def test_what_is_asked_again_comes_from_valkey_for_whoever_may_ask(doors):
    await doors[0].post("/api/v1/agents", json=agent_body("Skeptic"))
    first = await doors[0].get("/api/v1/agents")
    before = hits_of(CACHE_REQUESTS)
    second = await doors[1].get("/api/v1/agents")

    assert second.json() == first.json()
    assert hits_of(CACHE_REQUESTS) == before + 1
