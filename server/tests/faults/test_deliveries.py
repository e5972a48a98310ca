"""Webhooks and deadlines across the death of workers: at least one webhook, exactly one message, no wait for ever."""

import asyncio

import pytest

from app.services.external_calls import MOST_AT_ONCE_OF_A_WORKSPACE
from tests.factories.discussions import seats
from tests.fixtures.arena import working
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.receivers import answer
from tests.fixtures.scripted_server import Reply, Stream
from tests.fixtures.viewer import watch_to_the_end

pytestmark = pytest.mark.anyio

COUNT = 12


@pytest.fixture
async def owner(make_user, workerless):
    return await make_user(at=workerless)


@pytest.fixture
async def anonymous(connect, workerless):
    return await connect(at=workerless)


async def test_a_webhook_whose_worker_is_killed_is_delivered_by_another(
    client, anonymous, workerless, make_external, make_discussion, receiver, start_worker
):
    """It comes twice, and says so; the answer is taken once."""
    receiver.answers(Stream([b" "], then="hold"), Reply())
    discussion = await make_discussion(agents=[await make_external()], limits={"max_turns": 1})
    first = await start_worker(workerless.settings)
    one = await receiver.called()
    await asyncio.to_thread(first.kill)

    await start_worker(workerless.settings)
    two = await receiver.called(15)

    assert one.headers["x-arena-delivery"] == two.headers["x-arena-delivery"]
    assert (await answer(anonymous, discussion.id, one.json["turn_token"])).status_code == 201
    problem(await answer(anonymous, discussion.id, two.json["turn_token"]), 409, "turn_token_used")
    viewer = await watch_to_the_end(client, discussion.id)
    assert [message["turn"] for message in viewer.checker.messages.values()] == [1]


async def test_a_webhook_whose_worker_is_told_to_go_is_delivered_by_another(
    client, anonymous, workerless, make_external, make_discussion, receiver, start_worker
):
    receiver.answers(Stream([b" "], then="hold"), Reply())
    waiting = {"external_seconds": None}
    discussion = await make_discussion(agents=[await make_external()], limits={"max_turns": 1}, waiting=waiting)
    first = await start_worker(workerless.settings, ARENA_OUTGOING_SECONDS="60")
    one = await receiver.called()
    first.terminate()
    assert await asyncio.to_thread(first.wait, 10) == 0

    await start_worker(workerless.settings)
    two = await receiver.called(15)

    assert one.headers["x-arena-delivery"] == two.headers["x-arena-delivery"]
    assert (await answer(anonymous, discussion.id, two.json["turn_token"])).status_code == 201
    assert len((await watch_to_the_end(client, discussion.id)).checker.messages) == 1


async def test_deadlines_that_passed_while_no_worker_ran_are_kept_once_by_two(
    owner, make_discussion, fresh_database, workerless, keep
):
    for _ in range(COUNT):
        await make_discussion(
            participants=[{"user_id": owner.id}], waiting={"human_seconds": 0.01}, limits={"max_turns": 1}
        )

    for _ in range(2):
        await asyncio.to_thread(keep, working(workerless.settings))

    ended = "SELECT count(*) FROM discussions WHERE status = 'ended' AND end_reason = 'max_turns'"
    await eventually(lambda: rows(fresh_database, ended) == [(COUNT,)], 10, "the end of all")
    passed = "SELECT count(*) FROM discussion_events WHERE type = 'turn.passed' GROUP BY discussion_id"
    assert rows(fresh_database, passed) == [(1,)] * COUNT


async def test_agents_outside_that_hang_keep_no_turn_waiting(
    client, workerless, make_agent, make_external, make_discussion, receiver, keep
):
    receiver.answers(Stream([b" "], then="hold"))
    outside = await make_external()
    await asyncio.to_thread(keep, working(workerless.settings))
    for _ in range(5):
        await make_discussion(agents=[outside])
    await eventually(lambda: len(receiver.calls) == 5, 5, "five webhooks that hang")

    discussion = await make_discussion(participants=seats(await make_agent()))
    viewer = await watch_to_the_end(client, discussion.id, 3)

    assert len(viewer.checker.messages) == 2


async def test_a_workspace_whose_agents_hang_leaves_room_for_others_and_loses_no_webhook(
    place, make_user, make_external, make_discussion, receiver, start_worker
):
    receiver.answers(*[Stream([b" "], then="hold")] * MOST_AT_ONCE_OF_A_WORKSPACE, Reply())
    outside, neighbour = await make_external(), await make_user(at=place)
    theirs = await make_external(by=neighbour, endpoint_url=receiver.url + "-next-door")
    receiver.server.only("POST", "/hook-next-door", Reply())
    held = [await make_discussion(agents=[outside]) for _ in range(MOST_AT_ONCE_OF_A_WORKSPACE + 3)]
    await start_worker(place.settings, ARENA_OUTGOING_SECONDS="4")
    await eventually(lambda: len(receiver.calls) == MOST_AT_ONCE_OF_A_WORKSPACE, 10, "as many as there may be")

    await make_discussion(by=neighbour, agents=[theirs])
    await eventually(lambda: receiver.server.of("/hook-next-door"), 3, "the neighbour's webhook")

    assert len(receiver.calls) == MOST_AT_ONCE_OF_A_WORKSPACE
    await eventually(lambda: len({call.json["discussion_id"] for call in receiver.calls}) == len(held), 15, "the rest")
