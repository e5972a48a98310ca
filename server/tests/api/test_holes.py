"""Classes of holes that hit comparable products, each by its name: they are closed here, and stay so."""

import asyncio
from uuid import uuid4

import pytest

from app.domain.discussion import Status
from tests.factories.agents import agent_body
from tests.factories.discussions import discussion_body, seats
from tests.fixtures.problems import problem
from tests.fixtures.socket import channel_of, socket_of

pytestmark = pytest.mark.anyio

LIVE = {"Accept": "text/event-stream"}
PROMISED_SECONDS = 2.0


@pytest.fixture
async def foreign(stranger, make_agent, make_base, make_document, make_discussion):
    """One of everything, in a workspace that the owner has no part in."""
    base, agent = await make_base(by=stranger), await make_agent(by=stranger)
    talk = await make_discussion(by=stranger, status=Status.WAITING, agents=[agent])
    said = await stranger.http.post(f"/api/v1/discussions/{talk.id}/messages", json={"content": "Among us."})
    assert said.status_code == 201, said.text
    return {
        "agent_id": agent.id,
        "user_id": stranger.id,
        "base_id": base.id,
        "document_id": (await make_document(base=base, by=stranger)).id,
        "discussion_id": talk.id,
        "participant_id": talk.participants[0]["id"],
        "message_id": said.json()["message"]["id"],
    }


@pytest.fixture
async def own(make_agent, make_discussion):
    """The owner's agent, and a discussion that waits for its people."""
    agent = await make_agent()
    return agent, await make_discussion(status=Status.WAITING, agents=[agent])


async def test_idor_by_body_id_a_new_discussion_takes_nothing_of_others(client, own, foreign, owner, rows_of):
    agent, _ = own
    before = rows_of(owner)
    asked = [
        (discussion_body(participants=[{"agent_id": foreign["agent_id"]}]), 404, "agent_not_found"),
        (discussion_body(participants=[{"user_id": foreign["user_id"]}]), 404, "user_not_found"),
        (discussion_body(participants=[*seats(agent), {"user_id": foreign["user_id"]}]), 404, "user_not_found"),
        (
            discussion_body(participants=seats(agent), document_ids=[foreign["document_id"]]),
            404,
            "document_not_found",
        ),
    ]

    for body, status, code in asked:
        problem(await client.post("/api/v1/discussions", json=body), status, code)

    assert rows_of(owner) == before


async def test_idor_by_body_id_a_stand_in_is_none_of_others(client, own, foreign, owner, rows_of):
    before = rows_of(owner)
    seat = {"user_id": owner.id, "stand_in_agent_id": foreign["agent_id"]}

    response = await client.post("/api/v1/discussions", json=discussion_body(participants=[seat]))

    problem(response, 404, "agent_not_found")
    assert rows_of(owner) == before


async def test_idor_by_body_id_an_agent_is_given_no_knowledge_of_others(client, own, foreign, owner, rows_of):
    agent, _ = own
    before = rows_of(owner)
    knowing = {"knowledge_base_ids": [foreign["base_id"]]}

    problem(await client.post("/api/v1/agents", json=agent_body("Spy", **knowing)), 404, "knowledge_base_not_found")
    problem(await client.patch(f"/api/v1/agents/{agent.id}", json=knowing), 404, "knowledge_base_not_found")

    assert rows_of(owner) == before


async def test_idor_by_body_id_a_table_that_is_set_is_joined_by_nobody_elses(client, own, foreign, owner, rows_of):
    _, talk = own
    address = f"/api/v1/discussions/{talk.id}"
    before = rows_of(owner)

    for seat, code in (
        ({"agent_id": foreign["agent_id"]}, "agent_not_found"),
        ({"user_id": foreign["user_id"]}, "user_not_found"),
    ):
        problem(await client.post(f"{address}/participants", json=seat), 404, code)
        fork = {"participants": [seat], "start": False}
        problem(await client.post(f"{address}/fork", json=fork), 404, code)

    assert rows_of(owner) == before


async def test_idor_by_body_id_a_message_refers_to_nothing_of_others(client, own, foreign, owner, rows_of):
    """`reply_to`, `visible_to` and `participant_id`, by HTTP and by socket alike."""
    _, talk = own
    before = rows_of(owner)
    attempts = [
        ({"reply_to": foreign["message_id"]}, 422, "unknown_reply"),
        ({"visible_to": [foreign["participant_id"]]}, 422, "unknown_participant"),
        ({"participant_id": foreign["participant_id"]}, 404, "not_found"),
    ]
    async with socket_of(owner) as socket:
        for named, status, code in attempts:
            body = {"content": "Hello?", **named}
            problem(await client.post(f"/api/v1/discussions/{talk.id}/messages", json=body), status, code)
            told = await socket.answer_to({"type": "message", "channel": channel_of(talk), **body})
            assert (told["type"], told["code"]) == ("error", code)

    assert rows_of(owner) == before


async def test_idor_by_body_id_the_floor_goes_to_nobody_elses(client, foreign, make_discussion, owner, rows_of):
    talk = await make_discussion(status=Status.WAITING, turn_policy={"type": "manual"})
    before = rows_of(owner)

    for stranger in (foreign["participant_id"], str(uuid4())):
        response = await client.post(f"/api/v1/discussions/{talk.id}/floor", json={"participant": stranger})
        problem(response, 422, "unknown_participant")

    assert rows_of(owner) == before


async def test_idor_by_body_id_members_are_changed_in_ones_own_workspace_only(client, owner, stranger, sql):
    """Whoever is admin here names a workspace of others in the header, and in the address."""
    address = f"/api/v1/workspaces/{stranger.workspace_id}/members"
    own = {"X-Workspace-ID": owner.workspace_id}

    for headers in ({}, own):
        problem(await client.put(f"{address}/{owner.id}", json={"role": "owner"}, headers=headers), 404, "not_found")
        problem(await client.delete(f"{address}/{stranger.id}", headers=headers), 404, "not_found")

    assert sql("SELECT user_id::text FROM memberships WHERE workspace_id = %s", stranger.workspace_id) == [
        (stranger.id,)
    ]


async def test_stale_role_on_a_live_socket_does_not_write_and_does_not_read(client, owner, colleague, make_discussion):
    """By the API itself: a demotion takes the right to speak, a removal the channel, within two seconds."""
    waiting = await make_discussion(status=Status.WAITING)
    person = await colleague("member")
    address = f"/api/v1/workspaces/{owner.workspace_id}/members/{person.id}"
    async with socket_of(person) as socket:
        await socket.subscribe(waiting)
        speech = {"type": "message", "channel": channel_of(waiting), "content": "While I may.", "ref": "1"}
        assert (await socket.answer_to(speech))["type"] == "posted"

        assert (await client.put(address, json={"role": "viewer"})).status_code == 200
        await asyncio.sleep(PROMISED_SECONDS)
        refused = await socket.answer_to({**speech, "content": "While I may not.", "ref": "2"})
        assert (refused["type"], refused["code"]) == ("error", "forbidden")

        assert (await client.delete(address)).status_code == 204
        gone = await socket.until_error("not_found", PROMISED_SECONDS)
        assert gone["channel"] == channel_of(waiting)
        told = len(socket.events(waiting))
        said = await client.post(f"/api/v1/discussions/{waiting.id}/messages", json={"content": "Among ourselves."})
        assert said.status_code == 201
        again = await socket.answer_to({"type": "subscribe", "channel": channel_of(waiting), "ref": "3"})
        assert (again["type"], again["code"]) == ("error", "not_found")
        assert len(socket.events(waiting)) == told
    page = (await client.get(f"/api/v1/discussions/{waiting.id}/messages")).json()["items"]
    assert "While I may not." not in [message["content"] for message in page]


async def test_a_read_only_user_cannot_write_by_socket(owner, colleague, make_discussion, rows_of):
    waiting = await make_discussion(status=Status.WAITING)
    viewer = await colleague("viewer")
    before = rows_of(owner)
    async with socket_of(viewer) as socket:
        await socket.subscribe(waiting)
        seat = waiting.participants[0]["id"]
        for more in ({}, {"participant_id": seat}, {"visible_to": [seat]}):
            frame = {"type": "message", "channel": channel_of(waiting), "content": "I was here.", "ref": "1"}
            refused = await socket.answer_to(frame | more)
            assert (refused["type"], refused["code"]) == ("error", "forbidden")

    assert rows_of(owner) == before


async def test_a_stranger_cannot_read_an_sse_stream(stranger, owner, anonymous, make_discussion):
    """Not with their own token, not by naming the workspace, not with a stream token, not without any."""
    draft = await make_discussion(status=Status.DRAFT)
    address = f"/api/v1/discussions/{draft.id}/events"
    token = (await stranger.http.post("/api/v1/auth/stream-token")).json()["token"]
    there = {"X-Workspace-ID": owner.workspace_id}

    for headers in (LIVE, LIVE | there):
        problem(await stranger.http.get(address, headers=headers), 404, "not_found")
        problem(await anonymous.get(address, headers=headers, params={"stream_token": token}), 404, "not_found")
        problem(await anonymous.get(address, headers=headers), 401, "unauthenticated")
    problem(await stranger.http.get("/api/v1/notifications", headers=LIVE | there), 404, "not_found")
    async with socket_of(stranger) as socket:
        refused = await socket.answer_to({"type": "subscribe", "channel": channel_of(draft), "ref": "1"})
        assert (refused["type"], refused["code"]) == ("error", "not_found")
        assert socket.events(draft) == []


@pytest.mark.parametrize("tool", [{"command": "sh", "args": ["-c", "id"]}, "sh", "stdio:///bin/sh"])
async def test_caller_set_tool_command_is_refused(client, own, owner, rows_of, tool):
    agent, talk = own
    before = rows_of(owner)
    asked = [
        await client.post("/api/v1/agents", json=agent_body("Runner", tools=[tool])),
        await client.patch(f"/api/v1/agents/{agent.id}", json={"tools": [tool]}),
        await client.post("/api/v1/agents", json=agent_body("Runner", command="sh")),
        await client.post(f"/api/v1/discussions/{talk.id}/messages", json={"content": "Hello.", "tools": [tool]}),
    ]

    assert [answer.status_code for answer in asked] == [422] * 4
    assert rows_of(owner) == before
