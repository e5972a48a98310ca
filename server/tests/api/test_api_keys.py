"""API keys: made, listed and revoked by their owner, good for what their scopes name and no longer than they live."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from app.core.api_keys import make_key as make_text
from app.domain.permissions import SCOPES, Permission
from app.repositories.api_keys import MOST_LIVE_KEYS
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

KEYS = "/api/v1/auth/api-keys"
ME = "/api/v1/auth/me"
REMEMBERED_SECONDS = 1.0


def body_of(*scopes, **more):
    return {"name": "A program", "scopes": list(scopes or ["discussions:read"]), **more}


@pytest.fixture
def using(connect):
    """A client that shows a key."""

    async def use(key, **where):
        return await connect(key["key"], **where)

    return use


async def refused(http, path=ME):
    """The refusal of a key that was good a moment ago, within the second that it is remembered for."""

    async def look():
        response = await http.get(path)
        return response if response.status_code == 401 else None

    return await eventually(look, REMEMBERED_SECONDS + 0.3, "the end of the key")


async def test_a_key_is_shown_once_and_kept_only_as_a_digest(client, owner, sql):
    response = await client.post(KEYS, json=body_of("discussions:read", "agents:read"))

    made = response.json()
    assert (response.status_code, response.headers["Cache-Control"]) == (201, "no-store")
    assert made["key"].startswith("arena_sk_")
    assert made["scopes"] == ["agents:read", "discussions:read"]
    [(row,)] = sql("SELECT k::text FROM api_keys k WHERE user_id = %s", owner.id)
    assert made["key"][13:] not in row
    listed = await client.get(KEYS)
    assert "key" not in listed.json()["items"][0]
    assert made["key"][13:] not in listed.text


async def test_keys_are_listed_newest_first_and_in_pages(client, make_key):
    made = [await make_key(name=f"Key {number}") for number in range(3)]

    first = (await client.get(KEYS, params={"limit": 2})).json()
    rest = (await client.get(KEYS, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    listed = first["items"] + rest["items"]
    assert [key["id"] for key in listed] == [key["id"] for key in reversed(made)]
    assert rest["next_cursor"] is None
    assert listed[0] == {name: value for name, value in made[2].items() if name != "key"}
    assert made[2]["key"].startswith(listed[0]["hint"])


async def test_a_key_is_its_owner_narrowed_to_its_scopes(owner, make_key, using):
    key = await make_key("agents:read")
    http = await using(key)

    assert (await http.get(ME)).json()["id"] == owner.id
    assert (await http.get("/api/v1/agents")).status_code == 200
    problem(await http.get("/api/v1/discussions"), 403, "insufficient_scope")


async def test_when_a_key_was_used_is_told(client, make_key, using):
    key = await make_key()
    assert key["last_used_at"] is None

    await (await using(key)).get("/api/v1/agents")

    async def listed():
        return (await client.get(KEYS)).json()["items"][0]["last_used_at"]

    assert await eventually(listed, 5, "the time of its use")


async def test_the_use_of_a_key_is_written_once_a_minute(make_key, using, sql):
    key = await make_key()
    http = await using(key)
    sql("UPDATE api_keys SET last_used_at = now() - interval '50 seconds' WHERE id = %s", key["id"])
    before = sql("SELECT last_used_at, xmin::text FROM api_keys WHERE id = %s", key["id"])

    for _ in range(3):
        await http.get("/api/v1/agents")
        await asyncio.sleep(REMEMBERED_SECONDS / 2)
    assert sql("SELECT last_used_at, xmin::text FROM api_keys WHERE id = %s", key["id"]) == before

    sql("UPDATE api_keys SET last_used_at = now() - interval '61 seconds' WHERE id = %s", key["id"])
    await asyncio.sleep(REMEMBERED_SECONDS)
    await http.get("/api/v1/agents")

    def was_written():
        return sql("SELECT 1 FROM api_keys WHERE id = %s AND last_used_at > now() - interval '30 seconds'", key["id"])

    await eventually(was_written, 5, "the time of its use")


async def test_a_request_does_not_wait_until_its_key_is_noted_as_used(make_key, using, shared_database):
    key = await make_key()
    http = await using(key)

    with psycopg.connect(shared_database) as holding:
        holding.execute("SELECT 1 FROM api_keys WHERE id = %s FOR UPDATE", [key["id"]])
        async with asyncio.timeout(3):
            assert (await http.get("/api/v1/agents")).status_code == 200


@pytest.mark.parametrize(
    "make", [lambda: "", lambda: "x" * 4000, lambda: make_text()[9:], lambda: make_text()[9:-1] + "!"]
)
async def test_whatever_follows_the_prefix_is_no_key_if_it_is_none(connect, make):
    response = await (await connect("arena_sk_" + make())).get(ME)

    problem(response, 401, "invalid_token")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_malformed_key_costs_no_look_up_and_an_unknown_one_costs_one(connect, queries):
    unknown, malformed = await connect(make_text()), await connect("arena_sk_" + "A" * 49)

    for http, cost in ((malformed, 0), (unknown, 1)):
        response = await http.get(ME)
        problem(response, 401, "invalid_token")
        assert queries.of(response) == cost


async def test_a_key_that_was_just_used_costs_nothing_to_know(make_key, using, queries):
    http = await using(await make_key())
    await http.get(ME)

    response = await http.get(ME)

    assert (response.status_code, queries.of(response)) == (200, 0)


async def test_a_revoked_key_is_refused_and_listed_no_more(client, make_key, using):
    key, other = await make_key(), await make_key()
    http = await using(key)
    assert (await http.get(ME)).status_code == 200

    assert (await client.delete(f"{KEYS}/{key['id']}")).status_code == 204

    problem(await http.get(ME), 401, "invalid_token")
    assert [left["id"] for left in (await client.get(KEYS)).json()["items"]] == [other["id"]]
    problem(await client.delete(f"{KEYS}/{key['id']}"), 404, "not_found")
    assert (await (await using(other)).get(ME)).status_code == 200


async def test_another_process_refuses_a_revoked_key_within_a_second(client, make_key, using, make_arena):
    key = await make_key()
    elsewhere = await using(key, at=make_arena())
    assert (await elsewhere.get(ME)).status_code == 200

    await client.delete(f"{KEYS}/{key['id']}")

    problem(await refused(elsewhere), 401, "invalid_token")


async def test_a_key_expires(make_key, using, sql):
    key = await make_key(expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    http = await using(key)
    assert (await http.get(ME)).status_code == 200

    sql("UPDATE api_keys SET expires_at = now() WHERE id = %s", key["id"])

    problem(await refused(http), 401, "invalid_token")


async def test_the_keys_of_a_disabled_account_are_refused(owner, make_key, using, sql):
    http = await using(await make_key())
    assert (await http.get(ME)).status_code == 200

    sql("UPDATE users SET disabled_at = now() WHERE id = %s", owner.id)

    problem(await refused(http), 401, "invalid_token")


async def test_the_end_of_a_session_is_not_the_end_of_a_key(client, make_key, using):
    http = await using(await make_key())

    await client.post("/api/v1/auth/logout")

    assert (await http.get(ME)).status_code == 200


async def test_a_key_is_not_logged_out(make_key, using):
    http = await using(await make_key())

    problem(await http.post("/api/v1/auth/logout"), 409, "not_a_session")
    assert (await http.get(ME)).status_code == 200


async def test_nobody_revokes_anothers_key(stranger, make_key, using):
    key = await make_key()

    problem(await stranger.http.delete(f"{KEYS}/{key['id']}"), 404, "not_found")

    assert (await (await using(key)).get(ME)).status_code == 200
    assert (await stranger.http.get(KEYS)).json()["items"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"scopes": []}, "validation_failed"),
        ({"scopes": ["discussions:read", "everything"]}, "invalid_scope"),
        ({"scopes": ["account:manage"]}, "invalid_scope"),
        ({"scopes": ["*"]}, "invalid_scope"),
        ({"scopes": ["Discussions:Read"]}, "invalid_scope"),
        ({"scopes": ["discussions:read"] * 51}, "validation_failed"),
        ({"scopes": "discussions:read"}, "validation_failed"),
        ({"name": ""}, "validation_failed"),
        ({"name": "two\nlines"}, "validation_failed"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "already_expired"),
        ({"expires_at": "2999-01-01T00:00:00"}, "validation_failed"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "validation_failed"),
        ({"user_id": str(uuid4())}, "validation_failed"),
        ({"digest": "00"}, "validation_failed"),
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(client, owner, sql, change, code):
    problem(await client.post(KEYS, json=body_of() | change), 422, code)

    assert sql("SELECT 1 FROM api_keys WHERE user_id = %s", owner.id) == []


async def test_an_account_has_so_many_live_keys_and_no_more(client, owner, make_key, sql):
    sql(
        "INSERT INTO api_keys (id, user_id, name, hint, digest, scopes) SELECT gen_random_uuid(), %s, 'x', 'x',"
        " decode(md5(random()::text), 'hex'), '{discussions:read}' FROM generate_series(1, %s)",
        *(owner.id, MOST_LIVE_KEYS - 1),
    )

    answers = await asyncio.gather(*(client.post(KEYS, json=body_of()) for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    problem(next(answer for answer in answers if answer.status_code == 409), 409, "too_many_keys")
    sql("UPDATE api_keys SET expires_at = now() WHERE user_id = %s AND name = 'x'", owner.id)
    await make_key()


async def test_a_key_with_every_scope_can_be_made_by_who_holds_them_all(client, owner, sql):
    sql("UPDATE users SET is_superuser = true WHERE id = %s", owner.id)
    await asyncio.sleep(REMEMBERED_SECONDS)

    made = await client.post(KEYS, json=body_of(*sorted(SCOPES)))

    assert made.status_code == 201, made.text
    assert made.json()["scopes"] == [permission for permission in Permission if permission in SCOPES]
