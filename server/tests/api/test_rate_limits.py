"""How many requests a minute anybody may make, who is told of it, and who is never kept from pausing."""

import asyncio
import re
import socket
import time

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus

from app.core.api_keys import make_key
from app.core.rate_limit import Limit, RateLimiter
from app.domain.discussion import Status
from app.engines.ports import free_port
from app.routes.rate_limits import _shown
from app.services.request_limits import OF_AN_ADDRESS
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import PASSWORD
from tests.fixtures.problems import problem
from tests.fixtures.socket import channel_of, socket_of

pytestmark = pytest.mark.anyio

RATE_LIMITS = "on"
AGENTS = "/api/v1/agents"
POLICIES = re.compile(r'"([a-z-]+)";q=(\d+);w=60')


@pytest.fixture
async def owner(make_user, make_arena):
    return await make_user(at=make_arena())


@pytest.fixture
def make_limited(make_arena):
    """An installation with rates of its own."""
    return lambda **rates: make_arena(rates={"rate_auth": 10**6, **rates})


async def test_an_answer_tells_its_limits_and_what_is_left_of_the_nearest(client):
    first, second = await client.get(AGENTS), await client.get(AGENTS)

    policies = dict(POLICIES.findall(first.headers["RateLimit-Policy"]))
    assert set(policies) == {"read", "read-user", "read-address"}
    assert int(policies["read-user"]) == 2 * int(policies["read"])
    left = [int(re.fullmatch(r'"read";r=(\d+);t=\d+', one.headers["RateLimit"])[1]) for one in (first, second)]
    assert left[0] - left[1] == 1


async def test_who_asks_too_much_is_told_when_to_come_back(make_limited, make_user):
    person = await make_user(at=make_limited(rate_reads=5))

    answers = [await person.http.get(AGENTS) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    problem(answers[-1], 429, "rate_limited")
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 120
    assert re.fullmatch(r'"read";r=0;t=\d+', answers[-1].headers["RateLimit"])
    assert (await person.http.post(AGENTS, json={})).status_code == 422, "writing has a limit of its own"


async def test_many_sessions_of_one_user_share_the_users_limit(make_limited, make_user, connect):
    there = make_limited(rate_reads=4)
    person = await make_user(at=there)
    login = {"grant_type": "password", "username": person.email, "password": PASSWORD}
    statuses = []
    for _ in range(3):
        session = (await person.http.post("/api/v1/auth/token", data=login)).json()
        http = await connect(session["access_token"], at=there)
        statuses += [(await http.get(AGENTS)).status_code for _ in range(3)]

    assert statuses == [200] * 8 + [429]


async def test_all_who_come_from_one_address_share_its_limit(make_limited, connect):
    http = await connect(at=make_limited(rate_reads=2))

    assert [(await http.get(AGENTS)).status_code for _ in range(9)] == [401] * 8 + [429]


async def test_an_address_is_who_a_trusted_proxy_says_and_the_last_hop_it_does_not_trust(make_arena, connect):
    http = await connect(at=make_arena(rates={"rate_reads": 1}, server={"trusted_proxies": "127.0.0.1"}))

    async def ask(hops):
        return [(await http.get(AGENTS, headers={"X-Forwarded-For": hops})).status_code for _ in range(5)]

    assert await ask("203.0.113.1") == [401] * 4 + [429]
    assert await ask("203.0.113.2") == [401] * 4 + [429]
    assert await ask("198.51.100.9, 203.0.113.1") == [429] * 5, "what a client claims before it counts for nothing"


async def test_nobody_gets_another_address_by_claiming_one(make_limited, connect):
    http = await connect(at=make_limited(rate_reads=1))

    answers = [await http.get(AGENTS, headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(5)]

    assert [answer.status_code for answer in answers] == [401] * 4 + [429]


async def test_a_workspace_may_have_a_tighter_limit_of_its_own(client, owner, sql, make_user):
    other = await make_user()
    sql("""UPDATE workspaces SET limits = '{"requests_per_minute": 3}' WHERE id = %s""", owner.workspace_id)
    await eventually(lambda: _is_limited(client), 5, "the workspace's limit")

    problem(await client.get(AGENTS), 429, "rate_limited")
    assert (await other.http.get(AGENTS)).status_code == 200


async def _is_limited(client):
    return (await client.get(AGENTS)).status_code == 429


async def test_a_user_without_any_requests_left_can_still_pause(make_limited, make_user):
    person = await make_user(at=make_limited(rate_reads=1, rate_writes=1))
    while (await person.http.post(AGENTS, json={})).status_code != 429:
        pass

    unknown = "019a0000-0000-7000-8000-000000000000"
    for command in ("pause", "interrupt", "stop"):
        problem(await person.http.post(f"/api/v1/discussions/{unknown}/{command}"), 404, "not_found")
    assert (await person.http.get("/healthz")).status_code == 200


async def test_a_limit_knows_how_long_it_takes_and_slides(valkey_url):
    async with Redis.from_url(valkey_url) as cache:
        limiter, limit = RateLimiter(cache), Limit("read", f"user:{time.time()}", 10)
        shared = Limit("read-address", f"address:{time.time()}", 1000)
        verdicts = [await limiter.hit([limit, shared]) for _ in range(30)]
        untouched = await limiter.hit([shared])

    assert [verdict.may for verdict in verdicts] == [True] * 10 + [False] * 20
    assert [verdict.remaining for verdict in verdicts[:10]] == list(range(9, -1, -1))
    assert untouched.remaining == 989, "what was refused has used up nothing of what others share"


async def test_who_speaks_by_socket_is_held_to_the_same_limit(make_limited, make_user, make_discussion):
    person = await make_user(at=make_limited(rate_writes=12))
    talk = await make_discussion(by=person, status=Status.DRAFT)
    said = {"type": "message", "channel": channel_of(talk), "content": "And another thing.", "ref": "1"}
    async with socket_of(person) as socket:
        answers = []
        while not answers or answers[-1]["type"] == "posted":
            assert len(answers) < 20, "nothing held it"
            answers.append(await socket.answer_to(said))

        assert (answers[-1]["type"], answers[-1]["code"]) == ("error", "rate_limited")
        assert (await socket.answer_to({"type": "ping", "ref": "2"}))["type"] == "pong", "the socket itself goes on"
    page = await person.http.get(f"/api/v1/discussions/{talk.id}/messages")
    assert len(page.json()["items"]) == len(answers) - 1 > 0
    problem(await person.http.post(AGENTS, json={}), 429, "rate_limited")


async def test_a_workspaces_limit_holds_on_sockets_too(make_limited, make_user, make_discussion):
    person = await make_user(at=make_limited())
    talk = await make_discussion(by=person, status=Status.DRAFT)
    limits = {"limits": {"requests_per_minute": 5}}
    assert (await person.http.patch(f"/api/v1/workspaces/{person.workspace_id}", json=limits)).status_code == 200
    said = {"type": "message", "channel": channel_of(talk), "content": "And another thing.", "ref": "1"}

    async with socket_of(person) as socket, asyncio.timeout(20):
        while (answer := await socket.answer_to(said))["type"] == "posted":
            await asyncio.sleep(0.05)  # for a second a process believes what it knew of the workspace

    assert answer["code"] == "rate_limited"


async def test_an_address_may_open_so_many_sockets_a_minute(make_limited):
    url = make_limited(rate_reads=2).url.replace("http", "ws", 1)
    refused = None
    for _ in range(2 * OF_AN_ADDRESS + 1):
        try:
            async with connect_socket(f"{url}/api/v1/ws?ticket=none", proxy=None):
                pass
        except InvalidStatus as error:
            refused = error.response
            break

    assert refused is not None
    assert refused.status_code == 429
    assert b"rate_limited" in refused.body
    assert int(refused.headers["Retry-After"]) >= 1


async def test_whose_address_asked_too_much_gets_no_key_looked_up(make_limited, connect, queries):
    visitor = await connect(at=make_limited(rate_reads=1))
    while (await visitor.get(AGENTS)).status_code != 429:
        pass

    refused = await visitor.get(AGENTS, headers={"Authorization": f"Bearer {make_key()}"})

    problem(refused, 429, "rate_limited")
    assert queries.of(refused) == 0


@pytest.fixture(params=["gone", "frozen"])
def away_url(request):
    """A Valkey that refuses connections, or takes them and never says a word."""
    if request.param == "gone":
        yield f"redis://127.0.0.1:{free_port()}/0"
        return
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


async def test_without_valkey_requests_go_on_unlimited_and_wait_for_nothing(make_arena, make_user, away_url):
    person = await make_user(at=make_arena(redis={"redis_url": away_url}, rates={"rate_reads": 1}))
    began = time.monotonic()

    answers = [await person.http.get(AGENTS) for _ in range(60)]

    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[-1].headers
    assert time.monotonic() - began < 10, "each would have waited for 2 s"


def test_of_two_tokens_the_first_counts_as_routes_read_them():
    headers = [(b"authorization", b"Bearer good"), (b"authorization", b"Bearer junk"), (b"x-workspace-id", b"a")]

    assert _shown({"type": "http", "headers": [*headers, (b"x-workspace-id", b"b")]}) == ("good", "a")
    assert _shown({"type": "http", "headers": [(b"authorization", b"Basic x"), *headers]}) == (None, "a")
