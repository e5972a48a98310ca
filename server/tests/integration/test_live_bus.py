"""What drivers push comes to viewers and is retained as far as it did, each message for itself."""

from datetime import UTC, datetime
from uuid import uuid4

import orjson
import pytest

from app.core.background import running
from app.core.cache import make_cache, make_channels
from app.domain.events import StoredEvent
from app.services.live.bus import _APPEND, MESSAGES_PER_CALL, LiveBus, LiveMessage, _keys, channel_of, decode_events
from tests.fixtures.deadlines import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cache(settings):
    async with make_cache(settings.redis) as cache:
        yield cache


@pytest.fixture
async def bus(settings, cache):
    """One that sends only when told to, so that all that was pushed before goes at once."""
    await cache.script_load(_APPEND)
    async with make_channels(settings.redis) as channels:
        yield LiveBus(cache, channels)


@pytest.fixture
async def told(cache):
    """What was published of a discussion, in its order, once there is so much of it."""
    heard: dict[bytes, list[bytes]] = {}
    async with cache.pubsub() as pubsub:
        await pubsub.psubscribe("arena:live1:*")
        assert (await pubsub.get_message(timeout=5))["type"] == "psubscribe"

        async def listen():
            async for message in pubsub.listen():
                heard.setdefault(message["channel"], []).append(message["data"])

        async def of(discussion_id, count):
            channel = channel_of(discussion_id).encode()
            await eventually(lambda: len(heard.get(channel, [])) >= count, 5, "what was published")
            return [
                decode_events(data[1:])[0].seq if data[:1] == b"E" else tuple(orjson.loads(data[1:])[2:])
                for data in heard[channel]
            ]

        async with running(listen=listen):
            yield of


def a_message():
    return LiveMessage(uuid4(), uuid4(), 1, 1)


def key_of(message):
    return _keys(message.discussion_id, message.message_id, message.attempt)[0]


def an_event(seq):
    return StoredEvent(seq, "turn.started", datetime.now(UTC).isoformat(), b"{}", None)


def say(bus, message, text):
    message.add(text)
    bus.push(message)


async def test_the_messages_of_many_discussions_are_told_each_in_its_order(bus, told):
    messages = [a_message() for _ in range(2 * MESSAGES_PER_CALL + 7)]
    for number, message in enumerate(messages):
        say(bus, message, f"ein ä {number} 🦊 ")
    assert [len(call.messages) for call in bus._calls(list(bus._outbox))] == [MESSAGES_PER_CALL] * 2 + [7]
    for number, message in enumerate(messages):
        bus.announce(message.discussion_id, [an_event(number + 1)])
    await bus.flush()
    for message in messages:
        say(bus, message, "und mehr")
    await bus.flush()

    for number, message in enumerate(messages):
        first = f"ein ä {number} 🦊 "
        assert await told(message.discussion_id, 3) == [(1, 0, first), number + 1, (1, len(first), "und mehr")]
        assert (await bus.retained(message.discussion_id, message.message_id, 1)).text == first + "und mehr"


async def test_one_that_is_refused_costs_the_others_of_its_call_nothing(bus, cache, told):
    before, sealed, emptied, after = (a_message() for _ in range(4))
    for message in (before, sealed, emptied, after):
        say(bus, message, "one ")
    await bus.flush()
    assert (await bus.seal(sealed.discussion_id, sealed.message_id, 1)).text == "one "
    await cache.set(key_of(emptied), b"on")

    for message in (before, sealed, emptied, after):
        say(bus, message, "two ")
    await bus.flush()
    assert sealed.sealed
    await bus.flush()  # what was out of step was pushed again, to be told from its beginning

    for message in (before, after):
        assert await told(message.discussion_id, 2) == [(1, 0, "one "), (1, 4, "two ")]
    assert await told(emptied.discussion_id, 2) == [(1, 0, "one "), (1, 0, "one two ")]
    assert (await bus.retained(emptied.discussion_id, emptied.message_id, 1)).text == "one two "
    assert await told(sealed.discussion_id, 1) == [(1, 0, "one ")]
    assert (await bus.retained(sealed.discussion_id, sealed.message_id, 1)).text == "one "


async def test_a_call_that_breaks_off_in_the_middle_is_told_again_with_the_next_text(bus, cache, told):
    whole, broken, never = (a_message() for _ in range(3))
    for message in (whole, broken, never):
        say(bus, message, "one ")
    await bus.flush()
    await cache.delete(key_of(broken))
    await cache.lpush(key_of(broken), "no text")

    for message in (whole, broken, never):
        say(bus, message, "two ")
    await bus.flush()
    await cache.delete(key_of(broken))
    for message in (whole, broken, never):
        say(bus, message, "three")
    await bus.flush()

    assert (await told(whole.discussion_id, 3))[-1] == (1, 0, "one two three")
    for message in (broken, never):
        assert await told(message.discussion_id, 2) == [(1, 0, "one "), (1, 0, "one two three")]
    for message in (whole, broken, never):
        assert (await bus.retained(message.discussion_id, message.message_id, 1)).text == "one two three"


async def test_a_valkey_that_has_forgotten_the_script_is_given_it_again(bus, cache, told):
    messages = [a_message() for _ in range(MESSAGES_PER_CALL + 1)]
    await cache.script_flush()
    for message in messages:
        say(bus, message, "said once")
    await bus.flush()
    await bus.flush()

    for message in messages:
        assert await told(message.discussion_id, 1) == [(1, 0, "said once")]
