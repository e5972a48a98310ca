"""Servers of tools that a workspace brings: their tokens go in, and never come out."""

import sys
from pathlib import Path

import pytest

from app.core.derived_keys import SecretKeys
from app.core.sealing import Sealer
from tests.factories.tool_servers import NOWHERE, TOKEN
from tests.fixtures import plain_mcp_server
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.problems import problem
from tests.fixtures.scripted_server import PREFIX, Reply, ScriptedServer

pytestmark = pytest.mark.anyio

SERVERS = "/api/v1/ai/tool-servers"
PROGRAM = [sys.executable, "-P", str(Path(plain_mcp_server.__file__).resolve())]


def address_of(server):
    return f"{SERVERS}/{server['id']}"


async def test_a_server_is_made_read_changed_and_deleted(client):
    body = {"name": "weather", "transport": "http", "url": NOWHERE, "token": TOKEN}
    response = await client.post(SERVERS, json=body)
    made = response.json()

    assert (response.status_code, response.headers["Location"]) == (201, address_of(made))
    assert {name: made[name] for name in ("name", "transport", "url", "has_token", "command")} == {
        **{"name": "weather", "transport": "http", "url": NOWHERE, "has_token": True, "command": None}
    }
    assert (await client.get(address_of(made))).json() == made
    assert (await client.get(SERVERS)).json() == {"items": [made], "next_cursor": None}
    changed = (await client.patch(address_of(made), json={"name": "rain", "token": None})).json()
    assert (changed["name"], changed["has_token"], changed["id"]) == ("rain", False, made["id"])
    assert (await client.delete(address_of(made))).status_code == 204
    problem(await client.get(address_of(made)), 404, "not_found")


async def test_the_token_is_in_no_answer_and_sealed_for_its_row(client, make_tool_server, sql):
    made = await make_tool_server()
    answers = [
        await client.get(SERVERS),
        await client.patch(address_of(made), json={"token": TOKEN}),
        await client.post(SERVERS, json={"name": "weather", "transport": "http", "url": NOWHERE, "token": TOKEN}),
        await client.post(SERVERS, json={"name": "x y", "transport": TOKEN, "url": NOWHERE, "token": TOKEN}),
        await client.post(f"{address_of(made)}/test"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 409, 422, 424]
    for answer in answers:
        assert TOKEN not in answer.text + str(answer.headers)
        assert answer.status_code >= 400 or answer.headers["Cache-Control"] == "no-store"
    [(sealed, row)] = sql("SELECT token_sealed, t::text FROM tool_servers t WHERE id = %s", made["id"])
    assert TOKEN not in row
    sealer = Sealer(SecretKeys([SECRET_KEY]))
    assert sealer.unseal(sealed, f"tool_servers.token_sealed:{made['id']}").decode() == TOKEN


@pytest.mark.parametrize(
    ("url", "code"),
    [
        *(("http://10.0.0.1/mcp", "forbidden_address"), ("http://169.254.169.254/latest", "forbidden_address")),
        *(("https://user:password@tools.example/", "forbidden_address"), ("http://[::1]/mcp", "forbidden_address")),
        *(("file:///etc/passwd", "validation_failed"), ("tools.example", "validation_failed")),
    ],
)
async def test_an_address_that_users_may_not_have_the_server_reach_is_refused(
    client, owner, make_tool_server, rows_of, url, code
):
    made = await make_tool_server()
    before = rows_of(owner)

    for response in (
        await client.post(SERVERS, json={"name": "other", "transport": "http", "url": url}),
        await client.patch(address_of(made), json={"url": url, "token": TOKEN}),
    ):
        refusal = problem(response, 422, code)
        assert [fault["loc"] for fault in refusal["errors"]] == [["body", "url"]]
    assert rows_of(owner) == before


async def test_a_token_that_is_kept_is_not_sent_to_another_address(client, make_tool_server):
    """Who may change the address could otherwise have the token sent to themselves."""
    made = await make_tool_server()
    other = {"url": "http://127.0.0.1:2/mcp"}

    refusal = problem(await client.patch(address_of(made), json=other), 422, "token_needed")

    assert refusal["errors"][0]["loc"] == ["body", "token"]
    assert (await client.get(address_of(made))).json() == made
    assert (await client.patch(address_of(made), json={**other, "token": TOKEN})).json()["url"] == other["url"]
    assert (await client.patch(address_of(made), json={**other, "name": "same"})).status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "sh", "transport": "stdio", "command": ["/bin/sh", "-c", "id"]}, "command_forbidden"),
        ({"name": "sh", "transport": "stdio", "command": ["sh"]}, "command_forbidden"),
        ({"name": "sh", "transport": "stdio", "command": []}, "validation_failed"),
        ({"name": "sh", "transport": "stdio", "command": "/bin/sh"}, "validation_failed"),
        ({"name": "sh", "transport": "stdio", "command": ["a\x00b"]}, "validation_failed"),
        ({"name": "sh", "transport": "stdio"}, "validation_failed"),
        ({"name": "sh", "transport": "stdio", "command": ["x"], "url": NOWHERE}, "validation_failed"),
        ({"name": "sh", "transport": "stdio", "command": ["x"], "token": TOKEN}, "validation_failed"),
        ({"name": "x", "transport": "http"}, "validation_failed"),
        ({"name": "x", "transport": "http", "url": NOWHERE, "command": ["x"]}, "validation_failed"),
        ({"name": "x", "transport": "http", "url": NOWHERE, "token": "a\r\nX-Header: b"}, "validation_failed"),
        ({"name": "x", "transport": "http", "url": NOWHERE, "token": "seven77"}, "validation_failed"),
        ({"name": "x", "transport": "sse", "url": NOWHERE}, "validation_failed"),
        *(
            ({"name": name, "transport": "http", "url": NOWHERE}, "validation_failed")
            for name in ("", "a/b", "a_b", "-a", "A", "a b", "x" * 33, "*", None)
        ),
    ],
)
async def test_what_will_not_do_is_refused_and_writes_nothing(client, owner, rows_of, body, code):
    before = rows_of(owner)

    problem(await client.post(SERVERS, json=body), 422, code)

    assert rows_of(owner) == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        *(({"name": None}, "validation_failed"), ({"url": None}, "validation_failed"), ({"x": 1}, "validation_failed")),
        *(({"transport": "stdio"}, "validation_failed"), ({"command": ["/bin/sh"]}, "command_forbidden")),
        *(({"command": None}, "validation_failed"), ({"token": ""}, "validation_failed")),
    ],
)
async def test_a_change_that_will_not_do_changes_nothing(client, owner, make_tool_server, rows_of, body, code):
    made = await make_tool_server()
    before = rows_of(owner)

    problem(await client.patch(address_of(made), json=body), 422, code)

    assert rows_of(owner) == before


async def test_a_name_is_taken_once(client, make_tool_server):
    await make_tool_server("one")
    other = await make_tool_server("two")

    problem(await client.patch(address_of(other), json={"name": "one"}), 409, "tool_server_name_taken")


async def test_a_workspace_has_so_many_servers_at_most(client, owner, sql):
    sql(
        "INSERT INTO tool_servers (id, workspace_id, name, transport, url)"
        " SELECT gen_random_uuid(), %s, 'server-' || n, 'http', %s FROM generate_series(1, 50) n",
        *(owner.workspace_id, NOWHERE),
    )

    body = {"name": "one-more", "transport": "http", "url": NOWHERE}
    problem(await client.post(SERVERS, json=body), 422, "too_many_tool_servers")


@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("member", 403), ("moderator", 403), ("admin", 200), ("owner", 200)]
)
async def test_administrators_see_and_change_them_and_others_see_their_names(colleague, make_tool_server, role, status):
    made = await make_tool_server()
    person = await colleague(role)

    for response in (
        await person.http.get(SERVERS),
        await person.http.get(address_of(made)),
        await person.http.patch(address_of(made), json={"token": TOKEN}),
    ):
        assert response.status_code == status, response.text
    tested = await person.http.post(f"{address_of(made)}/test")
    assert tested.status_code == (424 if status == 200 else 403)
    named = (await person.http.get("/api/v1/ai/tools")).json()["items"]
    assert [tool["name"] for tool in named] == ["knowledge_search", "calculator", "current_time", "weather/*"]
    assert NOWHERE not in str(named)


async def test_a_server_that_does_not_answer_is_named_and_no_address(client, make_tool_server):
    made = await make_tool_server()

    refusal = problem(await client.post(f"{address_of(made)}/test"), 424, "tool_server_failed")

    assert refusal["detail"] == "the tool server weather cannot be reached"


def refused(number):
    return Reply({"jsonrpc": "2.0", "id": number, "error": {"code": -32000, "message": f"no {TOKEN}"}})


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        ([refused(1), refused(2), refused(3)], "says: no [token]"),
        ([Reply(b"", 307, {"Location": f"http://10.0.0.1/{TOKEN}"})], None),
        ([Reply(TOKEN.encode(), 401)], None),
    ],
)
async def test_a_server_that_gives_the_token_back_has_no_part_of_it_shown(client, make_tool_server, reply, detail):
    with ScriptedServer() as server:
        server.only("POST", "/mcp", *reply)
        made = await make_tool_server(url=f"{server.url}{PREFIX}/mcp")
        refusal = problem(await client.post(f"{address_of(made)}/test"), 424, "tool_server_failed")

    assert f"Bearer {TOKEN}" in {asked.headers.get("authorization") for asked in server.asked}
    assert refusal["detail"].startswith(f"the tool server weather {detail or ''}")
    assert TOKEN not in str(refusal)


async def test_an_agent_may_name_tools_of_a_server_as_long_as_it_is_there(client, make_agent, make_tool_server):
    made = await make_tool_server()
    agent = await make_agent(tools=["weather/*", "weather/forecast", "calculator"])
    assert (await client.delete(address_of(made))).status_code == 204

    assert (await client.get(f"/api/v1/agents/{agent.id}")).json()["tools"] == agent.tools
    problem(await client.patch(f"/api/v1/agents/{agent.id}", json={"tools": ["weather/*"]}), 422, "unknown_tool")


async def test_only_what_the_administrator_allows_is_run(make_arena, make_user):
    person = await make_user(at=make_arena(tools={"mcp_commands": f"/bin/true, {' '.join(PROGRAM)}"}))
    body = {"name": "plain", "transport": "stdio", "command": PROGRAM}
    made = (await person.http.post(SERVERS, json=body)).json()
    tested = await person.http.post(f"{address_of(made)}/test")
    other = await person.http.post(SERVERS, json={**body, "name": "other", "command": [*PROGRAM, "--more"]})
    moved = await person.http.patch(address_of(made), json={"url": NOWHERE})

    names = [tool["name"] for tool in tested.json()["tools"]]
    assert (tested.json()["ok"], names) == (True, ["environment", "leave_child", "slow"])
    problem(other, 422, "command_forbidden")
    problem(moved, 422, "other_transport")
