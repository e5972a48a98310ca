"""The keys of access tokens in one process: which signs, which verify, and how seldom the database is asked."""

import asyncio
import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.core.errors import Unavailable
from app.core.key_ring import KeyRing, KeysUnknown, thumbprint
from tests.fixtures.signers import Keys, make_key

pytestmark = pytest.mark.anyio


class Clock:
    """Told, not measured."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys():
    return Keys([make_key()])


@pytest.fixture
async def ring(keys, clock):
    ring = KeyRing(keys.load, clock)
    await ring.load()
    return ring


def test_a_keys_name_is_the_thumbprint_of_the_standards_example():
    """RFC 8037, A.2 and A.3."""
    public = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")

    assert thumbprint(Ed25519PublicKey.from_public_bytes(public)) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


async def test_a_new_key_verifies_at_once_and_signs_only_when_it_is_active(ring, keys, clock):
    [old] = keys
    keys.insert(0, new := make_key(active_in=10))
    await ring.load()

    assert (ring.find(new.kid), ring.signing_key()[0]) == (new, old.kid)
    clock.now += 9.9
    assert ring.signing_key()[0] == old.kid
    clock.now += 0.1
    assert ring.signing_key()[0] == new.kid
    assert ring.published() == [new, old]


async def test_a_retired_key_neither_verifies_nor_signs_though_nothing_was_loaded_since(ring, keys, clock):
    keys[:] = [new := make_key(active_in=-1), old := make_key(active_in=-100, retired_in=30)]
    await ring.load()

    clock.now += 29.9
    assert ring.find(old.kid) == old
    clock.now += 0.1
    assert ring.find(old.kid) is None
    assert ring.published() == [new]


async def test_a_key_that_cannot_be_opened_here_verifies_and_another_signs(ring, keys):
    [old] = keys
    keys.insert(0, sealed := make_key(private=False))
    await ring.load()

    assert ring.find(sealed.kid) == sealed
    assert ring.signing_key()[0] == old.kid


async def test_without_any_key_nothing_is_signed(clock):
    with pytest.raises(KeysUnknown):
        KeyRing(Keys().load, clock).signing_key()


async def test_many_who_look_at_once_ask_once_and_again_only_after_a_second(ring, keys, clock):
    await asyncio.gather(*(ring.look() for _ in range(1000)))
    assert keys.loads == 1, "it was loaded just now"

    clock.now += 1
    await asyncio.gather(*(ring.look() for _ in range(1000)))
    assert keys.loads == 2

    clock.now += 0.9
    await asyncio.gather(*(ring.look() for _ in range(1000)))
    assert keys.loads == 2


async def test_without_the_database_the_keys_that_are_known_go_on(ring, keys, clock):
    [key] = keys
    ring._fetch = broken
    clock.now += 3600

    with pytest.raises(Unavailable):
        await ring.load()

    assert ring.find(key.kid) == key
    assert ring.signing_key()[0] == key.kid


async def test_who_looks_for_a_key_without_the_database_is_told_that_it_is_not_known(ring, clock):
    ring._fetch = broken
    clock.now += 1

    answers = await asyncio.gather(*(ring.look() for _ in range(10)), return_exceptions=True)
    answers += await asyncio.gather(ring.look(), return_exceptions=True)  # within the same second

    assert [type(answer) for answer in answers] == [Unavailable] * 10 + [KeysUnknown]


async def test_a_database_that_hangs_keeps_nobody_for_long(ring, clock, monkeypatch):
    monkeypatch.setattr("app.core.key_ring.LOAD_SECONDS", 0.05)
    ring._fetch = asyncio.Event().wait
    clock.now += 1

    with pytest.raises(KeysUnknown):
        await ring.look()


async def test_who_looks_while_they_are_being_loaded_waits_for_that(ring, keys):
    arrived = asyncio.Event()
    keys.insert(0, new := make_key())

    async def slowly():
        await arrived.wait()
        return keys

    ring._fetch = slowly
    background, looking = asyncio.create_task(ring.begin()), asyncio.create_task(ring.look())
    await asyncio.sleep(0)
    assert ring.find(new.kid) is None
    arrived.set()
    await asyncio.gather(background, looking)

    assert ring.find(new.kid) == new


async def test_a_ring_that_is_closed_leaves_nothing_behind(ring, clock):
    ring._fetch = asyncio.Event().wait
    looking = asyncio.create_task(ring.load())
    await asyncio.sleep(0)

    await ring.close()

    with pytest.raises(asyncio.CancelledError):
        await looking


async def test_who_stops_waiting_takes_nobody_elses_answer(ring, keys, clock):
    arrived = asyncio.Event()
    keys[:] = [new := make_key()]

    async def slowly():
        await arrived.wait()
        return keys

    ring._fetch = slowly
    clock.now += 1
    impatient, patient = asyncio.create_task(ring.look()), asyncio.create_task(ring.look())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    arrived.set()
    await patient

    assert ring.find(new.kid) == new


async def broken():
    raise Unavailable("the database is away")


def test_a_thumbprint_is_that_of_the_members_in_their_canonical_form():
    key = make_key()
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{key.jwk["x"]}"}}'

    wanted = base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).decode().rstrip("=")
    assert key.kid == key.jwk["kid"] == wanted
