"""Every route of the document, called by everybody: the table of permissions decides, and nothing else.

It is generated: a route without a declared permission that is not listed as public fails it, and so does a new one that
lets in whoever the table does not, or keeps out whom it does.
"""

import time
from dataclasses import replace
from typing import Any

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
from tests.fixtures.routes import ASKING_OTHERS, DOCUMENT, OF_ONESELF, PROTECTED, PUBLIC, ROUTES
from tests.fixtures.things import call, make_things

pytestmark = pytest.mark.anyio

CALLER = "caller"
TOKEN_SECONDS = 600
OF_WORKSPACES = frozenset().union(*GRANTS.values())
OWN_WORKSPACES = ("get", "/api/v1/workspaces")
"""Asks for `workspace:read` in whichever workspace: everybody has one of their own."""
MADE_UP = ("made up", "arena_sk_madeup", "eyJhbGciOiJub25lIn0.e30.")
STRANGER, SUPERUSER = "stranger", "superuser"
NARROW_KEY, NARROW_SESSION, JUST_ENOUGH = "key-with-too-little", "session-with-too-little", "key-with-just-enough"
KEYS = {NARROW_KEY, JUST_ENOUGH}
NEED_AN_ISSUER = {(method, "/api/v1/auth/oidc/link") for method in ("post", "delete")}
"""Of identities, which this installation has not."""


def declared(method: str, path: str, name: str = "x-permission") -> str | None:
    return DOCUMENT[path][method].get(name)


def needed(method: str, path: str) -> Permission:
    """What a member needs for what is the owner's."""
    return Permission(declared(method, path, "x-permission-of-others") or declared(method, path))


OF_ROLES = [route for route in PROTECTED if declared(*route) in OF_WORKSPACES and route != OWN_WORKSPACES]
OF_ACCOUNTS = [route for route in PROTECTED if declared(*route) in OF_EVERYBODY or route == OWN_WORKSPACES]
OF_ADMINISTRATORS = [route for route in PROTECTED if declared(*route) in OF_SUPERUSERS]
OF_CALLERS = [route for route in PROTECTED if declared(*route) == CALLER]


@pytest.fixture(scope="module")
def known() -> dict[Any, Any]:
    """People and keys that many calls share, which none of them changes: each takes requests of its own to make."""
    return {}


@pytest.fixture
def person_as(known, make_user, connect, anonymous, sql):
    """Somebody of that name, with a client of this call's own and a token that is good for a while."""

    async def find(name):
        if name not in known:
            known[name] = await make_user(name), time.monotonic()
            sql("UPDATE users SET is_superuser = %s WHERE id = %s", name == SUPERUSER, known[name][0].id)
        person, since = known[name]
        if time.monotonic() - since > TOKEN_SECONDS / 2:
            person = replace(person, access_token=(await log_in(anonymous, person.email))["access_token"])
            known[name] = person, time.monotonic()
        return replace(person, http=await connect(person.access_token))

    return find


@pytest.fixture
async def owner(person_as, join, sql):
    """The owner of a workspace that is this call's alone: what another call left is not in its way."""
    [(workspace_id,)] = sql("INSERT INTO workspaces (id, name) VALUES (gen_random_uuid(), 'Ours') RETURNING id::text")
    person = replace(await person_as(Role.OWNER), workspace_id=workspace_id)
    join(person, Role.OWNER, person)
    yield person
    # All of a person's are read whenever the person is looked up.
    sql("DELETE FROM memberships WHERE workspace_id = %s", workspace_id)


@pytest.fixture
def join(sql):
    """Let somebody speak in another's workspace; they are a member of it if `who` is a role."""

    def speak_there(person, who, host):
        if who in set(Role):
            membership = "INSERT INTO memberships (workspace_id, user_id, role) VALUES (%s, %s, %s)"
            sql(membership, host.workspace_id, person.id, who)
        person.http.headers["X-Workspace-ID"] = host.workspace_id
        return person.http

    return speak_there


@pytest.fixture
def client_with_key(known, connect, owner):
    """A client with an API key that has the permission as its only scope, or all others."""

    async def find(by, who, permission):
        scopes = frozenset({permission} if who == JUST_ENOUGH else SCOPES - {permission, *OF_SUPERUSERS})
        if (by.id, scopes) not in known:
            known[by.id, scopes] = await key_of(by, scopes)
        http = await connect(known[by.id, scopes])
        http.headers["X-Workspace-ID"] = owner.workspace_id
        return http

    return find


@pytest.fixture
def account_as(person_as, make_user, anonymous, connect, join):
    """A new person, to whose account anything may be done, and a client that speaks for them."""

    async def make(who, permission):
        person = await make_user()
        scopes = SCOPES - {permission, *OF_SUPERUSERS}
        if who == NARROW_SESSION:
            token = (await log_in(anonymous, person.email, scope=" ".join(scopes)))["access_token"]
        elif who in KEYS:
            # No key can have `account:manage`.
            wanted = {permission} & SCOPES if who == JUST_ENOUGH else scopes
            token = await key_of(person, wanted or {"audit:read"})
        else:
            return person, join(person, who, await person_as(Role.OWNER))
        return person, await connect(token)

    return make


def test_every_route_declares_what_it_asks_for_or_is_listed_as_public():
    undeclared = {path for method, path in ROUTES if declared(method, path) is None}

    assert undeclared == PUBLIC


def test_every_route_is_walked():
    walked = [*OF_ROLES, *OF_ACCOUNTS, *OF_ADMINISTRATORS, *OF_CALLERS]

    assert sorted(walked) == sorted(PROTECTED)


def test_the_table_knows_every_permission_once():
    assert set(Permission) == OF_WORKSPACES | OF_EVERYBODY | OF_SUPERUSERS
    assert not OF_WORKSPACES & (OF_EVERYBODY | OF_SUPERUSERS)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_nobody_is_let_in_without_a_credential_or_with_a_made_up_one(known, anonymous, make_user, method, path):
    if "things" not in known:
        known["things"] = await make_things(await make_user())
    things = known["things"]

    problem(await call(anonymous, method, path, things), 401, "unauthenticated")
    for token in MADE_UP:
        problem(await call(anonymous, method, path, things, headers=bearer(token)), 401, "invalid_token")


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] in PUBLIC])
async def test_what_is_public_asks_nobody_who_they_are(anonymous, method, path):
    for headers in ({}, *map(bearer, MADE_UP)):
        answer = await call(anonymous, method, path, {}, headers=headers)
        assert answer.status_code not in {401, 403}, answer.text


def refusal_in_workspace(who: str, method: str, path: str) -> tuple[int, str] | None:
    """What the table has for them, by status and code; None: they are let in."""
    if who in {STRANGER, SUPERUSER}:
        return 404, "not_found"
    if who == NARROW_KEY:
        return 403, "insufficient_scope"
    return None if who == JUST_ENOUGH or allows(Role(who), needed(method, path)) else (403, "forbidden")


@pytest.mark.parametrize("who", [STRANGER, *Role, SUPERUSER, NARROW_KEY, JUST_ENOUGH])
@pytest.mark.parametrize(("method", "path"), OF_ROLES)
async def test_a_role_does_what_the_table_says(owner, person_as, join, client_with_key, rows_of, method, path, who):
    if who in KEYS:
        http = await client_with_key(owner, who, declared(method, path))
    else:
        http = owner.http if who == Role.OWNER else join(await person_as(who), who, owner)
    things = await make_things(owner, method, path)
    refusal = refusal_in_workspace(who, method, path)
    before = rows_of(owner) if refusal else None

    await is_answered(http, method, path, things, refusal)

    assert refusal is None or rows_of(owner) == before


def refusal_of_account(who: str, method: str, path: str) -> tuple[int, str] | None:
    """The same for what is the caller's own, in which no role has a say."""
    permission = declared(method, path)
    has_scope = permission == CALLER or (who == JUST_ENOUGH and permission in SCOPES)
    if who in {NARROW_SESSION, *KEYS} and not has_scope:
        return 403, "insufficient_scope"
    if who in KEYS and path == "/api/v1/auth/logout":
        return 409, "not_a_session"
    return (404, "oidc_not_configured") if (method, path) in NEED_AN_ISSUER else None


@pytest.mark.parametrize("who", [STRANGER, *Role, NARROW_SESSION, NARROW_KEY, JUST_ENOUGH])
@pytest.mark.parametrize(("method", "path"), [*OF_ACCOUNTS, *OF_CALLERS])
async def test_what_is_ones_own_asks_for_the_scope_and_no_role(account_as, method, path, who):
    person, http = await account_as(who, declared(method, path))
    things = await make_things(person, method, path)

    await is_answered(http, method, path, things, refusal_of_account(who, method, path))


def refusal_by_installation(who: str) -> tuple[int, str] | None:
    """The same for what is the installation's; the keys are a superuser's."""
    if who == NARROW_KEY:
        return 403, "insufficient_scope"
    return None if who in {SUPERUSER, JUST_ENOUGH} else (403, "forbidden")


@pytest.mark.parametrize("who", [STRANGER, *Role, SUPERUSER, NARROW_KEY, JUST_ENOUGH])
@pytest.mark.parametrize(("method", "path"), OF_ADMINISTRATORS)
async def test_only_superusers_administer_the_installation(owner, person_as, join, client_with_key, method, path, who):
    if who in KEYS:
        http = await client_with_key(await person_as(SUPERUSER), who, declared(method, path))
    else:
        http = owner.http if who == Role.OWNER else join(await person_as(who), who, owner)
    things = await make_things(owner, method, path)

    await is_answered(http, method, path, things, refusal_by_installation(who))


def test_what_is_about_oneself_needs_no_workspace():
    for method, path in PROTECTED:
        if path in OF_ONESELF and path != "/api/v1/workspaces":
            assert declared(method, path) in {CALLER, *OF_EVERYBODY}, (method, path)


async def is_answered(http, method, path, things, refusal):
    """With that status and code or, for None, by doing what was asked for."""
    if refusal is not None:
        problem(await call(http, method, path, things), *refusal)
    elif path == "/api/v1/notifications":  # a stream without an end
        async with http.stream("GET", path) as stream:
            assert stream.status_code == 200
    else:
        allowed = await call(http, method, path, things, headers={"Accept": "application/json"})
        assert allowed.status_code < 300 or (allowed.status_code == 424 and path in ASKING_OTHERS), allowed.text


async def key_of(person, scopes):
    made = await person.http.post("/api/v1/auth/api-keys", json={"name": "A program", "scopes": sorted(scopes)})
    assert made.status_code == 201, made.text
    return made.json()["key"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
