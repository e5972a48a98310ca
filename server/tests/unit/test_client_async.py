"""What only an asynchronous client can do: be cancelled, at any moment, without a trace or a loss."""

import asyncio
import json
import threading
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from arena_client import AsyncArenaClient, backoff
from tests.fixtures.scripted_server import Reply, Stream, frame, refusal

pytestmark = pytest.mark.anyio

EVENTS = "/discussions/d1/events"
FIRST = frame("1", "turn.started")
ENDED = frame("9", "discussion.ended", end_reason="max_turns")
ME = {"id": "u1", "email": "a@b.example", "display_name": "A", "is_superuser": False, "workspaces": []}
ME |= {"created_at": "2026-01-01T00:00:00Z"}


@pytest.fixture(autouse=True)
def without_much_waiting(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.01)


@pytest.fixture
async def client(server):
    async with AsyncArenaClient(server.url, "token") as client:
        yield client


@asynccontextmanager
async def listening(answer):
    """A server made of `answer(reader, writer)`, and its address."""
    server = await asyncio.start_server(answer, "127.0.0.1")
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def goes(left):
    """Whether the other side sees the connection go, soon."""
    return await asyncio.to_thread(left.wait, 2)


async def test_a_task_that_is_cancelled_while_it_waits_releases_the_connection(server, client):
    server.on("GET", EVENTS, Stream([FIRST], then="hold"))
    stream = client.discussions.stream("d1")
    await anext(stream)
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.05)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await goes(server.left)


async def test_whoever_gave_up_waiting_may_ask_again_and_misses_nothing(server, client):
    server.on("GET", EVENTS, Stream([FIRST], then="hold"), Stream([FIRST, frame("2", "turn.failed"), ENDED]))
    stream = client.discussions.stream("d1")
    seen = [(await anext(stream)).id]

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(stream)
    seen += [event.id async for event in stream]

    assert seen == ["1", "2", "9"]
    assert [asked.headers.get("last-event-id") for asked in server.of(EVENTS)] == [None, "1"]


async def test_a_task_that_waits_to_try_again_can_be_cancelled(server, client):
    server.on("GET", EVENTS, refusal(503, "unavailable", **{"Retry-After": "30"}))
    waiting = asyncio.create_task(anext(client.discussions.stream("d1")))
    await asyncio.sleep(0.1)

    waiting.cancel()

    done, _ = await asyncio.wait([waiting], timeout=2)
    assert done
    assert waiting.cancelled()


async def test_a_stream_that_is_left_is_closed_behind_its_reader(server, client):
    server.on("GET", EVENTS, Stream([FIRST, FIRST], then="hold"))

    async with client.discussions.stream("d1") as stream:
        async for _event in stream:
            break

    assert await goes(server.left)
    assert [event async for event in stream] == []


async def test_a_stream_that_is_dropped_holds_no_connection(server, client):
    server.on("GET", EVENTS, Stream([FIRST], then="hold"))

    async for _event in client.discussions.stream("d1"):
        break

    assert await goes(server.left)


async def test_closing_it_releases_the_task_that_waits_for_an_event_and_the_connection(server, client):
    server.on("GET", EVENTS, Stream([FIRST], then="hold"))
    stream = client.discussions.stream("d1")
    assert (await anext(stream)).id == "1"
    rest = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0.05)

    await stream.aclose()

    assert await asyncio.wait_for(rest, 2) is None
    assert await goes(server.left)
    assert await anext(stream, None) is None
    await stream.aclose()


async def test_closing_it_releases_the_task_that_waits_for_a_connection():
    left = asyncio.Event()

    async def never_answer(reader, writer):
        await reader.read()
        left.set()
        writer.close()

    async with listening(never_answer) as url, AsyncArenaClient(url, "token") as client:
        stream = client.discussions.stream("d1")
        waiting = asyncio.create_task(anext(stream, None))
        await asyncio.sleep(0.05)

        await stream.aclose()

        assert await asyncio.wait_for(waiting, 2) is None
        await asyncio.wait_for(left.wait(), 2)


async def test_two_tasks_may_take_events_of_one_stream_each_once(server, client):
    server.on("GET", EVENTS, Stream([frame(str(number), "turn.started") for number in range(1, 9)] + [ENDED]))
    stream = client.discussions.stream("d1")

    async def take():
        return [int(event.id) async for event in stream]

    mine, yours = await asyncio.gather(take(), take())

    assert sorted(mine + yours) == list(range(1, 10))


def granted(number, expires_in=600):
    body = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}", "expires_in": expires_in}
    return {**body, "token_type": "bearer", "scope": ""}


async def test_a_renewal_is_finished_though_whoever_asked_for_it_was_cancelled(server, client):
    """Else the refresh token is spent, and using it again ends the session."""
    answer = threading.Event()

    def slowly():
        assert answer.wait(5)
        yield json.dumps(granted(2)).encode()

    again = refusal(401, "invalid_grant")
    server.on("POST", "/auth/token", Reply(granted(1, expires_in=0)), Stream(slowly()), again)
    server.on("GET", "/auth/me", Reply(ME))
    await client.login("a@b.example", "password")
    cancelled = asyncio.create_task(client.me())
    while len(server.of("/auth/token")) < 2:
        await asyncio.sleep(0.01)

    cancelled.cancel()
    await asyncio.wait([cancelled])
    answer.set()
    me = await client.me()

    assert cancelled.cancelled()
    assert me.id == "u1"
    assert [asked.headers["authorization"] for asked in server.of("/auth/me")] == ["Bearer access-2"]


async def test_open_streams_leave_connections_for_requests():
    many = 110

    async def answer(reader, writer):
        is_stream = b"/events" in await reader.readuntil(b"\r\n\r\n")
        kind, body = ("text/event-stream", FIRST) if is_stream else ("application/json", json.dumps(ME).encode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\n%b" % (kind.encode(), body))
        if is_stream:
            await reader.read()
        writer.close()

    async with (
        asyncio.timeout(10),
        listening(answer) as url,
        AsyncArenaClient(url, "token") as client,
        AsyncExitStack() as streams,
    ):
        for _ in range(many):
            stream = await streams.enter_async_context(client.discussions.stream("d1"))
            await anext(stream)
        assert (await client.me()).id == "u1"
