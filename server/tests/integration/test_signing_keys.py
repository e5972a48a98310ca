"""The keys of access tokens in the database: made once, followed by others, and of no use without the secret key."""

import asyncio
import re
import sys
from contextlib import AsyncExitStack

import jwt
import pytest

from app.cli.installation import check_installation, open_installation
from app.core.access_tokens import AccessClaims, InvalidToken, TokenSigner
from app.core.errors import StartupFailed
from app.core.ids import new_id
from app.core.key_ring import KeyRing
from app.core.sealing import Sealer
from app.engines.process import Command, run_to_end
from app.engines.secret_keys import find_secret_keys
from app.services.signing_keys import RotationUnderWay, SigningKeys
from tests.fixtures.arena import SECRET_KEY
from tests.fixtures.databases import rows
from tests.fixtures.people import log_in
from tests.fixtures.processes import environment_of

pytestmark = pytest.mark.anyio

CLAIMS = AccessClaims(new_id(), new_id(), "")
OTHER_KEY = "another secret key of more than 32 letters"
JWKS = "/.well-known/jwks.json"


@pytest.fixture
def own(fresh_database, make_settings_like):
    """Settings of an installation on a database of the test's own, with changes."""

    def make(**auth):
        return make_settings_like(database={"database_url": fresh_database}, auth=auth)

    return make


@pytest.fixture
def arena_command(own):
    """Run `arena …` there: its exit code, and all that it said."""

    async def run(*arguments, **auth):
        environment = environment_of(own(**auth))
        done = await run_to_end(Command([sys.executable, "-m", "app.cli", *arguments], environment=environment))
        return done.code, done.output + done.errors

    return run


async def signing_keys(settings, stack):
    uow, secret_keys = await stack.enter_async_context(open_installation(settings, "test", with_any_keys=True))
    return SigningKeys(uow, Sealer(secret_keys))


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def keys(own, stack):
    return await signing_keys(own(), stack)


async def signer(keys, settings):
    ring = KeyRing(keys.load)
    await ring.load()
    return TokenSigner(ring, await find_secret_keys(settings), 600)


async def test_processes_that_start_at_once_make_one_key(own, stack):
    several = [await signing_keys(own(), stack) for _ in range(8)]

    loaded = await asyncio.gather(*(keys.load() for keys in several))

    assert len({key.kid for found in loaded for key in found}) == 1
    assert all(found[0].private is not None for found in loaded)


async def test_a_rotation_publishes_the_new_key_at_once_and_retires_the_old_one_after_its_last_token(keys):
    [old] = await keys.load()

    kid = await keys.rotate(overlap_seconds=10, longest_token_seconds=600)

    new, former = await keys.load()
    assert (new.kid, former.kid) == (kid, old.kid)
    assert 9 < new.active_in_seconds <= 10
    assert (new.retired_in_seconds, former.private is not None) == (None, True)
    assert 669 < former.retired_in_seconds <= 670
    ring = KeyRing(keys.load)
    await ring.load()
    assert ring.signing_key()[0] == old.kid


async def test_a_rotation_is_refused_while_another_is_under_way(keys):
    await keys.load()
    await keys.rotate(10, 600)

    with pytest.raises(RotationUnderWay):
        await keys.rotate(10, 600)

    assert len(await keys.load()) == 2


async def test_rotations_at_once_make_one_new_key(keys):
    await keys.load()

    made = await asyncio.gather(*(keys.rotate(10, 600) for _ in range(5)), return_exceptions=True)

    assert sorted(type(one).__name__ for one in made) == ["RotationUnderWay"] * 4 + ["str"]


async def test_a_retired_key_is_published_no_more_and_deleted_with_its_private_half(keys, fresh_database):
    [old] = await keys.load()
    kid = await keys.rotate(0, 600)
    rows(fresh_database, "UPDATE signing_keys SET retired_at = now() - interval '1 second' WHERE kid = %s", old.kid)

    assert [key.kid for key in await keys.load()] == [kid]
    assert rows(fresh_database, "SELECT kid FROM signing_keys") == [(kid,)]


async def test_tokens_of_before_and_after_a_rotation_are_read(keys, own):
    before = await signer(keys, own())
    first = before.issue(CLAIMS)
    await keys.rotate(0, 600)
    after = await signer(keys, own())
    second = after.issue(CLAIMS)

    assert after.verify(first) == CLAIMS
    with pytest.raises(InvalidToken):
        before.verify(second)
    before._keys._tried_at -= 1
    assert await before.read(second) == CLAIMS


async def test_a_key_that_leaked_is_given_up_at_once(keys, own):
    token = (await signer(keys, own())).issue(CLAIMS)

    kid = await keys.replace_at_once()

    ring = KeyRing(keys.load)
    await ring.load()
    assert [key.kid for key in ring.published()] == [ring.signing_key()[0]] == [kid]
    with pytest.raises(InvalidToken):
        (await signer(keys, own())).verify(token)


async def test_private_keys_are_kept_sealed(keys, fresh_database):
    [key] = await keys.load()

    [(row,)] = rows(fresh_database, "SELECT k::text FROM signing_keys k")

    assert key.private.private_bytes_raw().hex() not in row
    assert key.public.public_bytes_raw().hex() in row


async def test_a_replica_that_does_not_have_the_newer_secret_key_yet_reads_its_tokens(own, stack):
    old = await signing_keys(own(), stack)
    await old.load()
    both = own(secret_key=OTHER_KEY, secret_key_previous=f"{SECRET_KEY}\n")
    new = await signing_keys(both, stack)
    kid = await new.rotate(0, 600)

    former = await signer(old, own())

    assert former.verify((await signer(new, both)).issue(CLAIMS)) == CLAIMS
    assert (await signer(new, both)).verify(former.issue(CLAIMS)) == CLAIMS
    assert former._keys.signing_key()[0] != kid


@pytest.mark.parametrize("command", ["api", "worker", "user create ada@arena.example", "keys rotate"])
async def test_a_process_with_another_secret_key_does_not_start_and_says_why(keys, arena_command, command):
    await keys.load()

    code, said = await arena_command(*command.split(), secret_key=OTHER_KEY)

    assert code == 1
    [sentence] = [line for line in said.splitlines() if line]
    assert sentence.startswith("arena: this is not the secret key that the database's secrets are sealed with")
    assert "ARENA_SECRET_KEY_PREVIOUS" in sentence
    assert OTHER_KEY not in said


async def test_with_the_former_secret_key_beside_the_new_one_it_starts(keys, own):
    await keys.load()
    settings = own(secret_key=OTHER_KEY, secret_key_previous=f"{SECRET_KEY}\n")

    await asyncio.to_thread(check_installation, settings)
    with pytest.raises(StartupFailed):
        await asyncio.to_thread(check_installation, own(secret_key=OTHER_KEY))


async def test_whose_secret_key_is_lost_begins_anew(keys, own, arena_command):
    [old] = await keys.load()

    code, said = await arena_command("keys", "rotate", "--at-once", secret_key=OTHER_KEY)

    assert (code, said.endswith("signs now\n")) == (0, True), said
    await asyncio.to_thread(check_installation, own(secret_key=OTHER_KEY))
    assert old.kid not in said


async def test_the_command_tells_which_key_signs_which_comes_and_which_goes(keys, arena_command):
    [old] = await keys.load()

    code, said = await arena_command("keys", "rotate", "--overlap", "60")
    assert code == 0, said
    new = re.fullmatch(r"(\S{43}) is published, and signs in 60 s\n", said)[1]
    code, said = await arena_command("keys", "list")

    assert code == 0
    assert re.fullmatch(rf"{new}  published, signs in \d\d s\n{old.kid}  signs, until in 7[12]\d s\n", said)
    code, said = await arena_command("keys", "list", secret_key=OTHER_KEY)
    assert (code, said.count("cannot be read with the secret key that is set")) == (0, 2)
    code, said = await arena_command("keys", "rotate")
    assert (code, "a new key is published already" in said) == (1, True)


async def test_the_public_keys_are_there_for_everybody_and_read_the_tokens_of_this_installation(
    own, keep, make_arena, fresh_database, connect, make_user
):
    place = make_arena(database={"database_url": fresh_database})
    visitor = await connect(at=place)
    person = await make_user(at=place)

    response = await visitor.get(JWKS)

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "public, max-age=5"
    [key] = response.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
    for token in (person.access_token, (await log_in(visitor, person.email))["access_token"]):
        assert jwt.get_unverified_header(token)["kid"] == key["kid"]
        read = jwt.decode(token, jwt.PyJWK(key), algorithms=["EdDSA"], audience="arena-api", issuer="arena")
        assert read["sub"] == person.id
