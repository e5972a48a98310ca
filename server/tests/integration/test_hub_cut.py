"""The hub loses its connection to Valkey, or gets no answer on it, while viewers come and go."""

import asyncio
import socket
import time
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from app.config import RedisSettings
from app.core.background import running
from app.core.cache import SEND_SECONDS, make_cache, make_channels
from app.services.live.bus import LiveBus
from app.services.live.hub import SUBSCRIBE_SECONDS, Hub
from app.services.live.position import Position
from app.services.live.streams import Standing
from app.services.live.viewer import Viewer
from tests.fixtures.deadlines import eventually
from tests.fixtures.engines import breakable_valkey

pytestmark = pytest.mark.anyio

CUTS = 6
VIEWERS = 150


class Quiet:
    """A log in which nothing happens."""

    async def after(self, discussion_id, after, limit):
        return []

    async def last_turn_event(self, discussion_id, upto):
        return None

    async def last_seqs(self, discussion_ids):
        return dict.fromkeys(discussion_ids, 1)


@pytest.fixture
async def make_hub():
    """A hub that runs on the Valkey of the settings, once it is connected."""
    async with AsyncExitStack() as stack:

        async def make(settings):
            channels, cache = make_channels(settings), make_cache(settings)
            stack.push_async_callback(cache.aclose)
            stack.push_async_callback(channels.aclose)
            hub = Hub(channels, LiveBus(cache, channels), Quiet())
            stack.push_async_callback(hub.close)
            await stack.enter_async_context(running(hub=hub.run))
            await eventually(lambda: hub._connection is not None, 10, "the connection")
            return hub

        yield make


def a_viewer():
    return Viewer(Standing(uuid4(), uuid4()), uuid4(), Position(0))


async def test_viewers_who_come_and_go_meanwhile_notice_nothing(settings, make_hub):
    hub = await make_hub(settings.redis)
    failures, visits = [], 0

    async def come_and_go():
        nonlocal visits
        while True:
            try:
                async with hub.following(a_viewer()):
                    await asyncio.sleep(0.002)
                visits += 1
            except Exception as error:
                failures.append(error)

    coming = [asyncio.create_task(come_and_go()) for _ in range(VIEWERS)]
    try:
        for _ in range(CUTS):
            await eventually(lambda: hub._connection is not None, 10, "the connection")
            await asyncio.sleep(0.1)
            hub._connection._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            await eventually(lambda: hub._connection is None, 10, "the cut")
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)

    assert visits > VIEWERS
    assert failures == []


async def test_nobody_is_kept_from_leaving_while_valkey_is_frozen(data_folder, make_hub):
    """What is said to it piles up, until there is no room for a goodbye either."""
    async with breakable_valkey(data_folder) as valkey:
        hub = await make_hub(RedisSettings(redis_url=valkey.url))
        hub._connection._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

        async def visit():
            async with hub.following(a_viewer()):
                pass

        began = time.monotonic()
        await asyncio.gather(*(visit() for _ in range(2000)))
        usual = time.monotonic() - began  # longer on a busy machine
        valkey.freeze()
        try:
            visits = [asyncio.create_task(visit()) for _ in range(2000)]
            over, stuck = await asyncio.wait(visits, timeout=2 * SUBSCRIBE_SECONDS + SEND_SECONDS + 3 * usual)
        finally:
            valkey.thaw()
        await asyncio.gather(*visits)

    assert len(stuck) == 0
    assert len(over) == 2000
