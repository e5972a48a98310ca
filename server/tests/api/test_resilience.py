"""What must come to a visible end although something of ours, or of everybody's, goes wrong."""

import pytest

from tests.factories.discussions import seats
from tests.fixtures.deadlines import eventually
from tests.fixtures.reads import has_status, log_of, read
from tests.fixtures.viewer import watch_to_the_end, watching

pytestmark = pytest.mark.anyio


async def test_an_error_of_ours_that_repeats_pauses_the_discussion_instead_of_looping(
    client, make_agent, make_discussion, sql
):
    """Here an agent whose configuration no request could have written."""
    agent = await make_agent()
    made = await make_discussion(agents=[agent], start=False)
    sql("""UPDATE agent_versions SET config = '{"bogus": 1}' WHERE agent_id = %s""", agent.id)

    await client.post(f"/api/v1/discussions/{made.id}/start")
    await eventually(lambda: has_status(client, made, "paused"), 20, "the pause")

    assert (await log_of(client, made))[-1]["data"]["reason"] == "driver_failed"
    assert (await read(client, made))["next_speaker"] is None


async def test_one_agents_failure_does_not_end_a_discussion_among_people(client, make_agent, make_discussion, owner):
    down = await make_agent(model="openai/fake?status=401")
    table = [*seats(down), {"user_id": owner.id}]
    made = await make_discussion(participants=table, limits={"max_turns": 6}, on_turn_failure="continue")
    address = f"/api/v1/discussions/{made.id}"

    for turn in (2, 4, 6):
        await eventually(lambda turn=turn: _has_floor(client, made, turn), 10, f"turn {turn}")
        assert (await client.post(f"{address}/messages", json={"content": "Go on."})).status_code == 201

    ended = await read(client, made)
    assert (ended["turn"], ended["end_reason"]) == (6, "max_turns")


async def _has_floor(client, discussion, turn):
    state = await read(client, discussion)
    return state["status"] == "waiting" and state["turn"] == turn - 1


async def test_a_person_is_waited_for_no_longer_than_the_discussion_may_last(
    client, make_agent, make_discussion, owner
):
    table = [{"user_id": owner.id}, *seats(await make_agent())]
    made = await make_discussion(participants=table, limits={"max_turns": 50, "max_seconds": 1})

    viewer = await watch_to_the_end(client, made.id)

    assert viewer.events[-1].data["end_reason"] == "max_seconds"
    assert [event.data["reason"] for event in viewer.of_type("turn.passed")] == ["deadline"]
    assert len(viewer.checker.messages) == 1


async def test_a_fork_that_may_take_no_more_turns_ends_at_once(client, make_discussion):
    parent = await make_discussion()
    await watch_to_the_end(client, parent.id)

    forked = (await client.post(f"/api/v1/discussions/{parent.id}/fork", json={})).json()

    assert (forked["status"], forked["end_reason"], forked["turn"]) == ("ended", "max_turns", 2)


async def test_a_phrase_in_words_that_were_cut_ends_the_discussion_when_it_is_resumed(
    client, make_agent, make_discussion
):
    agent = await make_agent(
        model="openai/fake?reply=We%20have%20a%20deal%20and%20more%20and%20more%20of%20it&delay_ms=150"
    )
    made = await make_discussion(agents=[agent], stop_when=[{"type": "phrase", "phrase": "a deal"}])
    async with watching(client, made.id) as viewer:
        await viewer.until(lambda event: event.type == "message.delta" and "and" in viewer.text)
        await client.post(f"/api/v1/discussions/{made.id}/interrupt")
        resumed = (await client.post(f"/api/v1/discussions/{made.id}/resume")).json()

    assert (resumed["status"], resumed["end_reason"]) == ("ended", "stop_condition")


async def test_a_format_comes_to_its_own_end(client, make_agent, make_discussion):
    table = [await make_agent(name) for name in ("One", "Two", "Three", "Four")]
    made = await make_discussion(
        participants=seats(*table), turn_policy={"type": "scripted", "format": "debate"}, limits={}
    )

    viewer = await watch_to_the_end(client, made.id, 30)

    assert made.limits["max_turns"] is None
    assert viewer.events[-1].data["end_reason"] == "stop_condition"
    assert len(viewer.checker.messages) > 12
