"""The asynchronous client and the real server understand each other; the commands show it of the blocking one."""

from uuid import uuid4

import pytest

from arena_client import AsyncArenaClient
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
