"""Guessing gets slower and slower; nobody is locked out by it, and nobody learns who has an account."""

import asyncio
import socket

import pyotp
import pytest
from redis.asyncio import Redis

from app.core.errors import Unauthenticated
from app.core.failures import Counted, Failures
from app.services.login_throttle import ADDRESS_FREE, PAIR_FREE, LoginThrottle, TooManyAttempts, place_of
from tests.fixtures.mail import smtp_settings, token_in
from tests.fixtures.people import PASSWORD
from tests.fixtures.problems import problem

pytestmark = pytest.mark.anyio

RATE_LIMITS = "on"
TOKEN = "/api/v1/auth/token"
WRONG = "not the password at all"


@pytest.fixture
async def owner(make_user, make_arena):
    return await make_user(at=make_arena())


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


async def test_a_guesser_at_the_same_address_keeps_nobody_out_who_is_known_there(guarded, make_user):
    person = await make_user(at=guarded)
    assert (await guess(person.http, person.email, PASSWORD, "192.0.2.8")).status_code == 200
    statuses = [
        (await guess(person.http, f"m{number}@arena.example", origin="192.0.2.8")).status_code for number in range(70)
    ]
    assert 429 in statuses

    assert (await guess(person.http, person.email, PASSWORD, "192.0.2.8")).status_code == 200


async def test_made_up_refresh_tokens_end_no_neighbours_session(guarded, make_user):
    person = await make_user(at=guarded)
    form, origin = {"grant_type": "refresh_token", "refresh_token": "arena_rt_guess"}, {"X-Forwarded-For": "192.0.2.7"}
    for _ in range(40):
        problem(await person.http.post(TOKEN, data=form, headers=origin), 401, "invalid_grant")

    own = {"grant_type": "refresh_token", "refresh_token": person.refresh_token}
    assert (await person.http.post(TOKEN, data=own, headers=origin)).status_code == 200


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


NEW = "nineteen orange giraffes"
ASKED_FOR_THE_PASSWORD = {
    "another password": ("POST", "/api/v1/auth/password", {"new_password": NEW}),
    "another address": ("PATCH", "/api/v1/auth/me", {"email": "moved@arena.example"}),
    "a second factor": ("POST", "/api/v1/auth/totp", {}),
    "no second factor": ("POST", "/api/v1/auth/totp/disable", {"code": "000000"}),
    "recovery codes": ("POST", "/api/v1/auth/recovery-codes", {"code": "000000"}),
}


@pytest.mark.parametrize("asked", ASKED_FOR_THE_PASSWORD.values(), ids=ASKED_FOR_THE_PASSWORD)
async def test_who_is_logged_in_may_not_guess_the_password_either(owner, asked):
    """Whoever found a session open, or took its token, has as few tries as a stranger."""
    method, path, body = asked
    for _ in range(PAIR_FREE + 1):
        problem(await owner.http.request(method, path, json={**body, "password": WRONG}), 403, "wrong_password")

    refused = await owner.http.request(method, path, json={**body, "password": PASSWORD})

    problem(refused, 429, "too_many_attempts")
    assert int(refused.headers["Retry-After"]) >= 1


async def test_the_password_is_guessed_at_nowhere_else_meanwhile(owner):
    for number in range(PAIR_FREE + 1):
        method, path, body = list(ASKED_FOR_THE_PASSWORD.values())[number % 3]
        problem(await owner.http.request(method, path, json={**body, "password": WRONG}), 403, "wrong_password")

    for method, path, body in ASKED_FOR_THE_PASSWORD.values():
        problem(await owner.http.request(method, path, json={**body, "password": PASSWORD}), 429, "too_many_attempts")


async def test_what_compares_no_password_forgets_no_wrong_ones(owner):
    for _ in range(PAIR_FREE + 1):
        assert (await owner.http.patch("/api/v1/auth/me", json={"display_name": "Ada"})).status_code == 200
        weak = await owner.http.post("/api/v1/auth/password", json={"password": WRONG, "new_password": "a" * 20})
        problem(weak, 422, "weak_password")
        refused = await owner.http.post("/api/v1/auth/totp", json={"password": WRONG})
        problem(refused, 403, "wrong_password")

    problem(await owner.http.post("/api/v1/auth/totp", json={"password": PASSWORD}), 429, "too_many_attempts")


async def test_the_right_password_forgets_the_wrong_ones_before_it(owner):
    for _ in range(2):
        for _ in range(PAIR_FREE):
            problem(await owner.http.post("/api/v1/auth/totp", json={"password": WRONG}), 403, "wrong_password")
        assert (await owner.http.post("/api/v1/auth/totp", json={"password": PASSWORD})).status_code == 201


async def begin_factor(person):
    begun = await person.http.post("/api/v1/auth/totp", json={"password": PASSWORD})
    assert begun.status_code == 201, begun.text
    return pyotp.TOTP(begun.json()["secret"])


def other_than(code):
    return f"{(int(code) + 500_000) % 1_000_000:06}"


async def test_a_code_that_confirms_a_factor_is_not_guessed(owner):
    factor = await begin_factor(owner)
    for _ in range(PAIR_FREE + 1):
        wrong = {"code": other_than(factor.now())}
        problem(await owner.http.post("/api/v1/auth/totp/confirm", json=wrong), 403, "wrong_code")

    refused = await owner.http.post("/api/v1/auth/totp/confirm", json={"code": factor.now()})

    problem(refused, 429, "too_many_attempts")


@pytest.mark.parametrize("path", ["/api/v1/auth/totp/disable", "/api/v1/auth/recovery-codes"])
async def test_who_knows_the_password_may_not_guess_the_code(owner, path):
    factor = await begin_factor(owner)
    confirmed = await owner.http.post("/api/v1/auth/totp/confirm", json={"code": factor.now()})
    [code, *_] = confirmed.json()["recovery_codes"]
    for _ in range(PAIR_FREE + 1):
        # A right password, which forgets nothing of the codes.
        problem(await owner.http.post("/api/v1/auth/totp", json={"password": PASSWORD}), 409, "second_factor_exists")
        wrong = {"password": PASSWORD, "code": other_than(factor.now())}
        problem(await owner.http.post(path, json=wrong), 403, "wrong_code")

    problem(await owner.http.post(path, json={"password": PASSWORD, "code": code}), 429, "too_many_attempts")


async def test_resets_are_asked_for_so_often_from_one_address(guarded, connect):
    http = await connect(at=guarded)

    async def ask(number, origin="192.0.2.8"):
        body = {"email": f"nobody-{number}@arena.example"}
        return await http.post("/api/v1/auth/password-reset", json=body, headers={"X-Forwarded-For": origin})

    assert [(await ask(number)).status_code for number in range(ADDRESS_FREE // 2 + 1)] == (
        [202] * (ADDRESS_FREE // 2 + 1)
    )
    problem(await ask("more"), 429, "too_many_attempts")
    assert (await ask("elsewhere", "192.0.2.9")).status_code == 202


async def test_tokens_of_resets_are_not_guessed(make_arena, post_office, make_user, connect):
    place = make_arena(mail=smtp_settings(post_office), server={"trusted_proxies": "127.0.0.1"})
    person, http = await make_user(at=place), await connect(at=place)
    await http.post("/api/v1/auth/password-reset", json={"email": person.email})
    token = token_in(await post_office.next_to(person.email))

    async def confirm(token, origin="192.0.2.10"):
        body = {"token": token, "new_password": NEW}
        headers = {"X-Forwarded-For": origin}
        return await http.post("/api/v1/auth/password-reset/confirm", json=body, headers=headers)

    for number in range(ADDRESS_FREE // 2 + 1):
        problem(await confirm(f"guess {number}"), 422, "invalid_reset_token")
    problem(await confirm(token), 429, "too_many_attempts")
    assert (await confirm(token, "192.0.2.11")).status_code == 204


async def test_a_login_that_could_not_be_tried_forgets_no_wrong_ones(guarded, make_user):
    person = await make_user(at=guarded)
    odd = {"grant_type": "password", "username": person.email, "password": WRONG, "scope": "no:such"}
    for _ in range(PAIR_FREE + 1):
        await person.http.post(TOKEN, data=odd, headers={"X-Forwarded-For": "192.0.2.12"})
        refused = await guess(person.http, person.email, origin="192.0.2.12")
        problem(refused, 401, "invalid_grant")

    problem(await guess(person.http, person.email, PASSWORD, "192.0.2.12"), 429, "too_many_attempts")
