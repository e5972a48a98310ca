"""How many requests a minute anybody may make, who is told of it, and who is never kept from pausing."""

import re
import socket
import time

import pytest
from redis.asyncio import Redis

from app.core.rate_limit import Limit, RateLimiter
from app.engines.ports import free_port
from app.routes.rate_limits import _shown
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import PASSWORD
from tests.fixtures.problems import problem

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
