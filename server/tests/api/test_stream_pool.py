"""Open streams hold nothing of the database: a hundred times as many as connections, and requests are still quick."""

import asyncio
import statistics
import time
from contextlib import AsyncExitStack

import psycopg
import pytest

from app.domain.discussion import Status
from tests.fixtures.deadlines import eventually
from tests.fixtures.raw_stream import open_raw
from tests.fixtures.socket import socket_of

pytestmark = pytest.mark.anyio

CONNECTIONS = 5
STREAMS, CHANNELS, SOCKETS = 400, 20, 5
QUICK_SECONDS = 0.5  # milliseconds, on a machine that does nothing else
ROUNDS = 6

SESSIONS = """
    SELECT state = 'idle in transaction' AND state_change < now() - interval '1 second' FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


@pytest.fixture
def place(fresh_database, make_arena):
    """An API that has five connections, alone on its database."""
    return make_arena(database={"database_url": fresh_database, "database_pool_size": CONNECTIONS})


@pytest.fixture
def sessions(fresh_database):
    """Asks PostgreSQL for its connections: of each, whether it idles in a transaction."""
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        yield lambda: [is_idle for (is_idle,) in connection.execute(SESSIONS)]


async def seconds_of(asked):
    began = time.monotonic()
    response = await asked
    assert response.status_code < 300, response.text
    return time.monotonic() - began


async def seconds_of_requests(http, discussion):
    address = f"/api/v1/discussions/{discussion.id}"
    for _ in range(ROUNDS):
        for path in ("/api/v1/auth/me", address, "/api/v1/discussions"):
            yield await seconds_of(http.get(path))
        yield await seconds_of(http.post(f"{address}/messages", json={"content": "Hello."}))


@pytest.mark.alone
async def test_five_hundred_open_streams_hold_no_connection(place, person, make_agent, make_discussion, sessions):
    agents = [await make_agent(by=person)]
    drafts = [await make_discussion(by=person, status=Status.DRAFT, agents=agents) for _ in range(CHANNELS)]
    streams = place.app.state.services.streams
    async with AsyncExitStack() as stack:
        opened = []
        for number in range(STREAMS):
            path = f"/api/v1/discussions/{drafts[number % CHANNELS].id}/events"
            opened.append(await open_raw(place.url, path, Authorization=f"Bearer {person.access_token}"))
            stack.callback(opened[-1].leave)
            if len(opened) % 10 == 0:  # a burst of all would be told to come back
                await eventually(lambda: len(streams) >= len(opened), 20, "the streams that were opened")
        sockets = [await stack.enter_async_context(socket_of(person)) for _ in range(SOCKETS)]
        for draft in drafts:
            await asyncio.gather(*(socket.subscribe(draft) for socket in sockets))
        await eventually(lambda: len(streams) == STREAMS + SOCKETS * (1 + CHANNELS) > 500, 30, "five hundred streams")

        taken, connections = [], []
        async for seconds in seconds_of_requests(person.http, drafts[0]):
            taken.append(seconds)
            connections.append(sessions())

        assert statistics.median(taken) < QUICK_SECONDS, taken
        assert max(map(len, connections)) <= CONNECTIONS
        assert not any(map(any, connections))
        last = ROUNDS + 1
        for socket in sockets:
            await socket.until_event(drafts[0], lambda event: event.position[0] == last, 5)
        for stream in opened[::CHANNELS]:
            await stream.read_until(b"\nid: %d\n" % last, 5)
        assert len(streams) == STREAMS + SOCKETS * (1 + CHANNELS)
