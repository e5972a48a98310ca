"""Limits of a discussion over the whole product: warned of once, one wrap-up turn, then the end with its reason."""

import pytest

from app.domain.discussion import Status
from tests.factories.discussions import seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.reads import has_status, read, tokens_of
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

ENDS = ["discussion.ended"]


def wrap_ups(viewer):
    """The turns that were given as the last ones."""
    return [event.data["turn"] for event in viewer.of_type("turn.started") if event.data.get("wrap_up")]


def warnings(viewer):
    return [(event.data["limit"], event.data["used"], event.data["max"]) for event in viewer.of_type("limit.warning")]


async def test_the_last_of_the_turns_is_told_to_conclude(client, make_discussion, make_agent, make_model):
    model = make_model()
    discussion = await make_discussion(agents=[await make_agent(model=model.name)], limits={"max_turns": 5})

    viewer = await watch_to_the_end(client, discussion.id)

    assert wrap_ups(viewer) == [5]
    assert model.reminders == [False] * 4 + [True]
    assert warnings(viewer) == [("max_turns", 4, 5)]
    assert (viewer.events[-1].data["end_reason"], len(viewer.checker.messages)) == ("max_turns", 5)


async def test_the_only_turn_there_is_has_nothing_to_wrap_up(client, make_discussion, make_agent, make_model):
    model = make_model()
    discussion = await make_discussion(agents=[await make_agent(model=model.name)], limits={"max_turns": 1})

    viewer = await watch_to_the_end(client, discussion.id)

    assert (wrap_ups(viewer), model.reminders, warnings(viewer)) == ([], [False], [])


@pytest.mark.parametrize("most", [200, 600, 1000, 1490, 1500, 1510, 2000])
async def test_tokens_that_run_out_leave_one_last_turn_and_are_never_exceeded(
    client, make_discussion, make_agent, make_model, most
):
    model = make_model("tokens=60&no_usage")
    agent = await make_agent(model=model.name, params={"max_tokens": 200})
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 100, "max_tokens": most})

    viewer = await watch_to_the_end(client, discussion.id)

    last = len(viewer.checker.messages)
    assert viewer.events[-1].data["end_reason"] == "max_tokens"
    assert wrap_ups(viewer) == [last]
    assert model.reminders == [False] * (last - 1) + [True]
    asked = [request.body["max_tokens"] for request in model.requests]
    assert asked[:-1] == [200] * (last - 1)
    assert asked[-1] < 200 or most > 200
    assert [limit for limit, _used, _most in warnings(viewer)] == ["max_tokens"]
    assert await tokens_of(client, discussion) <= most


async def test_too_few_tokens_for_a_last_turn_end_it_without_one(client, make_discussion, make_agent, make_model):
    agent = await make_agent(model=make_model("tokens=8&no_usage").name)
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 100, "max_tokens": 100})

    viewer = await watch_to_the_end(client, discussion.id)

    assert viewer.types[-1:] == ENDS
    assert (viewer.events[-1].data["end_reason"], viewer.of_type("turn.started")) == ("max_tokens", [])


async def test_seconds_that_run_out_leave_one_turn(client, make_discussion, make_agent, make_model):
    model = make_model("tokens=8&delay_ms=60")
    discussion = await make_discussion(
        agents=[await make_agent(model=model.name)], limits={"max_turns": 100, "max_seconds": 1}
    )

    viewer = await watch_to_the_end(client, discussion.id)

    assert viewer.events[-1].data["end_reason"] == "max_seconds"
    assert wrap_ups(viewer) == [len(viewer.checker.messages)]
    assert model.reminders[-2:] == [False, True]
    assert [limit for limit, _used, _most in warnings(viewer)] == ["max_seconds"]


@pytest.mark.parametrize("policy", ["pause", "continue", "end"])
async def test_a_wrap_up_turn_that_fails_ends_it_all_the_same(client, make_discussion, make_agent, make_model, policy):
    table = [await make_agent("Well"), await make_agent("Broken", model=make_model("status=401").name)]
    discussion = await make_discussion(agents=table, limits={"max_turns": 2}, on_turn_failure=policy)

    viewer = await watch_to_the_end(client, discussion.id)

    [failed] = viewer.of_type("turn.failed")
    assert (failed.data["turn"], failed.data["is_over"]) == (2, True)
    assert viewer.events[-1].data["end_reason"] == "max_turns"
    assert (await read(client, discussion))["turn"] == 2


async def test_a_wrap_up_turn_that_is_tried_again_is_still_the_last_one(
    client, make_discussion, make_agent, make_model
):
    model = make_model("tokens=12&delay_ms=5&disconnect_after=6&fail_times=1")
    table = [await make_agent("Well"), await make_agent("Shaky", model=model.name)]
    discussion = await make_discussion(agents=table, limits={"max_turns": 2})

    viewer = await watch_to_the_end(client, discussion.id)

    assert [event.data["turn"] for event in viewer.of_type("turn.retried")] == [2]
    assert model.reminders == [True, True]
    assert (viewer.events[-1].data["end_reason"], len(viewer.checker.messages)) == ("max_turns", 2)


async def test_a_wrap_up_turn_that_is_passed_ends_it_all_the_same(client, make_discussion, make_agent, make_model):
    table = [await make_agent("Well"), await make_agent("Mute", model=make_model("empty").name)]
    discussion = await make_discussion(agents=table, limits={"max_turns": 2})

    viewer = await watch_to_the_end(client, discussion.id)

    assert [event.data["turn"] for event in viewer.of_type("turn.passed")] == [2]
    assert viewer.events[-1].data["end_reason"] == "max_turns"


async def test_a_stop_condition_that_the_last_words_meet_is_the_reason(client, make_discussion, make_agent, make_model):
    agent = await make_agent(model=make_model("reply=Enough.").name)
    stop_when = [{"type": "all", "of": [{"type": "phrase", "phrase": "enough"}, {"type": "phrase", "phrase": "."}]}]
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 1}, stop_when=stop_when)

    viewer = await watch_to_the_end(client, discussion.id)

    assert viewer.events[-1].data["end_reason"] == "stop_condition"


async def test_a_persons_turn_can_be_the_last_one(client, owner, make_discussion, make_agent):
    table = [*seats(await make_agent()), {"user_id": owner.id}]
    discussion = await make_discussion(participants=table, limits={"max_turns": 2})
    async with watching(client, discussion.id) as viewer:
        waiting = await viewer.until("discussion.waiting")
        await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": "So be it."})
        ended = await viewer.until_ended()

    assert waiting.data["wrap_up"] is True
    assert ended.data["end_reason"] == "max_turns"


async def test_a_persons_turn_after_anothers_can_be_the_last_one(client, owner, make_discussion, sql):
    """Nobody drives between two people's turns."""
    discussion = await make_discussion(participants=[{"user_id": owner.id}], limits={"max_turns": 2})
    address = f"/api/v1/discussions/{discussion.id}/messages"

    first = (await client.post(address, json={"content": "One."})).json()["discussion"]
    assert first["status"] == Status.WAITING
    assert sql("SELECT wrap_up FROM discussions WHERE id = %s", discussion.id) == [("max_turns",)]
    second = (await client.post(address, json={"content": "Two."})).json()["discussion"]

    assert (second["status"], second["end_reason"]) == ("ended", "max_turns")
    viewer = await watch_to_the_end(client, discussion.id)
    assert [event.data.get("wrap_up") for event in viewer.of_type("discussion.waiting")] == [None, True]


async def test_a_warning_is_not_repeated_by_the_next_driver(client, make_discussion, make_agent, owner):
    """Every person's turn brings a new driver."""
    table = [{"user_id": owner.id}, *seats(await make_agent())]
    discussion = await make_discussion(participants=table, limits={"max_turns": 6, "max_seconds": 10**6})
    async with watching(client, discussion.id) as viewer:
        for _ in range(3):
            await eventually(lambda: has_status(client, discussion, "waiting"))
            await client.post(f"/api/v1/discussions/{discussion.id}/messages", json={"content": "Go on."})
        await viewer.until_ended()

    assert warnings(viewer) == [("max_turns", 5, 6)]


@pytest.fixture
def place(priced_models, make_place):
    """An installation whose models have prices."""
    return make_place(models=priced_models)


async def test_dollars_that_run_out_leave_a_shorter_last_turn_and_are_never_exceeded(
    person, make_agent, make_discussion
):
    agent = await make_agent(by=person, model="openai/gpt-4o", params={"max_tokens": 400})
    limits = {"max_turns": 100, "max_cost_usd": 0.02}
    discussion = await make_discussion(by=person, agents=[agent], limits=limits)

    viewer = await watch_to_the_end(person.http, discussion.id)

    assert viewer.events[-1].data["end_reason"] == "max_cost"
    assert wrap_ups(viewer) == [len(viewer.checker.messages)]
    assert [limit for limit, _used, _most in warnings(viewer)] == ["max_cost_usd"]
    assert 0.01 < (await read(person.http, discussion))["usage"]["cost_usd"] <= 0.02


async def test_a_pause_before_a_persons_last_turn_does_not_take_it_from_them(
    client, make_discussion, make_agent, owner
):
    agent = await make_agent()
    made = await make_discussion(participants=[{"agent_id": agent.id}, {"user_id": owner.id}], limits={"max_turns": 2})
    address = f"/api/v1/discussions/{made.id}"
    await eventually(lambda: has_status(client, made, "waiting"), 10, "the person's turn")

    await client.post(f"{address}/pause")
    resumed = (await client.post(f"{address}/resume")).json()
    posted = (await client.post(f"{address}/messages", json={"content": "To conclude."})).json()

    assert resumed["status"] == "waiting"
    assert (posted["message"]["turn"], posted["discussion"]["end_reason"]) == (2, "max_turns")


async def test_a_last_turn_that_was_interrupted_is_used_up(client, make_discussion, make_agent):
    agent = await make_agent(model="openai/fake?endless&delay_ms=10", params={"max_tokens": 4000})
    made = await make_discussion(agents=[agent], limits={"max_turns": 1})
    async with watching(client, made.id) as viewer:
        await viewer.until("message.delta")
        interrupted = (await client.post(f"/api/v1/discussions/{made.id}/interrupt")).json()
        resumed = (await client.post(f"/api/v1/discussions/{made.id}/resume")).json()

    assert (interrupted["status"], interrupted["turn"]) == ("paused", 1)
    assert (resumed["status"], resumed["end_reason"]) == ("ended", "max_turns")
