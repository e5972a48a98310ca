"""Files that are sent a page at a time hold nobody else up, however slowly they are taken."""

import asyncio
import socket
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest

from app.services.downloads import MOST_AT_ONCE
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

ROWS = 4_000
_FILL = """
    INSERT INTO audit_events (id, workspace_id, action, outcome, target_type, detail, created_at)
    SELECT uuidv7(), %s, 'agent.deleted', 'succeeded', 'agent', jsonb_build_object('reason', repeat('x', 400)), now()
    FROM generate_series(1, %s)
"""


@pytest.fixture
def small(make_arena):
    """An installation that works on one list at a time."""
    return make_arena(database={"database_pool_size": 3})


@pytest.fixture
async def people(small, make_user, sql):
    """Two, whose audit logs are long."""
    people = [await make_user(at=small) for _ in range(2)]
    for person in people:
        sql(_FILL, person.workspace_id, ROWS)
    return people


async def take_slowly(arena, person, stack):
    """Ask for the whole log and read nothing of it but the head."""
    address = urlsplit(arena.url)
    ours = socket.socket()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ours.setblocking(False)
    await asyncio.get_running_loop().sock_connect(ours, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=ours, limit=4096)
    stack.callback(writer.transport.abort)
    writer.write(
        f"GET /api/v1/workspaces/{person.workspace_id}/audit/export HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {person.access_token}\r\n\r\n".encode()
    )
    assert b" 200 " in await reader.readuntil(b"\r\n")


async def test_who_reads_slowly_keeps_nobody_out_of_lists(small, people):
    async with AsyncExitStack() as stack:
        for person in people:
            for _ in range(3):
                await take_slowly(small, person, stack)
        await asyncio.sleep(0.5)

        async with asyncio.timeout(2):
            for person in people:
                assert (await person.http.get("/api/v1/agents")).status_code == 200


async def test_one_person_is_sent_only_so_many_files_at_once(small, people):
    one, other = people
    export = f"/api/v1/workspaces/{one.workspace_id}/audit/export"
    async with AsyncExitStack() as stack:
        for _ in range(MOST_AT_ONCE):
            await take_slowly(small, one, stack)

        problem(await one.http.get(export), 429, "too_many_downloads")
        assert (await other.http.get(f"/api/v1/workspaces/{other.workspace_id}/audit/export")).status_code == 200

    async def is_let_in():
        return (await one.http.get(export)).status_code == 200

    await eventually(is_let_in)
    assert len((await one.http.get(export)).text.splitlines()) >= ROWS


async def test_a_refused_file_is_in_nobodys_log(small, people, sql):
    one, _other = people
    async with AsyncExitStack() as stack:
        for _ in range(MOST_AT_ONCE):
            await take_slowly(small, one, stack)
        await one.http.get(f"/api/v1/workspaces/{one.workspace_id}/audit/export")

        exports = "SELECT count(*) FROM audit_events WHERE action = 'audit.exported' AND workspace_id = %s"
        assert sql(exports, one.workspace_id) == [(MOST_AT_ONCE,)]
