"""Budgets of a day: a warning at four fifths, one shorter turn to conclude, then the end that says whose budget it was.

Below, each place's budget is the person's tokens: 5,000 a day.
"""

import pytest

from tests.fixtures.databases import rows
from tests.fixtures.reads import tokens_of
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

BUDGET = 5000
OVER = (
    "the daily budget of tokens of the person who opened this discussion has no room for another turn; "
    "it renews at midnight UTC"
)


@pytest.fixture
def place(make_place):
    """An installation with budgets."""
    return make_place(budgets={"user_tokens_per_day": BUDGET, "workspace_usd_per_day": 2.5})


def warnings(viewer):
    return [
        (event.data["limit"], event.data["max"], event.data.get("wrap_up", False))
        for event in viewer.of_type("limit.warning")
    ]


async def test_it_is_warned_of_wrapped_up_and_never_exceeded(person, make_agent, make_discussion, make_model, spend):
    before = spend(person, 0.77 * BUDGET)
    model = make_model("tokens=10&no_usage")
    agent = await make_agent(by=person, model=model.name, params={"max_tokens": 40})
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 100})

    viewer = await watch_to_the_end(person.http, discussion.id)

    last, [near, final] = len(viewer.checker.messages), viewer.of_type("limit.warning")
    assert warnings(viewer) == [("user_tokens_per_day", BUDGET, False), ("user_tokens_per_day", BUDGET, True)]
    assert 0.8 * BUDGET <= near.data["used"] < final.data["used"] < BUDGET
    assert viewer.of_type("turn.started")[-1].at < final.at < viewer.of_type("message.completed")[-1].at
    assert model.reminders == [False] * (last - 1) + [True]
    asked = [request.body["max_tokens"] for request in model.requests]
    assert asked[:-1] == [40] * (last - 1)
    assert asked[-1] <= 40
    assert (viewer.events[-1].data["end_reason"], viewer.events[-1].data["detail"]) == ("max_tokens", OVER)
    assert 0.9 * BUDGET < before + await tokens_of(person.http, discussion) <= BUDGET


async def test_without_room_for_a_short_turn_it_ends_unsaid(person, make_discussion, spend):
    spend(person, BUDGET - 100)

    viewer = await watch_to_the_end(person.http, (await make_discussion(by=person)).id)

    assert viewer.types[-2:] == ["turn.started", "discussion.ended"]
    assert (viewer.events[-1].data["end_reason"], viewer.events[-1].data["detail"]) == ("max_tokens", OVER)
    assert viewer.checker.messages == {}


async def test_each_discussion_of_a_day_is_warned_once(person, make_agent, make_discussion, spend):
    spend(person, 0.8 * BUDGET)
    agent = await make_agent(by=person, params={"max_tokens": 40})

    discussions = [await make_discussion(by=person, agents=[agent]) for _ in range(2)]
    viewers = [await watch_to_the_end(person.http, one.id) for one in discussions]

    assert [warnings(viewer) for viewer in viewers] == [[("user_tokens_per_day", BUDGET, False)]] * 2
    assert [viewer.events[-1].data["end_reason"] for viewer in viewers] == ["max_turns"] * 2


async def test_a_last_turn_that_fails_ends_it_for_the_budget(person, make_agent, make_discussion, make_model, spend):
    spend(person, 0.9 * BUDGET)
    agent = await make_agent(by=person, model=make_model("status=401").name, params={"max_tokens": 600})

    viewer = await watch_to_the_end(person.http, (await make_discussion(by=person, agents=[agent])).id)

    assert viewer.types[-4:] == ["turn.started", "limit.warning", "turn.failed", "discussion.ended"]
    assert (viewer.events[-1].data["end_reason"], viewer.events[-1].data["detail"]) == ("max_tokens", OVER)


async def test_a_last_turn_that_is_tried_again_is_announced_once_and_still_the_last(
    person, make_agent, make_discussion, make_model, spend
):
    spend(person, 0.9 * BUDGET)
    model = make_model("tokens=12&disconnect_after=6&fail_times=1")
    agent = await make_agent(by=person, model=model.name, params={"max_tokens": 600})

    viewer = await watch_to_the_end(person.http, (await make_discussion(by=person, agents=[agent])).id)

    assert len(viewer.of_type("turn.retried")) == 1
    assert warnings(viewer) == [("user_tokens_per_day", BUDGET, True)]
    assert model.reminders == [True, True]
    assert (viewer.events[-1].data["detail"], len(viewer.checker.messages)) == (OVER, 1)


async def test_a_budget_that_renews_in_a_pause_lets_it_go_on(person, make_agent, make_discussion, make_model, spend):
    agent = await make_agent(by=person, model=make_model("tokens=30&delay_ms=30").name, params={"max_tokens": 600})
    spend(person, 0.9 * BUDGET)
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 3})
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until("message.delta")
        assert warnings(viewer) == [("user_tokens_per_day", BUDGET, True)]
        await person.http.post(f"/api/v1/discussions/{discussion.id}/interrupt")
        await viewer.until("discussion.paused")
        assert 0 < await tokens_of(person.http, discussion) <= 0.1 * BUDGET
        spend(person, 0)
        await person.http.post(f"/api/v1/discussions/{discussion.id}/resume")
        ended = await viewer.until_ended()

    assert ended.data["end_reason"] == "max_turns"
    assert len(viewer.checker.messages) == 3


@pytest.fixture
def spend(fresh_database):
    """Let a person have spent that many tokens today."""

    def write(person, tokens):
        rows(
            fresh_database,
            "INSERT INTO daily_spending (scope, scope_id, day, tokens, cost_usd) "
            "VALUES ('user', %s, (clock_timestamp() AT TIME ZONE 'UTC')::date, %s, 0) "
            "ON CONFLICT (scope, scope_id, day) DO UPDATE SET tokens = excluded.tokens RETURNING 1",
            person.id,
            int(tokens),
        )
        return int(tokens)

    return write


@pytest.fixture
async def occupied(person, make_agent, make_discussion, make_model):
    """A discussion whose endless turn has set most of the budget aside, and an agent there is no room for meanwhile."""
    slow = await make_agent(
        "Slow", by=person, model=make_model("endless&delay_ms=20").name, params={"max_tokens": 3000}
    )
    other = await make_agent("Other", by=person, params={"max_tokens": 3000})
    first = await make_discussion(by=person, agents=[slow])
    async with watching(person.http, first.id) as viewer:
        await viewer.until("message.delta")
        yield first, other


async def test_a_turn_that_fits_but_for_anothers_waits_and_is_then_a_short_last_one(person, make_discussion, occupied):
    first, other = occupied
    shorter = await watch_to_the_end(person.http, (await make_discussion(by=person, agents=[other])).id, 30)
    await person.http.post(f"/api/v1/discussions/{first.id}/stop")
    whole = await watch_to_the_end(person.http, (await make_discussion(by=person, agents=[other])).id)

    began, [warning], ended = shorter.of_type("turn.started")[0], shorter.of_type("limit.warning"), shorter.events[-1]
    assert warning.data["wrap_up"] is True
    assert 9 < warning.at - began.at < 25
    assert (ended.data["end_reason"], ended.data["detail"]) == ("max_tokens", OVER)
    assert len(shorter.checker.messages) == 1
    assert (whole.events[-1].data["end_reason"], len(whole.checker.messages)) == ("max_turns", 2)


async def test_a_turn_waits_a_while_for_what_others_have_set_aside(person, make_discussion, occupied):
    first, other = occupied
    waiting = await make_discussion(by=person, agents=[other])
    async with watching(person.http, waiting.id) as viewer:
        await viewer.until("turn.started")
        await person.http.post(f"/api/v1/discussions/{first.id}/stop")
        ended = await viewer.until_ended()

    assert (ended.data["end_reason"], len(viewer.checker.messages)) == ("max_turns", 2)


async def test_a_turn_that_waits_for_room_is_paused_and_taken_when_resumed(person, make_discussion, occupied):
    first, other = occupied
    waiting = await make_discussion(by=person, agents=[other])
    async with watching(person.http, waiting.id) as viewer:
        await viewer.until("turn.started")
        await person.http.post(f"/api/v1/discussions/{waiting.id}/pause")
        await viewer.until("discussion.paused", 5)
        await person.http.post(f"/api/v1/discussions/{first.id}/stop")
        await person.http.post(f"/api/v1/discussions/{waiting.id}/resume")
        ended = await viewer.until_ended()

    assert (ended.data["end_reason"], len(viewer.checker.messages)) == ("max_turns", 2)
    assert [message["attempt"] for message in viewer.checker.messages.values()] == [1, 1]
    assert viewer.of_type("turn.retried") == []


async def test_a_turn_that_waits_for_room_can_be_stopped_at_once(person, make_discussion, occupied):
    _, other = occupied
    waiting = await make_discussion(by=person, agents=[other])
    async with watching(person.http, waiting.id) as viewer:
        await viewer.until("turn.started")
        await person.http.post(f"/api/v1/discussions/{waiting.id}/stop")
        ended = await viewer.until_ended(5)

    assert (ended.data["end_reason"], len(viewer.checker.messages)) == ("stopped", 0)
