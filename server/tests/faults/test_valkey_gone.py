"""Valkey dies: nothing is lost, nothing answers 5xx, viewers are a second late."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from redis.asyncio import from_url

from app.domain.discussion import Status
from tests.fixtures.deadlines import eventually
from tests.fixtures.socket import socket_of
from tests.fixtures.trial import on_trial
from tests.fixtures.viewer import watch_to_the_end, watching, watching_from_the_start

pytestmark = pytest.mark.anyio

MOST_SECONDS_UNTIL_SHOWN = 1.5  # a poll a second, and the request's own time
MOST_SECONDS_LATE = 2.5  # a poll a second, and a machine that has other work


@pytest.fixture
def place(valkey, make_place):
    """An installation whose Valkey can be killed."""
    return make_place(redis={"redis_url": valkey.url})


@pytest.fixture
def talk(person, make_agent, make_discussion, make_model):
    async def begin(script="tokens=10&delay_ms=40", turns=6, **changes):
        agent = await make_agent("Speaker", by=person, model=make_model(script).name)
        return await make_discussion(by=person, agents=[agent], limits={"max_turns": turns}, **changes)

    return begin


async def seconds_late(http, discussion, viewer):
    """How long after they were logged the durable events were seen, by `seq`."""
    page = (await http.get(f"/api/v1/discussions/{discussion.id}/events", params={"limit": 200})).json()
    logged = {event["seq"]: datetime.fromisoformat(event["created_at"]) for event in page["items"]}
    now, then = datetime.now(UTC), time.monotonic()
    return {
        event.position[0]: event.at - then - (logged[event.position[0]] - now).total_seconds()
        for event in viewer.events
        if event.is_durable
    }


async def test_a_discussion_goes_on_and_viewers_see_all_of_it_a_little_later(valkey, person, talk):
    discussion = await talk(status=Status.DRAFT)
    async with watching_from_the_start(person.http, discussion.id) as viewer:
        await viewer.until(lambda event: event.type == "message.delta" and event.data["turn"] == 2)
        valkey.kill()
        await viewer.until_ended(30)

    assert [message["turn"] for message in viewer.checker.messages.values()] == [1, 2, 3, 4, 5, 6]
    assert len(viewer.checker.shown_whole) == 6
    late = await seconds_late(person.http, discussion, viewer)
    assert max(late.values()) < MOST_SECONDS_LATE, late


async def test_a_viewer_who_comes_while_it_is_gone_sees_everything(valkey, person, talk):
    discussion = await talk()
    valkey.kill()

    viewer = await watch_to_the_end(person.http, discussion.id, 30)

    assert [message["turn"] for message in viewer.checker.messages.values()] == [1, 2, 3, 4, 5, 6]


async def test_no_request_fails_while_it_is_gone(valkey, person, talk):
    discussion = await talk("tokens=40&delay_ms=50", turns=2)
    valkey.kill()
    address = f"/api/v1/discussions/{discussion.id}"

    said = await person.http.post(f"{address}/messages", json={"content": "Is anybody there?"})
    answers = [
        await person.http.get(path)
        for path in ("/api/v1/auth/me", "/api/v1/discussions", address, f"{address}/messages", f"{address}/events")
    ]
    stopped = await person.http.post(f"{address}/stop")

    assert said.status_code == 201
    assert {answer.status_code for answer in answers} == {200}
    assert (stopped.status_code, stopped.json()["status"]) == (200, "ended")


async def test_readiness_says_that_it_is_away_and_stays_ready(valkey, person):
    valkey.kill()

    response = await person.http.get("/readyz")

    assert (response.status_code, response.json()["dependencies"]) == (200, {"database": "ok", "cache": "away"})


async def test_live_text_is_back_soon_after_it_is(valkey, person, talk):
    """Text comes in pieces again, not whole with its message."""
    discussion = await talk("tokens=30&delay_ms=40", turns=8)
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until("message.delta")
        valkey.kill()
        await viewer.until(lambda event: event.type == "message.completed" and event.data["turn"] == 2, 20)
        await valkey.start()
        back = await viewer.until(lambda event: _is_live_again(viewer, event), 20)
        await viewer.until_ended(30)

    assert back.data["turn"] <= 7
    assert len(viewer.checker.shown_whole) == 8


def _is_live_again(viewer, event):
    """A third piece of one attempt after the second turn: without Valkey there is one at most."""
    if event.type != "message.delta" or event.data["turn"] <= 2:
        return False
    pieces = [one for one in viewer.of_type("message.delta") if one.data["turn"] == event.data["turn"]]
    return len(pieces) >= 3


async def test_one_that_is_flushed_or_killed_mid_stream_and_comes_back_empty_costs_nothing(
    valkey, person, place, models
):
    """What viewers were shown of an open message is forgotten with it, again and again."""
    paces = ["tokens=20&delay_ms=40", "tokens=30&delay_ms=20&unicode", "tokens=8&first_ms=300"]
    async with on_trial(person, place.settings) as trial, from_url(valkey.url) as client:
        [first, *_] = await trial.open(*models(*paces), turns=8)
        await first.until("message.delta", 10, turn=2)
        await client.flushall()
        await first.until("message.delta", 10, turn=3)
        valkey.kill()
        await first.say("Is anybody there?")
        await valkey.start()
        await first.until("message.delta", 10, turn=5)
        await client.flushall()
        await trial.acquit()

    assert trial.of_type("turn.retried") == trial.of_type("turn.failed") == []
    assert len(first.acknowledged) == 1


async def test_an_installation_starts_without_it(data_folder, make_place, make_user):
    nowhere = f"unix://{data_folder}/nobody-listens.sock"

    person = await make_user(at=make_place(redis={"redis_url": nowhere}))

    ready = await eventually(lambda: person.http.get("/readyz"), 5)
    assert ready.status_code == 200


@pytest.mark.alone
@pytest.mark.parametrize("is_spoken", [False, True], ids=["in silence", "beside a speaker"])
@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_what_people_say_is_shown_within_a_second_and_new_streams_open(valkey, person, talk, fault, is_spoken):
    """To viewers who were there before and to those who come meanwhile, on streams and sockets."""
    draft = await talk("endless&delay_ms=100", status=Status.DRAFT)
    seqs = []

    async def say(content):
        address = f"/api/v1/discussions/{draft.id}/messages"
        said = await person.http.post(address, json={"content": content})
        assert said.status_code == 201, said.text
        seqs.append(said.json()["message"]["seq"])
        return time.monotonic()

    async def seconds_until_shown(viewer, socket, said_at):
        def is_it(event):
            return event.position[0] == seqs[-1]

        shown = [await viewer.until(is_it), await socket.until_event(draft, is_it)]
        return max(event.at for event in shown) - said_at

    async with watching(person.http, draft.id) as viewer, socket_of(person) as socket:
        await socket.subscribe(draft)
        if is_spoken:
            (await person.http.post(f"/api/v1/discussions/{draft.id}/start")).raise_for_status()
            await viewer.until("message.delta")
        getattr(valkey, fault)()
        late = [await seconds_until_shown(viewer, socket, await say(f"Number {number}.")) for number in range(6)]
        async with watching(person.http, draft.id) as newcomer, socket_of(person) as other:
            await other.subscribe(draft)
            late.append(await seconds_until_shown(newcomer, other, await say("And now?")))
            late.append(await seconds_until_shown(viewer, socket, await say("Still here?")))
        await (valkey.start() if fault == "kill" else asyncio.to_thread(valkey.thaw))
        assert max(late) < MOST_SECONDS_UNTIL_SHOWN, late

        async def is_quick_again():
            return await seconds_until_shown(viewer, socket, await say("Back?")) < 0.25

        await eventually(is_quick_again, 15, "Valkey's news")


@pytest.fixture
async def with_less(valkey, person, talk):
    """What a viewer of a slow speaker has, after Valkey came back with an older state of it: of two characters."""
    discussion = await talk("tokens=40&delay_ms=1500", turns=1)
    async with watching(person.http, discussion.id) as viewer, from_url(valkey.url) as client:
        await viewer.until(lambda event: event.type == "message.delta" and len(viewer.text) > 4)
        [key] = [key async for key in client.scan_iter("arena:{*:text")]
        await client.set(key, (await client.get(key))[:2], keepttl=True)
        yield discussion, viewer


async def test_an_id_of_before_it_lost_some_is_good_where_the_text_is_known(with_less, person):
    discussion, viewer = with_less
    before = list(viewer.events)
    async with watching(person.http, discussion.id, last_event_id=before[-1].id, knowing=before) as again:
        await again.until(lambda event: len(again.text) > 2)
        (await person.http.post(f"/api/v1/discussions/{discussion.id}/stop")).raise_for_status()
        await again.until_ended()

    assert "stream.reset" not in again.types


async def test_an_id_of_before_it_lost_some_gives_a_reset_where_the_text_is_not_known(
    valkey, with_less, person, place, make_arena, connect
):
    other = make_arena(redis={"redis_url": valkey.url}, database={"database_url": place.settings.database.database_url})
    elsewhere = await connect(person.access_token, at=other)
    discussion, viewer = with_less
    before = list(viewer.events)
    async with watching(elsewhere, discussion.id, last_event_id=before[-1].id, knowing=before) as again:
        await again.until("stream.reset", seconds=1)
        await again.until(lambda event: len(again.text) > 6)
        (await person.http.post(f"/api/v1/discussions/{discussion.id}/stop")).raise_for_status()
        await again.until_ended()


async def test_what_was_heard_before_it_lost_some_is_kept_of_a_speaker_who_is_cut(with_less, person):
    discussion, viewer = with_less
    (await person.http.post(f"/api/v1/discussions/{discussion.id}/stop")).raise_for_status()
    await viewer.until_ended()

    assert viewer.of_type("message.completed")[0].data["content"] == viewer.text
    assert "stream.reset" not in viewer.types


@pytest.mark.parametrize("command", ["stop", "interrupt"])
async def test_what_was_heard_when_it_died_is_kept_of_a_speaker_who_is_cut(valkey, person, talk, command):
    discussion = await talk("endless&delay_ms=20")
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until(lambda event: event.type == "message.delta" and event.data["offset"] > 20)
        valkey.kill()
        await asyncio.sleep(0.2)
        (await person.http.post(f"/api/v1/discussions/{discussion.id}/{command}")).raise_for_status()
        kept = await viewer.until("message.completed")

    assert kept.data["status"] == "interrupted"
    assert kept.data["content"] == viewer.text
    assert len(kept.data["content"]) > 20


async def test_what_was_shown_and_cannot_be_kept_is_taken_back(valkey, person, place, make_arena, connect, talk):
    """The process that stops the discussion has heard nothing of it."""
    other = make_arena(redis={"redis_url": valkey.url}, database={"database_url": place.settings.database.database_url})
    elsewhere = await connect(person.access_token, at=other)
    discussion = await talk("endless&delay_ms=20")
    async with watching(elsewhere, discussion.id) as viewer:
        await viewer.until(lambda event: event.type == "message.delta" and event.data["offset"] > 20)
        valkey.kill()
        (await person.http.post(f"/api/v1/discussions/{discussion.id}/stop")).raise_for_status()
        await viewer.until_ended()

    assert viewer.types[-2:] == ["stream.reset", "discussion.ended"]
