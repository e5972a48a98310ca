"""A page whose name was made to lead here (DNS rebinding) is told nothing: names that are not ours are turned away."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus

from app.config import OidcSettings, ServerSettings, Settings
from app.core.hosts import Hosts
from tests.fixtures.problems import problem
from tests.fixtures.raw_request import raw_connection

pytestmark = pytest.mark.anyio

REBOUND = "evil.example:8000"
FOREIGN = [
    REBOUND,
    "",
    "0.0.0.0",
    "10.0.0.7",
    "127.evil.example",
    "localhost.evil.example",
    "evillocalhost",
    "127.0.0.1@evil.example",
    "127.0.0.1, evil.example",
    "[::2]",
    "::1",
    "[::1",
    "localhost:port",
]


def settings_of(*, server=None, oidc=None) -> Settings:
    return Settings(
        data_dir=Path("/nowhere"), server=ServerSettings(**(server or {})), oidc=OidcSettings(**(oidc or {}))
    )


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_request_for_another_host_is_refused_even_with_a_token(client, host):
    problem(await client.get("/api/v1/agents", headers={"Host": host}), 421, "wrong_host")


@pytest.mark.parametrize("path", ["/docs", "/.well-known/jwks.json", "/nothing", "/api/v1/openapi.json"])
async def test_nothing_is_told_to_another_host(arena, path):
    async with raw_connection(arena.url) as connection:
        await connection.send(b"GET %b HTTP/1.1\r\nHost: evil.example\r\n\r\n" % path.encode())
        (await connection.answer()).problem(421, "wrong_host")
        await connection.send(b"GET %b HTTP/1.1\r\n\r\n" % path.encode())
        (await connection.answer()).problem(421, "wrong_host")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3000", "localhost.", "arena.localhost", "127.0.0.1:1", "127.9.9.9", "[::1]:8000"]
)
async def test_every_name_of_this_machine_is_ours(client, host):
    assert (await client.get("/api/v1/agents", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_may_call_it_what_they_like(anonymous, path):
    assert (await anonymous.get(path, headers={"Host": "10.0.0.7:8000"})).status_code == 200


async def test_a_page_that_was_led_here_opens_no_socket(arena):
    here = urlsplit(arena.url)
    page, at = f"http://{REBOUND}", f"ws://{REBOUND}/api/v1/ws"

    with pytest.raises(InvalidStatus) as refused:
        await connect_socket(at, host=here.hostname, port=here.port, origin=page, proxy=None)

    assert refused.value.response.status_code == 421
    assert b"wrong_host" in (refused.value.response.body or b"")


async def test_a_host_that_is_named_twice_is_refused(arena):
    async with raw_connection(arena.url) as connection:
        await connection.send(b"GET /api/v1/agents HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n")

        (await connection.answer()).problem(400, "malformed_request")


async def test_names_of_the_settings_are_ours(make_arena, connect):
    names = {
        "public_url": "https://arena.example/app",
        "allowed_origins": "http://pages.example:3000",
        "allowed_hosts": "Other.example, [fd00::1]",
    }
    http = await connect(at=make_arena(server=names))

    for host in ("arena.example", "pages.example:3000", "other.EXAMPLE:80", "[fd00::1]:8000", "localhost"):
        assert (await http.get("/api/v1/agents", headers={"Host": host})).status_code == 401, host
    for host in ("evil.example", "sub.other.example", "example"):
        problem(await http.get("/api/v1/agents", headers={"Host": host}), 421, "wrong_host")


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        ({}, set()),
        ({"host": "::1"}, set()),
        ({"host": "0.0.0.0"}, None),
        ({"trusted_proxies": "127.0.0.1"}, None),
        ({"host": "0.0.0.0", "allowed_hosts": "a.example"}, {"a.example"}),
        ({"trusted_proxies": "127.0.0.1", "allowed_hosts": "a.example"}, {"a.example"}),
        ({"host": "0.0.0.0", "public_url": "https://b.example"}, None),
        ({"public_url": "https://b.example:8443/x"}, {"b.example"}),
    ],
    ids=str,
)
def test_names_are_checked_where_they_are_known(server, wanted):
    assert settings_of(server=server).hosts == wanted


def test_where_an_issuer_sends_browsers_back_to_is_ours():
    oidc = {"oidc_redirect_url": "https://login.example/api/v1/auth/oidc/callback"}

    assert settings_of(oidc=oidc).hosts == {"login.example"}


@pytest.mark.parametrize("given", ["*", "*.example.org", "https://a.example", "a.example:8000", "::1", "a.example/b"])
def test_a_host_that_is_none_is_refused_at_the_start(given):
    with pytest.raises(ValidationError):
        ServerSettings(allowed_hosts=given)


async def test_what_was_judged_is_not_kept_without_end():
    async def nothing(*_):
        pass

    hosts = Hosts(nothing, [])
    for number in range(1000):
        name = b"n%d.localhost" % number
        await hosts({"type": "http", "path": "/", "headers": [(b"host", name)]}, nothing, nothing)

    assert hosts._is_ours.cache_info().currsize <= 256
