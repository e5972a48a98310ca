"""Notifications: every change of status of a workspace's discussions, once, also for whoever was away."""

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest

from app.domain.discussion import Status
from app.domain.seen import Seen
from app.services.live.notices import event_id_of, seen_of
from tests.fixtures.databases import rows
from tests.fixtures.problems import problem
from tests.fixtures.viewer import parse_frame

pytestmark = pytest.mark.anyio

ADDRESS = "/api/v1/notifications"


class Listener:
    def __init__(self):
        self.told = []
        self.raw = ""
        self._changed = asyncio.Event()

    async def read(self, response):
        rest = ""
        async for piece in response.aiter_text():
            self.raw += piece
            *frames, rest = (rest + piece).split("\n\n")
            self.told += filter(None, map(parse_frame, frames))
            self._changed.set()

    async def until(self, done, seconds=10):
        async with asyncio.timeout(seconds):
            while not done():
                self._changed.clear()
                await self._changed.wait()

    def of(self, discussion):
        return [event.type for event in self.told if event.data["discussion_id"] == discussion["id"]]


@asynccontextmanager
async def listening(http, after=None, **query):
    listener = Listener()
    params = query | ({} if after is None else {"after": after})
    async with http.stream("GET", ADDRESS, params=params, headers={"Accept": "text/event-stream"}) as response:
        assert response.status_code == 200, await response.aread()
        reading = asyncio.create_task(listener.read(response))
        yield listener
        if reading.done():
            reading.result()
        reading.cancel()


async def test_each_change_of_status_is_told(client, make_discussion):
    async with listening(client) as listener:
        talk = await make_discussion(limits={"max_turns": 2}, title="Remote work")
        await listener.until(lambda: "discussion.ended" in listener.of(talk))

    statuses = [event.data["status"] for event in listener.told]
    assert statuses[0] in {"draft", "running"}
    assert statuses[-1] == "ended"
    ended = listener.told[-1].data
    assert ended == {
        "discussion_id": talk.id,
        "seq": ended["seq"],
        "status": "ended",
        "end_reason": "max_turns",
        "title": "Remote work",
        "topic": talk["topic"],
        "created_at": ended["created_at"],
    }


async def test_one_who_was_away_is_told_the_rest_and_nothing_twice(client, make_discussion):
    async with listening(client) as listener:
        first = await make_discussion(status=Status.DRAFT)
        await listener.until(lambda: listener.of(first))
    seen = listener.told
    while_away = [await make_discussion(status=Status.DRAFT) for _ in range(5)]

    async with listening(client, after=seen[-1].id) as listener:
        await listener.until(lambda: all(listener.of(draft) for draft in while_away))
        await client.post(f"/api/v1/discussions/{first.id}/stop")
        await listener.until(lambda: listener.of(first))

    assert [listener.of(draft) for draft in while_away] == [["discussion.created"]] * 5
    assert listener.of(first) == ["discussion.ended"]


async def test_one_may_come_back_with_any_id(client, make_discussion):
    async with listening(client) as listener:
        drafts = [await make_discussion(status=Status.DRAFT) for _ in range(4)]
        await listener.until(lambda: all(map(listener.of, drafts)))
    whole = [(event.data["discussion_id"], event.type) for event in listener.told]

    for place, event in enumerate(listener.told[:-1]):
        async with listening(client, after=event.id) as again:
            await again.until(lambda again=again, place=place: len(again.told) >= len(whole) - place - 1)
        assert [(event.data["discussion_id"], event.type) for event in again.told] == whole[place + 1 :]


async def test_what_commits_late_is_told_though_its_transaction_began_before(
    client, make_discussion, shared_database, owner
):
    """An older transaction commits after a younger one was told of: it is neither passed over nor waited for."""
    older, younger = [await make_discussion(status=Status.DRAFT) for _ in range(2)]
    append = """
        WITH d AS (UPDATE discussions SET last_seq = last_seq + 1 WHERE id = %s RETURNING id, workspace_id, last_seq)
        INSERT INTO discussion_events (discussion_id, workspace_id, seq, type, payload, created_at)
        SELECT id, workspace_id, last_seq, 'discussion.paused', '{"status": "paused"}', now() FROM d
    """
    async with listening(client) as listener:
        async with await psycopg.AsyncConnection.connect(shared_database) as slow:
            await slow.execute(append, [older.id])
            async with await psycopg.AsyncConnection.connect(shared_database) as quick:
                await quick.execute(append, [younger.id])
            await listener.until(lambda: listener.of(younger), 3)
            between = listener.told[-1].id
            assert listener.of(older) == []
        await listener.until(lambda: listener.of(older), 3)
    async with listening(client, after=between) as again:
        await again.until(lambda: again.of(older), 3)

    assert [event.data["discussion_id"] for event in again.told] == [older.id]


async def test_a_stranger_is_told_nothing(stranger, client, make_discussion):
    async with listening(client) as listener, listening(stranger.http) as other:
        talk = await make_discussion(status=Status.DRAFT)
        await listener.until(lambda: listener.of(talk))
        await asyncio.sleep(0.6)

    assert other.told == []


async def test_a_page_that_can_set_no_headers_names_its_workspace_in_the_address(
    connect, colleague, owner, make_discussion, client
):
    member = await colleague("viewer")
    token = (await member.http.post("/api/v1/auth/stream-token")).json()["token"]
    page = await connect()
    async with listening(page, stream_token=token, workspace_id=owner.workspace_id) as listener:
        talk = await make_discussion(status=Status.DRAFT)
        await listener.until(lambda: listener.of(talk))


async def test_another_workspace_cannot_be_listened_to(stranger, owner):
    response = await stranger.http.get(ADDRESS, params={"workspace_id": owner.workspace_id})

    problem(response, 404, "not_found")


@pytest.mark.parametrize("after", ["7", "x", "7.1", "bm90aWZpY2F0aW9uczo"])
async def test_an_id_of_another_stream_is_refused(client, after):
    response = await client.get(ADDRESS, params={"after": after})

    assert problem(response, 422, "bad_event_id")["errors"][0]["loc"] == ["query", "after"]


async def test_an_id_longer_than_any_is_refused_in_the_header_too(client):
    """Each notice would bear one as long."""
    after = event_id_of(Seen.of(10**9, range(1, 5000)))

    response = await client.get(ADDRESS, headers={"Last-Event-ID": after})

    assert problem(response, 422, "bad_event_id")["errors"][0]["loc"] == ["header", "last-event-id"]


async def test_an_id_from_the_future_is_refused(client):
    response = await client.get(ADDRESS, headers={"Last-Event-ID": event_id_of(Seen.of(10**15, ()))})

    assert problem(response, 422, "event_id_ahead")["errors"][0]["loc"] == ["header", "last-event-id"]


async def test_a_copy_of_another_database_tells_nothing_twice_and_misses_nothing(
    fresh_database, make_arena, make_user, start_process
):
    """Its transactions' numbers came with it, and lie beyond all that are given here."""
    place = make_arena(database={"database_url": fresh_database})
    person = await make_user(at=place)
    agent = (await person.http.post("/api/v1/agents", json={"name": "Ada", "model": "openai/fake"})).json()
    body = {"topic": "Then?", "participants": [{"agent_id": agent["id"]}], "start": False}
    old = (await person.http.post("/api/v1/discussions", json=body)).json()
    rows(fresh_database, "UPDATE discussion_events SET xid = '5000000000'")

    async with listening(person.http) as listener:
        new = (await person.http.post("/api/v1/discussions", json=body)).json()
        await listener.until(lambda: listener.of(new))
    async with listening(person.http, after=listener.told[-1].id) as listener:
        newer = (await person.http.post("/api/v1/discussions", json=body)).json()
        await listener.until(lambda: listener.of(newer))

    assert listener.of(old) == []
    assert start_process("migrate", settings=place.settings).wait() == 0
    assert rows(fresh_database, "SELECT count(*) FROM discussion_events WHERE xid >= '5000000000'") == [(0,)]


async def test_a_removal_and_a_logout_end_it(client, owner, colleague, sql):
    member = await colleague("viewer")
    async with member.http.stream("GET", ADDRESS) as theirs, client.stream("GET", ADDRESS) as own:
        sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, member.id)
        async with asyncio.timeout(2):
            await theirs.aread()
        await client.post("/api/v1/auth/logout")
        async with asyncio.timeout(2):
            assert b"event:" not in await own.aread()


async def test_a_silent_one_sends_heartbeats(make_arena, connect, owner):
    place = make_arena(server={"stream_heartbeat_seconds": 0.2})
    async with listening(await connect(owner.access_token, at=place)) as listener:
        await listener.until(lambda: ": heartbeat" in listener.raw, 3)

    assert seen_of(event_id_of(Seen.of(5, (2,)))) == Seen.of(5, (2,))
