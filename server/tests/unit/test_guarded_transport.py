"""The guard under others' clients, against real sockets."""

import asyncio
import gzip
import socket
import ssl
import threading
import time

import httpx2
import pytest
from cryptography import x509

from app.core.address_guard import AddressGuard
from app.core.guarded_transport import AnswerTooLong, guarded_client, refused_address
from app.core.public_addresses import Allowance, ForbiddenAddress
from tests.fixtures.certificates import certify
from tests.fixtures.scripted_server import PREFIX, Reply, Stream

pytestmark = pytest.mark.anyio

TIMES = httpx2.Timeout(2)


@pytest.fixture
async def make_client():
    made = []

    def make(allow: str | None, most_bytes: int = 10_000, timeout: httpx2.Timeout = TIMES, **options):
        guard = AddressGuard(Allowance.parse(allow))
        client = guarded_client(guard, most_bytes=most_bytes, timeout=timeout, **options)
        made.append((guard, client))
        return client

    yield make
    for guard, client in made:
        await client.aclose()
        await guard.close()


@pytest.fixture
def names(monkeypatch):
    """What the machine's resolver says of a name, one list of addresses a look-up."""

    def answer(*found: list[str]) -> None:
        rest = list(found)

        def getaddrinfo(host, port, family=0, type=0, *_):
            addresses = rest.pop(0)
            return [(socket.AF_INET6 if ":" in one else socket.AF_INET, type, 6, "", (one, port)) for one in addresses]

        monkeypatch.setattr("app.core.name_look_ups.socket.getaddrinfo", getaddrinfo)

    return answer


def at(server, host: str = "127.0.0.1", path: str = "/hook") -> str:
    return f"{server.url.replace('127.0.0.1', host)}{PREFIX}{path}"


async def refusal(client, url: str) -> ForbiddenAddress | None:
    with pytest.raises(httpx2.ConnectError) as caught:
        await client.get(url)
    return refused_address(caught.value)


async def test_what_the_guard_allows_is_reached(server, make_client):
    server.on("GET", "/hook", Reply(b"welcome"))

    answer = await make_client("127.0.0.1").get(at(server))

    assert (answer.status_code, answer.content) == (200, b"welcome")
    assert server.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_an_address_that_is_not_allowed_is_never_connected_to(server, make_client, host):
    assert await refusal(make_client(None), at(server, host)) is not None
    assert server.asked == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254"])
async def test_a_name_that_leads_into_a_private_network_is_refused(server, make_client, names, address):
    names([address])

    assert await refusal(make_client(None), at(server, "mcp.example")) is not None
    assert server.asked == []


async def test_a_name_is_looked_up_once_and_only_allowed_addresses_are_tried(server, make_client, names):
    server.on("GET", "/hook", Reply(b"welcome"))
    names(["10.0.0.1", "127.0.0.1"])  # a second look-up would fail

    assert (await make_client("127.0.0.1").get(at(server, "mcp.example"))).content == b"welcome"
    assert server.asked[0].headers["host"].startswith("mcp.example:")


async def test_the_next_address_is_tried_where_nobody_listens(server, make_client, names):
    server.on("GET", "/hook", Reply(b"welcome"))
    names(["127.0.0.2", "127.0.0.1"])

    assert (await make_client("127.0.0.0/8").get(at(server, "mcp.example"))).content == b"welcome"


async def test_a_redirect_that_a_client_follows_is_guarded_too(server, make_client, names):
    server.on("GET", "/hook", Reply(b"", 302, {"Location": f"http://10.0.0.1:{server.url.rpartition(':')[2]}/x"}))
    client = make_client("127.0.0.1")

    assert (await client.get(at(server))).status_code == 302
    with pytest.raises(httpx2.ConnectError) as caught:
        await client.get(at(server), follow_redirects=True)
    assert refused_address(caught.value) is not None


async def test_the_environments_proxy_is_not_asked(server, make_client, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.on("GET", "/hook", Reply(b"welcome"))

    assert (await make_client("127.0.0.1").get(at(server))).status_code == 200


@pytest.mark.parametrize("reply", [Reply(b"x" * 1001), Stream([b"x" * 300] * 4)], ids=["told", "untold"])
async def test_an_answer_beyond_the_bound_is_not_taken(server, make_client, reply):
    server.on("GET", "/hook", reply)

    with pytest.raises(AnswerTooLong):
        await make_client("127.0.0.1", most_bytes=1000).get(at(server))


async def test_a_compressed_answer_is_not_unpacked(server, make_client):
    server.on("GET", "/hook", Reply(gzip.compress(b"x" * 1_000_000), 200, {"Content-Encoding": "gzip"}))

    with pytest.raises(httpx2.ReadError, match="compressed"):
        await make_client("127.0.0.1").get(at(server))


async def test_names_that_are_not_found_in_time_end_the_wait(server, make_client, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr("app.core.name_look_ups.socket.getaddrinfo", lambda *_: over.wait(10) and [])

    begun = time.perf_counter()
    with pytest.raises(httpx2.ConnectTimeout):
        await make_client(None, timeout=httpx2.Timeout(5, connect=0.2)).get(at(server, "slow.example"))
    over.set()
    assert time.perf_counter() - begun < 3


async def test_without_a_guard_everything_is_reached(server):
    server.on("GET", "/hook", Reply(b"welcome"))

    async with guarded_client(None, most_bytes=1000, timeout=TIMES) as client:
        assert (await client.get(at(server))).content == b"welcome"


@pytest.fixture
async def encrypted(tmp_path):
    """A server that has a certificate for `mcp.example`; its port, whom it was asked for, and whoever trusts it."""
    serving, trusting = certify(x509.DNSName("mcp.example"), tmp_path)
    asked_for = []
    serving.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", ssl=serving) as listener:
        yield listener.sockets[0].getsockname()[1], asked_for, trusting


async def test_tls_speaks_to_the_name_and_not_to_its_address(make_client, encrypted, names):
    port, asked_for, trusting = encrypted
    names(["127.0.0.1"], ["127.0.0.1"])
    client = make_client("127.0.0.1", tls=trusting)

    assert (await client.get(f"https://mcp.example:{port}/")).content == b"ok"
    assert asked_for == ["mcp.example"]
    with pytest.raises(httpx2.ConnectError, match="Hostname mismatch"):
        await client.get(f"https://other.example:{port}/")


async def test_a_server_whose_certificate_nobody_vouches_for_is_refused(make_client, encrypted, names):
    names(["127.0.0.1"])

    with pytest.raises(httpx2.ConnectError) as caught:
        await make_client("127.0.0.1").get(f"https://mcp.example:{encrypted[0]}/")
    assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(caught.value))


def causes(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_a_refusal_is_found_in_a_group():
    hidden = ExceptionGroup("others", [ValueError(), ExceptionGroup("inner", [ForbiddenAddress("no")])])

    assert refused_address(hidden) is not None
    assert refused_address(ValueError()) is None
