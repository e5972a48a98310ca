"""The way out for requests that users cause, against real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from app.config import OutgoingSettings
from app.core.name_look_ups import MOST_PER_DOMAIN, THREADS
from app.core.outgoing import MAX_ANSWER_BYTES, Outgoing, Unreachable
from app.core.public_addresses import ForbiddenAddress
from tests.fixtures.scripted_server import PREFIX, Reply, ScriptedServer, Stream

pytestmark = pytest.mark.anyio

BODY = b'{"turn": 1}'


@pytest.fixture
async def make_outgoing():
    made = []

    def make(allow: str | None = None, seconds: float = 2) -> Outgoing:
        made.append(Outgoing(OutgoingSettings(outgoing_allow=allow, outgoing_seconds=seconds)))
        return made[-1]

    yield make
    for outgoing in made:
        await outgoing.close()


@pytest.fixture
def names(monkeypatch) -> Callable[..., list[str]]:
    """Replace the machine's resolver, whose answers no test may depend on; the list fills with what was asked."""
    asked: list[str] = []

    def answer(**addresses: list[str]) -> list[str]:
        def getaddrinfo(host, port, family=0, type=0, *_):
            asked.append(host)
            found = addresses.get(host.partition(".")[0])
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [
                (socket.AF_INET6 if ":" in one else socket.AF_INET, type, 6, "", (one, port)) for one in found.pop(0)
            ]

        monkeypatch.setattr("app.core.name_look_ups.socket.getaddrinfo", getaddrinfo)
        return asked

    return answer


@pytest.fixture
def tarpit(monkeypatch) -> Iterator[list[str]]:
    """Name servers of hosts with `slow` in their names keep silent until the test is over; others say 127.0.0.1."""
    asked: list[str] = []
    over = threading.Event()

    def getaddrinfo(host, port, family=0, type=0, *_):
        asked.append(host)
        if "slow" in host:
            over.wait(20)
        return [(socket.AF_INET, type, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("app.core.name_look_ups.socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("app.core.name_look_ups.SLOW_AFTER_SECONDS", 0.2)
    monkeypatch.setattr("app.core.outgoing.LOOK_UP_SECONDS", 0.3)
    yield asked
    over.set()


def hook(server: ScriptedServer, host: str = "127.0.0.1") -> str:
    return f"{server.url.replace('127.0.0.1', host)}{PREFIX}/hook"


async def test_an_allowed_address_is_reached(server, make_outgoing):
    server.on("POST", "/hook", Reply(b"welcome", 201, {"X-Note": "kept"}))

    answer = await make_outgoing("127.0.0.1").post(hook(server), BODY, {"X-Arena-Delivery": "7"})

    assert (answer.status, answer.body, answer.headers["X-Note"]) == (201, b"welcome", "kept")
    [asked] = server.asked
    assert (asked.body, asked.headers["x-arena-delivery"]) == (BODY, "7")
    assert asked.headers["user-agent"].startswith("DiscussionArena")


async def test_an_address_that_is_not_allowed_is_never_connected_to(server, make_outgoing):
    with pytest.raises(ForbiddenAddress):
        await make_outgoing("127.0.0.1:1").post(hook(server), BODY, {})

    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://agent.example/",
            "file:///etc/passwd",
            "//agent.example/",
            "agent.example",
            "",
            "http://",
            "http:///x",
        ),
        *("http://user@agent.example/", "http://user:word@agent.example/", "http://:word@agent.example/"),
        *("http://127.0.0.1:99999/", "http://agent.example:0/", "http://[::1/", "javascript:alert(1)"),
        # What a name in full-width characters or in percent signs comes to.
        *("http://１２７.０.０.１/", "http://127。0。0。1/", "http://%31%32%37.0.0.1/", "http://①②⑦.0.0.1/"),
        *("http://ⓛocalhost/", "http://localhost%00.example/", "http://0/", "http://127.1/", "http://[::ffff:7f00:1]/"),
    ],
)
async def test_a_url_of_another_form_is_refused(make_outgoing, names, url):
    names()
    outgoing = make_outgoing()
    with pytest.raises(ForbiddenAddress):
        await outgoing.check_url(url)
    with pytest.raises(ForbiddenAddress):
        await outgoing.post(url, BODY, {})


async def test_a_name_is_looked_up_once_and_what_was_found_is_connected_to(server, make_outgoing, names):
    """A second look-up, which an attacker's name server would answer otherwise, is never made."""
    server.on("POST", "/hook", Reply())
    asked = names(agent=[["127.0.0.1"], ["10.0.0.1"]])

    await make_outgoing("127.0.0.1").post(hook(server, "agent.example"), BODY, {})

    assert asked == ["agent.example"]
    assert len(server.asked) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "fe80::1%1"])
async def test_a_name_that_leads_into_a_private_network_is_refused(server, make_outgoing, names, address):
    names(agent=[[address], [address]])
    outgoing = make_outgoing()

    with pytest.raises(ForbiddenAddress):
        await outgoing.check_url(hook(server, "agent.example"))
    with pytest.raises(ForbiddenAddress):
        await outgoing.post(hook(server, "agent.example"), BODY, {})
    assert server.asked == []


async def test_of_several_addresses_only_allowed_ones_are_tried(server, make_outgoing, names):
    server.on("POST", "/hook", Reply())
    names(agent=[["10.0.0.1", "127.0.0.2", "127.0.0.1", "::1"]])

    assert (await make_outgoing("127.0.0.1").post(hook(server, "agent.example"), BODY, {})).status == 200


async def test_a_name_that_changed_since_it_was_checked_is_refused(server, make_outgoing, names):
    names(agent=[["93.184.216.34"], ["127.0.0.1"]])
    outgoing = make_outgoing()
    await outgoing.check_url(hook(server, "agent.example"))

    with pytest.raises(ForbiddenAddress):
        await outgoing.post(hook(server, "agent.example"), BODY, {})
    assert server.asked == []


async def test_an_allowed_name_may_lead_anywhere(server, make_outgoing, names):
    server.on("POST", "/hook", Reply())
    names(agent=[["127.0.0.1"]])

    assert (await make_outgoing("agent.internal").post(hook(server, "agent.internal"), BODY, {})).status == 200


async def test_a_name_that_leads_nowhere_is_accepted_and_not_reached(make_outgoing, names):
    names()
    outgoing = make_outgoing()

    await outgoing.check_url("https://agent.example/hook")
    with pytest.raises(Unreachable):
        await outgoing.post("https://agent.example/hook", BODY, {})


async def test_hosts_whose_name_servers_keep_silent_stop_nobody_elses_requests(server, make_outgoing, tarpit):
    """One domain has more of them than there are threads."""
    server.on("POST", "/hook", Reply())
    outgoing = make_outgoing("127.0.0.1")

    await asyncio.gather(*(outgoing.check_url(f"http://slow{n}.evil.example/") for n in range(2 * THREADS)))

    assert (await outgoing.post(hook(server, "agent.other"), BODY, {})).status == 200
    assert len(tarpit) == MOST_PER_DOMAIN + 1


async def test_a_host_that_was_not_found_in_time_is_refused_at_once_for_a_while(make_outgoing, tarpit):
    outgoing = make_outgoing("127.0.0.1", seconds=0.4)
    with pytest.raises(Unreachable, match="did not answer within"):
        await outgoing.post("http://slow.example/", BODY, {})

    begun = time.perf_counter()
    for _ in range(5):
        await outgoing.check_url("http://SLOW.example./")
        with pytest.raises(Unreachable, match=r"name servers do not answer for slow\.example in time"):
            await outgoing.post("http://slow.example/", BODY, {})
    assert time.perf_counter() - begun < 1
    assert tarpit == ["slow.example"]


async def test_a_host_has_no_more_than_two_look_ups_that_do_not_end(make_outgoing, tarpit, monkeypatch):
    monkeypatch.setattr("app.core.name_look_ups.REMEMBERED_SECONDS", 0.0)
    outgoing = make_outgoing("127.0.0.1", seconds=0.4)

    for _ in range(4):
        with pytest.raises(Unreachable):
            await outgoing.post("http://slow.example/", BODY, {})

    assert tarpit == ["slow.example"] * 2


async def test_many_requests_to_a_host_at_once_are_made_after_one_look_up(server, make_outgoing, names):
    server.on("POST", "/hook", Reply())
    asked = names(agent=[["127.0.0.1"]])
    outgoing = make_outgoing("127.0.0.1")

    answers = await asyncio.gather(*(outgoing.post(hook(server, "agent.example"), BODY, {}) for _ in range(5)))

    assert [answer.status for answer in answers] == [200] * 5
    assert asked == ["agent.example"]


async def test_a_redirect_is_an_answer_and_is_not_followed(server, make_outgoing):
    server.on("POST", "/hook", Reply(status=302, headers={"Location": f"{server.url}{PREFIX}/inside"}))

    answer = await make_outgoing("127.0.0.1").post(hook(server), BODY, {})

    assert answer.status == 302
    assert [asked.path for asked in server.asked] == [f"{PREFIX}/hook"]


async def test_no_proxy_of_the_environment_is_asked(server, make_outgoing, monkeypatch):
    server.on("POST", "/hook", Reply())
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert (await make_outgoing("127.0.0.1").post(hook(server), BODY, {})).status == 200


async def test_a_long_answer_is_cut(server, make_outgoing):
    server.on("POST", "/hook", Stream([b"x" * MAX_ANSWER_BYTES, b"y" * MAX_ANSWER_BYTES], then="hold"))

    answer = await make_outgoing("127.0.0.1").post(hook(server), BODY, {})

    assert answer.body == b"x" * MAX_ANSWER_BYTES


async def test_a_compressed_answer_is_not_unpacked(server, make_outgoing):
    server.on("POST", "/hook", Reply(b"\x1f\x8b bomb", headers={"Content-Encoding": "gzip"}))

    assert (await make_outgoing("127.0.0.1").post(hook(server), BODY, {})).body == b"\x1f\x8b bomb"


@pytest.mark.parametrize("then", ["hold", "cut"])
async def test_an_answer_that_does_not_come_to_its_end_is_a_failure(server, make_outgoing, then):
    server.on("POST", "/hook", Stream([b"."], then=then))

    with pytest.raises(Unreachable):
        await make_outgoing("127.0.0.1", seconds=0.3).post(hook(server), BODY, {})


async def test_a_port_where_nobody_listens_is_a_failure(make_outgoing):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Unreachable):
        await make_outgoing("127.0.0.1").post(f"http://127.0.0.1:{port}/", BODY, {})


async def test_what_is_only_asked_for_is_kept_to_the_length_that_was_set(server):
    server.on("GET", "/hook", Reply(b"x" * 5000))
    outgoing = Outgoing(OutgoingSettings(outgoing_allow="127.0.0.1"), most_bytes=1000)

    answer = await outgoing.get(hook(server), {"X-Note": "kept"})

    assert answer.body == b"x" * 1000
    assert (server.asked[0].method, server.asked[0].headers["x-note"]) == ("GET", "kept")
    await outgoing.close()


async def test_what_is_only_asked_for_does_not_follow_where_it_is_sent(server, make_outgoing):
    server.on("GET", "/hook", Reply(b"", 302, {"Location": "http://169.254.169.254/"}))

    assert (await make_outgoing("127.0.0.1").get(hook(server), {})).status == 302


async def test_a_private_address_is_not_asked_either(server, make_outgoing):
    with pytest.raises(ForbiddenAddress):
        await make_outgoing().get(hook(server), {})

    assert server.asked == []
