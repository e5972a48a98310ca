"""Accounts: register, log in, refresh, and what tokens are good for."""

import hashlib
from uuid import UUID, uuid4

import pytest

from app.core.access_tokens import AccessClaims
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import PASSWORD, log_in
from tests.fixtures.problems import problem
from tests.fixtures.signers import make_signer

pytestmark = pytest.mark.anyio

MOST_SECONDS_REMEMBERED = 2.5


def registration(**changes):
    body = {"email": f"new-{uuid4().hex}@arena.example", "password": PASSWORD, "display_name": "New Person"}
    return {**body, **changes}


async def ask_for_token(client, **form):
    return await client.post("/api/v1/auth/token", data=form)


async def refresh(client, token):
    return await ask_for_token(client, grant_type="refresh_token", refresh_token=token)


async def me_with(connect, token):
    return await (await connect(token)).get("/api/v1/auth/me")


async def test_a_new_account_has_a_personal_workspace(anonymous):
    body = registration()

    response = await anonymous.post("/api/v1/auth/register", json=body)

    user = response.json()
    assert response.status_code == 201
    assert (user["email"], user["display_name"], user["is_superuser"]) == (body["email"], "New Person", False)
    [workspace] = user["workspaces"]
    assert workspace["role"] == "owner"
    assert "password" not in response.text


async def test_addresses_are_the_same_in_whatever_case(anonymous, sql):
    body = registration(email=f"Mixed-{uuid4().hex}@Arena.Example")
    await anonymous.post("/api/v1/auth/register", json=body)

    problem(
        await anonymous.post("/api/v1/auth/register", json=body | {"email": body["email"].lower()}), 409, "email_taken"
    )

    assert await log_in(anonymous, body["email"].upper())
    assert sql("SELECT count(*) FROM users WHERE lower(email) = %s", body["email"].lower()) == [(1,)]


@pytest.mark.parametrize("password", ["password1234", "aaaaaaaaaaaa", "abababababab", "discussionarena"])
async def test_a_password_that_attackers_try_first_is_refused(anonymous, sql, password):
    body = registration(password=password)

    problem(await anonymous.post("/api/v1/auth/register", json=body), 422, "weak_password")

    assert sql("SELECT 1 FROM users WHERE email = %s", body["email"]) == []


async def test_a_password_of_ones_own_name_is_refused(anonymous):
    response = await anonymous.post(
        "/api/v1/auth/register", json=registration(display_name="Augusta Ada King", password="augusta ada king")
    )

    problem(response, 422, "weak_password")


@pytest.mark.parametrize(
    "change",
    [
        {"password": "short"},
        {"password": "x" * 129},
        {"email": "nobody"},
        {"email": "a b@arena.example"},
        {"email": "x" * 250 + "@arena.example"},
        {"display_name": " "},
        {"is_superuser": True},
        {"email": None},
    ],
)
async def test_a_registration_that_makes_no_sense_is_refused(anonymous, change):
    response = await anonymous.post("/api/v1/auth/register", json=registration(**change))

    faults = problem(response, 422, "validation_failed")["errors"]
    assert [fault["loc"] for fault in faults] == [["body", next(iter(change))]]


async def test_a_refusal_does_not_repeat_the_password(anonymous):
    response = await anonymous.post("/api/v1/auth/register", json=registration(password="hunter2"))

    assert "hunter2" not in response.text


async def test_closed_registration_is_refused(make_arena, connect):
    closed = make_arena(auth={"registration": "closed", "secret_key": SECRET_KEY})

    response = await (await connect(at=closed)).post("/api/v1/auth/register", json=registration())

    problem(response, 403, "registration_closed")


async def test_a_login_gives_a_token_pair(owner, anonymous):
    response = await ask_for_token(anonymous, grant_type="password", username=owner.email, password=PASSWORD)

    tokens = response.json()
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("bearer", 600, "")
    assert tokens["refresh_token"].startswith("arena_rt_")
    assert response.headers["Cache-Control"] == "no-store"


async def test_me_is_the_caller_with_their_workspaces(owner):
    me = (await owner.http.get("/api/v1/auth/me")).json()

    assert (me["id"], me["email"]) == (owner.id, owner.email)
    assert [workspace["id"] for workspace in me["workspaces"]] == [owner.workspace_id]


@pytest.mark.parametrize("username", ["owner", "nobody@arena.example"])
async def test_a_wrong_login_does_not_say_what_was_wrong(owner, anonymous, username):
    address = owner.email if username == "owner" else username

    response = await ask_for_token(anonymous, grant_type="password", username=address, password="not the password")

    body = problem(response, 401, "invalid_grant")
    assert body["detail"] == "the address or the password is wrong"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"grant_type": "password", "username": "a@b.example"}, "validation_failed"),
        ({"grant_type": "refresh_token"}, "validation_failed"),
        ({"grant_type": "password", "username": "a\x00", "password": "x"}, "validation_failed"),
        ({"grant_type": "password", "username": "x" * 1001, "password": "x"}, "validation_failed"),
    ],
)
async def test_a_token_request_that_makes_no_sense_is_refused(anonymous, form, code):
    problem(await ask_for_token(anonymous, **form), 422, code)


async def test_a_refresh_gives_a_new_pair_that_works(owner, anonymous, connect):
    pair = (await refresh(anonymous, owner.refresh_token)).json()

    assert pair["refresh_token"] != owner.refresh_token
    assert (await me_with(connect, pair["access_token"])).status_code == 200
    assert (await refresh(anonymous, pair["refresh_token"])).status_code == 200


async def shut_out(connect, token):
    """Who a token belongs to is remembered for a moment, so a session that was just used ends a little later."""
    client = await connect(token)

    async def is_refused():
        response = await client.get("/api/v1/auth/me")
        return response if response.status_code == 401 else None

    return await eventually(is_refused, MOST_SECONDS_REMEMBERED, "the end of the session")


async def test_a_refresh_token_used_twice_ends_the_session(owner, anonymous, connect):
    pair = (await refresh(anonymous, owner.refresh_token)).json()
    assert (await me_with(connect, pair["access_token"])).status_code == 200

    problem(await refresh(anonymous, owner.refresh_token), 401, "invalid_grant")

    problem(await refresh(anonymous, pair["refresh_token"]), 401, "invalid_grant")
    problem(await shut_out(connect, pair["access_token"]), 401, "session_ended")


async def test_a_reused_token_ends_only_its_own_session(owner, anonymous, connect):
    other = await log_in(anonymous, owner.email)
    await refresh(anonymous, owner.refresh_token)
    await refresh(anonymous, owner.refresh_token)

    assert (await me_with(connect, other["access_token"])).status_code == 200


async def test_a_guessed_refresh_token_does_not_end_the_session(owner, anonymous, connect):
    guess = owner.refresh_token[:-4] + ("aaaa" if not owner.refresh_token.endswith("aaaa") else "bbbb")

    problem(await refresh(anonymous, guess), 401, "invalid_grant")

    assert (await me_with(connect, owner.access_token)).status_code == 200


@pytest.mark.parametrize("token", ["x", "arena_rt_", "arena_rt_x.1.y", "arena_rt_" + "0" * 32 + ".1.secret", "é" * 20])
async def test_a_refresh_token_that_is_none_is_refused(anonymous, token):
    problem(await refresh(anonymous, token), 401, "invalid_grant")


async def test_a_session_lasts_no_longer_than_its_days(owner, anonymous, connect, sql):
    sql("UPDATE sessions SET expires_at = now() WHERE user_id = %s", owner.id)

    problem(await refresh(anonymous, owner.refresh_token), 401, "invalid_grant")
    problem(await me_with(connect, owner.access_token), 401, "session_ended")


async def test_a_refresh_never_makes_a_session_longer(owner, anonymous, sql):
    end = "SELECT expires_at FROM sessions WHERE user_id = %s"
    before = sql(end, owner.id)
    token = owner.refresh_token
    for _ in range(3):
        token = (await refresh(anonymous, token)).json()["refresh_token"]

    assert sql(end, owner.id) == before


async def test_each_refresh_replaces_what_is_kept_of_the_token(owner, anonymous, sql):
    tokens, kept = [owner.refresh_token], []
    for _ in range(3):
        kept += sql("SELECT refresh_hash FROM sessions WHERE user_id = %s", owner.id)
        tokens.append((await refresh(anonymous, tokens[-1])).json()["refresh_token"])
    kept += sql("SELECT refresh_hash FROM sessions WHERE user_id = %s", owner.id)

    assert len(set(tokens)) == 4
    assert [digest for (digest,) in kept] == [hashlib.sha256(token.encode()).digest() for token in tokens]


@pytest.mark.parametrize("ago", [1, 2, 4])
async def test_the_reuse_of_any_older_token_ends_the_session(owner, anonymous, ago):
    tokens = [owner.refresh_token]
    for _ in range(4):
        tokens.append((await refresh(anonymous, tokens[-1])).json()["refresh_token"])

    problem(await refresh(anonymous, tokens[-1 - ago]), 401, "invalid_grant")

    problem(await refresh(anonymous, tokens[-1]), 401, "invalid_grant")


async def test_a_refresh_token_says_nothing_of_its_user_and_is_no_access_token(owner, connect):
    assert owner.id.replace("-", "") not in owner.refresh_token
    assert owner.email not in owner.refresh_token

    problem(await me_with(connect, owner.refresh_token), 401, "invalid_token")


async def test_an_access_token_refreshes_nothing(owner, anonymous):
    problem(await refresh(anonymous, owner.access_token), 401, "invalid_grant")

    assert (await refresh(anonymous, owner.refresh_token)).status_code == 200


@pytest.mark.parametrize("token", ["", "null", " ", "\t"])
async def test_a_null_refresh_token_matches_no_session(owner, anonymous, sql, token):
    sessions = "SELECT s::text FROM sessions s WHERE user_id = %s"
    before = sql(sessions, owner.id)

    assert (await refresh(anonymous, token)).status_code in {401, 422}

    assert sql(sessions, owner.id) == before


async def test_a_disabled_account_is_shut_out_of_everything(owner, anonymous, connect, sql):
    assert (await me_with(connect, owner.access_token)).status_code == 200

    sql("UPDATE users SET disabled_at = now() WHERE id = %s", owner.id)

    problem(await shut_out(connect, owner.access_token), 401, "session_ended")
    problem(await refresh(anonymous, owner.refresh_token), 401, "invalid_grant")
    response = await ask_for_token(anonymous, grant_type="password", username=owner.email, password=PASSWORD)
    problem(response, 401, "invalid_grant")


async def test_an_expired_access_token_is_refused_by_that_name(owner, connect, signer_of_arena):
    stale = signer_of_arena(-1).issue(AccessClaims(UUID(owner.id), uuid4(), ""))

    problem(await me_with(connect, stale), 401, "token_expired")


async def test_a_token_of_another_installation_is_refused(owner, connect):
    token = make_signer().issue(AccessClaims(UUID(owner.id), uuid4(), ""))

    problem(await me_with(connect, token), 401, "invalid_token")


async def test_a_token_of_a_session_that_never_was_is_refused(owner, connect, signer_of_arena):
    token = signer_of_arena(600).issue(AccessClaims(UUID(owner.id), uuid4(), ""))

    problem(await me_with(connect, token), 401, "session_ended")


async def test_a_token_that_names_another_than_its_sessions_user_is_refused(
    owner, stranger, connect, sql, signer_of_arena
):
    [(session_id,)] = sql("SELECT id FROM sessions WHERE user_id = %s", owner.id)
    assert (await me_with(connect, owner.access_token)).status_code == 200

    token = signer_of_arena(600).issue(AccessClaims(UUID(stranger.id), session_id, ""))

    problem(await me_with(connect, token), 401, "session_ended")


@pytest.mark.parametrize("header", ["Bearer", "Basic abc", "Bearer x.y.z", "Bearer \xff\xfe", "x" * 5000])
async def test_an_authorization_that_is_none_is_refused(anonymous, header):
    response = await anonymous.get("/api/v1/auth/me", headers={"Authorization": header.encode("latin-1")})

    body = response.json()
    assert (response.status_code, body["code"] in {"unauthenticated", "invalid_token"}) == (401, True)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_the_password_is_kept_only_as_a_hash(owner, sql):
    [(stored,)] = sql("SELECT password_hash FROM users WHERE id = %s", owner.id)

    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored


async def test_the_refresh_token_is_kept_only_as_a_hash(owner, sql):
    [(row,)] = sql("SELECT s::text FROM sessions s WHERE user_id = %s", owner.id)

    assert owner.refresh_token.rpartition(".")[2] not in row
