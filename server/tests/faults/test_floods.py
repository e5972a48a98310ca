"""Whoever sends far more frames than anybody has to say waits; others do not."""

import asyncio
import time
from contextlib import asynccontextmanager

import orjson
import pytest

from app.core.paced_websocket import FRAMES_PER_SECOND
from tests.fixtures.raw_socket import BINARY, CONTINUATION, PING, TEXT, frame, long_frame, raw_socket
from tests.fixtures.socket import socket_of

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

SECONDS = 1.5
LONGEST_WAIT_SECONDS = 0.5  # before, one read of a flood took seconds
PONG = b"\x8a\x00"


FLOODS = {
    "pings": (b"", frame(b'{"type":"ping"}', TEXT)),
    "no JSON": (b"", frame(b"x", TEXT)),
    "binary": (b"", frame(b"", BINARY)),
    "a channel that is none": (b"", frame(b'{"type":"subscribe","channel":"a"}', TEXT)),
    "pings of the protocol": (b"", frame(b"", PING)),
    "a message in endless pieces": (frame(b"", TEXT, is_last=False), frame(b"", CONTINUATION, is_last=False)),
}
"""What comes first, and then again and again."""


@asynccontextmanager
async def flooding(url, person, opening, flood):
    """Send it as fast as it is taken, while the block runs; gives how many bytes were."""
    sent = [0]

    async def send(writer):
        many = flood * (8192 // len(flood))
        while True:
            writer.write(many)
            await writer.drain()
            sent[0] += len(many)

    async def read(reader):
        while await reader.read(65536):
            pass

    async with raw_socket(url, person) as (reader, writer):
        writer.write(opening)
        tasks = [asyncio.create_task(send(writer)), asyncio.create_task(read(reader))]
        try:
            yield sent
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def slowest_answer(http, seconds):
    slowest, ends_at = 0.0, time.monotonic() + seconds
    while (asked_at := time.monotonic()) < ends_at:
        assert (await http.get("/healthz")).status_code == 200
        slowest = max(slowest, time.monotonic() - asked_at)
        await asyncio.sleep(0.01)
    return slowest


@pytest.fixture
async def there(start_api, settings):
    _process, there = await start_api(settings)
    return there


@pytest.fixture
async def person(there, make_user):
    return await make_user(at=there)


async def test_a_flood_of_frames_holds_up_nobody_else(there, person):
    for name, (opening, flood) in FLOODS.items():
        async with flooding(there.url, person, opening, flood) as sent:
            slowest = await slowest_answer(person.http, SECONDS)

        assert slowest < LONGEST_WAIT_SECONDS, name
        assert sent[0] / len(flood) > FRAMES_PER_SECOND, f"{name}: no more came than anybody may send"


async def test_frames_that_come_a_few_at_a_time_keep_the_pace_too_and_owe_it_nothing_later(there, person):
    few, began = 20, time.monotonic()
    async with raw_socket(there.url, person) as (reader, writer):
        taken = 0
        while taken <= 2 * FRAMES_PER_SECOND:
            writer.write(frame(b"", PING) * few)
            assert await reader.readexactly(few * len(PONG)) == PONG * few
            taken += few
        allowed = FRAMES_PER_SECOND * (1 + time.monotonic() - began)  # a second's worth may come at once
        text = orjson.dumps({"type": "ping", "ref": "r", "x": "y" * 70_000})
        asked_at = time.monotonic()
        writer.write(long_frame(text))
        assert (await reader.readexactly(1))[0] & 0x0F == TEXT
        answered_after = time.monotonic() - asked_at

    assert taken <= allowed + few
    assert answered_after < LONGEST_WAIT_SECONDS


async def test_frames_that_came_at_once_are_all_answered_in_order(there, person):
    count = 3 * FRAMES_PER_SECOND
    async with socket_of(person, there.url) as socket:
        for number in range(count):
            await socket.send({"type": "ping", "ref": str(number)})
        await socket.until(lambda: len(socket.of_type("pong")) == count, seconds=20)

    assert [pong["ref"] for pong in socket.of_type("pong")] == [str(number) for number in range(count)]


async def test_a_frame_in_many_packets_is_read_as_one(there, person):
    async with socket_of(person, there.url) as socket:
        answer = await socket.answer_to(orjson.dumps({"type": "ping", "ref": "r" * 64, "x": "é" * 300_000}).decode())

    assert answer["type"] in {"pong", "error"}
