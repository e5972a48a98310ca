"""How long an answer takes tells nothing of who has an account: at the cost that passwords really have.

Kinds of requests are taken in turns and their medians compared, so that whatever else this machine does meanwhile falls
on all of them alike. What the bounds must tell apart is a hash that is left out: an answer would take a tenth.
"""

import time
from statistics import median

import pyotp
import pytest
from pwdlib import PasswordHash

from app.core import security
from tests.fixtures.people import PASSWORD
from tests.fixtures.problems import problem

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

ROUNDS = 7
MOST_UNLIKE = 2.0


@pytest.fixture
def at_full_cost(portal):
    """Passwords are hashed as in production while the test runs."""
    cheap, security._HASHER = security._HASHER, PasswordHash.recommended()
    security._decoy.cache_clear()
    yield
    security._HASHER = cheap
    security._decoy.cache_clear()


async def medians(rounds, **calls):
    """The median seconds of each kind of call, in milliseconds."""
    taken = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            await call()
            if number:  # the first round makes connections and the decoy
                taken[name].append(time.perf_counter() - began)
    return {name: round(median(seconds) * 1000, 1) for name, seconds in taken.items()}


@pytest.fixture
async def people(at_full_cost, make_user, sql):
    """Of each kind one, whose password costs what it really does."""
    known = {name: await make_user() for name in ("wrong_password", "disabled", "without_password", "wrong_code")}
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", known["disabled"].id)
    sql("UPDATE users SET password_hash = NULL WHERE id = %s", known["without_password"].id)
    person = known["wrong_code"]
    secret = (await person.http.post("/api/v1/auth/totp", json={"password": PASSWORD})).json()["secret"]
    confirmed = await person.http.post("/api/v1/auth/totp/confirm", json={"code": pyotp.TOTP(secret).now()})
    assert confirmed.status_code == 200
    return known


async def test_a_login_that_fails_takes_the_same_time_whatever_is_wrong(people, anonymous):
    bodies = []

    def login(email, password):
        async def call():
            form = {"grant_type": "password", "username": email, "password": password, "totp": "000000"}
            response = await anonymous.post("/api/v1/auth/token", data=form)
            body = problem(response, 401, "invalid_grant")
            bodies.append({name: value for name, value in body.items() if name != "request_id"})

        return call

    right = {name: login(person.email, PASSWORD) for name, person in people.items() if name != "wrong_password"}
    taken = await medians(
        ROUNDS,
        unknown=login("nobody@arena.example", PASSWORD),
        wrong_password=login(people["wrong_password"].email, "not the password"),
        **right,
    )

    assert all(body == bodies[0] for body in bodies)
    assert max(taken.values()) < MOST_UNLIKE * min(taken.values()), taken
    assert min(taken.values()) > 5, f"{taken}: passwords cost nothing here, so this shows nothing"


async def test_a_wrong_password_of_ones_own_takes_the_same_time_as_none(people):
    def change(person):
        async def call():
            body = {"password": "not the password", "email": "another@arena.example"}
            problem(await person.http.patch("/api/v1/auth/me", json=body), 403, "wrong_password")

        return call

    taken = await medians(ROUNDS, **{name: change(people[name]) for name in ("wrong_password", "without_password")})

    assert max(taken.values()) < MOST_UNLIKE * min(taken.values()), taken


async def test_a_request_for_a_reset_takes_the_same_time_for_every_address(
    mailing_place, make_user, connect, post_office, sql
):
    """Although each mail takes a third of a second."""
    post_office.pause_seconds = 0.3
    visitor = await connect(at=mailing_place)
    people = [await make_user(at=mailing_place) for _ in range(ROUNDS + 1)]
    disabled = await make_user(at=mailing_place)
    sql("UPDATE users SET disabled_at = now() WHERE id = %s", disabled.id)
    emails = iter([person.email for person in people])

    def request(email):
        async def call():
            body = {"email": email() if callable(email) else email}
            assert (await visitor.post("/api/v1/auth/password-reset", json=body)).status_code == 202

        return call

    taken = await medians(
        ROUNDS,
        known=request(lambda: next(emails)),
        unknown=request("nobody@arena.example"),
        disabled=request(disabled.email),
    )

    assert max(taken.values()) - min(taken.values()) < 100, taken
