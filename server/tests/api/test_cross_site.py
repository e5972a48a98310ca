"""Pages of other sites, in the browser of somebody who is logged in here, can do nothing in their name."""

import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.factories.agents import agent_body
from tests.fixtures.problems import problem
from tests.fixtures.routes import PROTECTED, ROUTES
from tests.fixtures.socket import ticket_of

pytestmark = pytest.mark.anyio

NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
FOREIGN = "https://evil.example"
SIMPLE = ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x")
"""What a page may send to another site without asking it first (Fetch, 2.2.2)."""
CREATING = ("/api/v1/agents", "/api/v1/discussions", "/api/v1/knowledge/bases", "/api/v1/auth/register")


def address(path: str) -> str:
    """With somebody's ids in their places."""
    parts = [NOBODY if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


async def test_a_cookie_lets_nobody_in(anonymous, owner):
    """Whatever a browser adds by itself is no sign of who calls: only the header is, which a page has to set."""
    token = owner.access_token
    cookies = f"access_token={token}; token={token}; session={token}; Authorization=Bearer {token}; jwt={token}"

    for method, path in PROTECTED:
        response = await anonymous.request(method, address(path), headers={"Cookie": cookies})

        problem(response, 401, "unauthenticated")


async def test_nothing_sets_a_cookie(anonymous, owner):
    for http in (anonymous, owner.http):
        for path in ("/api/v1/auth/me", "/api/v1/agents", "/docs", "/healthz"):
            assert "set-cookie" not in (await http.get(path)).headers


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "Negotiate"])
async def test_what_a_browser_remembers_by_itself_lets_nobody_in(anonymous, owner, scheme):
    response = await anonymous.get("/api/v1/auth/me", headers={"Authorization": f"{scheme} {owner.access_token}"})

    problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")  # a browser asks nobody for a password by it


@pytest.mark.parametrize("media_type", SIMPLE)
@pytest.mark.parametrize("path", CREATING)
async def test_a_form_of_another_site_makes_nothing(client, owner, rows_of, path, media_type):
    """Even with the right token: JSON in a form's clothes is not read."""
    before = rows_of(owner)
    bodies = {"/api/v1/agents": agent_body(), "/api/v1/knowledge/bases": {"name": "Theirs"}}

    response = await client.post(
        path,
        content=json.dumps(bodies.get(path, {})),
        headers={"Content-Type": media_type, "Origin": FOREIGN},
    )

    assert response.status_code == 422, response.text
    assert rows_of(owner) == before


@pytest.mark.parametrize("origin", [FOREIGN, "null"])
async def test_another_site_is_allowed_nothing_when_its_browser_asks(anonymous, origin):
    asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization,content-type"}
    for method, path in ROUTES:
        headers = {**asked, "Access-Control-Request-Method": method.upper()}

        response = await anonymous.request("OPTIONS", address(path), headers=headers)

        assert not [name for name in response.headers if name.startswith("access-control-allow-")]
        assert response.status_code >= 400


async def test_another_site_may_not_read_an_answer(client):
    response = await client.get("/api/v1/agents", headers={"Origin": FOREIGN})

    assert not [name for name in response.headers if name.startswith("access-control-")]


def lookalikes(host: str, port: int) -> list[str]:
    """Origins that a careless comparison takes for ours."""
    return [
        FOREIGN,
        "null",
        "",
        "file://",
        f"http://{host}",
        f"http://{host}:{port + 1}",
        f"http://{host}:{port}0",
        f"http://{host}.evil.example:{port}",
        f"http://evil.example/{host}:{port}",
        f"http://evil.example?{host}:{port}",
        f"http://evil.example#{host}:{port}",
        f"http://{host}:{port}@evil.example",
        f"http://evil{host}:{port}",
        f"http://evil.example\\@{host}.x:{port}",
        f"ftp://{host}:{port}",
        f"chrome-extension://{host}:{port}",
        f"http://{host}%2eevil.example:{port}",
        f"http://{host}:{port}, {FOREIGN}",
        f"http://user@{host}:{port}",
    ]


@pytest.mark.parametrize("with_ticket", [False, True], ids=["no ticket", "ticket"])
async def test_a_page_of_another_site_opens_no_socket(arena, client, with_ticket):
    """Cross-site WebSocket hijacking: a browser lets any page try, and says whose page it is."""
    for origin in lookalikes("127.0.0.1", int(arena.url.rpartition(":")[2])):
        query = f"?ticket={await ticket_of(client)}" if with_ticket else ""

        with pytest.raises(InvalidStatus) as refused:
            await connect(
                f"{arena.url.replace('http', 'ws')}/api/v1/ws{query}",
                additional_headers={"Origin": origin},
                proxy=None,
            )

        assert refused.value.response.status_code == 403, origin
        assert b"origin_not_allowed" in (refused.value.response.body or b"")


async def test_a_refused_page_does_not_use_up_the_ticket(arena, client):
    ticket = await ticket_of(client)
    at = f"{arena.url.replace('http', 'ws')}/api/v1/ws?ticket={ticket}"
    with pytest.raises(InvalidStatus):
        await connect(at, origin=FOREIGN, proxy=None)

    async with connect(at, origin=arena.url, proxy=None) as socket:
        await socket.send(json.dumps({"type": "no such frame"}))
        assert json.loads(await socket.recv())["code"] not in {"unauthenticated", "forbidden"}
