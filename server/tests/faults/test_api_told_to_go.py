"""An API replica is told to go: its viewers are told when to come back, and see the whole at another."""

import asyncio
import re
import signal
import time
from contextlib import AsyncExitStack

import pytest

from app.cli.api import DRAIN_SECONDS
from tests.fixtures.raw_stream import raw_stream
from tests.fixtures.socket import channel_of, socket_of
from tests.fixtures.viewer import watching

pytestmark = pytest.mark.anyio

SECONDS_FOR_THE_MACHINE = 5
TOLD_TO_GO = {0, -signal.SIGTERM}


@pytest.fixture
async def doomed(settings, start_api):
    """A replica of the shared installation, in a process of its own."""
    return await start_api(settings)


def address_of(discussion):
    return f"/api/v1/discussions/{discussion['id']}/events"


async def test_viewers_of_a_replica_that_is_told_to_go_see_the_whole_at_another(
    doomed, owner, client, make_agent, make_discussion
):
    process, there = doomed
    bearer = {"Authorization": f"Bearer {owner.access_token}"}
    agent = await make_agent(model="openai/fake?tokens=160&delay_ms=40&unicode")
    talk = await make_discussion(agents=[agent], limits={"max_turns": 1})
    draft = await make_discussion(status="draft")
    async with AsyncExitStack() as stack:
        busy, silent, notices = [
            await stack.enter_async_context(raw_stream(there.url, path, **bearer))
            for path in (address_of(talk), address_of(draft), "/api/v1/notifications")
        ]
        socket, idle = [await stack.enter_async_context(socket_of(owner, there.url)) for _ in range(2)]
        await socket.subscribe(talk)
        await busy.read_until(b"event: message.delta")
        await silent.read_until(b"event: discussion.created")
        await notices.read_until(b"retry:")
        await socket.until_event(talk, "message.delta")

        told = time.monotonic()
        process.terminate()
        await asyncio.gather(*(stream.read_to_the_end(DRAIN_SECONDS) for stream in (busy, silent, notices)))
        codes = [await one.until_closed(DRAIN_SECONDS) for one in (socket, idle)]
        assert await asyncio.to_thread(process.wait, DRAIN_SECONDS + SECONDS_FOR_THE_MACHINE) in TOLD_TO_GO
        assert time.monotonic() - told < DRAIN_SECONDS + SECONDS_FOR_THE_MACHINE

        assert codes == [1012, 1012]
        for stream in (busy, silent, notices):
            assert stream.is_whole
            [*_, last] = stream.body.decode().removesuffix("\n\n").split("\n\n")
            back_after = re.fullmatch(r"retry: (\d+)", last)
            assert back_after, last
            assert 500 <= int(back_after[1]) <= 2500
        seen, shown = busy.events, socket.events(talk)
        assert {"message.completed"}.isdisjoint(event.type for event in (*seen, *shown)), "it was still speaking"

    async with (
        watching(client, talk.id, last_event_id=seen[-1].id, knowing=seen) as viewer,
        socket_of(owner) as socket,
    ):
        await socket.subscribe(talk, after=shown[-1].id, knowing=shown)
        await viewer.until_ended()
        await socket.until_event(talk, "discussion.ended")
        assert len(viewer.checker.shown_whole) == len(socket.checkers[channel_of(talk)].shown_whole) == 1
