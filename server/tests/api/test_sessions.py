"""Sessions: their owner sees where they are logged in, and ends what they will."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import psycopg
import pytest

from app.domain.discussion import Status
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import log_in
from tests.fixtures.problems import problem
from tests.fixtures.socket import socket_of

pytestmark = pytest.mark.anyio

SESSIONS = "/api/v1/auth/sessions"
PROMISED_SECONDS = 2.0
LIVE = {"Accept": "text/event-stream"}


async def sessions_of(http):
    response = await http.get(SESSIONS)
    assert response.status_code == 200, response.text
    return response.json()["items"]


async def other_session(person, anonymous, connect, **where):
    """A second login of the person's: its id, and a client that speaks by it."""
    tokens = await log_in(anonymous, person.email)
    http = await connect(tokens["access_token"], **where)
    [session] = [one for one in await sessions_of(http) if one["is_current"]]
    return session["id"], http, tokens


async def is_shut_out(http):
    return (await http.get("/api/v1/auth/me")).status_code == 401


async def test_a_session_says_by_which_device_from_where_and_when(owner, anonymous, connect):
    anonymous.headers["User-Agent"] = "Discussion\tReader/7 " + "x" * 300
    session_id, http, _ = await other_session(owner, anonymous, connect)

    [newest, first] = await sessions_of(http)

    assert newest["id"] == session_id
    assert newest["device"] == ("Discussion Reader/7 " + "x" * 300)[:200]
    assert newest["address"] == "127.0.0.1"
    assert newest["created_at"] <= newest["last_seen_at"] < newest["expires_at"]
    assert [newest["is_current"], first["is_current"]] == [True, False]
    assert set(newest) == {"id", "device", "address", "created_at", "last_seen_at", "expires_at", "is_current"}


async def test_sessions_are_paged_newest_first_and_only_ones_own(owner, stranger, anonymous):
    for _ in range(4):
        await log_in(anonymous, owner.email)
    listed, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await owner.http.get(SESSIONS, params=query)).json()
        listed += [session["id"] for session in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert listed == sorted(listed, reverse=True)
    assert len(set(listed)) == 5
    assert [session["is_current"] for session in await sessions_of(stranger.http)] == [True]


async def test_sessions_that_are_over_are_not_listed(owner, anonymous, connect, sql):
    ended, _, _ = await other_session(owner, anonymous, connect)
    expired, _, _ = await other_session(owner, anonymous, connect)
    sql("UPDATE sessions SET ended_at = now() WHERE id = %s", UUID(ended))
    sql("UPDATE sessions SET expires_at = now() WHERE id = %s", UUID(expired))

    assert [session["is_current"] for session in await sessions_of(owner.http)] == [True]


async def test_a_cursor_of_another_list_is_refused(owner, make_agent):
    for name in ("One", "Two"):
        await make_agent(name)
    cursor = (await owner.http.get("/api/v1/agents", params={"limit": 1})).json()["next_cursor"]

    problem(await owner.http.get(SESSIONS, params={"cursor": cursor}), 422, "bad_cursor")


async def test_an_ended_session_is_over_for_its_tokens(owner, anonymous, connect):
    session_id, http, tokens = await other_session(owner, anonymous, connect)

    response = await owner.http.delete(f"{SESSIONS}/{session_id}")

    assert (response.status_code, response.content) == (204, b"")
    assert await is_shut_out(http)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")
    assert not await is_shut_out(owner.http)


async def test_a_session_that_is_over_or_foreign_or_none_does_not_exist(owner, stranger, anonymous, connect, sql):
    [foreign] = await sessions_of(stranger.http)
    over, _, _ = await other_session(owner, anonymous, connect)
    await owner.http.delete(f"{SESSIONS}/{over}")

    for session_id in (foreign["id"], over, uuid4()):
        problem(await owner.http.delete(f"{SESSIONS}/{session_id}"), 404, "not_found")

    assert not await is_shut_out(stranger.http)
    problem(await owner.http.delete(f"{SESSIONS}/mine"), 422, "validation_failed")


async def test_one_may_end_the_session_one_speaks_by(owner):
    [current] = await sessions_of(owner.http)

    assert (await owner.http.delete(f"{SESSIONS}/{current['id']}")).status_code == 204

    assert await is_shut_out(owner.http)


async def test_all_others_end_at_once_and_the_one_that_asks_stays(owner, stranger, anonymous, connect):
    others = [(await other_session(owner, anonymous, connect))[1] for _ in range(3)]

    assert (await owner.http.delete(SESSIONS)).status_code == 204

    assert [await is_shut_out(http) for http in others] == [True] * 3
    assert [session["is_current"] for session in await sessions_of(owner.http)] == [True]
    assert not await is_shut_out(stranger.http)


async def leave_unused(sql, session_id, how_long):
    sql("UPDATE sessions SET last_seen_at = now() - %s::interval WHERE id = %s", how_long, UUID(session_id))


async def test_a_session_that_nobody_used_for_long_is_over_for_its_tokens(owner, anonymous, connect, elsewhere, sql):
    session_id, _, tokens = await other_session(owner, anonymous, connect)
    await leave_unused(sql, session_id, "14 days")

    assert await is_shut_out(await connect(tokens["access_token"], at=elsewhere))
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")
    assert [session["is_current"] for session in await sessions_of(owner.http)] == [True]
    problem(await owner.http.delete(f"{SESSIONS}/{session_id}"), 404, "not_found")


async def test_a_session_that_is_used_now_and_then_goes_on(owner, anonymous, connect, elsewhere, sql):
    session_id, _, tokens = await other_session(owner, anonymous, connect)
    await leave_unused(sql, session_id, "13 days 23 hours")

    assert not await is_shut_out(await connect(tokens["access_token"], at=elsewhere))
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await anonymous.post("/api/v1/auth/token", data=form)).status_code == 200


async def test_after_how_long_is_for_the_operator_to_say(owner, anonymous, connect, make_arena, sql):
    session_id, _, tokens = await other_session(owner, anonymous, connect)
    await leave_unused(sql, session_id, "1 day")
    stricter = make_arena(auth={"session_idle_days": 1})

    assert await is_shut_out(await connect(tokens["access_token"], at=stricter))


async def test_a_session_that_nobody_used_for_long_ends_its_streams(owner, anonymous, connect, make_discussion, sql):
    draft = await make_discussion(status=Status.DRAFT)
    session_id, http, _ = await other_session(owner, anonymous, connect)
    async with http.stream("GET", f"/api/v1/discussions/{draft.id}/events", headers=LIVE) as stream:
        reading = asyncio.create_task(read_until_it_ends(stream))
        await leave_unused(sql, session_id, "14 days")

        async with asyncio.timeout(PROMISED_SECONDS):
            await reading


@pytest.fixture
def elsewhere(make_arena):
    """Another API process on the same database."""
    return make_arena()


async def read_until_it_ends(stream):
    return [piece async for piece in stream.aiter_raw()]


@pytest.mark.parametrize("how", ["one", "others", "password", "disabled"])
async def test_what_ends_a_session_ends_its_tokens_streams_and_sockets_in_every_process(
    owner, anonymous, connect, elsewhere, make_discussion, sql, how
):
    draft = await make_discussion(status=Status.DRAFT)
    session_id, here, tokens = await other_session(owner, anonymous, connect)
    there = await connect(tokens["access_token"], at=elsewhere)
    address = f"/api/v1/discussions/{draft.id}/events"
    async with AsyncExitStack() as stack:
        reading = []
        for http in (here, there):
            stream = await stack.enter_async_context(http.stream("GET", address, headers=LIVE))
            reading.append(asyncio.create_task(read_until_it_ends(stream)))
        sockets = [
            await stack.enter_async_context(socket_of(_Speaker(http), str(http.base_url).rstrip("/")))
            for http in (here, there)
        ]
        for socket in sockets:
            await socket.subscribe(draft)
        assert not await is_shut_out(there)

        match how:
            case "one":
                ended = await owner.http.delete(f"{SESSIONS}/{session_id}")
            case "others":
                ended = await owner.http.delete(SESSIONS)
            case "disabled":
                sql("UPDATE users SET disabled_at = now() WHERE id = %s", owner.id)
            case _:
                change = {"password": "seventeen purple elephants", "new_password": "nineteen orange giraffes"}
                ended = await owner.http.post("/api/v1/auth/password", json=change)
        assert how == "disabled" or ended.status_code == 204

        async with asyncio.timeout(PROMISED_SECONDS):
            await asyncio.gather(*reading)
            for http, socket in zip((here, there), sockets, strict=True):
                await eventually(lambda http=http: is_shut_out(http), PROMISED_SECONDS, "the end of the access token")
                await socket.until(lambda socket=socket: socket.close_code is not None, PROMISED_SECONDS, "its end")
                assert socket.close_code == 4401
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")


class _Speaker:
    """What `socket_of` needs of a person."""

    def __init__(self, http):
        self.http = http


async def seen_at(sql, person):
    [(moment,)] = sql("SELECT last_seen_at FROM sessions WHERE user_id = %s", person.id)
    return moment


async def test_a_session_that_is_used_is_seen(owner, connect, sql):
    sql("UPDATE sessions SET last_seen_at = now() - interval '2 minutes' WHERE user_id = %s", owner.id)
    before = await seen_at(sql, owner)

    async def use_and_look():
        await owner.http.get("/api/v1/auth/me")
        return await seen_at(sql, owner) > before

    await eventually(use_and_look, 6, "that the session was seen")


async def test_use_is_written_once_a_minute_and_not_by_requests(owner, sql):
    sql("UPDATE sessions SET last_seen_at = now() - interval '50 seconds' WHERE user_id = %s", owner.id)
    before = sql("SELECT xmin::text, last_seen_at FROM sessions WHERE user_id = %s", owner.id)

    for _ in range(20):
        await owner.http.get("/api/v1/auth/me")
        await asyncio.sleep(0.2)

    assert sql("SELECT xmin::text, last_seen_at FROM sessions WHERE user_id = %s", owner.id) == before


async def test_no_request_waits_for_the_note_of_its_session(owner, sql, shared_database):
    sql("UPDATE sessions SET last_seen_at = now() - interval '2 minutes' WHERE user_id = %s", owner.id)
    with psycopg.connect(shared_database) as holder:
        holder.execute("SELECT 1 FROM sessions WHERE user_id = %s FOR UPDATE", [owner.id])
        async with asyncio.timeout(4):
            for _ in range(15):
                assert not await is_shut_out(owner.http)
                await asyncio.sleep(0.2)


async def test_a_refresh_notes_when_from_where_and_by_what(owner, anonymous, sql):
    sql(
        "UPDATE sessions SET last_seen_at = now() - interval '1 second', address = '192.0.2.1' WHERE user_id = %s",
        owner.id,
    )
    before = await seen_at(sql, owner)
    form = {"grant_type": "refresh_token", "refresh_token": owner.refresh_token}

    await anonymous.post("/api/v1/auth/token", data=form, headers={"User-Agent": "Another/1"})

    [session] = await sessions_of(owner.http)
    assert (session["device"], session["address"]) == ("Another/1", "127.0.0.1")
    assert await seen_at(sql, owner) > before


async def test_a_login_forgets_sessions_that_have_been_over_for_a_month(owner, stranger, anonymous, sql):
    for person in (owner, stranger):
        sql("UPDATE sessions SET ended_at = now() - interval '31 days' WHERE user_id = %s", person.id)
    for interval in ("29 days", "31 days"):
        await log_in(anonymous, owner.email)
        sql(
            "UPDATE sessions SET expires_at = now() - %s::interval WHERE user_id = %s AND expires_at > now()",
            *(interval, owner.id),
        )

    await log_in(anonymous, owner.email)

    kept = "SELECT count(*) FILTER (WHERE expires_at > now()), count(*) FROM sessions WHERE user_id = %s"
    assert sql(kept, owner.id) == [(1, 2)]
    assert sql("SELECT count(*) FROM sessions WHERE user_id = %s", stranger.id) == [(1,)]
