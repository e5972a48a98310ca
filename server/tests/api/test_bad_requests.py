"""Requests that no decent client sends: each a problem with its code, and nothing written."""

import itertools
import json
from typing import Any

import pytest

from tests.factories.agents import agent_body
from tests.factories.discussions import discussion_body
from tests.fixtures.problems import problem
from tests.fixtures.routes import BODIES, OF_ONE_THING, QUERIES, ROUTES, WITHOUT_BODY, filled

pytestmark = pytest.mark.anyio

UNKNOWN = "019a0000-0000-7000-8000-000000000000"
NAMES = (
    *("agent_id", "newcomer_id", "discussion_id", "participant_id", "base_id", "document_id"),
    *("session_id", "key_id", "user_id", "workspace_id", "provider_id", "memory_id", "tool_server_id"),
    "extraction_id",
)
IDS = dict.fromkeys(NAMES, UNKNOWN) | {"version": "1", "code": "000000"}
IDS |= dict.fromkeys(("user_email", "new_email"), "x@arena.example")
JSON_BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/auth/register": {"email": "x@arena.example", "password": "seventeen elephants", "display_name": "X"},
    "/api/v1/agents": agent_body(),
    "/api/v1/discussions": discussion_body(participants=[{"agent_id": UNKNOWN}]),
    "/api/v1/knowledge/bases": {"name": "Memos"},
    "/api/v1/workspaces": {"name": "Ours"},
    **{path: filled(body, IDS) for (_, path), body in BODIES.items()},
}
# Whether the workspace of the address is theirs is asked before the body is looked at: see `test_mass_assignment`.
ASKED_FIRST = ("/api/v1/workspaces/{", "/api/v1/admin/")
WITH_BODY = [
    (method, path)
    for method, path in ROUTES
    if method in {"post", "patch"}
    and path not in WITHOUT_BODY
    and not path.endswith("/token")
    and not path.startswith(ASKED_FIRST)
]
LISTS = [
    path for method, path in ROUTES if method == "get" and path.rsplit("/", 1)[-1] in {"agents", "discussions", "bases"}
]


def fault_of(response, code="validation_failed"):
    [fault] = problem(response, 422, code)["errors"]
    return fault


async def send(http, method, path, **content):
    return await http.request(method, path.format(**IDS), **content)


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
async def test_an_unknown_field_is_refused_everywhere(client, owner, rows_of, method, path):
    before = rows_of(owner)

    response = await send(client, method, path, json={**JSON_BODIES[path], "surprise": 1})

    assert fault_of(response)["loc"] == ["body", "surprise"]
    assert rows_of(owner) == before


NO_OBJECTS = [b"", b"[]", b'"text"', b"null", b"{", b"{'a': 1}", b"12", b"{}{}", b"\x00"]
NOT_UTF_8 = [b'{"name": "\xff\xfe"}', b'{"name": "\xed\xa0\x80"}', b"\x80" * 20, b'{"\xc3(": 1}']


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
async def test_a_body_that_is_no_object_is_refused_everywhere(client, method, path):
    for content in NO_OBJECTS:
        response = await send(client, method, path, content=content, headers={"Content-Type": "application/json"})

        assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json"), content
        assert response.json()["code"] in {"validation_failed", "malformed_body"}


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
async def test_a_body_that_is_not_utf_8_is_refused_everywhere(client, owner, rows_of, method, path):
    before = rows_of(owner)
    for content in NOT_UTF_8:
        response = await send(client, method, path, content=content, headers={"Content-Type": "application/json"})

        assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json"), content
        assert response.json()["code"] in {"validation_failed", "malformed_body"}
    assert rows_of(owner) == before


UNSTORABLE = ["\x00", "\ud83d", "\udc00 end"]


def _texts(value, where=()):
    """The places of all texts inside a body."""
    if isinstance(value, str):
        yield where
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _texts(part, (*where, name))


def _spoiled(body, where, text):
    name, *rest = where
    return {**body, name: _spoiled(body[name], rest, text) if rest else body[name] + text}


@pytest.mark.parametrize(("method", "path"), WITH_BODY)
async def test_a_nul_or_a_lone_surrogate_is_refused_in_every_text(client, owner, rows_of, method, path):
    body, before = JSON_BODIES[path], rows_of(owner)
    for where, text in itertools.product(_texts(body), UNSTORABLE):
        # The client's own encoder refuses lone surrogates, as it should.
        spoiled = json.dumps(_spoiled(body, where, text)).encode()
        response = await send(client, method, path, content=spoiled, headers={"Content-Type": "application/json"})

        fault = fault_of(response)
        assert fault["loc"] == ["body", *where], (text, fault)
    assert rows_of(owner) == before


@pytest.mark.parametrize(("method", "path"), [route for route in WITH_BODY if "documents" not in route[1]])
async def test_a_body_over_the_limit_is_refused_everywhere(client, owner, rows_of, method, path):
    before = rows_of(owner)

    response = await send(client, method, path, content=b'{"name": "' + b"x" * 1_100_000 + b'"}')

    problem(response, 413, "body_too_large")
    assert rows_of(owner) == before


async def test_a_persona_of_ten_megabytes_is_refused(client, owner, rows_of):
    before = rows_of(owner)

    response = await client.post("/api/v1/agents", json=agent_body(persona="x" * 10_000_000))

    problem(response, 413, "body_too_large")
    assert rows_of(owner) == before


async def test_a_body_without_a_length_is_cut_off_at_the_limit(client):
    async def endless():
        for _ in range(200):
            yield b"x" * 65_536

    response = await client.post("/api/v1/agents", content=endless(), headers={"Content-Type": "application/json"})

    problem(response, 413, "body_too_large")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 50_000, b'{"name": ' + b"9" * 100_000 + b"}"])
async def test_a_body_made_to_exhaust_the_parser_is_refused(client, content):
    response = await client.post("/api/v1/agents", content=content, headers={"Content-Type": "application/json"})

    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
async def test_a_number_that_is_none_is_refused(client, number):
    body = b'{"name": "A", "model": "openai/fake", "params": {"temperature": ' + number + b"}}"

    response = await client.post("/api/v1/agents", content=body, headers={"Content-Type": "application/json"})

    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("path", LISTS)
async def test_a_malformed_cursor_is_refused(client, path):
    for cursor in ("x", "!!!", "AAAA", "é", "x" * 201, "bm90LWFuLWlk", "", "MQ=="):
        response = await client.get(path, params={"cursor": cursor})

        assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json"), cursor
        assert response.json()["code"] in {"bad_cursor", "validation_failed"}


@pytest.mark.parametrize("path", LISTS)
async def test_a_limit_out_of_range_is_refused(client, path):
    for limit in ("0", "-1", "201", "x", "1.5", "", "9" * 40):
        assert fault_of(await client.get(path, params={"limit": limit}))["loc"] == ["query", "limit"]


@pytest.mark.parametrize("path", LISTS)
async def test_a_nul_in_a_query_is_refused(client, path):
    response = await client.get(f"{path}?cursor=%00")

    assert fault_of(response)["loc"] == ["query", "cursor"]


@pytest.mark.parametrize("path", ["/api/v1/agents", "/api/v1/discussions"])
async def test_a_nul_in_a_search_is_refused(client, path):
    assert fault_of(await client.get(f"{path}?q=a%00b"))["loc"] == ["query", "q"]


@pytest.mark.parametrize(
    "query", ["q=%ff%fe", "q=%ed%a0%80", "q=%", "limit=1&limit=2", "kind=", "&&&=", "q=" + "x" * 200]
)
async def test_a_query_in_bad_taste_never_breaks_anything(client, query):
    assert (await client.get(f"/api/v1/agents?{query}")).status_code in {200, 422}


@pytest.mark.parametrize(("method", "path"), OF_ONE_THING)
async def test_an_id_that_is_none_is_refused_everywhere(client, method, path):
    body, query = filled(BODIES.get((method, path)), IDS), filled(QUERIES.get(path), IDS)
    for bad in ("x", "%00", "%ff", "1", UNKNOWN[:-1]):
        address = path.format(**{**dict.fromkeys(IDS, bad), "version": "1"})

        problem(await client.request(method, address, json=body, params=query), 422, "validation_failed")


@pytest.mark.parametrize("version", ["0", "-1", "x", "99999999999"])
async def test_a_version_out_of_range_is_refused(client, version):
    response = await client.get(f"/api/v1/agents/{UNKNOWN}/versions/{version}")

    assert fault_of(response)["loc"] == ["path", "version"]


@pytest.mark.parametrize("address", ["/", "/api/v1", "/api/v1/nothing", "/api/v2/agents", "/api/v1/agents/", "/%00"])
async def test_an_address_that_there_is_not_is_a_problem_too(client, address):
    problem(await client.get(address), 404, "not_found")


async def test_a_method_that_an_address_does_not_take_is_a_problem_too(client):
    problem(await client.put("/api/v1/agents", json={}), 405, "method_not_allowed")


async def test_a_refused_method_is_told_which_there_are(client):
    response = await client.put("/api/v1/agents", json={})

    assert {"GET", "POST"} <= set(response.headers["Allow"].replace(" ", "").split(","))


async def test_a_callers_request_id_is_kept(anonymous):
    response = await anonymous.get("/api/v1/auth/me", headers={"X-Request-ID": "trace-42"})

    assert problem(response, 401, "unauthenticated")["request_id"] == "trace-42"


@pytest.mark.parametrize("given", ["a b", "x" * 129, '"; drop', "é", ""])
async def test_a_request_id_that_does_not_belong_in_logs_is_replaced(anonymous, given):
    response = await anonymous.get("/healthz", headers={"X-Request-ID": given.encode("latin-1")})

    assert response.headers["X-Request-ID"] not in {given, ""}


async def test_a_form_where_json_is_wanted_is_refused(client):
    response = await client.post("/api/v1/agents", data={"name": "A"})

    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
