"""What comes in by an address, a cursor or a header stays a value: no statement, no path, no line of a log."""

import base64
import json
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from app.core.cursors import encode_cursor
from tests.factories.agents import agent_body
from tests.fixtures.problems import problem
from tests.fixtures.routes import QUERIES, filled

pytestmark = pytest.mark.anyio

MARK = "zq7injected"
PAYLOADS = [
    *("'", "''", '"', "`", ";", "--", "/*", "\\", "%", "_", "%%", "*", "?", "$1", ":name", "%s", "%(name)s", "{0}"),
    f"' OR '{MARK}'='{MARK}",
    f"'; SELECT pg_sleep(20); -- {MARK}",
    f"1) UNION SELECT email, password_hash FROM users -- {MARK}",
    f"$$; DROP TABLE {MARK}; $$",
    f"\\'; DROP TABLE {MARK}; --",
    f"E'\\x27 OR 1=1 {MARK}",
    f'{{"$ne": "{MARK}"}}',
    f"{{{{90001*90007}}}}{MARK}${{90001*90007}}<%= 90001*90007 %>#{{90001*90007}}",
    "{0.__class__.__mro__}" + MARK,
    f"${{jndi:ldap://{MARK}.example/a}}",
    f"<script>{MARK}</script>",
    f"../../../../etc/passwd{MARK}",
    f"..%2f..%2fetc%2fpasswd%00{MARK}",
    f"file:///etc/passwd#{MARK}",
    f"{MARK}\r\nSet-Cookie: {MARK}=1\r\n\r\n<html>",
    f'{MARK}\n{{"level": "critical", "event": "{MARK}"}}',
    f"{MARK}\x00",
    f"\x1b[2J{MARK}\x07",
    f"{MARK}\u202e\u2028\u0000\ufeff\ufffe",
    f"{MARK}" + "\u0301" * 100,
    "ᴬ＇ OR １=１" + MARK,
    "9" * 400,
    "-1",
    "1e309",
    "NaN",
    "0x7f",
    "true",
    "null",
    "[]",
    "a" * 7000,
]
HEADERS = (
    *("X-Request-ID", "X-Workspace-ID", "If-Match", "If-None-Match", "Last-Event-ID", "Accept", "Idempotency-Key"),
    *(
        "Origin",
        "Authorization",
        "User-Agent",
        "Accept-Language",
        "Content-Type",
        "Forwarded",
        "X-Forwarded-For",
        "Range",
    ),
)


def in_header(payload: str) -> bytes:
    """As it gets as far as the application: the HTTP server itself refuses control characters."""
    return payload.translate(dict.fromkeys((*range(32), 127), " ")).strip().encode()[:4000]


@pytest.fixture
def reading(app) -> list[tuple[str, list[dict[str, Any]]]]:
    """Every GET of the document with its parameters."""
    paths = app.openapi()["paths"]
    return [
        (path, operations["get"].get("parameters", [])) for path, operations in paths.items() if "get" in operations
    ]


@pytest.fixture
async def things(client, make_agent, make_base, make_document, make_discussion):
    base, agent = await make_base(), await make_agent()
    discussion = await make_discussion(agents=[agent], limits={"max_turns": 1})
    return {
        "agent_id": agent.id,
        "version": "1",
        "base_id": base.id,
        "document_id": (await make_document(base=base)).id,
        "discussion_id": discussion.id,
        "participant_id": discussion.participants[-1]["id"],
    }


def fill(path: str, things: dict[str, str]) -> str:
    """The address with the ids of what there is; what has none here gets an id of nothing."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return path.format(**{name: things.get(name, str(uuid4())) for name in names})


def check(response, secret: str, tried: str) -> None:
    """No failure, nothing of others, and nothing of the payload where it would mean something."""
    assert response.status_code < 500, f"{response.status_code} {tried}: {response.text[:300]}"
    assert "set-cookie" not in response.headers, tried
    told = {name: value for name, value in response.headers.items() if name != "x-request-id"}  # has its own test
    assert MARK not in " ".join(f"{name}: {value}" for name, value in told.items()), tried
    assert secret not in response.text, f"rows of others: {tried}"
    assert str(90001 * 90007) not in response.text, f"a template was filled in: {tried}"
    assert "Traceback" not in response.text, tried
    assert "psycopg" not in response.text, tried
    assert "root:" not in response.text, tried
    if MARK in response.text:
        media_type = response.headers["content-type"].partition(";")[0]
        assert media_type in {"application/json", "application/problem+json"}, tried  # where no browser runs it


@pytest.fixture
async def secret(stranger) -> str:
    """What only the stranger's rows hold."""
    text = f"only-mallory-{uuid4().hex}"
    (await stranger.http.post("/api/v1/agents", json=agent_body(text))).raise_for_status()
    (await stranger.http.post("/api/v1/knowledge/bases", json={"name": text})).raise_for_status()
    return text


@pytest.fixture
async def get(client, secret):
    """Ask and check; live streams are left out by what is accepted."""

    async def ask(address: str, **more: Any) -> Any:
        headers = {"Accept": "application/json", **more.pop("headers", {})}
        response = await client.get(address, headers=headers, **more)
        check(response, secret, f"GET {address} {more} {headers}"[:400])
        return response

    return ask


async def test_every_query_parameter_of_every_list_takes_payloads_as_values(reading, get, things):
    for path, parameters in reading:
        names = [parameter["name"] for parameter in parameters if parameter["in"] == "query"]
        if path == "/api/v1/notifications":  # a stream without end; its parameters are tried in the next test
            continue
        for name in names:
            for payload in PAYLOADS:
                query = {**(filled(QUERIES.get(path), things) or {}), name: payload}
                await get(fill(path, things), params=query)


async def test_the_parameters_of_a_stream_take_payloads_as_values(reading, client, secret, things):
    for name in ("after", "stream_token", "workspace_id"):
        for payload in PAYLOADS:
            async with client.stream("GET", "/api/v1/notifications", params={name: payload}) as response:
                assert response.status_code < 500
                assert MARK not in str(response.headers)


async def test_every_part_of_every_address_takes_payloads_as_values(reading, get, things):
    for path, _ in reading:
        names = [part for part in path.split("/") if part.startswith("{")]
        for name in names:
            for payload in PAYLOADS:
                address = fill(path.replace(name, "%%"), things).replace("%%", quote(payload, safe=""))
                response = await get(address)

                # A path that a router takes apart anew may be another route's, but never a thing's.
                assert response.status_code in {200, 404, 422}, address


@pytest.mark.parametrize("header", HEADERS)
async def test_a_header_takes_payloads_as_values(get, things, client, header):
    for path in ("/api/v1/agents", f"/api/v1/discussions/{things['discussion_id']}", "/healthz"):
        for payload in PAYLOADS:
            sent = in_header(payload)
            if not sent or (header == "Accept" and b"event-stream" in sent):
                continue
            await get(path, headers={header: sent})


async def test_a_request_id_that_is_none_is_neither_returned_nor_logged(client, secret):
    for payload in PAYLOADS:
        sent = in_header(payload)
        response = await client.get("/api/v1/auth/me", headers={"X-Request-ID": sent})

        given = response.headers["X-Request-ID"]
        assert given.isascii()
        assert all(character.isalnum() or character in "._-" for character in given)
        assert len(given) <= 128


async def test_a_payload_breaks_no_line_of_the_log(client, capfd):
    """Every line is JSON, and none says what a payload wanted it to say."""
    capfd.readouterr()
    for payload in PAYLOADS:
        await client.get(f"/api/v1/agents/{quote(payload, safe='')}", params={"q": payload})
        await client.get(
            "/api/v1/agents", headers={"User-Agent": in_header(payload), "X-Request-ID": in_header(payload)}
        )

    told = "".join(capfd.readouterr())

    for line in told.splitlines():
        if line.startswith("{"):
            assert json.loads(line).get("event") != MARK, line
        assert not line.startswith(("Set-Cookie", MARK)), line
    assert "\x1b[2J" not in told


@pytest.mark.parametrize("text", ["%", "_", "\\", "100%", "a_b", "\\%", "[a-z]", "a%b"])
async def test_wildcards_of_a_search_are_letters(client, make_agent, text):
    await make_agent("Plain axb")
    named = await make_agent(f"Odd {text} name")

    found = (await client.get("/api/v1/agents", params={"q": text})).json()["items"]

    assert [agent["id"] for agent in found] == [named.id]


def raw(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


LISTS = ("/api/v1/agents", "/api/v1/discussions", "/api/v1/knowledge/bases")


@pytest.fixture
async def forged(client, stranger, things) -> list[str]:
    """Cursors that nobody was given: in another's name, cut, of other lists, with numbers beyond all bounds."""
    for number in range(3):
        (await client.post("/api/v1/knowledge/bases", json={"name": f"Base {number}"})).raise_for_status()
    given = (await client.get("/api/v1/knowledge/bases", params={"limit": 1})).json()["next_cursor"]
    name = base64.urlsafe_b64decode(given + "==").decode().partition(":")[0]
    return [
        *(given[:length] for length in range(1, len(given))),
        *(given + more for more in ("A", "=", "==", "%00", "'")),
        given.swapcase(),
        *(raw(f"{name}:{position}") for position in ("", "0", "-1", "9" * 30, "' OR 1=1", "null", "1:2", "\x00")),
        *(raw(f"{name}:{uuid4()}:{uuid4()}"), raw(f"{name}"), raw(":"), raw(""), raw("\ud7ff" * 20)),
        *(encode_cursor(of_list, uuid4()) for of_list in ("nothing", "users", "agents'--")),
        raw(json.dumps({"workspace_id": stranger.workspace_id})),
        "W10",
        "e30",
        "bnVsbA",
        "AAAA",
        "____",
        "----",
        "….…",
    ]


@pytest.mark.parametrize("path", LISTS)
async def test_a_forged_cursor_is_refused_and_shows_nothing_of_others(get, forged, stranger, path):
    for cursor in forged:
        response = await get(path, params={"cursor": cursor})

        if cursor:
            problem(response, 422, "validation_failed" if len(cursor) > 200 else "bad_cursor")


async def test_a_sound_cursor_with_anothers_position_shows_only_ones_own(client, stranger, secret):
    """An id in a cursor is a position in an order, and no right to what has it."""
    bases = (await stranger.http.get("/api/v1/knowledge/bases")).json()["items"]
    names = {base64.urlsafe_b64decode(raw("bases") + "==").decode()}
    for name in (*names, "knowledge_bases", "bases"):
        response = await client.get(
            "/api/v1/knowledge/bases", params={"cursor": encode_cursor(name, bases[0]["id"]), "limit": 5}
        )

        assert response.status_code in {200, 422}
        assert secret not in response.text
