"""The registry of open streams, and what a stream knows of how it is taken."""

import asyncio
from uuid import UUID

import pytest

from app.services.live.frames import Batch
from app.services.live.streams import OpenStreams, Standing, Stream

pytestmark = pytest.mark.anyio

STANDING = Standing(UUID(int=1), UUID(int=2))


async def test_a_stream_that_opens_while_the_server_stops_ends_at_once():
    streams = OpenStreams(rights=None, most_per_user=None, forget=None)
    streams.close()

    with streams.holding(stream := Stream(STANDING)):
        assert stream.is_over


@pytest.fixture
async def blocked():
    """A stream that was blocked for a while and takes everything at once by now."""
    stream, may_send = Stream(STANDING), asyncio.Event()

    async def take(batch):
        await may_send.wait()

    stream.take = take
    waiting = asyncio.create_task(stream.wait())
    await asyncio.sleep(0)
    stream.give(Batch())
    await asyncio.sleep(0.05)
    may_send.set()
    await waiting
    return stream


async def test_what_blocked_once_is_not_held_against_a_stream_again(blocked):
    assert blocked.blocked_seconds() >= 0.04
    assert blocked.blocked_seconds() == 0


async def test_what_blocked_once_is_not_held_against_a_stream_that_has_caught_up(blocked):
    blocked.give(Batch())

    assert blocked.blocked_seconds() == 0
