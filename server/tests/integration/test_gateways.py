"""The product behind the gateways of `deploy/gateway`: streams, sockets, bodies, errors and logs."""

import asyncio
import json
import shutil
import subprocess
from contextlib import suppress

import httpx2
import pytest
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import InvalidStatus

from app.engines.ports import free_port
from tests.fixtures.arena import Arena
from tests.fixtures.deadlines import eventually
from tests.fixtures.gateways import DEPLOYED
from tests.fixtures.problems import problem
from tests.fixtures.socket import Socket, channel_of, ticket_of
from tests.fixtures.viewer import watch_through_cuts, watching, watching_from_the_start

pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024
EVENTS = "/api/v1/discussions/d1/events"
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


async def answer_at_once(_asked, writer):
    writer.write(DONE)
    await writer.drain()


async def hang_up(_asked, writer):
    writer.transport.abort()


@pytest.fixture
async def visitor():
    """A client that no gateway knows, and whose answers are nobody's but the stand-ins'."""
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=10) as visitor:
        yield visitor


@pytest.fixture
async def gateway(start_gateway, arena):
    """A gateway before the shared installation."""
    return await start_gateway(arena.url)


@pytest.fixture
async def through(gateway, arena, connect, owner):
    """The owner's client, by way of the gateway."""
    return await connect(owner.access_token, at=Arena(arena.settings, arena.app, gateway.url))


def test_the_program_itself_finds_no_fault_with_the_configuration(set_up_gateway):
    checked = set_up_gateway("http://127.0.0.1:8000", "http://127.0.0.1:8001").check()

    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    assert '"level":"error"' not in checked.stderr


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed (Debian: apt-get install caddy)")
def test_the_caddyfile_is_written_as_caddy_writes_it():
    assert (
        subprocess.run(["caddy", "fmt", str(DEPLOYED / "Caddyfile")], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.alone
async def test_words_are_seen_while_they_are_spoken(client, through, make_agent, make_discussion):
    agent = await make_agent(model="openai/fake?tokens=12&delay_ms=150")
    draft = await make_discussion(status="draft", agents=[agent], limits={"max_turns": 1})

    async with watching(through, draft.id) as far, watching_from_the_start(client, draft.id) as near:
        await near.until_ended()
        await far.until_ended()

    def late(spoken):
        return next(seen.at for seen in far.events if seen.position >= spoken.position) - spoken.at

    assert len(near.of_type("message.delta")) > 4
    assert max(late(spoken) for spoken in near.of_type("message.delta")) < 1.0


async def test_every_piece_of_a_stream_goes_on_before_the_next_is_there_and_as_it_is(start_gateway, stand_in, visitor):
    """Whatever the gateway's other sites have set, and whether or not the API asks for it."""
    wanted = asyncio.Semaphore(1)

    async def stream(_asked, writer):
        writer.write(EVENT_STREAM)
        for number in range(5):
            await wanted.acquire()
            writer.write(f"id: {number}\n\n".encode())
            await writer.drain()

    gateway = await start_gateway((await stand_in(stream)).url)
    pieces = []
    async with asyncio.timeout(5), visitor.stream("GET", gateway.url + EVENTS) as response:
        async for piece in response.aiter_raw():
            pieces.append(piece)
            wanted.release()

    assert pieces == [f"id: {number}\n\n".encode() for number in range(5)]
    assert "content-encoding" not in response.headers


async def test_a_viewer_who_leaves_is_let_go_of_at_the_replica_too(start_gateway, stand_in, visitor):
    async def stream(_asked, writer):
        writer.write(EVENT_STREAM + b": here\n\n")
        await asyncio.Event().wait()

    replica = await stand_in(stream)
    gateway = await start_gateway(replica.url)
    async with visitor.stream("GET", gateway.url + EVENTS) as response:
        await anext(response.aiter_raw())
        assert not replica.left.is_set()

    async with asyncio.timeout(5):
        await replica.left.wait()


async def test_heartbeats_pass(start_gateway, make_arena, make_discussion, connect, owner, client):
    quick = make_arena(server={"stream_heartbeat_seconds": 0.2})
    gateway = await start_gateway(quick.url)
    there = await connect(owner.access_token, at=Arena(quick.settings, quick.app, gateway.url))
    draft = await make_discussion(status="draft")

    async with watching(there, draft.id) as viewer:
        await viewer.until_heartbeat(3)
        await client.post(f"/api/v1/discussions/{draft.id}/stop")
        await viewer.until_ended()


async def test_viewers_of_replicas_that_are_killed_and_stopped_are_taken_to_others_and_miss_nothing(
    settings, start_api, start_gateway, owner, client, connect, make_agent, make_discussion
):
    replicas = await asyncio.gather(*(start_api(settings) for _ in range(3)))
    (killed, there), (stopped, _), _left = replicas
    gateway = await start_gateway(*(replica.url for _, replica in replicas))
    behind = Arena(settings, there.app, gateway.url)
    viewers = [await connect(owner.access_token, at=behind) for _ in replicas]
    agent = await make_agent(model="openai/fake?tokens=40&delay_ms=40&unicode")
    draft = await make_discussion(status="draft", agents=[agent])
    told, cuts = [[] for _ in viewers], []
    async with asyncio.TaskGroup() as watches:
        # Each replica has one of them: a gateway gives a new stream to whichever has the fewest.
        for viewer, seen in zip(viewers, told, strict=True):
            cuts.append(watches.create_task(watch_through_cuts(viewer, draft.id, seen)))
            await eventually(lambda seen=seen: seen, 5, "the viewer's first event")
        async with watching_from_the_start(client, draft.id) as witness:
            await witness.until(lambda event: event.type == "message.delta" and event.data["offset"] > 30)
            killed.kill()
            await witness.until("message.completed")
            await witness.until(lambda event: event.type == "message.delta" and event.data["turn"] == 2)
            stopped.terminate()
            await witness.until_ended()

    # Whoever was at the killed one may have been taken to the one that is stopped next.
    assert sorted(cut.result() for cut in cuts) in ([0, 1, 1], [0, 1, 2])
    said = list(witness.checker.messages.values())
    assert len(said) == 2
    for seen in told:
        assert [event.data for event in seen if event.type == "message.completed"] == said


async def test_a_document_of_seven_mebibytes_passes(through, client, make_base):
    base = await make_base()
    text = "ž" * (7 * MEBIBYTE // 2)
    body = json.dumps({"title": "Large", "text": text}, ensure_ascii=False).encode()

    sent_as = {"Content-Type": "application/json"}
    added = await through.post(f"/api/v1/knowledge/bases/{base.id}/documents", content=body, headers=sent_as)

    assert len(body) > 7 * MEBIBYTE

    assert added.status_code == 202, added.text[:500]
    assert (await client.get(f"/api/v1/knowledge/documents/{added.json()['id']}")).json()["text"] == text


@pytest.mark.parametrize(
    ("method", "path", "size", "status", "code"),
    [
        ("GET", "/api/v1/agents/00000000-0000-0000-0000-000000000000", 0, 404, "not_found"),
        ("POST", "/api/v1/agents", 2, 422, "validation_failed"),
        ("POST", "/api/v1/agents", 2 * MEBIBYTE, 413, "body_too_large"),
        ("POST", "/api/v1/knowledge/bases/{base}/documents", 33 * MEBIBYTE, 413, "body_too_large"),
    ],
)
async def test_what_the_api_refuses_is_told_in_its_own_words(
    through, client, make_base, method, path, size, status, code
):
    path = path.format(base=(await make_base()).id)
    asking = {
        "content": b"{}".ljust(size),
        "headers": {"X-Request-ID": "asked-twice", "Content-Type": "application/json"},
    }

    far, near = [await http.request(method, path, **asking) for http in (through, client)]

    assert problem(far, status, code) == near.json()
    assert far.headers["X-Request-ID"] == "asked-twice"


async def test_the_api_is_told_who_asks_of_which_host(start_gateway, stand_in, visitor):
    """In the gateway's words: who asks is not what the client says."""
    replica = await stand_in(answer_at_once)
    gateway = await start_gateway(replica.url)

    said = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Request-ID": "r-1", "Upgrade": "h2c"}
    await visitor.get(gateway.url + "/api/v1/agents?limit=1", headers=said)

    [asked] = replica.asked
    assert asked.target == "/api/v1/agents?limit=1"
    told = [
        asked.headers.get(name) for name in ("host", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "upgrade")
    ]
    assert told == [f"127.0.0.1:{gateway.port}", "127.0.0.1", "http", "r-1", None]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_a_replica_may_have_done_is_not_asked_of_another(start_gateway, stand_in, visitor, method):
    replicas = [await stand_in(hang_up) for _ in range(2)]
    gateway = await start_gateway(*(replica.url for replica in replicas))

    response = await visitor.request(method, gateway.url + "/api/v1/discussions", content=b"{}")

    assert response.status_code == 502
    assert sum(len(replica.asked) for replica in replicas) == 1


@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b"{}")])
async def test_a_replica_that_nobody_can_reach_is_passed_over(start_gateway, stand_in, visitor, method, body):
    replica = await stand_in(answer_at_once)
    gateway = await start_gateway(f"http://127.0.0.1:{free_port()}", replica.url)

    answers = [await visitor.request(method, gateway.url + "/api/v1/discussions", content=body) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(replica.asked) == 4


async def opened_from(origin, gateway, through):
    """A WebSocket as a page of that origin would open it."""
    address = f"{gateway.url.replace('http', 'ws')}/api/v1/ws?ticket={await ticket_of(through)}"
    return await open_socket(address, origin=origin, subprotocols=["arena.v1"], proxy=None, compression=None)


async def test_a_page_behind_the_gateway_speaks_and_listens_on_a_websocket(gateway, through, make_discussion):
    waiting = await make_discussion(status="waiting")
    async with await opened_from(gateway.url, gateway, through) as connection:
        socket = Socket(connection)
        await socket.subscribe(waiting)
        await socket.send({"type": "message", "channel": channel_of(waiting), "content": "Let us begin."})
        told = await socket.until_event(waiting, "message.completed")
        await socket.stop()

    assert socket.subprotocol == "arena.v1"
    assert told.data["content"] == "Let us begin."


async def test_a_page_of_another_origin_is_refused_a_websocket_in_the_words_of_the_api(gateway, through):
    with pytest.raises(InvalidStatus) as refused:
        await opened_from("https://elsewhere.example", gateway, through)

    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["code"] == "origin_not_allowed"


async def test_the_logs_hold_no_query_string(start_gateway, stand_in, visitor):
    gateway = await start_gateway((await stand_in(answer_at_once)).url)

    await visitor.get(f"{gateway.url}{EVENTS}?stream_token=hush")
    await visitor.get(f"{gateway.url}/api/v1/ws?ticket=hush", headers={"Referer": "http://127.0.0.1/?hush"})
    await eventually(lambda: "/api/v1/ws" in gateway.logs(), 5, "a line of the last request")

    assert EVENTS in gateway.logs()
    assert "hush" not in gateway.logs()


async def test_the_logs_of_what_fails_hold_no_query_string_either(start_gateway, stand_in, visitor):
    async def begin_and_hang_up(asked, writer):
        if asked.target.startswith(EVENTS):
            writer.write(EVENT_STREAM.replace(b"Connection: close", b"Content-Length: 99"))
            await writer.drain()
        writer.transport.abort()

    gateway = await start_gateway((await stand_in(begin_and_hang_up)).url, f"http://127.0.0.1:{free_port()}")
    with suppress(httpx2.TransportError):  # in the midst of the answer, or already in place of its beginning
        await visitor.get(f"{gateway.url}{EVENTS}?stream_token=hush")
    refused = await visitor.get(f"{gateway.url}/api/v1/ws?ticket=hush")
    await eventually(lambda: "/api/v1/ws" in gateway.logs(), 5, "a line of the last request")

    assert refused.status_code in {502, 503}
    assert "hush" not in gateway.logs()
