"""Viewers come and go by the thousand, politely or not, and leave nothing behind."""

import asyncio
import gc
from pathlib import Path
from uuid import UUID

import pytest
from redis.asyncio import from_url

from app.domain.discussion import Status
from app.services.live.bus import channel_of
from tests.fixtures.deadlines import eventually
from tests.fixtures.raw_stream import open_raw
from tests.fixtures.socket import socket_of

pytestmark = pytest.mark.anyio

WAVE, WAVES = 250, 20
SOCKETS_A_WAVE = 5
MOST_BYTES_GROWN = 8 * 1024 * 1024  # of five thousand viewers: less than 2 KiB each, and that is what allocators do


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def come_and_go(url, person, drafts):
    """A wave of streams, sockets and listeners, all open at once; every other one leaves without a word."""
    bearer = {"Authorization": f"Bearer {person.access_token}"}
    paths = ["/api/v1/notifications", *(f"/api/v1/discussions/{draft.id}/events" for draft in drafts)]
    streams = [await open_raw(url, paths[number % len(paths)], **bearer) for number in range(WAVE)]
    try:
        for stream in streams[: WAVE // 2]:  # the others leave before they were answered, or at whatever moment
            await stream.read_until(b"retry:")
        for _ in range(SOCKETS_A_WAVE):
            async with socket_of(person, url) as socket:
                for draft in drafts:
                    await socket.subscribe(draft)
                socket.cut()
    finally:
        for number, stream in enumerate(streams):
            if number % 2:
                stream.cut()
            else:
                stream.leave()


@pytest.fixture
async def drafts(make_discussion, make_agent):
    agents = [await make_agent()]
    return [await make_discussion(status=Status.DRAFT, agents=agents) for _ in range(5)]


async def test_no_task_no_watch_and_no_subscription_is_left(make_arena, portal, owner, drafts, settings):
    place = make_arena()
    services = place.app.state.services

    async def look():
        gc.collect()
        # Connections that are being closed have tasks of the server's own for a moment.
        return len(asyncio.all_tasks()), len(services.streams), len(services.hub._watches)

    async def is_heard(draft):
        async with from_url(settings.redis.redis_url.get_secret_value()) as valkey:
            [(_, listeners)] = await valkey.pubsub_numsub(channel_of(UUID(draft.id)))
            return listeners > 0

    async def is_silent(draft):
        return not await is_heard(draft)

    async with socket_of(owner, place.url) as socket:
        await socket.subscribe(drafts[0])
        await eventually(lambda: is_heard(drafts[0]), 5, "a listener")
    await come_and_go(place.url, owner, drafts)
    await eventually(lambda: len(services.streams) == 0, 20, "the end of the first wave")
    before = portal.call(look)
    for _ in range(2):
        await come_and_go(place.url, owner, drafts)
    await eventually(lambda: len(services.streams) == 0, 20, "the end of the last wave")

    def is_as_before():
        tasks, streams, watches = portal.call(look)
        return tasks <= before[0] + 2 and (streams, watches) == (0, 0)

    await eventually(is_as_before, 10, "the end of the last tasks")
    for draft in drafts:
        await eventually(lambda draft=draft: is_silent(draft), 5, "the end of its subscription")


async def test_five_thousand_viewers_later_the_process_is_no_larger(start_api, settings, owner, drafts):
    process, there = await start_api(settings)
    for _ in range(2):  # what is made once is made by then
        await come_and_go(there.url, owner, drafts)
    before = resident_bytes(process.pid)

    for _ in range(WAVES):
        await come_and_go(there.url, owner, drafts)

    assert resident_bytes(process.pid) - before < MOST_BYTES_GROWN
