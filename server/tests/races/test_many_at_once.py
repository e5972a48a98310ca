"""Many people do the same thing at once: one of them wins, or all do in some order; never a bit of both."""

import asyncio
import random

import pytest

from app.domain.discussion import Status
from tests.factories.agents import agent_body
from tests.fixtures.databases import rows
from tests.fixtures.viewer import watching

pytestmark = pytest.mark.anyio


async def at_once(*calls):
    return await asyncio.gather(*calls)


def codes(responses):
    return sorted(response.status_code for response in responses)


async def log_of(client, discussion):
    items, after = [], 0
    while page := (await _page(client, discussion, after)):
        items += page
        after = page[-1]["seq"]
    return items


async def _page(client, discussion, after):
    query = {"after": after, "limit": 200}
    return (await client.get(f"/api/v1/discussions/{discussion.id}/events", params=query)).json()["items"]


def check_log(log):
    """No gap, no double, and an end only at the end."""
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    said = [event["data"] for event in log if event["type"] == "message.completed"]
    assert len({message["id"] for message in said}) == len(said)
    assert all(message["seq"] == event["seq"] for message, event in zip(said, _completed(log), strict=True))
    turns = [message["turn"] for message in said if message["turn"] is not None]
    assert turns == list(range(1, len(turns) + 1))
    ends = [event["seq"] for event in log if event["type"] == "discussion.ended"]
    assert ends in ([], [len(log)])


def _completed(log):
    return [event for event in log if event["type"] == "message.completed"]


async def test_twenty_messages_at_once_while_agents_speak_all_find_their_place(client, make_agent, make_discussion):
    agents = [await make_agent(name, model="openai/fake?tokens=10&delay_ms=8") for name in ("One", "Two")]
    discussion = await make_discussion(status=Status.DRAFT, agents=agents, limits={"max_turns": 12})
    address = f"/api/v1/discussions/{discussion.id}/messages"
    async with watching(client, discussion.id) as viewer:
        await viewer.until("discussion.created")
        await client.post(f"/api/v1/discussions/{discussion.id}/start")
        await viewer.until("message.delta")
        said = await at_once(*(client.post(address, json={"content": f"Word {n}"}) for n in range(20)))
        await viewer.until_ended(30)

    assert codes(said) == [201] * 20
    log = await log_of(client, discussion)
    check_log(log)
    people = [event["data"]["content"] for event in _completed(log) if event["data"]["turn"] is None]
    assert sorted(people) == sorted(f"Word {n}" for n in range(20))
    assert sorted(response.json()["message"]["seq"] for response in said) == [
        event["seq"] for event in _completed(log) if event["data"]["turn"] is None
    ]
    listed = (await client.get(address, params={"limit": 200})).json()["items"]
    assert listed == [event["data"] for event in _completed(log)]
    assert len(viewer.checker.shown_whole) == 12


async def test_a_first_message_sent_ten_times_at_once_gives_one_guests_seat(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    address = f"/api/v1/discussions/{draft.id}/messages"

    said = await at_once(*(client.post(address, json={"content": "Me!"}) for _ in range(10)))

    assert codes(said) == [201] * 10
    assert len({response.json()["message"]["participant_id"] for response in said}) == 1
    check_log(await log_of(client, draft))


async def test_of_many_answers_of_who_has_the_floor_the_first_takes_the_turn(client, make_discussion):
    waiting = await make_discussion(status=Status.WAITING, limits={"max_turns": 1})
    address = f"/api/v1/discussions/{waiting.id}/messages"

    said = await at_once(*(client.post(address, json={"content": "Me!"}) for _ in range(8)))

    assert codes(said) == [201] + [409] * 7
    assert {response.json().get("code") for response in said} == {None, "discussion_ended"}
    check_log(await log_of(client, waiting))


async def test_a_draft_started_ten_times_at_once_starts_once(client, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    async with watching(client, draft.id) as viewer:
        started = await at_once(*(client.post(f"/api/v1/discussions/{draft.id}/start") for _ in range(10)))
        await viewer.until_ended()

    assert codes(started) == [200] + [409] * 9
    assert len(viewer.of_type("discussion.started")) == 1
    assert len(viewer.of_type("turn.started")) == 2


async def test_a_discussion_stopped_five_times_at_once_ends_once(client, make_agent, make_discussion):
    discussion = await make_discussion(agents=[await make_agent(model="openai/fake?endless&delay_ms=10")])
    async with watching(client, discussion.id) as viewer:
        await viewer.until("message.delta")
        stopped = await at_once(*(client.post(f"/api/v1/discussions/{discussion.id}/stop") for _ in range(5)))
        await viewer.until_ended()

    assert set(codes(stopped)) <= {200, 409}
    assert codes(stopped).count(200) == 1
    check_log(await log_of(client, discussion))


async def test_of_fifty_agents_that_want_one_handle_one_gets_it(client, fresh_database):
    body = agent_body(handle="critic")

    made = await at_once(*(client.post("/api/v1/agents", json=body) for _ in range(50)))

    assert codes(made) == [201] + [409] * 49
    assert {response.json().get("code") for response in made} == {None, "handle_taken"}
    assert rows(fresh_database, "SELECT count(*) FROM agents") == [(1,)]
    assert rows(fresh_database, "SELECT count(*) FROM agent_versions") == [(1,)]


async def test_agents_of_one_name_made_at_once_get_handles_of_their_own(client):
    """Who asks for no handle is given a free one, whoever else asks at that moment."""
    made = await at_once(*(client.post("/api/v1/agents", json=agent_body("Skeptic")) for _ in range(12)))

    assert codes(made) == [201] * 12
    assert len({response.json()["handle"] for response in made}) == 12


async def test_an_address_registered_ten_times_at_once_is_one_account(connect, place, fresh_database):
    visitor = await connect(at=place)
    body = {"email": "one@arena.example", "password": "seventeen purple elephants", "display_name": "One"}

    made = await at_once(*(visitor.post("/api/v1/auth/register", json=body) for _ in range(10)))

    assert codes(made) == [201] + [409] * 9
    assert rows(fresh_database, "SELECT count(*) FROM users WHERE email = 'one@arena.example'") == [(1,)]


async def test_a_refresh_token_used_ten_times_at_once_gives_one_pair_and_ends_the_session(connect, place, owner):
    visitor = await connect(at=place)
    form = {"grant_type": "refresh_token", "refresh_token": owner.refresh_token}

    answers = await at_once(*(visitor.post("/api/v1/auth/token", data=form) for _ in range(10)))

    assert codes(answers) == [200] + [401] * 9
    [pair] = [answer.json() for answer in answers if answer.status_code == 200]
    again = await visitor.post("/api/v1/auth/token", data={**form, "refresh_token": pair["refresh_token"]})
    assert again.status_code == 401


async def test_a_stop_at_any_moment_of_a_turn_leaves_a_whole_log(client, make_agent, make_discussion, make_model):
    """Before, within and after the commit of a turn: whoever comes first, the log and the rows agree."""
    moments = random.Random(2).sample(range(120), 30)

    async def stop_after(milliseconds):
        model = make_model("tokens=6&delay_ms=2")
        table = [await make_agent(model=model.name)]
        discussion = await make_discussion(status=Status.DRAFT, agents=table, limits={"max_turns": 4})
        async with watching(client, discussion.id) as viewer:
            await client.post(f"/api/v1/discussions/{discussion.id}/start")
            await asyncio.sleep(milliseconds / 1000)
            response = await client.post(f"/api/v1/discussions/{discussion.id}/stop")
            await viewer.until_ended()
        return discussion, response, viewer, model

    for discussion, response, viewer, model in await at_once(*map(stop_after, moments)):
        shown = (await client.get(f"/api/v1/discussions/{discussion.id}")).json()
        log = await log_of(client, discussion)
        check_log(log)
        assert response.status_code in {200, 409}
        assert shown["end_reason"] == ("stopped" if response.status_code == 200 else "max_turns")
        assert (shown["status"], shown["last_seq"]) == ("ended", len(log))
        assert shown["turn"] == len(viewer.checker.messages) == len(viewer.checker.shown_whole)
        for message in viewer.checker.messages.values():
            whole = model.reply(message["turn"] - 1)
            assert message["content"] == (
                whole if message["status"] == "complete" else whole[: len(message["content"])]
            )


async def test_a_discussion_deleted_while_all_speak_leaves_nothing(client, make_agent, make_discussion, fresh_database):
    discussion = await make_discussion(agents=[await make_agent(model="openai/fake?tokens=50&delay_ms=5")])
    address = f"/api/v1/discussions/{discussion.id}"

    said = [client.post(f"{address}/messages", json={"content": "Word"}) for _ in range(10)]
    answers = await at_once(*said[:5], client.delete(address), *said[5:])

    assert set(codes(answers)) <= {201, 204, 404}
    for table in ("discussions", "participants", "messages", "discussion_events", "turns"):
        assert rows(fresh_database, f"SELECT count(*) FROM {table}") == [(0,)]


async def test_many_discussions_at_once_all_come_to_their_end(client, make_agent, make_discussion, fresh_database):
    agents = [await make_agent(name, model="openai/fake?tokens=8") for name in ("One", "Two")]

    async def run():
        discussion = await make_discussion(agents=agents, limits={"max_turns": 6})
        async with watching(client, discussion.id) as viewer:
            await viewer.until_ended(60)
        return viewer

    viewers = await at_once(*(run() for _ in range(30)))

    assert [len(viewer.checker.messages) for viewer in viewers] == [6] * 30
    assert rows(fresh_database, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'") == [(0,)]
