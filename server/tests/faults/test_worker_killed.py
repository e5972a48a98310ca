"""A worker dies, freezes or is told to go while it drives: nothing is lost, nothing is said twice."""

import asyncio
import logging
import os
import signal
import time

import pytest

from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.trial import MOST_SECONDS_TO_THE_NEXT_TOKEN
from tests.fixtures.viewer import watching

log = logging.getLogger(__name__)

pytestmark = pytest.mark.anyio

SPEAKING = "tokens=40&delay_ms=50"  # two seconds a turn
RECOVERY = 40


@pytest.fixture
def talk(person, make_agent, make_discussion, make_model):
    """Open a discussion of one agent that speaks as scripted."""

    async def begin(script=SPEAKING, turns=3):
        agent = await make_agent("Speaker", by=person, model=make_model(script).name, params={"max_tokens": 4000})
        return await make_discussion(by=person, agents=[agent], limits={"max_turns": turns})

    return begin


def is_text_of(turn):
    return lambda event: event.type == "message.delta" and event.data["turn"] == turn


def is_text_of_attempt(turn, attempt):
    return lambda event: is_text_of(turn)(event) and event.data["attempt"] == attempt


def check_that_every_turn_was_taken_once(viewer, database, turns):
    spoken = [message["turn"] for message in viewer.checker.messages.values()]
    assert spoken == list(range(1, turns + 1))
    assert [turn for (turn,) in rows(database, "SELECT turn FROM turns ORDER BY 1")] == spoken
    assert [turn for (turn,) in rows(database, "SELECT turn FROM messages ORDER BY 1")] == spoken
    assert rows(database, "SELECT count(*), max(seq) FROM discussion_events") == [(viewer.checker.position[0],) * 2]
    assert len(viewer.checker.shown_whole) == turns


async def test_another_worker_goes_on_when_one_is_killed_mid_turn(
    place, person, talk, start_workers, fresh_database, record_property
):
    workers = await start_workers(2, place.settings)
    discussion = await talk()
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(is_text_of(2))

        _driver_of(fresh_database, workers).kill()
        killed = time.monotonic()
        heard_again = await viewer.until(is_text_of_attempt(2, 2), RECOVERY)
        await viewer.until_ended(RECOVERY)

    seconds = heard_again.at - killed
    log.warning("kill -9 to the next token: %.2f s", seconds)
    record_property("seconds to the next token", round(seconds, 2))
    assert seconds < MOST_SECONDS_TO_THE_NEXT_TOKEN
    [retried] = viewer.of_type("turn.retried")
    assert (retried.data["turn"], retried.data["attempt"], retried.data["reason"]) == (2, 2, "worker_lost")
    check_that_every_turn_was_taken_once(viewer, fresh_database, 3)


async def test_a_worker_started_after_the_only_one_was_killed_goes_on(
    place, person, talk, start_worker, fresh_database
):
    only = await start_worker(place.settings)
    discussion = await talk()
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(is_text_of(1))
        only.kill()
        await start_worker(place.settings, wait=False)
        await viewer.until_ended(RECOVERY)

    assert [event.data["turn"] for event in viewer.of_type("turn.retried")] == [1]
    check_that_every_turn_was_taken_once(viewer, fresh_database, 3)


async def test_the_worker_after_a_killed_one_tells_a_whisper_to_no_agent_it_is_not_for(
    place, person, make_agent, make_model, make_discussion, start_worker
):
    first = await start_worker(place.settings)
    models = [make_model("tokens=20&delay_ms=40") for _ in range(2)]
    names = ("Skeptic", "Optimist")
    agents = [await make_agent(name, by=person, model=model.name) for name, model in zip(names, models, strict=True)]
    discussion = await make_discussion(by=person, agents=agents, limits={"max_turns": 4})
    whisper = {"content": "Not for the optimist", "visible_to": [discussion.participants[0]["id"]]}
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(is_text_of(1))
        posted = await person.http.post(f"/api/v1/discussions/{discussion.id}/messages", json=whisper)
        assert posted.status_code == 201
        await viewer.until(is_text_of(2))
        first.kill()
        await start_worker(place.settings, wait=False)
        await viewer.until_ended(RECOVERY)

    assert [event.data["turn"] for event in viewer.of_type("turn.retried")] == [2]
    addressee, other = ([str(prompt) for prompt in model.prompts] for model in models)
    assert whisper["content"] in addressee[-1]
    assert len(other) == 3  # its second turn, that turn again, and its fourth
    assert not any(whisper["content"] in prompt for prompt in other)


async def test_a_worker_killed_before_the_speakers_first_word_loses_nothing(
    place, person, talk, start_worker, fresh_database
):
    first = await start_worker(place.settings)
    discussion = await talk("tokens=5&first_ms=1500", turns=2)
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(lambda event: event.type == "turn.started" and event.data["turn"] == 2)
        first.kill()
        await start_worker(place.settings, wait=False)
        await viewer.until_ended(RECOVERY)

    check_that_every_turn_was_taken_once(viewer, fresh_database, 2)


async def test_workers_killed_one_after_the_other_lose_nothing(place, person, talk, start_workers, fresh_database):
    workers = await start_workers(3, place.settings)
    discussion = await talk("tokens=20&delay_ms=60&unicode", turns=4)
    async with watching(person.http, discussion.id) as viewer:
        for attempt in (1, 2):
            await viewer.until(is_text_of_attempt(attempt, 1), RECOVERY)
            driving = await eventually(lambda: _driver_of(fresh_database, workers), 5, "a claim")
            driving.kill()
            await viewer.until(is_text_of_attempt(attempt, 2), RECOVERY)
        await viewer.until_ended(RECOVERY)

    assert len(viewer.of_type("turn.retried")) == 2
    check_that_every_turn_was_taken_once(viewer, fresh_database, 4)


def _driver_of(database, workers):
    """The living worker whose claim the discussion is."""
    [(owner,)] = rows(database, "SELECT lease_owner FROM discussions")
    found = [worker for worker in workers if owner and owner.endswith(f":{worker.pid}")]
    return found[0] if found and found[0].process.poll() is None else None


async def test_a_worker_that_froze_and_woke_up_writes_nothing_more(place, person, talk, start_worker, fresh_database):
    """The fence: the claim was taken over while the first could not know."""
    frozen = await start_worker(place.settings)
    discussion = await talk(turns=2)
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(is_text_of(1))
        os.kill(frozen.pid, signal.SIGSTOP)
        await start_worker(place.settings)
        await viewer.until(is_text_of_attempt(1, 2), RECOVERY)
        os.kill(frozen.pid, signal.SIGCONT)
        await viewer.until_ended(RECOVERY)
    await eventually(lambda: frozen.said("claim_lost"), 5, "the loss of the claim")

    assert frozen.said("turn_completed") == []
    check_that_every_turn_was_taken_once(viewer, fresh_database, 2)


async def test_a_worker_told_to_go_finishes_its_turn_and_hands_over(place, person, talk, start_workers, fresh_database):
    workers = await start_workers(2, place.settings)
    discussion = await talk(turns=3)
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(is_text_of(2))
        leaving = _driver_of(fresh_database, workers)
        [staying] = [worker for worker in workers if worker is not leaving]
        leaving.terminate()
        left = await asyncio.to_thread(leaving.wait, 15)
        await viewer.until_ended(RECOVERY)

    assert left == 0
    assert viewer.of_type("turn.retried") == []
    assert [line["turn"] for line in leaving.said("turn_completed")] == [1, 2]
    assert [line["turn"] for line in staying.said("turn_completed")] == [3]
    check_that_every_turn_was_taken_once(viewer, fresh_database, 3)


async def test_a_turn_longer_than_a_dead_workers_silence_is_not_taken_from_a_worker_that_finishes_it(
    place, person, talk, start_workers, fresh_database
):
    """A worker that was told to go may look dead to the sweep while it still speaks."""
    workers = await start_workers(2, place.settings)
    discussion = await talk("tokens=60&delay_ms=110", turns=2)
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(is_text_of(1))
        leaving = _driver_of(fresh_database, workers)
        leaving.terminate()
        left = await asyncio.to_thread(leaving.wait, 20)
        await viewer.until_ended(RECOVERY)

    assert left == 0
    assert viewer.of_type("turn.retried") == []
    check_that_every_turn_was_taken_once(viewer, fresh_database, 2)


async def test_a_worker_told_to_go_does_not_wait_longer_than_its_time(
    place, person, talk, start_workers, fresh_database
):
    workers = await start_workers(2, place.settings, ARENA_WORKER_DRAIN_SECONDS="1")
    discussion = await talk("tokens=120&delay_ms=100", turns=1)
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(is_text_of(1))
        leaving = _driver_of(fresh_database, workers)
        began = time.monotonic()
        leaving.terminate()
        left = await asyncio.to_thread(leaving.wait, 10)
        went_after = time.monotonic() - began
        await viewer.until(is_text_of_attempt(1, 2), RECOVERY)
        await viewer.until_ended(RECOVERY)

    assert left == 0
    assert went_after < 8
    check_that_every_turn_was_taken_once(viewer, fresh_database, 1)


async def test_a_worker_told_to_go_while_idle_goes_at_once(place, start_worker):
    idle = await start_worker(place.settings)

    began = time.monotonic()
    idle.terminate()

    assert await asyncio.to_thread(idle.wait, 5) == 0
    assert time.monotonic() - began < 3


async def test_nothing_happens_to_who_waits_for_a_person_when_the_worker_is_killed(
    place, person, make_agent, make_discussion, start_worker
):
    worker = await start_worker(place.settings)
    agent = await make_agent(by=person)
    seated = [{"user_id": person.id}, {"agent_id": agent.id}]
    discussion = await make_discussion(by=person, participants=seated)
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until("discussion.waiting")
        worker.kill()
        await person.http.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": "Anybody?"})
        await start_worker(place.settings, wait=False)
        await viewer.until_ended(RECOVERY)

    assert viewer.of_type("turn.retried") == []
    assert [message["turn"] for message in viewer.checker.messages.values()] == [1, 2]
