"""The hub loses its connection to Valkey again and again while viewers come and go."""

import asyncio
import socket
from contextlib import suppress
from uuid import uuid4

import pytest

from app.core.cache import make_cache, make_channels
from app.services.live.bus import LiveBus
from app.services.live.hub import Hub
from app.services.live.position import Position
from app.services.live.streams import Standing
from app.services.live.viewer import Viewer
from tests.fixtures.deadlines import eventually

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


async def test_viewers_who_come_and_go_meanwhile_notice_nothing(settings):
    channels, cache = make_channels(settings.redis), make_cache(settings.redis)
    hub = Hub(channels, LiveBus(cache, channels), Quiet())
    failures, visits = [], 0

    async def come_and_go():
        nonlocal visits
        while True:
            try:
                async with hub.following(Viewer(Standing(uuid4(), uuid4()), uuid4(), Position(0))):
                    await asyncio.sleep(0.002)
                visits += 1
            except Exception as error:
                failures.append(error)

    running = [asyncio.create_task(hub.run()), *(asyncio.create_task(come_and_go()) for _ in range(VIEWERS))]
    try:
        for _ in range(CUTS):
            await eventually(lambda: hub._connection is not None, 10, "the connection")
            await asyncio.sleep(0.1)
            hub._connection._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            await eventually(lambda: hub._connection is None, 10, "the cut")
    finally:
        for task in running:
            task.cancel()
        for task in running:
            with suppress(asyncio.CancelledError):
                await task
        await hub.close()
        await channels.aclose()
        await cache.aclose()

    assert visits > VIEWERS
    assert failures == []
