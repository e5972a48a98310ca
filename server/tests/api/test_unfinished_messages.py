"""What a socket's client begins to say and does not end costs others nothing: neither time, memory nor connections."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from app.core import paced_websocket
from app.core.door import GuardedHttp
from app.core.paced_websocket import PacedWebSocket
from app.domain.discussion import Status
from tests.fixtures.deadlines import eventually
from tests.fixtures.raw_request import raw_connection
from tests.fixtures.raw_socket import CONTINUATION, PING, TEXT, close_code, frame, long_frame, raw_socket
from tests.fixtures.socket import socket_of

pytestmark = pytest.mark.anyio

LONG = long_frame(b"x" * 1_000_000)
BEGINNINGS = {
    "half a frame": LONG[:500_000],
    "half a head": LONG[:5],
    "a piece of a message": frame(b"{", TEXT, is_last=False),
    "a message and half of another": frame(b'{"type":"ping"}', TEXT) + LONG[:300],
}


@pytest.fixture
def hurried(make_arena):
    """An installation where everything has to arrive within half a second."""
    return make_arena(server={"request_body_seconds": 0.5})


@pytest.fixture
async def person(hurried, make_user):
    return await make_user(at=hurried)


ODD_HANDSHAKES = {
    "a long address": (b"GET /api/v1/ws?ticket=" + b"x" * 9_000 + b" HTTP/1.1\r\n", 414, "uri_too_long"),
    "a long header": (b"GET /api/v1/ws HTTP/1.1\r\nX-Long: " + b"x" * 9_000 + b"\r\n", 431, "headers_too_large"),
    "a body": (b"GET /api/v1/ws HTTP/1.1\r\nContent-Length: 5\r\n", 400, "malformed_request"),
    "a body in chunks": (b"GET /api/v1/ws HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 400, "malformed_request"),
}
HANDSHAKE = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize(("head", "status", "code"), ODD_HANDSHAKES.values(), ids=ODD_HANDSHAKES)
async def test_a_handshake_that_the_library_does_not_take_is_refused(arena, head, status, code):
    async with raw_connection(arena.url) as connection:
        await connection.send(head + HANDSHAKE)

        (await connection.answer(3)).problem(status, code)
        assert await connection.is_closed(3)


@pytest.mark.parametrize(("head", "status", "code"), ODD_HANDSHAKES.values(), ids=ODD_HANDSHAKES)
async def test_a_handshake_that_only_the_library_finds_wrong_is_closed(arena, monkeypatch, head, status, code):
    monkeypatch.setattr(GuardedHttp, "_check_handshake", lambda self: None)
    async with raw_connection(arena.url) as connection:
        await connection.send(head + HANDSHAKE)

        assert b" 101 " not in await connection.rest(3)
        assert await connection.is_closed(0.1)


async def test_a_handshake_behind_an_unanswered_request_is_refused(arena, owner, make_discussion):
    talk = await make_discussion(status=Status.WAITING)
    head = f"GET /api/v1/discussions/{talk.id}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
    async with raw_connection(arena.url) as connection:
        await connection.send(f"{head}Authorization: Bearer {owner.access_token}\r\n\r\n".encode())
        assert (await connection.line()).startswith(b"HTTP/1.1 200 ")
        await connection.send(b"GET /api/v1/ws HTTP/1.1\r\n" + HANDSHAKE)

        assert b" 101 " not in await connection.rest(1)


async def test_who_reads_no_answers_is_asked_nothing_more(arena, owner, monkeypatch):
    kept = []
    handle_ping = PacedWebSocket.handle_ping

    def handle_and_look(self):
        handle_ping(self)
        kept.append(self.transport.get_write_buffer_size())

    monkeypatch.setattr(PacedWebSocket, "handle_ping", handle_and_look)
    async with raw_socket(arena.url, owner, receive_bytes=4096) as (_reader, writer):
        flood = frame(b"x" * 125, PING) * 500
        with suppress(TimeoutError):
            async with asyncio.timeout(15):
                while True:
                    writer.write(flood)
                    await writer.drain()

    assert 64 * 1024 < max(kept) < 128 * 1024, "it was never full, or is filled on"


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
async def test_a_message_that_does_not_end_is_given_up(hurried, person, beginning):
    async with raw_socket(hurried.url, person) as (reader, writer):
        writer.write(beginning)

        async with asyncio.timeout(3):
            assert await close_code(reader) == 4408


@pytest.mark.parametrize("piece", [frame(b"", CONTINUATION, is_last=False), frame(b"x", CONTINUATION, is_last=False)])
async def test_pieces_without_an_end_win_no_time(hurried, person, piece):
    async def trickle(writer):
        while True:
            writer.write(piece)
            await asyncio.sleep(0.05)

    async with raw_socket(hurried.url, person) as (reader, writer):
        writer.write(frame(b"{", TEXT, is_last=False))
        trickling = asyncio.create_task(trickle(writer))
        try:
            async with asyncio.timeout(3):
                assert await close_code(reader) == 4408
        finally:
            trickling.cancel()


async def test_between_messages_nobody_is_in_a_hurry(hurried, person):
    async with socket_of(person, hurried.url) as socket:
        for _ in range(3):
            assert (await socket.answer_to({"type": "ping"}))["type"] == "pong"
            await asyncio.sleep(0.7)


async def test_of_unfinished_messages_a_process_keeps_only_so_much(arena, owner, monkeypatch):
    monkeypatch.setattr(paced_websocket, "HELD_BYTES", 1_000_000)
    async with raw_socket(arena.url, owner) as one, raw_socket(arena.url, owner) as another:
        for _reader, writer in (one, another):
            writer.write(LONG[:600_000])

        ended = [asyncio.create_task(close_code(reader)) for reader, _writer in (one, another)]
        done, waiting = await asyncio.wait(ended, timeout=2)
        assert [task.result() for task in done] == [4503]
        async with socket_of(owner, arena.url) as socket:
            assert (await socket.answer_to({"type": "ping"}))["type"] == "pong"
        for task in waiting:
            task.cancel()


async def test_what_was_kept_is_free_again_when_its_sender_leaves(arena, owner, monkeypatch):
    monkeypatch.setattr(paced_websocket, "HELD_BYTES", 1_000_000)
    for _ in range(4):
        async with raw_socket(arena.url, owner) as (_reader, writer):
            writer.write(LONG[:600_000])
            await writer.drain()
            await asyncio.sleep(0.1)

    async with socket_of(owner, arena.url) as socket:
        assert (await socket.answer_to({"type": "ping", "ref": "r" * 64, "x": "y" * 900_000}))["type"] in {
            "pong",
            "error",
        }


async def test_sockets_count_among_the_connections_of_their_address(make_arena, make_user):
    arena = make_arena(server={"max_connections": 60})
    person = await make_user(at=arena)
    async with AsyncExitStack() as held:
        for _ in range(28):
            await held.enter_async_context(raw_socket(arena.url, person))

        for _ in range(2):
            await held.enter_async_context(raw_connection(arena.url))
        async with raw_connection(arena.url) as connection:
            (await connection.answer(2)).problem(503, "overloaded")

    async def is_let_in():
        async with raw_connection(arena.url) as connection:
            await connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return (await connection.answer()).status == 200

    await eventually(is_let_in)
