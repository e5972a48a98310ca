"""The keys of access tokens and the secret key change, or the database goes away, while people are at work."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from uuid import UUID, uuid4

import jwt
import pytest

from app.core.access_tokens import AccessClaims
from app.engines.process import Command, run_to_end
from tests.fixtures.deadlines import eventually
from tests.fixtures.problems import problem
from tests.fixtures.processes import environment_of
from tests.fixtures.signers import make_signer

pytestmark = pytest.mark.anyio

OVERLAP_SECONDS = 6


class Regular:
    """Somebody who logs in, refreshes, and shows the tokens, new and old, to every process in turn."""

    def __init__(self, visitors, person):
        self.visitors = visitors
        self.answers = Counter()
        self.tokens = [person.access_token]
        self.refresh_token = person.refresh_token
        self._stop = False

    @property
    def kids(self):
        return {jwt.get_unverified_header(token)["kid"] for token in self.tokens}

    async def work(self):
        for turn in range(10**6):
            if self._stop:
                return
            await self._refresh(self.visitors[turn % len(self.visitors)])
            for token in {self.tokens[0], self.tokens[-1], self.tokens[turn % len(self.tokens)]}:
                for visitor in self.visitors:
                    await self._show(visitor, token)

    async def _refresh(self, visitor):
        asked = {"grant_type": "refresh_token", "refresh_token": self.refresh_token}
        answer = await visitor.post("/api/v1/auth/token", data=asked)
        self.answers["refresh", answer.status_code] += 1
        if answer.status_code == 200:
            self.refresh_token = answer.json()["refresh_token"]
            self.tokens.append(answer.json()["access_token"])

    async def _show(self, visitor, token):
        answer = await visitor.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
        self.answers["show", answer.status_code] += 1

    def stop(self):
        self._stop = True


async def arena(settings, *arguments):
    done = await run_to_end(
        Command([sys.executable, "-m", "app.cli", *arguments], environment=environment_of(settings))
    )
    assert done.code == 0, done.errors
    return done.output


async def kids_of(visitor):
    return [key["kid"] for key in (await visitor.get("/.well-known/jwks.json")).json()["keys"]]


async def test_a_rotation_under_load_loses_nobody(place, start_api, make_user, connect):
    """Tokens of before, during and after it are read by every process, new ones by the old key's replicas too."""
    places = [(await start_api(place.settings))[1] for _ in range(2)] + [place]
    visitors = [await connect(at=at) for at in places]
    regulars = [Regular(visitors, await make_user(f"Regular {number}", at=place)) for number in range(3)]
    [old] = await kids_of(visitors[0])
    work = [asyncio.create_task(regular.work()) for regular in regulars]
    await eventually(lambda: all(len(regular.tokens) > 2 for regular in regulars), 20, "some work")

    new = (await arena(place.settings, "keys", "rotate", "--overlap", str(OVERLAP_SECONDS))).partition(" ")[0]
    for visitor in visitors:
        await eventually(lambda asked=visitor: _shows(asked, [new, old]), OVERLAP_SECONDS, "the new key")
    assert all(regular.kids == {old} for regular in regulars), "it signed before every process knew it"
    await eventually(lambda: all(regular.kids == {old, new} for regular in regulars), 30, "tokens of the new key")
    await asyncio.sleep(1)
    for regular in regulars:
        regular.stop()
    await asyncio.gather(*work)

    answers = sum((regular.answers for regular in regulars), Counter())
    assert set(answers) == {("refresh", 200), ("show", 200)}, answers
    assert answers["show", 200] > 100


async def _shows(visitor, kids):
    return await kids_of(visitor) == kids


async def test_a_leaked_key_is_refused_by_every_process_within_seconds_and_nobody_loses_their_session(
    place, start_api, make_user, connect
):
    _process, other = await start_api(place.settings)
    person = await make_user(at=place)
    visitors = [await connect(at=at) for at in (place, other)]

    await arena(place.settings, "keys", "rotate", "--at-once")

    bearer = {"Authorization": f"Bearer {person.access_token}"}
    for visitor in visitors:
        await eventually(lambda asked=visitor: _refuses(asked, bearer), 5, "a refusal")
    asked = {"grant_type": "refresh_token", "refresh_token": person.refresh_token}
    renewed = (await visitors[0].post("/api/v1/auth/token", data=asked)).json()["access_token"]
    for visitor in visitors:
        answer = await visitor.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {renewed}"})
        assert answer.status_code == 200


async def _refuses(visitor, headers):
    return (await visitor.get("/api/v1/auth/me", headers=headers)).status_code == 401


async def test_after_a_change_of_the_secret_key_sessions_and_keys_of_before_are_still_good(
    place, start_api, make_user, connect
):
    person = await make_user(at=place)
    new_key = "the newer secret key, of many letters"
    former = place.settings.auth.secret_key.get_secret_value()
    changes = {"ARENA_SECRET_KEY": new_key, "ARENA_SECRET_KEY_PREVIOUS": f"{former}\n"}
    _process, after = await start_api(place.settings, **changes)
    visitor = await connect(at=after)

    shown = await visitor.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {person.access_token}"})
    asked = {"grant_type": "refresh_token", "refresh_token": person.refresh_token}
    renewed = await visitor.post("/api/v1/auth/token", data=asked)
    environment = environment_of(place.settings, **changes)
    resealed = await run_to_end(Command([sys.executable, "-m", "app.cli", "keys", "reseal"], environment=environment))

    assert (shown.status_code, renewed.status_code) == (200, 200)
    assert (resealed.code, "signing_keys.private_key_sealed: 1 resealed" in resealed.output) == (0, True)
    _process, alone = await start_api(place.settings, ARENA_SECRET_KEY=new_key)
    token = renewed.json()["access_token"]
    last = await (await connect(at=alone)).get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert last.status_code == 200


async def test_a_thousand_tokens_of_as_many_unknown_keys_keep_nobody_waiting(place, person, connect, count_loads):
    visitor = await connect(at=place)
    flood = [_foreign(person) for _ in range(1000)]
    started, before = time.monotonic(), count_loads()
    times = []

    async def attack(numbers):
        for number in numbers:
            bearer = {"Authorization": f"Bearer {flood[number]}"}
            problem(await visitor.get("/api/v1/auth/me", headers=bearer), 401, "invalid_token")

    async def serve():
        while True:
            asked = time.monotonic()
            assert (await person.http.get("/api/v1/auth/me")).status_code == 200
            times.append(time.monotonic() - asked)
            await asyncio.sleep(0.05)

    serving = asyncio.create_task(serve())
    await asyncio.gather(*(attack(range(first, 1000, 20)) for first in range(20)))
    serving.cancel()
    took = time.monotonic() - started

    assert count_loads() - before <= took + 2
    assert sorted(times)[len(times) // 2] < 1


@pytest.fixture
def count_loads(place):
    """How often the keys were loaded so far."""
    ring = place.app.state.services.signing_keys
    counted = Counter()
    load = ring._fetch

    async def counting():
        counted["loads"] += 1
        return await load()

    ring._fetch = counting
    return lambda: counted["loads"]


def _foreign(person):
    """A token as another installation would make it."""
    return make_signer().issue(AccessClaims(UUID(person.id), uuid4(), ""))


class TestWithoutTheDatabase:
    """PostgreSQL of the test's own, stopped and continued."""

    @pytest.fixture
    def engines_to_break(self, start_engines, data_folder):
        return start_engines(data_folder)

    @pytest.fixture
    async def place(self, engines_to_break, install_on):
        return await install_on(engines_to_break)

    async def test_tokens_are_read_by_the_keys_that_are_known_and_what_is_answered_is_documented(
        self, place, engines_to_break, person, connect
    ):
        """A forged token is refused as before, a good one is told that the database is away."""
        visitor = await connect(at=place)
        pid = engines_to_break.supervisor.pids()["PostgreSQL"]
        forged = person.access_token[:-10] + "AAAAAAAAAA"
        expected = await kids_of(visitor)
        unknown = _foreign(person)
        os.kill(pid, signal.SIGQUIT)

        seen = {"forged": set(), "good": set(), "unknown": set()}
        for _ in range(40):
            for name, token in (("forged", forged), ("good", person.access_token), ("unknown", unknown)):
                answer = await visitor.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
                seen[name].add(answer.status_code)
            assert await kids_of(visitor) == expected
            await asyncio.sleep(0.02)

        assert seen["forged"] == {401}
        assert seen["good"] <= {200, 503}
        assert seen["unknown"] <= {401, 503}
        await eventually(lambda: _is_let_in(person), 30, "the database")


async def _is_let_in(person):
    return (await person.http.get("/api/v1/auth/me")).status_code == 200
