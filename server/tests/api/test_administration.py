"""Administration: superusers see and change accounts; nobody is locked out by mistake, nor keeps what was taken."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from app.core.security import digest_of
from app.domain.discussion import Status
from tests.fixtures.databases import rows
from tests.fixtures.people import PASSWORD, log_in
from tests.fixtures.problems import problem
from tests.fixtures.socket import socket_of

pytestmark = pytest.mark.anyio

USERS = "/api/v1/admin/users"
LIVE = {"Accept": "text/event-stream"}
PROMISED_SECONDS = 2.0


@pytest.fixture
def account(sql):
    """(name, whether it administers, whether it is disabled) of an account."""
    statement = "SELECT display_name, is_superuser, disabled_at IS NOT NULL FROM users WHERE id = %s"
    return lambda person: sql(statement, person.id)[0]


async def test_superusers_see_accounts_newest_first_and_find_them_by_name_and_address(admin, make_user):
    name = f"Found {uuid4().hex}"
    people = [await make_user(name) for _ in range(3)]

    first = (await admin.http.get(USERS, params={"q": name.upper(), "limit": 2})).json()
    rest = (await admin.http.get(USERS, params={"q": name, "limit": 2, "cursor": first["next_cursor"]})).json()
    by_address = (await admin.http.get(USERS, params={"q": people[0].email})).json()

    assert [one["id"] for one in first["items"] + rest["items"]] == [person.id for person in reversed(people)]
    assert rest["next_cursor"] is None
    [shown] = by_address["items"]
    assert {name: shown[name] for name in ("email", "is_superuser", "is_disabled", "has_second_factor")} == {
        "email": people[0].email,
        "is_superuser": False,
        "is_disabled": False,
        "has_second_factor": False,
    }
    assert (await admin.http.get(USERS, params={"q": "%"})).json()["items"] == []


@pytest.mark.parametrize("is_anonymous", [True, False])
async def test_nobody_else_sees_or_changes_accounts(owner, client, anonymous, account, is_anonymous):
    http, status, code = (anonymous, 401, "unauthenticated") if is_anonymous else (client, 403, "forbidden")

    problem(await http.get(USERS), status, code)
    problem(await http.patch(f"{USERS}/{owner.id}", json={"is_superuser": True}), status, code)

    assert account(owner) == ("Ada Byron", False, False)


async def test_an_account_is_renamed_and_made_to_administer_and_not(admin, owner, client, account):
    changed = await admin.http.patch(f"{USERS}/{owner.id}", json={"is_superuser": True, "display_name": "Countess"})
    assert changed.status_code == 200, changed.text
    assert account(owner) == ("Countess", True, False)

    await admin.http.patch(f"{USERS}/{owner.id}", json={"is_superuser": False})
    assert account(owner) == ("Countess", False, False)
    problem(await admin.http.patch(f"{USERS}/{uuid4()}", json={"is_superuser": True}), 404, "user_not_found")


@pytest.mark.parametrize(
    "body", [{"is_disabled": None}, {"email": "x@arena.example"}, {"password_hash": ""}, {"id": 1}]
)
async def test_nothing_else_of_an_account_can_be_set(admin, owner, body):
    problem(await admin.http.patch(f"{USERS}/{owner.id}", json=body), 422, "validation_failed")


async def test_who_is_disabled_is_out_everywhere_within_two_seconds(
    admin, owner, client, anonymous, make_discussion, sql
):
    draft = await make_discussion(status=Status.DRAFT)
    sql(
        "INSERT INTO api_keys (id, user_id, name, hint, digest, scopes) VALUES (%s, %s, 'k', 'h', %s, '{}')",
        *(key_id := uuid4(), owner.id, digest_of(str(key_id))),
    )

    async def read_to_its_end():
        async with client.stream("GET", f"/api/v1/discussions/{draft.id}/events", headers=LIVE) as stream:
            assert stream.status_code == 200
            return b"".join([piece async for piece in stream.aiter_raw()])

    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(socket_of(owner))
        await socket.subscribe(draft)
        reading = asyncio.create_task(read_to_its_end())
        await asyncio.sleep(0.1)

        disabled = await admin.http.patch(f"{USERS}/{owner.id}", json={"is_disabled": True})

        assert disabled.json()["is_disabled"]
        async with asyncio.timeout(PROMISED_SECONDS):
            await reading
            assert await socket.until_closed() == 4401
    problem(await client.get("/api/v1/auth/me"), 401, "session_ended")
    form = {"grant_type": "refresh_token", "refresh_token": owner.refresh_token}
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")
    form = {"grant_type": "password", "username": owner.email, "password": PASSWORD}
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")
    assert sql("SELECT revoked_at IS NOT NULL FROM api_keys WHERE id = %s", key_id) == [(True,)]


async def test_who_is_let_in_again_logs_in_anew(admin, owner, client, anonymous):
    await admin.http.patch(f"{USERS}/{owner.id}", json={"is_disabled": True})
    await admin.http.patch(f"{USERS}/{owner.id}", json={"is_disabled": False})

    form = {"grant_type": "refresh_token", "refresh_token": owner.refresh_token}
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")
    assert await log_in(anonymous, owner.email)


async def test_nobody_disables_themselves(admin, account):
    problem(await admin.http.patch(f"{USERS}/{admin.id}", json={"is_disabled": True}), 409, "own_account")

    assert account(admin) == ("Root Admin", True, False)


async def test_who_administered_a_moment_ago_changes_nothing(admin, make_user, sql, account):
    second = await make_user("Second")
    sql("UPDATE users SET is_superuser = true WHERE id = %s", second.id)
    assert (await second.http.get(USERS)).status_code == 200

    await admin.http.patch(f"{USERS}/{second.id}", json={"is_superuser": False})

    problem(await second.http.patch(f"{USERS}/{second.id}", json={"is_superuser": True}), 403, "forbidden")
    assert account(second) == ("Second", False, False)


@pytest.fixture
async def superusers(workerless, make_user, fresh_database):
    """The two who administer an installation of their own."""
    people = [await make_user(name, at=workerless) for name in ("First", "Second")]
    rows(fresh_database, "UPDATE users SET is_superuser = true")
    return people


async def test_the_last_superuser_stays_one(superusers):
    first, second = superusers
    assert (await first.http.patch(f"{USERS}/{second.id}", json={"is_superuser": False})).status_code == 200

    problem(await first.http.patch(f"{USERS}/{first.id}", json={"is_superuser": False}), 409, "last_superuser")


@pytest.mark.parametrize("change", [{"is_superuser": False}, {"is_disabled": True}])
async def test_two_superusers_who_unmake_each_other_at_once_leave_one(superusers, fresh_database, change):
    first, second = superusers

    answers = await asyncio.gather(
        first.http.patch(f"{USERS}/{second.id}", json=change), second.http.patch(f"{USERS}/{first.id}", json=change)
    )

    assert sorted(answer.status_code for answer in answers) == [200, 403]
    assert rows(fresh_database, "SELECT count(*) FROM users WHERE is_superuser AND disabled_at IS NULL") == [(1,)]


async def test_two_superusers_who_step_down_at_once_leave_one(superusers, fresh_database):
    answers = await asyncio.gather(
        *(one.http.patch(f"{USERS}/{one.id}", json={"is_superuser": False}) for one in superusers)
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert rows(fresh_database, "SELECT count(*) FROM users WHERE is_superuser") == [(1,)]
