"""Over-scoped keys: a key does nothing beyond its scopes, whichever way in it takes, nor beyond its owner."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.discussion import Status
from app.domain.permissions import SCOPES, Permission
from tests.factories.discussions import ENDLESS
from tests.fixtures.problems import problem
from tests.fixtures.routes import COMMANDS
from tests.fixtures.socket import channel_of, socket_at, socket_of
from tests.fixtures.viewer import watching

pytestmark = pytest.mark.anyio

PROMISED_SECONDS = 2.0
LIVE = {"Accept": "text/event-stream"}
READING = ("agents:read", "discussions:read", "knowledge:read", "workspace:read")


@pytest.fixture
def program(connect, make_key, owner):
    """A program that acts by a key of a person's, as that person would."""

    async def make(*scopes, by=owner):
        key = await make_key(*scopes, by=by)
        http = await connect(key["key"])
        http.headers.update({name: value for name, value in by.http.headers.items() if name == "x-workspace-id"})
        return replace(by, access_token=key["key"], http=http)

    return make


@pytest.fixture
async def table(make_discussion):
    return await make_discussion(status=Status.WAITING)


@asynccontextmanager
async def socket_by_frame(program):
    """A socket that is opened with the key itself."""
    async with socket_at(str(program.http.base_url).rstrip("/")) as socket:
        await socket.send({"type": "auth", "token": program.access_token})
        yield socket


@pytest.mark.parametrize("open_socket", [socket_of, socket_by_frame])
async def test_a_key_without_the_scope_to_write_says_nothing_by_socket(owner, program, table, rows_of, open_socket):
    reader = await program("discussions:read")
    before = rows_of(owner)

    async with open_socket(reader) as socket:
        await socket.subscribe(table)
        refused = await socket.answer_to({"type": "message", "channel": channel_of(table), "content": "Hello?"})

    assert (refused["type"], refused["code"]) == ("error", "insufficient_scope")
    assert rows_of(owner) == before


async def test_a_key_with_the_scope_to_write_says_it_by_socket_and_cannot_read_it(client, program, table):
    writer = await program("discussions:write")

    async with socket_by_frame(writer) as socket:
        said = await socket.answer_to(
            {"type": "message", "channel": channel_of(table), "content": "Hello!", "ref": "1"}
        )
        assert said["type"] == "posted", said
        refused = await socket.answer_to({"type": "subscribe", "channel": channel_of(table)})

    assert (refused["type"], refused["code"]) == ("error", "insufficient_scope")
    problem(await writer.http.get(f"/api/v1/discussions/{table.id}"), 403, "insufficient_scope")
    messages = (await client.get(f"/api/v1/discussions/{table.id}/messages")).json()["items"]
    assert [message["content"] for message in messages][-1] == "Hello!"


async def test_a_key_without_the_scope_to_write_changes_nothing_by_request(owner, program, table, rows_of, make_agent):
    reader = await program(*READING, "discussions:control", "models:use")
    agent = await make_agent("Newcomer")
    before = rows_of(owner)
    address = f"/api/v1/discussions/{table.id}"
    seat = table.participants[0]["id"]
    attempts = [
        ("POST", "/api/v1/discussions", {"topic": "Mine", "participants": [{"agent_id": agent.id}]}),
        ("POST", f"{address}/messages", {"content": "Hello?"}),
        ("POST", f"{address}/messages", {"content": "Hello?", "turn_token": "x"}),
        ("POST", f"{address}/fork", {"start": False}),
        ("POST", f"{address}/floor", {"participant": "skeptic"}),
        ("POST", f"{address}/participants", {"agent_id": agent.id}),
        ("DELETE", f"{address}/participants/{seat}", None),
        ("PATCH", address, {"title": "Mine"}),
        ("DELETE", address, None),
        ("POST", "/api/v1/agents", {"name": "Mine", "persona": "Mine", "model": "m"}),
        ("PATCH", f"/api/v1/agents/{agent.id}", {"name": "Mine"}),
        ("DELETE", f"/api/v1/agents/{agent.id}", None),
        ("POST", "/api/v1/knowledge/bases", {"name": "Mine"}),
        *(("POST", f"{address}/{command}", None) for command in COMMANDS),
    ]

    for method, path, body in attempts:
        problem(await reader.http.request(method, path, json=body), 403, "insufficient_scope")

    assert rows_of(owner) == before


async def test_no_key_makes_lists_or_revokes_keys_whatever_its_scopes(owner, program, sql):
    sql("UPDATE users SET is_superuser = true WHERE id = %s", owner.id)
    await asyncio.sleep(1)
    every = await program(*sorted(SCOPES))
    [(own,)] = sql("SELECT id FROM api_keys WHERE user_id = %s", owner.id)
    keys = "/api/v1/auth/api-keys"

    problem(await every.http.post(keys, json={"name": "Another", "scopes": ["agents:read"]}), 403, "insufficient_scope")
    problem(await every.http.get(keys), 403, "insufficient_scope")
    problem(await every.http.delete(f"{keys}/{own}"), 403, "insufficient_scope")

    assert sql("SELECT id, revoked_at FROM api_keys WHERE user_id = %s", owner.id) == [(own, None)]


async def test_a_narrowed_session_makes_no_keys(owner, sql):
    sql("UPDATE sessions SET scope = %s WHERE user_id = %s", " ".join(sorted(SCOPES)), owner.id)
    await asyncio.sleep(1)

    response = await owner.http.post("/api/v1/auth/api-keys", json={"name": "Wider", "scopes": ["agents:read"]})

    problem(response, 403, "insufficient_scope")


async def test_a_key_cannot_be_made_wider_than_its_owner(owner, client, sql):
    body = {"name": "Wider", "scopes": ["agents:read", "installation:manage"]}
    problem(await client.post("/api/v1/auth/api-keys", json=body), 403, "scope_not_held")

    sql("UPDATE memberships SET role = 'viewer' WHERE user_id = %s", owner.id)
    await asyncio.sleep(1)
    for scope in SCOPES - {*READING, Permission.WORKSPACES_CREATE}:
        body = {"name": "Wider", "scopes": ["agents:read", scope]}
        problem(await client.post("/api/v1/auth/api-keys", json=body), 403, "scope_not_held")

    assert sql("SELECT 1 FROM api_keys WHERE user_id = %s", owner.id) == []


async def test_a_key_is_never_wider_than_its_owner_is_now(owner, colleague, program, table, sql):
    person = await colleague("moderator")
    key = await program("discussions:read", "discussions:write", "discussions:control", by=person)
    address = f"/api/v1/discussions/{table.id}"
    assert (await key.http.post(f"{address}/pause")).status_code == 200

    sql(
        "UPDATE memberships SET role = 'viewer' WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, person.id
    )
    await asyncio.sleep(1)

    problem(await key.http.post(f"{address}/resume"), 403, "forbidden")
    assert (await key.http.get(address)).status_code == 200
    sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, person.id)
    await asyncio.sleep(1)
    problem(await key.http.get(address), 404, "not_found")


async def test_a_key_opens_no_workspace_that_its_owner_is_not_in(stranger, owner, program, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    key = await program(*READING, by=stranger)

    elsewhere = {"X-Workspace-ID": owner.workspace_id}
    problem(await key.http.get("/api/v1/discussions", headers=elsewhere), 404, "not_found")
    problem(await key.http.get(f"/api/v1/discussions/{draft.id}"), 404, "not_found")
    problem(await key.http.get(f"/api/v1/discussions/{draft.id}/events", headers=LIVE), 404, "not_found")
    async with socket_by_frame(key) as socket:
        refused = await socket.answer_to({"type": "subscribe", "channel": channel_of(draft)})
    assert refused["code"] == "not_found"


async def test_a_moderators_key_that_may_only_read_sees_no_whispers_of_others(
    owner, colleague, program, make_discussion, sql
):
    person = await colleague("member")
    draft = await make_discussion(status=Status.DRAFT)
    readers = [await program("discussions:read", by=person), await program("discussions:read", by=owner)]
    controller = await program("discussions:read", "discussions:control", by=owner)

    # Whoever says it may read it, so it is neither of them.
    teller = await colleague("moderator", "Grace Hopper")

    async def whisper(content):
        body = {"content": content, "visible_to": [draft.participants[0]["id"]]}
        said = await teller.http.post(f"/api/v1/discussions/{draft.id}/messages", json=body)
        assert said.status_code == 201, said.text
        return said.json()["message"]["seq"]

    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(watching(one.http, draft.id)) for one in (*readers, controller)]
        socket = await stack.enter_async_context(socket_by_frame(readers[1]))
        await socket.subscribe(draft)
        before = await whisper("aardvark")
        sql(
            "UPDATE memberships SET role = 'moderator' WHERE workspace_id = %s AND user_id = %s",
            *(owner.workspace_id, person.id),
        )
        await asyncio.sleep(PROMISED_SECONDS)
        after = await whisper("aardwolf")
        for seq in (before, after):
            kinds = [(await one.until(lambda event: event.position[0] == seq, 5)).type for one in viewers]  # noqa: B023
            assert kinds == ["message.withheld", "message.withheld", "message.completed"]
            shown = await socket.until_event(draft, lambda event: event.position[0] == seq, 5)  # noqa: B023
            assert shown.type == "message.withheld"
    for reader in readers:
        for part in ("messages", "events", "transcript"):
            address = f"/api/v1/discussions/{draft.id}/{part}"
            page = await reader.http.get(address, headers={"Accept": "application/json"})
            assert (page.status_code, "aardv" in page.text, "aardw" in page.text) == (200, False, False)


@pytest.fixture
async def tables(client, make_agent, make_discussion):
    """A discussion in which nothing happens, and one in which somebody never stops talking."""
    busy = await make_discussion(agents=[await make_agent(model=ENDLESS, params={"max_tokens": 8000})])
    yield await make_discussion(status=Status.DRAFT), busy
    await client.post(f"/api/v1/discussions/{busy.id}/stop")


async def revoke(owner, key_id, _sql):
    assert (await owner.http.delete(f"/api/v1/auth/api-keys/{key_id}")).status_code == 204


async def expire(_owner, key_id, sql):
    sql("UPDATE api_keys SET expires_at = %s WHERE id = %s", datetime.now(UTC) - timedelta(seconds=1), key_id)


async def disable_the_owner(owner, _key_id, sql):
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", owner.id)


async def read_until_it_ends(stream):
    return b"".join([piece async for piece in stream.aiter_raw()])


@pytest.mark.parametrize("end", [revoke, expire, disable_the_owner])
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["here", "in another process"])
async def test_what_a_key_opened_ends_with_it(owner, make_key, connect, tables, sql, make_arena, end, is_elsewhere):
    where = {"at": make_arena()} if is_elsewhere else {}
    key = await make_key(*READING)
    http = await connect(key["key"], **where)
    program = replace(owner, access_token=key["key"], http=http)
    addresses = [*(f"/api/v1/discussions/{table['id']}/events" for table in tables), "/api/v1/notifications"]
    token = (await http.post("/api/v1/auth/stream-token")).json()["token"]
    by_token = f"{addresses[0]}?stream_token={token}"
    visitor = await connect(None, **where)
    async with AsyncExitStack() as stack:
        reading = []
        for caller, address in [*((http, address) for address in addresses), (visitor, by_token)]:
            stream = await stack.enter_async_context(caller.stream("GET", address, headers=LIVE))
            assert stream.status_code == 200
            reading.append(asyncio.create_task(read_until_it_ends(stream)))
        sockets = [await stack.enter_async_context(opening(program)) for opening in (socket_of, socket_by_frame)]
        for socket in sockets:
            await socket.subscribe(tables[1])
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in reading)

        await end(owner, key["id"], sql)

        async with asyncio.timeout(PROMISED_SECONDS):
            await asyncio.gather(*reading, *(socket.until_closed() for socket in sockets))
    assert [socket.close_code for socket in sockets] == [4401, 4401]
    problem(await http.get(addresses[0]), 401, "invalid_token")
    assert (await visitor.get(by_token, headers=LIVE)).status_code == 401


async def test_a_stream_token_of_a_key_is_as_narrow_as_the_key(program, table, anonymous):
    writer, reader = await program("discussions:write"), await program("discussions:read")

    async def status(person):
        token = (await person.http.post("/api/v1/auth/stream-token")).json()["token"]
        address = f"/api/v1/discussions/{table.id}/events?stream_token={token}"
        async with anonymous.stream("GET", address, headers=LIVE) as stream:
            return stream.status_code

    assert [await status(reader), await status(writer)] == [200, 403]


async def test_an_unused_ticket_of_a_key_is_worth_nothing_after_the_key(owner, make_key, connect):
    key = await make_key(*READING)
    ticket = (await (await connect(key["key"])).post("/api/v1/auth/ws-ticket")).json()["ticket"]
    await revoke(owner, key["id"], None)

    async with socket_at(str(owner.http.base_url).rstrip("/"), ticket=ticket) as socket:
        assert await socket.until_closed() == 4401


async def test_one_key_is_not_ended_by_anothers_end(owner, make_key, connect, tables):
    doomed, other = [await make_key(*READING) for _ in range(2)]
    viewers = [await connect(key["key"]) for key in (doomed, other)]
    async with watching(viewers[1], tables[1].id) as kept:
        await revoke(owner, doomed["id"], None)
        await asyncio.sleep(PROMISED_SECONDS)
        shown = len(kept.text)
        await kept.until(lambda _: len(kept.text) > shown, 5)
