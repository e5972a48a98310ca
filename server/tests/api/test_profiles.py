"""One's own account: a new name for the asking, a new address for who knows the password."""

import pytest

from tests.fixtures.people import PASSWORD, log_in
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

ME = "/api/v1/auth/me"


def new_address(person):
    return f"new-{person.email}"


async def test_a_new_name_is_shown_at_once(owner):
    response = await owner.http.patch(ME, json={"display_name": "  Augusta Ada King "})

    assert (response.status_code, response.json()["display_name"]) == (200, "Augusta Ada King")
    me = (await owner.http.get(ME)).json()
    assert (me["display_name"], me["email"]) == ("Augusta Ada King", owner.email)


async def test_a_new_address_with_the_password_is_the_one_to_log_in_with(owner, anonymous):
    body = {"email": new_address(owner).upper(), "password": PASSWORD}

    response = await owner.http.patch(ME, json=body)

    assert (response.status_code, response.json()["email"]) == (200, new_address(owner))
    assert await log_in(anonymous, new_address(owner))
    form = {"grant_type": "password", "username": owner.email, "password": PASSWORD}
    problem(await anonymous.post("/api/v1/auth/token", data=form), 401, "invalid_grant")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [({}, 422, "password_needed"), ({"password": "not the password"}, 403, "wrong_password")],
)
async def test_without_the_password_the_address_and_all_else_stays(owner, change, status, code):
    body = {"email": new_address(owner), "display_name": "Eve", **change}

    problem(await owner.http.patch(ME, json=body), status, code)

    me = (await owner.http.get(ME)).json()
    assert (me["email"], me["display_name"]) == (owner.email, "Ada Byron")


async def test_an_address_of_others_is_not_taken(owner, stranger):
    body = {"email": stranger.email.upper(), "display_name": "Eve", "password": PASSWORD}

    problem(await owner.http.patch(ME, json=body), 409, "email_taken")

    me = (await owner.http.get(ME)).json()
    assert (me["email"], me["display_name"]) == (owner.email, "Ada Byron")


async def test_the_present_address_needs_no_password(owner):
    response = await owner.http.patch(ME, json={"email": owner.email.upper(), "display_name": "Ada"})

    assert (response.status_code, response.json()["display_name"]) == (200, "Ada")


async def test_a_new_address_takes_back_what_was_mailed_to_the_old_one(owner, sql):
    sql("INSERT INTO password_resets VALUES (%s, %s, now() + interval '1 hour')", owner.id.encode(), owner.id)

    await owner.http.patch(ME, json={"email": new_address(owner), "password": PASSWORD})

    assert sql("SELECT 1 FROM password_resets WHERE user_id = %s", owner.id) == []


@pytest.mark.parametrize(
    "body",
    [
        {"is_superuser": True},
        {"id": "01a22648-0f5f-726c-9ab0-76ef4666ed93"},
        {"password_hash": "x"},
        {"disabled_at": None},
        {"display_name": None},
        {"email": None, "password": PASSWORD},
        {"display_name": " "},
        {"display_name": "two\nlines"},
        {"email": "nobody"},
        {"email": "new@arena.example", "password": ""},
    ],
)
async def test_what_nobody_may_set_of_themselves_is_refused(owner, sql, body):
    before = sql("SELECT u::text FROM users u WHERE id = %s", owner.id)

    problem(await owner.http.patch(ME, json=body), 422, "validation_failed")

    assert sql("SELECT u::text FROM users u WHERE id = %s", owner.id) == before


async def test_nothing_given_changes_nothing(owner, sql):
    before = (await owner.http.get(ME)).json()

    response = await owner.http.patch(ME, json={})

    assert (response.status_code, response.json()) == (200, before)
