"""Rights on live streams: who may open one, how many, and that nobody watches on with rights that they have lost."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from app.core.access_tokens import STREAM
from app.core.clock import utc_now
from app.domain.discussion import Status
from tests.factories.discussions import ENDLESS
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.signers import make_signer
from tests.fixtures.socket import channel_of, socket_of
from tests.fixtures.viewer import watching

pytestmark = pytest.mark.anyio

PROMISED_SECONDS = 2.0
LIVE = {"Accept": "text/event-stream"}


def address_of(discussion):
    return f"/api/v1/discussions/{discussion['id']}/events"


@pytest.fixture
async def tables(client, make_agent, make_discussion):
    """A discussion in which nothing happens, and one in which somebody never stops talking."""
    busy = await make_discussion(agents=[await make_agent(model=ENDLESS, params={"max_tokens": 8000})])
    yield await make_discussion(status=Status.DRAFT), busy
    await client.post(f"/api/v1/discussions/{busy.id}/stop")


async def log_out(person, _sql):
    assert (await person.http.post("/api/v1/auth/logout")).status_code == 204


async def end_the_session(person, sql):
    sql("UPDATE sessions SET ended_at = now() WHERE user_id = %s", person.id)


async def disable_the_user(person, sql):
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", person.id)


async def read_until_it_ends(stream):
    return b"".join([piece async for piece in stream.aiter_raw()])


async def opened(stack, http, address):
    stream = await stack.enter_async_context(http.stream("GET", address, headers=LIVE))
    assert stream.status_code == 200
    return asyncio.create_task(read_until_it_ends(stream))


@pytest.mark.parametrize("revoke", [log_out, end_the_session, disable_the_user])
async def test_whose_session_ends_watches_nothing_two_seconds_later(colleague, tables, sql, revoke):
    person = await colleague("viewer")
    addresses = [*map(address_of, tables), "/api/v1/notifications"]
    async with AsyncExitStack() as stack:
        reading = [await opened(stack, person.http, address) for address in addresses]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in reading)

        await revoke(person, sql)

        async with asyncio.timeout(PROMISED_SECONDS):
            await asyncio.gather(*reading)
    for address in addresses:
        assert (await person.http.get(address, headers=LIVE)).status_code == 401


async def test_other_sessions_watch_on_when_one_ends(colleague, tables, client):
    person = await colleague("viewer")
    silent, busy = tables
    async with watching(client, busy.id) as other, AsyncExitStack() as stack:
        reading = await opened(stack, person.http, address_of(silent))
        await log_out(person, None)
        async with asyncio.timeout(PROMISED_SECONDS):
            await reading
        shown = len(other.text)
        await other.until(lambda _: len(other.text) > shown, 5)


async def test_nobody_watches_a_deleted_discussion(client, tables):
    async with AsyncExitStack() as stack:
        reading = [await opened(stack, client, address_of(table)) for table in tables]
        for table in tables:
            assert (await client.delete(f"/api/v1/discussions/{table.id}")).status_code == 204
        async with asyncio.timeout(PROMISED_SECONDS):
            last = await asyncio.gather(*reading)
    assert not any(b"86400000" in told for told in last), "told that there is nothing to come back for"
    for table in tables:
        problem(await client.get(address_of(table), headers=LIVE), 404, "not_found")


async def test_a_change_of_role_shows_less_or_more_on_streams_that_stay_open(
    client, owner, colleague, make_discussion, sql
):
    draft = await make_discussion(status=Status.DRAFT)
    narrowed, widened = await colleague("moderator", "Grace Hopper"), await colleague("member", "Alan Turing")

    async def whisper(content):
        body = {"content": content, "visible_to": [draft.participants[0]["id"]]}
        said = await client.post(f"/api/v1/discussions/{draft.id}/messages", json=body)
        assert said.status_code == 201, said.text
        return said.json()["message"]["seq"]

    def turn_into(person, role):
        sql(
            "UPDATE memberships SET role = %s WHERE workspace_id = %s AND user_id = %s",
            *(role, owner.workspace_id, person.id),
        )

    async with (
        watching(narrowed.http, draft.id) as less,
        watching(widened.http, draft.id) as more,
        socket_of(narrowed) as socket,
    ):
        await socket.subscribe(draft)
        before = await whisper("before")
        turn_into(narrowed, "member")
        turn_into(widened, "moderator")
        await asyncio.sleep(PROMISED_SECONDS)
        after = await whisper("after")

        def kind_of(viewer, seq):
            return viewer.until(lambda event: event.position[0] == seq, 5)

        assert [(await kind_of(less, seq)).type for seq in (before, after)] == ["message.completed", "message.withheld"]
        assert [(await kind_of(more, seq)).type for seq in (before, after)] == ["message.withheld", "message.completed"]
        shown = await socket.until_event(draft, lambda event: event.position[0] == after, 5)
        assert shown.type == "message.withheld"


async def test_whoever_may_read_everything_no_more_reads_what_is_whispered_to_their_own_seat(
    client, owner, colleague, make_discussion, sql
):
    person = await colleague("moderator", "Grace Hopper")
    draft = await make_discussion(status=Status.DRAFT, participants=[{"user_id": person.id}, {"user_id": owner.id}])
    seat = next(seat["id"] for seat in draft.participants if seat.get("user_id") == person.id)

    async def whisper():
        body = {"content": "for you", "visible_to": [seat]}
        said = await client.post(f"/api/v1/discussions/{draft.id}/messages", json=body)
        assert said.status_code == 201, said.text
        return said.json()["message"]["seq"]

    last = await whisper()
    async with AsyncExitStack() as stack:
        from_the_start = await stack.enter_async_context(watching(person.http, draft.id))
        await from_the_start.until("message.completed")
        seen = list(from_the_start.events)
        coming_back = watching(person.http, draft.id, after=str(last), knowing=seen)
        from_behind_their_seat = await stack.enter_async_context(coming_back)
        sql(
            "UPDATE memberships SET role = 'member' WHERE workspace_id = %s AND user_id = %s",
            *(owner.workspace_id, person.id),
        )
        await asyncio.sleep(PROMISED_SECONDS)
        last = await whisper()
        for viewer in (from_the_start, from_behind_their_seat):
            shown = await viewer.until(lambda event: event.position[0] == last, 5)
            assert shown.type == "message.completed"


@pytest.fixture
def stream_token():
    async def ask(person):
        response = await person.http.post("/api/v1/auth/stream-token")
        assert response.status_code == 201
        return response.json()["token"]

    return ask


async def first_bytes(http, discussion, token, **headers):
    """The status, and a little of the stream if there is one."""
    asking = http.stream(
        "GET", address_of(discussion), params={"stream_token": token} if token else {}, headers=LIVE | headers
    )
    async with asyncio.timeout(5), asking as stream:
        if stream.status_code != 200:
            return stream.status_code, (await stream.aread()).decode()
        seen = ""
        async for piece in stream.aiter_text():
            seen += piece
            if "event: discussion.created" in seen:
                break
        return 200, seen


async def test_a_stream_token_opens_streams_of_every_workspace_of_its_user_and_no_other(
    anonymous, colleague, make_discussion, make_agent, stranger, stream_token
):
    person = await colleague("viewer")
    theirs = await make_discussion(status=Status.DRAFT)
    del person.http.headers["X-Workspace-ID"]
    own_agent = await make_agent(by=person)
    own = await make_discussion(status=Status.DRAFT, by=person, agents=[own_agent])
    token = await stream_token(person)

    for discussion in (theirs, own):
        assert (await first_bytes(anonymous, discussion, token))[0] == 200
    status, body = await first_bytes(anonymous, theirs, await stream_token(stranger))
    assert (status, "not_found" in body) == (404, True)


async def test_a_stream_token_opens_nothing_else(anonymous, owner, make_discussion, stream_token):
    draft = await make_discussion(status=Status.DRAFT)
    token = await stream_token(owner)
    bearer = {"Authorization": f"Bearer {token}"}

    page = await anonymous.get(address_of(draft), params={"stream_token": token})
    problem(page, 401, "unauthenticated")
    for path in ("/api/v1/auth/me", "/api/v1/discussions", address_of(draft)):
        problem(await anonymous.get(path, headers=bearer), 401, "invalid_token")
        problem(await anonymous.get(path, headers=bearer | LIVE), 401, "invalid_token")
    assert (await anonymous.get("/api/v1/auth/me", params={"stream_token": token})).status_code == 401


async def test_nothing_else_is_a_stream_token(anonymous, owner, make_discussion, signer_of_arena, stream_token):
    draft = await make_discussion(status=Status.DRAFT)
    signer = signer_of_arena(30)
    claims = signer.verify(owner.access_token)
    other = make_signer(seconds=30)
    for token, code in (
        (owner.access_token, "invalid_token"),
        ("", "unauthenticated"),
        ("x", "invalid_token"),
        (other.issue(claims, kind=STREAM), "invalid_token"),
        (signer.issue(claims, utc_now() - timedelta(seconds=31), kind=STREAM), "token_expired"),
    ):
        status, body = await first_bytes(anonymous, draft, token)
        assert (status, f'"{code}"' in body) == (401, True), (token, body)
    good = signer.issue(claims, utc_now() - timedelta(seconds=10), kind=STREAM)
    assert (await first_bytes(anonymous, draft, good))[0] == 200


async def test_a_stream_token_and_its_stream_end_with_the_session(anonymous, owner, make_discussion, stream_token):
    draft = await make_discussion(status=Status.DRAFT)
    token = await stream_token(owner)
    async with AsyncExitStack() as stack:
        reading = await opened(stack, anonymous, f"{address_of(draft)}?stream_token={token}")
        await log_out(owner, None)
        async with asyncio.timeout(PROMISED_SECONDS):
            await reading

    assert (await first_bytes(anonymous, draft, token))[0] == 401


async def test_one_person_holds_only_so_many_streams_of_whatever_kind(
    make_arena, make_discussion, connect, owner, colleague
):
    place = make_arena(server={"streams_per_user": 2, "rate_limits": "on"})
    here = await connect(owner.access_token, at=place)
    other = await colleague("viewer")
    elsewhere = await connect(other.access_token, at=place)
    drafts = [await make_discussion(status=Status.DRAFT) for _ in range(2)]

    async def status(http=here, address=None):
        asking = {**LIVE, "X-Workspace-ID": owner.workspace_id}
        async with http.stream("GET", address or address_of(drafts[0]), headers=asking) as stream:
            if stream.status_code == 429:
                assert b'"code":"too_many_streams"' in await stream.aread()
            return stream.status_code

    async with socket_of(owner, place.url) as socket:  # one
        async with watching(here, drafts[0].id):  # and two
            assert await status() == 429
            assert await status(address="/api/v1/notifications") == 429
            refused = await socket.answer_to({"type": "subscribe", "channel": channel_of(drafts[0])})
            assert (refused["type"], refused["code"]) == ("error", "too_many_streams")
            assert await status(elsewhere) == 200
        await eventually(lambda: len(place.app.state.services.streams) == 1, 5, "room")
        await socket.subscribe(drafts[0])
        assert await status() == 429
        await socket.answer_to({"type": "unsubscribe", "channel": channel_of(drafts[0]), "ref": "u"})
        assert await status() == 200
