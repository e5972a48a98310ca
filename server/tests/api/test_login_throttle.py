"""Guessing gets slower and slower; nobody is locked out by it, and nobody learns who has an account."""

import asyncio
import socket

import pytest
from redis.asyncio import Redis

from app.core.errors import Unauthenticated
from app.core.failures import Counted, Failures
from app.services.login_throttle import PAIR_FREE, LoginThrottle, TooManyAttempts, place_of
from tests.fixtures.people import PASSWORD
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

TOKEN = "/api/v1/auth/token"
WRONG = "not the password at all"


def guess(http, email, password=WRONG, origin="203.0.113.5"):
    form = {"grant_type": "password", "username": email, "password": password}
    return http.post(TOKEN, data=form, headers={"X-Forwarded-For": origin})


@pytest.fixture
async def guarded(make_arena):
    """An installation behind a proxy that says where somebody comes from."""
    return make_arena(server={"trusted_proxies": "127.0.0.1"})


async def test_after_some_wrong_passwords_each_further_one_has_to_wait(guarded, make_user):
    person = await make_user(at=guarded)
    statuses = [(await guess(person.http, person.email)).status_code for _ in range(PAIR_FREE + 2)]

    refused = await guess(person.http, person.email)

    assert statuses == [401] * (PAIR_FREE + 1) + [429]
    problem(refused, 429, "too_many_attempts")
    assert int(refused.headers["Retry-After"]) >= 1


async def test_a_stranger_who_guesses_keeps_no_owner_out_of_the_place_they_are_known_at(guarded, make_user):
    person = await make_user(at=guarded)
    assert (await guess(person.http, person.email, PASSWORD, "198.51.100.1")).status_code == 200
    for number in range(60):
        await guess(person.http, person.email, origin=f"203.0.{number}.9")
    for _ in range(PAIR_FREE + 3):
        await guess(person.http, person.email)

    assert (await guess(person.http, person.email)).status_code == 429
    assert (await guess(person.http, person.email, PASSWORD, "198.51.100.1")).status_code == 200


async def test_whether_there_is_an_account_makes_no_difference(guarded, make_user):
    person = await make_user(at=guarded)
    known, unknown = [], []
    for _ in range(PAIR_FREE + 2):
        known.append(await guess(person.http, person.email, origin="192.0.2.1"))
        unknown.append(await guess(person.http, "nobody-" + person.email, origin="192.0.2.2"))

    def told(response):
        return response.status_code, {**response.json(), "request_id": ""}, response.headers.get("Retry-After")

    assert list(map(told, known)) == list(map(told, unknown))


async def test_a_success_forgets_the_failures_before_it(guarded, make_user):
    person = await make_user(at=guarded)
    for _ in range(2):
        for _ in range(PAIR_FREE):
            assert (await guess(person.http, person.email, origin="192.0.2.3")).status_code == 401
        assert (await guess(person.http, person.email, PASSWORD, "192.0.2.3")).status_code == 200


async def test_guesses_made_all_at_once_count_like_those_made_one_by_one(guarded, make_user):
    person = await make_user(at=guarded)

    answers = await asyncio.gather(*(guess(person.http, person.email, origin="192.0.2.4") for _ in range(40)))

    assert sum(answer.status_code == 401 for answer in answers) <= PAIR_FREE + 1


async def test_one_password_is_not_tried_on_many_accounts_from_one_address(guarded, make_user):
    person = await make_user(at=guarded)

    statuses = [
        (await guess(person.http, f"n{number}@arena.example", origin="192.0.2.5")).status_code for number in range(70)
    ]

    assert 429 in statuses
    assert (await guess(person.http, person.email, PASSWORD, "192.0.2.6")).status_code == 200


async def test_guesses_at_refresh_tokens_are_slowed_too(guarded, make_user):
    person = await make_user(at=guarded)
    form = {"grant_type": "refresh_token", "refresh_token": "arena_rt_guess"}

    statuses = [
        (await person.http.post(TOKEN, data=form, headers={"X-Forwarded-For": "192.0.2.7"})).status_code
        for _ in range(40)
    ]

    assert statuses[:30] == [401] * 30
    assert 429 in statuses


@pytest.fixture
async def failures(valkey_url):
    async with Redis.from_url(valkey_url) as cache:
        yield Failures(cache)


async def test_waits_double_up_to_their_longest(failures, valkey_url):
    counted = [Counted(f"test:{id(failures)}", 2, 60, 10)]
    waits = []
    async with Redis.from_url(valkey_url) as cache:
        for _ in range(9):
            assert await failures.begin(counted) == 0
            waits.append(round(max(0, await cache.pttl(counted[0].key + ":wait")) / 1000))
            await cache.delete(counted[0].key + ":wait")

    assert waits == [0, 0, 1, 2, 4, 8, 10, 10, 10]


async def test_without_valkey_logins_stay_throttled_and_stricter():
    with socket.create_server(("127.0.0.1", 0), backlog=64) as frozen:
        async with Redis.from_url(f"redis://127.0.0.1:{frozen.getsockname()[1]}") as cache:
            throttle = LoginThrottle(Failures(cache))
            failed = 0
            with pytest.raises(TooManyAttempts):
                while failed < 100:
                    with pytest.raises(Unauthenticated):
                        async with throttle.attempting("ada@arena.example", "192.0.2.1"):
                            raise Unauthenticated("wrong")
                    failed += 1
            async with throttle.attempting("charles@arena.example", "192.0.2.2"):
                pass

    assert failed == PAIR_FREE // 2 + 1


def test_an_ipv6_customer_is_one_place():
    assert place_of("2001:db8:1:2::1") == place_of("2001:db8:1:2:ffff::9")
    assert place_of("2001:db8:1:2::1") != place_of("2001:db8:1:3::1")
    assert place_of("::ffff:192.0.2.1") == place_of("192.0.2.1")
