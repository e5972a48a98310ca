"""PostgreSQL crashes under a running discussion: what was committed stays, the rest is done again."""

import asyncio
import os
import signal

import httpx2
import pytest

from tests.fixtures.databases import rows
from tests.fixtures.trial import on_trial
from tests.fixtures.viewer import watching

pytestmark = pytest.mark.anyio

RECOVERY = 60


@pytest.fixture
def engines_to_break(start_engines, data_folder):
    """A PostgreSQL of the test's own, that its supervisor starts again when it ends."""
    return start_engines(data_folder)


@pytest.fixture
async def place(engines_to_break, install_on):
    return await install_on(engines_to_break)


@pytest.fixture
def crash(engines_to_break):
    """End the server and all its sessions at once, as `pg_ctl stop -m immediate` does."""
    return lambda: os.kill(engines_to_break.supervisor.pids()["PostgreSQL"], signal.SIGQUIT)


async def test_a_discussion_goes_on_and_its_viewer_misses_nothing_when_the_database_crashes_mid_turn(
    place, crash, make_user, make_agent, make_discussion, start_worker
):
    person = await make_user(at=place)
    worker = await start_worker(place.settings)
    agent = await make_agent("Speaker", by=person, model="openai/fake?tokens=30&delay_ms=50")
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 4})
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(lambda event: event.type == "message.delta" and event.data["turn"] == 2)
        crash()
        await viewer.until_ended(RECOVERY)

    assert worker.process.poll() is None
    assert [message["turn"] for message in viewer.checker.messages.values()] == [1, 2, 3, 4]
    log = "SELECT count(*), max(seq), count(*) FILTER (WHERE type = 'message.completed') FROM discussion_events"
    last = viewer.checker.position[0]
    assert rows(place.settings.database.database_url.get_secret_value(), log) == [(last, last, 4)]


async def test_many_discussions_and_what_people_say_in_them_survive_two_crashes(
    place, crash, make_user, models, start_worker
):
    """Words are answered with 201 only when they are kept, whenever the database goes."""
    person = await make_user(at=place)
    await start_worker(place.settings)
    async with on_trial(person, place.settings) as trial:
        paces = [f"tokens={2 + 3 * n}&delay_ms=30" for n in range(5)]
        opened = await trial.open(*models(*paces), turns=12)
        for turn in (2, 7):
            await opened[-1].until("message.delta", RECOVERY, turn=turn)
            crash()
            for _ in range(4):
                await asyncio.gather(*(witness.say("Is it down?") for witness in opened))
        await trial.acquit(RECOVERY)

    assert sum(witness.unanswered for witness in opened) > 0
    assert trial.of_type("turn.failed") == []


async def test_requests_meanwhile_are_told_to_come_back_and_never_break(place, crash, make_user):
    person = await make_user(at=place)
    crash()
    away: list[httpx2.Response] = []
    async with asyncio.timeout(RECOVERY):
        while (answer := await person.http.get("/api/v1/agents")).status_code == 200:
            pass  # it was quicker than the crash
        while answer.status_code != 200:
            away.append(answer)
            await asyncio.sleep(0.02)
            answer = await person.http.get("/api/v1/agents")

    assert {answer.status_code for answer in away} == {503}
    assert {answer.json()["code"] for answer in away} == {"database_away"}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in away)


async def test_readiness_says_that_the_database_is_away(place, crash, connect):
    visitor = await connect(at=place)
    crash()

    response = await visitor.get("/readyz")

    assert (response.status_code, response.json()["dependencies"]["database"]) == (503, "away")
    assert (await visitor.get("/healthz")).status_code == 200
