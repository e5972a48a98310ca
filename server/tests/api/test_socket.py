"""The WebSocket: many discussions on one connection, each as whole as a stream of its own, and a way to speak."""

import asyncio
from contextlib import suppress
from uuid import uuid4

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.domain.discussion import Status
from app.routes.socket import is_welcome
from tests.fixtures.people import log_in
from tests.fixtures.problems import problem
from tests.fixtures.socket import channel_of, socket_at, socket_of, ticket_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def talk(make_discussion):
    """A discussion that runs to its end at once."""
    return await make_discussion(limits={"max_turns": 3})


async def stop(client, discussion):
    (await client.post(f"/api/v1/discussions/{discussion['id']}/stop")).raise_for_status()


async def test_a_channel_shows_what_the_stream_shows(owner, client, talk):
    async with socket_of(owner) as socket:
        await socket.subscribe(talk)
        await socket.until_event(talk, "discussion.ended")

        assert socket.subprotocol == "arena.v1"
        page = (await client.get(f"/api/v1/discussions/{talk.id}/events", params={"limit": 200})).json()
        durable = [(event.position[0], event.type, event.data) for event in socket.events(talk) if event.is_durable]
        assert durable == [(event["seq"], event["type"], event["data"]) for event in page["items"]]


async def test_many_channels_share_a_socket_and_each_is_whole(owner, make_agent, make_discussion, client):
    agent = await make_agent(model="openai/fake?tokens=20&delay_ms=5")
    drafts = [await make_discussion(status=Status.DRAFT, agents=[agent], limits={"max_turns": 2}) for _ in range(5)]
    async with socket_of(owner) as socket:
        for draft in drafts:
            await socket.subscribe(draft)
        for draft in drafts:
            (await client.post(f"/api/v1/discussions/{draft.id}/start")).raise_for_status()
        for draft in drafts:
            await socket.until_event(draft, "discussion.ended")

        assert [len(socket.checkers[channel_of(draft)].shown_whole) for draft in drafts] == [2] * 5


async def test_a_channel_goes_on_behind_any_id_in_the_middle_of_a_message(owner, make_agent, make_discussion, client):
    agent = await make_agent(model="openai/fake?tokens=40&delay_ms=15")
    draft = await make_discussion(status=Status.DRAFT, agents=[agent], limits={"max_turns": 1})
    async with socket_of(owner) as socket:
        await socket.subscribe(draft)
        (await client.post(f"/api/v1/discussions/{draft.id}/start")).raise_for_status()
        await socket.until_event(draft, lambda event: event.type == "message.delta" and event.data["offset"] > 20)
        socket.cut()
        seen = socket.events(draft)

    async with socket_of(owner) as socket:
        await socket.subscribe(draft, after=seen[-1].id, knowing=seen)
        await socket.until_event(draft, "discussion.ended")

        assert len(socket.checkers[channel_of(draft)].shown_whole) == 1


async def test_the_first_frame_may_say_who_it_is(arena, owner, talk):
    async with socket_at(arena.url) as socket:
        await socket.send({"type": "auth", "token": owner.access_token})
        await socket.subscribe(talk)
        await socket.until_event(talk, "discussion.ended")


async def test_people_speak_on_a_socket(owner, make_discussion):
    waiting = await make_discussion(status=Status.WAITING)
    async with socket_of(owner) as socket:
        await socket.subscribe(waiting)
        answer = await socket.answer_to(
            {"type": "message", "channel": channel_of(waiting), "content": "Let us begin.", "ref": "m1"}
        )

        assert (answer["type"], answer["ref"]) == ("posted", "m1")
        told = await socket.until_event(waiting, "message.completed")
        assert told.data == answer["message"]


async def test_a_message_needs_no_answer(owner, make_discussion):
    waiting = await make_discussion(status=Status.WAITING)
    async with socket_of(owner) as socket:
        await socket.subscribe(waiting)
        await socket.send({"type": "message", "channel": channel_of(waiting), "content": "Let us begin."})
        await socket.until_event(waiting, "message.completed")

        assert socket.of_type("posted") == []


async def test_a_ping_is_answered(owner):
    async with socket_of(owner) as socket:
        pong = await socket.answer_to({"type": "ping"})
        assert pong["type"] == "pong"
        assert (await socket.answer_to({"type": "ping", "ref": "7"}))["ref"] == "7"


async def test_nothing_comes_of_a_channel_that_was_left(owner, make_discussion, client):
    draft = await make_discussion(status=Status.DRAFT)
    async with socket_of(owner) as socket:
        await socket.subscribe(draft)
        left = await socket.answer_to({"type": "unsubscribe", "channel": channel_of(draft), "ref": "u"})
        seen = len(socket.events(draft))
        await stop(client, draft)
        await asyncio.sleep(0.5)

        assert left["type"] == "unsubscribed"
        assert len(socket.events(draft)) == seen
        await socket.subscribe(draft)
        await socket.until_event(draft, "discussion.ended")


async def test_a_discussion_of_any_workspace_of_ones_own_needs_no_header(colleague, talk, arena):
    member = await colleague("viewer")
    async with socket_of(member) as socket:
        await socket.subscribe(talk)
        await socket.until_event(talk, "discussion.ended")


async def test_a_channel_of_another_workspace_does_not_exist(stranger, talk):
    async with socket_of(stranger) as socket:
        for channel in (channel_of(talk), f"discussion:{uuid4()}", "discussion:x", "weather", "workspace:1"):
            for frame in ({"type": "subscribe"}, {"type": "message", "content": "Hello?"}):
                answer = await socket.answer_to({**frame, "channel": channel, "ref": "r"})
                assert (answer["type"], answer["code"], answer["ref"]) == ("error", "not_found", "r")
                assert answer["channel"] == channel
        assert socket.events(talk) == []


async def test_who_may_only_read_cannot_speak(colleague, make_discussion):
    waiting = await make_discussion(status=Status.WAITING)
    viewer = await colleague("viewer")
    async with socket_of(viewer) as socket:
        await socket.subscribe(waiting)
        answer = await socket.answer_to({"type": "message", "channel": channel_of(waiting), "content": "May I?"})
        assert (answer["type"], answer["code"]) == ("error", "forbidden")
        assert (await socket.answer_to({"type": "ping"}))["type"] == "pong"


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ("x", "bad_event_id"),
        ("-1", "bad_event_id"),
        ("1.2.3", "bad_event_id"),
        ("1" * 2000, "bad_event_id"),
        ("999", "event_id_ahead"),
    ],
)
async def test_a_cursor_that_no_stream_gave_is_refused(owner, make_discussion, after, code):
    draft = await make_discussion(status=Status.DRAFT)
    async with socket_of(owner) as socket:
        answer = await socket.answer_to({"type": "subscribe", "channel": channel_of(draft), "after": after})
        assert (answer["type"], answer["code"]) == ("error", code)
        await socket.subscribe(draft)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "malformed_frame"),
        ("{", "malformed_frame"),
        ("[]", "malformed_frame"),
        ('"subscribe"', "malformed_frame"),
        ('{"type": "dance"}', "malformed_frame"),
        ('{"channel": "x"}', "malformed_frame"),
        ("[" * 100_000, "malformed_frame"),
        ('{"type": "subscribe"}', "validation_failed"),
        ('{"type": "subscribe", "channel": 7}', "validation_failed"),
        ('{"type": "ping", "extra": 1}', "validation_failed"),
        ('{"type": "ping", "ref": "' + "x" * 65 + '"}', "validation_failed"),
        ('{"type": "message", "channel": "x", "content": ""}', "validation_failed"),
        ('{"type": "message", "channel": "x", "content": "\\u0000"}', "validation_failed"),
        (b"\x00\x01", "binary_frame"),
        ('{"type": "auth", "token": "x"}', "already_authenticated"),
        ('{"type": "unsubscribe", "channel": "x"}', "not_subscribed"),
    ],
)
async def test_a_wrong_frame_is_told_so_and_the_socket_goes_on(owner, frame, code):
    async with socket_of(owner) as socket:
        answer = await socket.answer_to(frame)

        assert (answer["type"], answer["code"]) == ("error", code)
        assert answer["detail"]
        assert (await socket.answer_to({"type": "ping"}))["type"] == "pong"


async def test_a_message_too_long_is_told_so_in_the_words_of_http(owner, client, make_discussion):
    waiting = await make_discussion(status=Status.WAITING)
    content = "x" * 70_000
    refused = await client.post(f"/api/v1/discussions/{waiting.id}/messages", json={"content": content})
    async with socket_of(owner) as socket:
        answer = await socket.answer_to({"type": "message", "channel": channel_of(waiting), "content": content})

    assert answer["detail"] == problem(refused, 422, "validation_failed")["detail"]
    assert "64000 characters" in answer["detail"]


async def test_a_frame_of_a_megabyte_closes_its_socket_and_no_other(owner, talk):
    async with socket_of(owner) as other, socket_of(owner) as socket:
        answer = await socket.answer_to('{"type": "ping", "ref": "' + "x" * 1_000_000 + '"}')

        assert (answer["type"], answer["code"]) == ("error", "body_too_large")
        assert await socket.until_closed() == 4413
        await other.subscribe(talk)
        await other.until_event(talk, "discussion.ended")


async def test_a_frame_too_large_to_be_read_at_all_closes_its_socket(owner):
    async with socket_of(owner) as socket:
        with suppress(ConnectionClosed):  # it need not wait for the end of it
            await socket.send("x" * 5_000_000)
        assert await socket.until_closed() == 1009


async def test_no_socket_shows_more_channels_than_it_may(make_arena, make_discussion, connect, owner):
    place = make_arena(server={"socket_channels": 2})
    drafts = [await make_discussion(status=Status.DRAFT) for _ in range(3)]
    async with socket_of(owner, place.url) as socket:
        await socket.subscribe(drafts[0])
        again = await socket.answer_to({"type": "subscribe", "channel": channel_of(drafts[0])})
        await socket.subscribe(drafts[1])
        answer = await socket.answer_to({"type": "subscribe", "channel": channel_of(drafts[2])})

        assert (again["type"], again["code"]) == ("error", "already_subscribed")
        assert (answer["type"], answer["code"]) == ("error", "too_many_channels")
        await socket.send({"type": "unsubscribe", "channel": channel_of(drafts[0])})
        await socket.subscribe(drafts[2])


async def test_ten_thousand_subscriptions_are_refused_one_by_one_and_disturb_nobody(
    make_arena, make_discussion, owner, talk
):
    place = make_arena(server={"socket_channels": 1})
    draft = await make_discussion(status=Status.DRAFT)
    async with socket_of(owner, place.url) as other, socket_of(owner, place.url) as socket:
        await socket.subscribe(draft)
        sending = asyncio.create_task(_subscribe_often(socket, 10_000))
        await other.subscribe(talk)
        await other.until_event(talk, "discussion.ended", 10)
        await sending
        await socket.until(lambda: len(socket.frames) >= 10_000, 60, "refusals")

        assert {frame["code"] for frame in socket.of_type("error")} == {"too_many_channels"}


async def _subscribe_often(socket, times):
    for _ in range(times):
        await socket.send({"type": "subscribe", "channel": f"discussion:{uuid4()}"})


async def test_a_socket_that_never_says_who_it_is_is_closed(make_arena):
    place = make_arena(server={"socket_auth_seconds": 0.3})
    async with socket_at(place.url) as socket:
        assert await socket.until_closed(5) == 4401
        assert socket.frames[0]["code"] == "unauthenticated"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"type": "auth", "token": "x"}', "invalid_token"),
        ('{"type": "ping"}', "unauthenticated"),
        ('{"type": "dance"}', "malformed_frame"),
        (b"\x00", "binary_frame"),
    ],
)
async def test_a_first_frame_that_is_no_proof_closes_the_socket(arena, frame, code):
    async with socket_at(arena.url) as socket:
        await socket.send(frame)
        assert await socket.until_closed(5) in {4401, 4422}
        assert [frame["code"] for frame in socket.frames] == [code]


async def test_a_ticket_is_good_once(arena, owner, client):
    ticket = await ticket_of(client)
    async with socket_at(arena.url, ticket=ticket) as socket:
        assert (await socket.answer_to({"type": "ping"}))["type"] == "pong"
        async with socket_at(arena.url, ticket=ticket) as second:
            assert await second.until_closed(5) == 4401
            assert second.frames[0]["code"] == "invalid_ticket"
        assert (await socket.answer_to({"type": "ping"}))["type"] == "pong"


@pytest.mark.parametrize("ticket", ["", "x" * 300, "\x00", "é"])
async def test_what_is_no_ticket_is_told_so(arena, ticket):
    async with socket_at(arena.url, ticket=ticket) as socket:
        assert await socket.until_closed(5) == 4401
        assert socket.frames[0]["code"] == "invalid_ticket"


async def test_a_discussion_has_one_name_on_a_socket(owner, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    async with socket_of(owner) as socket:
        await socket.subscribe(draft)
        for name in (draft.id.upper(), draft.id.replace("-", ""), f"urn:uuid:{draft.id}", f"{{{draft.id}}}"):
            answer = await socket.answer_to({"type": "subscribe", "channel": f"discussion:{name}"})
            assert answer["code"] == "not_found"


async def test_of_two_who_use_a_ticket_at_once_one_is_let_in(arena, client):
    for _ in range(5):
        ticket = await ticket_of(client)
        async with socket_at(arena.url, ticket=ticket) as one, socket_at(arena.url, ticket=ticket) as other:
            answers = await asyncio.gather(one.answer_to({"type": "ping"}), other.answer_to({"type": "ping"}))
            assert sorted(answer["type"] for answer in answers) == ["error", "pong"]


async def test_a_ticket_is_good_for_seconds_only(arena, client, sql):
    ticket = await ticket_of(client)
    sql("UPDATE socket_tickets SET expires_at = now() - interval '1 second'")
    async with socket_at(arena.url, ticket=ticket) as socket:
        assert await socket.until_closed(5) == 4401
    await ticket_of(client)
    assert sql("SELECT count(*) FROM socket_tickets WHERE expires_at < now()") == [(0,)]


async def test_a_ticket_is_kept_as_a_hash_only(client, sql):
    ticket = await ticket_of(client)
    assert ticket.encode() not in b"".join(bytes(digest) for (digest,) in sql("SELECT digest FROM socket_tickets"))


async def test_a_logout_closes_the_sockets_of_its_session_and_no_others(arena, owner, make_discussion):
    draft = await make_discussion(status=Status.DRAFT)
    async with socket_of(owner) as socket, socket_of(owner) as silent:
        await socket.subscribe(draft)
        async with httpx2.AsyncClient(base_url=arena.url, trust_env=False) as visitor:
            other_session = (await log_in(visitor, owner.email))["access_token"]
        async with socket_at(arena.url) as other:
            await other.send({"type": "auth", "token": other_session})
            await other.subscribe(draft)
            assert (await owner.http.post("/api/v1/auth/logout")).status_code == 204
            assert await asyncio.gather(socket.until_closed(2), silent.until_closed(2)) == [4401, 4401]
            assert socket.frames[-1]["code"] == "session_ended"
            assert (await other.answer_to({"type": "ping"}))["type"] == "pong"


async def test_who_is_removed_from_the_workspace_loses_its_channels_only(
    owner, colleague, make_discussion, sql, make_agent
):
    draft = await make_discussion(status=Status.DRAFT)
    member = await colleague("member")
    async with socket_of(member) as socket:
        await socket.subscribe(draft)
        sql("DELETE FROM memberships WHERE workspace_id = %s AND user_id = %s", owner.workspace_id, member.id)
        told = await socket.until_error("not_found", 2)

        assert told["channel"] == channel_of(draft)
        assert (await socket.answer_to({"type": "ping"}))["type"] == "pong"


async def test_a_deleted_discussion_ends_its_channel(owner, client, make_discussion):
    draft, other = [await make_discussion(status=Status.DRAFT) for _ in range(2)]
    async with socket_of(owner) as socket:
        await socket.subscribe(draft)
        await socket.subscribe(other)
        assert (await client.delete(f"/api/v1/discussions/{draft.id}")).status_code == 204
        told = await socket.until_error("not_found", 2)
        await stop(client, other)
        await socket.until_event(other, "discussion.ended")

        assert told["channel"] == channel_of(draft)


@pytest.mark.parametrize(
    ("origin", "host", "is_let_in"),
    [
        (None, "arena.example", True),
        ("https://arena.example", "arena.example", True),
        ("https://arena.example", "arena.example:443", True),
        ("http://arena.example:8000", "arena.example:8000", True),
        ("http://ARENA.example", "arena.example", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://[::1]", "[::1]", True),
        ("https://app.example:8443", "arena.example", True),
        ("https://evil.example", "arena.example", False),
        ("https://arena.example.evil.example", "arena.example", False),
        ("http://arena.example:8001", "arena.example:8000", False),
        ("null", "arena.example", False),
        ("", "arena.example", False),
        ("https://", "", False),
        ("http://[bad", "arena.example", False),
        ("http://[::1", "[::1]", False),
        ("file://", "", False),
        ("chrome-extension://arena.example", "arena.example", False),
    ],
)
def test_pages_of_other_origins_are_not_welcome(settings, origin, host, is_let_in):
    server = settings.server.model_copy(update={"allowed_origins": "https://other.example, https://app.example:8443/"})

    assert is_welcome(origin, host, server) is is_let_in


async def test_a_page_of_another_origin_is_refused_in_the_handshake(arena, client):
    ticket = await ticket_of(client)
    address = f"{arena.url.replace('http', 'ws', 1)}/api/v1/ws?ticket={ticket}"
    with pytest.raises(InvalidStatus) as refused:
        await connect(address, origin="https://evil.example", proxy=None)
    assert refused.value.response.status_code == 403
    assert b"origin_not_allowed" in refused.value.response.body
    async with connect(address, origin=arena.url, proxy=None):
        pass
