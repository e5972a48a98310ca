"""Sealed values: opened by whoever holds the key, in their own place, and by nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.sealing import SealBroken, Sealer

PLACE = "users.totp_secret_sealed:0198"
OLD, NEW = "an old secret key of the installation", "a new secret key of the installation"


@given(st.binary(max_size=300))
def test_what_was_sealed_is_opened_in_its_place(secret):
    sealer = Sealer([NEW])

    assert sealer.unseal(sealer.seal(secret, PLACE), PLACE) == secret


def test_it_is_not_opened_in_another_row_or_column():
    sealer = Sealer([NEW])
    sealed = sealer.seal(b"secret", PLACE)

    for other in ("users.totp_secret_sealed:0199", "users.other:0198", ""):
        with pytest.raises(SealBroken):
            sealer.unseal(sealed, other)


def test_any_changed_bit_breaks_it():
    sealer = Sealer([NEW])
    sealed = sealer.seal(b"secret", PLACE)

    for place in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(SealBroken):
            sealer.unseal(bytes(changed), PLACE)


@pytest.mark.parametrize("length", range(40))
def test_a_part_of_it_is_broken(length):
    sealer = Sealer([NEW])

    with pytest.raises(SealBroken):
        sealer.unseal(sealer.seal(b"a secret of some length", PLACE)[:length], PLACE)


def test_the_same_secret_is_never_sealed_to_the_same_bytes():
    sealer = Sealer([NEW])

    assert len({sealer.seal(b"secret", PLACE) for _ in range(100)}) == 100


def test_after_a_rotation_old_values_open_and_are_known_to_be_old():
    sealed = Sealer([OLD]).seal(b"secret", PLACE)
    both = Sealer([NEW, OLD])

    assert both.unseal(sealed, PLACE) == b"secret"
    assert not both.is_newest(sealed)
    assert both.is_newest(both.seal(b"secret", PLACE))


def test_without_the_old_key_its_values_do_not_open():
    sealed = Sealer([OLD]).seal(b"secret", PLACE)

    with pytest.raises(SealBroken):
        Sealer([NEW]).unseal(sealed, PLACE)
