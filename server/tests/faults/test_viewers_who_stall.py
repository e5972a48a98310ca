"""Viewers who take nothing: they cost little, delay nobody, are told so, and come back without a gap."""

import asyncio
import socket
import statistics
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import orjson
import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed

from app.domain.discussion import Status
from tests.fixtures.raw_stream import open_raw
from tests.fixtures.socket import channel_of, socket_of, ticket_of
from tests.fixtures.viewer import Checker, Seen, watching, watching_from_the_start

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

CROWD = 20
WINDOW_BYTES = 4096
# A message of 60 KB as delta and as event, to be sent and once more in the connection, comes to 240 KiB; what the
# allocator keeps comes on top. A queue would be megabytes.
MOST_BYTES_EACH = 640 * 1024
LONGEST_DELAY_SECONDS = 1.0
SECONDS = 60


@pytest.fixture
def long_talk(make_agent, make_discussion):
    """A draft in which megabytes will be said, more than kernels hold for one who does not read."""

    async def make(turns=70):
        agent = await make_agent(model="openai/fake?tokens=2000&token_bytes=400", params={"max_tokens": 32000})
        return await make_discussion(status=Status.DRAFT, agents=[agent], limits={"max_turns": turns})

    return make


def address_of(discussion):
    return f"/api/v1/discussions/{discussion['id']}/events"


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def delays(http, discussion, viewer):
    """Seconds from when it was logged to when each message was seen."""
    page = (await http.get(address_of(discussion), params={"limit": 200})).json()
    logged = {event["seq"]: datetime.fromisoformat(event["created_at"]) for event in page["items"]}
    now, then = datetime.now(UTC), time.monotonic()
    return [
        event.at - then - (logged[event.position[0]] - now).total_seconds()
        for event in viewer.of_type("message.completed")
    ]


async def watched_by(there, owner, http, talk, *, stalled):
    """The talk from its start to its end among many others who watch it, or would if they read; how one saw it."""
    async with AsyncExitStack() as stack:
        for _ in range(CROWD):
            bearer = {"Authorization": f"Bearer {owner.access_token}"}
            one = await open_raw(there.url, address_of(talk), window_bytes=WINDOW_BYTES if stalled else None, **bearer)
            stack.callback(one.leave)
            if not stalled:
                stack.callback(asyncio.create_task(one.read_to_the_end(SECONDS)).cancel)
        async with watching_from_the_start(http, talk.id) as viewer:
            await viewer.until_ended(SECONDS)
        yield viewer


async def test_they_cost_little_and_delay_nobody(start_api, settings, owner, connect, long_talk):
    """Little more than as many who read: what those cost is known by then."""
    process, there = await start_api(settings)
    http = await connect(owner.access_token, at=there)
    async for _ in watched_by(there, owner, http, await long_talk(), stalled=False):
        before = resident_bytes(process.pid)

    talk = await long_talk()
    async for viewer in watched_by(there, owner, http, talk, stalled=True):
        grown = resident_bytes(process.pid) - before
        late = await delays(http, talk, viewer)

    assert sum(len(message["content"]) for message in viewer.checker.messages.values()) > 3_000_000
    assert statistics.median(late) < LONGEST_DELAY_SECONDS, late
    assert grown < CROWD * MOST_BYTES_EACH


@pytest.fixture
def impatient(make_arena):
    """Gives up on viewers who take nothing for a third of a second."""
    return make_arena(server={"stream_stall_seconds": 0.3})


async def test_a_stalled_stream_ends_by_saying_so_and_goes_on_without_a_gap(impatient, owner, connect, long_talk):
    talk = await long_talk()
    http = await connect(owner.access_token, at=impatient)
    bearer = {"Authorization": f"Bearer {owner.access_token}"}
    stalled = await open_raw(impatient.url, address_of(talk), window_bytes=WINDOW_BYTES, **bearer)
    try:
        async with watching_from_the_start(http, talk.id) as other:
            await other.until_ended(SECONDS)
        await stalled.read_to_the_end(SECONDS)
    finally:
        stalled.leave()

    assert stalled.is_whole
    seen = stalled.events
    assert seen[-1].type == "stream.lagged"
    assert Checker().replay(seen).position == seen[-1].position < other.checker.position
    async with watching(http, talk.id, last_event_id=seen[-1].id, knowing=seen) as back:
        await back.until_ended(SECONDS)
    assert back.checker.messages == other.checker.messages


async def test_a_stalled_socket_is_closed_by_saying_so_and_no_other_is(impatient, owner, connect, long_talk):
    talk = await long_talk()
    http = await connect(owner.access_token, at=impatient)
    async with stalled_socket(impatient.url, http, talk) as stalled, socket_of(owner, impatient.url) as other:
        await other.subscribe(talk)
        (await http.post(f"/api/v1/discussions/{talk.id}/start")).raise_for_status()
        await other.until_event(talk, "discussion.ended", SECONDS)
        frames = []
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(SECONDS):
                while True:
                    frames.append(orjson.loads(await stalled.recv()))

        assert stalled.close_code == 4408
        seen = [Seen(one["id"], one["event"], one["data"], 0.0) for one in frames if one["type"] == "event"]
        assert seen[-1].type == "stream.lagged"
        assert Checker().replay(seen).position == seen[-1].position
        assert (await other.answer_to({"type": "ping"}))["type"] == "pong"
    async with socket_of(owner, impatient.url) as back:
        await back.subscribe(talk, after=seen[-1].id, knowing=seen)
        await back.until_event(talk, "discussion.ended", SECONDS)
        assert back.checkers[channel_of(talk)].messages == other.checkers[channel_of(talk)].messages


def stalled_socket(url, http, talk):
    """A subscribed socket that reads nothing until it is told to."""

    class Opening:
        async def __aenter__(self):
            where = httpx2.URL(url)
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
            connection.connect((where.host, where.port))
            self._opened = connect_socket(
                f"{url.replace('http', 'ws', 1)}/api/v1/ws?ticket={await ticket_of(http)}",
                sock=connection,
                proxy=None,
                compression=None,
                max_size=None,
                max_queue=1,
                ping_interval=None,
                close_timeout=1,
            )
            opened = await self._opened.__aenter__()
            await opened.send(orjson.dumps({"type": "subscribe", "channel": channel_of(talk)}).decode())
            return opened

        async def __aexit__(self, *error):
            return await self._opened.__aexit__(*error)

    return Opening()
