"""Sessions that may do less than their user: what was asked for at the login is kept to, everywhere and for good."""

import asyncio

import pytest

from app.domain.discussion import Status
from app.domain.permissions import SCOPES
from tests.factories.agents import agent_body
from tests.fixtures.people import PASSWORD
from tests.fixtures.problems import problem
from tests.fixtures.socket import socket_of

pytestmark = pytest.mark.anyio


async def ask(client, person, scope, **form):
    form = {"grant_type": "password", "username": person.email, "password": PASSWORD, "scope": scope, **form}
    return await client.post("/api/v1/auth/token", data=form)


@pytest.fixture
def narrow(owner, anonymous, connect):
    async def log_in(scope):
        response = await ask(anonymous, owner, scope)
        assert response.status_code == 200, response.text
        return response.json(), await connect(response.json()["access_token"])

    return log_in


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("agents:read", "agents:read"),
        ("discussions:write agents:read", "agents:read discussions:write"),
        ("agents:read  agents:read ", "agents:read"),
        ("", ""),
    ],
)
async def test_a_scope_is_granted_as_it_was_asked_for(owner, anonymous, asked, granted):
    assert (await ask(anonymous, owner, asked)).json()["scope"] == granted


@pytest.mark.parametrize(
    "scope", ["magic", "agents:read magic", "account:manage", "AGENTS:READ", " ", "agents:read,agents:write", "*"]
)
async def test_a_scope_that_would_not_be_kept_to_is_not_promised(owner, anonymous, sql, scope):
    before = sql("SELECT count(*) FROM sessions WHERE user_id = %s", owner.id)

    problem(await ask(anonymous, owner, scope), 422, "invalid_scope")

    assert sql("SELECT count(*) FROM sessions WHERE user_id = %s", owner.id) == before


async def test_every_scope_of_the_table_can_be_asked_for(narrow):
    tokens, _ = await narrow(" ".join(SCOPES))

    assert set(tokens["scope"].split()) == SCOPES


async def test_a_narrow_session_does_what_it_was_opened_for_and_no_more(narrow):
    _, http = await narrow("agents:read")

    assert (await http.get("/api/v1/agents")).status_code == 200
    problem(await http.post("/api/v1/agents", json=agent_body()), 403, "insufficient_scope")
    problem(await http.get("/api/v1/discussions"), 403, "insufficient_scope")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "sessions", None),
        ("DELETE", "sessions", None),
        ("PATCH", "me", {"display_name": "Eve"}),
        ("POST", "password", {"password": PASSWORD, "new_password": "nineteen orange giraffes"}),
        ("GET", "totp", None),
        ("POST", "totp", {"password": PASSWORD}),
        ("POST", "totp/confirm", {"code": "000000"}),
        ("POST", "totp/disable", {"password": PASSWORD, "code": "000000"}),
        ("POST", "recovery-codes", {"password": PASSWORD, "code": "000000"}),
    ],
)
async def test_a_narrow_session_has_no_hand_in_the_account(narrow, owner, method, path, body):
    _, http = await narrow(" ".join(SCOPES))

    problem(await http.request(method, f"/api/v1/auth/{path}", json=body), 403, "insufficient_scope")

    me = (await owner.http.get("/api/v1/auth/me")).json()
    assert me["display_name"] == "Ada Byron"


async def test_a_narrow_session_may_know_itself_and_log_out(narrow):
    _, http = await narrow("agents:read")

    assert (await http.get("/api/v1/auth/me")).status_code == 200
    assert (await http.post("/api/v1/auth/logout")).status_code == 204


async def test_a_refresh_keeps_the_scope(narrow, anonymous, connect):
    tokens, _ = await narrow("agents:read")

    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    refreshed = (await anonymous.post("/api/v1/auth/token", data=form)).json()

    assert refreshed["scope"] == "agents:read"
    http = await connect(refreshed["access_token"])
    problem(await http.get("/api/v1/discussions"), 403, "insufficient_scope")


@pytest.mark.parametrize("scope", ["agents:read discussions:read", "discussions:read", "magic"])
async def test_a_refresh_for_another_scope_is_refused_and_uses_nothing_up(narrow, anonymous, scope):
    tokens, _ = await narrow("agents:read")
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}

    problem(await anonymous.post("/api/v1/auth/token", data={**form, "scope": scope}), 422, "invalid_scope")

    same = await anonymous.post("/api/v1/auth/token", data={**form, "scope": " agents:read"})
    assert (same.status_code, same.json()["scope"]) == (200, "agents:read")


async def test_a_narrow_session_sees_no_stream_and_says_nothing_on_a_socket(narrow, make_discussion, connect):
    draft = await make_discussion(status=Status.DRAFT)
    _, without = await narrow("agents:read")
    address = f"/api/v1/discussions/{draft.id}/events"

    problem(await without.get(address, headers={"Accept": "text/event-stream"}), 403, "insufficient_scope")

    _, reader = await narrow("discussions:read")
    async with socket_of(_Speaker(reader)) as socket:
        await socket.subscribe(draft)
        said = {"type": "message", "channel": f"discussion:{draft.id}", "content": "Hello?", "ref": "m"}
        refused = await socket.answer_to(said)
        assert (refused["type"], refused["code"]) == ("error", "insufficient_scope")


async def test_a_stream_token_is_as_narrow_as_its_session(narrow, make_discussion, anonymous):
    draft = await make_discussion(status=Status.DRAFT)
    _, http = await narrow("agents:read")
    token = (await http.post("/api/v1/auth/stream-token")).json()["token"]

    async with asyncio.timeout(5):
        response = await anonymous.get(
            f"/api/v1/discussions/{draft.id}/events",
            params={"stream_token": token},
            headers={"Accept": "text/event-stream"},
        )

    problem(response, 403, "insufficient_scope")


class _Speaker:
    def __init__(self, http):
        self.http = http
