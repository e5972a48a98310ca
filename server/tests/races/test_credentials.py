"""What is good once is good once, however many try it at the same moment; and a change is whole."""

import asyncio
from collections import Counter

import psycopg
import pyotp
import pytest

from app.core.security import digest_of, hash_password
from tests.fixtures.databases import rows
from tests.fixtures.deadlines import eventually
from tests.fixtures.people import PASSWORD, log_in

pytestmark = pytest.mark.anyio

AT_ONCE = 20
ROUNDS = 3
NEW = "nineteen orange giraffes"


@pytest.fixture
def ask(place, fresh_database):
    return lambda statement, *values: rows(fresh_database, statement, *values)


@pytest.fixture
async def visitors(connect, place):
    return [await connect(at=place) for _ in range(AT_ONCE)]


async def all_at_once(visitors, **form):
    return await asyncio.gather(*(visitor.post("/api/v1/auth/token", data=form) for visitor in visitors))


def statuses(responses):
    return Counter(response.status_code for response in responses)


def login_of(person, **more):
    return {"grant_type": "password", "username": person.email, "password": PASSWORD, **more}


async def test_a_refresh_token_used_in_parallel_gives_one_pair_and_ends_the_session(
    owner, visitors, connect, place, ask
):
    """Nobody can tell the thief's use from the owner's (RFC 9700, section 4.14.2)."""
    token = owner.refresh_token
    for _ in range(ROUNDS):
        answers = await all_at_once(visitors, grant_type="refresh_token", refresh_token=token)

        assert statuses(answers) == {200: 1, 401: AT_ONCE - 1}
        assert {answer.json()["code"] for answer in answers if answer.status_code == 401} == {"invalid_grant"}
        [pair] = [answer.json() for answer in answers if answer.status_code == 200]
        after = await all_at_once(visitors[:1], grant_type="refresh_token", refresh_token=pair["refresh_token"])
        assert statuses(after) == {401: 1}
        http = await connect(pair["access_token"], at=place)
        assert (await http.get("/api/v1/auth/me")).json()["code"] == "session_ended"
        assert ask("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(0,)]
        token = (await log_in(visitors[0], owner.email))["refresh_token"]


async def enrol(person):
    secret = (await person.http.post("/api/v1/auth/totp", json={"password": PASSWORD})).json()["secret"]
    body = {"code": pyotp.TOTP(secret).now()}
    codes = (await person.http.post("/api/v1/auth/totp/confirm", json=body)).json()["recovery_codes"]
    return secret, codes


async def test_a_code_used_in_parallel_logs_in_one(owner, visitors, ask):
    secret, _ = await enrol(owner)
    for _ in range(ROUNDS):
        ask("UPDATE users SET totp_last_step = NULL")

        answers = await all_at_once(visitors, **login_of(owner, totp=pyotp.TOTP(secret).now()))

        assert statuses(answers) == {200: 1, 401: AT_ONCE - 1}


async def test_a_recovery_code_used_in_parallel_logs_in_one(owner, visitors, ask):
    _, codes = await enrol(owner)
    for code in codes[:ROUNDS]:
        answers = await all_at_once(visitors, **login_of(owner, totp=code))

        assert statuses(answers) == {200: 1, 401: AT_ONCE - 1}
    assert ask("SELECT count(*) FROM recovery_codes") == [(10 - ROUNDS,)]


async def test_a_code_used_in_parallel_for_many_things_does_one(owner, visitors, ask):
    secret, _ = await enrol(owner)
    ask("UPDATE users SET totp_last_step = NULL")
    proof = {"password": PASSWORD, "code": pyotp.TOTP(secret).now()}

    answers = await asyncio.gather(
        *(owner.http.post("/api/v1/auth/recovery-codes", json=proof) for _ in range(5)),
        *(visitor.post("/api/v1/auth/token", data=login_of(owner, totp=proof["code"])) for visitor in visitors[:5]),
    )

    assert sum(answer.status_code < 300 for answer in answers) == 1
    assert max(statuses(answers)) < 500


async def test_a_secret_confirmed_in_parallel_is_confirmed_once(owner, ask):
    secret = (await owner.http.post("/api/v1/auth/totp", json={"password": PASSWORD})).json()["secret"]
    body = {"code": pyotp.TOTP(secret).now()}

    answers = await asyncio.gather(*(owner.http.post("/api/v1/auth/totp/confirm", json=body) for _ in range(8)))

    assert statuses(answers) == {200: 1, 409: 7}
    [confirmed] = [answer.json() for answer in answers if answer.status_code == 200]
    kept = {digest for (digest,) in ask("SELECT digest FROM recovery_codes")}
    assert kept == {digest_of(code.replace("-", "")) for code in confirmed["recovery_codes"]}


async def test_a_reset_token_used_in_parallel_sets_one_password(owner, visitors, ask):
    passwords = [f"{NEW} number {number}" for number in range(8)]
    for round_ in range(ROUNDS):
        token = f"a token of the round {round_}"
        ask("INSERT INTO password_resets VALUES (%s, %s, now() + interval '1 hour')", digest_of(token), owner.id)

        answers = await asyncio.gather(
            *(
                visitor.post("/api/v1/auth/password-reset/confirm", json={"token": token, "new_password": password})
                for visitor, password in zip(visitors, passwords, strict=False)
            )
        )

        assert statuses(answers) == {204: 1, 422: 7}
        [chosen] = [password for password, answer in zip(passwords, answers, strict=True) if answer.status_code == 204]
        assert await log_in(visitors[0], owner.email, chosen)


async def test_no_login_by_the_old_password_outlives_its_change(owner, visitors, ask):
    """A login that was being checked while the password changed is either ended with the others or refused."""
    old, new = PASSWORD, NEW
    for _ in range(ROUNDS):
        logins = [
            asyncio.create_task(visitor.post("/api/v1/auth/token", data=login_of(owner) | {"password": old}))
            for visitor in visitors
        ]
        change = {"password": old, "new_password": new}
        changed = await owner.http.post("/api/v1/auth/password", json=change)
        answers = await asyncio.gather(*logins)

        assert changed.status_code == 204, changed.text
        assert set(statuses(answers)) <= {200, 401}
        # The one that changed it is left.
        assert ask("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == [(1,)]
        old, new = new, old


async def test_a_login_whose_password_changed_while_it_was_checked_is_refused(owner, visitors, fresh_database, ask):
    with psycopg.connect(fresh_database) as change:
        change.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", [owner.id])
        login = asyncio.create_task(visitors[0].post("/api/v1/auth/token", data=login_of(owner)))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await eventually(lambda: ask(waiting) != [(0,)], 10, "the login at the lock")
        change.execute("UPDATE users SET password_hash = %s WHERE id = %s", [await hash_password(NEW), owner.id])

    assert statuses([await login]) == {401: 1}
    assert ask("SELECT count(*) FROM sessions") == [(1,)]


async def test_of_two_changes_of_a_password_in_parallel_one_wins(owner, visitors):
    wanted = [f"{NEW} number {number}" for number in range(6)]

    answers = await asyncio.gather(
        *(
            owner.http.post("/api/v1/auth/password", json={"password": PASSWORD, "new_password": password})
            for password in wanted
        )
    )

    assert statuses(answers) == {204: 1, 403: 5}
    [chosen] = [password for password, answer in zip(wanted, answers, strict=True) if answer.status_code == 204]
    assert await log_in(visitors[0], owner.email, chosen)


async def test_two_accounts_never_get_one_address(owner, make_user, place, ask):
    people = [owner, *[await make_user(at=place) for _ in range(4)]]

    body = {"email": "wanted@arena.example", "password": PASSWORD}
    answers = await asyncio.gather(*(person.http.patch("/api/v1/auth/me", json=body) for person in people))

    assert statuses(answers) == {200: 1, 409: 4}
    assert ask("SELECT count(*) FROM users WHERE email = 'wanted@arena.example'") == [(1,)]
