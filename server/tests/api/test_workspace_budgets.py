"""What a workspace's own administrators let it spend a day, on an installation that sets no such limit."""

import pytest

from app.services.turns import driver
from tests.fixtures.reads import tokens_of
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio

OVER = "the daily budget of tokens of this workspace has no room for another turn; it renews at midnight UTC"


@pytest.fixture
def place(make_place):
    return make_place()


@pytest.fixture
def set_limits(person):
    async def set_to(**limits):
        address = f"/api/v1/workspaces/{person.workspace_id}"
        changed = await person.http.patch(address, json={"limits": limits})
        assert changed.status_code == 200, changed.text

    return set_to


async def usage(person):
    return (await person.http.get("/api/v1/usage")).json()["workspace"]


async def test_a_workspaces_own_limit_ends_its_discussions(person, make_agent, make_discussion, set_limits):
    await set_limits(tokens_per_day=2000)
    agent = await make_agent(by=person, params={"max_tokens": 40})
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 200})

    viewer = await watch_to_the_end(person.http, discussion.id)

    ended = viewer.events[-1].data
    assert (ended["end_reason"], ended["detail"]) == ("max_tokens", OVER)
    tokens = await tokens_of(person.http, discussion)
    assert 1000 < tokens <= 2000
    seen = await usage(person)
    assert (seen["tokens"], seen["max_tokens"], seen["reserved_tokens"]) == (tokens, 2000, 0)


async def test_other_workspaces_of_the_installation_have_none(person, place, make_user, make_discussion, set_limits):
    await set_limits(tokens_per_day=1)
    other = await make_user("Grace Hopper", at=place)

    viewer = await watch_to_the_end(other.http, (await make_discussion(by=other)).id)

    assert viewer.events[-1].data["end_reason"] == "max_turns"
    assert (await usage(other))["max_tokens"] is None


async def test_what_was_cut_is_charged_to_the_workspaces_own_limit(
    person, make_agent, make_discussion, make_model, set_limits
):
    await set_limits(tokens_per_day=50_000)
    agent = await make_agent(by=person, model=make_model("endless&delay_ms=20").name, params={"max_tokens": 3000})
    discussion = await make_discussion(by=person, agents=[agent])
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until("message.delta")
        await person.http.post(f"/api/v1/discussions/{discussion.id}/stop")
        await viewer.until_ended()

    seen = await usage(person)
    assert seen["tokens"] == await tokens_of(person.http, discussion) > 0
    assert seen["reserved_tokens"] == 0


async def test_a_discussion_that_runs_heeds_a_limit_that_is_set_meanwhile(
    person, make_agent, make_discussion, set_limits, monkeypatch
):
    monkeypatch.setattr(driver, "LONGEST_DRIVE_SECONDS", 0.3)
    agent = await make_agent(by=person, model="openai/fake?tokens=8&delay_ms=5", params={"max_tokens": 40})
    discussion = await make_discussion(by=person, agents=[agent], limits={"max_turns": 1000})
    async with watching(person.http, discussion.id) as viewer:
        await viewer.until("message.completed")
        await set_limits(tokens_per_day=1)
        ended = await viewer.until_ended(20)

    assert (ended.data["end_reason"], ended.data["detail"]) == ("max_tokens", OVER)
    assert viewer.of_type("turn.retried") == []
    assert len(viewer.checker.messages) < 1000
