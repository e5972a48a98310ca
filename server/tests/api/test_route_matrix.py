"""Every route of the document, called by everybody: the table of permissions decides, and nothing else.

It is generated: a route without a declared permission that is not listed as public fails it, and so does a new one that
lets in whoever the table does not.
"""

import pytest

from app.domain.permissions import (
    GRANTS,
    OF_EVERYBODY,
    OF_SUPERUSERS,
    SCOPES,
    Permission,
    Role,
    allows,
)
from tests.fixtures.people import log_in
from tests.fixtures.problems import problem
from tests.fixtures.routes import DOCUMENT, OF_ONESELF, PROTECTED, PUBLIC, ROUTES
from tests.fixtures.things import call

pytestmark = pytest.mark.anyio

CALLER = "caller"
OF_WORKSPACES = frozenset().union(*GRANTS.values())
OWN_WORKSPACES = ("get", "/api/v1/workspaces")
"""Asks for `workspace:read` in whichever workspace: everybody has one of their own."""


def declared(method: str, path: str, name: str = "x-permission") -> str | None:
    return DOCUMENT[path][method].get(name)


def needed(method: str, path: str) -> Permission:
    """What a member needs for what is the owner's."""
    return Permission(declared(method, path, "x-permission-of-others") or declared(method, path))


OF_ROLES = [route for route in PROTECTED if declared(*route) in OF_WORKSPACES and route != OWN_WORKSPACES]
OF_ACCOUNTS = [route for route in PROTECTED if declared(*route) in OF_EVERYBODY]
OF_ADMINISTRATORS = [route for route in PROTECTED if declared(*route) in OF_SUPERUSERS]
OF_CALLERS = [route for route in PROTECTED if declared(*route) == CALLER]


def test_every_route_declares_what_it_asks_for_or_is_listed_as_public():
    undeclared = {path for method, path in ROUTES if declared(method, path) is None}

    assert undeclared == PUBLIC


def test_every_route_is_walked():
    walked = [*OF_ROLES, *OF_ACCOUNTS, *OF_ADMINISTRATORS, *OF_CALLERS]

    assert sorted([*walked, OWN_WORKSPACES]) == sorted(PROTECTED)


def test_the_table_knows_every_permission_once():
    assert set(Permission) == OF_WORKSPACES | OF_EVERYBODY | OF_SUPERUSERS
    assert not OF_WORKSPACES & (OF_EVERYBODY | OF_SUPERUSERS)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_nobody_is_let_in_without_a_credential_or_with_a_made_up_one(anonymous, method, path, things):
    problem(await call(anonymous, method, path, things), 401, "unauthenticated")
    for token in ("made up", "arena_sk_madeup", "eyJhbGciOiJub25lIn0.e30."):
        problem(await call(anonymous, method, path, things, headers=bearer(token)), 401, "invalid_token")


@pytest.mark.parametrize(("method", "path"), OF_ROLES)
async def test_a_role_does_what_the_table_says(
    owner, stranger, colleague, make_key, anonymous, rows_of, things, method, path
):
    wanted = needed(method, path)
    before = rows_of(owner)
    there = {"X-Workspace-ID": owner.workspace_id}

    problem(await call(stranger.http, method, path, things, headers=there), 404, "not_found")
    for role in Role:
        if not allows(role, wanted):
            person = await colleague(role)
            problem(await call(person.http, method, path, things), 403, "forbidden")
            before["memberships"] = rows_of(owner)["memberships"]
    narrow = await make_key(*SCOPES - {declared(method, path), Permission.INSTALLATION_MANAGE})
    refused = await call(anonymous, method, path, things, headers=there | bearer(narrow["key"]))
    problem(refused, 403, "insufficient_scope")
    assert rows_of(owner) == before

    weakest = next(role for role in Role if allows(role, wanted))
    person = owner if weakest == Role.OWNER else await colleague(weakest)
    await is_let_in(person.http, method, path, things, {})


@pytest.mark.parametrize(("method", "path"), OF_ROLES)
async def test_a_key_with_just_the_scope_is_enough(owner, make_key, anonymous, things, method, path):
    key = await make_key(declared(method, path))

    await is_let_in(anonymous, method, path, things, {"X-Workspace-ID": owner.workspace_id} | bearer(key["key"]))


@pytest.mark.parametrize(("method", "path"), OF_ACCOUNTS)
async def test_what_is_of_an_account_is_refused_to_narrow_credentials(owner, make_key, anonymous, things, method, path):
    key = await make_key(*SCOPES - {declared(method, path), Permission.INSTALLATION_MANAGE})
    scope = " ".join(SCOPES - {declared(method, path)})
    session = await log_in(anonymous, owner.email, scope=scope)

    for token in (key["key"], session["access_token"]):
        refused = await call(anonymous, method, path, things, headers=bearer(token))
        problem(refused, 403, "insufficient_scope")


@pytest.mark.parametrize(("method", "path"), OF_ADMINISTRATORS)
async def test_only_superusers_administer_the_installation(owner, anonymous, make_key, sql, things, method, path):
    problem(await call(owner.http, method, path, things), 403, "forbidden")
    sql("UPDATE users SET is_superuser = true WHERE id = %s", owner.id)
    again = (await log_in(anonymous, owner.email))["access_token"]
    narrow = await make_key(*SCOPES - {Permission.INSTALLATION_MANAGE})

    refused = await call(anonymous, method, path, things, headers=bearer(narrow["key"]))
    problem(refused, 403, "insufficient_scope")
    allowed = await call(anonymous, method, path, things, headers=bearer(again))
    assert allowed.status_code < 300, allowed.text


@pytest.mark.parametrize(("method", "path"), OF_CALLERS)
async def test_what_asks_only_who_calls_takes_any_credential(make_key, anonymous, things, method, path):
    key = await make_key("audit:read")

    answer = await call(anonymous, method, path, things, headers=bearer(key["key"]))

    if path == "/api/v1/auth/logout":
        problem(answer, 409, "not_a_session")
    else:
        assert answer.status_code < 300, answer.text


def test_what_is_about_oneself_needs_no_workspace():
    for method, path in PROTECTED:
        if path in OF_ONESELF and path != "/api/v1/workspaces":
            assert declared(method, path) in {CALLER, *OF_EVERYBODY}, (method, path)


async def is_let_in(http, method, path, things, headers):
    if path == "/api/v1/notifications":  # a stream without an end
        async with http.stream("GET", path, headers=headers) as stream:
            assert stream.status_code == 200
        return
    allowed = await call(http, method, path, things, headers={"Accept": "application/json"} | headers)
    assert allowed.status_code < 300, allowed.text


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
