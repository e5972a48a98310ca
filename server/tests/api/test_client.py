"""The asynchronous client and the real server understand each other; the commands show it of the blocking one."""

import asyncio
from uuid import uuid4

import pytest

from app.domain.discussion import Status
from arena_client import ArenaProblem, AsyncArenaClient
from tests.fixtures.people import PASSWORD

pytestmark = pytest.mark.anyio


async def test_a_discussion_is_opened_followed_and_read(arena, make_model):
    model = make_model("tokens=8&delay_ms=20")
    email = f"async-{uuid4().hex}@arena.example"
    async with AsyncArenaClient(arena.url) as client:
        await client.register(email, PASSWORD, "Ada")
        await client.login(email, PASSWORD)
        agents = [await client.agents.create(name, model=model.name) for name in ("Optimist", "Skeptic")]
        discussion = await client.discussions.create(
            "Should we go remote?", [agent.id for agent in agents], limits={"max_turns": 2}, start=False
        )

        stream = client.discussions.stream(discussion.id)
        await client.discussions.start(discussion.id)
        events = [event async for event in stream]

        spoken = [event.data for event in events if event.event == "message.completed"]
        deltas = [event.data for event in events if event.event == "message.delta"]
        last = "".join(delta["text"] for delta in deltas if delta["message_id"] == spoken[-1]["id"])
        assert last == spoken[-1]["content"]
        messages = [message.content async for message in client.discussions.messages(discussion.id)]
        assert messages == [message["content"] for message in spoken]
        assert {agent.id async for agent in client.agents.list()} == {agent.id for agent in agents}
        assert (await client.discussions.get(discussion.id)).end_reason == "max_turns"


async def test_notifications_are_followed_and_go_on_behind_any_of_them(arena, owner, make_discussion):
    async with AsyncArenaClient(arena.url, owner.access_token) as client:
        async with client.notifications() as notices:
            first_told = asyncio.create_task(anext(notices))
            await asyncio.sleep(0.5)  # it tells of what comes once it is open
            first = await make_discussion(status=Status.DRAFT)
            told = await asyncio.wait_for(first_told, 10)
        second = await make_discussion(status=Status.DRAFT)
        async with client.notifications(after=told.id) as notices:
            later = await asyncio.wait_for(anext(notices), 10)

    assert (told.event, told.data["discussion_id"]) == ("discussion.created", first.id)
    assert (later.event, later.data["discussion_id"]) == ("discussion.created", second.id)


async def test_a_logout_ends_the_session_and_its_streams(arena, owner, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    async with AsyncArenaClient(arena.url) as client:
        await client.login(owner.email, PASSWORD)
        async with client.discussions.stream(draft.id) as stream:
            assert (await anext(stream)).event == "discussion.created"
            await client.logout()
            with pytest.raises(ArenaProblem) as refused:
                await asyncio.wait_for(anext(stream), 10)
        assert refused.value.status == 401
